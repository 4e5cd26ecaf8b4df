"""A row of the ledger: an Optuna trial with a few attributes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from optuna.trial import TrialState

from ablate.files.durable import Checkpoint
from ablate.finetune.reads import as_text, trained_identity, with_params
from ablate.ledger.record import Attempt, Failure, Planned, Row, RowRecord, Rung, Soup, State
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored, moment
from ablate.model import taps_of
from ablate.study.interpolation import FINETUNED_BITS, Curve, bits_name
from ablate.study.keys import plain_values
from ablate.study.scores import COSTS, AnyScores, Scores, scores_from_json
from ablate.study.seeds import Seeds
from ablate.study.settings import Study

STATES: Mapping[TrialState, State] = {
    TrialState.WAITING: "WAITING",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAIL",
}

ROW, CURVE, SCORES, FAILURE = "ablate:row", "ablate:curve", "ablate:scores", "ablate:failure"
CELL = "ablate:cell"
"""For a row of an ablation: everything that it is run with."""
TEST = "ablate:test"
"""Scores on the test images, for a confirmation."""

PATH = "ablate:path"
"""The networks between baseline and finetuned weights (`ablate.study.interpolation.Curve`)."""

KEPT_CHECKPOINTS = 2
"""Number of checkpoints kept: the newest, and one to fall back to."""


@dataclass
class OpenRow:
    """A running row in its driver's memory; all writes are made from it.

    Attributes:
        curve: one entry per epoch.
        attempts: all; the last is running.
    """

    trial_id: int
    row: Row
    curve: list[Mapping[str, Any]] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    enqueued: bool = False

    @classmethod
    def of(cls, stored: Stored) -> OpenRow:
        """A row that another driver left, before its next attempt."""
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
            soup=Soup.from_json(data["soup"]) if "soup" in data else None,
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
        """Whether a recorded decision of a pruner has stopped it."""
        return any(rung.stop for rung in self.rungs)

    @property
    def started(self) -> float:
        """Of the current attempt, in seconds since 1970; 0 before the first."""
        return self.attempts[-1].started if self.attempts else 0.0

    def add_epoch(self, entry: Mapping[str, Any], rung: Rung | None) -> None:
        """Add an epoch; it replaces the same and later epochs."""
        epoch = entry["epoch"]
        self.curve = [point for point in self.curve if point["epoch"] < epoch]
        self.curve.append(entry)
        self.update_attempt(epochs=epoch, seconds=0.0)
        if rung is not None:
            others = [one for one in self.rungs if one.epoch != rung.epoch]
            self.rungs = sorted([*others, rung], key=lambda one: one.epoch)

    def add_checkpoint(self, checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
        """Add a checkpoint, after or within an epoch; the last two are kept.

        Returns:
            Checkpoints that are no longer needed.
        """
        self.update_attempt(epochs=checkpoint.epoch, seconds=checkpoint.seconds)
        row, outdated = with_checkpoint(self.row, checkpoint)
        self.row = row
        return outdated

    def update_attempt(self, **fields: Any) -> None:
        """Update the current attempt."""
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
        data |= {} if row.soup is None else {"soup": row.soup.to_json()}
        return data | ({"enqueued": True} if self.enqueued else {})

    def place(self, place: Mapping[str, Any] | None) -> None:
        """Where the current attempt runs, from a report of its worker."""
        if not place:
            return
        said = {key: place[key] for key in _PLACE if key in place}
        # A row that was sampled ahead has waited for a worker; clocks of hosts may differ.
        asked = self.started
        said["started"] = min(max(asked, place.get("started", asked)), time.time())
        self.update_attempt(**said, gpus=tuple(place.get("gpus", ())))

    def record(
        self,
        state: TrialState,
        values: Sequence[float] = (),
        attributes: Mapping[str, Any] | None = None,
        planned: Planned | None = None,
    ) -> RowRecord:
        """The row as it was written.

        Args:
            attributes: written when it ended.
        """
        assert self.row.number is not None
        ended = self.attempts[-1].ended
        written = {ROW: self.row_attribute(), CURVE: self.curve_attribute(), **(attributes or {})}
        if planned is not None:
            written[CELL] = planned.to_json()
        started = moment(self.attempts[0].started)
        finished = None if ended is None else moment(ended)
        stored = Stored(
            self.trial_id, self.row.number, state, started, finished, list(values), written
        )
        return row_record(stored)

    def curve_attribute(self) -> dict[str, Any]:
        return {
            "curve": self.curve,
            "checkpoints": [asdict(kept) for kept in self.row.checkpoints],
            "rungs": [rung.to_json() for rung in self.rungs],
            "attempts": [_without_defaults(attempt) for attempt in self.attempts],
        }


_PLACE = (
    *("host", "pid", "first_epoch", "first_step", "first_seconds"),
    *("peak_memory_bytes", "peak_gpu_bytes"),
)


def soup_of(members: Sequence[RowRecord]) -> Soup:
    """What a row averages, once these rows have ended."""
    scored = [row.scores for row in members if isinstance(row.scores, Scores)]
    missing = [
        f"trial {row.number} ({row.state}{'' if row.failure is None else f', {row.failure.kind}'})"
        for row in members
        if not isinstance(row.scores, Scores)
    ]
    costs = {name: sum(getattr(one, name) for one in scored) for name in ("epochs", *COSTS)}
    return Soup(tuple(row.number for row in members), costs, ", ".join(missing))


def with_checkpoint(row: Row, checkpoint: Checkpoint) -> tuple[Row, tuple[Checkpoint, ...]]:
    """The checkpoints of a row with one more, and those that are no longer needed.

    Existing ones at the same or a later step could not be used, or the attempt continued from them.
    """
    older = tuple(one for one in row.checkpoints if one.place < checkpoint.place)
    kept = (*older, checkpoint)[-KEPT_CHECKPOINTS:]
    outdated = tuple(one for one in row.checkpoints if one not in kept)
    return replace(row, checkpoints=kept), outdated


def row_record(stored: Stored) -> RowRecord:
    """Convert a row of the database to a row of the ledger."""
    row, curve = stored.attributes.get(ROW, {}), stored.attributes.get(CURVE, {})
    scores, failure = stored.attributes.get(SCORES), stored.attributes.get(FAILURE)
    cell, test = stored.attributes.get(CELL, {}), stored.attributes.get(TEST)
    path = stored.attributes.get(PATH)
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
        members=tuple(cell.get("members", ())),
        test_scores=Scores.from_json(test) if complete and test else None,
        path=Curve.from_json(path) if complete and path else None,
        started=stored.started,
        finished=stored.finished,
    )


def ended_as(
    study: Study, scores: AnyScores, kept: Mapping[str, Any]
) -> tuple[AnyScores, dict[str, Any]]:
    """The scores of a row that has ended, and the attributes that it gets.

    Args:
        scores: of its finetuned network.
        kept: `outcomes` by split; `test`, the scores on the test images; `curve`, from which a
            search takes the network that stands for the row, and of the bits those of that one
            and of the finetuned one.
    """
    attributes = {
        key: kept[name]
        for key, name in ((OUTCOMES, "outcomes"), (TEST, "test"))
        if kept.get(name) is not None
    }
    if kept.get("curve") is not None and isinstance(scores, Scores):
        margin, constraints = study.answer.clean_margin, study.constraints
        path = Curve.from_json(kept["curve"]).chosen(scores, margin, constraints)
        if study.ablation is not None:
            path = replace(path, alpha=1.0, note="")
        else:
            path = replace(path, odd="")
            bits = kept["outcomes"]
            attributes[OUTCOMES] = {"val": bits[bits_name(path.alpha)]}
            if path.alpha < 1:
                attributes[OUTCOMES][FINETUNED_BITS] = bits["val"]
        scores = path.scores(scores, path.alpha)
        attributes[PATH] = path.to_json()
    return scores, attributes | {SCORES: scores.to_json()}


def _checkpoints(curve: Mapping[str, Any]) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(**data) for data in curve.get("checkpoints", []))


def _rungs(curve: Mapping[str, Any]) -> list[Rung]:
    return [Rung.from_json(data) for data in curve.get("rungs", [])]


def _attempts(stored: Stored) -> list[Attempt]:
    """The attempts of a row; for one without a report only the start is known."""
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


# -- Rows of a search that are the same point: their trials would read the same values -----
#
# A trial is a function of what it reads, so a point that was run is not run again.


Params = Mapping[str, Any]
"""Resolved, by dotted key."""


class Preview(NamedTuple):
    """What will happen to a row that was enqueued.

    Attributes:
        drawn: parameters that were left out; active ones will be sampled.
        copy_of: the complete row with the same point, whose scores it will copy; None: it will be
            run.
    """

    drawn: tuple[str, ...]
    copy_of: int | None = None


_ALIKE_DIGITS = 14
"""Of numbers that are taken for equal: a step's draw is 0.30000000000000004, what is typed 0.3."""


def _rounded(value: Any) -> Any:
    """Plain data with the digits of its floats that are compared."""
    if isinstance(value, float):
        return float(f"{value:.{_ALIKE_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


class Twins:
    """The points that were started, and those that have scores.

    Args:
        study: with a trainable, every parameter is read.
    """

    def __init__(self, study: Study) -> None:
        self._fixed = None if study.trainable is not None else plain_values(study)
        self._unread: list[tuple[int, Params, TrialState]] = []
        self._points: dict[int, bytes] = {}
        self._begun: set[bytes] = set()
        self._complete: dict[bytes, int] = {}

    def add(self, number: int, params: Params, state: TrialState) -> None:
        """Add a started row; what it reads is determined when first needed."""
        self._unread.append((number, params, state))

    def end(self, number: int, state: TrialState) -> None:
        """Note that an added row has ended."""
        self._read()
        if state == TrialState.COMPLETE and number in self._points:
            self._complete.setdefault(self._points[number], number)

    def is_begun(self, params: Params) -> bool:
        """Whether there is a row with this point, running or ended."""
        self._read()
        return self._point(params) in self._begun

    def complete(self, params: Params) -> int | None:
        """The first complete row with this point, if any."""
        self._read()
        return self._complete.get(self._point(params))

    def _read(self) -> None:
        for number, params, state in self._unread:
            point = self._points[number] = self._point(params)
            self._begun.add(point)
            if state == TrialState.COMPLETE:
                self._complete.setdefault(point, number)
        self._unread.clear()

    def _point(self, params: Params) -> bytes:
        params = _rounded(params)
        if self._fixed is None:
            text = as_text(params)
        else:
            values = with_params(self._fixed, params)
            text = trained_identity(values, taps_of(values["model.name"]) or ())
        return hashlib.blake2b(text.encode(), digest_size=16).digest()
