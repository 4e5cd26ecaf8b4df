"""The rows of a running study: sampled, started, recorded and ended.

The driver keeps each running row in memory and writes from it.  Each step of a row is one
transaction (docs/reference/storage_format.md shows the states).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
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
    stored_curve,
    stored_row,
    with_checkpoint,
)
from ablate.ledger.tables import Draws, Stored
from ablate.space.space import FIXED
from ablate.study.scores import AnyScores, Scores
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
        self._open: dict[int, RowRecord] = {}
        self._plain: Row | None = None
        self._trials = ledger.trials + ledger.head.outside
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

        stored, draws, attributes = ledger.store.read(everything)
        rows = [row_record(each) for each in stored]
        of_sampler = tables.without(tables.STUDY, attributes)
        self._mirror = Mirror(
            head.study,
            ledger.space,
            of_sampler,
            self.bounds,
            head.reference_point,
            has_start=bool(head.start or head.learned),
            base=Path(head.base),
        )
        for learned in head.learned:
            self._mirror.learn(learned["rows"])
        self._rungs = [(row.number, rung) for row in rows if not row.outside for rung in row.rungs]
        self._trial_ids = {each.number: each.trial_id for each in stored}
        both = list(zip(rows, stored, strict=True))
        hidden, pruned = Draws(), TrialState.PRUNED
        drawn = [hidden if row.outside else draws.get(of.trial_id, hidden) for row, of in both]
        states = [pruned if row.outside else of.state for row, of in both]
        values = (
            [*row.values, *self._excess(row.scores)] if row.values and not row.outside else ()
            for row in rows
        )
        self._mirror.fill(zip(states, values, drawn, strict=True), self._rungs)
        self._given = {
            row.number for row, of in zip(rows, drawn, strict=True) if FIXED in of.system
        }
        self._planned = {
            each.number: Planned.from_json(each.attributes[CELL])
            for each in stored
            if CELL in each.attributes
        }
        self._waiting = [row.number for row in rows if row.state == "WAITING"]
        self._twins = Twins(head.study)
        for row, state in zip(rows, states, strict=True):
            is_begun = row.attempt and row.copy_of is None and not row.outside
            if row.number not in self._planned and is_begun:
                self._twins.add(row.number, row.params, state)
            if row.state == "RUNNING":  # those that run now are newer here than in the database
                self._open.setdefault(row.number, row)
        self._trials = max(self._trials, len(rows))

    def _excess(self, scores: AnyScores | None) -> list[float]:
        """By how much scores are beyond each bound, which a sampler sees after the values."""
        metrics = scores.metrics() if self.bounds and scores is not None else {}
        return [bound.excess(metrics) for bound in self.bounds]

    @property
    def asked(self) -> int:
        """Number of existing rows."""
        return len(self._mirror)

    @property
    def trials(self) -> int:
        """N, the number of rows of the finished study, as far as this driver knows."""
        return self._trials - self.ledger.head.outside

    @property
    def begun(self) -> set[int]:
        """Numbers of the rows that run or have ended."""
        return self._trial_ids.keys() - self._waiting

    def is_waiting(self, number: int | None) -> bool:
        """Whether there is such a row, and it has not begun."""
        return number in self._waiting

    def _is_ready(self, number: int) -> bool:
        """Whether all rows of its mixture, if it has one, have ended."""
        mixture = self._planned[number].mixture if number in self._planned else None
        return mixture is None or all(map(self.has_ended, mixture.trials))

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
            The rows to run, and those that have ended: pruned before, outside of the space since
            it was edited, copies of another row's scores, or mixtures of a failed one.
        """
        rows: list[Row] = []
        ended: list[RowRecord] = []
        for number, left in sorted(self._open.items()):
            started = left.attempts[-1].started if left.attempts else 0.0
            self._close(number, "left", at=max(started, self._left_at or 0.0))
            if left.outside or any(rung.stop for rung in left.rungs):  # a decision is final
                ended.append(self._end(number, TrialState.PRUNED))
            else:
                trial_id = self._trial_ids[number]  # without an attempt it is half-drawn
                begun = self._again(number) if left.attempt else self._begin(number, trial_id)
                (rows if isinstance(begun, Row) else ended).append(begun)  # type: ignore[arg-type]
        return rows, ended

    def ask(self, first: int | None = None) -> Row | RowRecord | None:
        """The next row, sampled and started: a waiting row if there is one, else a new one.

        Args:
            first: of the waiting rows, the one that is preferred, if it still waits.

        Returns:
            A row to run, or one that has ended as a copy of another's scores or as the mixture of
            a failed one; None if N exist, or those that wait are mixtures of rows that run.
        """
        if not self.has_more():
            return None
        number = (
            first if self.is_waiting(first) else next(filter(self._is_ready, self._waiting), None)
        )
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
        self._report(row.number, place)
        self._close(row.number, end, reason)
        self._open[row.number] = replace(self._open[row.number], failures=failures, lost=lost)
        again = self._again(row.number)
        assert isinstance(again, Row)
        return again

    def _begin(self, number: int, trial_id: int | None) -> Row | RowRecord:
        """Sample a row and write it, unless it exists; it runs or copies another's scores."""
        ledger = self.ledger
        row, draws = self._new_row(number)
        twin = row.copy_of
        attributes, values = stored_row(row), list[float]()
        if twin is not None:
            kept = ledger.store.read(
                lambda c: tables.read_attributes(c, ledger.study_id, None, [twin])[twin]
            )
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
                new = Stored(0, number, TrialState.RUNNING, row.started, None, [], attributes)
                written = tables.insert_row(connection, ledger.study_id, new, draws)
            else:  # it was written before an outage, or another process has enqueued a row
                there_is = tables.read_attributes(connection, ledger.study_id, ROW, [number])
                if there_is.get(number) != stored_row(row):
                    return None
                written = tables.find_row(connection, ledger.study_id, number)
            if twin is not None:
                tables.end_row(connection, written, TrialState.COMPLETE, values)
            tables.set_study_attributes(connection, ledger.study_id, of_sampler, True)
            return written

        written = ledger.store.write(write)
        if written is None:  # another process took this number: read again, take the next row
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
        return self._run(row)

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
        return replace(row, **vars(planned)), Draws()

    def _again(self, number: int) -> Row | RowRecord:
        left = self._open[number]
        attempts = (*left.attempts, Attempt(left.attempt + 1, time.time()))
        row = self._open[number] = replace(left, attempt=left.attempt + 1, attempts=attempts)
        self._write(number, stored_row(row))
        return self._run(row)

    def _run(self, row: RowRecord) -> Row | RowRecord:
        """What a worker gets of a running row; a mixture of a row that failed fails as that."""
        ingredients = list[Scores]()
        if row.mixture is not None:
            rows = self.ledger.read().rows
            for one in (rows[number] for number in row.mixture.trials):
                if one.failure is not None:
                    why = f"it averages {one.cell}, which failed with this seed"
                    return self.fail(
                        row.number, Failure(one.failure.kind, f"{why}: {one.failure.reason}")
                    )
                assert isinstance(one.scores, Scores)
                ingredients.append(one.scores)
        of_row = {
            one.name: getattr(row, one.name) for one in fields(Row) if one.name != "ingredients"
        }
        return Row(**of_row, ingredients=tuple(ingredients))

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
        outdated = self._report(number, place, entry, rung, checkpoint)
        self._write(number)
        return outdated

    def leave(self, number: int, *, waited: bool = False) -> None:
        """Leave the row in state running when the driver stops; the next driver continues it.

        Args:
            waited: no worker has taken it in this attempt, which took no time.
        """
        self._close(number, "left", at=self._open[number].attempts[-1].started if waited else None)
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
        self._report(number, place, entry)
        values = [judged[objective.metric] for objective in study.objectives]
        return self._end(number, TrialState.COMPLETE, values, attributes)

    def prune(
        self,
        number: int,
        entry: Mapping[str, Any],
        rung: Rung,
        place: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row that a pruner has stopped: entry, decision and state in one transaction."""
        self._report(number, place, entry, rung)
        return self._end(number, TrialState.PRUNED)

    def fail(
        self,
        number: int,
        failure: Failure,
        entry: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> RowRecord:
        """End a row without scores, with its reason."""
        self._report(number, place, entry)
        return self._end(number, TrialState.FAIL, (), {FAILURE: asdict(failure)}, failure.reason)

    def rungs(self) -> list[tuple[int, Rung]]:
        """All decisions of the study's pruner with their rows, in order."""
        return sorted(self._rungs, key=lambda decision: decision[1].sequence)

    # -- within ----------------------------------------------------------------------------

    def _report(
        self,
        number: int,
        place: Mapping[str, Any] | None,
        entry: Mapping[str, Any] | None = None,
        rung: Rung | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> tuple[Checkpoint, ...]:
        """Take over where a row runs, its epoch, its scores at a rung and its checkpoint, before it
        is written.

        Returns:
            Checkpoints that are needed no more.
        """
        row, outdated = self._open[number], tuple[Checkpoint, ...]()
        attempt = row.attempts[-1]
        if place:
            known = {key: place[key] for key in _PLACE if key in place}
            # A row that was sampled ahead has waited for a worker; clocks of hosts may differ.
            asked = attempt.started
            known["started"] = min(max(asked, place.get("started", asked)), time.time())
            attempt = replace(attempt, **known, gpus=tuple(place.get("gpus", ())))
        if entry is not None:  # it replaces the same and later epochs
            epoch = entry["epoch"]
            attempt = replace(attempt, epochs=epoch, seconds=0.0)
            curve = (*(point for point in row.curve if point["epoch"] < epoch), entry)
            row = replace(row, curve=curve)
        if rung is not None:
            others = (other for other in row.rungs if other.epoch != rung.epoch)
            rungs = sorted((*others, rung), key=lambda decision: decision.epoch)
            row = replace(row, rungs=tuple(rungs))
            self._mirror.reach(number, rung)
        if checkpoint is not None:
            attempt = replace(attempt, epochs=checkpoint.epoch, seconds=checkpoint.seconds)
            kept, outdated = with_checkpoint(row.checkpoints, checkpoint)
            row = replace(row, checkpoints=kept)
        self._open[number] = replace(row, attempts=(*row.attempts[:-1], attempt))
        return outdated

    def _end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] = (),
        attributes: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> RowRecord:
        self._close(number, state.name.lower(), reason)
        row, trial_id = self._open[number], self._trial_ids[number]
        written = {**stored_curve(row), **(attributes or {})}

        def write(connection: Connection) -> None:
            tables.set_attributes(connection, trial_id, written)
            tables.end_row(connection, trial_id, state, values)

        self.ledger.store.write(write)
        del self._open[number]
        if number in self._planned:
            written[CELL] = self._planned[number].to_json()
        finished = datetime.fromtimestamp(row.attempts[-1].ended or 0.0, UTC)
        written |= stored_row(row)
        ended = row_record(
            Stored(trial_id, number, state, row.started, finished, list(values), written)
        )
        self._mirror.end(number, state, [*values, *self._excess(ended.scores)])
        self._twins.end(number, state)
        return ended

    def _close(self, number: int, end: str, reason: str = "", at: float | None = None) -> None:
        """Note how the current attempt has ended, unless it is known."""
        row = self._open[number]
        if row.attempts and row.attempts[-1].ended is None:
            last = replace(row.attempts[-1], ended=at or time.time(), end=end, reason=reason)
            self._open[number] = replace(row, attempts=(*row.attempts[:-1], last))

    def _write(self, number: int, attributes: Mapping[str, Any] | None = None) -> None:
        trial_id, written = self._trial_ids[number], stored_curve(self._open[number])
        written |= attributes or {}
        self.ledger.store.write(lambda c: tables.set_attributes(c, trial_id, written))


_PLACE = (
    *("host", "pid", "first_epoch", "first_step", "first_seconds"),
    *("peak_memory_bytes", "peak_gpu_bytes"),
)
