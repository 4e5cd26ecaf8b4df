"""Runs that failed or collapsed: each failed one counts as the worst of its arm beside the main
effect, and collapsed ones are counted in every table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import recompute
from example_results import (
    DIED,
    NOISE,
    ROBUST,
    Example,
    Run,
    images_right,
    make_design,
    make_example,
    make_scored,
    make_scores,
)
from recompute import Model

from ablate.ablation.cell import Claim
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.ablation.pooled import pooled_info
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.effects import draw, effects_info
from ablate.report.formats import result_rows
from ablate.report.tables import arms_table, effects_table
from ablate.robustness.bits import Scored

CLAIMS = (Claim("FMA - plain", ROBUST), Claim("DA - plain", ROBUST))
UNTRAINED = "val_robust_accuracy_untrained"
SEEN = {NOISE: "seen_type", "impulse_noise": "seen_family", "gaussian_blur": "unseen"}


def study(seed: int = 0, *, failed: Sequence[int] = (2,)) -> tuple[Example, dict[str, list[Run]]]:
    """Five seeds; of FMA some have failed."""
    random = np.random.default_rng(seed)
    rates = {"plain": 0.4, "DA": 0.5, "FMA": 0.6}
    runs: dict[str, list[Run]] = {
        name: [make_scored(random, rate, exposure=SEEN) for _ in range(5)]
        for name, rate in rates.items()
    }
    for place in failed:
        runs["FMA"][place] = DIED
    return make_example(runs, design=make_design(list(rates), claims=CLAIMS)), runs


def info_of(example: Example) -> AblationInfo:
    return ablation_info(example.record, example.outcomes, example.references)


def right(run: Run, metric: str) -> np.ndarray:
    assert isinstance(run, Scored)
    return images_right(run.bits, run.scores, metric)


def filled(runs: Sequence[Run], metric: str) -> np.ndarray:
    """`[K, n]`: a failed run has the images of the worst."""
    tables = [None if run is DIED else right(run, metric) for run in runs]
    worst = min((one for one in tables if one is not None), key=lambda one: one.mean())
    return np.stack([worst if one is None else one for one in tables])


@pytest.mark.parametrize("metric", [ROBUST, "val_clean_accuracy", f"val_accuracy.{NOISE}"])
def test_a_failed_run_counts_as_the_worst_of_its_arm(metric: str) -> None:
    example, runs = study()
    info = info_of(example)
    effect = info.effect("FMA - plain", metric)
    assert effect.estimate.n == 4
    assert effect.missing == ("seed 3 of FMA",)
    assert effect.worst is not None
    expected = Model(filled(runs["FMA"], metric) - filled(runs["plain"], metric))
    level = 0.025 if metric == ROBUST else 0.05  # of the two claims, as that of the main effect
    assert (effect.worst.n, effect.worst.mean) == (5, pytest.approx(expected.mean))
    assert (effect.worst.low, effect.worst.high) == pytest.approx(expected.bounds(level))
    assert effect.worst.mean < effect.estimate.mean
    # No run of these cells has failed.
    assert info.effect("DA - plain", metric).worst is None


def test_the_row_of_the_worst_case_is_shown_beside_the_main_one() -> None:
    example, _ = study()
    info = info_of(example)
    table = effects_table(info)
    names = [row[0].printed for row in table.rows]
    place = names.index("FMA against plain")
    assert names[place + 1] == "FMA against plain, failed runs as the worst"
    keys = [column.key for column in table.columns]
    row = dict(zip(keys, (cell.printed for cell in table.rows[place + 1]), strict=True))
    assert (row["verdict"], row["p"], row["p_adjusted"]) == ("worst case", "-", "-")
    worst = info.effect("FMA - plain", ROBUST).worst
    assert worst is not None
    assert row["difference"].startswith(f"{100 * worst.mean:+.1f} [")
    assert any(note.startswith("failed runs as the worst: ") for note in table.notes)
    assert "DA against plain, failed runs as the worst" not in names
    (shown,) = (one for one in result_rows(info)[0]["effects"] if one["primary"] and one["worst"])
    assert shown["worst"]["mean"] == pytest.approx(worst.mean)
    figure = draw(effects_info(info, info.primary), COLUMN)
    assert f"failed runs as the worst: {row['difference']}" in "".join(
        one.text for one in figure.layout.annotations
    )


def test_ablations_that_are_read_as_one_have_it_too() -> None:
    made = [study(place, failed=(2,) if place == 1 else ())[0] for place in range(3)]
    examples = [
        replace(one, record=replace(one.record, name=f"own_{place}", baseline_sha256=str(place)))
        for place, one in enumerate(made)
    ]
    info = pooled_info([(one.record, one.outcomes, one.references) for one in examples])
    effect = info.effect("FMA - plain", ROBUST)
    assert effect.worst is not None
    assert (effect.estimate.n, effect.worst.n) == (3, 3)
    assert effect.worst.mean != effect.estimate.mean
    alone = info_of(examples[1]).effect("FMA - plain", ROBUST).worst
    assert alone is not None
    others = [effect.by_baseline[place] for place in (0, 2)]
    assert effect.worst.mean == pytest.approx(np.mean([others[0], alone.mean, others[1]]))


@pytest.mark.parametrize("metric", [ROBUST, UNTRAINED])
def test_the_script_of_the_paper_finds_the_same(metric: str) -> None:
    example, runs = study()
    script: Any = object.__new__(recompute.Study)
    script.split, script.fixed, script.pairs = "val", {}, list(range(5))
    script.cells = {
        name: {
            place: recompute.Network(run.scores.to_json(), run.bits)
            for place, run in enumerate(of_cell)
            if isinstance(run, Scored)
        }
        for name, of_cell in runs.items()
    }
    script.failed = {("FMA", 2)}
    script.weights = {"FMA - plain": {"FMA": 1.0, "plain": -1.0}}
    model = script.worst("FMA - plain", metric)
    found = info_of(example).effect("FMA - plain", metric).worst
    assert found is not None
    assert (found.mean, found.n) == (pytest.approx(model.mean), 5)
    level = 0.025 if metric == ROBUST else 0.05
    assert (found.low, found.high) == pytest.approx(model.bounds(level))


# -- collapsed runs


def collapse(*robust: float, clean: float = 0.9, baseline: float = 0.9) -> AblationInfo:
    """Of FMA one run a seed, beside plain."""
    plain: list[Run] = [make_scores(0.5 + 0.001 * place) for place in range(len(robust))]
    fma: list[Run] = [make_scores(one, clean) for one in robust]
    runs = {"plain": plain, "FMA": fma}
    return info_of(make_example(runs, baseline=make_scores(0.5, baseline)))


def test_a_run_far_below_the_others_of_its_arm_has_collapsed() -> None:
    info = collapse(0.60, 0.61, 0.51, 0.60, 0.61)
    by_arm = {arm.name: arm.collapsed for arm in info.arms}
    assert by_arm == {"baseline": (), "plain": (), "FMA": ("seed 3",)}
    said = (
        "1 of 10 runs collapsed, far below the others of their arm (seed 3 of FMA): where seeds "
        "collapse, intervals hold the truth less often than 95 %"
    )
    assert said in info.marks
    for table in (arms_table(info), effects_table(info)):
        assert said in table.notes
    assert "FMA (1 collapsed)" in [row[0].printed for row in arms_table(info).rows]
    (rows,) = result_rows(info)
    assert [arm["collapsed"] for arm in rows["arms"]] == [[], [], ["seed 3"]]


@pytest.mark.parametrize(
    ("robust", "collapsed"),
    [
        ((0.60, 0.61, 0.60, 0.61, 0.59), ()),  # less than 5 points below
        ((0.60, 0.70, 0.54, 0.66, 0.63), ()),  # within three ranges of the others' middle half
        ((0.60, 0.60, 0.54), ("seed 3",)),
        ((0.60, 0.40), ()),  # of two nothing says which
        ((0.60, 0.61, 0.72, 0.60, 0.61), ()),  # far above
        ((0.60, 0.61, 0.30, 0.31, 0.60, 0.61, 0.60), ("seed 3", "seed 4")),
    ],
)
def test_which_runs_have_collapsed(robust: tuple[float, ...], collapsed: tuple[str, ...]) -> None:
    info = collapse(*robust)
    assert info.arms[2].collapsed == collapsed
