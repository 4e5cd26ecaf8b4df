"""Hooks of Ray Tune raise nothing, and hand on in the right order."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from ablate.errors import AblateError, UnexpectedError, UsageError
from ablate.ledger.record import Row
from ablate.search.drive import InlineExecutor
from ablate.search.ray_tune import EpochLimit, LedgerScheduler, LedgerSearcher, Watch
from ablate.study.seeds import Seeds
from ablate.study.settings import RunSettings
from ablate.trial.task import Report

ROW = Row(3, 2, {"lr": 0.1}, Seeds(**dict.fromkeys(Seeds.__dataclass_fields__, 0)))
DONE = {"report": Report(scores={"reported": {"x": 1.0}}).to_text(), "done": True}
NODES: Any = SimpleNamespace(look=lambda: None)
EPOCH = {"report": Report(entry={"epoch": 1}).to_text(), "done": False}


class Told:
    """A dispatcher that keeps what it is told."""

    def __init__(self, *rows: Row | str | None) -> None:
        self.rows = list(rows)
        self.said: list[Any] = []
        self.stop = False
        self.stopping = False
        self.failed: AblateError | None = None

    def take(self, timeout: float) -> Any:
        self.said.append(("take", timeout))
        return self.rows.pop(0)

    def begun(self, row: Row) -> None:
        self.said.append(("begun", row.number))

    def report(self, row: Row, report: Report) -> None:
        self.said.append(("report", row.number, report.done))

    def is_stopped(self, row: Row) -> bool:
        self.said.append(("is_stopped", row.number))
        return self.stop

    def lose(self, row: Row, reason: str) -> None:
        self.said.append(("lose", row.number, reason))

    def fail(self, error: AblateError) -> None:
        self.failed = error


def hooks(*rows: Row | str | None) -> tuple[Told, LedgerSearcher]:
    told = Told(*rows)
    return told, LedgerSearcher(told, 2, None)  # type: ignore[arg-type]


def test_a_report_is_handed_on_before_anybody_asks_whether_to_stop() -> None:
    told, searcher = hooks(ROW)
    scheduler, trial = LedgerScheduler(searcher), SimpleNamespace(trial_id="a")
    assert searcher.suggest("a") == {}
    assert searcher.begin("a") == ROW
    told.said.clear()
    assert scheduler.on_trial_result(None, trial, EPOCH) == "CONTINUE"
    told.stop = True
    assert scheduler.on_trial_result(None, trial, EPOCH) == "STOP"
    searcher.on_trial_complete("a", result=EPOCH)
    assert told.said == [("report", 3, False), ("is_stopped", 3)] * 2


def test_what_ended_by_itself_is_not_lost_and_what_died_is(tmp_path: Path) -> None:
    told, searcher = hooks(ROW, ROW, ROW)
    for trial in ("a", "b"):
        searcher.suggest(trial)
        searcher.begin(trial)
    told.said.clear()
    searcher.on_trial_complete("a", result=DONE)
    assert told.said == []
    error_file = tmp_path / "error.txt"
    error_file.write_text(
        "Failure # 1 (occurred at 2026-11-24)\nThe actor died unexpectedly before finishing this "
        "task.\n\tclass_name: RowTrainable\n\tpid: 7\nThe actor is dead because its node has died."
    )
    trial = SimpleNamespace(trial_id="b", error_file=str(error_file))
    LedgerScheduler(searcher).on_trial_error(None, trial)
    searcher.on_trial_complete("b", error=True)
    searcher.suggest("c")
    searcher.on_trial_complete("c", error=True)
    assert [entry for entry in told.said if entry[0] == "lose"] == [
        (
            "lose",
            3,
            "The actor died unexpectedly before finishing this task. "
            "The actor is dead because its node has died.",
        ),
        ("lose", 3, "its process ended without a message"),
    ]


def test_a_hook_that_raises_ends_the_drive_and_not_tune() -> None:
    told, searcher = hooks(ROW)
    searcher.suggest("a")
    searcher.begin("a")
    trial = SimpleNamespace(trial_id="a")
    LedgerScheduler(searcher).on_trial_result(None, trial, {"report": "no JSON"})
    assert isinstance(told.failed, UnexpectedError)
    assert str(told.failed).startswith("Ray Tune's hook hear: JSONDecodeError: ")
    told, searcher = hooks()
    assert searcher.suggest("a") is None
    assert str(told.failed) == (
        "Ray Tune's hook suggest: IndexError: pop from empty list. Trying again would not help; "
        "no result is lost. `ablate --debug` shows the traceback."
    )
    told, searcher = hooks()
    LedgerScheduler(searcher).on_trial_error(None, SimpleNamespace(trial_id="a"))
    assert told.failed is not None


def test_a_worker_whose_epoch_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    now, killed = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(ray, "kill", killed.append)
    told = Told(ROW)
    told.time_out = lambda row, seconds: told.said.append(("time out", row.number, seconds))  # type: ignore[attr-defined]
    searcher = LedgerSearcher(told, 2, 3.0)  # type: ignore[arg-type]
    searcher._waiting.append(ROW)
    actor = SimpleNamespace(take_up=SimpleNamespace(remote=lambda _row: None))
    trial = SimpleNamespace(trial_id="t", temporary_state=SimpleNamespace(ray_actor=actor))
    watch = Watch(searcher, NODES)
    watch.on_trial_start(trial=trial, iteration=1, trials=[])
    for second in range(1, 6):
        now = float(second)
        if second == 2:
            searcher.hear("t", EPOCH)  # the next epoch begins
        watch.on_step_end()
    assert killed == []
    now = 6.0
    watch.on_step_end()
    watch.on_step_end()
    assert killed == [actor]
    assert told.said[-1] == ("time out", 3, 3.0)
    assert told.failed is None


# -- The limit of an epoch -----------------------------------------------------------------


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def wait(clock: Clock, limit: EpochLimit, seconds: int) -> list[str]:
    """Look once a second; all that was overdue."""
    found: list[str] = []
    for _ in range(seconds):
        clock.now += 1
        found += limit.overdue()
    return found


def test_an_epoch_is_overdue_after_its_seconds(clock: Clock) -> None:
    limit = EpochLimit(30.0)
    limit.begin("a")
    assert wait(clock, limit, 20) == []
    limit.begin("b")
    assert wait(clock, limit, 10) == []
    assert wait(clock, limit, 1) == ["a"]
    limit.end("a")
    limit.begin("b")  # its next epoch
    assert wait(clock, limit, 30) == []
    assert wait(clock, limit, 1) == ["b"]


def test_what_the_driver_did_not_see_does_not_count(clock: Clock) -> None:
    limit = EpochLimit(30.0)
    limit.begin("a")
    assert wait(clock, limit, 20) == []
    clock.now += 1000  # it was stopped; reports wait
    assert limit.overdue() == []
    assert wait(clock, limit, 10) == []
    assert wait(clock, limit, 1) == ["a"]


def test_without_a_limit_nothing_is_overdue(clock: Clock) -> None:
    limit = EpochLimit(None)
    limit.begin("a")
    assert wait(clock, limit, 20) == []


def test_the_inline_executor_cannot_end_a_trial() -> None:
    with pytest.raises(UsageError) as error:
        InlineExecutor(RunSettings(epoch_timeout_seconds=60.0), loads_torch=False)
    assert str(error.value) == (
        "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the inline "
        "executor. Leave out `executor='inline'`, or add "
        "`overrides=['run.epoch_timeout_seconds=null']`."
    )
