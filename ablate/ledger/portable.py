"""A study of the ledger as two texts that need no database, and back into one.

`study.json` has the attributes of the study, `rows.jsonl` a line per row, both as
docs/reference/storage_format.md describes them.  Left out is what is worth something on one
machine alone: the base folder, the places of training states, the sampler's own attributes, the
lease.

Whoever made the texts is unknown.  What is read of them is read by its types, as from a database,
and each number must be in its range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from ablate.errors import StudyNotFoundError
from ablate.errors.masking import masked_data
from ablate.ledger import tables
from ablate.ledger.ledger import ARCHIVED, DRIVES, HEAD, MIXTURES, PLAIN, TRIALS, Ledger, opened
from ablate.ledger.record import FORMAT, Head
from ablate.ledger.row import CELL, CURVE, ROW, STATES, row_record
from ablate.ledger.tables import OUTCOMES, Stored
from ablate.study.document import dotted, show

STUDY, ROWS = "study.json", "rows.jsonl"
_STATES = {name: state for state, name in STATES.items()}
_ENTRY: TypeAdapter[Mapping[str, float | Mapping[str, float]]] = TypeAdapter(
    Mapping[str, float | Mapping[str, float]]
)
"""Of the curve."""


def portable_study(ledger: Ledger) -> dict[str, bytes]:
    """A study as the contents of `study.json` and `rows.jsonl`, in one snapshot.

    The same study gives the same bytes.  Secrets are masked.
    """

    def snapshot(connection: Connection) -> tuple[dict[str, Any], list[Stored], dict[int, Any]]:
        return (
            tables.study_attributes(connection, ledger.study_id),
            tables.read_rows(connection, ledger.study_id),
            tables.read_attributes(connection, ledger.study_id, OUTCOMES),
        )

    attributes, rows, outcomes = ledger.store.read(snapshot)
    attributes.pop(ARCHIVED, None)
    lines = []
    for row in rows:
        given = row.attributes
        given |= outcomes.get(row.number, {})
        data = {
            "number": row.number,
            "state": STATES[row.state],
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
    if key.startswith((OUTCOMES, MIXTURES)):
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
        ValueError, LookupError, TypeError: if the texts are not those of a study.
    """
    data = _read(study.decode())
    name, attributes = str(data["name"]), dict(data["attributes"])
    kept = attributes[HEAD]
    if kept["format"] != FORMAT:
        raise StudyNotFoundError(
            f"study {name}: must be of ledger format {FORMAT}, got {show(kept['format'])}. "
            "Use the version of ablate that wrote it."
        )
    settings = Head.from_json(kept).study
    if settings.name != name:
        raise ValueError(f"{STUDY}: study {show(settings.name)} under the name {name}")
    # Not `splitlines`: it splits at other characters too, which may stand in a text.
    lines = rows.decode().removesuffix("\n").split("\n") if rows else []
    count = len(settings.objectives)
    stored = [_stored(number, line, count) for number, line in enumerate(lines)]
    with opened(url, create=True) as connection:
        given = {**attributes, ARCHIVED: True}
        study_id = tables.insert_study(connection, name, settings.objectives, given)
        for row in stored:
            tables.insert_row(connection, study_id, row)
    return name


def _stored(number: int, text: str, objectives: int) -> Stored:
    """A line of `rows.jsonl`; a complete row has scores and a value for each objective, one of a
    design is run as that says."""
    line = _read(text, f"line {number + 1}")
    attributes = dict(line["attributes"])
    started, finished = (
        None if moment is None else datetime.fromisoformat(moment).astimezone(UTC)
        for moment in (line["started"], line["finished"])
    )
    values = [float(value) for value in line["values"]]
    state = _STATES[line["state"]]
    stored = Stored(0, line["number"], state, started, finished, values, attributes)
    row = row_record(stored)
    for entry in row.curve:
        _ENTRY.validate_python(entry)
    run, cell = attributes.get(ROW, {}), attributes.get(CELL, {})
    for key in run.keys() & cell.keys() & {"params", "seeds"}:
        if run[key] != cell[key]:
            raise ValueError(f"row {number}: must have the {key} of its cell, got others")
    if row.number != number:
        raise ValueError(f"row {row.number} in line {number + 1}")
    if row.state == "COMPLETE" and (len(values) != objectives or row.scores is None):
        has = "no scores" if row.scores is None else show(values)
        raise ValueError(f"row {number}: must have scores and {objectives} values, got {has}")
    return stored


def portable_names(url: str, name: str) -> list[str]:
    """The studies of a storage that belong to one: its confirmation, the searches that tune its
    arms, its replicates, and what belongs to these; sorted."""

    def belongs(connection: Connection, other: str) -> bool:
        study_id = tables.find_study(connection, other)
        if not other.startswith(f"{name}~") or study_id is None:
            return False
        parent = tables.study_attributes(connection, study_id).get(HEAD, {}).get("parent")
        return parent == name or (parent is not None and belongs(connection, parent))

    with opened(url) as connection:
        names = tables.study_names(connection)
        return sorted(other for other in names if belongs(connection, other))


_MAY_BE_NAN = ("train_loss", "scores", "by_alpha", "reported")
"""Numbers of a training that has diverged, and of custom training loops."""
_MOST: Mapping[str, float] = {
    **dict.fromkeys(("started", "ended", "time"), 2.0**33),  # seconds since 1970: until 2242
    **dict.fromkeys(("epoch", "epochs", "attempt", "pair", "failures", "lost"), 1e7),
    TRIALS: 1e7,
    **dict.fromkeys(("n_images", "n_corrupted"), 1e9),
    **dict.fromkeys(("clean_accuracy", "accuracies", "cell_share", "at_clean_loss"), 1.0),
    **dict.fromkeys(("nll", "robust_nll"), math.inf),
    "measures": 1 + 1e-9,
}
"""By key: the largest number under it, at any depth; the smallest is 0."""


def _read(text: str, *where: str) -> Any:
    """What a JSON text says, each number in its range."""
    data = json.loads(text)
    for path, rule in _out_of_range(data, ()):
        raise ValueError(f"{dotted((*where, *path))}: {rule}")
    return data


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
