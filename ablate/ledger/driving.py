"""The rows of a running study: sampled, started, recorded and ended.

The driver keeps a copy of each running row and writes from it.  Each step of a row is one
transaction (docs/reference/storage_format.md shows the states).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from ablate.files.durable import Checkpoint
from ablate.ledger import tables
from ablate.ledger.ledger import Ledger
from ablate.ledger.loaded import load_rows
from ablate.ledger.record import Attempt, Failure, Row, RowRecord, Rung
from ablate.ledger.row import (
    CURVE,
    FAILURE,
    PATH,
    ROW,
    SCORES,
    OpenRow,
    ended_as,
    row_record,
    soup_of,
    with_checkpoint,
)
from ablate.study.scores import AnyScores
from ablate.study.seeds import PLAIN, Seeds, is_plain


class Driving:
    """The rows of a running study.  Used by one thread, while its lease is held.

    Args:
        ledger: held.  Rows that the previous driver left running ended with its drive.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        drives = ledger.drives
        self._left_at = drives[-1].ended if drives else None
        self._open: dict[int, OpenRow] = {}
        self._plain: Row | None = None
        self._waiting: list[int] = []
        self._trials = ledger.trials
        self.bounds = ledger.bounds
        self._load()

    @property
    def asked(self) -> int:
        """Number of existing rows."""
        return len(self._mirror)

    @property
    def trials(self) -> int:
        """N, the number of rows of the finished study, as far as this driver knows."""
        return self._trials

    @property
    def begun(self) -> set[int]:
        """Numbers of the rows that run or have ended."""
        return {*self._rows.trial_ids}.difference(self._waiting)

    def is_waiting(self, number: int | None) -> bool:
        """Whether there is such a row, and it has not begun."""
        return number in self._waiting

    def has_ended(self, number: int | None) -> bool:
        """Whether there is such a row, and it has ended."""
        return number in self.begun and number not in self._open

    def plain_number(self) -> int | None:
        """The first row of a design that is a plain finetune of the study's baseline, if any."""
        study, planned = self.ledger.head.study, self._rows.planned
        plain = (number for number in sorted(planned) if is_plain(study, planned[number].params))
        return next(plain, None)

    def seeds(self) -> Seeds:
        """The seeds of all rows of a search, which differ only by their parameters."""
        study = self.ledger.head.study
        return Seeds(
            split=study.dataset.validation.seed,
            train=study.finetune.seed,
            evaluation=study.robustness.seed,
        )

    # -- the plain finetune, which is not a row ------------------------------------------------

    def begin_plain(self) -> Row:
        """Start it, or continue it from its latest checkpoint."""
        attempt, checkpoints = self.ledger.plain
        return self._begin_plain(Row(None, attempt, PLAIN, self.seeds(), checkpoints))

    def record_plain(self, checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
        """Record its checkpoints.

        Returns:
            Checkpoints that are needed no more: newer ones are recorded.
        """
        assert self._plain is not None
        self._plain, outdated = with_checkpoint(self._plain, checkpoint)
        self.ledger.set_plain(self._plain.attempt, self._plain.checkpoints)
        return outdated

    def _begin_plain(self, row: Row) -> Row:
        self._plain = replace(row, attempt=row.attempt + 1)
        self.ledger.set_plain(self._plain.attempt, self._plain.checkpoints)
        return self._plain

    # -- rows begin ------------------------------------------------------------------------

    def has_more(self) -> bool:
        """Whether a row waits, also one that was enqueued meanwhile, or is to be sampled."""
        if self._waiting or self.asked < self._trials:
            return True
        if sum(self.ledger.counts().values()) != self.asked:
            self._load()
        return bool(self._waiting)

    def adopt(self) -> tuple[list[Row], list[RowRecord]]:
        """Restart every row that was left running: same number, attempt + 1.

        Returns:
            The rows to run, and those that have ended: pruned before, or copies of another row's
            scores.
        """
        rows: list[Row] = []
        ended: list[RowRecord] = []
        for number, left in sorted(self._open.items()):
            self._close_attempt(left, "left", at=max(left.started, self._left_at or 0.0))
            if left.is_stopped:
                ended.append(self._end(number, TrialState.PRUNED))
            elif not left.row.attempt:  # half-drawn
                begun = self._begin(number, left.trial_id)
                (rows if isinstance(begun, Row) else ended).append(begun)  # type: ignore[arg-type]
            else:
                rows.append(self._again(left))
        return rows, ended

    def ask(self, first: int | None = None) -> Row | RowRecord | None:
        """The next row, sampled and started: a waiting row if there is one, else a new one.

        Args:
            first: of the waiting rows, the one that is preferred, if it still waits.

        Returns:
            A row to run, or one that has ended as a copy of another's scores; None if N exist, or
            if those that are left wait for others to end.
        """
        if not self.has_more():
            return None
        unended = {*self._waiting, *self._open}  # a soup waits for its members
        ready = (one for one in self._waiting if unended.isdisjoint(self._rows.members(one)))
        number = first if self.is_waiting(first) else next(ready, None)
        if number is not None:
            self._waiting.remove(number)
            return self._begin(number, self._rows.trial_ids[number])
        if self.asked >= self._trials or self.ledger.head.design is not None:
            return None  # the rows of a design are not sampled
        return self._begin(self.asked, None)

    def begin_again(
        self,
        row: Row,
        end: str,
        reason: str,
        place: Mapping[str, Any] | None = None,
        *,
        failures: int = 0,
        lost: int = 0,
    ) -> Row:
        """The same row, for another attempt.

        Args:
            end: how the attempt ended: "raised" or "lost"; reason: why.
            place: where, if its worker has said it.
            failures, lost: added to those of the row.
        """
        counted = replace(row, failures=row.failures + failures, lost=row.lost + lost)
        if row.number is None:
            assert self._plain is not None
            return self._begin_plain(replace(counted, checkpoints=self._plain.checkpoints))
        again = self._open[row.number]
        again.row = replace(counted, checkpoints=again.row.checkpoints)
        again.place(place)
        self._close_attempt(again, end, reason)
        return self._again(again)

    # -- rows go on ------------------------------------------------------------------------

    def record_epoch(
        self,
        number: int,
        entry: Mapping[str, Any],
        checkpoint: Checkpoint | None = None,
        rung: Rung | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> tuple[Checkpoint, ...]:
        """Record one epoch of a row's curve, the checkpoint after it, and a pruner's decision.

        Returns:
            Checkpoints that are needed no more: newer ones are recorded.
        """
        row = self._open[number]
        self._add_report(number, entry, place, rung)
        outdated = () if checkpoint is None else row.add_checkpoint(checkpoint)
        self._write(row, {CURVE: row.curve_attribute()})
        return outdated

    def record_checkpoint(
        self, number: int, checkpoint: Checkpoint, place: Mapping[str, Any] | None = None
    ) -> tuple[Checkpoint, ...]:
        """Record a checkpoint within an epoch.

        Returns:
            Checkpoints that are needed no more: newer ones are recorded.
        """
        row = self._open[number]
        row.place(place)
        outdated = row.add_checkpoint(checkpoint)
        self._write(row, {CURVE: row.curve_attribute()})
        return outdated

    def leave(self, number: int, *, waited: bool = False) -> None:
        """Leave the row in state running when the driver stops; the next driver continues it.

        Args:
            waited: no worker has taken it in this attempt, which took no time.
        """
        row = self._open[number]
        self._close_attempt(row, "left", at=row.started if waited else None)
        self._write(row, {CURVE: row.curve_attribute()})

    # -- rows end --------------------------------------------------------------------------

    def complete(
        self,
        number: int,
        scores: AnyScores,
        entry: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None,
        kept: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row with its scores; one that an objective or constraint cannot judge, because its
        metric is not finite, fails instead.

        Args:
            kept: of its last report (`ended_as`).
        """
        scores, attributes = ended_as(self.ledger.head.study, scores, kept or {})
        metrics, study = scores.metrics(), self.ledger.head.study
        judged = {metric: float(metrics[metric]) for metric in study.judged_metrics}
        if not all(map(math.isfinite, judged.values())):
            named = ", ".join(f"{metric} = {value}" for metric, value in judged.items())
            what = "an objective or constraint" if study.constraints else "an objective"
            failure = Failure("not_finite", f"{what} is not finite: {named}")
            return self.fail(number, failure, entry, place)
        self._add_report(number, entry, place)
        values = [judged[objective.metric] for objective in study.objectives]
        return self._end(number, TrialState.COMPLETE, values, attributes, metrics=judged)

    def prune(
        self,
        number: int,
        entry: Mapping[str, Any],
        rung: Rung,
        place: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row that a pruner has stopped: entry, decision and state in one transaction."""
        self._add_report(number, entry, place, rung)
        return self._end(number, TrialState.PRUNED)

    def fail(
        self,
        number: int,
        failure: Failure,
        entry: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row without scores, with its reason."""
        self._add_report(number, entry, place)
        return self._end(number, TrialState.FAIL, (), {FAILURE: asdict(failure)}, failure.reason)

    def rungs(self) -> list[tuple[int, Rung]]:
        """All decisions of the study's pruner with their rows, in order."""
        return sorted(self._rows.rungs, key=lambda one: one[1].sequence)

    # -- within ----------------------------------------------------------------------------

    def _load(self) -> None:
        """Load the rows of the database: running and waiting ones, and what a sampler sees."""
        self._rows = load_rows(self.ledger)
        self._mirror = self._rows.mirror
        for number, left in self._rows.running.items():
            self._open.setdefault(number, left)
        self._waiting = list(self._rows.waiting)
        self._trials = max(self._trials, len(self._rows.trial_ids))

    def _begin(self, number: int, trial_id: int | None) -> Row | RowRecord:
        """Sample a row and write it, unless it exists; it runs or copies another's scores."""
        ledger = self.ledger
        row, draws, twin = self._new_row(number)
        begun = OpenRow(trial_id or 0, row, enqueued=number in self._rows.given)
        if twin is None:
            begun.attempts = [Attempt(1, time.time())]
            attributes = {ROW: begun.row_attribute()}
        else:
            origin = self._rows.trial_ids[twin]
            kept = ledger.store.read(lambda c: tables.row_attributes(c, origin))
            attributes = {
                **{key: kept[key] for key in (SCORES, PATH) if key in kept},
                ROW: begun.row_attribute() | {"copy_of": twin},
                CURVE: begun.curve_attribute(),
            }
        seen = [] if twin is None else self._mirror.values(twin)
        values = seen[: len(ledger.head.study.objectives)]
        of_sampler = self._mirror.changed_attributes()

        def write(connection: Connection) -> int | None:
            there = tables.lock_rows(connection, ledger.study_id)
            if trial_id is not None:
                tables.start_row(connection, trial_id)
                tables.set_draws(connection, trial_id, draws)
                tables.set_attributes(connection, trial_id, attributes)
                found: int | None = trial_id
            elif there == number:
                found = tables.insert_row(
                    connection,
                    ledger.study_id,
                    number,
                    state=TrialState.RUNNING,
                    draws=draws,
                    attributes=attributes,
                )
            else:
                found = tables.find_row(connection, ledger.study_id, number, ROW, attributes[ROW])
                if found is None:
                    return None  # another process has enqueued a row with this number
            if twin is not None and found is not None:
                tables.end_row(connection, found, TrialState.COMPLETE, values)
            tables.set_study_attributes(connection, ledger.study_id, of_sampler, True)
            return found

        written = ledger.store.write(write)
        if written is None:
            self._load()
            again = self.ask()
            assert again is not None
            return again
        begun.trial_id = self._rows.trial_ids[number] = written
        if twin is not None:
            self._open.pop(number, None)
            self._mirror.end(number, TrialState.COMPLETE, seen)
            now, state = tables.moment(time.time()), TrialState.COMPLETE
            return row_record(tables.Stored(written, number, state, now, now, values, attributes))
        self._open[number] = begun
        if number not in self._rows.planned:
            self._rows.twins.add(number, row.params, TrialState.RUNNING)
        return row

    def _new_row(self, number: int) -> tuple[Row, tables.Draws, int | None]:
        """What a row is run with, its draws, and the row whose scores it copies instead."""
        planned = self._rows.planned.get(number)
        if planned is None:
            given = number in self._rows.given
            params, draws, twin = self._mirror.draw_new(number, self._rows.twins, given=given)
            return Row(number, int(twin is None), params, self.seeds()), draws, twin
        self._mirror.start(number)
        members, soup = self._rows.members(number), None
        if members:
            rows = self.ledger.read().rows
            soup = soup_of([rows[member] for member in members])
        return Row(number, 1, planned.params, planned.seeds, soup=soup), tables.Draws(), None

    def _again(self, left: OpenRow) -> Row:
        left.row = replace(left.row, attempt=left.row.attempt + 1)
        left.attempts.append(Attempt(left.row.attempt, time.time()))
        self._write(left, {ROW: left.row_attribute(), CURVE: left.curve_attribute()})
        return left.row

    def _add_report(
        self,
        number: int,
        entry: Mapping[str, Any] | None,
        place: Mapping[str, Any] | None,
        rung: Rung | None = None,
    ) -> None:
        """Take over where a row runs, its epoch, and its scores at a rung, before it is written."""
        row = self._open[number]
        row.place(place)
        if entry is not None:
            row.add_epoch(entry, rung)
        if rung is not None:
            self._mirror.reach(number, rung)

    def _end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] = (),
        attributes: Mapping[str, Any] | None = None,
        reason: str = "",
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> RowRecord:
        row = self._open[number]
        self._close_attempt(row, state.name.lower(), reason)
        written = {CURVE: row.curve_attribute(), **(attributes or {})}

        def write(connection: Connection) -> None:
            tables.set_attributes(connection, row.trial_id, written)
            tables.end_row(connection, row.trial_id, state, values)

        self.ledger.store.write(write)
        excess = [bound.excess(metrics or {}) for bound in self.bounds]
        self._mirror.end(number, state, [*values, *excess])
        self._rows.twins.end(number, state)
        del self._open[number]
        return row.record(state, values, attributes, self._rows.planned.get(number))

    def _close_attempt(
        self, row: OpenRow, end: str, reason: str = "", at: float | None = None
    ) -> None:
        if row.attempts and row.attempts[-1].ended is None:
            row.update_attempt(ended=at or time.time(), end=end, reason=reason)

    def _write(self, row: OpenRow, attributes: Mapping[str, Any]) -> None:
        self.ledger.store.write(lambda c: tables.set_attributes(c, row.trial_id, attributes))
