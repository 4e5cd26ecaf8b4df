"""Contrasts that are declared on calibration, the worst class and balanced accuracy: less is better
of the first, and what has no share of each image has intervals over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from example_results import DIED, Run, make_design, make_example, make_scored
from scipy import stats

from ablate.ablation.cell import Claim
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.ablation.intervals import OVER_SEEDS
from ablate.report.tables import arms_table, effects_table
from ablate.report.words import verdict_words
from ablate.robustness.bits import Scored

SEEDS = 6
ECE = "val_ece"


def scored(seed: int, **measures: float) -> Scored:
    random = np.random.default_rng(seed)
    return make_scored(random, measures={"ece": 0.1, "worst_class_accuracy": 0.5, **measures})


def runs(mean: float) -> list[Run]:
    return [scored(seed, ece=mean + 0.002 * (seed % 3)) for seed in range(SEEDS)]


def info(cells: dict[str, list[Run]], metric: str = ECE, **settings: object) -> AblationInfo:
    design = make_design([*cells], claims=(Claim("ST - plain", metric),))
    example = make_example(cells, baseline=scored(9, ece=0.4), design=design, settings=settings)
    return ablation_info(example.record, example.outcomes, example.references)


@pytest.mark.parametrize(("of_st", "verdict"), [(0.05, "better"), (0.2, "worse")])
def test_less_is_better(of_st: float, verdict: str) -> None:
    values = [run.scores.measures["ece"] for run in runs(of_st) if isinstance(run, Scored)]
    plain = [0.1 + 0.003 * (seed % 2) for seed in range(SEEDS)]
    cells = {"plain": [scored(seed, ece=one) for seed, one in enumerate(plain)], "ST": runs(of_st)}
    made = info({**cells})
    (effect,) = made.primary
    assert (effect.metric, effect.verdict) == (ECE, verdict)
    assert ECE in made.minimized
    differences = np.subtract(values, plain)
    assert effect.estimate.mean == pytest.approx(differences.mean())
    low, high = stats.t.interval(0.95, SEEDS - 1, differences.mean(), stats.sem(differences))
    assert (effect.estimate.low, effect.estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert (effect.estimate.method, effect.n_images) == (OVER_SEEDS, None)
    assert verdict_words(effect, made).text == verdict
    # The best arm is the one with less.
    best = "ST" if verdict == "better" else "plain"
    assert made.best[ECE] == (best,)


def test_tables_show_what_is_declared_and_its_direction() -> None:
    made = info({"plain": runs(0.1), "ST": runs(0.05)})
    table = arms_table(made)
    assert "Expected calibration error" in [column.heading for column in table.columns]
    assert "less is better: ece" in table.notes
    assert "less is better: ece" in effects_table(made).notes
    # Of what is not declared nothing is said there.
    other = info({"plain": runs(0.1), "ST": runs(0.05)}, "val_robust_accuracy")
    headings = [column.heading for column in arms_table(other).columns]
    assert not any("alibration" in heading or "orst" in heading for heading in headings)
    assert not any("less is better" in note for note in arms_table(other).notes)
    assert ECE in other.metrics


def test_a_loss_of_calibration_may_be_bounded() -> None:
    margin = {"noninferior": {"metric": ECE, "margin": 0.02}}
    robust = "val_worst_class_accuracy"
    for of_st, is_kept in ((0.11, True), (0.2, False)):
        plain: list[Run] = [scored(seed, ece=0.1 + 0.003 * (seed % 2)) for seed in range(SEEDS)]
        made = info({"plain": plain, "ST": runs(of_st)}, robust, **margin)
        kept = made.effect("ST - plain", ECE).kept
        assert kept is not None
        assert kept.kept is is_kept
        text = verdict_words(made.effect("ST - plain", robust), made).margin
        assert text == (
            "expected calibration error is kept"
            if is_kept
            else "a worse expected calibration error is not excluded"
        )


def test_a_failed_run_counts_as_the_largest_error() -> None:
    cells = {"plain": runs(0.1), "ST": [*runs(0.05)[:-1], DIED]}
    effect = info(cells).effect("ST - plain", ECE)
    assert effect.worst is not None
    assert effect.worst.mean > effect.estimate.mean


def test_runs_of_earlier_versions_have_no_value() -> None:
    old: list[Run] = [make_scored(np.random.default_rng(seed)) for seed in range(SEEDS)]
    made = info({"plain": old, "ST": old})
    (effect,) = made.primary
    assert (effect.estimate.n, effect.verdict) == (0, "too few seeds")
    assert ECE not in made.metrics
