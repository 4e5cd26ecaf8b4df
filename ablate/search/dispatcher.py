"""Gives rows to the executor and takes its reports; the only thread that writes to the ledger.

An executor takes rows and passes on the reports of its workers.  It never waits for the storage:
reports are queued, and applied in order before the next row is sampled, so that a sampler sees all
earlier results.  Whether a worker must stop is decided in memory, immediately.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

from ablate.errors import (
    AblateError,
    InfrastructureError,
    LeaseError,
    StoppedError,
    StorageError,
    UsageError,
    unexpected,
)
from ablate.errors.masking import masked
from ablate.files.durable import Checkpoint
from ablate.ledger.driving import Driving
from ablate.ledger.record import Failure, Row, RowRecord, Rung
from ablate.robustness.bits import unpack_bits
from ablate.search.asha import Pruner
from ablate.search.failures import Losses
from ablate.search.run_context import RunContext
from ablate.study.baseline_checks import CAUSES, gain_rule
from ablate.study.scores import AnyScores, Scores, scores_from_json
from ablate.study.seeds import needs_plain
from ablate.trial.task import Report

FINISHED: Literal["finished"] = "finished"


@dataclass
class _Out:
    """A row that an executor has.

    Attributes:
        began: when it was given to a worker, or else to the executor, by the monotonic clock.
        begun: a worker has it.
        ended: its last report was received; its worker must stop.
    """

    row: Row
    began: float = field(default_factory=time.monotonic)
    begun: bool = False
    ended: bool = False


class Dispatcher:
    """Drives one study to its N rows.

    Args:
        driving: the study's rows; nothing else may write to them.

    Attributes:
        error: why everything must stop; None: nothing has failed.
        drained: the study was stopped; its running rows have ended or were left.
    """

    def __init__(self, driving: Driving, around: RunContext) -> None:
        self._driving, self._around = driving, around
        self._study = driving.ledger.head.study
        self._spent = driving.ledger.spent
        self._pruner: Pruner | None = None
        if self._study.search.pruner is not None:
            self._pruner = Pruner(self._study, driving.rungs(), around.rung_bounds)
        self._inbox: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._out: dict[int | None, _Out] = {}
        self._ready: deque[Row] = deque()
        self._question: object | None = None
        """Of an executor that waits for a row."""
        self._again: deque[Row] = deque()
        """Rows to begin before new ones."""
        self._plain = driving.plain_number()
        """Number of the plain finetune; None: it is none of the rows."""
        self._judges = self._awaits_plain = False
        self._losses = Losses()
        self._draining: set[int | None] | None = None
        """Rows that a drain still waits for."""
        self._grace: threading.Timer | None = None
        self._finished = self._closed = self.drained = False
        self.error: AblateError | None = None
        around.callbacks.drain = self.drain
        self._thread = threading.Thread(target=self._serve, name="ablate-ledger", daemon=True)
        self._inbox.put(self._begin)
        self._thread.start()

    # -- for the executor: from any thread, never waits for the storage -------------------------

    @property
    def stopping(self) -> bool:
        """True once all workers must end: after an error, or when the study is drained."""
        return self.error is not None or self.drained

    @property
    def _ending(self) -> bool:
        return self._finished or self.stopping or self._draining is not None

    def take(self, timeout: float | None) -> Row | Literal["finished"] | None:
        """The next row to run.

        Args:
            timeout: seconds to wait for one; None: no limit.

        Returns:
            A row; `FINISHED` if all rows have ended or no more will start; None if there is no row
            now.
        """
        with self._changed:
            if self._question is None and not self._ready and not self._ending:
                question = self._question = object()
                self._inbox.put(lambda: self._answer(question))
            self._changed.wait_for(lambda: self._ready or self._ending, timeout)
            if self._ending:
                return FINISHED
            return self._ready.popleft() if self._ready else None

    def _attempt(self, row: Row) -> _Out | None:
        """The row as it is out; None of an attempt that was given up."""
        out = self._out.get(row.number)
        return out if out is not None and out.row.attempt == row.attempt else None

    def begun(self, row: Row) -> None:
        """Note that a worker has taken the row: it is at work from now on."""
        if (out := self._attempt(row)) is not None:
            moment = out.began = time.monotonic()
            out.begun = True
            self._inbox.put(lambda: self._around.spending.begin(row.number, moment))

    def report(self, row: Row, report: Report) -> None:
        """Take a report of the worker of `row`."""
        report = report.masked()
        with self._changed:
            out = self._attempt(row)
            if out is None or out.ended:
                return
            rung = None
            if self._pruner and report.rung is not None and row.number is not None:
                assert report.entry is not None
                judged = self._pruner.judge(row.number, report.entry, report.rung)
                if isinstance(judged, AblateError):
                    self.fail(judged)
                    return
                if isinstance(judged, Failure):
                    report = replace(report, rung=None, failure=asdict(judged))
                else:
                    rung = judged
            ends = report.done or (rung is not None and rung.stop)
            leave = self._draining is not None and not ends
            out.ended = ends or leave
        self._inbox.put(lambda: self._apply(out, report, rung, leave=leave))

    def is_stopped(self, row: Row) -> bool:
        """Whether the worker of `row` must end its attempt now."""
        out = self._attempt(row)
        return self.stopping or out is None or out.ended

    def lose(self, row: Row, reason: str) -> None:
        """Note that the attempt was lost: a worker or node died."""
        out, reason = self._attempt(row), masked(reason)
        if out is not None and not out.ended:
            out.ended = True
            self._inbox.put(lambda: self._lose(out, reason, None))

    def after_reports(self, call: Callable[[], object]) -> None:
        """Call this once all reports that were taken until now are in the ledger."""
        self._inbox.put(call)

    def note(self, event: str, text: str) -> None:
        """Pass on a note of the executor about the run."""
        self._around.note(event, text)

    def time_out(self, row: Row, seconds: float) -> None:
        """Fail the row, because its current epoch has taken longer than `seconds`."""
        reason = (
            "an epoch must end within run.epoch_timeout_seconds, got one running for "
            f"{seconds:g} s. Its worker was stopped: check what it waits for, or raise the limit."
        )
        self.report(row, Report(failure=asdict(Failure("timed_out", reason))))

    def fail(self, error: AblateError) -> None:
        """Stop everything because of an error; the first error is kept."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def drain(self, reason: str) -> None:
        """Start no more rows, and let running epochs finish within the grace period."""
        seconds = self._around.grace_seconds
        with self._changed:
            if self._ending:
                return
            # Rows that wait, for an executor or for a worker, will not run.
            self._draining = {number for number, out in self._out.items() if out.begun}
            self.drained = not self._draining
            self._changed.notify_all()
        self._grace = threading.Timer(seconds, self._end_drain)
        self._grace.daemon = True
        self._grace.start()
        text = f"{reason}: running epochs get {seconds:g} s to finish; a second signal stops them "
        self._around.note("drain", text + "at once")

    def _end_drain(self) -> None:
        with self._changed:
            self.drained = not self._finished
            self._changed.notify_all()

    def close(self) -> None:
        """Write all queued reports and end; a second call does nothing."""
        if not self._closed:
            self._closed = True
            if self._grace is not None:
                self._grace.cancel()
            self._inbox.put(None)
            self._thread.join()

    # -- on the ledger's own thread ----------------------------------------------------------

    def _serve(self) -> None:
        """Runs until `close`, even after errors, because other threads wait for it."""
        while (apply := self._inbox.get()) is not None:
            self._write(apply)
        waited = {row.number: True for row in self._again}
        waited |= {number: not out.begun for number, out in self._out.items()}
        for number, has_waited in waited.items():
            if number is not None:
                self._write(partial(self._driving.leave, number, waited=has_waited))

    def _write(self, apply: Callable[[], object]) -> None:
        if isinstance(self.error, LeaseError | StorageError):
            return  # the ledger cannot be written any more
        try:
            apply()
        except AblateError as error:
            self.fail(error)
        except BaseException as error:
            self.fail(unexpected("the ledger", error))

    def _begin(self) -> None:
        driving = self._driving
        head = driving.ledger.head
        runs_plain = needs_plain(self._study, head.parent)
        is_there = "plain" in driving.ledger.references
        has_ended = is_there if runs_plain else driving.has_ended(self._plain)
        # The baseline is judged before the first trial of a study of its own, but for the plain
        # finetune.
        others = driving.begun - {self._plain}
        is_new = not (others or head.parent or head.accepted_baseline)
        is_scored = "baseline" in driving.ledger.references
        self._judges = is_scored and is_new and (runs_plain or self._plain is not None)
        if self._judges and has_ended:
            self._judge_baseline()
        self._awaits_plain = self._judges and not has_ended and not self._around.accept_baseline
        if runs_plain and not is_there:
            self._again.append(driving.begin_plain())
        rows, ended = driving.adopt()
        self._again.extend(rows)
        self._losses.adopt(rows)
        for record in ended:
            self._note_end(record)

    def _judge_baseline(self) -> None:
        """Stop before the first trial where plain finetuning makes the baseline much better, unless
        that is accepted; nothing is lost, the study can be resumed."""
        self._judges = self._awaits_plain = False
        ledger, number = self._driving.ledger, self._plain
        baseline, plain = ledger.references["baseline"], ledger.references.get("plain")
        of_rows, kept = ledger.outcomes(() if number is None else (number,))
        outcomes = [kept.get("baseline"), kept.get("plain")]
        if number is not None:
            plain, outcomes[1] = ledger.read().rows[number].scores, of_rows.get(number)
        if not (isinstance(baseline, Scores) and isinstance(plain, Scores)):
            return  # a plain row has failed
        correct = None
        if outcomes[0] is not None and outcomes[1] is not None:
            clean = unpack_bits([outcomes[0]["val"], outcomes[1]["val"]], plain).clean
            correct = clean[0], clean[1]
        gain = gain_rule(baseline.clean_accuracy, plain.clean_accuracy, plain.n_images, correct)
        if gain is None:
            return
        if self._around.accept_baseline:
            ledger.set_head(replace(ledger.head, accepted_baseline=gain))
            self._around.note("accepted", f"accepted: {gain}")
            return
        self.fail(
            UsageError(
                f"study {self._study.name}: the baseline must leave plain finetuning little to "
                f"gain, but {gain}. Either {CAUSES}: mend that and launch it under another name; "
                "or go on as it is: `ablate resume` with `accept_baseline=True`."
            )
        )

    def _answer(self, question: object) -> None:
        if question is self._question:  # else the end of a row has answered it already
            self._offer()

    def _offer(self) -> None:
        if self.error or self._question is None:
            return
        is_new = not self._again
        row = self._again.popleft() if self._again else self._ask()
        if isinstance(row, RowRecord):  # it has copied another row's scores: nothing to run
            self._note_end(row)
            if self._draining is None:
                self._inbox.put(self._offer)  # first apply reports that came meanwhile
            return
        with self._changed:
            if row is not None:
                self._question = None
                self._ready.append(row)
                self._out[row.number] = _Out(row)
            elif not self._out:
                self._finished = True
            # If rows are running, the request stays open until one of them ends.
            self._changed.notify_all()
        if row is not None:
            self._around.log("asked" if is_new else "begun", row)
            self._around.progress.started(row.number)

    def _ask(self) -> Row | RowRecord | None:
        """A new row, which may have ended already; None if there is none now."""
        driving = self._driving
        if self._awaits_plain and not driving.is_waiting(self._plain):
            return None
        spent = self._around.spending.spent()
        if self._spent is None and spent is not None and driving.has_more():
            self._spent = spent
            driving.ledger.set_spent(spent)
            self._around.note("spent", f"{spent}: no further trial is started")
        return driving.ask(self._plain if self._judges else None) if self._spent is None else None

    def _apply(self, out: _Out, report: Report, rung: Rung | None, *, leave: bool) -> None:
        row, around = out.row, self._around
        if self._out.get(row.number) is not out:
            return
        if report.place and report.place.get("note"):
            around.row_note(row, report.place["note"])
        if report.lost is not None:
            self._lose(out, report.lost, report.place)
            return
        self._losses.progress(row.number, trained=report.progress is not None)
        if report.entry is not None:
            around.epoch(
                row, report.entry, rung, self._pruner.exceeded(rung) if self._pruner else ()
            )
        elif report.checkpoint is not None:
            kept = report.checkpoint
            around.log("checkpoint", row, epoch=kept["epoch"], step=kept["step"])
        if report.failure is not None:
            self._fail_attempt(row, Failure(**report.failure), report)
        elif report.scores is not None:
            self._complete(row, scores_from_json(report.scores), report)
        elif report.progress is not None:
            self._record(row, report, rung)
        if leave:  # a drain: it stays running in the ledger
            if row.number is not None:
                self._driving.leave(row.number)
            around.log("left", row)
            self._release(row.number)

    def _record(self, row: Row, report: Report, rung: Rung | None) -> None:
        driving, entry, place = self._driving, report.entry, report.place
        checkpoint = Checkpoint(**report.checkpoint) if report.checkpoint else None
        outdated: tuple[Checkpoint, ...]
        if row.number is None:
            outdated = () if checkpoint is None else driving.record_plain(checkpoint)
        elif entry is None:
            assert checkpoint is not None
            outdated = driving.record_epoch(row.number, None, checkpoint, place=place)
        elif rung is not None and rung.stop:
            self._end_row(driving.prune(row.number, entry, rung, place))
            return
        else:
            outdated = driving.record_epoch(row.number, entry, checkpoint, rung, place)
        for old in outdated:
            self._around.janitor.remove_state(old.uri)

    def _complete(self, row: Row, scores: AnyScores, report: Report) -> None:
        if row.number is not None:
            ended = self._driving.complete(
                row.number, scores, report.entry, report.place, report.kept
            )
            if ended.path is not None and ended.path.note:
                self._around.row_note(row, ended.path.note)
            self._end_row(ended)
            return
        ledger = self._driving.ledger
        ledger.set_reference("plain", scores)
        if report.kept is not None:
            ledger.set_outcomes("plain", report.kept["outcomes"])
        self._around.log("complete", row)
        self._around.progress.totals(ledger.read())
        self._around.janitor.remove_states(None)
        if self._judges:
            self._judge_baseline()
        self._release(None)

    def _fail_attempt(self, row: Row, failure: Failure, report: Report) -> None:
        if failure.kind != "not_finite" and row.failures < self._study.run.max_failures:
            self._around.log("raised", row, reason=failure.reason)
            reason, place = failure.reason, report.place
            self._retry(self._driving.begin_again(row, "raised", reason, place, failures=1))
        elif row.number is None:
            raise StoppedError(
                f"the plain finetune must end with scores, got: {failure.reason}. "
                "It has no searched parameters: check dataset, model, baseline and finetune."
            )
        else:
            self._end_row(self._driving.fail(row.number, failure, report.entry, report.place))

    def _lose(self, out: _Out, reason: str, place: Any) -> None:
        row = out.row
        if self._out.get(row.number) is not out:
            return
        self._around.log("lost", row, reason=reason, host=(place or {}).get("host", ""))
        verdict, lost = self._losses.add(row, out.began, died=place is None), row.lost + 1
        if verdict == "stop":
            raise InfrastructureError(
                f"trial {row.number}: its worker was lost {lost} times, {self._losses.in_a_row} "
                f"in a row over all trials; the last time: {reason}. "
                "No result is lost: check memory and nodes, then run `ablate resume`."
            )
        if verdict == "fail" and row.number is not None:
            died = f"its process died {lost} times; the last time: {reason}"
            self._end_row(self._driving.fail(row.number, Failure("lost", died)))
        else:
            self._retry(self._driving.begin_again(row, "lost", reason, place, lost=1))

    def _retry(self, row: Row) -> None:
        self._again.append(row)
        self._release(row.number)

    def _end_row(self, record: RowRecord) -> None:
        self._note_end(record)
        if self._judges and record.number == self._plain:
            self._judge_baseline()
        self._release(record.number)

    def _note_end(self, record: RowRecord) -> None:
        self._around.ended(record)
        stopped = self._around.failing.add(record, self._driving.trials)
        if stopped is not None:
            self.fail(stopped)

    def _release(self, number: int | None) -> None:
        self._around.spending.end(number)
        with self._changed:
            del self._out[number]
        if self._draining is None:
            self._offer()
            return
        self._draining.discard(number)
        if not self._draining:
            self._end_drain()
