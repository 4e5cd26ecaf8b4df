"""A row of the ledger: an Optuna trial with a few attributes, and equal points among the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import TrialState

from ablate.files.durable import Checkpoint
from ablate.finetune.reads import as_text, trained_identity, with_params
from ablate.ledger.record import Attempt, Failure, RowRecord, Rung, Soup, State
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored
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


def row_record(stored: Stored) -> RowRecord:
    """A row as it is in the database."""
    given = stored.attributes
    row, curve, cell = (given.get(key, {}) for key in (ROW, CURVE, CELL))
    scores, test, path, failure = (given.get(key) for key in (SCORES, TEST, PATH, FAILURE))
    is_complete = stored.state == TrialState.COMPLETE
    return RowRecord(
        number=stored.number,
        state=STATES[stored.state],
        attempt=row.get("attempt", 0),
        params=row.get("params") or cell.get("params") or given.get(ENQUEUED, {}),
        values=tuple(stored.values) if is_complete else None,
        scores=scores_from_json(scores) if is_complete and scores else None,
        failure=Failure(**failure) if stored.state == TrialState.FAIL and failure else None,
        seeds=Seeds.from_json(row["seeds"]) if row else None,
        curve=tuple(curve.get("curve", ())),
        checkpoints=tuple(Checkpoint(**data) for data in curve.get("checkpoints", ())),
        attempts=_attempts(stored),
        rungs=rungs_of(stored),
        enqueued=bool(row.get("enqueued", False)) or ENQUEUED in given,
        cell=cell.get("cell"),
        pair=cell.get("pair"),
        members=tuple(cell.get("members", ())),
        copy_of=row.get("copy_of"),
        failures=row.get("failures", 0),
        lost=row.get("lost", 0),
        soup=Soup.from_json(row["soup"]) if "soup" in row else None,
        test_scores=Scores.from_json(test) if is_complete and test else None,
        path=Curve.from_json(path) if is_complete and path else None,
        started=stored.started,
        finished=stored.finished,
    )


def rungs_of(stored: Stored) -> tuple[Rung, ...]:
    return tuple(Rung(**data) for data in stored.attributes.get(CURVE, {}).get("rungs", ()))


def _attempts(stored: Stored) -> tuple[Attempt, ...]:
    """The attempts of a row; before the first report only the start of the first is known."""
    kept = stored.attributes.get(CURVE, {}).get("attempts")
    if kept is not None:
        return tuple(Attempt(**{**data, "gpus": tuple(data.get("gpus", ()))}) for data in kept)
    if ROW not in stored.attributes or stored.started is None:
        return ()
    return (Attempt(stored.attributes[ROW]["attempt"], stored.started.timestamp()),)


def stored_row(row: RowRecord) -> dict[str, Any]:
    """What is written of a row when an attempt starts, as `row_record` reads it."""
    assert row.seeds is not None
    data = {
        "attempt": row.attempt,
        "failures": row.failures,
        "lost": row.lost,
        "params": dict(row.params),
        "seeds": row.seeds.to_json(),
    }
    data |= {} if row.soup is None else {"soup": row.soup.to_json()}
    data |= {"enqueued": True} if row.enqueued else {}
    return {ROW: data if row.copy_of is None else {**data, "copy_of": row.copy_of}}


def stored_curve(row: RowRecord) -> dict[str, Any]:
    """What is written of a row after an epoch, as `row_record` reads it."""
    return {
        CURVE: {
            "curve": list(row.curve),
            "checkpoints": [asdict(checkpoint) for checkpoint in row.checkpoints],
            "rungs": [rung.to_json() for rung in row.rungs],
            "attempts": [attempt.to_json() for attempt in row.attempts],
        }
    }


def with_checkpoint(
    kept: Sequence[Checkpoint], checkpoint: Checkpoint
) -> tuple[tuple[Checkpoint, ...], tuple[Checkpoint, ...]]:
    """The checkpoints of a row with one more, and those that are no longer needed.

    Existing ones at the same or a later step could not be used, or the attempt continued from them.
    """
    older = (old for old in kept if old.place < checkpoint.place)
    newest = (*older, checkpoint)[-KEPT_CHECKPOINTS:]
    return newest, tuple(old for old in kept if old not in newest)


def soup_of(members: Sequence[RowRecord]) -> Soup:
    """What a row averages, once these rows have ended."""
    scored = [row.scores for row in members if isinstance(row.scores, Scores)]
    missing = [
        f"trial {row.number} ({row.state}{'' if row.failure is None else f', {row.failure.kind}'})"
        for row in members
        if not isinstance(row.scores, Scores)
    ]
    costs = {name: sum(getattr(each, name) for each in scored) for name in ("epochs", *COSTS)}
    return Soup(tuple(row.number for row in members), costs, ", ".join(missing))


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
