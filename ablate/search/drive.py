"""Drive a study to its end: dispatcher and executor put together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ablate.ledger.lease import Lease
from ablate.ledger.ledger import Ledger
from ablate.search.dispatcher import Dispatcher
from ablate.search.executor import Executor
from ablate.search.progress import Progress
from ablate.search.task import Job


class Terminated(BaseException):
    """SIGTERM came: the study is left as it is, ready to be resumed."""


def drive(ledger: Ledger, lease: Lease, executor: Executor, job: Job, progress: Progress) -> None:
    """Run rows until N are terminal.

    Args:
        lease: of the study, held; it is kept alive meanwhile.

    Ctrl-C and SIGTERM end it within seconds: what the workers reported is written, the rows that
    were running stay so in the ledger, and the next drive adopts them.

    Raises:
        LeaseError: if another driver took the study over meanwhile.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed.
        KeyboardInterrupt, Terminated: as they come.
    """
    dispatcher = Dispatcher(ledger, Path(job.folder) / "checkpoints", progress)
    lease.keep(dispatcher.lease_lost)
    try:
        executor.run(job, dispatcher)
    finally:
        dispatcher.close()
    if dispatcher.error is not None:
        raise dispatcher.error


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Raise `Terminated` where SIGTERM comes; in the main thread alone, as signals are."""
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
