"""The dispatcher: rows out, reports in, over a real ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from waiting import SECONDS, wait_until

from ablate.errors import InfrastructureError, LeaseError, UsageError
from ablate.files.durable import Checkpoint
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Failure, Head, Planned, Row, RowRecord
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.mixtures import Keeper
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.search.failures import Failing
from ablate.search.progress import EventLog, Progress, read_events
from ablate.search.run_context import Janitor, RunContext, Spending
from ablate.space.domain import FloatDomain
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.scores import Bound, Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial.task import Report, checkpoint_folder

SCORES = Scores("val", 10, 0.9, {"gaussian_noise": {"3": 0.5}}, {"noise": ("gaussian_noise",)})
DONE = Report(scores=SCORES.to_json())
RAISED = Report(failure=asdict(Failure("raised", "ValueError: no", "Traceback")))
DIVERGED = Report(failure=asdict(Failure("not_finite", "the loss is nan")))


def epoch(number: int, **more: object) -> Report:
    return Report(entry={"epoch": number, "train_loss": 0.1, "seconds": 1.0}, **more)  # type: ignore[arg-type]


@pytest.fixture
def make_ledger(tmp_path: Path) -> Callable[..., Ledger]:
    def make(
        trials: int = 2, search: object = None, planned: Sequence[Planned] = (), **run: object
    ) -> Ledger:
        data: dict[str, object] = {
            "version": 1,
            "name": "dispatched",
            "dataset": {"name": "digits"},
            "model": {"name": "resnet8"},
            "run": run,
        }
        searched = {"space": {"augment.strength": {"float": [0.2, 1.0]}}, "search": search or {}}
        ablated = {
            "ablation": {"design": "arms", "arms": {row.cell: row.params for row in planned}}
        }
        study = Study.model_validate(data | (ablated if planned else searched))
        space = parse_space(study, names_for("resnet8"))
        fingerprint = study_fingerprint(study, space, "digest")
        head = Head("0a1b2c3d", study, "", space.to_json(), "/", fingerprint, "b", {}, (0.8, 0.4))
        head = replace(head, design={"kind": "arms"} if planned else None)
        return Ledger.create(f"sqlite:///{tmp_path}/study.db", head, trials, planned)

    return make


@pytest.fixture
def dispatch(tmp_path: Path) -> Iterator[Callable[..., Dispatcher]]:
    made: list[Dispatcher] = []

    def start(
        ledger: Ledger,
        watcher: Progress | None = None,
        *,
        grace_seconds: float = 30.0,
        accept_baseline: bool = False,
        rung_bounds: tuple[Bound, ...] = (),
    ) -> Dispatcher:
        record = ledger.read()
        around = RunContext(
            progress=watcher or Progress(),
            events=EventLog(tmp_path),
            janitor=Janitor(tmp_path, str(tmp_path / "checkpoints")),
            weights_to_remove=Keeper(["maximize", "maximize"], "all", ()).completed,
            spending=Spending(record, 1.0),
            failing=Failing(record.rows, 1, record.study.run.max_failed_fraction),
            grace_seconds=grace_seconds,
            accept_baseline=accept_baseline,
            rung_bounds=rung_bounds,
        )
        made.append(Dispatcher(Driving(ledger), around))
        return made[-1]

    yield start
    for dispatcher in made:
        dispatcher.close()


@pytest.fixture
def started(
    make_ledger: Callable[..., Ledger], dispatch: Callable[..., Dispatcher]
) -> Callable[..., tuple[Ledger, Dispatcher]]:
    """A ledger and its dispatcher, whose plain finetune has ended."""

    def start(*given: Any, **ledger: Any) -> tuple[Ledger, Dispatcher]:
        made = make_ledger(**ledger)
        dispatcher = dispatch(made, *given)
        dispatcher.report(take(dispatcher), DONE)
        return made, dispatcher

    return start


def take(dispatcher: Dispatcher) -> Row:
    row = dispatcher.take(SECONDS)
    assert isinstance(row, Row), row
    dispatcher.begun(row)
    return row


Start = Callable[..., Dispatcher]
Make = Callable[..., Ledger]
Started = Callable[..., tuple[Ledger, Dispatcher]]


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
    assert dispatcher.take(SECONDS) == FINISHED
    record = ledger.read()
    assert [row.state for row in record.rows] == ["COMPLETE", "COMPLETE"]
    assert record.references["plain"].clean_accuracy == 0.9


def test_nothing_is_handed_out_while_the_last_rows_run(make_ledger: Make, dispatch: Start) -> None:
    dispatcher = dispatch(make_ledger(trials=1))
    plain, row = take(dispatcher), take(dispatcher)
    assert dispatcher.take(0.2) is None
    dispatcher.report(plain, DONE)
    assert dispatcher.take(0.2) is None
    dispatcher.report(row, DONE)
    assert dispatcher.take(SECONDS) == FINISHED


def test_a_trial_whose_cost_is_above_its_largest_value_is_stopped_with_a_note(
    make_ledger: Make, dispatch: Start, tmp_path: Path
) -> None:
    """On the bounds of the run's context, as a rung may have its own."""
    dispatcher = dispatch(
        make_ledger(trials=1, search={"pruner": {}}),
        rung_bounds=(Bound("train_seconds", 30.0, False),),
    )
    dispatcher.report(take(dispatcher), DONE)
    scores = {"val_clean_accuracy": 0.9, "val_robust_accuracy": 0.5, "train_seconds": 31.5}
    dispatcher.report(take(dispatcher), epoch(1, rung={"scores": scores}))
    assert dispatcher.take(SECONDS) == FINISHED
    dispatcher.close()
    notes = [event["text"] for event in read_events(tmp_path) if event["event"] == "note"]
    assert notes == ["stopped, train_seconds is 31.5, must be at most 30"]


@pytest.mark.parametrize(
    ("max_failures", "reports", "attempts"),
    [(0, [RAISED], 1), (1, [RAISED, RAISED], 2), (1, [RAISED, DONE], 2), (3, [DIVERGED], 1)],
)
def test_a_row_that_fails_is_tried_again_as_often_as_asked(
    started: Started, max_failures: int, reports: list[Report], attempts: int
) -> None:
    """But for one that diverged; the study goes on in any case."""
    ledger, dispatcher = started(trials=2, max_failures=max_failures)
    for attempt, report in enumerate(reports):
        row = take(dispatcher)
        assert (row.number, row.attempt, row.failures) == (0, attempt + 1, attempt)
        dispatcher.report(row, report)
    dispatcher.report(take(dispatcher), DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    row, other = ledger.read().rows
    failure = reports[-1].failure
    assert row.failure == (None if failure is None else Failure(**failure))
    assert (row.attempt, other.state) == (attempts, "COMPLETE")


def test_a_lost_worker_never_fails_its_row(started: Started) -> None:
    ledger, dispatcher = started(trials=1)
    row = take(dispatcher)
    dispatcher.lose(row, "killed")
    again = take(dispatcher)
    assert (again.number, again.attempt, again.lost) == (0, 2, 1)
    dispatcher.report(row, epoch(1))  # late reports of the attempt that was given up
    dispatcher.report(row, RAISED)
    dispatcher.report(replace(row, number=7), epoch(1))  # of a row that is not out
    dispatcher.report(again, DONE)
    dispatcher.report(again, RAISED)
    assert dispatcher.take(SECONDS) == FINISHED
    (ended,) = ledger.read().rows
    assert (ended.state, ended.attempt, len(ended.curve)) == ("COMPLETE", 2, 0)


def test_three_losses_in_a_row_stop_the_study(started: Started) -> None:
    ledger, dispatcher = started(trials=3)
    for _ in range(3):
        lost = Report(lost="no space left", place={"host": "here"})
        dispatcher.report(take(dispatcher), lost)
    assert dispatcher.take(SECONDS) == FINISHED
    assert dispatcher.stopping
    assert isinstance(dispatcher.error, InfrastructureError)
    assert "3 in a row" in str(dispatcher.error)
    assert "no space left" in str(dispatcher.error)
    assert ledger.read().rows[0].state == "RUNNING"


def test_a_row_that_dies_wherever_it_runs_fails_where_others_go_on(started: Started) -> None:
    ledger, dispatcher = started(trials=2)
    poison, other = take(dispatcher), take(dispatcher)
    dispatcher.report(other, epoch(1))
    for attempt in range(6):
        assert (poison.number, poison.attempt) == (0, attempt + 1)
        dispatcher.lose(poison, "killed")
        if attempt < 5:
            poison = take(dispatcher)
    dispatcher.report(other, DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    failed, complete = ledger.read().rows
    assert failed.failure == Failure("lost", "its process died 6 times; the last time: killed")
    assert complete.state == "COMPLETE"


def test_a_row_that_dies_alone_stops_the_study_once(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    first = dispatch(ledger)
    first.report(take(first), DONE)
    while isinstance(row := first.take(SECONDS), Row):
        first.lose(row, "killed")
    assert isinstance(first.error, InfrastructureError)
    first.close()
    assert ledger.read().rows[0].state == "RUNNING"
    second = dispatch(ledger)
    while isinstance(row := second.take(SECONDS), Row):
        second.lose(row, "killed")
    assert second.error is None
    assert ledger.read().rows[0].state == "FAIL"


def test_no_trial_starts_before_the_baseline_is_judged(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    ledger.set_reference("baseline", replace(SCORES, clean_accuracy=0.3))
    first = dispatch(ledger)
    plain = take(first)
    assert first.take(0.2) is None
    first.report(plain, DONE)
    assert first.take(SECONDS) == FINISHED
    assert isinstance(first.error, UsageError)
    assert "clean accuracy by 60.0 points, from 30.0 to 90.0 %" in str(first.error)
    assert dispatch(ledger).take(SECONDS) == FINISHED  # and again
    assert ledger.read().rows == ()
    accepting = dispatch(ledger, accept_baseline=True)
    accepting.report(take(accepting), DONE)
    assert accepting.take(SECONDS) == FINISHED
    record = ledger.read()
    assert [row.state for row in record.rows] == ["COMPLETE"]
    assert record.accepted_baseline.startswith("plain finetuning raises clean accuracy by 60.0")


def test_a_baseline_accepted_beforehand_is_recorded(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    ledger.set_reference("baseline", replace(SCORES, clean_accuracy=0.3))
    dispatcher = dispatch(ledger, accept_baseline=True)
    plain, row = take(dispatcher), take(dispatcher)  # the trial does not wait
    dispatcher.report(row, DONE)
    dispatcher.report(plain, DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    assert ledger.read().accepted_baseline.startswith("plain finetuning raises")


def planned_rows() -> list[Planned]:
    cells = {"DA": {"loss.terms": "clean+da"}, "plain": {"loss.terms": "clean"}}
    return [
        Planned(cell, pair, values, Seeds(split=0, train=1 + pair, evaluation=5))
        for pair in range(2)
        for cell, values in cells.items()
    ]


def test_the_first_plain_row_of_a_design_runs_alone(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(4, planned=planned_rows())
    ledger.set_reference("baseline", replace(SCORES, clean_accuracy=0.3))
    killed = dispatch(ledger)
    assert take(killed).number == 1
    assert killed.take(0.2) is None
    killed.close()
    first = dispatch(ledger)
    plain = take(first)
    assert (plain.number, plain.attempt) == (1, 2)
    assert first.take(0.2) is None
    first.report(plain, DONE)
    assert first.take(SECONDS) == FINISHED
    assert "from 30.0 to 90.0 %" in str(first.error)
    again = dispatch(ledger)
    assert again.take(SECONDS) == FINISHED
    assert isinstance(again.error, UsageError)
    assert [row.attempt for row in ledger.read().rows] == [0, 2, 0, 0]
    accepting = dispatch(ledger, accept_baseline=True)
    assert [take(accepting).number for _ in range(3)] == [0, 2, 3]
    assert ledger.read().accepted_baseline.startswith("plain finetuning raises")


@pytest.mark.parametrize("end", [DONE, DIVERGED])
def test_a_design_goes_on_after_its_plain_row(
    end: Report, make_ledger: Make, dispatch: Start
) -> None:
    """Where it gains little, or has failed."""
    ledger = make_ledger(4, planned=planned_rows())
    ledger.set_reference("baseline", replace(SCORES, clean_accuracy=0.89))
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), end)
    assert [take(dispatcher).number for _ in range(3)] == [0, 2, 3]


def test_a_design_with_other_rows_is_not_judged(make_ledger: Make, dispatch: Start) -> None:
    """It began before its plain row was, or is of another version."""
    ledger = make_ledger(4, planned=planned_rows())
    Driving(ledger).ask()
    ledger.set_reference("baseline", replace(SCORES, clean_accuracy=0.3))
    dispatcher = dispatch(ledger)
    rows = [take(dispatcher) for _ in range(4)]
    assert [row.number for row in rows] == [0, 1, 2, 3]
    for row in rows:
        dispatcher.report(row, DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    assert (dispatcher.error, ledger.read().accepted_baseline) == (None, "")


def test_a_plain_finetune_that_fails_stops_the_study(make_ledger: Make, dispatch: Start) -> None:
    dispatcher = dispatch(make_ledger())
    dispatcher.report(take(dispatcher), RAISED)
    assert dispatcher.take(SECONDS) == FINISHED
    assert "the plain finetune must end with scores, got: ValueError: no" in str(dispatcher.error)
    assert dispatcher.error.exit_code == 1  # a job that is requeued would fail again


def test_a_sampler_that_raises_is_wrong_use(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger()
    (parameter,) = ledger.space.parameters  # as a study started before this check existed
    ledger.space = Space((replace(parameter, domain=FloatDomain(-1e308, 1e308)),))
    dispatcher = dispatch(ledger)
    dispatcher.report(take(dispatcher), DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    assert str(dispatcher.error) == (
        "search.sampler: auto must sample trial 0, got OverflowError: Range exceeds valid bounds. "
        "Use another sampler or other ranges in the space."
    )
    assert dispatcher.error.exit_code == 2
    assert ledger.read().rows == ()


@pytest.mark.parametrize(("raised", "code"), [(KeyError("no"), 2), (OSError(5, "I/O error"), 3)])
def test_only_what_may_go_away_is_tried_again(
    raised: Exception,
    code: int,
    make_ledger: Make,
    dispatch: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Driving, "ask", ask)
    dispatcher = dispatch(make_ledger())
    take(dispatcher)
    assert dispatcher.take(SECONDS) == FINISHED
    assert str(dispatcher.error).startswith(f"the ledger: {type(raised).__name__}: ")
    assert dispatcher.error.exit_code == code


def amid(step: int, epochs: int = 0) -> Report:
    uri = f"/x/{epochs}-{step}"
    return Report(checkpoint=asdict(Checkpoint(epochs, uri, "a" * 64, step, 1.0)))


def test_checkpoints_amid_epochs_are_recorded_once(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    dispatcher = dispatch(ledger)
    plain = take(dispatcher)
    dispatcher.report(plain, amid(5))
    dispatcher.lose(plain, "killed")
    again = take(dispatcher)
    assert (again.number, again.attempt) == (None, 2)
    assert [kept.place for kept in again.checkpoints] == [(0, 5)]
    dispatcher.report(again, DONE)
    row = take(dispatcher)
    for report in (amid(10), epoch(1), amid(5, epochs=1)):
        dispatcher.report(row, report)
    dispatcher.lose(row, "killed")
    again = take(dispatcher)
    assert [kept.place for kept in again.checkpoints] == [(0, 10), (1, 5)]
    (running,) = ledger.read().rows
    assert [entry["epoch"] for entry in running.curve] == [1]
    assert (running.attempts[0].epochs, running.attempts[0].seconds) == (1, 1.0)


def test_an_epoch_that_takes_too_long_is_a_failure(started: Started) -> None:
    ledger, dispatcher = started(trials=1, max_failures=1)
    row = take(dispatcher)
    dispatcher.report(row, epoch(1))
    dispatcher.time_out(row, 60.0)
    assert dispatcher.is_stopped(row)
    dispatcher.lose(row, "its process was killed")  # says Ray a moment later
    again = take(dispatcher)
    assert (again.attempt, again.failures, again.lost) == (2, 1, 0)
    dispatcher.time_out(again, 60.0)
    assert dispatcher.take(SECONDS) == FINISHED
    (ended,) = ledger.read().rows
    assert ended.failure == Failure(
        "timed_out",
        "an epoch must end within run.epoch_timeout_seconds, got one running for 60 s. Its "
        "worker was stopped: check what it waits for, or raise the limit.",
    )


def test_nothing_is_written_once_the_lease_is_lost(started: Started) -> None:
    ledger, dispatcher = started(trials=1)
    row = take(dispatcher)
    dispatcher.fail(LeaseError("the lease is lost"))
    dispatcher.report(row, DONE)
    dispatcher.close()
    assert isinstance(dispatcher.error, LeaseError)
    assert ledger.read().rows[0].state == "RUNNING"


def test_the_training_states_of_an_ended_row_are_removed(started: Started, tmp_path: Path) -> None:
    _, dispatcher = started(trials=1)
    row = take(dispatcher)
    folder = Path(checkpoint_folder(str(tmp_path / "checkpoints"), row.number))
    folder.mkdir(parents=True)
    dispatcher.report(row, DONE)
    wait_until(lambda: not folder.exists())


def test_a_report_that_is_handed_in_twice_counts_once(started: Started) -> None:
    ended: list[int] = []

    class Watcher(Progress):
        def finished(self, row: RowRecord) -> None:
            ended.append(row.number)

    ledger, dispatcher = started(Watcher(), trials=2)
    row = take(dispatcher)
    for report in (epoch(1), DONE, DONE):
        dispatcher.report(row, report)
    dispatcher.report(take(dispatcher), DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    assert dispatcher.error is None
    assert ended == [0, 1]
    assert len(ledger.read().rows[0].curve) == 1


def test_what_a_node_takes_with_it_is_one_loss(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=4)
    dispatcher = dispatch(ledger)
    rows = [take(dispatcher) for _ in range(5)]
    for row in rows:
        dispatcher.lose(row, "its node is gone")
    again = [take(dispatcher) for _ in rows]
    assert [row.attempt for row in again] == [2] * 5
    assert dispatcher.error is None


def test_losses_of_rows_that_run_at_once_are_in_a_row(started: Started) -> None:
    _, dispatcher = started(trials=4)
    running, losses = [take(dispatcher), take(dispatcher)], 0
    while not dispatcher.stopping and losses < 12:
        dispatcher.lose(running.pop(0), "its process died")
        losses += 1
        if isinstance(row := dispatcher.take(SECONDS), Row):
            dispatcher.begun(row)
            running.append(row)
    assert "3 in a row over all trials" in str(dispatcher.error)
    assert losses == 5  # of two that run at once, one of each pair is counted


def test_a_row_costs_nothing_until_a_worker_has_it(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=5, search={"budget": {"gpu_hours": 0.1 / 3600}})
    dispatcher = dispatch(ledger)
    plain = take(dispatcher)  # no trial
    waiting = dispatcher.take(SECONDS)
    assert isinstance(waiting, Row)
    time.sleep(0.3)
    dispatcher.report(plain, DONE)
    row = take(dispatcher)
    time.sleep(0.3)
    dispatcher.report(row, DONE)
    assert dispatcher.take(0.5) is None
    wait_until(lambda: ledger.spent is not None)
    assert ledger.spent == "search.budget.gpu_hours: 2.77778e-05 spent"
    dispatcher.close()
    first, second = ledger.read().rows
    (attempt,) = first.attempts
    assert (first.state, attempt.end, attempt.ended) == ("RUNNING", "left", attempt.started)
    assert second.state == "COMPLETE"
    again = dispatch(ledger)  # no drive is recorded, so nothing was spent before
    again.report(take(again), DONE)
    assert again.take(SECONDS) == FINISHED
    assert [row.state for row in ledger.read().rows] == ["COMPLETE"] * 2


def test_a_budget_that_ends_with_the_last_row_is_not_spent(
    make_ledger: Make, dispatch: Start
) -> None:
    ledger = make_ledger(trials=1, search={"budget": {"seconds": 3600}})
    dispatcher = dispatch(ledger)
    plain, row = take(dispatcher), take(dispatcher)
    dispatcher._around.spending._began -= 3600
    dispatcher.report(plain, DONE)
    dispatcher.report(row, DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    assert ledger.spent is None


@pytest.mark.parametrize(("report", "epochs"), [(epoch(1), 1), (amid(10), 0)])
def test_a_drain_keeps_the_epoch_or_the_checkpoint_under_way(
    started: Started, tmp_path: Path, report: Report, epochs: int
) -> None:
    ledger, dispatcher = started(trials=3)
    row = take(dispatcher)
    dispatcher.drain("SIGTERM")
    assert dispatcher.take(1) == FINISHED
    assert not dispatcher.stopping
    assert not dispatcher.is_stopped(row)
    dispatcher.report(row, report)
    assert dispatcher.is_stopped(row)
    wait_until(lambda: dispatcher.drained)
    assert dispatcher.stopping
    assert dispatcher.error is None
    dispatcher.close()
    (left,) = ledger.read().rows
    assert (left.state, len(left.curve), left.attempts[0].end) == ("RUNNING", epochs, "left")
    events = ["drain", "epoch" if epochs else "checkpoint", "left"]
    assert [event["event"] for event in read_events(tmp_path)][-3:] == events


def test_a_drain_waits_for_no_row_that_nobody_has_taken(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=1)
    dispatcher = dispatch(ledger)
    assert dispatcher.take(0) is None  # it is asked for, and handed to nobody
    wait_until(lambda: bool(dispatcher._ready))
    dispatcher.drain("Ctrl-C")
    assert dispatcher.take(1) == FINISHED
    assert dispatcher.drained  # so that the run ends as stopped, not as finished


def test_a_drain_ends_with_its_grace(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=3)
    dispatcher = dispatch(ledger, grace_seconds=0.3)
    dispatcher.report(take(dispatcher), DONE)
    take(dispatcher)
    dispatcher.drain("SIGTERM")
    wait_until(lambda: dispatcher.stopping)
    assert dispatcher.drained
    dispatcher.close()
    assert ledger.read().rows[0].attempts[0].end == "left"


def test_a_pruner_stops_what_is_behind(started: Started) -> None:
    metric = "val_robust_accuracy"
    pruner = {"metric": metric, "min_epochs": 1, "reduction_factor": 2}
    ledger, dispatcher = started(trials=3, search={"pruner": pruner})
    stopped = []
    for value in (0.5, 0.4, 0.6):
        row = take(dispatcher)
        dispatcher.report(row, epoch(1, rung={"scores": {metric: value}}))
        stopped.append(dispatcher.is_stopped(row))
        if not stopped[-1]:
            dispatcher.report(row, DONE)
    assert stopped == [False, True, False]
    assert dispatcher.take(SECONDS) == FINISHED
    rows = ledger.read().rows
    assert [row.state for row in rows] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert [(rung.value(metric), rung.stop) for row in rows for rung in row.rungs] == [
        (0.5, False),
        (0.4, True),
        (0.6, False),
    ]
    assert [row.rungs[0].sequence for row in rows] == [1, 2, 3]


def test_a_budget_that_is_spent_begins_nothing_more(make_ledger: Make, dispatch: Start) -> None:
    ledger = make_ledger(trials=50, search={"budget": {"seconds": 0.2}})
    dispatcher = dispatch(ledger)
    count = 0
    while isinstance(row := dispatcher.take(SECONDS), Row):
        time.sleep(0.05)
        dispatcher.report(row, DONE)
        count += 1
    assert 0 < count < 50  # how many depends on the machine
    record = ledger.read()
    assert [row.state for row in record.rows] == ["COMPLETE"] * (count - 1)
    assert ledger.spent == "search.budget.seconds: 0.2 spent"


def test_a_thread_that_meets_the_unexpected_ends_the_drive(
    make_ledger: Make, dispatch: Start
) -> None:
    class Broken(Progress):
        def finished(self, row: RowRecord) -> None:
            raise KeyError("what nobody thought of")

    ledger = make_ledger(trials=3)
    dispatcher = dispatch(ledger, Broken())
    dispatcher.report(take(dispatcher), DONE)
    row, other = take(dispatcher), take(dispatcher)
    dispatcher.report(row, DONE)
    assert dispatcher.take(SECONDS) == FINISHED
    closing = threading.Thread(target=dispatcher.close, daemon=True)
    closing.start()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert str(dispatcher.error).startswith("the ledger: KeyError: 'what nobody thought of'. ")
    complete, left = ledger.read().rows
    assert (complete.state, left.state, left.number) == ("COMPLETE", "RUNNING", other.number)
    assert left.attempts[0].end == "left"
