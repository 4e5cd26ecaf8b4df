"""The cost of trials and studies, by values: every way that an attempt can end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_records import BEGAN, example_record, example_row

from ablate.analysis.accounting import RungAccount, study_account, trial_accounts
from ablate.ledger.record import Attempt, Drive, RowRecord, Rung
from ablate.report.numbers import run_time_rows
from ablate.study.settings import SearchBudgetSettings

START = BEGAN.timestamp()
NO_LIMIT = SearchBudgetSettings()


def curve(epochs: int, seconds: float = 4.0) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "epochs": 9, "train_loss": 1.0, "seconds": seconds}
        for epoch in range(1, epochs + 1)
    ]


def attempt(number: int, start: float, lasted: float | None, end: str | None, **more: Any) -> Any:
    ended = None if lasted is None else START + start + lasted
    return Attempt(number, START + start, ended, end, **more)


def row(*attempts: Attempt, epochs: int = 0, state: Any = "COMPLETE", **more: Any) -> RowRecord:
    values = (0.9, 0.7) if state == "COMPLETE" else None
    return example_row(0, values, state=state, attempts=attempts, curve=curve(epochs), **more)


def costs(trial: RowRecord) -> tuple[float, float]:
    """Seconds at work, and of them lost."""
    (account,) = trial_accounts(example_record([trial]))
    return account.worked_seconds, account.lost_seconds


@pytest.mark.parametrize("end", ["raised", "lost", "left"])
def test_what_was_not_gone_on_from_is_lost(end: str) -> None:
    first, second = attempt(1, 0, 15, end, epochs=3), attempt(2, 100, 12, "complete", epochs=4)
    assert costs(row(second, epochs=4)) == (12, 0)
    # Epochs of 4 s: of those of the first attempt the next went on from two, or from none.
    assert costs(row(first, replace(second, first_epoch=2), epochs=4)) == (27, 15 - 2 * 4)
    assert costs(row(first, second, epochs=4)) == (27, 15)
    # The second went on from epoch 3 and fell behind it: each epoch counts once.
    behind = attempt(2, 20, 6, end, first_epoch=3, epochs=3)
    third = attempt(3, 40, 14, "complete", first_epoch=2, epochs=4)
    assert costs(row(first, behind, third, epochs=4)) == (35, 15 - 2 * 4 + 6)
    failed = attempt(2, 20, 7, "fail")
    assert costs(row(first, failed, epochs=3, state="FAIL")) == (22, 22)
    assert costs(row(attempt(1, 0, 9, "pruned", epochs=2), state="PRUNED")) == (9, 0)


def test_a_study_is_the_sum_of_its_trials() -> None:
    peaks = {"peak_memory_bytes": 7, "peak_gpu_bytes": 9}
    rows = [
        row(attempt(1, 0, 10, "lost", host="b", **peaks), attempt(2, 10, 20, "complete", host="a")),
        row(attempt(1, 0, 5, "fail", host="b"), state="FAIL"),
        row(attempt(1, 500, 5, "complete", peak_memory_bytes=6)),
    ]
    early = Drive(START - 1, "a", 1, gpus_per_trial=0.5)
    drives = [early, Drive(START + 499, "b", 2, gpus_per_trial=2)]
    account = study_account(example_record(rows, drives=drives), START)
    assert account.gpu_hours == pytest.approx((35 * 0.5 + 5 * 2) / 3600)
    assert (account.worked_seconds, account.lost_seconds, account.busy_seconds) == (40, 15, 35)
    assert (account.peak_memory_bytes, account.peak_gpu_bytes) == (7, 9)
    assert account.hosts == ("b", "a")


def test_a_drive_ends_at_the_last_sign_of_its_trials_and_runs_until_now() -> None:
    rows = [row(attempt(1, 5, 25, "left"), attempt(2, 105, 10, "complete"))]
    killed, last = Drive(START, "a", 1), Drive(START + 100, "b", 2, parallel=2)

    def driven(*drives: Drive, driver: str | None = None) -> list[tuple[Any, ...]]:
        record = example_record(rows, drives=drives, driver=driver)
        found = study_account(record, now=START + 140).drives
        return [(one.seconds, one.worked_seconds, one.end) for one in found]

    assert driven(killed, last, driver="process 2 on b") == [
        (30, 25, "killed"),
        (40, 10, "running"),
    ]
    assert driven(killed, last) == [(30, 25, "killed"), (15, 10, "killed")]
    assert driven(replace(killed, ended=START + 20, end="stopped")) == [(20, 20, "stopped")]
    (lonely,) = study_account(example_record(drives=[killed]), now=START + 140).drives
    assert (lonely.seconds, lonely.worked_seconds) == (0, 0)


def test_epochs_by_rung_and_what_stopping_saved() -> None:
    def of(number: int, state: Any, done: int, stopped_at: int = 0, seconds: float = 4.0) -> Any:
        rungs = [
            Rung(epoch, {"a": 0.5}, epoch == stopped_at, 2 * number + epoch)
            for epoch in (1, 3)
            if epoch <= done
        ]
        end = attempt(1, 100 * number, 60, state.lower(), epochs=done)
        trial = row(end, state=state, rungs=rungs)
        return replace(trial, number=number, curve=tuple(curve(done, seconds)))

    rows = [
        of(0, "COMPLETE", 9),
        of(1, "PRUNED", 1, stopped_at=1),
        of(2, "PRUNED", 3, stopped_at=3, seconds=2.0),
        of(3, "FAIL", 4),
        replace(of(4, "COMPLETE", 0), copy_of=0, attempts=()),
    ]
    account = study_account(example_record(rows), START + 1000)
    epochs = account.epochs
    assert epochs.trained == (3, 2, 2, 1, 1, 1, 1, 1, 1)
    assert epochs.saved == (0, 1, 1, 2, 2, 2, 2, 2, 2)
    assert epochs.rungs == (RungAccount(1, 3, 1), RungAccount(3, 2, 1))
    assert epochs.training_seconds == 9 * 4 + 4 + 3 * 2
    assert epochs.other_seconds == 3 * 60 - epochs.training_seconds
    assert epochs.saved_seconds == 8 * 4 + 6 * 2
    assert dict(run_time_rows(account, NO_LIMIT))["epochs"] == (
        "13 trained, 14 saved (52 % of 27); after epoch 1: 1 trial stopped, 2 went on; after "
        "epoch 3: 1 trial stopped, 1 went on"
    )
    shorter = [of(0, "COMPLETE", 4), *rows[1:3]]
    record = example_record(shorter, trainable="loop:train")  # which may end before its budget
    assert study_account(record, START + 1000).epochs.saved == (0, 1, 1, 2)
