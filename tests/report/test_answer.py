"""The answer in at most three sentences: which network, which part earns it, a caveat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from example_ablations import CLEAN, ROBUST, estimate, example_ablation, example_effect, scored_arm
from example_records import example_record, example_row, example_scores
from example_sources import ablation_source, ablations, searches

from ablate.ablation.cell import Cell, Design
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import OVER_SEEDS_AND_IMAGES
from ablate.ablation.study_source import StudySource
from ablate.ledger.record import Failure, RowRecord
from ablate.report.answer import study_answer
from ablate.study.mixture import Mixtures, ScoredMixture
from ablate.study.scores import ReportedScores, Scores

ONCE = (
    "It was trained once and is the best of {} on these images, so part of the gain may be luck: "
    "`ablate confirm` trains it again, and measures that on the test images."
)
ON_TEST = (
    "Do not pick another trial by these numbers: the test images would no longer be a fair test."
)


def trial(number: int, clean: float, robust: float, terms: str, **params: Any) -> RowRecord:
    scores = example_scores(clean, robust)
    params = {"loss.terms": terms, **params}
    return example_row(number, (clean, robust), params=params, scores=scores)


ROWS = [
    trial(0, 0.95, 0.70, "clean+fma", **{"loss.fma.layers": ["stage2", "stage3"]}),
    trial(1, 0.96, 0.72, "clean+st"),
    trial(2, 0.90, 0.81, "clean+da"),
    example_row(3, (math.nan, 0.99)),
    example_row(4, None, state="PRUNED"),
]


def said(rows: Sequence[RowRecord], **settings: Any) -> list[str]:
    return list(study_answer(StudySource(example_record(rows, **settings))).sentences)


def test_a_search_in_words() -> None:
    """Without bits there is no interval, and no difference is shown."""
    assert said(ROWS, trials=5) == [
        "Take trial 1 (ST): of 100 distorted validation images it gets 72 right, 60 before "
        "finetuning; of undistorted ones 96.0, 95.0 before.",
        "No claim is supported: each was trained once. Over distorted copies, without FMA or ST "
        "(DA), on the validation images, robust accuracy changes by: FMA -11.0 points (no "
        "interval); ST -9.0 points (no interval).",
        ONCE.format("4 trials"),
    ]


def test_what_is_no_better_than_before_finetuning_is_not_to_be_taken() -> None:
    """By less than one image."""
    rows = [trial(0, 0.96, 0.60, "clean+da"), trial(1, 0.95, 0.55, "clean+fma")]
    answer = study_answer(StudySource(example_record(rows, trials=2)))
    assert answer.trial is None
    assert answer.sentences[0] == (
        "None is better than the network before finetuning; trial 0 (DA) is nearest: of 100 "
        "distorted validation images it gets 60.0 right, 60.0 before finetuning; of undistorted "
        "ones 96.0, 95.0 before."
    )


def test_each_method_is_compared_with_the_strongest_reference_that_there_is() -> None:
    fma, st = said([row for row in ROWS if row.number != 2])[1].split("changes by: ")
    assert "Over plain finetuning" in fma
    assert st == "FMA +9.0 points (no interval); ST +11.0 points (no interval)."
    references = {"baseline": example_scores(0.95, 0.60)}
    alone = said([row for row in ROWS if row.number != 2], references=references)[1]
    assert "Over the network before finetuning" in alone
    both = [*ROWS, trial(5, 0.95, 0.9, "clean+da+fma"), trial(6, 0.95, 0.95, "clean+fma+st")]
    (text,) = [one for one in said(both) if "without FMA or ST (DA)" in one]
    assert "FMA with DA +9.0 points" in text, "without ST, the better of two with FMA"
    assert "FMA and ST" not in text


def test_a_loss_beyond_the_margin_is_said_first() -> None:
    assert said([ROWS[2], trial(5, 0.93, 0.79, "clean+st")], trials=2)[0] == (
        "No trial loses at most 1 point on undistorted images; trial 5 (ST) loses least: of 100 "
        "distorted validation images it gets 79 right, 60 before finetuning; of undistorted ones "
        "93.0, 95.0 before."
    )
    assert said(ROWS, answer={"clean_margin": 0.05})[0].startswith("Take trial 2 (DA): ")


def test_equally_robust_trials_are_ranked_by_clean_accuracy_then_by_number() -> None:
    rows = [trial(at, clean, 0.7, "clean+st") for at, clean in enumerate((0.95, 0.96, 0.96))]
    assert said(rows)[0].startswith("Take trial 1 ")
    assert "it gets 60.4 right, 60.0 before" in said([trial(0, 0.95, 0.604, "clean+st")])[0]


def test_what_is_not_the_first_caveat_is_a_note() -> None:
    rows = [trial(at, 0.95, 0.70 + 0.001 * at, "clean+st") for at in range(9)]
    rows += [trial(9, 0.30, 0.10, "clean+st")]
    failure = Failure("not_finite", "the loss is NaN")
    rows += [example_row(at, None, state="FAIL", failure=failure) for at in (10, 11)]
    answer = study_answer(StudySource(example_record(rows)))
    assert answer.sentences[-1] == "12 of 16 trials have ended: this will change."
    assert answer.trial == 8
    assert answer.notes == (
        ONCE.format("10 trials"),
        "Trials 10, 11 failed (not_finite).",
        "Trial 9 collapsed: far below the others and the baseline.",
        "intervals of the answer: 95 %, of new images for these networks, t over images",
    )


def test_a_trial_near_the_baseline_or_on_the_front_did_not_collapse() -> None:
    for clean, robust in ((0.90, 0.705), (0.40, 0.75), (0.95, 0.55)):
        rows = [trial(at, 0.95 + 0.001 * at, 0.70 + 0.001 * at, "clean+st") for at in range(9)]
        rows.append(trial(9, clean, robust, "clean+st"))
        assert "collapsed" not in str(study_answer(StudySource(example_record(rows))))


def test_other_objectives_and_nothing_yet() -> None:
    own = {"trainable": "loops:train", "references": {}, "reference_point": None, "trials": 3}
    two = [("loss", "minimize"), ("speed", "maximize")]
    values = [(0.25, 0.5), (0.5, 1.0), (0.25, 1.0)]
    rows = [example_row(at, pair) for at, pair in enumerate(values)]
    assert said(rows, objectives=two, **own) == [
        "The best loss is 0.25 (trial 2); the best speed is 1 (trial 2); 1 trial is on the front."
    ]
    assert said(rows[:2], objectives=two, **own) == [
        "The best loss is 0.25 (trial 0); the best speed is 1 (trial 1); 2 trials are on the "
        "front.",
        "2 of 3 trials have ended: this will change.",
    ]
    nothing = [example_row(0, (math.nan, math.nan))]
    assert said(nothing, objectives=two, **(own | {"trials": 1})) == [
        "No complete trial has numbers for its objectives."
    ]
    one = [example_row(0, (0.1,), scores=ReportedScores({"loss": 0.1}))]
    one += [example_row(1, (0.3,), scores=ReportedScores({"loss": 0.3}))]
    limit = [{"metric": "loss", "min": 0.2}]
    kept = said(one, objectives=[("loss", "minimize")], constraints=limit, **own)
    assert kept[0] == "The best loss is 0.3 (trial 1)."
    assert said([]) == ["None of 16 trials is complete yet."]


def test_a_mixture_can_be_the_best_of_an_objective() -> None:
    """And what is best was chosen by these numbers."""

    def scores(robust: float, error: float) -> Scores:
        return replace(example_scores(0.95, robust), measures={"robust_ece": error})

    pair = [("val_robust_accuracy", "maximize"), ("val_robust_ece", "minimize")]
    found = [(0.70, 0.10), (0.72, 0.20)]
    rows = [example_row(at, two, scores=scores(*two)) for at, two in enumerate(found)]
    record = example_record(rows, objectives=pair, reference_point=None, trials=2)
    mixed = ScoredMixture((0, 1), 0.75, scores(0.85, 0.15))
    answer = study_answer(StudySource(replace(record, mixtures=Mixtures(2, (mixed,)))))
    assert answer.sentences == (
        "The best robust accuracy is 85.0 % (average of trials 0,1 at alpha 0.75; baseline "
        "60.0 %); the best robust expected calibration error is 0.1 (trial 0); 1 trial is on "
        "the front, and 1 mixture.",
        "What is best was chosen by these numbers, so part of it may be luck: `ablate confirm` "
        "measures that on the test images.",
    )


def test_a_search_for_one_accuracy() -> None:
    rows = [replace(row, values=row.values[1:] if row.values else None) for row in ROWS[:3]]
    one: dict[str, Any] = {"trials": 3, "reference_point": None}
    first, second, _ = said(rows, objectives=[("val_robust_accuracy", "maximize")], **one)
    assert first.startswith("Take trial 2 (DA): of 100 distorted validation images it gets 81")
    assert "FMA -11.0 points" in second
    clean = [replace(row, values=row.values[:1] if row.values else None) for row in ROWS[:3]]
    assert said(clean, objectives=[("val_clean_accuracy", "maximize")], **one)[0] == (
        "Take trial 1 (ST): its clean accuracy is 96.0 %, 95.0 % before finetuning."
    )


@pytest.mark.parametrize("source", [*searches().values(), *ablations().values()])
def test_every_study_has_one_to_three_sentences(source: StudySource) -> None:
    found = study_answer(source).sentences
    assert 1 <= len(found) <= 3
    assert all(one.endswith((".", ".)")) and "nan" not in one for one in found)


# -- confirmations and ablations


def confirmation(luck: float = 0.01, **arms: tuple[float, float]) -> ConfirmInfo:
    """Baseline 95 clean and 60 robust, and these arms, on the test images over 8 seeds."""
    names = {CLEAN: "test_clean_accuracy", ROBUST: "test_robust_accuracy"}
    scores = {name.replace("_", " "): pair for name, pair in arms.items()} | {
        "plain": (0.96, 0.61),
        "DA combined": (0.95, 0.75),
    }
    found = [
        example_ablation().arms[0],
        *(scored_arm(name, *pair) for name, pair in scores.items()),
    ]
    renamed = [
        replace(arm, estimates={names[m]: e for m, e in arm.estimates.items() if m in names})
        for arm in found
    ]

    def compare(one: str, other: str, metric: str, _: float) -> Any:
        both = {arm.name: arm.estimates[metric].mean for arm in renamed}
        return estimate(both[one] - both[other], 0.015, method=OVER_SEEDS_AND_IMAGES)

    test = example_ablation(arms=tuple(renamed), effects=(), split="test", compare=compare)
    points = [
        ConfirmedPoint(
            *(name, (ROBUST,), {}, {ROBUST: estimate(luck, 0.005)}),
            {names[ROBUST]: estimate(pair[1] - 0.6)},
        )
        for name, pair in scores.items()
        if name.startswith("trial")
    ]
    return ConfirmInfo(test, test, tuple(points))


def confirmed(info: ConfirmInfo) -> list[str]:
    return list(
        study_answer(StudySource(example_record(ROWS, trials=5), confirmation=info)).sentences
    )


def test_a_confirmation_is_of_the_trial_that_the_search_chose() -> None:
    """On the test images trial 2 is better."""
    assert confirmed(confirmation(trial_1=(0.955, 0.71), trial_2=(0.96, 0.80))) == [
        "Take trial 1 (ST): of 100 distorted test images it gets 71 right, 60 before finetuning; "
        "of undistorted ones 95.5, 95.0 before (the gain may be chance); trained again with "
        "new seeds, it shows that 1.0 points of the search's score were luck (validation images).",
        "Most of the gain comes from training on distorted copies of several types, without FMA or "
        "ST (DA+CA). Compared with that, on the test images, robust accuracy changes by (95 % "
        "intervals): ST -4.0 points (-5.5 to -2.5), less robust.",
        ON_TEST,
    ]
    unlucky = confirmed(confirmation(0.001, trial_1=(0.955, 0.71)))[0]
    assert unlucky.endswith("it shows no sign that the search was lucky (validation images).")
    other = confirmed(confirmation(trial_0=(0.93, 0.80)))
    assert other[0].startswith(
        "Take trial 0 (FMA, on stage2+stage3) (the search prefers trial 1, which was not trained "
        "again): of 100 distorted test images it gets 80 right"
    )
    assert (
        "FMA +5.0 points (+3.5 to +6.5), more robust and a clean loss is not excluded" in other[1]
    )


def test_a_tie_supports_no_claim() -> None:
    text = confirmed(confirmation(trial_1=(0.955, 0.751)))[1]
    assert text.startswith("No claim is supported. Most of the gain comes from training on")
    assert text.endswith("ST +0.1 points (-1.4 to +1.6), no difference is shown.")


def test_a_confirmation_without_a_score_yet() -> None:
    begun = confirmed(confirmation(trial_1=(math.nan, math.nan)))
    assert begun[0].startswith("Take trial 1 (ST): of 100 distorted validation images")
    running = confirmation(trial_1=(0.955, 0.71))
    running = replace(running, test=replace(running.test, ended=3))
    assert confirmed(running)[-1] == "3 of 24 runs have ended: this will change."


def of_ablation(info: AblationInfo) -> list[str]:
    return list(study_answer(ablation_source(info)).sentences)


def test_an_ablation_in_words() -> None:
    """Over the reference, where no arm is known to be of distorted copies alone."""
    assert of_ablation(example_ablation()) == [
        "Take FMA: of 100 distorted validation images it gets 77 right, 60 before finetuning; of "
        "undistorted ones 95.5, 95.0 before.",
        "Over plain finetuning, on the validation images, robust accuracy changes by (95 % "
        "intervals): FMA +16.3 points (+14.3 to +18.3), more robust and clean accuracy is kept "
        "compared with plain finetuning; DA +14.5 points (+12.5 "
        "to +16.5), not shown to differ and a clean loss is not excluded.",
        "FMA was chosen by these numbers, so other images may give it a little less.",
    ]


def test_of_a_loss_the_arm_with_the_least_is_taken() -> None:
    """Of those within the margin of clean accuracy, which DA is not."""
    whole = example_ablation()
    values = {"baseline": 0.20, "plain": 0.25, "DA": 0.05, "FMA": 0.10}
    arms = [
        replace(arm, estimates={**arm.estimates, "val_ece": estimate(values[arm.name])})
        for arm in whole.arms
    ]
    of_loss: dict[str, Any] = {"rank_metric": "val_ece", "minimized": ("val_ece",)}
    info = replace(whole, arms=tuple(arms), best={"val_ece": ("DA",)}, **of_loss)
    assert of_ablation(info)[0] == (
        "Take FMA: its expected calibration error is 0.1, 0.2 before finetuning; its clean "
        "accuracy is 95.5 %, 95.0 % before."
    )


@pytest.mark.parametrize(("gain", "is_said"), [(0.12, True), (0.00001, False)])
def test_most_of_a_gain_is_said_of_a_gain(gain: float, is_said: bool) -> None:
    arms = [scored_arm("DA+CA", 0.955, 0.60 + 0.9 * gain), scored_arm("FMA", 0.955, 0.60 + gain)]
    means = {"baseline": 0.60, "DA+CA": 0.60 + 0.9 * gain, "FMA": 0.60 + gain}
    info = example_ablation(
        arms=(example_ablation().arms[0], *arms),
        effects=(),
        reference="DA+CA",
        compare=lambda one, other, *_: estimate(means[one] - means[other], 0.02),
    )
    cells = (
        Cell("DA+CA", {"loss.terms": "clean+da"}),
        Cell("FMA", {"loss.terms": "clean+fma"}),
    )
    design = Design("arms", cells, (), ()).to_json()
    source = StudySource(replace(example_record(), design=design, name=info.study), info)
    assert ("Most of the gain comes from" in study_answer(source).sentences[1]) == is_said


def test_a_baseline_of_each_replicate_is_not_to_be_taken() -> None:
    """Nor the same adapted, although both are better here than what is finetuned."""
    whole = example_ablation()
    before = [scored_arm(name, 0.97, 0.9) for name in ("baseline", "adapted baseline")]
    info = replace(whole, arms=(*before, *whole.arms[1:]))
    assert of_ablation(info)[0].startswith("Take FMA: ")
    source = ablation_source(info)  # of a training loop of one's own it is an arm as any other
    own = replace(source.record, study=source.record.study.model_copy(update={"trainable": "a:b"}))
    assert study_answer(replace(source, record=own)).sentences[0].startswith("Take baseline")


def test_below_five_seeds_nothing_is_ranked() -> None:
    first, *_ = of_ablation(example_ablation(seeds=4))
    assert first == (
        "Too few seeds (4) to say which is best: of 100 distorted validation images they get 61 "
        "to 77 right, 60 before finetuning."
    )


def test_an_ablation_without_a_claim_says_so() -> None:
    effects = (
        example_effect("DA - plain", 0.145),
        example_effect("FMA - plain", 0.163, None, n=1),
    )
    _, part, caveat = of_ablation(example_ablation(effects=effects, ended=20))
    assert part == (
        "No claim is supported: the comparisons were not declared before the runs. Over plain "
        "finetuning, on the validation images, robust accuracy changes by (95 % "
        "intervals): FMA +16.3 points (no interval); DA +14.5 points (+12.5 to +16.5), more robust."
    )
    assert caveat == "20 of 24 runs have ended: this will change."


def test_without_fma_and_st_distorted_copies_are_what_is_compared() -> None:
    """The claim about them is not passed over."""
    whole = example_ablation()
    info = replace(whole, arms=tuple(arm for arm in whole.arms if arm.name != "FMA"))
    cells = (Cell("plain", {"loss.terms": "clean"}), Cell("DA", {"loss.terms": "clean+da"}))
    design = Design("arms", cells, (), ()).to_json()
    source = StudySource(replace(example_record(), design=design, name=info.study), info)
    assert study_answer(source).sentences[1] == (
        "Over plain finetuning, on the validation images, robust accuracy changes by (95 % "
        "intervals): DA +14.5 points (+12.5 to +16.5), not shown to differ and a clean loss is not "
        "excluded."
    )


def test_a_reference_that_is_the_only_method_is_not_compared_with_itself() -> None:
    """As where FMA is left out of clean+fma."""
    arms = [scored_arm("reference", 0.955, 0.773), scored_arm("without fma", 0.960, 0.610)]
    compared = list[str]()
    info = example_ablation(
        arms=(example_ablation().arms[0], *arms),
        effects=(),
        reference="reference",
        compare=lambda name, other, *_: compared.append(f"{name} - {other}") or estimate(0.16),
    )
    cells = (Cell("reference"), Cell("without fma", {"loss.terms": "clean"}))
    design = Design("leave_one_out", cells, (), ()).to_json()
    source = StudySource(replace(example_record(), design=design, name=info.study), info)
    first, _ = study_answer(source).sentences
    assert first.startswith("Take reference: ")
    assert "reference - reference" not in compared


def test_parts_of_a_factorial_or_shapley_design() -> None:
    values = [
        example_effect(name, gain, kind="Shapley value", p_adjusted=0.01, verdict="better")
        for name, gain in (("fma", 0.06), ("st", 0.03))
    ]
    assert of_ablation(example_ablation(effects=tuple(values)))[1] == (
        "On the validation images, robust accuracy changes by (95 % intervals): contribution of "
        "FMA +6.0 points (+4.0 to +8.0), more robust; contribution of ST +3.0 points (+1.0 to "
        "+5.0), more robust."
    )


def test_equivalence_is_a_claim_and_stands_beside_that_of_a_difference() -> None:
    differs = example_effect("FMA - DA", 0.001, 0.004, p_adjusted=0.3, verdict="not shown")
    same = replace(differs, p_adjusted=0.02, verdict="equivalent", equivalent_within=0.01)

    def sentence(*claims: Effect) -> str:
        info = example_ablation(reference="DA", effects=claims)
        return next(one for one in of_ablation(info) if "changes by" in one)

    found = sentence(differs, same)
    assert "No claim is supported" not in found
    assert "FMA +0.1 points (-0.3 to +0.5), not shown to differ and equivalent within 1 point" in (
        found
    )
    lacking = sentence(differs, replace(same, verdict="not shown"))
    assert lacking.startswith("No claim is supported. ")
    assert "not shown to differ and not shown to be equivalent within 1 point" in lacking


def test_an_ablation_before_a_run_has_ended() -> None:
    nothing = example_ablation(arms=example_ablation().arms[:1], effects=(), ended=0)
    assert of_ablation(nothing) == ["No run has ended yet."]
    failed = replace(nothing, ended=24, failures=("FMA failed at 8 of 8 seeds (raised)",))
    assert of_ablation(failed) == [
        "No run has ended well.",
        "FMA failed at 8 of 8 seeds (raised).",
    ]
