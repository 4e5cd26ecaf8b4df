"""Drive a study to its end: dispatcher, executor and signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from ablate.errors import InfrastructureError, ResourceError, UsageError
from ablate.ledger.driving import Driving
from ablate.ledger.lease import Lease
from ablate.model.environment import preparation_cores
from ablate.search.callbacks import Callbacks
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.search.run_context import RunContext
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.settings import RunSettings
from ablate.trial.output import ExitGuard
from ablate.trial.task import Job, Prepared
from ablate.trial.worker import Worker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Signals that stop a run."""


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle `SIGNALS` by this within the block; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def held() -> Iterator[None]:
    """Delay the first signal until the block has ended; a second one acts at once.

    For the start and end of Ray: an exception during these is sometimes swallowed, and sometimes
    ends the process with a segmentation fault.
    """
    came: list[int] = []
    before = {int(number): signal.getsignal(number) for number in SIGNALS}

    def wait(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            came.clear()
            signal.signal(number, before[number])
            signal.raise_signal(number)

    try:
        with _handled_by(wait):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


_LATE_SECONDS = 3
"""Seconds that an executor has to end its workers after the grace period."""


class Terminated(BaseException):
    """SIGTERM or SIGUSR1 was received; the study can be resumed.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class CallbackStop(BaseException):
    """A callback has stopped the study; it can be resumed."""


class Stops:
    """Handles SIGINT, SIGTERM and SIGUSR1 (which Slurm sends before its time limit).

    Before rows run, they end the command at once, as exceptions.  While rows run, the first one
    drains the study: running epochs may finish within the grace period.  The second one ends it at
    once.
    """

    def __init__(self) -> None:
        self._dispatcher: Dispatcher | None = None
        self._grace_seconds = 0.0
        self._first: int | None = None
        self._last: int | None = None
        self._at_once = threading.Event()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Install the handlers; only in the main thread.  Can be nested."""
        try:
            with _handled_by(self._on):
                self._raise_missed()
                yield
        except KeyboardInterrupt as stop:
            if self._last in (None, signal.SIGINT):
                raise
            raise Terminated(self._last) from stop

    @contextmanager
    def draining(
        self, dispatcher: Dispatcher, grace_seconds: float, at_once: threading.Event
    ) -> Iterator[None]:
        """From now on the first signal drains.

        Args:
            at_once: set when there must be no more waiting, not even for the storage.
        """
        self._dispatcher, self._grace_seconds = dispatcher, grace_seconds
        self._at_once = at_once
        try:
            self._raise_missed()
            yield
        finally:
            self._dispatcher = None

    def exception(self, callbacks: Callbacks) -> BaseException:
        """The exception that ends a drained run."""
        if self._first is None and callbacks.stopped is not None:
            return CallbackStop(callbacks.stopped)
        first = self._first or signal.SIGTERM
        return KeyboardInterrupt() if first == signal.SIGINT else Terminated(first)

    def _raise_missed(self) -> None:
        """Raise the exception again if a callback, such as one of Ray's, swallowed it."""
        if self._last is not None:
            raise KeyboardInterrupt

    def _on(self, number: int, _frame: FrameType | None) -> None:
        if self._first is not None:
            self._at_once.set()
        if self._dispatcher is None or self._first is not None:
            self._last = number
            raise KeyboardInterrupt  # the only one that passes through Ray's waiting
        self._first = number
        # A handler may interrupt any code, so work that takes locks is done in another thread.
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        threading.Thread(target=self._dispatcher.drain, args=(name,), daemon=True).start()
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
        parallel: number of rows run at once.
        gpus_per_trial: resolved from the study's settings and the machine.
        free_cores: of the preparing node, which is otherwise idle.
    """

    parallel: int
    gpus_per_trial: float
    free_cores: int

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        """Prepare data, baseline and evaluation set where the trials will run."""

    def work(self, job: Job, work: Callable[[Job, OnStep], Any], on_step: OnStep) -> Any:
        """The result of a function of the job, in a process like that of a trial which sees the
        run's folder."""

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        """Run rows until there are no more, and pass on their reports."""

    def close(self) -> None:
        """Stop everything that was started, and nothing else."""


class InlineExecutor:
    """Runs rows one after another in this process: for debugging, or without Ray."""

    parallel = 1

    def __init__(self, settings: RunSettings, *, loads_torch: bool = True) -> None:
        """Without `loads_torch` (a trainable may not need torch), `auto` means no GPU."""
        if settings.epoch_timeout_seconds is not None:
            raise UsageError(
                "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the "
                "inline executor. Leave out `executor='inline'`, or add "
                "`overrides=['run.epoch_timeout_seconds=null']`."
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

    def work(self, job: Job, work: Callable[[Job, OnStep], Any], on_step: OnStep) -> Any:
        return work(job, on_step)

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        exits = ExitGuard()
        worker = Worker(job, exits)
        try:
            with exits:
                while (row := dispatcher.take(None)) is not None and row != FINISHED:
                    dispatcher.begun(row)
                    worker.begin(row)
                    while not dispatcher.is_stopped(row):
                        try:
                            dispatcher.report(row, worker.step())
                        except InfrastructureError as error:  # this process has lost its GPU
                            dispatcher.lose(row, str(error))
                            dispatcher.fail(error)
                            return
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
        lease: of the study, held; it is renewed meanwhile.

    A first signal drains the study, a second one ends it at once: all reports are written, running
    rows stay in state running, and the next drive continues them.

    Raises:
        LeaseError: if another driver took the study over meanwhile.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed.
        KeyboardInterrupt, Terminated: as they come.
        CallbackStop: if a callback has stopped the study.
    """
    at_once = threading.Event()
    driving.ledger.store.hold(lease, around.note, at_once)
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
        raise stops.exception(around.callbacks)
