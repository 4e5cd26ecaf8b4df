"""A study of the ledger as two texts that need no database, and back into one.

`study.json` has the attributes of the study, `rows.jsonl` a line per row, both as
docs/reference/storage_format.md describes them.  Left out is what is worth something on one
machine alone: the base folder, the places of training states, the sampler's own attributes, the
lease.

Whoever made the texts is unknown: they are checked by the types of what the ledger writes, each
number by its range, before anything is made of them (`check_portable`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

from pydantic import BeforeValidator, TypeAdapter, ValidationError
from sqlalchemy.engine import Connection

from ablate.errors import StudyNotFoundError
from ablate.errors.masking import masked_data
from ablate.files.durable import Checkpoint
from ablate.ledger import attributes as of_study
from ablate.ledger import row as of_row
from ablate.ledger import tables
from ablate.ledger.attributes import ARCHIVED, DRIVES, HEAD, PLAIN
from ablate.ledger.head import FORMAT, Head
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Attempt, Drive, Failure, Planned, Rung, Soup, State, TestOpened
from ablate.ledger.row import CURVE, STATES
from ablate.ledger.storage import open_storage, storage_errors
from ablate.ledger.tables import ENQUEUED, OUTCOMES, Stored
from ablate.study.document import dotted, show
from ablate.study.interpolation import Curve
from ablate.study.preparation import PreparationStep
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds

STUDY, ROWS = "study.json", "rows.jsonl"
_STATES = {name: state for state, name in STATES.items()}


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
    kept = {key: _portable(key, attributes[key]) for key in sorted(attributes) if key != ARCHIVED}
    lines = []
    for row in rows:
        if row.number in outcomes:
            row.attributes[OUTCOMES] = outcomes[row.number]
        data = {
            "number": row.number,
            "state": STATES[row.state],
            "started": None if row.started is None else row.started.isoformat(),
            "finished": None if row.finished is None else row.finished.isoformat(),
            "values": row.values,
            "attributes": {
                key: _portable(key, row.attributes[key]) for key in sorted(row.attributes)
            },
        }
        lines.append(f"{json.dumps(data, ensure_ascii=False)}\n")
    study = {"name": ledger.head.study.name, "attributes": kept}
    text = json.dumps(study, ensure_ascii=False, indent=1)
    return {STUDY: f"{text}\n".encode(), ROWS: "".join(lines).encode()}


def _portable(key: str, value: Any) -> Any:
    if key.startswith(OUTCOMES):
        return value
    if key == HEAD:
        value = {**value, "base": "."}
    elif key in (CURVE, PLAIN):
        value = {**value, "checkpoints": []}
    elif key == DRIVES:
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
        ValueError: if the texts are not those of a study.
    """
    data, lines = check_portable(study, rows)
    name, attributes = str(data["name"]), data["attributes"]
    objectives = Head.from_json(attributes[HEAD]).study.objectives
    stored = []
    for place, row in enumerate(lines):
        started, finished = _moment(row["started"]), _moment(row["finished"])
        values = [float(value) for value in row["values"]]
        state, given = _STATES[row["state"]], dict(row["attributes"])
        stored.append(Stored(0, place, state, started, finished, values, given))
    storage = open_storage(url, create=True)
    try:
        with storage_errors(url), storage.engine.begin() as connection:
            study_id = tables.insert_study(
                connection,
                name,
                [one.direction for one in objectives],
                [one.metric for one in objectives],
                {**attributes, ARCHIVED: True},
            )
            tables.insert_stored(connection, study_id, stored)
    finally:
        storage.engine.dispose()
    return name


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def portable_names(url: str, name: str) -> list[str]:
    """The studies of a storage that belong to one: its confirmation, and the searches that tune
    its arms; sorted."""
    storage = open_storage(url, create=False)
    try:
        with storage_errors(url), storage.engine.begin() as connection:
            found = []
            for other in tables.study_names(connection):
                study_id = tables.find_study(connection, other)
                if other.startswith(f"{name}~") and study_id is not None:
                    head: Mapping[str, Any] = (
                        tables.study_attributes(connection, study_id).get(HEAD) or {}
                    )
                    if head.get("parent") == name:
                        found.append(other)
            return sorted(found)
    finally:
        storage.engine.dispose()


# -- What the texts may say ----------------------------------------------------------------------


def _named(rung: Any) -> Any:
    """A rung of ablate 0.1, with one score and not its name, as one of today."""
    if isinstance(rung, Mapping) and "value" in rung:
        return {key: one for key, one in rung.items() if key != "value"} | {"scores": {}}
    return rung


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
    rungs: list[Annotated[Rung, BeforeValidator(_named)]]
    attempts: list[Attempt] | None = None


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


@dataclass
class _Line:
    number: int
    state: State
    started: datetime | None
    finished: datetime | None
    values: list[float]
    attributes: Mapping[str, Any]


@dataclass
class _Study:
    name: str
    attributes: Mapping[str, Any]


_Scores = Scores | _Reported
_STUDY: Mapping[str, Any] = {
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
_ROW: Mapping[str, Any] = {
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


def check_portable(study: bytes, rows: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the texts of a portable study, of which everything that is read has the type and range
    of what the ledger writes.

    Args: as `store_portable`.

    Returns:
        What `study.json` and each line of `rows.jsonl` say.

    Raises:
        StudyNotFoundError: if it is of another format of the ledger.
        ValueError: if it is not; a one-line message.
    """
    data = _typed(_Study, study.decode(), ())
    name, attributes = data["name"], data["attributes"]
    head = attributes.get(HEAD)
    if not isinstance(head, dict) or of_study.TRIALS not in attributes:
        raise ValueError(f"{STUDY}: must have {HEAD} and {of_study.TRIALS}")
    if head.get("format") != FORMAT:
        raise StudyNotFoundError(
            f"study {name}: must be of ledger format {FORMAT}, got {show(head.get('format'))}. "
            "Use the version of ablate that wrote it."
        )
    _check_head(head)
    if head["study"]["name"] != name:
        raise ValueError(f"{STUDY}: study {show(head['study']['name'])} under the name {name}")
    _check_attributes(attributes, _STUDY, ())
    lines = []
    # Not `splitlines`: it splits at other characters too, which may stand in a text.
    for place, line in enumerate(rows.decode().removesuffix("\n").split("\n") if rows else []):
        row = _typed(_Line, line, (f"line {place + 1}",))
        if row["number"] != place:
            raise ValueError(f"row {row['number']!r} in line {place + 1}")
        _check_attributes(row["attributes"], _ROW, (f"line {place + 1}",))
        _check_row(row, len(head["study"]["objectives"]))
        lines.append(row)
    return data, lines


def _check_head(head: Mapping[str, Any]) -> None:
    """Settings are read as from a study file, which takes "8" for 8: here nothing is converted."""
    for path, rule in _out_of_range(head, ()):
        raise ValueError(f"{dotted((HEAD, *path))}: {rule}")
    made = Head.from_json(head).to_json()
    for key, value in head.items():
        if not _is_same(value, made[key]):
            raise ValueError(f"{HEAD}.{key}: must be as it is read, got another {key}")


def _is_same(given: Any, made: Any) -> bool:
    """Whether data have the types and values of what was made of them, which may have more keys."""
    if isinstance(given, Mapping) and isinstance(made, Mapping):
        return all(key in made and _is_same(one, made[key]) for key, one in given.items())
    if isinstance(given, list) and isinstance(made, list):
        return len(given) == len(made) and all(map(_is_same, given, made))
    if isinstance(given, bool) or isinstance(made, bool):
        return given is made
    is_number = isinstance(given, int | float) and isinstance(made, int | float)
    return given == made and (is_number or type(given) is type(made))


def _check_attributes(
    attributes: Mapping[str, Any], types: Mapping[str, Any], where: tuple[str, ...]
) -> None:
    """Those that are read; others are of later versions."""
    for key, value in attributes.items():
        if key.startswith(OUTCOMES):
            _typed(Mapping[str, str], json.dumps(value), (*where, key))
        elif key in types:
            _typed(types[key], json.dumps(value), (*where, key))


def _check_row(row: Mapping[str, Any], objectives: int) -> None:
    """A complete row has scores and a value for each objective; one of a design is run as that
    says."""
    number, values = row["number"], row["values"]
    run, cell = (row["attributes"].get(key) for key in (of_row.ROW, of_row.CELL))
    if run and cell:
        for key in ("params", "seeds"):
            if not _is_same(run[key], cell[key]):
                raise ValueError(f"row {number}: must have the {key} of its cell, got others")
    if row["state"] != "COMPLETE":
        return
    if len(values) != objectives or not all(map(math.isfinite, values)):
        raise ValueError(f"row {number}: must have {objectives} values, got {show(values)}")
    needed = (of_row.ROW, of_row.SCORES)
    if missing := [key for key in needed if key not in row["attributes"]]:
        raise ValueError(f"row {number}: must have {missing[0]}, got none")


def _typed(kind: Any, text: str, where: tuple[str, ...]) -> Any:
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
