"""Profiles and lines against severity, by hand-worked values."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
from example_records import example_record, example_row
from example_sources import sloped_scores, usual_record

from ablate.ablation.answer import best_number
from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.analysis.profile import MOST_TRIALS, profile_info, severity_info
from ablate.errors import ParameterError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.figures.parts.networks import networks

SEEN = ("gaussian_noise",)


def row(number: int, clean: float, robust: float, terms: str = "clean+fma") -> RowRecord:
    scores = sloped_scores(clean, robust, seen=SEEN)
    return example_row(number, (clean, robust), scores=scores, params={"loss.terms": terms})


def record(*rows: RowRecord) -> StudyRecord:
    references = {"baseline": sloped_scores(0.95, 0.60), "plain": sloped_scores(0.96, 0.61)}
    return example_record(rows, references=references)


def test_a_cell_is_an_accuracy_and_its_difference_to_the_baseline() -> None:
    info = profile_info(record(row(0, 0.93, 0.70)))
    assert [one.name for one in info.profiles] == ["baseline", "plain", "trial 0"]
    assert info.severities == (1, 3, 5)
    assert info.types[:3] == ("gaussian_noise", "impulse_noise", "gaussian_blur")
    (trial,) = info.chosen
    # Noise lies 0.1 below the middle, and every severity 0.05 below the one before it.
    assert trial.accuracies[0] == pytest.approx((0.65, 0.60, 0.55))
    assert info.differences(trial)[0] == pytest.approx((0.1, 0.1, 0.1))
    assert info.differences(info.profiles[1])[2] == pytest.approx((0.01, 0.01, 0.01))
    assert trial.exposure[:2] == ("seen_type", "unseen")
    assert (trial.loss_terms, trial.clean_accuracy) == ("clean+fma", 0.93)


def test_of_a_large_front_both_ends_and_what_lies_between() -> None:
    rows = [row(number, 0.95 - 0.01 * number, 0.6 + 0.01 * number) for number in range(11)]
    info = profile_info(record(*rows))
    assert [one.number for one in info.chosen] == [0, 2, 4, 6, 8, 10]
    assert len(info.chosen) == MOST_TRIALS
    assert info.on_front == 11


def test_the_knee_of_a_large_front_is_always_shown() -> None:
    """Beyond trial 3 robust accuracy hardly rises."""
    robust = [0.6, 0.67, 0.74, 0.8, *(0.8 + 0.001 * at for at in range(1, 8))]
    rows = [row(number, 0.95 - 0.01 * number, value) for number, value in enumerate(robust)]
    study = record(*rows)
    knee = pareto_info(study).knee
    assert knee is not None
    assert knee.number == 3
    info = profile_info(study)
    assert [one.number for one in info.chosen] == [0, 3, 4, 6, 8, 10]
    assert info.on_front == 11


def test_the_trial_that_the_answer_recommends_is_always_shown() -> None:
    """It loses one point of clean accuracy at the most; trial 3 is the knee."""
    robust = [0.6, 0.67, 0.74, 0.8, *(0.8 + 0.001 * at for at in range(1, 8))]
    rows = [row(number, 0.99 - 0.01 * number, value) for number, value in enumerate(robust)]
    study = record(*rows)
    assert best_number(study, pareto_info(study)) == 5
    info = profile_info(study, best=5)
    assert [one.number for one in info.chosen] == [0, 3, 5, 6, 8, 10]
    assert networks([StudySource(study)], "profile", ()) == info
    answer = StudySource(study).answer
    assert answer is not None
    assert answer.sets[0].best.number == 5


def test_dominated_trials_are_shown_where_they_are_asked_for() -> None:
    study = record(row(0, 0.93, 0.70), row(1, 0.90, 0.60))
    assert [one.number for one in profile_info(study).chosen] == [0]
    asked = profile_info(study, [1, 0, 1])
    assert [one.number for one in asked.chosen] == [1, 0]
    assert asked.on_front == 0


@pytest.mark.parametrize(
    ("rows", "there"),
    [
        ([row(0, 0.93, 0.70), example_row(1, None, state="FAIL")], "0"),
        ([], "none"),
        (
            [row(number, 0.9, 0.7) for number in range(14)],
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more",
        ),
    ],
)
def test_a_trial_that_is_not_there(rows: list[RowRecord], there: str) -> None:
    asked = len(rows) - 1 if len(rows) == 2 else 99
    with pytest.raises(ParameterError) as error:
        profile_info(record(*rows), [asked])
    assert str(error.value) == (
        f"--trials: must be complete trials of example, got {asked}. They are: {there}."
    )


def test_without_a_baseline_there_is_no_difference() -> None:
    info = profile_info(replace(record(row(0, 0.93, 0.70)), references={}))
    (trial,) = info.profiles
    assert all(math.isnan(gain) for types in info.differences(trial) for gain in types)
    assert info.frame()["accuracy"].notna().all()


def test_what_one_network_was_not_scored_on_is_missing() -> None:
    study = record(row(0, 0.93, 0.70))
    fewer = replace(
        study.references["baseline"],
        accuracies={"brightness": {"3": 0.5}},
        families={"photometric": ("brightness",)},
    )
    info = profile_info(replace(study, references={"baseline": fewer}))
    (trial,) = info.chosen
    at = info.types.index("brightness")
    gains = info.differences(trial)[at]
    assert gains[1] == pytest.approx(0.80 - 0.5)
    assert math.isnan(gains[0])
    assert math.isnan(info.family_accuracies(info.profiles[0], "noise")[0])


def test_a_family_is_the_mean_of_its_types() -> None:
    scores = replace(
        sloped_scores(0.9, 0.7),
        accuracies={"gaussian_noise": {"1": 0.8, "5": 0.4}, "impulse_noise": {"1": 0.6, "5": 0.2}},
        families={"noise": ("gaussian_noise", "impulse_noise")},
    )
    study = example_record([example_row(0, (0.9, 0.7), scores=scores)], references={})
    info = severity_info(profile_info(study))
    (line,) = info.lines
    assert info.levels == (0, 1, 5)
    assert (line.family, line.number) == ("noise", 0)
    assert line.accuracies == pytest.approx((0.9, 0.7, 0.3))


def test_frames_are_typed() -> None:
    study = record(row(0, 0.93, 0.70))
    frame = profile_info(study).frame()
    assert len(frame) == 3 * 6 * 3
    assert frame.dtypes.astype(str).to_dict() == {
        "profile": "string", "trial": "Int64", "loss_terms": "string", "family": "string",
        "type": "string", "severity": "int64", "accuracy": "float64", "difference": "float64",
        "exposure": "string",
    }  # fmt: skip
    last = frame.iloc[-1]
    assert (last["trial"], last["type"], last["severity"]) == (0, "contrast", 5)
    assert (last["accuracy"], last["difference"]) == pytest.approx((0.75, 0.1))
    assert frame["trial"].isna().sum() == 2 * 6 * 3
    assert list(frame["loss_terms"].unique()) == [pd.NA, "clean", "clean+fma"]
    lines = severity_info(profile_info(study)).frame()
    assert len(lines) == 3 * 3 * 4
    assert list(lines["severity"][:4]) == [0, 1, 3, 5]
    assert lines["accuracy"].iloc[0] == 0.95


def test_nothing_yet() -> None:
    study = example_record(references={}, reference_point=None)
    assert profile_info(study).profiles == ()
    assert severity_info(profile_info(study)).lines == ()
    assert len(profile_info(study).frame()) == len(severity_info(profile_info(study)).frame()) == 0
    assert profile_info(usual_record(1)).chosen[0].number == 0
