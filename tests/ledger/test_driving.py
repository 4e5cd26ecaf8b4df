"""The rows in a driver's hands: attempts, decisions, and the windows in which a driver dies."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from test_ledger_rows import make_head, make_scores

from ablate.errors import LeaseError
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.portable import ROWS, STUDY, portable_study, store_portable
from ablate.ledger.record import Drive, Failure, Rung
from ablate.lifecycle.drive import RunOptions, leased
from ablate.search.run_context import Spending

ENTRY = {"epoch": 1, "train_loss": 0.5, "seconds": 1.0}


@pytest.fixture
def driving(storage_url: str) -> Driving:
    return Driving(Ledger.create(storage_url, make_head(), trials=3))


def driven_again(storage_url: str) -> Driving:
    return Driving(Ledger.open(storage_url, "rows"))


def test_every_attempt_is_kept_with_its_end(driving: Driving) -> None:
    row = driving.ask()
    assert row is not None
    place = {"host": "here", "pid": 7, "gpus": ["3"], "first_epoch": 0, "peak_memory_bytes": 5}
    driving.record_epoch(0, ENTRY, None, None, place)
    row = driving.begin_again(row, "lost", "its node is gone", lost=1)
    row = driving.begin_again(row, "raised", "ValueError: no", failures=1)
    assert (row.attempt, row.lost, row.failures) == (3, 1, 1)
    driving.complete(0, make_scores())
    (record,) = driving.ledger.read().rows
    lost, raised, complete = record.attempts
    assert (lost.attempt, lost.end, lost.reason) == (1, "lost", "its node is gone")
    assert (lost.host, lost.pid, lost.gpus, lost.epochs) == ("here", 7, ("3",), 1)
    assert (raised.end, raised.reason) == ("raised", "ValueError: no")
    assert (complete.attempt, complete.end) == (3, "complete")
    assert all(one.ended is not None and one.ended >= one.started for one in record.attempts)


def test_what_a_dead_driver_left_ended_at_its_last_sign(driving: Driving, storage_url: str) -> None:
    driving.ask()
    started = driving.ledger.read().rows[0].attempts[0].started
    driving.ledger.begin_drive(Drive(started - 1, "here", 1))
    driving.ledger.end_left_drive(started + 40)
    later = driven_again(storage_url)
    (row,), _ = later.adopt()
    assert row.attempt == 2
    first, second = later.ledger.read().rows[0].attempts
    assert first.end == "left"
    assert first.ended == pytest.approx(started + 40)
    assert second.ended is None


def test_a_killed_drive_ended_at_its_own_last_sign(driving: Driving, storage_url: str) -> None:
    """Whoever held the lease since: a lease has one heartbeat."""
    ledger, killed = driving.ledger, time.time() - 5000
    lease = ledger.lease()
    lease.acquire()
    lease.release()
    ledger.begin_drive(Drive(killed - 60, "here", 1))
    driving.ask()
    engine = sqlalchemy.create_engine(storage_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE ablate_lease SET renewed = renewed - 5000"))
    for _ in range(2):  # a resume that was refused, and one that goes on
        with leased(ledger, RunOptions()):
            pass
    (drive,) = ledger.read().drives
    assert drive.ended == pytest.approx(killed, abs=30)
    assert Spending(ledger.read(), 1.0)._seconds == pytest.approx(60, abs=30)


def test_a_row_is_a_line_of_an_archive_whatever_its_text_has(
    driving: Driving, tmp_path: Path
) -> None:
    driving.ask()
    reason = "ValueError: one\u2028two\x85three"
    driving.fail(0, Failure("raised", reason))
    files, url = portable_study(driving.ledger), f"sqlite:///{tmp_path}/other.db"
    store_portable(url, files[STUDY], files[ROWS])
    (row,) = Ledger.open(url, "rows").read().rows
    assert row.failure == Failure("raised", reason)


def test_a_pruned_row_has_its_decision_and_no_values(driving: Driving, storage_url: str) -> None:
    driving.ask()
    driving.prune(0, ENTRY, Rung(1, {"a": 0.2}, stop=True, sequence=1))
    (row,) = driven_again(storage_url).ledger.read().rows
    assert (row.state, row.values) == ("PRUNED", None)
    assert row.rungs == (Rung(1, {"a": 0.2}, True, 1),)
    trial = optuna.load_study(study_name="rows", storage=storage_url).trials[0]
    assert trial.state == optuna.trial.TrialState.PRUNED


def test_a_step_that_is_written_twice_counts_once(
    driving: Driving, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage was lost during a successful commit: the same work is run again."""
    store = driving.ledger.store
    write = store.write

    def twice(work: object) -> object:
        write(work)  # type: ignore[arg-type]
        return write(work)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "write", twice)
    for end in (lambda: driving.complete(0, make_scores()), lambda: driving.fail(1, FAILED)):
        driving.ask()
        end()
    driving.ask()
    record = driving.ledger.read()
    assert [row.state for row in record.rows] == ["COMPLETE", "FAIL", "RUNNING"]
    assert record.rows[0].values == (0.9, 0.5)
    trials = optuna.load_study(study_name="rows", storage=storage_url).trials
    assert [trial.values for trial in trials] == [[0.9, 0.5], None, None]


FAILED = Failure("raised", "ValueError: no")


def test_optuna_reads_what_is_written(driving: Driving, storage_url: str) -> None:
    row = driving.ask()
    assert row is not None
    before = time.time()
    driving.complete(0, make_scores(0.93, 0.61), ENTRY)
    study = optuna.load_study(study_name="rows", storage=storage_url)
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.COMPLETE
    assert trial.values == [0.93, 0.61]
    assert trial.params["augment.strength"] == row.params["augment.strength"]
    assert trial.distributions["augment.strength"].high == 1.0  # type: ignore[union-attr]
    assert trial.datetime_complete is not None
    assert abs(trial.datetime_complete.timestamp() - before) < 60
    assert study.metric_names == ["val_clean_accuracy", "val_robust_accuracy"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MAXIMIZE"]


@pytest.mark.parametrize(
    ("sampler", "trials", "stops_at"),
    [
        pytest.param("tpe", 20, (1, 9, 16), marks=pytest.mark.slow),
        ("random", 5, (1, 3)),
        pytest.param("nsga2", 55, (1, 25, 52), marks=pytest.mark.slow),
        pytest.param("qmc", 20, (1, 9, 16), marks=pytest.mark.postgres),
    ],
)
def test_a_stopped_search_draws_what_one_that_was_not_would(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    sampler: str,
    trials: int,
    stops_at: tuple[int, ...],
) -> None:
    """Also where the sampler keeps a count or a generation in the storage."""
    whole = f"sqlite:///{tmp_path}/whole.db"
    stopped = f"sqlite:///{tmp_path}/stopped.db"
    if sampler == "qmc":
        stopped = request.getfixturevalue("postgres_url")
    drawn = []
    for url, stops in ((whole, ()), (stopped, stops_at)):
        search = {"sampler": sampler, "seed": 3}
        driving = Driving(Ledger.create(url, make_head(search=search), trials=trials))
        params = []
        for number in range(trials):
            if number in stops:
                driving = driven_again(url)
            row = driving.ask()
            assert row is not None
            params.append(dict(row.params))
            strength = float(row.params["augment.strength"])
            driving.complete(number, make_scores(strength, 1 - strength))
        drawn.append(params)
    assert drawn[0] == drawn[1]


def test_nothing_is_written_by_a_driver_that_lost_its_lease(storage_url: str) -> None:
    ledger = Ledger.create(storage_url, make_head(), trials=3)
    lease = ledger.lease()
    lease.acquire()
    ledger.store.hold(lease, lambda *_: None, threading.Event())
    driving = Driving(ledger)
    driving.ask()
    other = Ledger.open(storage_url, "rows").lease()
    other.acquire(takeover=True)
    with pytest.raises(LeaseError, match=r"study rows: its lease was taken over"):
        driving.complete(0, make_scores())
    assert ledger.read().rows[0].state == "RUNNING"
    other.release()
