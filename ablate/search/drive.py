"""Drive a study to its end: lease, dispatcher and executor put together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ablate.ledger.ledger import Ledger
from ablate.search.dispatcher import Dispatcher
from ablate.search.executor import Executor
from ablate.search.progress import Progress
from ablate.search.task import Job


class Terminated(BaseException):
    """SIGTERM came: the study is left as it is, ready to be resumed."""


def drive(
    ledger: Ledger, executor: Executor, job: Job, progress: Progress, *, takeover: bool = False
) -> None:
    """Run rows until N are terminal.

    Ctrl-C and SIGTERM end it within seconds: what the workers reported is written, the rows that
    were running stay so in the ledger, and the next drive adopts them.

    Raises:
        LeaseError: if another driver holds the study, or took it over meanwhile.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed.
        KeyboardInterrupt, Terminated: as they come.
    """
    lease = ledger.lease()
    lease.acquire(takeover=takeover)
    try:
        dispatcher = Dispatcher(ledger, Path(job.folder) / "checkpoints", progress)
        lease.keep(dispatcher.lease_lost)
        try:
            with _sigterm_as_exception():
                executor.run(job, dispatcher)
        finally:
            dispatcher.close()
        if dispatcher.error is not None:
            raise dispatcher.error
    finally:
        lease.release()


@contextmanager
def _sigterm_as_exception() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
