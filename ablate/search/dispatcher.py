"""Rows out to the executor, reports back in: the one thread that touches the ledger.

An executor takes rows and hands in what its workers say.  Neither waits for the storage: reports
are queued, and applied in order before the next row is asked for, so that a sampler sees every
result that came before.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ablate.errors import AblateError, InfrastructureError, LeaseError
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Checkpoint, Failure
from ablate.ledger.row import Row
from ablate.search.progress import Progress
from ablate.search.task import Report
from ablate.study.params import PLAIN
from ablate.study.scores import Scores

FINISHED: Literal["finished"] = "finished"

_LOST_CAP = 5
_LOST_IN_A_ROW = 3


class Dispatcher:
    """Drives one study to its N rows.

    Args:
        ledger: the study; nobody else may write to it.
        checkpoints: folder of the training states; a row's is emptied once the row is terminal.
        progress: is told what happens.
    """

    def __init__(self, ledger: Ledger, checkpoints: Path, progress: Progress) -> None:
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._progress = progress
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._again: deque[Row] = deque()
        self._out: dict[int | None, Row] = {}
        self._ready: deque[Row] = deque()
        self._changed = threading.Condition()
        self._asking = False
        self._finished = False
        self._closed = False
        self._lost_in_a_row = 0
        self.error: AblateError | None = None
        self._thread = threading.Thread(target=self._serve, name="ablate-ledger", daemon=True)
        self._inbox.put(self._begin)
        self._thread.start()

    # -- for the executor: any thread, never blocking on the storage -------------------------

    @property
    def stopping(self) -> bool:
        """True once nothing more will be handed out because of an error."""
        return self.error is not None

    def take(self, timeout: float | None) -> Row | Literal["finished"] | None:
        """The next row to run.

        Args:
            timeout: seconds to wait for one; none: until there is one.

        Returns:
            A row; `FINISHED` where all rows are terminal (or `error` is set); none where there
            is nothing to hand out now.
        """
        with self._changed:
            if not self._asking and not self._ready:
                self._asking = True
                self._inbox.put(self._offer)
            self._changed.wait_for(lambda: self._ready or self._finished or self.error, timeout)
            if self._finished or self.error:
                return FINISHED
            return self._ready.popleft() if self._ready else None

    def report(self, row: Row, report: Report) -> None:
        """What the worker of `row` said."""
        self._inbox.put(lambda: self._apply(row, report))

    def lose(self, row: Row, reason: str) -> None:
        """The infrastructure lost the attempt: a worker or node died."""
        self._inbox.put(lambda: self._lose(row, reason))

    def fail(self, error: AblateError) -> None:
        """Stop handing out rows, for a reason from outside the ledger."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def lease_lost(self) -> None:
        """Another driver took the study over: nothing may be written any more."""
        self.fail(LeaseError("the lease on this study was lost: another driver took it over"))

    def close(self) -> None:
        """Write what was handed in, and end; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._inbox.put(self._end)
            self._thread.join()

    # -- on the ledger's own thread ----------------------------------------------------------

    def _serve(self) -> None:
        while True:
            apply = self._inbox.get()
            if isinstance(self.error, LeaseError) and apply != self._end:
                continue
            try:
                apply()
            except _End:
                return
            except AblateError as error:
                self.fail(error)
            except Exception as error:
                self.fail(InfrastructureError(f"the ledger: {type(error).__name__}: {error}"))
                self.error.__cause__ = error  # type: ignore[union-attr]

    def _end(self) -> None:
        raise _End

    def _begin(self) -> None:
        if "plain" not in self._ledger.references:
            seeds = self._ledger.seeds()
            self._again.append(Row(number=None, attempt=1, params=PLAIN, seeds=seeds))
        self._again.extend(self._ledger.adopt())

    def _offer(self) -> None:
        if self.error or not self._asking:
            return  # the end of a row has answered the question before it came up
        row = self._again.popleft() if self._again else self._ledger.ask()
        with self._changed:
            if row is not None:
                self._asking = False
                self._ready.append(row)
                self._out[row.number] = row
            elif not self._out:
                self._finished = True
            # Where rows are out, the question stands: the end of one of them answers it.
            self._changed.notify_all()
        if row is not None:
            self._progress.started(row.number)

    def _apply(self, row: Row, report: Report) -> None:
        if self._out.get(row.number) != row:
            return  # a word from an attempt that was given up
        if report.entry is not None:
            checkpoint = Checkpoint(**report.checkpoint) if report.checkpoint else None
            if row.number is not None:
                self._ledger.record_epoch(row.number, report.entry, checkpoint)
            entry = report.entry
            self._progress.epoch(row.number, entry["epoch"], entry["epochs"], entry["train_loss"])
        if report.lost is not None:
            self._lose(row, report.lost)
        elif report.failure is not None:
            self._lost_in_a_row = 0
            self._fail_attempt(row, Failure(**report.failure))
        elif report.scores is not None:
            self._lost_in_a_row = 0
            self._end_row(row, Scores.from_json(dict(report.scores)))

    def _fail_attempt(self, row: Row, failure: Failure) -> None:
        retries = self._ledger.head.study.run.max_failures
        if failure.kind != "not_finite" and row.failures < retries:
            self._retry(self._ledger.begin_again(row, failures=row.failures + 1))
        elif row.number is None:
            raise InfrastructureError(
                f"the plain finetune must end with scores, got: {failure.reason}. "
                "It has no searched part: look at dataset, model, baseline and finetune."
            )
        else:
            self._end_row(row, failure)

    def _end_row(self, row: Row, end: Scores | Failure) -> None:
        if row.number is None:
            assert isinstance(end, Scores)
            self._ledger.set_reference("plain", end)
            self._progress.totals(self._ledger.read())
        elif isinstance(end, Scores):
            self._progress.finished(self._ledger.complete(row.number, end))
        else:
            self._progress.finished(self._ledger.fail(row.number, end))
        shutil.rmtree(checkpoint_folder(self._checkpoints, row.number), ignore_errors=True)
        self._release(row)

    def _lose(self, row: Row, reason: str) -> None:
        if self._out.get(row.number) != row:
            return
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= _LOST_IN_A_ROW or row.lost >= _LOST_CAP:
            raise InfrastructureError(
                f"trial {row.number}: an attempt was lost {row.lost + 1} times, "
                f"{self._lost_in_a_row} in a row over all trials; the last time: {reason}. "
                "Nothing is lost: look at memory and nodes, then ablate resume."
            )
        self._retry(self._ledger.begin_again(row, lost=row.lost + 1))

    def _retry(self, row: Row) -> None:
        self._again.append(row)
        self._release(row)

    def _release(self, row: Row) -> None:
        del self._out[row.number]
        self._offer()


class _End(Exception):  # noqa: N818 (no error: the thread's last call)
    pass


def checkpoint_folder(checkpoints: Path, number: int | None) -> Path:
    """Where the training states of a row go."""
    return checkpoints / ("plain" if number is None else f"{number:05d}")
