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
from ablate.search.ray_tune import LedgerScheduler, LedgerSearcher, Watch
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


def worker(trial_id: str) -> Any:
    """A trial of Tune's with a worker that takes rows."""
    actor = SimpleNamespace(take_up=SimpleNamespace(remote=lambda _row: None))
    state = SimpleNamespace(ray_actor=actor)
    return SimpleNamespace(trial_id=trial_id, temporary_state=state)


def test_a_report_is_handed_on_before_anybody_asks_whether_to_stop() -> None:
    told, searcher = hooks(ROW)
    scheduler, trial = LedgerScheduler(searcher), SimpleNamespace(trial_id="a")
    assert searcher.suggest("a") == {}
    searcher.begin(worker("a"))
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
        searcher.begin(worker(trial))
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
    searcher.begin(worker("a"))
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


@pytest.mark.parametrize(("seconds", "ended_at"), [(3.0, 7), (None, None)])
def test_a_worker_whose_epoch_takes_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None, ended_at: int | None
) -> None:
    """Time in which the driver was stopped does not count."""
    now, killed = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(ray, "kill", killed.append)
    told = Told(ROW)
    told.time_out = lambda row, limit: told.said.append(("time out", row.number, limit))  # type: ignore[attr-defined]
    searcher = LedgerSearcher(told, 2, seconds)  # type: ignore[arg-type]
    searcher.suggest("t")
    trial = worker("t")
    watch = Watch(searcher, NODES)
    watch.on_trial_start(trial=trial, iteration=1, trials=[])
    stopped = 0.0
    for second in range(1, 12):
        now = second + stopped
        if second == 2:
            searcher.hear("t", EPOCH)  # the next epoch begins
        if second == 4:
            stopped = 60.0
            now += stopped
        watch.on_step_end()
        late = ended_at is not None and second >= ended_at
        assert killed == [trial.temporary_state.ray_actor] * late
    if seconds is not None:
        assert told.said[-1] == ("time out", 3, seconds)
    assert told.failed is None


def test_the_inline_executor_cannot_end_a_trial() -> None:
    with pytest.raises(UsageError) as error:
        InlineExecutor(RunSettings(epoch_timeout_seconds=60.0), loads_torch=False)
    assert str(error.value) == (
        "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the inline "
        "executor. Leave out `executor='inline'`, or add "
        "`overrides=['run.epoch_timeout_seconds=null']`."
    )
