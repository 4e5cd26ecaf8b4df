"""The rows of a running study: sampled, started, recorded and ended.

The driver keeps each running row in memory and writes from it.  Each step of a row is one
transaction (docs/reference/storage_format.md shows the states).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from ablate.files.durable import Checkpoint
from ablate.ledger import tables
from ablate.ledger.ledger import Ledger
from ablate.ledger.mirror import Mirror
from ablate.ledger.record import Attempt, Failure, Planned, Row, RowRecord, Rung
from ablate.ledger.row import (
    CELL,
    FAILURE,
    PATH,
    ROW,
    SCORES,
    Twins,
    ended_as,
    row_record,
    rungs_of,
    soup_of,
    stored_curve,
    stored_row,
    with_checkpoint,
)
from ablate.ledger.tables import Draws, Stored
from ablate.space.sampling import distributions
from ablate.space.space import FIXED
from ablate.study.scores import AnyScores, scores_from_json
from ablate.study.seeds import PLAIN, Seeds, is_plain

_NO_DRAWS = Draws()


class Driving:
    """The rows of a running study.  Used by one thread, while its lease is held.

    Args:
        ledger: held.  Rows that the previous driver left running ended with its drive.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        drives = ledger.drives
        self._left_at = drives[-1].ended if drives else None
        self._open: dict[int, RowRecord] = {}
        self._plain: Row | None = None
        self._trials = ledger.trials
        self.bounds = ledger.bounds
        self._load()

    def _load(self) -> None:
        """Load the rows of the database: running and waiting ones, and what a sampler sees."""
        ledger, head = self.ledger, self.ledger.head

        def everything(connection: Connection) -> tuple[Any, ...]:
            return (
                tables.read_rows(connection, ledger.study_id),
                tables.read_draws(connection, ledger.study_id),
                tables.study_attributes(connection, ledger.study_id, system=True),
            )

        rows, draws, attributes = ledger.store.read(everything)
        # A domain with a step is cut to it whenever Optuna makes it, also from what was cut before.
        domains = distributions(ledger.space)
        for trial_id, drawn in draws.items():
            own = {name: domains.get(name, one) for name, one in drawn.distributions.items()}
            draws[trial_id] = replace(drawn, distributions=own)

        def values(stored: Stored) -> list[float]:
            if not self.bounds or stored.state != TrialState.COMPLETE:
                return stored.values
            metrics = scores_from_json(stored.attributes[SCORES]).metrics()
            return [*stored.values, *(bound.excess(metrics) for bound in self.bounds)]

        of_sampler = tables.without(tables.STUDY, attributes)
        point = head.reference_point
        self._mirror = Mirror(head.study, ledger.space, of_sampler, self.bounds, point)
        self._rungs = [(stored.number, rung) for stored in rows for rung in rungs_of(stored)]
        self._mirror.fill(
            ((one.state, values(one), draws.get(one.trial_id, _NO_DRAWS)) for one in rows),
            self._rungs,
        )
        self._trial_ids = {stored.number: stored.trial_id for stored in rows}
        self._given = {
            one.number for one in rows if FIXED in draws.get(one.trial_id, _NO_DRAWS).system
        }
        self._planned: dict[int, Planned] = {}
        self._waiting: list[int] = []
        self._twins = Twins(head.study)
        for stored in rows:
            row = stored.attributes.get(ROW, {})
            if CELL in stored.attributes:
                self._planned[stored.number] = Planned.from_json(stored.attributes[CELL])
            elif row and "copy_of" not in row:
                self._twins.add(stored.number, row["params"], stored.state)
            if stored.state == TrialState.RUNNING:
                self._open.setdefault(stored.number, row_record(stored))
            elif stored.state == TrialState.WAITING:
                self._waiting.append(stored.number)
        self._trials = max(self._trials, len(rows))

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
        return self._trial_ids.keys() - self._waiting

    def is_waiting(self, number: int | None) -> bool:
        """Whether there is such a row, and it has not begun."""
        return number in self._waiting

    def has_ended(self, number: int | None) -> bool:
        """Whether there is such a row, and it has ended."""
        return number in self.begun and number not in self._open

    def plain_number(self) -> int | None:
        """The first row of a design that is a plain finetune of the study's baseline, if any."""
        study, planned = self.ledger.head.study, self._planned
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
        """Record its checkpoint.

        Returns:
            Checkpoints that are needed no more: newer ones are recorded.
        """
        assert self._plain is not None
        kept, outdated = with_checkpoint(self._plain.checkpoints, checkpoint)
        self._plain = replace(self._plain, checkpoints=kept)
        self.ledger.set_plain(self._plain.attempt, kept)
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
            started = left.attempts[-1].started if left.attempts else 0.0
            self._close_attempt(number, "left", at=max(started, self._left_at or 0.0))
            if any(rung.stop for rung in left.rungs):  # a recorded decision is final
                ended.append(self._end(number, TrialState.PRUNED))
            elif left.attempt:
                rows.append(self._again(number))
            else:  # half-drawn
                begun = self._begin(number, self._trial_ids[number])
                (rows if isinstance(begun, Row) else ended).append(begun)  # type: ignore[arg-type]
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
        ready = (number for number in self._waiting if unended.isdisjoint(self._members(number)))
        number = first if self.is_waiting(first) else next(ready, None)
        if number is not None:
            self._waiting.remove(number)
            return self._begin(number, self._trial_ids[number])
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
            place: where, if its worker has reported it.
            failures, lost: added to those of the row.
        """
        failures, lost = row.failures + failures, row.lost + lost
        if row.number is None:
            assert self._plain is not None
            return self._begin_plain(replace(self._plain, failures=failures, lost=lost))
        self._take_over(row.number, place)
        self._open[row.number] = replace(self._open[row.number], failures=failures, lost=lost)
        self._close_attempt(row.number, end, reason)
        return self._again(row.number)

    def _begin(self, number: int, trial_id: int | None) -> Row | RowRecord:
        """Sample a row and write it, unless it exists; it runs or copies another's scores."""
        ledger = self.ledger
        row, draws = self._new_row(number)
        twin = row.copy_of
        attributes, values = stored_row(row), list[float]()
        if twin is not None:
            origin = self._trial_ids[twin]
            kept = ledger.store.read(lambda c: tables.row_attributes(c, origin))
            attributes |= {key: kept[key] for key in (SCORES, PATH) if key in kept}
            attributes |= stored_curve(row)
            values = self._mirror.values(twin)[: len(ledger.head.study.objectives)]
        of_sampler = self._mirror.changed_attributes()

        def write(connection: Connection) -> int | None:
            there = tables.lock_rows(connection, ledger.study_id)
            if trial_id is not None:
                tables.start_row(connection, trial_id)
                tables.set_draws(connection, trial_id, draws)
                tables.set_attributes(connection, trial_id, attributes)
                written = trial_id
            elif there == number:
                written = tables.insert_row(
                    connection,
                    ledger.study_id,
                    number,
                    state=TrialState.RUNNING,
                    draws=draws,
                    attributes=attributes,
                )
            else:  # it was written before an outage, or another process has enqueued a row
                same = tables.find_row(connection, ledger.study_id, number, ROW, attributes[ROW])
                if same is None:
                    return None
                written = same
            if twin is not None:
                tables.end_row(connection, written, TrialState.COMPLETE, values)
            tables.set_study_attributes(connection, ledger.study_id, of_sampler, True)
            return written

        written = ledger.store.write(write)
        if written is None:
            self._load()
            again = self.ask()
            assert again is not None
            return again
        self._trial_ids[number] = written
        if twin is not None:
            self._open.pop(number, None)
            self._mirror.end(number, TrialState.COMPLETE, self._mirror.values(twin))
            now, state = datetime.now(UTC), TrialState.COMPLETE
            return row_record(Stored(written, number, state, now, now, values, attributes))
        self._open[number] = row
        if number not in self._planned:
            self._twins.add(number, row.params, TrialState.RUNNING)
        return self._run(number)

    def _new_row(self, number: int) -> tuple[RowRecord, Draws]:
        """A row that begins: as it is planned, else sampled; a copy of another row's scores has no
        attempt."""
        now = time.time()
        planned, given = self._planned.get(number), number in self._given
        row = RowRecord(
            number,
            "RUNNING",
            1,
            {},
            seeds=self.seeds(),
            attempts=(Attempt(1, now),),
            started=datetime.fromtimestamp(now, UTC),
        )
        if planned is None:
            params, draws, twin = self._mirror.draw_new(number, self._twins, given=given)
            row = replace(row, params=params, enqueued=given)
            if twin is not None:
                row = replace(row, attempt=0, attempts=(), copy_of=twin)
            return row, draws
        self._mirror.start(number)
        soup = None
        if planned.members:
            rows = self.ledger.read().rows
            soup = soup_of([rows[member] for member in self._members(number)])
        return replace(row, **vars(planned), soup=soup), _NO_DRAWS

    def _members(self, number: int) -> list[int]:
        """The rows whose networks a row averages; none of a row that is trained."""
        row = self._planned.get(number)
        if row is None or not row.members:
            return []
        numbers = {(other.cell, other.pair): place for place, other in self._planned.items()}
        return [numbers[cell, row.pair] for cell in row.members]

    def _again(self, number: int) -> Row:
        left = self._open[number]
        attempt = Attempt(left.attempt + 1, time.time())
        attempts = (*left.attempts, attempt)
        self._open[number] = replace(left, attempt=attempt.attempt, attempts=attempts)
        self._write(number, with_row=True)
        return self._run(number)

    def _run(self, number: int) -> Row:
        """What a worker gets of a running row."""
        row = self._open[number]
        assert row.seeds is not None
        return Row(
            number,
            row.attempt,
            row.params,
            row.seeds,
            row.checkpoints,
            row.failures,
            row.lost,
            row.soup,
        )

    # -- rows go on ------------------------------------------------------------------------

    def record_epoch(
        self,
        number: int,
        entry: Mapping[str, Any] | None,
        checkpoint: Checkpoint | None = None,
        rung: Rung | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> tuple[Checkpoint, ...]:
        """Record one epoch of a row's curve, the checkpoint after it, and a pruner's decision.

        Args:
            entry: of the curve; None: the checkpoint is within an epoch.

        Returns:
            Checkpoints that are needed no more: newer ones are recorded.
        """
        self._take_over(number, place, entry, rung)
        outdated: tuple[Checkpoint, ...] = ()
        if checkpoint is not None:
            self._update_attempt(number, epochs=checkpoint.epoch, seconds=checkpoint.seconds)
            row = self._open[number]
            kept, outdated = with_checkpoint(row.checkpoints, checkpoint)
            self._open[number] = replace(row, checkpoints=kept)
        self._write(number)
        return outdated

    def leave(self, number: int, *, waited: bool = False) -> None:
        """Leave the row in state running when the driver stops; the next driver continues it.

        Args:
            waited: no worker has taken it in this attempt, which took no time.
        """
        started = self._open[number].attempts[-1].started
        self._close_attempt(number, "left", at=started if waited else None)
        self._write(number)

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
        study = self.ledger.head.study
        scores, attributes = ended_as(study, scores, kept or {})
        metrics = scores.metrics()
        judged = {metric: float(metrics[metric]) for metric in study.judged_metrics}
        if not all(map(math.isfinite, judged.values())):
            named = ", ".join(f"{metric} = {value}" for metric, value in judged.items())
            what = "an objective or constraint" if study.constraints else "an objective"
            failure = Failure("not_finite", f"{what} is not finite: {named}")
            return self.fail(number, failure, entry, place)
        self._take_over(number, place, entry)
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
        self._take_over(number, place, entry, rung)
        return self._end(number, TrialState.PRUNED)

    def fail(
        self,
        number: int,
        failure: Failure,
        entry: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row without scores, with its reason."""
        self._take_over(number, place, entry)
        return self._end(number, TrialState.FAIL, (), {FAILURE: asdict(failure)}, failure.reason)

    def rungs(self) -> list[tuple[int, Rung]]:
        """All decisions of the study's pruner with their rows, in order."""
        return sorted(self._rungs, key=lambda decision: decision[1].sequence)

    # -- within ----------------------------------------------------------------------------

    def _take_over(
        self,
        number: int,
        place: Mapping[str, Any] | None,
        entry: Mapping[str, Any] | None = None,
        rung: Rung | None = None,
    ) -> None:
        """Take over where a row runs, its epoch, and its scores at a rung, before it is written."""
        if place:
            known = {key: place[key] for key in _PLACE if key in place}
            # A row that was sampled ahead has waited for a worker; clocks of hosts may differ.
            asked = self._open[number].attempts[-1].started
            known["started"] = min(max(asked, place.get("started", asked)), time.time())
            self._update_attempt(number, **known, gpus=tuple(place.get("gpus", ())))
        if entry is not None:  # it replaces the same and later epochs
            epoch = entry["epoch"]
            self._update_attempt(number, epochs=epoch, seconds=0.0)
            row = self._open[number]
            earlier = (point for point in row.curve if point["epoch"] < epoch)
            self._open[number] = replace(row, curve=(*earlier, entry))
        if rung is not None:
            row = self._open[number]
            others = (other for other in row.rungs if other.epoch != rung.epoch)
            rungs = sorted((*others, rung), key=lambda decision: decision.epoch)
            self._open[number] = replace(row, rungs=tuple(rungs))
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
        self._close_attempt(number, state.name.lower(), reason)
        row, trial_id = self._open[number], self._trial_ids[number]
        written = {**stored_curve(row), **(attributes or {})}

        def write(connection: Connection) -> None:
            tables.set_attributes(connection, trial_id, written)
            tables.end_row(connection, trial_id, state, values)

        self.ledger.store.write(write)
        excess = [bound.excess(metrics or {}) for bound in self.bounds]
        self._mirror.end(number, state, [*values, *excess])
        self._twins.end(number, state)
        del self._open[number]
        if number in self._planned:
            written[CELL] = self._planned[number].to_json()
        finished = datetime.fromtimestamp(row.attempts[-1].ended or 0.0, UTC)
        written |= stored_row(row)
        return row_record(
            Stored(trial_id, number, state, row.started, finished, list(values), written)
        )

    def _close_attempt(
        self, number: int, end: str, reason: str = "", at: float | None = None
    ) -> None:
        attempts = self._open[number].attempts
        if attempts and attempts[-1].ended is None:
            self._update_attempt(number, ended=at or time.time(), end=end, reason=reason)

    def _update_attempt(self, number: int, **fields: Any) -> None:
        *earlier, last = self._open[number].attempts
        attempts = (*earlier, replace(last, **fields))
        self._open[number] = replace(self._open[number], attempts=attempts)

    def _write(self, number: int, *, with_row: bool = False) -> None:
        row, trial_id = self._open[number], self._trial_ids[number]
        attributes = stored_curve(row) | (stored_row(row) if with_row else {})
        self.ledger.store.write(lambda c: tables.set_attributes(c, trial_id, attributes))


_PLACE = (
    *("host", "pid", "first_epoch", "first_step", "first_seconds"),
    *("peak_memory_bytes", "peak_gpu_bytes"),
)
