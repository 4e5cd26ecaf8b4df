"""What the figures of an ablation are given, by values: effects, arms, budget, interactions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_ablations import CLEAN, NOISE, ROBUST, example_ablation, factorial_ablation
from example_results import Example, make_design, make_example, make_scores
from plans import ablation_study, design_of

from ablate.ablation.arm_profiles import arms_profile
from ablate.ablation.cell import Arm, Cell
from ablate.ablation.figure_infos import (
    InteractionsInfo,
    arms_info,
    budget_info,
    effects_info,
    interactions_info,
)
from ablate.ablation.info import TuningCurve, ablation_info

BOTH = {"loss.terms": "clean+st+fma"}

# -- effects --------------------------------------------------------------------------------


def test_effects_are_by_metric_and_claims_come_first() -> None:
    ablation = example_ablation()
    info = effects_info(ablation, ablation.effects)
    assert info.metrics == (ROBUST, CLEAN, NOISE)
    # FMA and DA are claimed on robust accuracy, FMA gains more: so they lead on clean accuracy too.
    for metric in (CLEAN, ROBUST):
        assert [one.contrast for one in info.on(metric)] == [
            "FMA - plain", "DA - plain", "baseline - plain",
        ]  # fmt: skip
    assert info.margin_on(CLEAN) == 0.02
    assert info.margin_on(ROBUST) is None


def test_effects_as_a_frame() -> None:
    ablation = example_ablation()
    frame = effects_info(ablation, ablation.effects).frame()
    row = frame[(frame["contrast"] == "FMA - plain") & (frame["metric"] == ROBUST)].iloc[0]
    assert (row["mean"], row["n"], row["verdict"]) == (0.163, 8, "better")
    assert row["primary"]
    assert row["p_adjusted"] == 0.015625
    kept = frame.set_index(["contrast", "metric"])["kept"]
    assert kept["FMA - plain", CLEAN]
    assert not kept["DA - plain", CLEAN]
    assert frame["p_adjusted"].isna().sum() == len(frame) - 2
    assert frame.dtypes["contrast"] == "string"
    empty = effects_info(ablation, []).frame()
    assert list(empty.columns) == list(frame.columns)
    assert list(map(str, empty.dtypes)) == list(map(str, frame.dtypes))


# -- arms -----------------------------------------------------------------------------------


def of_terms() -> Any:
    """Arms of one cell, of two models with the same terms, and of two with different ones."""
    terms = {"DA a": "clean+da", "DA b": "clean+da", "FMA": "clean+fma"}
    design = replace(
        make_design(["plain", *terms]),
        cells=(
            Cell("plain"),
            *(Cell(name, {"loss.terms": value}) for name, value in terms.items()),
        ),
        arms=(
            Arm("baseline", ("baseline",)),
            Arm("plain", ("plain",)),
            Arm("DA", ("DA a", "DA b")),
            Arm("mixed", ("DA a", "FMA")),
        ),
        contrasts=(),
    )
    runs = {name: [make_scores(0.6, 0.9)] * 2 for name in ("plain", *terms)}
    example = make_example(
        runs,
        baseline=make_scores(0.4, 0.95),
        design=design,
        loss={"terms": "clean+st"},
    )
    return example.record, ablation_info(example.record, example.outcomes, example.references)


def test_an_arm_has_the_loss_terms_of_its_models() -> None:
    info = arms_info(*of_terms(), [CLEAN, ROBUST])
    # Of a cell that says none the study's own; none of the baseline, and where models differ.
    assert info.loss_terms == ("", "clean+st", "clean+da", "")
    assert [(arm.name, terms) for arm, terms in info.arms] == [
        ("plain", "clean+st"), ("DA", "clean+da"), ("mixed", ""),
    ]  # fmt: skip
    assert info.baseline(CLEAN) == pytest.approx(0.95)
    assert math.isnan(info.baseline("loss"))


def test_arms_as_a_frame() -> None:
    frame = arms_info(*of_terms(), [CLEAN, NOISE]).frame()
    assert list(frame["arm"]) == [
        arm for name in ("baseline", "plain", "DA", "mixed") for arm in (name, name)
    ]
    assert list(frame["metric"][:2]) == [CLEAN, NOISE]
    assert list(frame["is_baseline"][:4]) == [True, True, False, False]
    assert list(frame["mean"][:3]) == pytest.approx([0.95, 0.4, 0.9])
    assert list(frame["n"][:3]) == [1, 1, 2]


# -- profile --------------------------------------------------------------------------------


def test_the_profile_of_an_arm_is_the_mean_of_its_runs() -> None:
    record, ablation = of_terms()
    rows = [
        replace(row, scores=make_scores(0.6 + 0.1 * number, 0.9))
        for number, row in enumerate(row for row in record.rows if row.cell == "plain")
    ]
    others = [row for row in record.rows if row.cell != "plain"]
    info = arms_profile(replace(record, rows=(*rows, *others)), ablation)
    assert [one.name for one in info.profiles] == ["baseline", "plain", "DA", "mixed"]
    assert [one.loss_terms for one in info.profiles] == ["", "clean+st", "clean+da", ""]
    assert info.baseline is info.profiles[0]
    assert info.chosen == info.profiles[1:]
    plain, da = info.profiles[1:3]
    gains = [mine - its for mine, its in zip(plain.accuracies[0], da.accuracies[0], strict=True)]
    assert gains == pytest.approx([0.05] * len(gains)), "0.6 and 0.7, against twice 0.6"
    assert (info.seeds, info.split) == (2, "validation")


# -- budget ---------------------------------------------------------------------------------


def test_budget() -> None:
    record, _ = of_terms()
    tuning = (
        TuningCurve("FMA", ROBUST, (0.70, 0.75), is_random=True),
        TuningCurve("DA", "loss", (1.0,), is_random=True),
    )
    info = budget_info(record, example_ablation(tuning=tuning))
    assert info is not None
    assert (info.metric, info.baseline) == (ROBUST, 0.60)
    assert [curve.arm for curve in info.curves] == ["FMA"]  # the other was tuned on another metric
    frame = info.frame()
    assert list(frame["trials"]) == [1, 2]
    assert list(frame["expected_best"]) == [0.70, 0.75]
    assert list(frame["gain"]) == pytest.approx([0.10, 0.15])
    assert budget_info(record, example_ablation()) is None


# -- interactions ---------------------------------------------------------------------------


def crossed(ablation: dict[str, Any], robust: dict[str, list[float]]) -> Example:
    """A factorial whose cells have these robust accuracies, one a seed; all others have 0.5."""
    design = design_of("factorial", ablation)
    seeds = len(next(iter(robust.values())))
    runs = {
        cell.name: [make_scores(one) for one in robust.get(cell.name, [0.5] * seeds)]
        for cell in design.cells
    }
    example = make_example(runs, design=design)
    study = ablation_study({"design": "factorial", **ablation}, name="crossed")
    return replace(example, record=replace(example.record, study=study))


def info_of(example: Example) -> InteractionsInfo:
    record = example.record
    ablation = ablation_info(record, example.outcomes, example.references)
    info = interactions_info(record, ablation, ROBUST)
    assert info is not None
    return info


TWO = crossed(
    {"reference": BOTH, "components": ["fma", "st"]},
    {
        "without fma, without st": [0.50, 0.52],
        "without fma, with st": [0.60, 0.62],
        "with fma, without st": [0.70, 0.72],
        "with fma, with st": [0.74, 0.76],
    },
)


def test_the_means_of_two_factors() -> None:
    info = info_of(TWO)
    assert [one.contrast for one in info.effects.effects] == ["fma", "st", "fma * st"]
    (crossing,) = info.crossings
    assert (crossing.first, crossing.second) == ("fma", "st")
    assert crossing.first_levels == crossing.second_levels == ("without", "with")
    means = [[one.mean for one in line] for line in crossing.means]
    assert means == [pytest.approx([0.51, 0.61]), pytest.approx([0.71, 0.75])]
    assert crossing.means[0][0].n == 2
    interaction = info.effects.effects[-1].estimate.mean
    assert interaction == pytest.approx(((0.75 - 0.71) - (0.61 - 0.51)) / 2)
    frame = info.frame()
    assert list(frame["kind"]) == ["main effect"] * 2 + ["interaction"] + ["mean"] * 4
    last = frame.iloc[-1]
    assert (last["first_level"], last["second_level"], last["n"]) == ("with", "with", 2)
    assert frame["primary"].isna().sum() == 4


def test_three_levels_are_averaged_over_the_third_factor() -> None:
    factors = {"loss.fma.weight": [1, 2, 3], "finetune.momentum": [0.5, 0.9]}
    ablation = {"reference": BOTH, "factors": factors, "components": ["st"]}
    start = "loss.fma.weight 3, finetune.momentum 0.9"
    info = info_of(crossed(ablation, {f"{start}, with st": [0.7], f"{start}, without st": [0.9]}))
    weight_momentum, weight_st, momentum_st = info.crossings
    assert weight_momentum.first_levels == ("1", "2", "3")
    assert weight_momentum.second_levels == ("0.5", "0.9")
    assert weight_momentum.means[2][1].mean == pytest.approx(0.8)
    assert weight_momentum.means[2][0].mean == pytest.approx(0.5)
    assert weight_st.means[2][1].mean == pytest.approx((0.5 + 0.7) / 2)
    assert momentum_st.means[1][0].mean == pytest.approx((0.5 + 0.5 + 0.9) / 3)
    assert weight_momentum.contrasts == (
        "loss.fma.weight 2 * finetune.momentum", "loss.fma.weight 3 * finetune.momentum",
    )  # fmt: skip
    assert info.strongest(2) == (weight_momentum, weight_st)


def test_no_interaction_and_no_run() -> None:
    assert interactions_info(TWO.record, example_ablation(), ROBUST) is None
    rows = tuple(replace(row, state="WAITING", scores=None) for row in TWO.record.rows)
    record = replace(TWO.record, rows=rows)
    info = interactions_info(record, factorial_ablation(effects=()), ROBUST)
    assert info is None
    info = interactions_info(record, factorial_ablation(), ROBUST)
    assert info is not None
    assert math.isnan(info.crossings[0].means[0][0].mean)
