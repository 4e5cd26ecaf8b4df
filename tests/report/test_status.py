"""Where a study stands: its numbers, as they are printed, and as data."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_records import BEGAN, example_record, example_row
from printed_tables import RECORD, lines, strict

from ablate.analysis.summary import Best, FailureGroup, continuation, status_info
from ablate.ledger.record import Attempt, Drive, Failure, StudyRecord
from ablate.report.terminal.status import status_rows, status_table
from ablate.study.mixture import Mixture

START = BEGAN.timestamp()
BOOM = Failure("raised", "boom")


def printed(record: StudyRecord, now: float = 100, disk: tuple[int, int] | None = None) -> list:
    return lines(status_table(status_info(record, START + now, disk)))


def test_a_study_in_motion() -> None:
    shown = printed(RECORD)
    assert shown[0] == "example: 4 of 16 trials ended"
    assert "trials 1 interrupted, 3 complete, 1 fail, 9.6 a minute" in shown, "nothing runs: no end"
    assert "best clean accuracy 94.0 % (trial 0)" in shown
    assert "best robust accuracy 80.0 % (trial 1)" in shown
    assert "hypervolume 0.014, reference point (85.0, 60.0)" in shown
    assert "work scoring and loading 30 s, lost 10 s" in shown
    assert "failed: 1 raised: [boom] in step 3 (3)" in shown
    assert "driver none; continue with ablate resume" in shown
    assert "storage sqlite:///runs/example/study.db" in shown
    assert not [line for line in shown if " -" in line], "what is unknown has no line"
    running = printed(replace(RECORD, driver="process 7 on here"))
    assert "trials 1 running, 3 complete, 1 fail, 9.6 a minute, 1 min 15 s left" in running
    (row,) = strict(status_rows(status_info(RECORD, START)))
    ended = {"COMPLETE": 3, "PRUNED": 0, "FAIL": 1, "OUTSIDE": 0}
    assert row["counts"] == {"WAITING": 0, "RUNNING": 1, **ended}
    assert row["best"][1] == {"metric": "val_robust_accuracy", "value": 0.80, "network": "trial 1"}
    assert row["failures"] == [{"kind": "raised", "reason": "[boom] in step 3", "numbers": [3]}]


def test_run_time_limits_sizes_and_code() -> None:
    peaks = {"peak_memory_bytes": 812_000_000, "peak_gpu_bytes": 9_500_000_000}
    row = example_row(0, (0.9, 0.7), attempts=[Attempt(1, START, START + 900, "complete", **peaks)])
    git = {"git": {"commit": "0123456789abcdef", "dirty": True}}
    drives = [
        Drive(START - 500, "a", 1, ended=START - 400, end="stopped", gpus_per_trial=4),
        Drive(START - 10, "b", 2, parallel=2, gpus_per_trial=2, provenance=git),
    ]
    limits = {"budget": {"gpu_hours": 8, "seconds": 7200}}
    record = example_record([row], drives=drives, driver="process 2 on b", search=limits)
    info = status_info(record, START + 1790, (2_500_000, 0))
    shown = printed(record, 1790, (2_500_000, 0))
    assert "run time 31 min 40 s of 2 h 00 min in 2 drives" in shown
    assert "work scoring and loading 15 min 00 s, workers without a trial 46 min 40 s" in shown
    assert "GPU hours 0.50 of 8" in shown
    ends = [line.split(", ", 1)[1] for line in shown if line.startswith("drive ")]
    assert ends == [
        "1 min 40 s on a, 1 worker busy 0 % of the time, stopped",
        "30 min 00 s on b, 2 workers busy 25 % of the time, running",
    ]
    sizes = "812 MB of memory at most, 9.5 GB on a GPU at most, 2.5 MB of training states on disk"
    assert f"size {sizes}" in shown
    assert "code commit 0123456789ab, with uncommitted changes" in shown
    (data,) = strict(status_rows(info))
    assert (data["gpu_hours"], data["driving_seconds"], data["drives"]) == (0.5, 1900, 2)
    assert [one["worked_seconds"] for one in data["run_times"]] == [0, 900]
    assert (data["checkpoint_bytes"], data["weight_bytes"]) == (2_500_000, 0)
    assert (data["commit"], data["dirty"]) == ("0123456789abcdef", True)


def test_it_fits_a_screen_whatever_fails_and_however_often_it_was_driven() -> None:
    rows = [
        example_row(number, None, state="FAIL", failure=Failure("raised", f"reason {number % 40}"))
        for number in range(400)
    ]
    drives = [Drive(START + at, "a", 1, START + at + 1, "stopped") for at in range(9)]
    shown = printed(example_record(rows, drives=drives))
    assert "failed: 10 raised: reason 0 (0, 40, 80, 120, 160, 200, 240, 280, 320, 360)" in shown
    assert "failed: 360 for 36 other reasons" in shown
    assert "drives 1 to 6 6 s" in shown
    assert len(shown) <= 24
    empty = example_record(references={}, reference_point=None)
    assert "trials none started" in printed(empty)
    assert "plain finetune running, or next" in printed(replace(empty, driver="process 7"))
    (row,) = strict(status_rows(status_info(empty, START)))
    assert (row["hypervolume"], row["best"], row["commit"], row["seconds_left"]) == (
        None, [], None, None,
    )  # fmt: skip


def test_rate_and_time_left_count_no_pause() -> None:
    # Trial 0 from 0 to 10 s, trial 1 from 5 to 9 and, after a pause, for 6 s more.
    attempts = [
        Attempt(1, START + 5, START + 9, "left"),
        Attempt(2, START + 5000, START + 5006, "complete", first_epoch=1),
    ]
    rows = [example_row(0, (0.9, 0.7)), example_row(1, (0.9, 0.7), attempts=attempts)]
    info = status_info(example_record(rows, trials=10), START)
    assert info.rows_per_minute == pytest.approx(60 * 2 / 16)
    assert info.seconds_left == pytest.approx(8 * 16 / 2)
    assert status_info(example_record(rows, trials=2), START).seconds_left == 0


def test_a_spent_budget_leaves_the_running_trials() -> None:
    attempt = Attempt(1, START, START + 60, "complete")
    rows = [example_row(number, (0.9, 0.7), attempts=[attempt]) for number in range(2)]
    rows.append(example_row(2, None, state="RUNNING"))
    record = replace(example_record(rows, trials=50), spent="search.budget.seconds: 60 spent")
    assert (record.is_over, status_info(record, START + 60).seconds_left) == (False, 30)
    ended = replace(record, rows=record.rows[:2])
    assert (ended.is_over, status_info(ended, START + 60).seconds_left) == (True, 0)


def test_the_best_values_seeds_and_reasons() -> None:
    reasons = {3: BOOM, 4: Failure("not_finite", "NaN"), 5: None, 6: Failure("not_finite", "NaN")}
    nan = math.nan
    rows = [example_row(at, (one, nan)) for at, one in enumerate((nan, 0.9, 0.9))]
    rows += [example_row(at, None, state="FAIL", failure=why) for at, why in reasons.items()]
    info = status_info(example_record(rows), START)
    assert info.best == (Best("val_clean_accuracy", 0.9, Mixture((1,))),), (
        "the first of equals, never NaN"
    )
    assert info.failures == (
        FailureGroup("not_finite", "NaN", (4, 6)),
        FailureGroup("raised", "boom", (3,)),
        FailureGroup("unknown", "no reason is recorded", (5,)),
    )
    objectives = [("train_seconds", "minimize"), ("val_robust_accuracy", "maximize")]
    rows = [example_row(0, (30.0, 0.7)), example_row(1, (20.0, 0.6))]
    less = example_record(rows, objectives=objectives, trials=2)
    assert status_info(less, START).best[0] == Best("train_seconds", 20.0, Mixture((1,)))
    without = replace(less, references={"baseline": less.references["baseline"]})
    assert continuation(without) == "continue with ablate resume", "its plain finetune is missing"
    states = [(0, "COMPLETE"), (0, "FAIL"), (1, "COMPLETE"), (1, "RUNNING"), (2, "WAITING")]
    cells = [replace(example_row(at, None, state=s), pair=p) for at, (p, s) in enumerate(states)]
    assert status_info(example_record(cells), START).pairs == (1, 3)
