"""Ray Tune's hooks on a dispatcher.

They keep no state of a study, never raise, and wait only for the next row.  An exception in a hook
would make Tune report a finished trial as failed; it goes to the dispatcher instead, which ends the
drive.
"""

from __future__ import annotations

import functools
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from ablate.errors import InfrastructureError, error_text, unexpected
from ablate.search.cluster.node_watch import LostNodes, node_of
from ablate.search.cluster.tasks import Capacity
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.trial.task import Report

if TYPE_CHECKING:
    from ablate.ledger.record import Row


_WAIT_SECONDS = 0.05
"""Seconds that Tune waits for a row before it does other work."""

_IDLE_WAIT_SECONDS = 1.0
"""The same if no row is running; Tune itself would then sleep for a second."""


class Over(Exception):  # noqa: N818 (no error: the way out of Tune)
    """All of Tune's rows have ended.

    Raised to leave `tune.run`, which would otherwise write and read the states of all trials for a
    resume that never happens: about 15 seconds for 10,000 rows.
    """


def _guarded(otherwise: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a hook return `otherwise` instead of raising, and notify the dispatcher."""

    def wrap(hook: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(hook)
        def guarded(self: Any, *given: Any, **named: Any) -> Any:
            try:
                return hook(self, *given, **named)
            except RayError as error:
                self.dispatcher.fail(InfrastructureError(f"Ray: {error_text(error)[:300]}"))
                return otherwise
            except Exception as error:
                self.dispatcher.fail(unexpected(f"Ray Tune's hook {hook.__name__}", error))
                return otherwise

        return guarded

    return wrap


class _Stateless:
    """Pickled by Tune without anything of the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LedgerSearcher(_Stateless, Searcher):  # type: ignore[misc]
    """Passes the dispatcher's rows to Tune and Tune's results to the dispatcher.

    A Tune trial gets its row when its worker is ready, not when it is created: Tune gives a reused
    worker the newest waiting trial, so a row assigned early would be started last.  This way, rows
    start in order.

    Args:
        dispatcher: of the drive.
        capacity: returns the number of rows that can run at once.
        ahead: number of further rows, waiting for a worker.
        lost: receives the rows of a lost node.
        epoch_seconds: limit for an epoch; None: no limit.

    Attributes:
        over: no row is running, and no more will come.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        capacity: Capacity,
        ahead: int,
        lost: LostNodes,
        epoch_seconds: float | None = None,
    ) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.capacity = capacity
        self._ahead = ahead
        self._lost = lost
        self._limit = EpochLimit(epoch_seconds)
        self._epoch_seconds = epoch_seconds
        self._waiting: deque[Row] = deque()
        self._trials: dict[str, Row | None] = {}
        self._losses: dict[str, str] = {}
        self._finished = False

    @property
    def over(self) -> bool:
        return self.dispatcher.stopping or (self._finished and not self._trials)

    @_guarded()
    def suggest(self, trial_id: str) -> Any:
        if len(self._trials) >= self.capacity() + self._ahead:
            return None
        row = self.dispatcher.take(_WAIT_SECONDS if self._trials else _IDLE_WAIT_SECONDS)
        if row == FINISHED:
            self._finished = True
            return Searcher.FINISHED
        if row is None:
            return None
        self._waiting.append(row)
        self._trials[trial_id] = None
        return {}

    def begin(self, trial_id: str) -> Row:
        """The row for a trial whose worker is ready."""
        row = self._trials[trial_id] = self._waiting.popleft()
        self._limit.begin(trial_id)
        self.dispatcher.begun(row)
        return row

    @_guarded(otherwise=True)
    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Pass a result to the dispatcher; returns whether the trial must stop."""
        row, report = self._trials[trial_id], Report.from_text(result["report"])
        assert row is not None
        if report.entry is not None:
            self._limit.begin(trial_id)
        self.dispatcher.report(row, report)
        return self.dispatcher.is_stopped(row)

    def time_out(self) -> list[str]:
        """Fail the rows whose epoch takes too long; returns their trials, whose workers must
        end."""
        late = self._limit.overdue()
        for trial_id in late:
            self._limit.end(trial_id)
            row = self._trials.get(trial_id)
            if row is not None and self._epoch_seconds is not None:
                self.dispatcher.time_out(row, self._epoch_seconds)
        return late

    def note_loss(self, trial_id: str, error: str) -> None:
        """Keep Tune's message about a lost trial; Tune reports the loss to its searcher
        afterwards."""
        self._losses[trial_id] = _reason(error)
        if trial_id in self._trials:
            # A worker that never came up loses the row that it would have taken.
            row = self._trials[trial_id] or self._waiting[0]
            self._lost.lose(row.number, node_of(error))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: Tune calls the stopper before, which has handled the result."""

    @_guarded()
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._limit.end(trial_id)
        if trial_id not in self._trials:
            return
        row = self._trials.pop(trial_id) or self._waiting.popleft()
        reason = self._losses.pop(trial_id, "its process ended without a message")
        # Of a trial that ended by itself, or was stopped, the stopper has heard the last result.
        if error or not result or "report" not in result:
            self.dispatcher.lose(row, reason)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Saves nothing: all state is in the ledger."""

    def save(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the ledger is the only truth about a study")

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the ledger is the only truth about a study")


class ReportStopper(_Stateless, Stopper):  # type: ignore[misc]
    """Receives every result, and stops trials for the dispatcher.

    Tune calls its stopper first, and skips the searcher's `on_trial_result` if the stopper stops
    the trial.  So results are passed to the dispatcher here; it decides in memory, with the result
    included.
    """

    def __init__(self, searcher: LedgerSearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._searcher.hear(trial_id, result))

    def stop_all(self) -> bool:
        return self._searcher.dispatcher.stopping


class FirstComeScheduler(_Stateless, FIFOScheduler):  # type: ignore[misc]
    """Keeps the order of Tune's queue, and notes why a trial was lost."""

    def __init__(self, searcher: LedgerSearcher) -> None:
        super().__init__()
        self.dispatcher = searcher.dispatcher
        self._searcher = searcher

    def choose_trial_to_run(self, _controller: Any) -> None:
        """Returns None: Tune's own scheduler would search all past trials at each step."""

    @_guarded()
    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        self._searcher.note_loss(trial.trial_id, Path(trial.error_file).read_text())


class Watch(_Stateless, Callback):  # type: ignore[misc]
    """Limits Tune's memory and ends it.

    Create it while the process's signal handlers are the ones to keep.
    """

    def __init__(self, searcher: LedgerSearcher) -> None:
        self.dispatcher = searcher.dispatcher
        self._searcher = searcher
        self._drain = signal.getsignal(signal.SIGUSR1)
        self._trials: dict[str, Any] = {}

    @_guarded()
    def setup(self, **_info: Any) -> None:
        # Tune has installed its own handler, which would end the run at once.
        if self._drain is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._drain)

    @_guarded()
    def on_trial_start(self, trial: Any, **_info: Any) -> None:
        row = self._searcher.begin(trial.trial_id)
        self._trials[trial.trial_id] = trial
        # A worker processes calls in order: this one, then Tune's next step.
        trial.temporary_state.ray_actor.take_up.remote(row.to_text())

    def on_step_end(self, **_info: Any) -> None:
        if self._searcher.over:
            raise Over
        self._look()

    @_guarded()
    def _look(self) -> None:
        self._searcher.capacity.look()
        for trial_id in self._searcher.time_out():
            trial = self._trials.get(trial_id)
            if trial is not None and trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)

    @_guarded()
    def on_trial_complete(self, trial: Any, **_info: Any) -> None:
        self._trials.pop(trial.trial_id, None)
        _shrink(trial)

    on_trial_error = on_trial_complete


def _shrink(trial: Any) -> None:
    """Free the parts of an ended trial that only Tune's reports use: Tune keeps every trial."""
    trial.config, trial.evaluated_params, trial.experiment_tag = {}, {}, ""
    trial.run_metadata.last_result = {}
    trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}


def _reason(text: str) -> str:
    """One line of Tune's error message: the last of a traceback, else the message."""
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    if any("Traceback" in line or "ray::" in line for line in lines):
        return re.sub(r"^ablate\.[\w.]+: ", "", lines[-1].strip())[:300]
    return " ".join(line.strip() for line in lines if not line.startswith("\t"))[:300]


# -- Time of each running epoch, and its limit ---------------------------


_AWAY_SECONDS = 5.0
"""Largest gap between two checks; if it is longer, the driver itself was stopped or busy."""


class EpochLimit:
    """Finds trials whose epoch takes too long.

    Time in which the driver was stopped does not count, because reports waited for it.

    Args:
        seconds: limit for an epoch; None: no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._began: dict[str, float] = {}
        self._looked = time.monotonic()

    def begin(self, trial_id: str) -> None:
        """Note the start of an epoch; the previous one has ended."""
        self._began[trial_id] = time.monotonic()

    def end(self, trial_id: str) -> None:
        """Note the end of the trial."""
        self._began.pop(trial_id, None)

    def overdue(self) -> list[str]:
        """Trials whose epoch has taken longer; call it a few times a second."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        if self._seconds is None:
            return []
        if away > _AWAY_SECONDS:
            self._began = {one: began + away for one, began in self._began.items()}
        return [one for one, began in self._began.items() if now - began > self._seconds]
