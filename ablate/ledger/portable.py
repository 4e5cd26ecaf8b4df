"""A study of the ledger as two texts that need no database, and back into one.

`study.json` has the attributes of the study, `rows.jsonl` a line per row, both as
docs/reference/storage_format.md describes them.  Left out is what is worth something on one
machine alone: the base folder, the places of training states, the sampler's own attributes, the
lease.

Whoever made the texts is unknown: before they are stored, all that is read of them must have the
types that the ledger writes, nothing converted but settings, and each number its range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.engine import Connection

from ablate.errors import StudyNotFoundError
from ablate.errors.masking import masked_data
from ablate.files.durable import Checkpoint
from ablate.ledger import ledger as of_study
from ablate.ledger import row as of_row
from ablate.ledger import tables
from ablate.ledger.ledger import HEAD, Ledger, opened
from ablate.ledger.record import (
    FORMAT,
    Attempt,
    Drive,
    Failure,
    Head,
    Planned,
    Rung,
    Soup,
    State,
    TestOpened,
)
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored
from ablate.study.document import dotted, show
from ablate.study.interpolation import Curve
from ablate.study.preparation import PreparationStep
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds

STUDY, ROWS = "study.json", "rows.jsonl"
_STATES = {name: state for state, name in of_row.STATES.items()}


def portable_study(ledger: Ledger) -> dict[str, bytes]:
    """A study as the contents of `study.json` and `rows.jsonl`, in one snapshot.

    The same study gives the same bytes.  Secrets are masked.
    """

    def snapshot(connection: Connection) -> tuple[dict[str, Any], list[Stored], dict[int, Any]]:
        return (
            tables.study_attributes(connection, ledger.study_id),
            tables.read_rows(connection, ledger.study_id),
            tables.read_attribute(connection, ledger.study_id, OUTCOMES),
        )

    attributes, rows, outcomes = ledger.store.read(snapshot)
    attributes.pop(of_study.ARCHIVED, None)
    lines = []
    for row in rows:
        given = row.attributes
        if row.number in outcomes:
            given[OUTCOMES] = outcomes[row.number]
        data = {
            "number": row.number,
            "state": of_row.STATES[row.state],
            "started": None if row.started is None else row.started.isoformat(),
            "finished": None if row.finished is None else row.finished.isoformat(),
            "values": row.values,
            "attributes": {key: _portable(key, given[key]) for key in sorted(given)},
        }
        lines.append(f"{json.dumps(data, ensure_ascii=False)}\n")
    kept = {key: _portable(key, attributes[key]) for key in sorted(attributes)}
    study = {"name": ledger.head.study.name, "attributes": kept}
    text = json.dumps(study, ensure_ascii=False, indent=1)
    return {STUDY: f"{text}\n".encode(), ROWS: "".join(lines).encode()}


def _portable(key: str, value: Any) -> Any:
    if key.startswith(OUTCOMES):
        return value
    if key == HEAD:
        value = {**value, "base": "."}
    elif key in (of_row.CURVE, of_study.PLAIN):
        value = {**value, "checkpoints": []}
    elif key == of_study.DRIVES:
        value = [{**drive, "checkpoints": ""} for drive in value]
    return masked_data(value)


def store_portable(url: str, study: bytes, rows: bytes) -> str:
    """Put a portable study into a storage, which is created; it can only be read there.

    Args:
        study, rows: the contents of `study.json` and `rows.jsonl`.

    Returns:
        Its name.

    Raises:
        StudyNotFoundError: if it is of another format of the ledger.
        ValueError: if the texts are not those of a study; a one-line message.
    """
    data = _typed(_Study, study.decode())
    name, attributes = data["name"], data["attributes"]
    kept = attributes.get(HEAD)
    if not isinstance(kept, dict) or of_study.TRIALS not in attributes:
        raise ValueError(f"{STUDY}: must have {HEAD} and {of_study.TRIALS}")
    if kept.get("format") != FORMAT:
        raise StudyNotFoundError(
            f"study {name}: must be of ledger format {FORMAT}, got {show(kept.get('format'))}. "
            "Use the version of ablate that wrote it."
        )
    _check_attributes(attributes, _OF_STUDY)
    objectives = Head.from_json(kept).study.objectives
    if kept["study"]["name"] != name:
        raise ValueError(f"{STUDY}: study {show(kept['study']['name'])} under the name {name}")
    # Not `splitlines`: it splits at other characters too, which may stand in a text.
    lines = rows.decode().removesuffix("\n").split("\n") if rows else []
    stored = [_stored(number, line, len(objectives)) for number, line in enumerate(lines)]
    with opened(url, create=True) as connection:
        study_id = tables.insert_study(
            connection,
            name,
            [objective.direction for objective in objectives],
            [objective.metric for objective in objectives],
            {**attributes, of_study.ARCHIVED: True},
        )
        for row in stored:
            tables.insert_stored(connection, study_id, row)
    return str(name)


def portable_names(url: str, name: str) -> list[str]:
    """The studies of a storage that belong to one: its confirmation, and the searches that tune
    its arms; sorted."""

    def belongs(connection: Connection, other: str) -> bool:
        study_id = tables.find_study(connection, other)
        if not other.startswith(f"{name}~") or study_id is None:
            return False
        head = tables.study_attributes(connection, study_id).get(HEAD, {})
        return bool(head.get("parent") == name)

    with opened(url) as connection:
        names = tables.study_names(connection)
        return sorted(other for other in names if belongs(connection, other))


# -- What the texts may say ----------------------------------------------------------------------


@dataclass
class _Study:
    name: str
    attributes: Mapping[str, Any]


@dataclass
class _Line:
    number: int
    state: State
    started: datetime | None
    finished: datetime | None
    values: list[float]
    attributes: Mapping[str, Any]


@dataclass
class _Entry:
    epoch: int
    epochs: int = 0
    seconds: float = 0.0
    train_loss: float = 0.0
    images: int = 0
    scores: Mapping[str, float] | None = None


@dataclass
class _Curve:
    curve: list[_Entry]
    checkpoints: list[Checkpoint]
    rungs: list[Rung]
    attempts: list[Attempt]


@dataclass
class _Row:
    attempt: int
    params: Mapping[str, Any]
    seeds: Seeds
    failures: int = 0
    lost: int = 0
    soup: Soup | None = None
    enqueued: bool = False
    copy_of: int | None = None


@dataclass
class _Reported:
    reported: Mapping[str, float]


@dataclass
class _Plain:
    attempt: int
    checkpoints: list[Checkpoint]


@dataclass
class _Spent:
    reason: str
    budget: Mapping[str, Any]


_Scores = Scores | _Reported
_OF_STUDY: Mapping[str, Any] = {
    HEAD: Mapping[str, Any],
    of_study.TRIALS: int,
    of_study.LOG: list[Mapping[str, list[str]]],
    of_study.REFERENCES: Mapping[str, _Scores],
    of_study.DRIVES: list[Drive],
    of_study.SPENT: _Spent,
    of_study.PLAIN: _Plain,
    of_study.TEST: Mapping[str, Scores],
    of_study.OPENED: list[TestOpened],
    of_study.PREPARING: PreparationStep,
}
_OF_ROW: Mapping[str, Any] = {
    of_row.ROW: _Row,
    of_row.CURVE: _Curve,
    of_row.SCORES: _Scores,
    of_row.FAILURE: Failure,
    of_row.CELL: Planned,
    of_row.TEST: Scores,
    of_row.PATH: Curve,
    ENQUEUED: Mapping[str, Any],
}
_MAY_BE_NAN = ("train_loss", "scores", "by_alpha", "reported")
"""Numbers of a training that has diverged, and of custom training loops."""
_MOST: Mapping[str, float] = {
    **dict.fromkeys(("started", "ended", "time"), 2.0**33),  # seconds since 1970: until 2242
    **dict.fromkeys(("epoch", "epochs", "attempt", "pair", "failures", "lost"), 1e7),
    of_study.TRIALS: 1e7,
    **dict.fromkeys(("n_images", "n_corrupted"), 1e9),
    **dict.fromkeys(("clean_accuracy", "accuracies"), 1.0),
}
"""The largest value of a number of this name, or below it, which is then at least 0."""


def _stored(number: int, text: str, objectives: int) -> Stored:
    """A line of `rows.jsonl`; a complete row has scores and a value for each objective, one of a
    design is run as that says."""
    where = f"line {number + 1}"
    line = _typed(_Line, text, where)
    if line["number"] != number:
        raise ValueError(f"row {line['number']!r} in {where}")
    values, attributes = [float(value) for value in line["values"]], line["attributes"]
    _check_attributes(attributes, _OF_ROW, where)
    run, cell = attributes.get(of_row.ROW), attributes.get(of_row.CELL)
    for key in ("params", "seeds") if run and cell else ():
        if run[key] != cell[key]:
            raise ValueError(f"row {number}: must have the {key} of its cell, got others")
    if line["state"] == "COMPLETE":
        if len(values) != objectives:
            raise ValueError(f"row {number}: must have {objectives} values, got {show(values)}")
        for key in (of_row.ROW, of_row.SCORES):
            if key not in attributes:
                raise ValueError(f"row {number}: must have {key}, got none")
    started, finished = (
        None if moment is None else datetime.fromisoformat(moment).astimezone(UTC)
        for moment in (line["started"], line["finished"])
    )
    return Stored(0, number, _STATES[line["state"]], started, finished, values, attributes)


def _check_attributes(attributes: Mapping[str, Any], types: Mapping[str, Any], *where: str) -> None:
    """Those that are read; others are of later versions."""
    for key, value in attributes.items():
        kind = Mapping[str, str] if key.startswith(OUTCOMES) else types.get(key)
        if kind is not None:
            _typed(kind, json.dumps(value), *where, key)


def _typed(kind: Any, text: str, *where: str) -> Any:
    """What a JSON text says, which must be of a type, nothing converted."""
    try:
        _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        named = dotted((*where, *first["loc"]))
        raise ValueError(f"{named}: {first['msg']}, got {show(first['input'])}") from error
    data = json.loads(text)
    for path, rule in _out_of_range(data, ()):
        raise ValueError(f"{dotted((*where, *path))}: {rule}")
    return data


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _out_of_range(data: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    if isinstance(data, Mapping):
        for key, one in data.items():
            yield from _out_of_range(one, (*path, key))
    elif isinstance(data, list):
        for place, one in enumerate(data):
            yield from _out_of_range(one, (*path, place))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        if not math.isfinite(data) and not set(path) & set(_MAY_BE_NAN):
            yield path, f"must be finite, got {data}"
        most = next((_MOST[key] for key in map(str, reversed(path)) if key in _MOST), None)
        if most is not None and not 0 <= data <= most:
            yield path, f"must be from 0 to {most:g}, got {show(data)}"
        elif abs(data) > 2**64 and isinstance(data, int):
            yield path, f"must be below 2**64, got {show(data)}"
