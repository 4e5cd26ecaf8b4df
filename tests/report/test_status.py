"""Where a study stands, as it is printed and as data."""

from __future__ import annotations

from dataclasses import replace

from example_records import BEGAN, example_record, example_row
from printed_tables import RECORD, lines, strict

from ablate.analysis.summary import status_info
from ablate.ledger.record import Attempt, Drive, Failure
from ablate.report.terminal.status import status_rows, status_table

NOW = BEGAN.timestamp() + 100


def test_status() -> None:
    printed = lines(status_table(status_info(RECORD, NOW)))
    assert printed[0] == "example: 4 of 16 trials ended"
    assert "trials 1 running, 3 complete, 1 fail" in printed
    assert "best clean accuracy 94.0 % (trial 0)" in printed
    assert "best robust accuracy 80.0 % (trial 1)" in printed
    assert "hypervolume 0.014, reference point (85.0, 60.0)" in printed
    assert "rate 9.6 trials a minute" in printed  # nothing runs
    running = example_record(RECORD.rows, driver="process 7 on here")
    assert "rate 9.6 trials a minute, 1 min 15 s left" in lines(
        status_table(status_info(running, NOW))
    )
    assert "cost 0.00 GPU hours; 0 s in 0 drives" in printed
    assert "time lost 10 s of work that gave no result" in printed
    assert "peak memory -" in printed
    assert "on disk -" in printed
    assert "failed: 1 raised: [boom] in step 3 (3)" in printed
    assert "driver none; continue with ablate resume" in printed
    assert "code not in a git repository" in printed
    assert "storage sqlite:///runs/example/study.db" in printed
    assert not any(line.startswith("budget") for line in printed)


def test_a_study_of_another_method_is_not_to_be_resumed() -> None:
    printed = lines(status_table(status_info(replace(RECORD, method=1), NOW)))
    assert "driver none; method 1 cannot be continued; use ablate 0.1" in printed


def test_cost_budget_disk_and_code() -> None:
    start = BEGAN.timestamp()
    peaks = {"peak_memory_bytes": 812_000_000, "peak_gpu_bytes": 9_500_000_000}
    row = example_row(0, (0.9, 0.7), attempts=[Attempt(1, start, start + 900, "complete", **peaks)])
    git = {"git": {"commit": "0123456789abcdef", "dirty": True}}
    drives = [
        Drive(start - 500, "a", 1, ended=start - 400, gpus_per_trial=4),
        Drive(start - 10, "a", 2, gpus_per_trial=2, provenance=git),
    ]
    record = example_record(
        [row],
        drives=drives,
        driver="process 2 on a",
        search={"budget": {"gpu_hours": 8, "seconds": 7200}},
    )
    info = status_info(record, start + 1790, (2_500_000, 0))
    printed = lines(status_table(info))
    assert "cost 0.50 GPU hours; 31 min 40 s in 2 drives" in printed
    assert "budget 0.50 of 8 GPU hours spent, 31 min 40 s of 2 h 00 min spent" in printed
    assert "peak memory 812 MB, 9.5 GB on a GPU" in printed
    assert "on disk 2.5 MB of training states, 0 B of weights" in printed
    assert "driver process 2 on a" in printed
    assert "code commit 0123456789ab, with uncommitted changes" in printed
    (data,) = strict(status_rows(info))
    assert (data["gpu_hours"], data["driving_seconds"], data["drives"]) == (0.5, 1900, 2)
    assert data["budget"] == {"gpu_hours": 8, "seconds": 7200}
    assert (data["checkpoint_bytes"], data["weight_bytes"]) == (2_500_000, 0)
    assert (data["commit"], data["dirty"]) == ("0123456789abcdef", True)
    assert (data["peak_memory_bytes"], data["peak_gpu_bytes"]) == tuple(peaks.values())


def test_status_stays_short_whatever_fails() -> None:
    rows = [
        example_row(number, None, state="FAIL", failure=Failure("raised", f"reason {number % 40}"))
        for number in range(400)
    ]
    printed = lines(status_table(status_info(example_record(rows), NOW)))
    assert "failed: 10 raised: reason 0 (0, 40, 80, 120, 160, 200, 240, 280, 320, 360)" in printed
    assert "failed: 360 for 36 other reasons" in printed
    assert len(printed) <= 25
    many = [example_row(n, None, state="FAIL", failure=Failure("raised", "x")) for n in range(40)]
    printed = lines(status_table(status_info(example_record(many), NOW)))
    assert any("10, 11 and 28 more)" in line for line in printed)


def test_status_of_nothing() -> None:
    info = status_info(example_record(references={}, reference_point=None), NOW)
    printed = lines(status_table(info))
    assert "trials none started" in printed
    assert "hypervolume - (no reference point)" in printed
    assert "rate -" in printed
    assert "cost - (no trial has started)" in printed
    (row,) = strict(status_rows(info))
    assert (row["hypervolume"], row["reference_point"], row["best"]) == (None, None, [])
    assert (row["peak_memory_bytes"], row["commit"]) == (None, None)


def test_status_as_data() -> None:
    (row,) = strict(status_rows(status_info(RECORD, NOW)))
    assert row["counts"] == {"WAITING": 0, "RUNNING": 1, "COMPLETE": 3, "PRUNED": 0, "FAIL": 1}
    assert row["best"][1] == {"metric": "val_robust_accuracy", "value": 0.80, "number": 1}
    assert row["failures"] == [{"kind": "raised", "reason": "[boom] in step 3", "numbers": [3]}]
    assert (row["worked_seconds"], row["lost_seconds"]) == (40.0, 10.0)


def test_a_spent_budget_leaves_the_running_trials() -> None:
    start = BEGAN.timestamp()
    attempt = Attempt(1, start, start + 60, "complete")
    rows = [example_row(number, (0.9, 0.7), attempts=[attempt]) for number in range(2)]
    rows.append(example_row(2, None, state="RUNNING"))
    record = replace(example_record(rows, trials=50), spent="search.budget.seconds: 60 spent")
    assert (record.rows_at_end, record.is_over) == (3, False)
    assert status_info(record, start + 60).seconds_left == 30
    ended = replace(record, rows=record.rows[:2])
    assert (ended.rows_at_end, ended.is_over) == (2, True)
    assert status_info(ended, start + 60).seconds_left == 0


def test_a_search_without_its_plain_finetune_is_not_over() -> None:
    record = example_record([example_row(0, (0.9, 0.7))], trials=1)
    without = replace(record, references={"baseline": record.references["baseline"]})
    assert (record.is_over, without.is_over) == (True, False)
    assert status_info(without, 0.0).continuation == "continue with ablate resume"
