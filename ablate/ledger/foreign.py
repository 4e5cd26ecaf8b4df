"""Reads Optuna studies of other tools, without modifying them.

Opening a ledger creates missing tables and sets SQLite's journal mode.  Another tool's database
must not be modified, so it is checked first, through a read-only connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from sqlalchemy.engine import Connection

from ablate.errors import StorageError
from ablate.errors.masking import masked
from ablate.ledger import tables
from ablate.ledger.ledger import HEAD
from ablate.ledger.record import TERMINAL, Attempt, RowRecord, StudyRecord
from ablate.ledger.row import STATES
from ablate.ledger.storage import engine_arguments, opened_url, sqlite_file, storage_errors
from ablate.space.space import FIXED
from ablate.study.settings import ObjectiveSettings, Study


def read_foreign(url: str, name: str) -> StudyRecord | None:
    """Read another tool's study: its objectives, and its rows with parameters, values and times.

    Its space is inferred from its trials.  Attributes and intermediate values are ignored.  An
    Optuna trial is run once, so a row has one attempt, with an unknown worker.

    Returns:
        None if the storage has no study of that name, or it is a study of `ablate`.  The name of
        the study in the record may not be valid for a run folder.

    Raises:
        StorageError: if the storage cannot be reached, or has the schema of an older Optuna.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    with storage_errors(url):
        try:
            engine = sqlalchemy.create_engine(opened_url(url), **engine_arguments(url))
        except (ImportError, sqlalchemy.exc.NoSuchModuleError):
            return None  # opening the ledger reports what is missing
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(
                postgresql_readonly=True, isolation_level="REPEATABLE READ"
            )
        try:
            with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA query_only = ON")
                    connection.exec_driver_sql("BEGIN")  # its driver begins none for a SELECT
                return _read(connection, url, name)
        finally:
            engine.dispose()


def _read(connection: Connection, url: str, name: str) -> StudyRecord | None:
    inspected = sqlalchemy.inspect(connection)
    if not inspected.has_table("studies"):
        return None
    study_id = tables.find_study(connection, name)
    if study_id is None or HEAD in tables.study_attributes(connection, study_id):
        return None
    # Optuna 3 stores infinite values in a separate column.
    if "value_type" not in {column["name"] for column in inspected.get_columns("trial_values")}:
        raise StorageError(
            f"storage {masked(url)}: must have tables of Optuna 3 or later, got older ones. "
            "Upgrade a copy: optuna storage upgrade --storage URL."
        )
    # Before Optuna 5 times are local ones of the machine that wrote them.
    is_local = tables.optuna_version(connection).partition(".")[0] in ("2", "3", "4")
    draws = tables.read_draws(connection, study_id)
    rows = [
        _row(stored, draws.get(stored.trial_id, tables.Draws()), is_local)
        for stored in tables.read_rows(connection, study_id)
    ]
    study = Study.model_validate({"version": 1, "name": "any", "trainable": f"optuna:{name}"})
    settings = {
        "name": name,
        "objectives": _objectives(*tables.find_objectives(connection, study_id)),
        "space": _space(draws.values()),
    }
    return StudyRecord(
        name=name,
        storage=masked(url),
        study=study.model_copy(update=settings),  # not validated: any study of another tool is read
        fingerprint="none",  # what its scores depend on is unknown
        environment={},
        trials=len(rows),
        reference_point=None,
        references={},
        rows=tuple(rows),
        foreign=True,
    )


def _objectives(directions: list[StudyDirection], names: Any) -> tuple[ObjectiveSettings, ...]:
    """Objectives by the names of the study's values, if they are given and unique; else by
    index."""
    count = len(directions)
    if not names or len(set(names)) != count:
        names = ["value"] if count == 1 else [f"value_{place}" for place in range(count)]
    return tuple(
        ObjectiveSettings(
            metric=str(name),
            direction="maximize" if way == StudyDirection.MAXIMIZE else "minimize",
        )
        for name, way in zip(names, directions, strict=True)
    )


def _space(draws: Iterable[tables.Draws]) -> dict[str, dict[str, Any]]:
    """The distributions of the trials as the space of a study file, in the order in which
    parameters first appear.

    If a range changed between trials, the widest one is used, and its step only if all trials have
    the same; nothing else of a parameter can change in Optuna.
    """
    space: dict[str, dict[str, Any]] = {}
    for drawn in draws:
        for name, distribution in drawn.distributions.items():
            before, domain = space.get(name), _domain(distribution)
            if before is not None and before != domain:
                word = "int" if "int" in domain else "float"
                (low, high), (least, most) = domain[word], before[word]
                domain[word] = [min(low, least), max(high, most)]
                if domain.get("step") != before.get("step"):
                    domain.pop("step", None)
            space[name] = domain
    return space


def _domain(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"choice": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    step = {} if distribution.step is None else {"step": distribution.step}
    word = "int" if isinstance(distribution, IntDistribution) else "float"
    return {word: [distribution.low, distribution.high], "log": distribution.log, **step}


def _row(stored: tables.Stored, draws: tables.Draws, is_local: bool) -> RowRecord:
    started, finished = (
        moment.replace(tzinfo=None).astimezone(UTC) if is_local and moment else moment
        for moment in (stored.started, stored.finished)
    )
    state = STATES[stored.state]
    attempts: tuple[Attempt, ...] = ()
    if started is not None:
        ended = None if finished is None else finished.timestamp()
        how = state.lower() if state in TERMINAL else None
        attempts = (Attempt(1, started.timestamp(), ended, how),)
    return RowRecord(
        number=stored.number,
        state=state,
        attempt=len(attempts),
        params=draws.params or draws.system.get(FIXED, {}),
        values=tuple(stored.values) if state == "COMPLETE" else None,
        attempts=attempts,
        enqueued=FIXED in draws.system,
        started=started,
        finished=finished,
    )
