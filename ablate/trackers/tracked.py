"""What every tracker is told of a study and of a row: a function of the ledger alone.

So a row that is written again is written the same, and its times are those of the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ablate.analysis.accounting import attempt_end
from ablate.analysis.columns import PARAM, RUNG, flat_param, flat_rows
from ablate.ledger.head import Head
from ablate.ledger.record import TERMINAL, RowRecord, State, StudyRecord

_NO_FACTS = ("number", "started", "finished", "enqueued")


@dataclass(frozen=True)
class TrackedStudy:
    """A study, the parent of its rows.

    Attributes:
        identity: random and unique.
        text: of the study file, without secrets.
        started: seconds since 1970; ended: of the last drive; None: not all rows have ended.
        params: kind of each parameter of its rows, by dotted key; text where it has several.
        references: scores of the baseline and the plain finetune, as `baseline.NAME`.
        facts: question, fingerprint and counts.
    """

    identity: str
    name: str
    text: str
    objectives: tuple[str, ...]
    params: Mapping[str, type]
    started: float
    ended: float | None
    references: Mapping[str, float]
    facts: Mapping[str, str | float]

    @property
    def key(self) -> str:
        """Its name among all studies."""
        return f"{self.name}-{self.identity}"


@dataclass(frozen=True)
class Epoch:
    """Numbers by name after one epoch of a row, at a time in seconds since 1970."""

    epoch: int
    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class TrackedRow:
    """A row.

    Attributes:
        params: resolved, by dotted key; a subset is joined by +, a mix has one for each part.
        epochs: each once, in order; the last one of a complete row has its final scores too.  A
            copy of another row's scores has one epoch, 0.
        scores: final, by name; those that are not known are left out.
        facts: state, seeds, fingerprint, attempts, failure, cost, hosts.
        started, ended: seconds since 1970; ended: None while it runs.
    """

    number: int
    name: str
    state: State
    params: Mapping[str, str | float | bool]
    epochs: tuple[Epoch, ...]
    scores: Mapping[str, float]
    facts: Mapping[str, str | float | bool]
    started: float
    ended: float | None

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL


def tracked_study(record: StudyRecord, head: Head) -> TrackedStudy:
    """A study as trackers are told of it.

    Args:
        head: of its ledger.
    """
    drives = record.drives
    references = {
        f"{name}.{metric}": value
        for name, scores in record.references.items()
        for metric, value in scores.metrics().items()
        if math.isfinite(value)
    }
    return TrackedStudy(
        identity=head.identity,
        name=record.name,
        text=head.text,
        objectives=tuple(one.metric for one in record.study.objectives),
        params=_kinds(record.rows),
        started=drives[0].started if drives else 0.0,
        ended=(drives[-1].ended or drives[-1].started) if record.is_over and drives else None,
        references=references,
        facts={
            "question": record.study.question,
            "fingerprint": record.fingerprint,
            "trials": record.trials,
            **{state.lower(): record.count(state) for state in TERMINAL},
        },
    )


def _kinds(rows: Iterable[RowRecord]) -> dict[str, type]:
    kinds: dict[str, type] = {}
    for row in rows:
        for key, written in row.params.items():
            for name, value in flat_param(key, written).items():
                kind = float if type(value) is int else type(value)
                kinds[name] = kind if kinds.get(name, kind) is kind else str
    return kinds


def tracked_row(record: StudyRecord, row: RowRecord) -> TrackedRow:
    """A row as trackers are told of it.

    Args:
        record: of its study; its rows are not read.
    """
    (flat,) = flat_rows(replace(record, rows=(row,)))
    scores = {} if row.scores is None else row.scores.metrics()
    params = {key.removeprefix(PARAM): value for key, value in flat.items() if _is_param(key)}
    facts = {
        key: value
        for key, value in flat.items()
        if not key.startswith((PARAM, RUNG)) and key not in _NO_FACTS and key not in scores
    }
    if row.seeds is not None:
        facts |= {f"{name}_seed": seed for name, seed in row.seeds.to_json().items()}
    known = {name: value for name, value in scores.items() if math.isfinite(value)}
    started = row.attempts[0].started if row.attempts else _seconds(flat.get("started"))
    ended = None
    if row.state in TERMINAL:
        ended = attempt_end(row, row.attempts[-1]) if row.attempts else started
    return TrackedRow(
        number=row.number,
        name=f"trial {row.number}" + ("" if row.cell is None else f": {row.cell}, {row.pair}"),
        state=row.state,
        params=params,
        epochs=tuple(_epochs(row, known, started, ended)),
        scores=known,
        facts={**facts, "fingerprint": record.fingerprint},
        started=started,
        ended=ended,
    )


def _is_param(column: str) -> bool:
    return column.startswith(PARAM)


def _seconds(moment: Any) -> float:
    return 0.0 if moment is None else float(moment.timestamp())


def _epochs(
    row: RowRecord, scores: Mapping[str, float], started: float, ended: float | None
) -> Iterator[Epoch]:
    rungs = {rung.epoch: rung.scores for rung in row.rungs}
    last = int(row.curve[-1]["epoch"]) if row.curve else 0
    latest = started
    for entry in row.curve:
        epoch = int(entry["epoch"])
        values = dict(_numbers(entry))
        values |= {f"rung.{name}": value for name, value in rungs.get(epoch, {}).items()}
        # Of clocks of several hosts one may be behind.
        latest = max(latest, _end_of_epoch(row, epoch, started))
        if ended is not None:
            latest = min(latest, max(ended, started))
        yield Epoch(epoch, latest, values | dict(scores if epoch == last else {}))
    if scores and not row.curve:
        yield Epoch(0, started if ended is None else ended, scores)


def _numbers(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of an entry of a curve; those of a custom loop's report under their own names."""
    for name, value in entry.items():
        if name == "scores":
            yield from _numbers(value)
        elif isinstance(value, int | float) and name not in ("epoch", "epochs"):
            yield name, float(value)


def _end_of_epoch(row: RowRecord, epoch: int, started: float) -> float:
    """When the attempt that the epoch is of had trained it, by the seconds of its epochs."""
    for attempt in reversed(row.attempts):
        if attempt.first_epoch < epoch <= attempt.epochs:
            seconds = sum(
                float(entry.get("seconds", 0.0))
                for entry in row.curve
                if attempt.first_epoch < int(entry["epoch"]) <= epoch
            )
            return attempt.started + seconds - attempt.first_seconds
    return started
