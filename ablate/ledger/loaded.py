"""The rows of a study as a driver takes them up from the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from ablate.ledger import tables
from ablate.ledger.ledger import Ledger
from ablate.ledger.mirror import Mirror
from ablate.ledger.record import Planned, Rung
from ablate.ledger.row import CELL, ROW, OpenRow
from ablate.ledger.twins import Twins


@dataclass(frozen=True)
class LoadedRows:
    """What is there.

    Attributes:
        mirror: all of it, as a sampler sees it.
        trial_ids: by number, of every row.
        running: by number, as they were left; waiting: numbers, in order.
        given: rows of which (some) parameters were given by `enqueue`.
        planned: by number, rows that are run as they are given.
        twins: the points that were begun; of a design, none.
        rungs: decisions of a pruner, with the row of each.
    """

    mirror: Mirror
    trial_ids: dict[int, int]
    running: Mapping[int, OpenRow]
    waiting: tuple[int, ...]
    given: frozenset[int]
    planned: Mapping[int, Planned]
    twins: Twins
    rungs: tuple[tuple[int, Rung], ...]


def load_rows(ledger: Ledger) -> LoadedRows:
    """Read every row on one snapshot."""

    def everything(connection: Connection) -> tuple[Any, ...]:
        return (
            tables.read_rows(connection, ledger.study_id),
            tables.read_draws(connection, ledger.study_id),
            tables.study_attributes(connection, ledger.study_id, system=True),
        )

    rows, draws, attributes = ledger.store.read(everything)
    of_sampler = {key: value for key, value in attributes.items() if not key.startswith("study:")}
    mirror = Mirror(ledger.head.study, ledger.space, of_sampler)
    none = tables.Draws()
    mirror.fill((stored.state, stored.values, draws.get(stored.trial_id, none)) for stored in rows)
    twins = Twins(ledger.head.study)
    for stored in rows:
        row = stored.attributes.get(ROW, {})
        if CELL not in stored.attributes and "params" in row and "copy_of" not in row:
            twins.add(stored.number, row["params"], stored.state)
    return LoadedRows(
        mirror=mirror,
        trial_ids={stored.number: stored.trial_id for stored in rows},
        running={
            stored.number: OpenRow.of(stored)
            for stored in rows
            if stored.state == TrialState.RUNNING
        },
        waiting=tuple(stored.number for stored in rows if stored.state == TrialState.WAITING),
        given=frozenset(
            stored.number
            for stored in rows
            if tables.FIXED in draws.get(stored.trial_id, none).system
        ),
        planned={
            stored.number: Planned.from_json(stored.attributes[CELL])
            for stored in rows
            if CELL in stored.attributes
        },
        twins=twins,
        rungs=tuple((stored.number, rung) for stored in rows for rung in OpenRow.of(stored).rungs),
    )
