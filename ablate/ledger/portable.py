"""A study of the ledger as two texts that need no database, and back into one.

`study.json` has the attributes of the study, `rows.jsonl` a line per row, both as `README.md`
describes them.  Left out is what is worth something on one machine alone: the base folder, the
places of training states, the sampler's own attributes, the lease.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Connection

from ablate.errors import StudyNotFoundError
from ablate.errors.masking import masked_data
from ablate.ledger import tables
from ablate.ledger.attributes import ARCHIVED, DRIVES, HEAD, PLAIN
from ablate.ledger.head import FORMAT, Head
from ablate.ledger.ledger import Ledger
from ablate.ledger.row import CURVE, STATES
from ablate.ledger.storage import open_storage, storage_errors
from ablate.ledger.tables import OUTCOMES, Stored

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
        ValueError, KeyError, TypeError, AttributeError: if the texts are not those of a study.
    """
    data = json.loads(study)
    name, attributes = str(data["name"]), dict(data["attributes"])
    if attributes[HEAD]["format"] != FORMAT:
        raise StudyNotFoundError(
            f"study {name}: must be of ledger format {FORMAT}, got {attributes[HEAD]['format']}. "
            "Use the version of ablate that wrote it."
        )
    objectives = Head.from_json(attributes[HEAD]).study.objectives
    stored = []
    # Not `splitlines`: it splits at other characters too, which may stand in a text.
    lines = rows.decode().removesuffix("\n").split("\n") if rows else []
    for place, line in enumerate(lines):
        row = json.loads(line)
        if row["number"] != place:
            raise ValueError(f"row {row['number']!r} in line {place + 1}")
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
