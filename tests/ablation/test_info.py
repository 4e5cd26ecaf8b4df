"""What an ablation says, by values: arms, costs, transfers, tuning, marks, failures."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from example_results import (
    BLUR,
    DIED,
    NOISE,
    ROBUST,
    Example,
    Run,
    make_design,
    make_example,
    make_scored,
    make_scores,
)
from scipy import stats

from ablate.ablation.cell import Arm, Cell, Claim, Tuning, difference
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.ablation.intervals import OVER_SEEDS, OVER_SEEDS_AND_IMAGES
from ablate.ablation.results import SplitName
from ablate.ablation.searches import expected_best
from ablate.errors import ParameterError
from ablate.ledger.record import Failure
from ablate.study.scores import ReportedScores

CLEAN = "val_clean_accuracy"


def info_of(example: Example, split: SplitName = "val") -> AblationInfo:
    return ablation_info(example.record, example.outcomes, example.references, split=split)


def arm_of(info: AblationInfo, name: str) -> Any:
    return next(arm for arm in info.arms if arm.name == name)


def two_arms(seeds: int = 3, **keys: Any) -> Example:
    cells: dict[str, list[Run]] = {
        "plain": [make_scores(0.50 + 0.01 * place, 0.90) for place in range(seeds)],
        "FMA": [
            make_scores(0.60 + 0.02 * place, 0.89 + 0.001 * (place % 3 - 1))
            for place in range(seeds)
        ],
    }
    return make_example(cells, baseline=make_scores(0.40, 0.95), **keys)


# -- arms
def test_arms_and_the_baseline() -> None:
    info = info_of(two_arms())
    assert [arm.name for arm in info.arms] == ["baseline", "plain", "FMA"]
    baseline, plain, fma = info.arms
    assert baseline.is_one_network
    one = baseline.estimates[ROBUST]
    assert (one.mean, one.n, one.method) == (pytest.approx(0.40), 1, "none")
    assert math.isnan(one.sd)
    assert not plain.is_one_network
    assert plain.estimates[CLEAN].mean == pytest.approx(0.90)
    of_fma = fma.estimates[ROBUST]
    assert (of_fma.mean, of_fma.sd) == (pytest.approx(0.62), pytest.approx(0.02))
    assert (of_fma.n, of_fma.method) == (3, OVER_SEEDS)
    assert of_fma.low == pytest.approx(0.62 - 4.30265 * 0.02 / math.sqrt(3), abs=1e-6)


def test_what_it_is_about() -> None:
    info = info_of(two_arms(settings={"noninferior": {"margin": 0.02}}))
    assert (info.study, info.question) == ("example", "Which part earned it?")
    assert (info.subject, info.fingerprint) == ("digits, resnet8", "abc123")
    assert (info.design, info.reference, info.rank_metric) == ("arms", "plain", ROBUST)
    assert (info.seeds, info.runs, info.ended) == (3, 6, 6)
    assert (info.split, info.n_images, info.n_corrupted) == ("validation", 100, 100)
    assert info.mean_over == "families"
    assert info.families == ("noise", "blur")
    # In the order of the tables, and none of one severity, no cost, no mean of nothing.
    assert info.metrics == (
        CLEAN,
        ROBUST,
        "val_robust_accuracy_unseen",
        "val_robust_accuracy_untrained",
        "val_worst_type_accuracy",
        "val_accuracy.noise",
        "val_accuracy.blur",
        "val_accuracy.gaussian_noise",
        "val_accuracy.impulse_noise",
        "val_accuracy.gaussian_blur",
    )
    assert set(info.arms[1].estimates) == set(info.metrics)


def test_effects_of_an_ablation() -> None:
    claims = (Claim("FMA - plain", ROBUST),)
    design = make_design(["plain", "FMA"], claims=claims)
    settings = {"noninferior": {"margin": 0.02}}
    info = info_of(two_arms(8, design=design, settings=settings))
    assert {one.contrast for one in info.effects} == {"baseline - plain", "FMA - plain"}
    assert len(info.effects) == 2 * len(info.metrics)
    (primary,) = info.primary
    assert primary is info.effect("FMA - plain", ROBUST)
    assert primary is info.to_reference("FMA", ROBUST)
    assert primary.estimate.mean == pytest.approx(0.135)
    gains = [0.10 + 0.01 * place for place in range(8)]
    assert primary.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert (primary.p_seeds, primary.verdict) == (2 / 256, "better")
    kept = info.effect("FMA - plain", CLEAN).kept
    assert kept is not None
    assert (kept.kept, kept.margin) == (True, 0.02)
    lost = info.effect("baseline - plain", CLEAN)
    assert lost.estimate.mean == pytest.approx(0.05)
    assert info.to_reference("plain", ROBUST) is None
    with pytest.raises(KeyError, match="FMA - plain on loss"):
        info.effect("FMA - plain", "loss")


def test_the_best_are_known_of_what_the_tables_show() -> None:
    info = info_of(two_arms(8))
    families = {f"val_accuracy.{family}" for family in ("noise", "blur")}
    assert set(info.best) == {CLEAN, ROBUST} | families
    assert info.best[CLEAN] == ("baseline",)  # the one network has .95
    assert all(info.best[metric] == ("FMA",) for metric in (ROBUST, *families))


def test_costs_are_of_a_run() -> None:
    cells: dict[str, list[Run]] = {
        "plain": [make_scores(train_seconds=10.0, student_images=1000, train_flops=7)] * 2,
        "FMA": [
            make_scores(train_seconds=20.0, student_images=1000, teacher_images=500),
            make_scores(train_seconds=30.0, student_images=1000, teacher_images=500),
        ],
        "ST": [DIED, DIED],
    }
    baseline = make_scores(train_seconds=99.0, student_images=5)
    info = info_of(make_example(cells, baseline=baseline))
    assert arm_of(info, "plain").costs["train_flops"] == 7
    assert arm_of(info, "FMA").costs == {
        "train_seconds": 25.0,
        "train_flops": 0.0,
        "student_images": 1000.0,
        "teacher_images": 500.0,
    }
    assert all(math.isnan(cost) for cost in arm_of(info, "ST").costs.values())
    of_none = arm_of(info, "baseline").costs
    assert (of_none["student_images"], of_none["teacher_images"]) == (0.0, 0.0)
    assert of_none["train_flops"] == 0.0
    assert math.isnan(of_none["train_seconds"])  # that of a pretraining is not of a run


# -- several models
def single_arms() -> Example:
    """Two models of one type each, beside the plain finetune; the second seed is .02 better."""

    def runs(noise: float, blur: float) -> list[Run]:
        return [
            make_scores(types={NOISE: noise + gain, BLUR: blur + gain}, robust=0.5)
            for gain in (0.0, 0.02)
        ]

    names = ("DA single: gaussian_noise", "DA single: gaussian_blur")
    cells = (
        Cell("plain"),
        *(
            Cell(name, {"augment.types": [kind]})
            for name, kind in zip(names, (NOISE, BLUR), strict=True)
        ),
    )
    arms = (
        Arm("baseline", ("baseline",)),
        Arm("plain", ("plain",)),
        Arm("DA single", names),
    )
    contrasts = (difference(arms[2], arms[1]),)
    design = make_design(["plain"], cells=cells, arms=arms, contrasts=contrasts)
    made = {"plain": runs(0.4, 0.6), names[0]: runs(0.8, 0.5), names[1]: runs(0.3, 0.9)}
    return make_example(made, design=design, baseline=make_scores(0.3))


def test_trained_on_one_and_tested_on_another() -> None:
    (transfer,) = info_of(single_arms()).transfers
    assert transfer.arm == "DA single"
    assert transfer.tested_on == (NOISE, "impulse_noise", BLUR)
    own, others = ([one.mean for one in of] for of in (transfer.own, transfer.others))
    assert own == pytest.approx([0.4, math.nan, 0.3], nan_ok=True)
    assert others == pytest.approx([-0.1, 0.0, -0.1])


# -- tuning
def tuned(
    sampler: str = "random", metric: str = ROBUST, enqueue: Any = (), **keys: Any
) -> AblationInfo:
    tuning = {
        "plain": Tuning("example~00-plain", 2, metric, (0.1, None, 0.4)),
        "FMA": Tuning("example~01-FMA", 0, metric, (0.5, 0.5, 0.5)),
    }
    design = make_design(["plain", "FMA"], tuning=tuning)
    settings = {"tune": {"trials": 3, "sampler": sampler, "enqueue": enqueue}}
    return info_of(two_arms(design=design, settings=settings, **keys))


def test_the_expected_best_of_a_smaller_budget() -> None:
    plain, fma = tuned().tuning
    assert (plain.arm, plain.metric, plain.is_random) == ("plain", ROBUST, True)
    # Of .1, .1 (failed: as the worst) and .4: one of three pairs has no .4.
    assert plain.scores == pytest.approx([0.2, 0.3, 0.4])
    assert fma.scores == pytest.approx([0.5, 0.5, 0.5])
    assert not tuned("tpe").tuning[0].is_random
    assert not tuned(enqueue=[{"finetune.learning_rate": 0.1}]).tuning[0].is_random


# -- what has to be said
ONE_BASELINE = (
    "conditional on the one baseline that all runs start from, and on one split of the images; "
    "baseline - ARM varies over the seeds of ARM alone"
)


def test_marks() -> None:
    assert info_of(two_arms()).marks == (ONE_BASELINE,)
    design = make_design(["plain", "FMA"], notes=("equal compute: 1,000 images",))
    noted = info_of(two_arms(design=design, settings={"baseline_seeds": "each"}))
    assert noted.marks == (
        "equal compute: 1,000 images",
        "conditional on one split of the images",
    )


def test_an_ablation_under_way() -> None:
    cells: dict[str, list[Run]] = {
        "plain": [make_scores(0.5), make_scores(0.5), None],
        "FMA": [make_scores(0.6), Failure("lost", "its node is gone"), None],
    }
    info = info_of(make_example(cells))
    assert (info.runs, info.ended, info.seeds) == (6, 4, 3)
    assert "4 of 6 runs have ended; numbers will change" in info.marks
    assert info.failures == ("seed 2 of FMA: lost: its node is gone",)
    assert arm_of(info, "FMA").failed == ("seed 2 (lost)",)
    assert arm_of(info, "plain").failed == ()
    assert (arm_of(info, "plain").estimates[ROBUST].n, info.effects[-1].estimate.n) == (2, 1)


@pytest.mark.parametrize("run", [None, DIED])
def test_nothing_has_ended_well(run: Run) -> None:
    info = info_of(make_example({"plain": [run] * 2, "FMA": [run] * 2}))
    assert (info.metrics, info.effects) == ((), ())
    assert (info.n_images, info.mean_over, info.families) == (None, None, ())
    assert [arm.estimates for arm in info.arms] == [{}, {}, {}]
    assert len(info.failures) == (4 if run else 0)


def test_a_search_is_refused() -> None:
    record = two_arms().record
    study = record.study.model_copy(update={"ablation": None})
    searched = replace(record, study=study, design=None)
    with pytest.raises(ParameterError) as error:
        ablation_info(searched, {}, {})
    assert str(error.value) == (
        "study example: must be an ablation, got a search. Add ablation: to a study file, or run "
        "`ablate confirm`."
    )


# -- a custom loop, and the test images
def test_a_loop_of_one_s_own() -> None:
    def runs(*losses: float) -> list[Run]:
        return [ReportedScores({"loss": one, "accuracy": 1 - one, "step.1": 1.0}) for one in losses]

    design = make_design(["plain", "FMA"], claims=(Claim("FMA - plain", "loss"),))
    arms = tuple(arm for arm in design.arms if arm.name != "baseline")
    contrasts = tuple(one for one in design.contrasts if one.name == "FMA - plain")
    design = replace(design, arms=arms, contrasts=contrasts)
    example = make_example(
        {
            "plain": runs(*(0.30 + 0.01 * place for place in range(8))),
            "FMA": runs(*(0.20 + 0.02 * place for place in range(8))),
        },
        design=design,
        trainable="loop:train",
        objectives=[{"metric": "loss", "direction": "minimize"}, {"metric": "accuracy"}],
        settings={"noninferior": {"metric": "loss", "margin": 0.01}},
    )
    info = info_of(example)
    assert info.subject == "loop:train"
    assert info.metrics == ("loss", "accuracy", "step.1")
    assert (info.families, info.n_images, info.transfers) == ((), None, ())
    assert (info.minimized, info.rank_metric) == (("loss",), "loss")
    effect = info.effect("FMA - plain", "loss")
    assert effect.estimate.mean == pytest.approx(-0.065)
    assert (effect.estimate.method, effect.verdict) == (OVER_SEEDS, "better")
    assert effect.kept is not None
    assert effect.kept.kept is True
    # Of step.1, which is no objective, nothing says whether more is better.
    assert info.best == {"loss": ("FMA",), "accuracy": ("FMA",)}
    assert info.marks == ()
    assert all(math.isnan(cost) for cost in info.arms[0].costs.values())


def test_on_the_test_images() -> None:
    random = np.random.default_rng(0)

    def both(rate: float) -> Any:
        validated = make_scored(random, rate)
        tested = make_scored(random, rate - 0.1, split="test", n=50, n_corrupted=45)
        return validated, tested

    design = make_design(["plain", "FMA"], claims=(Claim("FMA - plain", ROBUST),))
    example = make_example(
        {"plain": [both(0.5) for _ in range(8)], "FMA": [both(0.8) for _ in range(8)]},
        baseline=both(0.4),
        design=design,
        settings={"noninferior": {"margin": 0.5}},
    )
    info, before = info_of(example, "test"), info_of(example)
    assert (info.split, info.rank_metric) == ("test", "test_robust_accuracy")
    assert (info.n_images, info.n_corrupted) == (50, 45)
    assert all(metric.startswith("test_") for metric in info.metrics)
    (primary,) = info.primary
    assert (primary.metric, primary.verdict) == ("test_robust_accuracy", "better")
    assert primary.estimate.method == OVER_SEEDS_AND_IMAGES
    values = [
        row.test_scores.robust_accuracy
        for row in example.record.rows
        if row.cell == "FMA" and row.test_scores is not None
    ]
    mean = arm_of(info, "FMA").estimates["test_robust_accuracy"].mean
    assert mean == pytest.approx(np.mean(values))
    assert info.effect("FMA - plain", "test_clean_accuracy").kept is not None
    one = arm_of(info, "baseline").estimates["test_robust_accuracy"]
    assert one.mean == pytest.approx(example.record.test_references["baseline"].robust_accuracy)
    assert before.primary[0].metric == ROBUST
    assert before.n_images == 40


NAN = math.nan


@pytest.mark.parametrize(
    "values", [[0.3], [0.1, 0.9], [0.4, 0.1, 0.9, 0.2, 0.3], [0.5, 0.5, 0.1, 0.5, 0.1], [2.0, -1.0]]
)
def test_the_expected_best_is_the_mean_over_all_subsets(values: list[float]) -> None:
    expected = [
        np.mean([max(some) for some in combinations(values, n)]) for n in range(1, len(values) + 1)
    ]
    assert expected_best(np.array(values)) == pytest.approx(expected)


def test_the_expected_best_of_many_trials_is_stable() -> None:
    values = np.random.default_rng(0).random(2000)
    found = expected_best(values)
    assert (found[0], found[-1]) == pytest.approx((values.mean(), values.max()))
    assert (np.diff(found) >= 0).all()


def test_a_failed_trial_is_as_bad_as_the_worst() -> None:
    found = expected_best(np.array([0.9, NAN, 0.2, -math.inf]))
    assert found == pytest.approx(expected_best(np.array([0.9, 0.2, 0.2, 0.2])))


def test_all_failed_and_no_trial() -> None:
    assert np.isnan(expected_best(np.array([NAN, NAN]))).tolist() == [True, True]
    assert expected_best(np.array([])).tolist() == []
