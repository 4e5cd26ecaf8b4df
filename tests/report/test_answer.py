"""The answer in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_ablations import (
    CLEAN,
    ROBUST,
    estimate,
    example_ablation,
    example_effect,
    scored_arm,
)
from example_records import example_record, example_row
from example_sources import ablation_source

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.effects import Effect
from ablate.ablation.intervals import OVER_SEEDS_AND_IMAGES, Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.answer import search_answer
from ablate.analysis.pareto import pareto_info
from ablate.report.page.answer import answer_sentences

LAYERS = {"loss.terms": "clean+fma", "loss.fma.layers": ["stage2", "stage3"]}
ROWS = [
    example_row(0, (0.95, 0.70), params=LAYERS),
    example_row(1, (0.96, 0.72), params={"loss.terms": "clean+st"}),
    example_row(2, (0.90, 0.81), params={"loss.terms": "clean+da"}),
    example_row(3, (math.nan, 0.99)),
    example_row(4, None, state="PRUNED"),
]


def said(rows: Any, **settings: Any) -> list[str]:
    return answer_sentences(StudySource(example_record(rows, **settings)))


def test_gains_are_over_a_baseline_of_95_and_60() -> None:
    answer = search_answer(pareto_info(example_record(ROWS)))
    assert answer is not None
    assert answer.kept is not None
    assert answer.kept.point.number == 1
    assert (answer.kept.clean, answer.kept.robust) == pytest.approx((0.01, 0.12))
    assert answer.kept.robust_over_plain == pytest.approx(0.11)
    assert answer.kept.closed_fraction == pytest.approx(0.12 / 0.35)
    assert answer.most_robust.point.number == 2
    assert answer.chosen_from == 3


def test_of_equally_robust_trials_the_one_that_is_better_on_clean_images_then_the_first() -> None:
    rows = [example_row(at, (clean, 0.7)) for at, clean in enumerate((0.95, 0.96, 0.96))]
    answer = search_answer(pareto_info(example_record(rows)))
    assert answer is not None
    assert answer.kept is not None
    assert answer.kept.point.number == 1


def test_a_baseline_without_a_gap_closes_nothing() -> None:
    record = example_record(ROWS)
    baseline = replace(record.references["baseline"], clean_accuracy=0.6)
    record = replace(record, references={"baseline": baseline})
    answer = search_answer(pareto_info(record))
    assert answer is not None
    assert math.isnan(answer.most_robust.closed_fraction)
    assert math.isnan(answer.most_robust.robust_over_plain)
    assert "of the gap" not in " ".join(answer_sentences(StudySource(record)))


def test_a_search_in_words() -> None:
    assert said(ROWS) == [
        "Without losing clean accuracy, clean+st (trial 1) gains 12.0 points of robust accuracy "
        "over the baseline on validation images, +11.0 against the plain finetune, and closes "
        "34 % of the gap between clean and robust accuracy.",
        "The most robust trial, clean+da (trial 2), gains 21.0 points and closes 60 % of the gap "
        "between clean and robust accuracy, and loses 5.0 points of clean accuracy.",
        "Each trial was trained once (seed 0) and selected from 3, so its score is optimistic. "
        "`ablate confirm` measures by how much, with new seeds.",
    ]
    assert "clean+fma on stage2+stage3 (trial 0)" in said(ROWS[:1])[0]


def test_where_nothing_keeps_clean_accuracy() -> None:
    first, second, _ = said([ROWS[2]])
    assert first == (
        "No trial gains robust accuracy over the baseline without losing clean accuracy."
    )
    assert second.startswith("The most robust trial, clean+da (trial 2), gains 21.0 points")
    _, worse, _ = said([example_row(0, (0.9, 0.5))])
    assert "loses 10.0 points, and loses 5.0 points of clean accuracy." in worse


def test_before_anything_and_without_a_baseline() -> None:
    assert said([]) == ["None of 16 trials is complete yet."]
    own = {"trainable": "loops:train", "references": {}, "reference_point": None}
    objectives = [("loss", "minimize"), ("speed", "maximize")]
    rows = [example_row(0, (0.5, 1.0)), example_row(1, (0.25, 0.5)), example_row(2, (0.25, 0.25))]
    assert said(rows, objectives=objectives, **own) == [
        "The best loss is 0.25 (trial 1); the best speed is 1 (trial 0); 2 trials are on the front."
    ]
    nothing = [example_row(0, (math.nan, math.nan))]
    assert said(nothing, objectives=objectives, **own) == [
        "No complete trial has numbers for its objectives."
    ]


def confirmation(**arms: tuple[float, float]) -> ConfirmInfo:
    """Baseline 95 clean and 60 robust, and these arms, on the test images over 8 seeds."""

    def on_test(info: Any) -> Any:
        renamed = {CLEAN: "test_clean_accuracy", ROBUST: "test_robust_accuracy"}
        return replace(
            info, estimates={renamed[m]: e for m, e in info.estimates.items() if m in renamed}
        )

    baseline = example_ablation().arms[0]
    found = [scored_arm(name.replace("_", " "), *scores) for name, scores in arms.items()]
    test = example_ablation(
        arms=tuple(map(on_test, (baseline, *found))),
        effects=(example_effect("trial 1 - plain", 0.1, metric="test_robust_accuracy"),),
        split="test",
    )

    def gains(clean: float, robust: float) -> dict[str, Estimate]:
        both = {"test_clean_accuracy": clean - 0.95, "test_robust_accuracy": robust - 0.60}
        return {
            metric: estimate(gain, 0.015, method=OVER_SEEDS_AND_IMAGES)
            for metric, gain in both.items()
        }

    points = [
        ConfirmedPoint(
            arm.name, (ROBUST,), {ROBUST: 0.75}, {}, {}, {}, gains(*scores), front_probability=1.0
        )
        for arm, scores in zip(found, arms.values(), strict=True)
    ]
    return ConfirmInfo(test, test, tuple(points), ("test_robust_accuracy",))


def test_a_confirmation_comes_first_and_is_of_what_the_search_had_chosen() -> None:
    """Trial 1 is the most robust of the search without a loss; on test trial 2 is better."""
    info = confirmation(trial_1=(0.955, 0.71), trial_2=(0.96, 0.80))
    said = answer_sentences(StudySource(example_record(ROWS), confirmation=info))
    assert said[0] == (
        "Confirmed over 8 new seeds on the test images: clean+st (trial 1), as selected by the "
        "search, gains 11.0 points of robust accuracy over the baseline (95 % interval +9.5 to "
        "+12.5, t over seeds and images, n = 8) and 10.0 points over plain (95 % interval +8.0 to "
        "+12.0, t over seeds and images, n = 8) and closes 31 % of the gap between clean and "
        "robust accuracy, and gains 0.5 points of clean accuracy (95 % interval -1.0 to +2.0, t "
        "over seeds and images, n = 8)."
    )
    assert said[1].startswith("In the search, without losing clean accuracy, clean+st (trial 1)")
    assert not any("ablate confirm" in text for text in said), "it is done"


def test_a_confirmation_of_other_trials_and_of_none_yet() -> None:
    info = confirmation(trial_2=(0.91, 0.80))
    first = answer_sentences(StudySource(example_record(ROWS), confirmation=info))[0]
    assert "clean+da (trial 2), as selected by the search, gains 20.0 points" in first
    assert "loses 4.0 points of clean accuracy (95 % interval -5.5 to -2.5" in first
    first = answer_sentences(StudySource(example_record(ROWS), confirmation=confirmation()))[0]
    assert first == "Confirmation is running: no run on the test images has ended yet."


def test_an_ablation_in_words() -> None:
    assert answer_sentences(ablation_source(example_ablation())) == [
        "DA - plain: +14.5 points of robust accuracy, simultaneous 95 % interval +12.5 to +16.5, "
        "n = 8: not shown (adjusted p .062); clean accuracy kept within 2 points: not shown, up to "
        "3.0 points may be lost.",
        "FMA - plain: +16.3 points of robust accuracy, simultaneous 95 % interval +14.3 to +18.3, "
        "n = 8: better (adjusted p .016); clean accuracy kept within 2 points: yes.",
    ]


def test_shapley_values_divide_the_gain_in_words() -> None:
    def said(*values: Effect) -> str:
        return answer_sentences(ablation_source(example_ablation(effects=values)))[0]

    fma, st = (
        example_effect(name, gain, kind="Shapley value", p_adjusted=0.01, verdict="better")
        for name, gain in (("fma", 0.02), ("st", 0.06))
    )
    assert said(fma, st) == (
        "From none to all of the components, robust accuracy changes by +8.0 points. Their Shapley "
        "values divide it: st +6.0 (75 %), fma +2.0 (25 %)."
    )
    loss = example_effect("st", -0.06, kind="Shapley value")
    assert said(fma, loss).endswith(
        "changes by -4.0 points. Their Shapley values divide it: fma +2.0, st -6.0."
    )
    fewer = replace(st, estimate=replace(st.estimate, n=7))
    assert said(fma, fewer).startswith("fma: +2.0 points"), "of other seeds they have no sum"


def test_an_ablation_without_a_claim_says_so() -> None:
    info = example_ablation(
        effects=(
            example_effect("DA - plain", 0.145),
            example_effect("FMA - plain", 0.163, None, n=1),
        ),
        ended=20,
    )
    assert answer_sentences(ablation_source(info)) == [
        "20 of 24 runs have ended: the results below will change.",
        "No contrast was declared primary: the results below are exploratory and support no claim.",
        "FMA - plain: +16.3 points of robust accuracy, n = 1 (1 seed: no interval).",
        "DA - plain: +14.5 points of robust accuracy, 95 % interval +12.5 to +16.5, n = 8.",
    ]
