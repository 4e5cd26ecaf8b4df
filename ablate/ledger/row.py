"""A row of the ledger: an Optuna trial with a few attributes, and equal points among the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState
from pydantic import TypeAdapter

from ablate.errors import ParameterError
from ablate.files.durable import Checkpoint
from ablate.finetune.reads import as_text, trained_identity, with_params
from ablate.ledger.record import TERMINAL, RowRecord, State
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored
from ablate.model import taps_of
from ablate.space.domain import same
from ablate.space.space import Space
from ablate.space.start import point_of
from ablate.study.interpolation import FINETUNED_BITS, Curve, bits_name
from ablate.study.keys import OPEN, plain_values
from ablate.study.scores import AnyScores, Scores, scores_from_json
from ablate.study.seeds import Params
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

WEIGHTS = "ablate:weights"
"""sha256 of the file of the finetuned weights, as it was written."""

KEPT_CHECKPOINTS = 2
"""Number of checkpoints kept: the newest, and one to fall back to."""


_ROW_FIELDS = ("attempt", "failures", "lost", "params", "seeds", "enqueued", "copy_of", "outside")
_CURVE_FIELDS = ("checkpoints", "rungs", "attempts")
_RECORDS = TypeAdapter(RowRecord)


def row_record(stored: Stored) -> RowRecord:
    """A row as it is in the database.

    Raises:
        pydantic.ValidationError: if something has another type than `RowRecord` has.
    """
    given = stored.attributes
    row, curve, cell = (given.get(key, {}) for key in (ROW, CURVE, CELL))
    fields: dict[str, Any] = {
        "params": cell.get("params", given.get(ENQUEUED, {})),
        "enqueued": ENQUEUED in given,
        **{name: cell[name] for name in ("cell", "pair", "mixture") if name in cell},
    }
    if row and stored.started is not None:  # all that is known before its first report
        fields["attempts"] = [{"attempt": row["attempt"], "started": stored.started.timestamp()}]
    if stored.state == TrialState.COMPLETE:
        fields |= {"values": stored.values, "test_scores": given.get(TEST), "path": given.get(PATH)}
        fields["weights_sha256"] = given.get(WEIGHTS, "")
        if SCORES in given:
            fields["scores"] = scores_from_json(given[SCORES])
    elif stored.state == TrialState.FAIL:
        fields["failure"] = given.get(FAILURE)
    state = STATES[stored.state]
    if row.get("outside") and state in TERMINAL:
        state = "OUTSIDE"
    # What is stored of the attempt replaces what was planned; the curve knows all attempts.
    return _RECORDS.validate_python(
        {
            "number": stored.number,
            "state": state,
            "attempt": 0,
            "started": stored.started,
            "finished": stored.finished,
            **fields,
            **row,
            **curve,
        }
    )


def stored_row(row: RowRecord) -> dict[str, Any]:
    """What is written of a row when an attempt starts, as `row_record` reads it."""
    return {ROW: _stored(row, _ROW_FIELDS)}


def stored_curve(row: RowRecord) -> dict[str, Any]:
    """What is written of a row after an epoch, as `row_record` reads it."""
    lists = {name: [] for name in _CURVE_FIELDS} | _stored(row, _CURVE_FIELDS)
    return {CURVE: {**lists, "curve": list(row.curve)}}  # pydantic would write null for NaN


def _stored(row: RowRecord, fields: Sequence[str]) -> dict[str, Any]:
    data: dict[str, Any] = _RECORDS.dump_python(
        row, mode="json", include=set(fields), exclude_defaults=True
    )
    return data


def with_checkpoint(
    kept: Sequence[Checkpoint], checkpoint: Checkpoint
) -> tuple[tuple[Checkpoint, ...], tuple[Checkpoint, ...]]:
    """The checkpoints of a row with one more, and those that are no longer needed.

    Existing ones at the same or a later step could not be used, or the attempt continued from them.
    """
    older = (old for old in kept if old.place < checkpoint.place)
    newest = (*older, checkpoint)[-KEPT_CHECKPOINTS:]
    return newest, tuple(old for old in kept if old not in newest)


def ended_as(
    study: Study, scores: AnyScores, kept: Mapping[str, Any]
) -> tuple[AnyScores, dict[str, Any]]:
    """The scores of a row that has ended, and the attributes that it gets.

    Args:
        scores: of its finetuned network.
        kept: `outcomes`: bits by split; `test`: scores on the test images; `weights`: sha256 of
            their file; `curve`: a row of a
            search gets the scores and bits of the network that is chosen from it, and keeps the
            bits of the finetuned one.
    """
    attributes = {
        key: kept[name]
        for key, name in ((OUTCOMES, "outcomes"), (TEST, "test"), (WEIGHTS, "weights"))
        if kept.get(name) is not None
    }
    if kept.get("curve") is not None and isinstance(scores, Scores):
        margin, constraints = study.answer.clean_margin, study.constraints
        path = Curve.from_json(kept["curve"]).chosen(scores, margin, constraints)
        if study.ablation is not None:
            path = replace(path, alpha=1.0, note="")
        else:
            path = replace(path, corrupted="")
            bits = kept["outcomes"]
            attributes[OUTCOMES] = {"val": bits[bits_name(path.alpha)]}
            if path.alpha < 1:
                attributes[OUTCOMES][FINETUNED_BITS] = bits["val"]
        scores = path.scores(scores, path.alpha)
        attributes[PATH] = path.to_json()
    return scores, attributes | {SCORES: scores.to_json()}


# -- Rows in another space than they were sampled from -------------------------------------


class Moved:
    """The points of a study's rows in the space of another study, mostly the same one since.

    Args:
        before: of the rows; now: with this space.
        keys: of which `before` has values of its own; of all others it has those of `now`.
    """

    def __init__(self, before: Study, now: Study, space: Space, keys: Collection[str]) -> None:
        self.space = space
        self._keys = {*keys, *({key.rpartition(".")[0] for key in keys} & {*OPEN})}
        self._now, own = _rounded(plain_values(now)), _rounded(plain_values(before))
        self._before = {**self._now, **{key: own[key] for key in self._keys if key in own}}
        self._texts_of = (None, None) if now.trainable else (self._now, self._before)

    def point(self, params: Mapping[str, Any]) -> Params | None:
        """Where a row lies; None: outside, or it reads another value of what is fixed now."""
        point = point_of(self.space, with_params(self._before, params))
        now, before = self._texts_of
        is_same = point and _text_of(now, point.values) == _text_of(before, params)
        return point if is_same else None

    def given(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The parameters of a row that waits, and their raw draws: others are to be sampled."""
        kept = {key: value for key, value in params.items() if key in self.space.keys}
        if any(not same(params[key], self._now.get(key)) for key in params.keys() - kept):
            return None
        try:
            return kept, self.space.encode_partial(kept)
        except ParameterError:
            return None

    def outside(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a row, and what was fixed otherwise."""
        fixed = {key: self._before[key] for key in self._keys & self._before.keys()}
        return {k: value for k, value in fixed.items() if value != self._now[k]} | {**params}


def moved_known(moved: Moved, rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Of rows of another study (`params`) those that lie in a space, with their `raw` draws."""
    found = ((row, moved.point(row["params"])) for row in rows)
    return tuple({**row, "params": at.values, "raw": at.raw} for row, at in found if at)


def moved_row(moved: Moved, stored: Stored) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The raw draws of a row in an edited space, None if it lies outside, and the attributes that
    it gets.  One that was ended by lying outside was not run to its end, and stays outside."""
    given, row = stored.attributes, stored.attributes.get(ROW, {"attempt": 0})
    params = row.get("params", given.get(ENQUEUED, {}))
    rungs = given.get(CURVE, {}).get("rungs", ())
    was_stopped = stored.state != TrialState.PRUNED or any(rung["stop"] for rung in rungs)
    if not row.get("outside") or was_stopped:
        if row["attempt"] or row.get("copy_of") is not None:
            if point := moved.point(params):
                return dict(point.raw), {ROW: row | {"params": point.values, "outside": False}}
        elif found := moved.given(params):
            return found[1], {ENQUEUED: found[0]} if ENQUEUED in given else {}
    return None, {ROW: row | {"params": moved.outside(params), "outside": True}}


# -- Rows of a search that are the same point: their trials would read the same values -----
#
# A trial is a function of what it reads, so a point that was run is not run again.


_ALIKE_DIGITS = 14
"""Of numbers that are taken for equal: a step's draw is 0.30000000000000004, what is typed 0.3."""


class Twins:
    """The points that were started, and those that have scores.

    Args:
        study: with a trainable, every parameter is read.
    """

    def __init__(self, study: Study) -> None:
        self._fixed = None if study.trainable is not None else _rounded(plain_values(study))
        self._points: dict[int, bytes] = {}
        self._begun: set[bytes] = set()
        self._complete: dict[bytes, int] = {}

    def add(self, number: int, params: Mapping[str, Any], state: TrialState) -> None:
        """Add a started row."""
        self._points[number] = self._point(params)
        self._begun.add(self._points[number])
        self.end(number, state)

    def end(self, number: int, state: TrialState) -> None:
        """Note the state of an added row."""
        if state == TrialState.COMPLETE and number in self._points:
            self._complete.setdefault(self._points[number], number)

    def is_begun(self, params: Mapping[str, Any]) -> bool:
        """Whether there is a row with this point, running or ended."""
        return self._point(params) in self._begun

    def complete(self, params: Mapping[str, Any]) -> int | None:
        """The first complete row with this point, if any."""
        return self._complete.get(self._point(params))

    def _point(self, params: Mapping[str, Any]) -> bytes:
        text = _text_of(self._fixed, params)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _text_of(fixed: Mapping[str, Any] | None, params: Mapping[str, Any]) -> str:
    """What a trial reads beside fixed values; None: of a trainable, which reads its parameters."""
    if fixed is None:
        return as_text(_rounded(params))
    values = with_params(fixed, _rounded(params))
    return trained_identity(values, taps_of(values["model.name"]) or ())


def _rounded(value: Any) -> Any:
    """Plain data with the digits of its floats that are compared."""
    if isinstance(value, float):
        return float(f"{value:.{_ALIKE_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
