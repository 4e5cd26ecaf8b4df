"""StatusInfo by values."""

from __future__ import annotations

import math

import pytest
from example_records import example_record, example_row

from ablate.analysis.summary import Best, FailureGroup, status_info
from ablate.ledger.record import Failure

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
        )
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
    assert info.gpu_hours == 0
    assert info.failures == (FailureGroup("raised", "boom", (2,)),)


def test_an_empty_study() -> None:
    info = status_info(example_record(references={}, reference_point=None))
    assert sum(info.counts.values()) == 0
    assert (info.best, info.hypervolume, info.rows_per_minute) == ((), None, None)
    assert (info.seconds_left, info.gpu_hours, info.failures) == (None, 0, ())


def test_a_finished_study_has_no_time_left() -> None:
    info = status_info(example_record([example_row(0, (0.9, 0.7))], trials=1))
    assert info.seconds_left == 0


def test_a_pause_does_not_slow_the_rate() -> None:
    # Numbers 0 and 100 start 500 s apart.
    rows = [example_row(number, (0.9, 0.7)) for number in (0, 100)]
    assert status_info(example_record(rows)).rows_per_minute == pytest.approx(6)


def test_a_row_taken_up_again_counts_its_epochs_alone() -> None:
    curve = [{"epoch": epoch, "train_loss": 1.0, "seconds": 4.0} for epoch in (1, 2)]
    again = example_row(1, (0.9, 0.7), attempt=2, seconds=5000, curve=curve)
    info = status_info(
        example_record([example_row(0, (0.9, 0.7)), again], run={"gpus_per_trial": 0.5})
    )
    assert info.rows_per_minute == pytest.approx(6)
    assert info.gpu_hours == pytest.approx(0.5 * (10 + 8) / 3600)


def test_gpu_hours_of_auto_follow_the_device() -> None:
    rows = [example_row(0, (0.9, 0.7), seconds=3600)]
    assert status_info(example_record(rows, environment={"device": "cuda"})).gpu_hours == 1
    assert status_info(example_record(rows, environment={"device": "cpu"})).gpu_hours == 0


def test_ties_go_to_the_first_and_nan_is_never_best() -> None:
    rows = [
        example_row(0, (math.nan, math.nan)),
        example_row(1, (0.9, math.nan)),
        example_row(2, (0.9, math.nan)),
    ]
    assert status_info(example_record(rows)).best == (Best("val_clean_accuracy", 0.9, 1),)


def test_the_best_of_a_minimised_objective_is_the_least() -> None:
    record = example_record(
        [example_row(0, (30.0, 0.7)), example_row(1, (20.0, 0.6))],
        objectives=[("train_seconds", "minimize"), ("val_robust_accuracy", "maximize")],
    )
    assert status_info(record).best[0] == Best("train_seconds", 20.0, 1)


def test_failures_are_grouped_by_reason_the_most_frequent_first() -> None:
    nan = Failure("not_finite", "loss is NaN")
    rows = [
        example_row(number, None, state="FAIL", failure=failure)
        for number, failure in enumerate([BOOM, nan, nan, None])
    ]
    assert status_info(example_record(rows)).failures == (
        FailureGroup("not_finite", "loss is NaN", (1, 2)),
        FailureGroup("raised", "boom", (0,)),
        FailureGroup("unknown", "no reason is recorded", (3,)),
    )
