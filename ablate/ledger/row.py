"""A row of the ledger: an Optuna trial and a few attributes of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optuna.trial import TrialState

from ablate.files.durable import Checkpoint
from ablate.ledger.record import Attempt, Failure, Row, RowRecord, Rung, State
from ablate.ledger.tables import ENQUEUED, Stored
from ablate.study.scores import Scores, scores_from_json
from ablate.study.seeds import Seeds

STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "WAITING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAIL",
}

ROW, CURVE, SCORES, FAILURE = "ablate:row", "ablate:curve", "ablate:scores", "ablate:failure"
CELL = "ablate:cell"
"""Of a row of an ablation: all that it is run with."""
TEST = "ablate:test"
"""Scores on the test images, of a confirmation."""

KEPT_CHECKPOINTS = 2
"""The newest, and one to fall back to."""


@dataclass
class OpenRow:
    """A running row as its driver has it: what is written is made from this alone.

    Attributes:
        curve: one entry an epoch.
        attempts: every one; the last is under way.
    """

    trial_id: int
    row: Row
    curve: list[Mapping[str, Any]] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    enqueued: bool = False

    @classmethod
    def of(cls, stored: Stored) -> OpenRow:
        """A row that another driver left, before it is begun again."""
        data = stored.attributes.get(ROW, {})
        curve = stored.attributes.get(CURVE, {})
        row = Row(
            number=stored.number,
            attempt=data.get("attempt", 0),
            params=data.get("params", {}),
            seeds=Seeds.from_json(data["seeds"]) if data else Seeds(0, 0, 0),
            checkpoints=_checkpoints(curve),
            failures=data.get("failures", 0),
            lost=data.get("lost", 0),
        )
        return cls(
            stored.trial_id,
            row,
            list(curve.get("curve", [])),
            _rungs(curve),
            _attempts(stored),
            bool(data.get("enqueued", False)),
        )

    @property
    def is_stopped(self) -> bool:
        """Whether a pruner's recorded decision has stopped it."""
        return any(rung.stop for rung in self.rungs)

    def add_epoch(self, entry: Mapping[str, Any], rung: Rung | None) -> None:
        """Take up an epoch; what was there of it and after it is replaced."""
        epoch = entry["epoch"]
        self.curve = [point for point in self.curve if point["epoch"] < epoch]
        self.curve.append(entry)
        self.update_attempt(epochs=epoch, seconds=0.0)
        if rung is not None:
            others = [one for one in self.rungs if one.epoch != rung.epoch]
            self.rungs = sorted([*others, rung], key=lambda one: one.epoch)

    def add_checkpoint(self, checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
        """Take up a checkpoint, after an epoch or amid one; the last two are kept.

        Returns:
            Checkpoints that are needed no more.
        """
        self.update_attempt(epochs=checkpoint.epoch, seconds=checkpoint.seconds)
        row, outdated = with_checkpoint(self.row, checkpoint)
        self.row = row
        return outdated

    def update_attempt(self, **fields: Any) -> None:
        """Say more of the attempt under way."""
        self.attempts[-1] = replace(self.attempts[-1], **fields)

    def row_attribute(self) -> dict[str, Any]:
        row = self.row
        data = {
            "attempt": row.attempt,
            "failures": row.failures,
            "lost": row.lost,
            "params": dict(row.params),
            "seeds": row.seeds.to_json(),
        }
        return data | ({"enqueued": True} if self.enqueued else {})

    def curve_attribute(self) -> dict[str, Any]:
        return {
            "curve": self.curve,
            "checkpoints": [asdict(kept) for kept in self.row.checkpoints],
            "rungs": [asdict(rung) for rung in self.rungs],
            "attempts": [_without_defaults(attempt) for attempt in self.attempts],
        }


def with_checkpoint(row: Row, checkpoint: Checkpoint) -> tuple[Row, tuple[Checkpoint, ...]]:
    """A row with one more checkpoint, and those that are needed no more.

    One that is as far or farther could not be used, or the attempt had gone on from it.
    """
    older = tuple(one for one in row.checkpoints if one.place < checkpoint.place)
    kept = (*older, checkpoint)[-KEPT_CHECKPOINTS:]
    outdated = tuple(one for one in row.checkpoints if one not in kept)
    return replace(row, checkpoints=kept), outdated


def row_record(stored: Stored) -> RowRecord:
    """A row of the database as a row of the ledger."""
    row, curve = stored.attributes.get(ROW, {}), stored.attributes.get(CURVE, {})
    scores, failure = stored.attributes.get(SCORES), stored.attributes.get(FAILURE)
    cell, test = stored.attributes.get(CELL, {}), stored.attributes.get(TEST)
    complete = stored.state == TrialState.COMPLETE
    return RowRecord(
        number=stored.number,
        state=STATES[stored.state],
        attempt=row.get("attempt", 0),
        params=row.get("params") or cell.get("params") or stored.attributes.get(ENQUEUED, {}),
        values=tuple(stored.values) if complete else None,
        scores=scores_from_json(scores) if complete and scores else None,
        failure=Failure(**failure) if stored.state == TrialState.FAIL and failure else None,
        seeds=Seeds.from_json(row["seeds"]) if "seeds" in row else None,
        curve=tuple(curve.get("curve", [])),
        checkpoints=_checkpoints(curve),
        attempts=tuple(_attempts(stored)),
        rungs=tuple(_rungs(curve)),
        enqueued=bool(row.get("enqueued", False)) or ENQUEUED in stored.attributes,
        copy_of=row.get("copy_of"),
        cell=cell.get("cell"),
        pair=cell.get("pair"),
        test_scores=Scores.from_json(test) if complete and test else None,
        started=stored.started,
        finished=stored.finished,
    )


def _checkpoints(curve: Mapping[str, Any]) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(**data) for data in curve.get("checkpoints", []))


def _rungs(curve: Mapping[str, Any]) -> list[Rung]:
    return [Rung(**data) for data in curve.get("rungs", [])]


def _attempts(stored: Stored) -> list[Attempt]:
    """The attempts of a row; of one without a word yet only its beginning is known."""
    kept = stored.attributes.get(CURVE, {}).get("attempts")
    if kept is not None:
        return [Attempt(**{**data, "gpus": tuple(data.get("gpus", ()))}) for data in kept]
    if ROW not in stored.attributes or stored.started is None:
        return []
    return [Attempt(stored.attributes[ROW]["attempt"], stored.started.timestamp())]


def _without_defaults(attempt: Attempt) -> dict[str, Any]:
    plain = asdict(Attempt(0, 0.0))
    return {
        key: value
        for key, value in asdict(attempt).items()
        if key in ("attempt", "started") or value != plain[key]
    }
