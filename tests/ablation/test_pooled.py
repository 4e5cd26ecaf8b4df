"""Several ablations read as one, against means by hand and the explicit statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_results import DIED, Example, images_right, make_design, make_example, make_scored
from recompute import Model, holm, simultaneous

from ablate.ablation.cell import Claim
from ablate.ablation.info import ablation_info
from ablate.ablation.pooled import pooled_info
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError, UsageError
from ablate.ledger.record import StudyRecord, whole_record
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN
from ablate.report.formats import markdown_text
from ablate.report.tables import arms_table, effects_table
from ablate.study.scores import Scores

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
ARMS = ("plain", "FMA", "ST")
CLAIMS = (Claim("FMA - plain", ROBUST), Claim("ST - plain", CLEAN))
GAINS = {"plain": 0.0, "FMA": 0.12, "ST": 0.05}


def replication(place: int, *, seeds: int = 4, died: bool = False, **fields: Any) -> Example:
    """An ablation from a baseline of its own; died: the second run of FMA has failed."""
    random = np.random.default_rng(place)
    runs: dict[str, list[Any]] = {
        arm: [
            make_scored(random, 0.5 + GAINS[arm] + 0.02 * place, n=60, n_corrupted=50, **fields)
            for _ in range(seeds)
        ]
        for arm in ARMS
    }
    if died:
        runs["FMA"][1] = DIED
    baseline = make_scored(random, 0.4, n=60, n_corrupted=50)
    example = make_example(
        runs,
        baseline=baseline,
        design=make_design(ARMS, claims=CLAIMS),
        settings={"noninferior": {"metric": CLEAN, "margin": 0.1}, "seeds": seeds},
    )
    return named(example, name=f"r{place}", baseline_sha256=f"{place}" * 64, sections={"data": "d"})


def named(example: Example, **fields: Any) -> Example:
    return replace(example, record=replace(example.record, **fields))


def sources(examples: Sequence[Example]) -> list[Any]:
    return [(one.record, one.outcomes, one.references) for one in examples]


def by_hand(examples: Sequence[Example], arm: str, metric: str, left: Sequence[int]) -> np.ndarray:
    """`[replications, n]`: of each the mean over its seeds, without those that are left out."""
    found = []
    for example, out in zip(examples, left, strict=True):
        if arm == "baseline":
            scores = example.record.references[arm]
            found.append(images_right(example.references[arm]["val"], scores, metric))
            continue
        rows = [row for row in example.record.rows if row.cell == arm and row.pair != out]
        shares = []
        for row in rows:
            assert isinstance(row.scores, Scores)
            shares.append(images_right(example.outcomes[row.number]["val"], row.scores, metric))
        found.append(np.mean(shares, axis=0))
    return np.array(found)


@pytest.mark.parametrize("died", [False, True])
def test_a_pair_is_an_ablation_whose_seeds_are_averaged(died: bool) -> None:
    examples = [replication(0), replication(1, died=died), replication(2, seeds=3)]
    info = pooled_info(sources(examples))
    left = (-1, 1 if died else -1, -1)
    assert [(one.study, one.seeds) for one in info.replications] == [
        *(("r0", 4), ("r1", 3 if died else 4), ("r2", 3)),
    ]
    assert (info.seeds, info.paired, info.study) == (3, "baseline", "r0, r1, r2")
    for arm in info.arms:
        means = by_hand(examples, arm.name, ROBUST, left).mean(axis=1)
        estimate = arm.estimates[ROBUST]
        assert (estimate.mean, estimate.n) == (pytest.approx(means.mean()), 3)
        assert estimate.sd == pytest.approx(means.std(ddof=1))
        assert not arm.is_one_network
    tables = {
        (arm, metric): by_hand(examples, arm, metric, left)
        - by_hand(examples, "plain", metric, left)
        for arm in ("baseline", "FMA", "ST")
        for metric in (CLEAN, ROBUST, "val_accuracy.noise")
    }
    claims = [("FMA", ROBUST), ("ST", CLEAN)]
    adjusted = holm([Model(tables[claim]).p() for claim in claims])
    for (arm, metric), table in tables.items():
        effect, model = info.effect(f"{arm} - plain", metric), Model(table)
        assert effect.by_baseline == pytest.approx(table.mean(axis=1))
        assert (effect.estimate.mean, effect.estimate.sd) == pytest.approx((model.mean, model.sd))
        assert (effect.estimate.n, effect.n_images) == (3, table.shape[1])
        assert effect.p == pytest.approx(model.p(), rel=1e-5)
        bounds = model.bounds()
        if (arm, metric) in claims:
            p = adjusted[claims.index((arm, metric))]
            assert effect.p_adjusted == pytest.approx(p, rel=1e-5)
            bounds = simultaneous(model, 2, p)
        assert (effect.estimate.low, effect.estimate.high) == pytest.approx(bounds)
    kept = info.effect("FMA - plain", CLEAN).kept
    assert kept is not None
    assert any("r1: 1 of 4 seeds left out" in mark for mark in info.marks) == died
    counts = f"4, {3 if died else 4} and 3 seeds and 60 images"
    assert any(mark.startswith(f"over 3 baselines of {counts}") for mark in info.marks)
    assert not any("one baseline that all runs start from" in mark for mark in info.marks)
    assert info.failures == (("r1: seed 2 of FMA: raised: ValueError: no",) if died else ())


def test_replicates_are_read_as_ablations_are() -> None:
    examples = [replication(0), replication(1, died=True), replication(2, seeds=3)]
    records = [example.record for example in examples]
    settings = records[0].study.ablation_section.model_copy(update={"replicates": 4, "seeds": 3})
    study = records[0].study.model_copy(update={"ablation": settings})
    whole = whole_record(replace(records[0], name="whole", study=study, rows=(), looks=1), records)
    assert [row.number for row in whole.rows] == list(range(33))
    assert [row.replicate for row in whole.rows] == [0] * 12 + [1] * 12 + [2] * 9
    pairs = [sorted({row.pair for row in whole.rows if row.replicate == at}) for at in range(3)]
    assert pairs == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    # The fourth has not begun: 3 cells x 3 seeds.
    assert (whole.trials, whole.ended, whole.is_over, whole.replicates_ended) == (42, 33, False, 3)
    info, apart = pooled_info(sources(examples), whole), pooled_info(sources(examples))
    assert (info.study, info.runs, info.looks, info.seeds) == ("whole", 42, 1, 3)
    assert info.effects == apart.effects
    assert repr(info.arms) == repr(apart.arms)  # costs are not known
    assert not any("replicates have ended" in mark for mark in info.marks)
    one = whole_record(replace(whole, rows=()), records[:1])
    first = pooled_info(sources(examples[:1]), one)
    assert "1 of 4 replicates have ended: intervals need two" in first.marks
    assert all(math.isnan(effect.estimate.low) for effect in first.effects)


def test_its_tables_say_what_is_paired() -> None:
    info = pooled_info(sources([replication(0), replication(1), replication(2)]))
    text = markdown_text(effects_table(info))
    shares = [f"{100 * one:+.1f}" for one in info.effect("FMA - plain", ROBUST).by_baseline]
    assert f"| {', '.join(shares)} |" in text
    assert "| By baseline |" in text
    assert "t over baselines and images (of new baselines on new images)" in text
    assert "over 3 baselines of 4 seeds each and 60 images" in text
    assert "sign flips over baselines, on these images: p " in text
    assert "mean ± standard deviation over 3 baselines" in arms_table(info).notes
    two = pooled_info(sources([replication(0), replication(1)]))
    assert "too few baselines for a claim (3 needed)" in markdown_text(effects_table(two)).replace(
        "\\", ""
    )


def test_its_effects_are_a_figure() -> None:
    examples = [replication(place) for place in range(3)]
    effects = find_figure("effects")
    drawn = effects.info([drawn_source(one) for one in examples])
    assert repr(drawn.ablation) == repr(pooled_info(sources(examples)))
    figure = effects.draw(drawn, COLUMN)
    assert "over 3 baselines" in figure.layout.meta["heading"]
    facts = figure.layout.meta["facts"]
    assert facts[0] == "36 of 36 runs ended, 3 baselines"
    assert "studies r0, r1, r2" in facts
    with pytest.raises(UsageError, match=r"must start from another baseline"):
        effects.info([drawn_source(examples[0])] * 2)
    with pytest.raises(NothingToDrawError, match=r"needs an ablation, got a search"):
        effects.info([drawn_source(examples[0]), StudySource(examples[1].record)])


def drawn_source(example: Example) -> StudySource:
    info = ablation_info(example.record, example.outcomes, example.references)
    bits = (example.outcomes, example.references)
    return StudySource(example.record, info, read_bits=lambda _: bits)


def test_an_ablation_of_which_nothing_has_ended_is_missing() -> None:
    third = replication(2)
    waiting = tuple(replace(row, state="WAITING") for row in third.record.rows)
    examples = [replication(0), replication(1), named(third, rows=waiting)]
    with pytest.raises(UsageError, match=r"must be scored on the 60 \(50 corrupted\) images of r0"):
        pooled_info(sources(examples))
    some = tuple(
        replace(row, state="WAITING") if row.cell == "FMA" else row for row in third.record.rows
    )
    info = pooled_info(sources([*examples[:2], named(third, rows=some)]))
    effect = info.effect("FMA - plain", ROBUST)
    assert (effect.estimate.n, effect.verdict) == (2, "too few seeds")
    assert math.isnan(effect.by_baseline[2])
    assert effect.missing == ("r2 of FMA", "r2 of plain")


def with_study(**update: Any) -> Callable[[StudyRecord], dict[str, Any]]:
    def change(record: StudyRecord) -> dict[str, Any]:
        return {"study": record.study.with_values(update)}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"design": None}, "must be an ablation, got a search."),
        (
            lambda _: {"baseline_sha256": "0" * 64},
            "must start from another baseline, got that of r0.",
        ),
        (
            with_study(**{"ablation.baseline_seeds": "each"}),
            "must have one baseline, got baseline_seeds: each, whose pairs are baselines.",
        ),
        (
            lambda _: {"test": {"suite": "families", "severities": [3]}},
            "must have the split of r0 ('validation'), got 'test'.",
        ),
        (lambda _: {"sections": {"data": "e"}}, "must have the data of r0 ('d'), got 'e'."),
        (
            lambda _: {"design": make_design(ARMS[:2], claims=CLAIMS[:1]).to_json()},
            "must have the arms of r0, got no ST.",
        ),
        (
            lambda _: {"design": make_design(ARMS, claims=CLAIMS[:1]).to_json()},
            "must have the primary contrasts of r0, got no ST - plain on val_clean_accuracy.",
        ),
        (
            with_study(**{"finetune.batch_size": 7}),
            "must differ from r0 in its baseline and arms alone, got finetune.batch_size: 64 -> 7.",
        ),
    ],
)
def test_what_does_not_match_is_refused(
    change: Callable[[StudyRecord], dict[str, Any]], message: str
) -> None:
    other = replication(1)
    other = named(other, **change(other.record))
    with pytest.raises(UsageError) as error:
        pooled_info(sources([replication(0), other]))
    assert str(error.value) == (
        f"study r1: to be read as one with others it {message} Leave it out."
    )


def test_what_replications_may_have_of_their_own() -> None:
    own = {"finetune.seed": 7, "baseline.seed": 3, "loss.terms": "clean"}
    other = replication(1)
    other = named(other, study=other.record.study.with_values(own))  # cells set loss.terms
    assert len(pooled_info(sources([replication(0), other])).replications) == 2
