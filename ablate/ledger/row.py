"""A row of the ledger: an Optuna trial with a few attributes, and equal points among the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState
from pydantic import TypeAdapter

from ablate.files.durable import Checkpoint
from ablate.finetune.reads import as_text, trained_identity, with_params
from ablate.ledger.record import RowRecord, State
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored
from ablate.model import taps_of
from ablate.study.interpolation import FINETUNED_BITS, Curve, bits_name
from ablate.study.keys import plain_values
from ablate.study.scores import AnyScores, Scores, scores_from_json
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


_ROW_FIELDS = ("attempt", "failures", "lost", "params", "seeds", "enqueued", "copy_of")
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
        **{name: cell[name] for name in ("cell", "pair") if name in cell},
    }
    if row and stored.started is not None:  # all that is known before its first report
        fields["attempts"] = [{"attempt": row["attempt"], "started": stored.started.timestamp()}]
    if stored.state == TrialState.COMPLETE:
        fields |= {"values": stored.values, "test_scores": given.get(TEST), "path": given.get(PATH)}
        if SCORES in given:
            fields["scores"] = scores_from_json(given[SCORES])
    elif stored.state == TrialState.FAIL:
        fields["failure"] = given.get(FAILURE)
    # What is stored of the attempt replaces what was planned; the curve knows all attempts.
    return _RECORDS.validate_python(
        {
            "number": stored.number,
            "state": STATES[stored.state],
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
        kept: `outcomes`: bits by split; `test`: scores on the test images; `curve`: a row of a
            search gets the scores and bits of the network that is chosen from it, and keeps the
            bits of the finetuned one.
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
            path = replace(path, corrupted="")
            bits = kept["outcomes"]
            attributes[OUTCOMES] = {"val": bits[bits_name(path.alpha)]}
            if path.alpha < 1:
                attributes[OUTCOMES][FINETUNED_BITS] = bits["val"]
        scores = path.scores(scores, path.alpha)
        attributes[PATH] = path.to_json()
    return scores, attributes | {SCORES: scores.to_json()}


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
        self._fixed = None if study.trainable is not None else plain_values(study)
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
        params = _rounded(params)
        if self._fixed is None:
            text = as_text(params)
        else:
            values = with_params(self._fixed, params)
            text = trained_identity(values, taps_of(values["model.name"]) or ())
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _rounded(value: Any) -> Any:
    """Plain data with the digits of its floats that are compared."""
    if isinstance(value, float):
        return float(f"{value:.{_ALIKE_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
