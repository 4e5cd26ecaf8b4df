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
from example_records import example_record, example_row, example_scores
from example_sources import ablation_source

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import OVER_SEEDS_AND_IMAGES, Estimate
from ablate.ablation.study_source import StudySource
from ablate.ledger.record import Failure, RowRecord
from ablate.report.arms import NOTHING
from ablate.report.page.answer import study_answer
from ablate.study.interpolation import Curve, CurvePoint
from ablate.study.scores import ReportedScores, Scores
from ablate.study.sections.ablation import AblationSettings


def trial(number: int, clean: float, robust: float, terms: str, **params: Any) -> RowRecord:
    return example_row(
        number,
        (clean, robust),
        params={"loss.terms": terms, **params},
        scores=example_scores(clean, robust),
    )


ROWS = [
    trial(0, 0.95, 0.70, "clean+fma", **{"loss.fma.layers": ["stage2", "stage3"]}),
    trial(1, 0.96, 0.72, "clean+st"),
    trial(2, 0.90, 0.81, "clean+da"),
    example_row(3, (math.nan, 0.99)),
    example_row(4, None, state="PRUNED"),
]


def said(rows: Any, **settings: Any) -> list[str]:
    return list(study_answer(StudySource(example_record(rows, **settings))).sentences)


def test_a_search_in_words() -> None:
    """Without bits there is no interval, and no difference is shown."""
    assert said(ROWS) == [
        "The most robust point of all at a clean loss of at most 1 point, clean+st (trial 1): "
        "+12.0 points (no interval) of robust accuracy over the baseline, +11.0 points (no "
        "interval) over the plain finetune, and +1.0 points (no interval) of clean accuracy.",
        "The best points of the other sets, less this one: clean+fma on stage2+stage3 (trial 0) "
        "-2.0 points (no interval); clean+da (trial 2) +9.0 points (no interval) "
        "(no point within the margin).",
        "Of these 12.0 points, by type: gaussian_blur +6.0, gaussian_noise +3.0, impulse_noise "
        "+3.0; 3 types in all.",
        "Each point was trained once (seed 0) and chosen from 4 trials, 1 of them stopped early, "
        "so its score is optimistic, and no interval covers other seeds: exploratory until `ablate "
        "confirm` measures both, on the test images.",
    ]


def test_terms_in_another_order_are_the_same_set() -> None:
    def swapped(row: RowRecord) -> RowRecord:
        terms = str(row.params.get("loss.terms", "")).split("+")
        return replace(row, params={**row.params, "loss.terms": "+".join(reversed(terms))})

    assert said([swapped(row) if row.number < 3 else row for row in ROWS]) == said(ROWS)


def test_a_question_is_answered_in_its_own_words() -> None:
    def first(question: str) -> str:
        return said(ROWS, question=question)[0]

    assert first("Which of FMA and ST?").startswith(
        "In this search ST and FMA are not shown to differ in robust accuracy at a clean loss of "
        "at most 1 point (exploratory): clean+st (trial 1) less clean+fma on stage2+stage3 (trial "
        "0): +2.0 points (no interval)."
    )
    assert first("Does the feature-map term help?").startswith(
        "Over the best point of DA alone (no point within the margin), robust accuracy: FMA -11.0 "
        "points"
    )
    assert first("Does DA help?") == "No point with DA is at a clean loss of at most 1 point."
    fma, da, *_ = said(ROWS, question="FMA or DA?")
    assert fma == "No point with DA is at a clean loss of at most 1 point."
    assert "(no point within the margin), robust accuracy: FMA -11.0" in da
    assert first("Is it stable at the best?").startswith("The most robust point of all")


def test_where_nothing_keeps_clean_accuracy() -> None:
    first = said([ROWS[2]])[0]
    assert first.startswith(
        "No point keeps clean accuracy within 1 point of the baseline. Clean+da (trial 2) loses "
        "least: -5.0 points (no interval) of clean and +21.0 points"
    )
    least = said([ROWS[2], trial(5, 0.93, 0.79, "clean+st")])[0]
    assert "Clean+st (trial 5) loses least: -2.0 points (no interval) of clean" in least


def test_the_margin_is_the_study_s() -> None:
    first = said(ROWS, answer={"clean_margin": 0.05})[0]
    assert "at a clean loss of at most 5 points, clean+da (trial 2): +21.0 points" in first


@pytest.mark.parametrize(
    ("flops", "fact"),
    [
        ((117, 100), ("Training FLOPs", "1.2 times those of DA")),
        ((117, 0), ("Images trained on", "2.0 times those of DA")),
    ],
)
def test_training_is_compared_by_flops_or_by_images_of_the_network(
    flops: tuple[int, int], fact: tuple[str, str]
) -> None:
    """Images through a teacher cost less than images through the network, and are no such."""
    rows = [
        replace(row, scores=replace(row.scores, train_flops=one, **images))  # type: ignore[type-var]
        for row, one, images in zip(
            (ROWS[0], ROWS[2]),
            flops,
            ({"student_images": 200, "teacher_images": 100}, {"student_images": 100}),
            strict=True,
        )
    ]
    fma, da = study_answer(StudySource(example_record(rows))).cards
    assert fact in fma.facts
    assert not any("of DA" in value for _, value in da.facts)


def test_equally_robust_trials_are_ranked_by_clean_accuracy_then_by_number() -> None:
    rows = [trial(at, clean, 0.7, "clean+st") for at, clean in enumerate((0.95, 0.96, 0.96))]
    assert "clean+st (trial 1)" in said(rows)[0]


def test_collapsed_and_failed_trials_are_named() -> None:
    rows = [trial(at, 0.95, 0.70 + 0.001 * at, "clean+st") for at in range(9)]
    rows += [trial(9, 0.30, 0.10, "clean+st")]
    failure = Failure("not_finite", "the loss is NaN")
    rows += [example_row(at, None, state="FAIL", failure=failure) for at in (10, 11)]
    text = said(rows)
    below = "far below the others and the baseline in clean or robust accuracy"
    assert f"Trial 9 collapsed: {below}." in text
    assert "Trials 10, 11 failed (not_finite)." in text


@pytest.mark.parametrize(
    ("clean", "robust"),
    [
        pytest.param(0.90, 0.705, id="far below the others, and near the baseline"),
        pytest.param(0.40, 0.75, id="on the front"),
        pytest.param(0.95, 0.55, id="ten points below the others, five below the baseline"),
    ],
)
def test_no_trial_of_the_front_or_near_the_baseline_has_collapsed(
    clean: float, robust: float
) -> None:
    rows = [trial(at, 0.95 + 0.001 * at, 0.70 + 0.001 * at, "clean+st") for at in range(9)]
    assert "collapsed" not in " ".join(said([*rows, trial(9, clean, robust, "clean+st")]))


def test_no_trial_that_the_answer_names_has_collapsed() -> None:
    """The best of its set may be far below the other sets."""
    rows = [trial(at, 0.95, 0.70 + 0.001 * at, "clean+st") for at in range(9)]
    text = " ".join(said([*rows, trial(9, 0.30, 0.10, "clean+fma")]))
    assert "clean+fma (trial 9)" in text
    assert "collapsed" not in text


def test_another_accuracy_is_not_called_robust() -> None:
    """Clean accuracy and that of a family: there is no robust accuracy to be best in."""
    metrics = ("val_clean_accuracy", "val_accuracy.noise")
    rows = [
        example_row(at, values, scores=example_scores(*values))
        for at, values in enumerate([(0.95, 0.7), (0.9, 0.8)])
    ]
    (first, *_) = said(rows, objectives=[(metric, "maximize") for metric in metrics])
    assert "robust accuracy" not in first
    assert first == (
        "The best clean accuracy is 95 % (trial 0); the best accuracy, noise is 80 % (trial 1); 2 "
        "trials are on the front."
    )


def test_the_best_under_constraints_is_of_those_that_keep_them() -> None:
    own = {"trainable": "loops:train", "references": {}, "reference_point": None}
    rows = [
        example_row(at, (value,), scores=ReportedScores({"loss": value}))
        for at, value in enumerate([0.1, 0.25, 0.5])
    ]
    limit = [{"metric": "loss", "min": 0.2}]
    assert said(rows, objectives=[("loss", "minimize")], constraints=limit, **own) == [
        "The best loss is 0.25 (trial 1) of 2 complete trials that keep the constraints."
    ]


def test_before_anything_and_without_a_baseline() -> None:
    assert said([]) == ["None of 16 trials is complete yet."]
    own = {"trainable": "loops:train", "references": {}, "reference_point": None}
    objectives = [("loss", "minimize"), ("speed", "maximize")]
    rows = [example_row(0, (0.5, 1.0)), example_row(1, (0.25, 0.5)), example_row(2, (0.25, 0.25))]
    assert said(rows, objectives=objectives, **own) == [
        "The best loss is 0.25 (trial 1); the best speed is 1 (trial 0); 2 trials are on the front."
    ]
    dominated = [
        example_row(0, (0.25, 0.5)),
        example_row(1, (0.5, 1.0)),
        example_row(2, (0.25, 1.0)),
    ]
    assert said(dominated, objectives=objectives, **own) == [
        "The best loss is 0.25 (trial 2); the best speed is 1 (trial 2); 1 trial is on the front."
    ], "of equal ones that on the front"
    failed = example_row(3, None, state="FAIL", failure=Failure("raised", "no memory"))
    assert said([*rows, failed], objectives=objectives, **own)[1:] == ["Trial 3 failed (raised)."]
    nothing = [example_row(0, (math.nan, math.nan))]
    assert said(nothing, objectives=objectives, **own) == [
        "No complete trial has numbers for its objectives."
    ]


ONE = [replace(row, values=row.values[1:] if row.values else None) for row in ROWS[:3]]
FOR_ONE: dict[str, Any] = {
    "objectives": [("val_robust_accuracy", "maximize")],
    "reference_point": None,
}


def test_one_objective_in_words() -> None:
    assert said(ONE, **FOR_ONE) == [
        "The best robust accuracy is 81.0 %, of clean+da (trial 2): +21.0 points (no interval) "
        "over the baseline, +20.0 points (no interval) over the plain finetune.",
        "Of the next 2 trials, trials 1, 0 are not shown to be worse.",
        "Each point was trained once (seed 0) and chosen from 3 trials, so its score is "
        "optimistic, and no interval covers other seeds: exploratory until `ablate confirm` "
        "measures both, on the test images.",
    ]
    own = {"trainable": "loops:train", "references": {}, "reference_point": None}
    rows = [example_row(at, (value,)) for at, value in enumerate((0.5, 0.25, math.nan))]
    assert said(rows, objectives=[("loss", "minimize")], **own) == [
        "The best loss is 0.25 (trial 1) of 3 complete trials."
    ]


def test_the_best_trials_confirmed() -> None:
    record = example_record(ONE, **FOR_ONE)

    def answer(**arms: tuple[float, float]) -> Any:
        return study_answer(StudySource(record, confirmation=confirmation(**arms)))

    found = answer(trial_2=(0.96, 0.71), trial_1=(0.955, 0.80))
    assert list(found.sentences[2:]) == [
        "2 trials were retrained with 8 new seeds and scored on the test images. Probability of "
        "having the best mean: trial 2 97 %, trial 1 40 %.",
        "Chosen by the search alone: clean+da (trial 2), +11.0 points [+9.5, +12.5] of robust "
        "accuracy over the baseline on the test images.",
        "To choose another of these points by these numbers would be a choice on the test set: "
        "report all of them, or the one that was chosen before.",
    ]
    assert [card.trial for card in found.cards] == [2, 1]
    assert found.cards[1].facts[-1] == ("The best of these", "40 %")
    assert answer().sentences[-1].startswith("Confirmation is running: no run")


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
        ConfirmedPoint(arm.name, (ROBUST,), {}, {}, {}, {}, gains(*scores), {}, (), chance)
        for arm, scores, chance in zip(found, arms.values(), (0.97, 0.4), strict=False)
    ]

    def compare(one: str, other: str, metric: str, level: float) -> Estimate:
        scores = [arms[name.replace(" ", "_")] for name in (one, other)]
        place = ("test_clean_accuracy", "test_robust_accuracy").index(metric)
        less = scores[0][place] - scores[1][place]
        return estimate(less, (1 - level) / 5, method=OVER_SEEDS_AND_IMAGES)

    return ConfirmInfo(test, test, tuple(points), ("test_robust_accuracy",), compare)


def confirmed(info: ConfirmInfo, question: str = "") -> list[str]:
    record = example_record(ROWS, question=question)
    return list(study_answer(StudySource(record, confirmation=info)).sentences)


def test_a_confirmation_answers_the_question_in_its_own_words() -> None:
    front = confirmation(trial_0=(0.95, 0.75), trial_1=(0.955, 0.71), trial_2=(0.9, 0.8))
    text = confirmed(front, "Which of FMA and ST?")
    assert text[0] == (  # though the search ranks trial 1 before trial 0
        "On the test images FMA bought more robust accuracy than ST, with no difference in clean "
        "accuracy shown (exploratory): clean+fma on stage2+stage3 (trial 0) less clean+st (trial "
        "1): +4.0 points [+3.0, +5.0] of robust and -0.5 points [-1.5, +0.5] of clean accuracy."
    )
    near = confirmation(trial_0=(0.9, 0.715), trial_1=(0.955, 0.71))
    assert (
        "ST and FMA are not shown to differ in robust accuracy, and ST has more clean accuracy "
        "(exploratory): clean+st (trial 1) less" in confirmed(near, "FMA or ST?")[0]
    )
    alone = confirmation(trial_1=(0.955, 0.71))
    assert confirmed(alone, "Which of FMA and ST?")[0] == (
        "No confirmed point has FMA: `ablate confirm --trials` adds one."
    )


def test_a_confirmation_answers_da_and_ca_by_the_arm_retrained_beside_it() -> None:
    front = confirmation(trial_1=(0.955, 0.71))
    effect = example_effect("DA combined - plain", 0.15, metric="test_robust_accuracy")
    test = replace(front.test, effects=(*front.test.effects, effect))
    beside = replace(front, test=test)
    gain = "+15.0 points [+13.0, +17.0]"
    by = "Over plain, by combined data augmentation alone, robust accuracy"
    assert confirmed(beside, "Does data augmentation help?")[0] == f"{by}: DA {gain}."
    assert confirmed(beside, "Does CA earn its keep?")[0] == f"{by}: CA {gain}."
    assert confirmed(beside, "What do DA and CA buy?")[0] == f"{by}: DA/CA {gain}."
    assert gain not in " ".join(confirmed(beside, "What does ST buy?"))


def test_arms_beside_a_point_of_a_curve_stand_at_alpha_1() -> None:
    """The arms are finetuned networks; the point is one between the baseline and its trial."""
    row = ROWS[1]
    assert isinstance(row.scores, Scores)
    point = CurvePoint(row.scores.clean_accuracy, row.scores.accuracies)
    path = Curve({"0": point, "0.5": point, "1": point}, alpha=0.5)
    name = "trial 1 at alpha 0.5"
    front = confirmation(**{name.replace(" ", "_"): (0.955, 0.71)})
    effect = example_effect(f"{name} - plain", 0.1, metric="test_robust_accuracy")
    over = {"test_robust_accuracy": estimate(-0.02, 0.01, method=OVER_SEEDS_AND_IMAGES)}
    front = replace(
        front,
        test=replace(front.test, effects=(effect,)),
        points=(replace(front.points[0], over_da=over),),
    )
    record = example_record([replace(row, path=path)], question="Does ST help?")
    answer = study_answer(StudySource(record, confirmation=front))
    assert answer.sentences[0] == (
        "Over combined data augmentation alone at alpha 1, robust accuracy: ST -2.0 points [-3.0, "
        "-1.0]."
    )
    (card,) = answer.cards
    names = [fact for fact, _ in card.facts]
    assert {"Over plain at alpha 1", "Over combined DA at alpha 1"} <= {*names}


def test_a_confirmation_is_of_the_whole_front_and_names_what_the_search_had_chosen() -> None:
    """Trial 1 is the search's choice; on the test images trial 2 is better."""
    text = confirmed(confirmation(trial_1=(0.955, 0.71), trial_2=(0.96, 0.80)))
    assert text == [
        "The front was retrained with 8 new seeds and scored on the test images. "
        "Probability of being on it: trial 1 97 %, trial 2 40 %.",
        "Chosen by the search alone (at a clean loss of at most 1 point): clean+st (trial 1), "
        "+11.0 points [+9.5, +12.5] of robust accuracy over the baseline, +10.0 points [+8.0, "
        "+12.0] over plain, and +0.5 points [-1.0, +2.0] (a tie) of clean accuracy.",
        "To choose another of these points by these numbers would be a choice on the test set: "
        "report all of them, or the one that was chosen before.",
    ]


def test_a_confirmation_of_a_constrained_search_counts_what_keeps_the_constraints() -> None:
    front = confirmation(trial_1=(0.955, 0.71))
    (point,) = front.points
    info = replace(
        front,
        points=(replace(point, feasible_probability=0.98),),
        constraints=("test_clean_accuracy",),
        unknown=("test_accuracy.fog",),
    )
    answer = study_answer(StudySource(example_record(ROWS), confirmation=info))
    assert answer.sentences[0] == (
        "1 trial was retrained with 8 new seeds and scored on the test images. "
        "Probability of keeping the constraints and being on the front of these: trial 1 97 %. Not "
        "judged, as the test images "
        "were not scored for it: accuracy, fog."
    )
    facts = answer.cards[0].facts
    assert facts[-2:] == (("On the front", "97 %"), ("Keeps the constraints", "98 %"))


def test_a_confirmation_of_other_trials_and_of_none_yet() -> None:
    text = confirmed(confirmation(trial_2=(0.91, 0.80)))
    assert (
        text[1] == "The point that the search would choose, clean+st (trial 1), is not among them."
    )
    begun = confirmation(trial_1=(math.nan, math.nan), trial_2=(0.91, 0.80))
    begun = replace(begun, test=replace(begun.test, ended=3))
    text = confirmed(begun, "Does ST help?")
    assert text[0] == "3 of 24 runs have ended: the results below will change."
    assert text[2].endswith("would choose, clean+st (trial 1), has no score yet.")
    assert "No confirmed point has" not in " ".join(text)
    assert confirmed(confirmation()) == [
        "Confirmation is running: no run on the test images has ended yet."
    ]


def of_ablation(info: AblationInfo) -> list[str]:
    return list(study_answer(ablation_source(info)).sentences)


def test_an_ablation_in_words() -> None:
    assert of_ablation(example_ablation()) == [
        "DA: against plain +14.5 points [+12.5, +16.5] of robust accuracy, not shown (adjusted p "
        ".062), clean accuracy kept within 2 points: not shown, up to 3.0 points may be lost.",
        "FMA: against plain +16.3 points [+14.3, +18.3] of robust accuracy, better (adjusted p "
        ".016), clean accuracy kept within 2 points: yes.",
    ]


def test_shapley_values_divide_the_gain_in_words() -> None:
    def said(*values: Effect) -> str:
        return of_ablation(example_ablation(effects=values))[0]

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
    assert of_ablation(info) == [
        "20 of 24 runs have ended: the results below will change.",
        "No contrast was declared primary: the results are exploratory.",
        "FMA: against plain +16.3 points of robust accuracy (1 seed: no interval), n = 1, "
        "exploratory.",
        "DA: against plain +14.5 points [+12.5, +16.5] of robust accuracy, exploratory.",
    ]


def test_a_claim_without_a_pair_is_named_and_so_are_failed_runs() -> None:
    """All 24 runs have ended, those of FMA have failed."""
    effects = (
        example_effect("DA - plain", 0.145, p_adjusted=0.0625, verdict="not shown"),
        replace(
            example_effect("FMA - plain", 0.1, p_adjusted=1.0, verdict="not shown"),
            estimate=NOTHING,
        ),
    )
    failed = "FMA failed at 8 of 8 seeds (raised)"
    info = example_ablation(effects=effects, failures=(failed,))
    first, second, third = of_ablation(info)
    assert first.startswith("DA: against plain +14.5 points")
    assert (second, third) == (
        "FMA: against plain, no pair of runs has ended well.",
        f"{failed}.",
    )
    nothing = example_ablation(effects=effects[1:], failures=(failed,))
    assert "No two runs to compare have ended well." in of_ablation(nothing)
    assert "No run has ended yet." not in of_ablation(nothing)
    begun = example_ablation(effects=effects[1:], ended=0)
    assert of_ablation(begun)[-1] == "No run has ended yet."


def test_a_contrast_is_with_the_reference_where_it_names_nothing_else() -> None:
    effects = (
        example_effect("FMA - plain", 0.163, p_adjusted=0.01, verdict="better"),
        example_effect("DA - plain", 0.145),
    )
    info = example_ablation(effects=effects, question="Does DA help?")
    assert [one.partition(":")[0] for one in of_ablation(info)] == ["FMA", "DA"]
    settings = {"design": "arms", "arms": {"FMA": {}, "DA": {}}, "contrasts": [{"compare": "DA"}]}
    source = ablation_source(info)
    study = source.record.study.model_copy(
        update={"ablation": AblationSettings.model_validate(settings)}
    )
    declared = replace(source, record=replace(source.record, study=study))
    assert [one.partition(":")[0] for one in study_answer(declared).sentences] == ["FMA", "DA"]
