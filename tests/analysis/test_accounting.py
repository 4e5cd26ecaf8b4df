"""What trials and studies have cost, by values: every way that an attempt can end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_records import BEGAN, example_record, example_row

from ablate.analysis.accounting import (
    RungAccount,
    study_account,
    trial_accounts,
    worked_seconds,
)
from ablate.analysis.summary import spending_info
from ablate.errors import NothingToDrawError
from ablate.files.durable import Checkpoint
from ablate.ledger.record import Attempt, Drive, Failure, RowRecord, Rung
from ablate.report.figures.budget import plot_budget
from ablate.report.numbers import epochs_text, work_text

START = BEGAN.timestamp()


def curve(epochs: int, seconds: float = 4.0) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "train_loss": 1.0, "seconds": seconds} for epoch in range(1, epochs + 1)
    ]


def attempt(
    number: int,
    start: float,
    seconds: float | None,
    end: str | None,
    *,
    first: int = 0,
    last: int = 0,
) -> Attempt:
    ended = None if seconds is None else START + start + seconds
    return Attempt(number, START + start, ended, end, first_epoch=first, epochs=last)


def lost_seconds(row: RowRecord) -> float:
    (account,) = trial_accounts(example_record([row]))
    assert account.worked_seconds == worked_seconds(row)
    return account.lost_seconds


def complete(*attempts: Attempt, epochs: int) -> RowRecord:
    return example_row(0, (0.9, 0.7), attempts=attempts, curve=curve(epochs))


def test_an_attempt_that_went_through_lost_nothing() -> None:
    row = complete(attempt(1, 0, 20, "complete", last=4), epochs=4)
    assert (worked_seconds(row), lost_seconds(row)) == (20, 0)


@pytest.mark.parametrize("end", ["raised", "lost", "left"])
def test_what_was_not_gone_on_from_is_lost(end: str) -> None:
    # Three epochs of 4 s in 15 s, of which the next attempt took up two.
    first = attempt(1, 0, 15, end, last=3)
    row = complete(first, attempt(2, 100, 12, "complete", first=2, last=4), epochs=4)
    assert worked_seconds(row) == 27
    assert lost_seconds(row) == 15 - 2 * 4


def test_an_attempt_whose_epochs_all_go_for_nothing() -> None:
    # The second went on from the first's epoch 2; its states were torn, and the third began again.
    row = complete(
        attempt(1, 0, 10, "lost", last=2),
        attempt(2, 20, 10, "lost", first=2, last=4),
        attempt(3, 40, 20, "complete", last=4),
        epochs=4,
    )
    assert lost_seconds(row) == 20


def test_an_attempt_that_fell_behind_the_one_before_counts_each_epoch_once() -> None:
    row = complete(
        attempt(1, 0, 14, "lost", last=3),
        attempt(2, 20, 6, "lost", first=3, last=3),
        attempt(3, 40, 14, "complete", first=2, last=4),
        epochs=4,
    )
    # Of the first two epochs are kept, of the second none.
    assert lost_seconds(row) == (14 - 8) + 6


def test_a_failed_trial_is_lost_whole() -> None:
    row = example_row(
        0,
        None,
        state="FAIL",
        failure=Failure("raised", "boom"),
        attempts=[attempt(1, 0, 9, "raised"), attempt(2, 10, 7, "fail", last=1)],
        curve=curve(1),
    )
    assert (worked_seconds(row), lost_seconds(row)) == (16, 16)


def test_a_pruned_trial_has_lost_nothing() -> None:
    row = example_row(0, None, state="PRUNED", attempts=[attempt(1, 0, 9, "pruned", last=2)])
    assert (worked_seconds(row), lost_seconds(row)) == (9, 0)


def test_an_attempt_without_an_end_counts_to_its_last_epoch() -> None:
    running = attempt(2, 50, None, None, first=1, last=3)
    row = example_row(
        0, None, state="RUNNING", attempts=[attempt(1, 0, 6, "left", last=1), running],
        curve=curve(3),
    )  # fmt: skip
    assert (worked_seconds(row), lost_seconds(row)) == (6 + 8, 2)


def test_what_waits_for_a_resume_keeps_what_is_durable() -> None:
    row = example_row(
        0,
        None,
        state="RUNNING",
        attempts=[attempt(1, 0, 15, "left", last=3)],
        curve=curve(3),
        checkpoints=[Checkpoint(1, "a", "0"), Checkpoint(2, "b", "0")],
    )
    assert lost_seconds(row) == 15 - 2 * 4


def test_an_attempt_without_a_report_takes_nothing_from_the_one_before() -> None:
    """A row is gone on with: until its first report nobody knows from where."""
    first = attempt(1, 0, 15, "left", last=3)
    kept = [Checkpoint(2, "a", "0")]
    for again, own in ((attempt(2, 50, None, None), 0), (attempt(2, 50, 5, "lost"), 5)):
        row = example_row(
            0,
            None,
            state="RUNNING",
            attempts=[first, again],
            curve=curve(3),
            checkpoints=kept,
        )
        assert lost_seconds(row) == 15 - 2 * 4 + own
    # Once it reports a new start, all of the first is lost.
    anew = replace(attempt(2, 50, None, None), host="a")
    row = example_row(0, None, state="RUNNING", attempts=[first, anew], curve=curve(3))
    assert lost_seconds(row) == 15


def test_what_was_kept_amid_an_epoch_is_not_lost() -> None:
    """An epoch of 10 s: killed after 7, the last state at 6; its entry has the seconds of both."""
    before = replace(attempt(1, 0, 7, "left"), seconds=6.0)
    after = replace(attempt(2, 20, 4, "complete", last=1), first_step=60, first_seconds=6.0)
    entry = {"epoch": 1, "train_loss": 0.1, "seconds": 10.0}
    row = example_row(0, (0.9, 0.7), attempts=[before, after], curve=[entry])
    assert (worked_seconds(row), lost_seconds(row)) == (7 + 4, 1)

    kept = Checkpoint(0, "a", "0", step=60, seconds=6.0)
    waits = example_row(0, None, state="RUNNING", attempts=[before], checkpoints=[kept])
    assert lost_seconds(waits) == 1
    silent = replace(attempt(1, 0, None, None), seconds=6.0)  # its driver was killed
    waits = example_row(0, None, state="RUNNING", attempts=[silent], checkpoints=[kept])
    assert worked_seconds(waits) == 6


def test_a_row_that_waits_has_cost_nothing() -> None:
    (account,) = trial_accounts(example_record([example_row(0, None, state="WAITING")]))
    assert (account.attempts, account.worked_seconds, account.lost_seconds) == (0, 0, 0)
    assert (account.gpu_hours, account.hosts) == (0, ())


def test_gpu_hours_are_of_the_drive_that_an_attempt_ran_in() -> None:
    row = complete(attempt(1, 0, 3600, "left"), attempt(2, 9000, 7200, "complete"), epochs=0)
    drives = [
        Drive(START - 1, "a", 1, gpus_per_trial=0.5),
        Drive(START + 8999, "b", 2, gpus_per_trial=2),
    ]
    (account,) = trial_accounts(example_record([row], drives=drives))
    assert account.gpu_hours == pytest.approx(0.5 + 4)
    (on_cpus,) = trial_accounts(example_record([row]))
    assert on_cpus.gpu_hours == 0


def test_peaks_and_hosts() -> None:
    attempts = [
        Attempt(1, START, START + 1, "lost", host="b", peak_memory_bytes=5, peak_gpu_bytes=9),
        Attempt(2, START + 2, START + 3, "lost", host="a", peak_memory_bytes=7),
        Attempt(3, START + 4, START + 5, "complete", host="b", peak_memory_bytes=6),
    ]
    (account,) = trial_accounts(example_record([example_row(0, (0.9, 0.7), attempts=attempts)]))
    assert (account.peak_memory_bytes, account.peak_gpu_bytes) == (7, 9)
    assert (account.hosts, account.attempts) == (("b", "a"), 3)


def test_busy_is_the_union_of_all_attempts() -> None:
    assert study_account(example_record(), START).busy_seconds == 0
    rows = [
        complete(attempt(1, 0, 100, "complete"), epochs=0),
        complete(attempt(1, 10, 20, "complete"), epochs=0),
        complete(attempt(1, 90, 20, "left"), attempt(2, 500, 5, "complete"), epochs=0),
    ]
    assert study_account(example_record(rows), START).busy_seconds == 110 + 5


def test_a_study_is_the_sum_of_its_trials() -> None:
    rows = [
        complete(attempt(1, 0, 10, "lost"), attempt(2, 10, 20, "complete"), epochs=0),
        example_row(1, None, state="FAIL", attempts=[attempt(1, 0, 5, "fail")]),
    ]
    drives = [Drive(START, "a", 1, ended=START + 40, gpus_per_trial=1)]
    account = study_account(example_record(rows, drives=drives), now=START + 1000)
    assert (account.worked_seconds, account.lost_seconds, account.busy_seconds) == (35, 15, 30)
    assert account.gpu_hours == pytest.approx(35 / 3600)
    assert (account.driving_seconds, account.drives) == (40, 1)


def test_a_drive_without_an_end() -> None:
    rows = [complete(attempt(1, 5, 25, "left"), attempt(2, 105, 10, "complete"), epochs=0)]
    killed, last = Drive(START, "a", 1), Drive(START + 100, "b", 2)

    def driven(*drives: Drive, driver: str | None) -> float:
        return study_account(
            example_record(rows, drives=drives, driver=driver), now=START + 140
        ).driving_seconds

    # Killed: until the last sign of its attempts; alive: until now.
    assert driven(killed, last, driver="process 2 on b") == 30 + 40
    assert driven(killed, last, driver=None) == 30 + 15
    assert driven(Drive(START, "a", 1), driver=None) == 115
    assert study_account(
        example_record(drives=[killed]), now=START + 140
    ).driving_seconds == 0  # fmt: skip


# -- Where the epochs went


def test_epochs_by_rung_and_what_stopping_saved() -> None:
    def of(number: int, state: Any, done: int, stopped_at: int = 0, seconds: float = 4.0) -> Any:
        rungs = [
            Rung(epoch, {"a": 0.5}, epoch == stopped_at, 2 * number + epoch)
            for epoch in (1, 3)
            if epoch <= done
        ]
        entries = [{**one, "epochs": 9} for one in curve(done, seconds)]
        end = attempt(1, 100 * number, 60, state.lower(), last=done)
        return example_row(number, None, state=state, curve=entries, rungs=rungs, attempts=[end])

    rows = [
        of(0, "COMPLETE", 9),
        of(1, "PRUNED", 1, stopped_at=1),
        of(2, "PRUNED", 3, stopped_at=3, seconds=2.0),
        of(3, "FAIL", 4),
        replace(of(4, "COMPLETE", 0), copy_of=0, attempts=()),
    ]
    account = study_account(example_record(rows), START + 1000).epochs
    assert account.trained == (3, 2, 2, 1, 1, 1, 1, 1, 1)
    assert account.saved == (0, 1, 1, 2, 2, 2, 2, 2, 2)
    assert account.rungs == (RungAccount(1, 3, 1), RungAccount(3, 2, 1))
    assert account.training_seconds == 9 * 4 + 4 + 3 * 2
    assert account.other_seconds == 3 * 60 - account.training_seconds
    assert account.saved_seconds == 8 * 4 + 6 * 2
    assert epochs_text(account) == (
        "13 trained, 14 saved (52 % of 27); after epoch 1: 1 trial stopped, 2 went on; after "
        "epoch 3: 1 trial stopped, 1 went on"
    )
    assert work_text(account) == (
        "training 46 s, scoring and loading 2 min 14 s; training saved by stopping: about 44 s"
    )
    frame = spending_info(example_record(rows, search={"pruner": {}})).frame()
    assert frame[frame["epoch"] == 3].values.tolist() == [[3, 2, 1, 2, 1]]
    shorter = [of(0, "COMPLETE", 4), *rows[1:3]]
    of_searched_budgets = study_account(example_record(shorter), START + 1000).epochs
    assert of_searched_budgets.saved == (0, 1, 1, 2, 2, 2, 2, 2, 2)
    record = example_record(shorter, trainable="loop:train")  # which may end before its budget
    assert study_account(record, START + 1000).epochs.saved == (0, 1, 1, 2)


def test_a_search_without_a_pruner_saves_nothing() -> None:
    rows = [complete(attempt(1, 0, 20, "complete", last=4), epochs=4)]
    account = study_account(example_record(rows), START + 100).epochs
    assert (account.trained, account.saved, account.rungs) == ((1,) * 4, (0,) * 4, ())
    assert epochs_text(account) == "4 trained"
    assert work_text(account) == "training 16 s, scoring and loading 4 s"
    rule = r"figure budget needs an ablation with tuned arms or a search with a pruner, got a sear"
    with pytest.raises(NothingToDrawError, match=rule):
        spending_info(example_record(rows))
    nothing = spending_info(example_record(search={"pruner": {}}))
    assert len(nothing.frame()) == 0
    assert plot_budget(nothing).layout.annotations[0].text == "no epoch has ended yet"
