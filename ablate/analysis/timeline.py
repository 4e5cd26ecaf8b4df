"""When what was run where: every attempt of every trial, the drives, the pauses between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from ablate.analysis.accounting import attempt_end
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.ledger.record import Attempt, Drive, RowRecord, StudyRecord

if TYPE_CHECKING:
    import pandas as pd

ENDS = ("complete", "pruned", "fail", "raised", "lost", "left", "running")
"""How an attempt ended; "left": its driver ended; "running": it is under way."""
MOST_WORKERS = 32
"""Rows of one process each; where there were more, a row is a place on a host."""


@dataclass(frozen=True)
class Span:
    """One attempt.

    Attributes:
        worker: its row, an index in `TimelineInfo.workers`.
        started_hours, ended_hours: since the study's first event.
        end: one of `ENDS`; reason: if it failed, raised or was lost.
        first_epoch, epochs: done before it, and at its end.
    """

    number: int
    attempt: int
    worker: int
    host: str
    pid: int
    started_hours: float
    ended_hours: float
    end: str
    reason: str
    first_epoch: int
    epochs: int


@dataclass(frozen=True)
class DriveSpan:
    """One run of the driver; `ended_hours` None: still running, or unknown."""

    drive: int
    host: str
    started_hours: float
    ended_hours: float | None
    end: str


@dataclass(frozen=True)
class TimelineInfo(Basis):
    """The timeline of a study.

    Attributes:
        began: seconds since 1970 of its first event; None before it.
        workers: names of the rows, host by host in order of their start: host and process id; for
            many processes, a host and a slot; without hosts, a slot.
        spans: by their start.
        drives: in order; pauses: start and end, in hours, of times without a driver.
        busy_fraction: attempt time as a fraction of the available time of all parallel trials; None
            without a drive.
    """

    began: float | None
    workers: tuple[str, ...]
    spans: tuple[Span, ...]
    drives: tuple[DriveSpan, ...]
    pauses: tuple[tuple[float, float], ...]
    busy_fraction: float | None

    @property
    def last_hours(self) -> float:
        """Of the last sign; 0 before one."""
        ends = [span.ended_hours for span in self.spans]
        ends += [drive.ended_hours or drive.started_hours for drive in self.drives]
        return max(ends, default=0.0)

    def frame(self) -> pd.DataFrame:
        """One row an attempt, by its beginning.

        Columns: number, attempt (int64); worker, host (text); pid (int64, 0: not known); started
        (UTC); started_hours, ended_hours (float64, since the study's first sign); end, reason
        (text); first_epoch, epochs (int64).
        """
        began = self.began or 0.0
        types = {"number": "int64", "attempt": "int64", "worker": "string", "host": "string"}
        types |= {"pid": "int64", "started": "datetime64[ns, UTC]"}
        types |= dict.fromkeys(("started_hours", "ended_hours"), "float64")
        types |= {"end": "string", "reason": "string", "first_epoch": "int64", "epochs": "int64"}
        return typed_frame(
            types,
            [
                (
                    *(one.number, one.attempt, self.workers[one.worker], one.host, one.pid),
                    datetime.fromtimestamp(began + 3600 * one.started_hours, UTC),
                    *(one.started_hours, one.ended_hours, one.end, one.reason),
                    *(one.first_epoch, one.epochs),
                )
                for one in self.spans
            ],
        )


def timeline_info(record: StudyRecord) -> TimelineInfo:
    """The timeline of a study when the record was read.

    An attempt without an end extends to the last event of the study and is "running" if the study
    has a driver, or may have one (a study of another tool); else it extends to its last epoch and
    is "left".
    """
    attempts = [(row, attempt) for row in record.rows for attempt in row.attempts]
    attempts.sort(key=lambda pair: (pair[1].started, pair[0].number))
    signs = [attempt.started for _, attempt in attempts]
    signs += [drive.started for drive in record.drives]
    began = min(signs, default=0.0)
    ends = [attempt_end(row, attempt) for row, attempt in attempts]
    last = max([*ends, *signs, *(drive.ended or 0.0 for drive in record.drives)], default=0.0)
    is_driven = record.driver is not None or record.foreign
    spans = []
    for (row, attempt), ended in zip(attempts, ends, strict=True):
        runs = attempt.ended is None and is_driven
        end = attempt.end or ("running" if runs else "left")
        spans.append(
            Span(
                number=row.number,
                attempt=attempt.attempt,
                worker=0,
                host=attempt.host,
                pid=attempt.pid,
                started_hours=(attempt.started - began) / 3600,
                ended_hours=((last if runs else ended) - began) / 3600,
                end=end,
                reason=_reason(row, attempt),
                first_epoch=attempt.first_epoch,
                epochs=attempt.epochs,
            )
        )
    workers, places = _workers(spans)
    drives = [_drive_span(place, drive, began) for place, drive in enumerate(record.drives, 1)]
    return TimelineInfo(
        **vars(study_basis(record)),
        began=began if signs else None,
        workers=workers,
        spans=tuple(replace(s, worker=at) for s, at in zip(spans, places, strict=True)),
        drives=tuple(drives),
        pauses=_pauses(drives),
        busy_fraction=_busy_fraction(record.drives, spans, last),
    )


def _reason(row: RowRecord, attempt: Attempt) -> str:
    if attempt.end == "fail" and row.failure is not None:
        return f"{row.failure.kind}: {row.failure.reason}"
    return attempt.reason


def _drive_span(place: int, drive: Drive, began: float) -> DriveSpan:
    ended = None if drive.ended is None else (drive.ended - began) / 3600
    return DriveSpan(place, drive.host, (drive.started - began) / 3600, ended, drive.end or "")


def _pauses(drives: Sequence[DriveSpan]) -> tuple[tuple[float, float], ...]:
    return tuple(
        (one.ended_hours, following.started_hours)
        for one, following in pairwise(drives)
        if one.ended_hours is not None and one.ended_hours < following.started_hours
    )


def _busy_fraction(drives: Sequence[Drive], spans: Sequence[Span], last: float) -> float | None:
    given = sum(
        (drive.ended or last) - drive.started for drive in drives for _ in range(drive.parallel)
    )
    worked = 3600 * sum(span.ended_hours - span.started_hours for span in spans)
    return min(1.0, worked / given) if given > 0 else None


def _workers(spans: Sequence[Span]) -> tuple[tuple[str, ...], list[int]]:
    """The rows, and the row of each span; spans come by their beginning."""
    named = dict.fromkeys(f"{span.host}:{span.pid}" for span in spans if span.host)
    if all(span.host for span in spans) and len(named) <= MOST_WORKERS:
        hosts = list(dict.fromkeys(span.host for span in spans))
        by_host = sorted(named, key=lambda name: hosts.index(name.rpartition(":")[0]))
        rows = {name: place for place, name in enumerate(by_host)}
        return tuple(rows), [rows[f"{span.host}:{span.pid}"] for span in spans]
    return _places(spans)


def _places(spans: Sequence[Span]) -> tuple[tuple[str, ...], list[int]]:
    """As few rows a host as its attempts need that ran at once: each in the first free one."""
    hosts = dict.fromkeys(span.host for span in spans)
    taken: Mapping[str, list[float]] = {host: [] for host in hosts}
    of_span = []
    for span in spans:
        ends = taken[span.host]
        free = next((at for at, end in enumerate(ends) if end <= span.started_hours), len(ends))
        ends[free : free + 1] = [span.ended_hours]
        of_span.append((span.host, free))
    rows = [(host, at) for host, ends in taken.items() for at in range(len(ends))]
    place = {row: at for at, row in enumerate(rows)}
    names = (f"{host}, place {at + 1}" if host else f"place {at + 1}" for host, at in rows)
    return tuple(names), [place[row] for row in of_span]
