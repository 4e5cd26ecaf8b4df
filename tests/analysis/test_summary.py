"""StatusInfo by values."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_records import BEGAN, example_record, example_row

from ablate.analysis.summary import Best, FailureGroup, status_info
from ablate.ledger.record import Attempt, Drive, Failure

NOW = BEGAN.timestamp() + 1000
BOOM = Failure("raised", "boom")


def test_a_study_in_motion() -> None:
    # Rows start 5 s apart and take 10 s: four of them fill 25 s.
    info = status_info(
        example_record(
            [
                example_row(0, (0.94, 0.70)),
                example_row(1, (0.90, 0.80)),
                example_row(2, None, state="FAIL", failure=BOOM),
                example_row(3, None, state="PRUNED"),
                example_row(4, None, state="RUNNING"),
                example_row(5, None, state="WAITING"),
            ],
            trials=10,
        ),
        NOW,
    )
    assert info.counts == {"WAITING": 1, "RUNNING": 1, "COMPLETE": 2, "PRUNED": 1, "FAIL": 1}
    assert info.terminal == 4
    assert info.best == (
        Best("val_clean_accuracy", 0.94, 0),
        Best("val_robust_accuracy", 0.80, 1),
    )
    assert info.hypervolume == pytest.approx(0.09 * 0.1 + 0.05 * 0.2 - 0.05 * 0.1)
    assert info.reference_point == (0.85, 0.6)
    assert info.rows_per_minute == pytest.approx(60 * 4 / 25)
    assert info.seconds_left == pytest.approx(6 * 25 / 4)
    assert info.account.gpu_hours == 0
    assert info.failures == (FailureGroup("raised", "boom", (2,)),)


def test_the_seeds_of_an_ablation_of_which_all_cells_have_ended() -> None:
    rows = [
        replace(example_row(number, None, state=state), pair=pair)
        for number, (pair, state) in enumerate(
            [(0, "COMPLETE"), (0, "FAIL"), (1, "COMPLETE"), (1, "RUNNING"), (2, "WAITING")]
        )
    ]
    assert status_info(example_record(rows), NOW).pairs == (1, 3)
    assert status_info(example_record([example_row(0, (0.9, 0.8))]), NOW).pairs == (0, 0)


def test_an_empty_study() -> None:
    info = status_info(example_record(references={}, reference_point=None), NOW)
    assert sum(info.counts.values()) == 0
    assert (info.best, info.hypervolume, info.rows_per_minute) == ((), None, None)
    assert (info.seconds_left, info.account.worked_seconds, info.failures) == (None, 0, ())
    assert (info.checkpoint_bytes, info.weight_bytes) == (None, None)


def test_a_finished_study_has_no_time_left() -> None:
    info = status_info(example_record([example_row(0, (0.9, 0.7))], trials=1), NOW)
    assert info.seconds_left == 0


def test_a_pause_does_not_slow_the_rate() -> None:
    # Numbers 0 and 100 start 500 s apart.
    rows = [example_row(number, (0.9, 0.7)) for number in (0, 100)]
    assert status_info(example_record(rows), NOW).rows_per_minute == pytest.approx(6)


def test_a_row_taken_up_again_counts_without_the_pause() -> None:
    start = BEGAN.timestamp()
    attempts = [
        Attempt(1, start + 5, start + 9, "left"),
        Attempt(2, start + 5000, start + 5006, "complete", first_epoch=1),
    ]
    rows = [example_row(0, (0.9, 0.7)), example_row(1, (0.9, 0.7), attempts=attempts)]
    # Trial 0 from 0 to 10 s, trial 1 from 5 to 9 and for 6 s more.
    assert status_info(example_record(rows), NOW).rows_per_minute == pytest.approx(60 * 2 / 16)


def test_the_budget_beside_what_is_spent() -> None:
    start = BEGAN.timestamp()
    drive = Drive(start, "here", 1, ended=start + 60, gpus_per_trial=2)
    rows = [example_row(0, (0.9, 0.7), seconds=36)]
    record = example_record(rows, drives=[drive], search={"budget": {"gpu_hours": 0.5}})
    info = status_info(record, NOW)
    assert (info.account.gpu_hours, info.budget.gpu_hours) == (pytest.approx(0.02), 0.5)
    assert (info.account.driving_seconds, info.budget.seconds) == (60.0, None)


def test_the_code_that_drove_it_last() -> None:
    clean, none = {"git": {"commit": "abc", "dirty": False}}, {"git": None}
    drives = [Drive(float(at), "here", 1, provenance=kept) for at, kept in ((1, none), (2, clean))]
    info = status_info(example_record(drives=drives), NOW)
    assert (info.commit, info.dirty) == ("abc", False)
    info = status_info(example_record(drives=drives[::-1]), NOW)
    assert (info.commit, info.dirty) == (None, False)


def test_ties_go_to_the_first_and_nan_is_never_best() -> None:
    rows = [
        example_row(0, (math.nan, math.nan)),
        example_row(1, (0.9, math.nan)),
        example_row(2, (0.9, math.nan)),
    ]
    assert status_info(example_record(rows), NOW).best == (Best("val_clean_accuracy", 0.9, 1),)


def test_the_best_of_a_minimised_objective_is_the_least() -> None:
    record = example_record(
        [example_row(0, (30.0, 0.7)), example_row(1, (20.0, 0.6))],
        objectives=[("train_seconds", "minimize"), ("val_robust_accuracy", "maximize")],
    )
    assert status_info(record, NOW).best[0] == Best("train_seconds", 20.0, 1)


def test_failures_are_grouped_by_reason_the_most_frequent_first() -> None:
    nan = Failure("not_finite", "loss is NaN")
    rows = [
        example_row(number, None, state="FAIL", failure=failure)
        for number, failure in enumerate([BOOM, nan, nan, None])
    ]
    assert status_info(example_record(rows), NOW).failures == (
        FailureGroup("not_finite", "loss is NaN", (1, 2)),
        FailureGroup("raised", "boom", (0,)),
        FailureGroup("unknown", "no reason is recorded", (3,)),
    )
