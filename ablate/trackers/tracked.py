"""What every tracker is told of a study and of an ended row: a function of the ledger alone.

So a row that is written again is written the same, and its times are those of the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ablate.analysis.accounting import attempt_end
from ablate.analysis.columns import PARAM, RUNG, flat_rows
from ablate.ledger.record import TERMINAL, Head, RowRecord, State, StudyRecord

_NO_FACTS = ("number", "started", "finished", "enqueued")
Values = Mapping[str, str | float | bool]


@dataclass(frozen=True)
class TrackedStudy:
    """A study, the parent of its rows.

    Attributes:
        key: its name among all studies; identity: its random end, which is unique.
        text: of the study file, without secrets.
        started: seconds since 1970; ended: of the last drive; None: not all rows have ended.
        params: of all rows, each with one of its values.
        references: scores of the baseline and the plain finetune, as `baseline.NAME`.
        facts: question, fingerprint and counts.
    """

    identity: str
    name: str
    key: str
    text: str
    objectives: tuple[str, ...]
    params: Values
    started: float
    ended: float | None
    references: Mapping[str, float]
    facts: Values


@dataclass(frozen=True)
class Epoch:
    """Numbers by name after one epoch of a row, at a time in seconds since 1970."""

    epoch: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRow:
    """An ended row.

    Attributes:
        params: resolved, by dotted key; a subset is joined by +, a mix has one for each part.
        epochs: each once, in order; the last one of a complete row has its final scores too.  A
            copy of another row's scores has one epoch, 0.
        facts: state, seeds, fingerprint, attempts, failure, cost, hosts.
        started, ended: seconds since 1970.
    """

    number: int
    name: str
    state: State
    params: Values
    epochs: tuple[Epoch, ...]
    facts: Values
    started: float
    ended: float


def tracked_study(record: StudyRecord, head: Head) -> TrackedStudy:
    """A study as trackers are told of it; `head` is of its ledger."""
    drives = record.drives
    return TrackedStudy(
        identity=head.identity,
        name=record.name,
        key=f"{record.name}-{head.identity}",
        text=head.text,
        objectives=tuple(objective.metric for objective in record.study.objectives),
        params={key: value for flat in flat_rows(record) for key, value in _params(flat).items()},
        started=drives[0].started if drives else 0.0,
        ended=(drives[-1].ended or drives[-1].started) if record.is_over and drives else None,
        references={
            f"{name}.{metric}": value
            for name, scores in record.references.items()
            for metric, value in _finite(scores.metrics()).items()
        },
        facts={
            "question": record.study.question,
            "fingerprint": record.fingerprint,
            "trials": record.trials,
            **{state.lower(): record.count(state) for state in TERMINAL},
        },
    )


def tracked_row(record: StudyRecord, row: RowRecord) -> TrackedRow:
    """An ended row as trackers are told of it; of `record` the other rows are not read."""
    (flat,) = flat_rows(replace(record, rows=(row,)))
    scores = {} if row.scores is None else row.scores.metrics()
    facts = {
        key: value
        for key, value in flat.items()
        if not key.startswith((PARAM, RUNG)) and key not in _NO_FACTS and key not in scores
    }
    if row.seeds is not None:
        facts |= {f"{name}_seed": seed for name, seed in row.seeds.to_json().items()}
    if row.attempts:
        started, ended = row.attempts[0].started, attempt_end(row, row.attempts[-1])
    else:
        started = ended = flat["started"].timestamp() if "started" in flat else 0.0
    return TrackedRow(
        number=row.number,
        name=f"trial {row.number}" + ("" if row.cell is None else f": {row.cell}, {row.pair}"),
        state=row.state,
        params=_params(flat),
        epochs=tuple(_epochs(row, _finite(scores), started, ended)),
        facts={**facts, "fingerprint": record.fingerprint},
        started=started,
        ended=ended,
    )


def _params(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(PARAM): flat[key] for key in flat if key.startswith(PARAM)}


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _epochs(
    row: RowRecord, scores: Mapping[str, float], started: float, ended: float
) -> Iterator[Epoch]:
    """Each epoch at the time at which it would have ended, had nothing interrupted the row."""
    rungs = {rung.epoch: rung.scores for rung in row.rungs}
    time = started
    for entry in row.curve:
        epoch, time = int(entry["epoch"]), min(time + entry.get("seconds", 0.0), ended)
        of_rung = {f"rung.{name}": value for name, value in rungs.get(epoch, {}).items()}
        final = scores if entry is row.curve[-1] else {}
        yield Epoch(epoch, time, {**_numbers(entry), **of_rung, **final})
    if scores and not row.curve:
        yield Epoch(0, ended, scores)


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an entry of a curve; those of a custom loop's report under their own names."""
    flat = {**entry, **entry.get("scores", {})}
    return {
        name: float(value)
        for name, value in flat.items()
        if isinstance(value, int | float) and name not in ("epoch", "epochs")
    }
