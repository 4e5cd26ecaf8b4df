"""What a confirmation says, by values: luck, gains and claims."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_results import (
    DIED,
    ROBUST,
    Example,
    Run,
    make_design,
    make_example,
    make_scored,
    make_scores,
)
from recompute import Model, holm, simultaneous

from ablate.ablation.answer import best_networks
from ablate.ablation.cell import Cell, Claim, Design
from ablate.ablation.confirm import (
    ConfirmedPoint,
    ConfirmInfo,
    confirm_info,
    is_confirmation,
)
from ablate.ablation.design import (
    COMBINED_DA,
    TRAINED_ON,
    front_design,
    planned_rows,
    repeated_design,
)
from ablate.analysis.pareto import ParetoPoint, pareto_info
from ablate.errors import ParameterError, StudyNotFoundError, UsageError
from ablate.report.formats import result_rows
from ablate.robustness.bits import Scored, image_shares, unpack_bits
from ablate.study.mixture import Mixture, Mixtures, ScoredMixture
from ablate.study.scores import Scores
from ablate.study.seeds import PLAIN
from ablate.study.settings import AblationSettings, InterpolationSettings
from tests.example_records import example_record, example_row, example_scores

CLEAN = "val_clean_accuracy"
POINTS = (7, 2)


def pareto_point(number: int, scores: Scores, **params: Any) -> ParetoPoint:
    values = (scores.clean_accuracy, scores.robust_accuracy)
    own = {"loss.terms": "clean+fma", **params}
    return ParetoPoint(Mixture((number,)), values, own, scores, "clean+fma", on_front=True)


SELECTED = {
    7: make_scores(0.60, 0.90, train_seconds=10.0),
    2: make_scores(0.55, 0.95, train_seconds=20.0),
}


DESIGN = front_design([pareto_point(number, SELECTED[number]) for number in POINTS], {})


def both(validated: tuple[float, float], tested: tuple[float, float], **fields: Any) -> Any:
    """Scores of one run, (robust, clean) on either split, without bits."""
    val = make_scores(*validated, **fields)
    test = make_scores(*tested, split="test", **fields)
    return Scored(val, ""), Scored(test, "")


def confirmed(
    runs: Mapping[str, Sequence[Run]], *, baseline: Any = None, design: Design = DESIGN, **keys: Any
) -> Example:
    example = make_example(runs, baseline=baseline, design=design, **keys)
    return replace(example, outcomes={}, references={})


def info_of(example: Example) -> ConfirmInfo:
    return confirm_info(example.record, example.outcomes, example.references)


def point_of(info: ConfirmInfo, number: int) -> ConfirmedPoint:
    return next(point for point in info.points if point.name == f"trial {number}")


def two_points(**keys: Any) -> Example:
    plain = [both((0.50, 0.90), (0.50, 0.90))] * 3
    return confirmed(
        {
            "plain": plain,
            COMBINED_DA: plain,
            "trial 7": [
                both((robust, 0.88), (robust - 0.03, 0.86)) for robust in (0.56, 0.57, 0.58)
            ],
            "trial 2": [
                both((robust, 0.94), (robust - 0.02, 0.93)) for robust in (0.54, 0.55, 0.56)
            ],
        },
        baseline=both((0.40, 0.96), (0.37, 0.95)),
        **keys,
    )


# -- the design
def test_what_a_confirmation_runs() -> None:
    cells = {cell.name: dict(cell.values) for cell in DESIGN.cells}
    assert list(cells) == ["plain", COMBINED_DA, "trial 7", "trial 2"]
    assert cells["plain"] == dict(PLAIN)
    assert cells[COMBINED_DA] == {"loss.terms": "clean+da"}
    assert cells["trial 2"] == {"loss.terms": "clean+fma"}
    assert [arm.name for arm in DESIGN.arms] == ["baseline", *cells]
    assert [one.name for one in DESIGN.contrasts] == [
        "baseline - plain",
        "DA combined - plain",
        "trial 7 - plain",
        "trial 2 - plain",
    ]
    assert DESIGN.selected["trial 7"][ROBUST] == pytest.approx(0.60)
    # A mean of nothing is no number that JSON has.
    assert "val_robust_accuracy_seen_type" not in DESIGN.selected["trial 7"]
    assert Design.from_json({**DESIGN.to_json(), "soups": {}}) == DESIGN
    with pytest.raises(StudyNotFoundError, match="must be of single networks"):
        Design.from_json({**DESIGN.to_json(), "soups": {"a": []}})


def test_what_a_confirmation_of_mixtures_runs() -> None:
    """A trial is trained once a seed, whatever is made of it; one that is a part alone is no arm,
    and a network between baseline and trial is made of that too."""
    own = pareto_point(2, SELECTED[2])
    between = pareto_point(7, SELECTED[7])._replace(point=Mixture((7,), 0.5))
    other = pareto_point(8, SELECTED[7])._replace(point=Mixture((8,), 0.5))
    mixed = [
        own._replace(point=point, params={}, is_mixture=True)
        for point in (Mixture((2, 4, 7), 0.75), Mixture((2,), 1.25))
    ]
    ingredients = {number: {"loss.fma.weight": number} for number in (2, 4, 7)}
    design = front_design([own, between, other, *mixed], ingredients)
    trained = ["plain", COMBINED_DA, "trial 2", "trial 8 at alpha 0.5", "trial 4", "trial 7"]
    made = ["trial 7 at alpha 0.5", *(point.name for point in mixed)]
    assert [cell.name for cell in design.cells] == [*trained, *made]
    assert [cell.name for cell in design.cells if cell.mixture] == made
    assert design.cell("trial 4").values == {"loss.fma.weight": 4}
    assert design.cell("trial 8 at alpha 0.5").values["finetune.interpolation"] == {"alpha": 0.5}
    names = [point.name for point in (own, between, other, *mixed)]
    assert [arm.name for arm in design.arms] == ["baseline", *trained[:2], *names]
    assert list(design.selected) == names
    assert Design.from_json(json.loads(json.dumps(design.to_json()))) == design
    assert all("mixture" not in cell for cell in DESIGN.to_json()["cells"])
    settings = AblationSettings(design="arms", arms={"trial 4": {}}, seeds=2)
    study = example_record().study.model_copy(update={"ablation": settings})
    rows = planned_rows(study, design)
    second = [row.mixture for row in rows if row.pair == 1 and row.mixture]
    assert second == [
        Mixture((14,), 0.5),
        Mixture((11, 13, 14), 0.75),
        Mixture((11,), 1.25),
    ]
    assert [rows[one].cell for one in second[1].trials] == ["trial 2", "trial 4", "trial 7"]


def test_what_is_confirmed_of_one_accuracy() -> None:
    """The best network, here a mixture, and trials; mixtures off the front have no bits."""
    robust = (0.7, 0.6, 0.65)
    rows = [
        example_row(number, [value], scores=example_scores(0.9, value))
        for number, value in enumerate(robust)
    ]
    best, second = (
        ScoredMixture((0, 2), alpha, example_scores(0.9, value))
        for alpha, value in ((0.75, 0.8), (1.0, 0.75))
    )
    record = example_record(
        rows, objectives=[("val_robust_accuracy", "maximize")], reference_point=None
    )
    record = replace(record, mixtures=Mixtures(3, (best, second)))
    found = best_networks(record, pareto_info(record), lambda _: ({}, {}))
    assert found == [best.mixture, *(Mixture((number,)) for number in (0, 2, 1))]


def test_which_study_is_a_confirmation() -> None:
    assert is_confirmation(two_points().record)
    assert not is_confirmation(replace(two_points().record, design=None))
    ablation = make_example({"plain": [make_scores()] * 2})
    assert not is_confirmation(ablation.record)
    with pytest.raises(ParameterError) as error:
        confirm_info(ablation.record, {}, {})
    assert str(error.value) == (
        "study example: must be a confirmation, got another study. Name RUN/confirm, or run ablate "
        "confirm."
    )


def test_what_the_confirmation_of_an_ablation_runs() -> None:
    claims = (Claim("FMA - plain", "val_accuracy.brightness"),)
    design = make_design(["plain", "FMA"], claims=claims, notes=("as it is",))
    study = make_example({"plain": [make_scores()], "FMA": [make_scores()]}).record.study
    test = {"suite": "families", "severities": [3]}
    assert repeated_design(study, design, test) == replace(design, notes=(TRAINED_ON, "as it is"))
    with pytest.raises(UsageError) as error:
        repeated_design(study, design, {"suite": ["fog", "snow"], "severities": [3]})
    assert str(error.value) == (
        "study example: primary contrast FMA - plain: its metric must be scored on the test "
        "images, got val_accuracy.brightness with suite ['fog', 'snow'] at severities [3]. Give "
        "another `suite`, or `severities`."
    )
    curved = study.model_copy(
        update={
            "finetune": study.finetune.model_copy(update={"interpolation": InterpolationSettings()})
        }
    )
    halfway = Cell("FMA", {"finetune.interpolation": {"alpha": 0.5}})
    for cells, note in (
        (design.cells, "each network is scored at alpha 1, the finetuned network"),
        ((design.cells[0], halfway), "scored at alpha 0.5 (FMA); the others at 1, finetuned"),
    ):
        assert note in repeated_design(curved, replace(design, cells=cells), test).notes


# -- luck and gains
def test_luck_is_what_the_search_saw_less_fresh_seeds() -> None:
    point = point_of(info_of(two_points()), 7)
    assert point.metrics == (CLEAN, ROBUST)
    assert point.selected[ROBUST] == pytest.approx(0.60)
    luck = point.luck[ROBUST]
    # .60 - (.56, .57, .58).
    assert (luck.mean, luck.sd, luck.n) == (pytest.approx(0.03), pytest.approx(0.01), 3)
    assert luck.low == pytest.approx(0.03 - 4.30265 * 0.01 / math.sqrt(3), abs=1e-6)
    assert point.luck[CLEAN].mean == pytest.approx(0.02)


def with_bits(
    *, seeds: int = 3, missing: Mapping[str, Sequence[int]] | None = None, **keys: Any
) -> Example:
    """Every cell on 40 validation and 60 test images, 30 of them corrupted; the baseline too."""
    random = np.random.default_rng(0)
    rates = {"plain": 0.5, COMBINED_DA: 0.6, "trial 7": 0.65, "trial 2": 0.6}
    holes = missing or {}

    def drawn(rate: float) -> tuple[Scored, Scored]:
        return make_scored(random, rate), make_scored(random, rate, split="test", n=60)

    runs: dict[str, list[Run]] = {
        name: [DIED if k in holes.get(name, ()) else drawn(rate) for k in range(seeds)]
        for name, rate in rates.items()
    }
    return make_example(runs, design=DESIGN, baseline=drawn(0.45), **keys)


def right(example: Example, cell: str, split: str, metric: str) -> np.ndarray:
    """`[K, n]`, what a cell got of each image, read from the bits that were kept."""
    rows = [row for row in example.record.rows if row.cell == cell and row.state == "COMPLETE"]
    texts = [example.outcomes[row.number][split] for row in rows]
    scores = [row.scores if split == "val" else row.test_scores for row in rows]
    if cell == "baseline":
        references = example.record.references if split == "val" else example.record.test_references
        texts, scores = [example.references["baseline"][split]], [references["baseline"]]
    bits = unpack_bits(texts, scores[0])  # type: ignore[arg-type]
    return np.asarray(image_shares(bits, scores[0], metric))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["clean_accuracy", "robust_accuracy"])
def test_gains_are_over_the_baseline_on_new_seeds_and_images(name: str) -> None:
    example = with_bits()
    metric = f"test_{name}"
    for point in info_of(example).points:
        assert set(point.gains) == {"test_clean_accuracy", "test_robust_accuracy"}
        found = point.gains[metric]
        table = right(example, point.name, "test", metric)
        expected = Model(table - right(example, "baseline", "test", metric))
        assert found.method == "t over seeds and images"
        assert (found.mean, found.n) == (pytest.approx(expected.mean), 3)
        # Two points in two accuracies.
        assert (found.low, found.high) == pytest.approx(expected.bounds(0.05 / 4))


def test_the_points_are_compared_with_plain_by_one_test_at_one_level() -> None:
    example = with_bits(seeds=5)
    info = info_of(example)
    metrics = ("test_clean_accuracy", "test_robust_accuracy")
    asked = [(name, metric) for metric in metrics for name in ("trial 7", "trial 2")]
    models = [
        Model(right(example, name, "test", metric) - right(example, "plain", "test", metric))
        for name, metric in asked
    ]
    adjusted = holm([one.p() for one in models])
    assert {p < 0.05 for p in adjusted} == {True, False}
    for (name, metric), model, p in zip(asked, models, adjusted, strict=True):
        found = info.test.effect(f"{name} - plain", metric)
        assert found.p_adjusted == pytest.approx(p)
        ends = found.estimate.low, found.estimate.high
        assert ends == pytest.approx(simultaneous(model, 4, p))
        assert found.verdict == ("better" if p < 0.05 else "not shown")
        assert (found.verdict == "better") == (ends[0] >= 0)
    assert len(info.test.primary) == 4
    assert info.test.level == pytest.approx(1 - 0.05 / 4)
    (rows,) = result_rows(info)
    assert rows["level"] == pytest.approx(0.9875)
    assert not info.validation.primary  # which the search has chosen by
