"""The dispatcher: rows out, reports in, over a real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from ablate.errors import InfrastructureError, LeaseError
from ablate.ledger.head import Head
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Failure, RowRecord
from ablate.ledger.row import Row
from ablate.search.dispatcher import FINISHED, Dispatcher, checkpoint_folder
from ablate.search.progress import Silent
from ablate.search.task import Report
from ablate.space.parse import parse_space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.scores import Scores
from ablate.study.settings import Study
from ablate.vocabulary import names_for

SCORES = Scores("val", 10, 0.9, {"gaussian_noise": {"3": 0.5}}, {"noise": ("gaussian_noise",)})
DONE = Report(scores=SCORES.to_json())
RAISED = Report(failure=asdict(Failure("raised", "ValueError: no", "Traceback")))
DIVERGED = Report(failure=asdict(Failure("not_finite", "the loss is nan")))


class Watcher(Silent):
    def __init__(self) -> None:
        self.ended: list[RowRecord] = []

    def finished(self, row: RowRecord) -> None:
        self.ended.append(row)


@pytest.fixture
def make_ledger(tmp_path: Path) -> Callable[..., Ledger]:
    def make(trials: int = 2, **run: object) -> Ledger:
        study = Study.model_validate(
            {
                "version": 1,
                "name": "dispatched",
                "dataset": {"name": "digits"},
                "model": {"name": "resnet8"},
                "space": {"augment.strength": {"float": [0.2, 1.0]}},
                "run": run,
            }
        )
        space = parse_space(study, names_for("resnet8"))
        fingerprint = study_fingerprint(study, space, "digest")
        head = Head(study, "", space.to_json(), "/", fingerprint, "b", {}, (0.8, 0.4))
        return Ledger.create(f"sqlite:///{tmp_path}/study.db", head, trials)

    return make


@pytest.fixture
def dispatch(tmp_path: Path) -> Iterator[Callable[..., Dispatcher]]:
    made: list[Dispatcher] = []

    def start(ledger: Ledger, watcher: Watcher | None = None) -> Dispatcher:
        made.append(Dispatcher(ledger, tmp_path / "checkpoints", watcher or Watcher()))
        return made[-1]

    yield start
    for dispatcher in made:
        dispatcher.close()


def take(dispatcher: Dispatcher) -> Row:
    row = dispatcher.take(10)
    assert isinstance(row, Row), row
    return row


Start = Callable[..., Dispatcher]
Make = Callable[..., Ledger]


def test_the_plain_finetune_comes_first_and_is_no_row(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=2)
    dispatcher = dispatch(ledger)
    plain = take(dispatcher)
    assert (plain.number, plain.params) == (None, {"loss.terms": "clean"})
    dispatcher.report(plain, DONE)
    for number in (0, 1):
        row = take(dispatcher)
        assert row.number == number
        dispatcher.report(row, DONE)
    assert dispatcher.take(10) == FINISHED
    record = ledger.read()
    assert [row.state for row in record.rows] == ["COMPLETE", "COMPLETE"]
    assert record.references["plain"].clean_accuracy == 0.9


def test_results_are_written_before_the_next_row_is_asked(
    make_ledger: Make, dispatch: Start
) -> None:
    ledger, watcher = make_ledger(trials=3), Watcher()
    dispatcher = dispatch(ledger, watcher)
    dispatcher.report(take(dispatcher), DONE)
    first = take(dispatcher)
    dispatcher.report(first, DONE)
    take(dispatcher)
    assert [row.number for row in watcher.ended] == [0]


def test_nothing_is_handed_out_while_the_last_rows_run(make_ledger: Make, dispatch: Start) -> None:
    dispatcher = dispatch(make_ledger(trials=1))
    plain, row = take(dispatcher), take(dispatcher)
    assert dispatcher.take(0.2) is None
    dispatcher.report(plain, DONE)
    assert dispatcher.take(0.2) is None
    dispatcher.report(row, DONE)
    assert dispatcher.take(10) == FINISHED


def test_a_row_that_raises_fails_and_the_study_goes_on(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=2)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    dispatcher.report(take(dispatcher), RAISED)
    dispatcher.report(take(dispatcher), DONE)
    assert dispatcher.take(10) == FINISHED
    failed, complete = ledger.read().rows
    assert failed.failure == Failure("raised", "ValueError: no", "Traceback")
    assert complete.state == "COMPLETE"


def test_a_row_that_raises_is_tried_again_where_asked(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1, max_failures=1)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    dispatcher.report(take(dispatcher), RAISED)
    again = take(dispatcher)
    assert (again.number, again.attempt, again.failures) == (0, 2, 1)
    dispatcher.report(again, RAISED)
    assert dispatcher.take(10) == FINISHED
    (row,) = ledger.read().rows
    assert (row.state, row.attempt) == ("FAIL", 2)


def test_a_row_that_diverges_is_not_tried_again(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1, max_failures=3)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    dispatcher.report(take(dispatcher), DIVERGED)
    assert dispatcher.take(10) == FINISHED
    assert ledger.read().rows[0].attempt == 1


def test_a_lost_worker_never_fails_its_row(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    row = take(dispatcher)
    dispatcher.lose(row, "killed")
    again = take(dispatcher)
    assert (again.number, again.attempt, again.lost) == (0, 2, 1)
    dispatcher.report(row, DONE)  # a late word from the attempt that was given up
    dispatcher.report(again, DONE)
    assert dispatcher.take(10) == FINISHED
    (ended,) = ledger.read().rows
    assert (ended.state, ended.attempt) == ("COMPLETE", 2)


def test_three_losses_in_a_row_stop_the_study(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    for _ in range(3):
        dispatcher.lose(take(dispatcher), "the node is gone")
    assert dispatcher.take(10) == FINISHED
    assert dispatcher.stopping
    assert isinstance(dispatcher.error, InfrastructureError)
    assert "3 in a row" in str(dispatcher.error)
    assert "the node is gone" in str(dispatcher.error)
    assert ledger.read().rows[0].state == "RUNNING"


def test_a_plain_finetune_that_fails_stops_the_study(make_ledger: Make, dispatch: Start) -> None:
    dispatcher = dispatch(make_ledger())
    dispatcher.report(take(dispatcher), RAISED)
    assert dispatcher.take(10) == FINISHED
    assert "the plain finetune must end with scores, got: ValueError: no" in str(dispatcher.error)


def test_nothing_is_written_once_the_lease_is_lost(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    row = take(dispatcher)
    dispatcher.lease_lost()
    dispatcher.report(row, DONE)
    dispatcher.close()
    assert isinstance(dispatcher.error, LeaseError)
    assert ledger.read().rows[0].state == "RUNNING"


def test_close_writes_what_was_handed_in(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=2)
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    dispatcher.report(take(dispatcher), DONE)
    dispatcher.close()
    assert ledger.read().rows[0].state == "COMPLETE"


def test_the_next_driver_adopts_what_was_running(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=2)
    first = dispatch(ledger)
    first.report(take(first), DONE)
    take(first)
    first.close()
    second = dispatch(ledger)
    row = take(second)
    assert (row.number, row.attempt) == (0, 2)


def test_the_training_states_of_an_ended_row_are_removed(
    make_ledger: Make, dispatch: Start, tmp_path: Path
) -> None:
    dispatcher = dispatch(make_ledger(trials=1))
    dispatcher.report(take(dispatcher), DONE)
    row = take(dispatcher)
    folder = checkpoint_folder(tmp_path / "checkpoints", row.number)
    folder.mkdir(parents=True)
    dispatcher.report(row, DONE)
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
