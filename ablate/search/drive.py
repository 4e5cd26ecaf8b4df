"""Drive a study to its end: dispatcher and executor put together, and how a signal ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from ablate.errors import ResourceError, UsageError
from ablate.ledger.driving import Driving
from ablate.ledger.lease import Lease
from ablate.ledger.store import Patience
from ablate.model.environment import preparation_cores
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.search.run_context import RunContext
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.settings import RunSettings
from ablate.trial.output import ExitGuard
from ablate.trial.task import Job, Prepared
from ablate.trial.worker import Worker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""That stop a run."""


@contextmanager
def held() -> Iterator[None]:
    """Let the first signal wait until the block has ended, however it ends; a second one does not.

    For Ray's start and end: an exception in the middle of them is now and then swallowed, and now
    and then ends the process with a segmentation fault.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def wait(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            came.clear()
            put_back()
            signal.raise_signal(number)

    before = {number: signal.signal(number, wait) for number in SIGNALS}
    try:
        yield
    finally:
        put_back()
        if came:
            signal.raise_signal(came[0])


_LATE_SECONDS = 3
"""After the grace, what an executor gets to end its workers in."""


class Terminated(BaseException):
    """SIGTERM or SIGUSR1 came: the study is left as it is, ready to be resumed.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Stops:
    """What SIGINT, SIGTERM and SIGUSR1 (which Slurm sends ahead of its limit) do to a run.

    Before a study is driven they end it at once, as exceptions.  While it is driven the first one
    drains it: epochs under way may end, within the grace.  The second one ends it at once.
    """

    def __init__(self) -> None:
        self._dispatcher: Dispatcher | None = None
        self._grace_seconds = 0.0
        self._first: int | None = None
        self._last: int | None = None
        self._at_once = threading.Event()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen; in the main thread alone, as signals are.  May be entered again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on) for number in SIGNALS}
        try:
            self._raise_missed()
            yield
        except KeyboardInterrupt as stop:
            if self._last in (None, signal.SIGINT):
                raise
            raise Terminated(self._last) from stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def draining(
        self, dispatcher: Dispatcher, grace_seconds: float, at_once: threading.Event
    ) -> Iterator[None]:
        """From here on the first signal drains.

        Args:
            at_once: is set when nothing may be waited for any more, the storage neither.
        """
        self._dispatcher, self._grace_seconds = dispatcher, grace_seconds
        self._at_once = at_once
        try:
            self._raise_missed()
            yield
        finally:
            self._dispatcher = None

    def exception(self) -> BaseException:
        """What a drained run ends with."""
        first = self._first or signal.SIGTERM
        return KeyboardInterrupt() if first == signal.SIGINT else Terminated(first)

    def _raise_missed(self) -> None:
        """An exception that was raised in somebody's callback, as in Ray's, may be swallowed."""
        if self._last is not None:
            raise KeyboardInterrupt

    def _on(self, number: int, _frame: FrameType | None) -> None:
        dispatcher = self._dispatcher
        if self._first is not None:
            self._at_once.set()
        if dispatcher is None or self._first is not None:
            self._last = number
            raise KeyboardInterrupt  # the only one that Ray's own waiting lets through
        self._first = number
        # A handler runs amid anything: what takes locks is done by a thread of its own.
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        threading.Thread(target=dispatcher.drain, args=(name,), daemon=True).start()
        late = threading.Timer(self._grace_seconds + _LATE_SECONDS, self._again, [number])
        late.daemon = True
        late.start()

    def _again(self, number: int) -> None:
        self._at_once.set()
        if self._dispatcher is not None:
            os.kill(os.getpid(), number)


class Executor(Protocol):
    """Runs the rows that a dispatcher hands out.

    Attributes:
        parallel: rows run at once.
        gpus_per_trial: resolved from the study's settings and the machine.
        free_cores: of the node that prepares, which does nothing else meanwhile.
    """

    parallel: int
    gpus_per_trial: float
    free_cores: int

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        """Data, baseline and evaluation set, made where the trials will run."""

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        """Take rows until there are no more; reports go back as they come."""

    def close(self) -> None:
        """End what was started; nothing else is touched."""


class InlineExecutor:
    """A for-loop in this process: for debugging, and where Ray is not installed."""

    parallel = 1

    def __init__(self, settings: RunSettings, *, loads_torch: bool = True) -> None:
        """Without `loads_torch`, for a trainable that may not need it, `auto` is no GPU."""
        if settings.epoch_timeout_seconds is not None:
            raise UsageError(
                "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the "
                "inline executor. Leave out --executor inline, or add "
                "--set run.epoch_timeout_seconds=null."
            )
        there = float(settings.gpus_per_trial != "auto")
        if loads_torch:
            import torch

            there = float(torch.cuda.is_available())
        asked = settings.gpus_per_trial
        if asked != "auto" and asked > 0 and not there:
            raise ResourceError(
                f"run.gpus_per_trial: must be at most the GPUs that torch sees, got {asked:g} and "
                "no GPU. Set it to 0, or run on a machine with GPUs (`ablate doctor`)."
            )
        self.gpus_per_trial = there if asked == "auto" else min(asked, 1.0)
        self.free_cores = preparation_cores()

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        return Worker(job).prepare(on_step, cores=job.free_cores)

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        exits = ExitGuard()
        worker = Worker(job, exits)
        try:
            with exits:
                while (row := dispatcher.take(None)) is not None and row != FINISHED:
                    worker.begin(row)
                    while not dispatcher.is_stopped(row):
                        dispatcher.report(row, worker.step())
        finally:
            worker.close()

    def close(self) -> None:
        pass


def drive(
    driving: Driving,
    lease: Lease,
    executor: Executor,
    job: Job,
    around: RunContext,
    *,
    stops: Stops,
) -> None:
    """Run rows until N are terminal.

    Args:
        lease: of the study, held; it is kept alive meanwhile.

    A first signal drains it, a second one ends it at once: what the workers reported is written,
    the rows that were running stay so in the ledger, and the next drive adopts them.

    Raises:
        LeaseError: if another driver took the study over meanwhile.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed.
        KeyboardInterrupt, Terminated: as they come.
    """
    at_once = threading.Event()
    driving.ledger.hold(lease, Patience(lease.seconds_left, lease.renewed, around.note, at_once))
    dispatcher = Dispatcher(driving, around)
    lease.keep(dispatcher.fail)
    try:
        with stops.draining(dispatcher, around.grace_seconds, at_once):
            executor.run(job, dispatcher)
    except BaseException:
        at_once.set()
        raise
    finally:
        dispatcher.close()
    if dispatcher.error is not None:
        raise dispatcher.error
    if dispatcher.drained:
        raise stops.exception()
