"""Reads Optuna studies of other tools, without modifying them.

Opening a ledger creates missing tables and sets SQLite's journal mode.  Another tool's database
must not be modified, so it is checked first, through a read-only connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from ablate.errors import StorageError
from ablate.errors.masking import masked
from ablate.ledger import tables
from ablate.ledger.attributes import HEAD
from ablate.ledger.record import Attempt, RowRecord, StudyRecord
from ablate.ledger.row import STATES
from ablate.ledger.storage import engine_arguments, opened_url, storage_errors
from ablate.ledger.url import parse_url, sqlite_file
from ablate.space.space import FIXED
from ablate.study.settings import ObjectiveSettings, Study

_FINGERPRINT = "none"
"""The dependencies of its scores are unknown."""


def read_foreign(url: str, name: str) -> StudyRecord | None:
    """Read another tool's study: its objectives, and its rows with parameters, values and times.

    Its space is inferred from its trials (`_space`).  Attributes and intermediate values are
    ignored.  An Optuna trial is run once, so a row has one attempt, with an unknown worker.

    Returns:
        None if the storage has no study of that name, or it is a study of `ablate`.  The name of
        the study in the record may not be valid for a run folder.

    Raises:
        StorageError: if the storage cannot be reached, or has the schema of an older Optuna.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    with storage_errors(url), _reading(url) as connection:
        if connection is None or not sqlalchemy.inspect(connection).has_table("studies"):
            return None
        study_id = tables.find_study(connection, name)
        if study_id is None or tables.has_attribute(connection, study_id, HEAD):
            return None
        _check_schema(connection, url)
        objectives = _objectives(connection, study_id)
        stored = tables.read_rows(connection, study_id)
        is_local = _is_local(connection)
        draws = tables.read_draws(connection, study_id)
    none = tables.Draws()
    rows = tuple(_row(one, draws.get(one.trial_id, none), is_local) for one in stored)
    study = Study.model_validate({"version": 1, "name": "any", "trainable": f"optuna:{name}"})
    return StudyRecord(
        name=name,
        storage=masked(url),
        # Not validated, unlike a study file: any study of another tool is read.
        study=study.model_copy(
            update={"name": name, "objectives": objectives, "space": _space(draws.values())}
        ),
        fingerprint=_FINGERPRINT,
        environment={},
        trials=len(rows),
        reference_point=None,
        references={},
        rows=rows,
        foreign=True,
    )


@contextmanager
def _reading(url: str) -> Iterator[Connection | None]:
    """A read-only connection; None if no driver for the database is installed."""
    try:
        engine = sqlalchemy.create_engine(opened_url(url), **engine_arguments(url))
    except (ImportError, sqlalchemy.exc.NoSuchModuleError):
        yield None  # opening the ledger reports what is missing
        return
    backend = parse_url(url).get_backend_name()
    if backend == "postgresql":
        engine = engine.execution_options(
            postgresql_readonly=True, isolation_level="REPEATABLE READ"
        )
    try:
        with engine.connect() as connection:
            if backend == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
                connection.exec_driver_sql("BEGIN")  # its driver begins none for a SELECT
            yield connection
    finally:
        engine.dispose()


def _check_schema(connection: Connection, url: str) -> None:
    """Optuna 3 stores infinite values in a separate column."""
    columns = sqlalchemy.inspect(connection).get_columns("trial_values")
    if "value_type" not in {column["name"] for column in columns}:
        raise StorageError(
            f"storage {masked(url)}: must have tables of Optuna 3 or later, got older ones. "
            "Upgrade a copy: optuna storage upgrade --storage URL."
        )


def _objectives(connection: Connection, study_id: int) -> tuple[ObjectiveSettings, ...]:
    """Objectives by the names of the study's values, if they are given and unique; else by
    index."""
    directions, names = tables.find_objectives(connection, study_id)
    if not names or len(set(names)) != len(directions):
        alone = len(directions) == 1
        names = ["value"] if alone else [f"value_{place}" for place in range(len(directions))]
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
    for one in draws:
        for name, distribution in one.distributions.items():
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


def _is_local(connection: Connection) -> bool:
    """Whether times are local times of the machine that wrote them, as before Optuna 5, and not
    UTC; only the version that created the tables tells."""
    version = tables.optuna_version(connection)
    return version.partition(".")[0] in ("2", "3", "4")


def _row(stored: tables.Stored, draws: tables.Draws, is_local: bool) -> RowRecord:
    started, finished = (
        moment.replace(tzinfo=None).astimezone(UTC) if is_local and moment else moment
        for moment in (stored.started, stored.finished)
    )
    given: Mapping[str, Any] = draws.system.get(FIXED, {})
    ended = stored.state.is_finished()
    attempts = []
    if started is not None:
        end = finished.timestamp() if finished is not None else None
        how = STATES[stored.state].lower() if ended else None
        attempts = [Attempt(1, started.timestamp(), end, how)]
    return RowRecord(
        number=stored.number,
        state=STATES[stored.state],
        attempt=len(attempts),
        params=draws.params or given,
        values=tuple(stored.values) if stored.state == TrialState.COMPLETE else None,
        attempts=tuple(attempts),
        enqueued=FIXED in draws.system,
        started=started,
        finished=finished,
    )
