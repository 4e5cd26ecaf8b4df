"""Reads and writes Optuna's tables row-wise, with one transaction per step of a study.

Optuna's own storage commits each parameter, attribute and state separately, which costs ten times
as much and leaves partly written rows if a driver dies.  The schema is Optuna's (it refuses a
database of another version when opening), so all Optuna tools can read it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import InMemoryStorage
from optuna.storages._rdb import models
from optuna.study import Study, StudyDirection
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from ablate.space.space import FIXED
from ablate.study.settings import ObjectiveSettings

_STUDIES: Table = models.StudyModel.__table__
_DIRECTIONS: Table = models.StudyDirectionModel.__table__
_STUDY_USER: Table = models.StudyUserAttributeModel.__table__
_STUDY_SYSTEM: Table = models.StudySystemAttributeModel.__table__
_TRIALS: Table = models.TrialModel.__table__
_PARAMS: Table = models.TrialParamModel.__table__
_VALUES: Table = models.TrialValueModel.__table__
_TRIAL_USER: Table = models.TrialUserAttributeModel.__table__
_TRIAL_SYSTEM: Table = models.TrialSystemAttributeModel.__table__

_GOING = (TrialState.RUNNING, TrialState.WAITING)
ENQUEUED = "ablate:enqueued"
OUTCOMES = "ablate:outcomes"
"""Whether each image was classified correctly, as bits: large, so read only on request."""


@dataclass
class Stored:
    """A row of the database; without a `trial_id`, one to be inserted."""

    trial_id: int
    number: int
    state: TrialState = TrialState.WAITING
    started: datetime | None = None
    finished: datetime | None = None
    values: list[float] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draws:
    """The samples of a row, as Optuna stores them.

    Attributes:
        params: by dimension: the external value; distributions: the domain of each.
        system: the sampler's attributes of the trial.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)


# -- the study -----------------------------------------------------------------------------


def insert_study(
    connection: Connection,
    name: str,
    objectives: Sequence[ObjectiveSettings],
    attributes: Mapping[str, Any],
) -> int:
    """Insert a study with its attributes; returns its id.

    Raises:
        sqlalchemy.exc.IntegrityError: if there is one of that name.
    """
    study_id = _insert(connection, _STUDIES, study_name=name)
    for place, objective in enumerate(objectives):
        way = StudyDirection[objective.direction.upper()]
        row = {"study_id": study_id, "objective": place, "direction": way}
        connection.execute(_DIRECTIONS.insert().values(**row))
    # So that other tools on the same storage show the objectives by name.
    names = {_SYSTEM_ATTR_METRIC_NAMES: [objective.metric for objective in objectives]}
    set_study_attributes(connection, study_id, names, True)
    set_study_attributes(connection, study_id, attributes)
    return study_id


def delete_study(connection: Connection, study_id: int) -> None:
    """Delete a study with its rows."""
    trial_ids = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
    for table in (_PARAMS, _VALUES, _TRIAL_USER, _TRIAL_SYSTEM):
        connection.execute(table.delete().where(table.c.trial_id.in_(trial_ids)))
    for table in (_TRIALS, _DIRECTIONS, _STUDY_USER, _STUDY_SYSTEM, _STUDIES):
        connection.execute(table.delete().where(table.c.study_id == study_id))


def find_study(connection: Connection, name: str) -> int | None:
    found = connection.execute(select(_STUDIES.c.study_id).where(_STUDIES.c.study_name == name))
    study_id: int | None = found.scalar_one_or_none()
    return study_id


def study_names(connection: Connection) -> list[str]:
    names = select(_STUDIES.c.study_name).order_by(_STUDIES.c.study_id)
    return [str(name) for name in connection.execute(names).scalars()]


def study_attributes(
    connection: Connection, study_id: int, *, system: bool = False
) -> dict[str, Any]:
    table = _STUDY_SYSTEM if system else _STUDY_USER
    query = select(table.c.key, table.c.value_json).where(table.c.study_id == study_id)
    return {key: json.loads(value) for key, value in connection.execute(query)}


def set_study_attributes(
    connection: Connection, study_id: int, values: Mapping[str, Any], system: bool = False
) -> None:
    table = _STUDY_SYSTEM if system else _STUDY_USER
    _upsert(connection, table, "study_id", study_id, values)


# -- rows ----------------------------------------------------------------------------------


def lock_rows(connection: Connection, study_id: int) -> int:
    """Prevent others from appending rows until the transaction ends; returns the number of rows."""
    # It changes nothing, but takes SQLite's write lock, or PostgreSQL's lock on the study's line.
    connection.execute(
        update(_STUDIES)
        .where(_STUDIES.c.study_id == study_id)
        .values(study_name=_STUDIES.c.study_name)
    )
    last = select(_TRIALS.c.number).where(_TRIALS.c.study_id == study_id)
    number = connection.execute(last.order_by(_TRIALS.c.trial_id.desc()).limit(1)).scalar()
    return 0 if number is None else int(number) + 1


def count_rows(connection: Connection, study_id: int) -> dict[TrialState, int]:
    query = select(_TRIALS.c.state, func.count()).where(_TRIALS.c.study_id == study_id)
    found = connection.execute(query.group_by(_TRIALS.c.state))
    return {row[0]: int(row[1]) for row in found}


def insert_row(
    connection: Connection, study_id: int, row: Stored, draws: Draws | None = None
) -> int:
    """Insert a row with everything that belongs to it; returns its id."""
    trial_id = _insert(
        connection,
        _TRIALS,
        study_id=study_id,
        number=row.number,
        state=row.state,
        datetime_start=_naive(row.started),
        datetime_complete=_naive(row.finished),
    )
    _insert_values(connection, trial_id, row.values)
    set_attributes(connection, trial_id, row.attributes)
    if draws is not None:
        set_draws(connection, trial_id, draws)
    return trial_id


def find_row(connection: Connection, study_id: int, number: int) -> int:
    """The id of the row of this number."""
    query = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
    return int(connection.execute(query.where(_TRIALS.c.number == number)).scalar_one())


def start_row(connection: Connection, trial_id: int) -> None:
    """Change a waiting row to running; other rows are not changed."""
    connection.execute(
        update(_TRIALS)
        .where(_TRIALS.c.trial_id == trial_id, _TRIALS.c.state == TrialState.WAITING)
        .values(state=TrialState.RUNNING, datetime_start=_now())
    )


def set_draws(connection: Connection, trial_id: int, draws: Draws) -> None:
    """Insert the parameters that the row does not have yet: a transaction may run twice."""
    if draws.params:
        have = select(_PARAMS.c.param_name).where(_PARAMS.c.trial_id == trial_id)
        there = set(connection.execute(have).scalars())
        rows = [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": draws.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(draws.distributions[name]),
            }
            for name, value in draws.params.items()
            if name not in there
        ]
        if rows:
            connection.execute(_PARAMS.insert(), rows)
    if draws.system:
        _upsert(connection, _TRIAL_SYSTEM, "trial_id", trial_id, draws.system)


def replace_draws(connection: Connection, trial_id: int, draws: Draws) -> None:
    """Put other parameters in the place of a row's; its sampler's attributes stay."""
    connection.execute(_PARAMS.delete().where(_PARAMS.c.trial_id == trial_id))
    set_draws(connection, trial_id, draws)


def set_attributes(connection: Connection, trial_id: int, values: Mapping[str, Any]) -> None:
    _upsert(connection, _TRIAL_USER, "trial_id", trial_id, values)


def end_row(
    connection: Connection, trial_id: int, state: TrialState, values: Sequence[float] = ()
) -> None:
    """End a row; a row that has ended is not changed."""
    ended = connection.execute(
        update(_TRIALS)
        .where(_TRIALS.c.trial_id == trial_id, _TRIALS.c.state.in_(_GOING))
        .values(state=state, datetime_complete=_now())
    )
    if ended.rowcount:
        _insert_values(connection, trial_id, values)


def read_rows(connection: Connection, study_id: int) -> list[Stored]:
    """Every row, in order of number."""
    trial = _TRIALS.c
    query = select(
        trial.trial_id, trial.number, trial.state, trial.datetime_start, trial.datetime_complete
    ).where(trial.study_id == study_id)
    rows = {
        row[0]: Stored(row[0], row[1], row[2], _aware(row[3]), _aware(row[4]))
        for row in connection.execute(query.order_by(trial.number))
    }
    value = _VALUES.c
    restore = models.TrialValueModel.stored_repr_to_value
    for trial_id, stored, kind in connection.execute(
        _of_study(
            select(value.trial_id, value.value, value.value_type), _VALUES, study_id
        ).order_by(value.trial_id, value.objective)
    ):
        rows[trial_id].values.append(restore(stored, kind))
    attributes = read_attributes(connection, study_id)
    for row in rows.values():
        row.attributes = attributes.get(row.number, {})
    return list(rows.values())


def read_attributes(
    connection: Connection,
    study_id: int,
    key: str | None = None,
    numbers: Collection[int] | None = None,
) -> dict[int, dict[str, Any]]:
    """The attributes of rows that have any, by the row's number.

    Args:
        key: of one; None: of all but `OUTCOMES`, which are large.
        numbers: of the rows; None: all.
    """
    attribute = _TRIAL_USER.c
    query = select(_TRIALS.c.number, attribute.key, attribute.value_json)
    query = _of_study(query, _TRIAL_USER, study_id)
    query = query.where(attribute.key != OUTCOMES if key is None else attribute.key == key)
    if numbers is not None:
        query = query.where(_TRIALS.c.number.in_(numbers))
    found: dict[int, dict[str, Any]] = {}
    for number, name, text in connection.execute(query):
        found.setdefault(number, {})[name] = json.loads(text)
    return found


def read_draws(connection: Connection, study_id: int) -> dict[int, Draws]:
    """The samples of each row, by its id."""
    param, system = _PARAMS.c, _TRIAL_SYSTEM.c
    domains: dict[str, BaseDistribution] = {}
    found: dict[int, tuple[dict[str, Any], dict[str, BaseDistribution], dict[str, Any]]] = {}
    query = select(param.trial_id, param.param_name, param.param_value, param.distribution_json)
    for trial_id, name, value, text in connection.execute(
        _of_study(query, _PARAMS, study_id).order_by(param.param_id)
    ):
        if text not in domains:
            domains[text] = json_to_distribution(text)
        params, distributions, _ = found.setdefault(trial_id, ({}, {}, {}))
        params[name] = domains[text].to_external_repr(value)
        distributions[name] = domains[text]
    query = select(system.trial_id, system.key, system.value_json)
    for trial_id, key, text in connection.execute(_of_study(query, _TRIAL_SYSTEM, study_id)):
        found.setdefault(trial_id, ({}, {}, {}))[2][key] = json.loads(text)
    return {trial_id: Draws(*parts) for trial_id, parts in found.items()}


# -- Private names of Optuna beside its tables ---------------------------------------------


def forget_trials(study: Study) -> None:
    """Clear the cached trials, as Optuna's `ask` does, so that a sampler reads them again."""
    study._thread_local.cached_all_trials = None


def overwrite_trial(storage: InMemoryStorage, trial_id: int, trial: FrozenTrial) -> None:
    """Put another trial in the place of one."""
    storage._set_trial(trial_id, trial)


SAMPLING = ("tpe:", FIXED)  # of a trial: only its sampling needs them
CONSTRAINTS = ("constraints:",)  # of a trial: `FrozenTrial.set_constraint` keeps what was set first
STUDY = ("study:",)  # of a study: set by Optuna itself, and not by a sampler


def without(prefixes: tuple[str, ...], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """System attributes without those that begin so."""
    return {key: value for key, value in attributes.items() if not key.startswith(prefixes)}


# -- within --------------------------------------------------------------------------------


def _insert(connection: Connection, table: Table, **values: Any) -> int:
    """Insert a line; returns its id."""
    inserted = connection.execute(table.insert().values(**values))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def _insert_values(connection: Connection, trial_id: int, values: Sequence[float]) -> None:
    stored = map(models.TrialValueModel.value_to_stored_repr, values)
    rows = [
        {"trial_id": trial_id, "objective": place, "value": value, "value_type": kind}
        for place, (value, kind) in enumerate(stored)
    ]
    if rows:
        connection.execute(_VALUES.insert(), rows)


def _of_study(query: Any, table: Table, study_id: int) -> Any:
    joined = query.join(_TRIALS, _TRIALS.c.trial_id == table.c.trial_id)
    return joined.where(_TRIALS.c.study_id == study_id)


def _upsert(
    connection: Connection, table: Table, owner: str, owner_id: int, values: Mapping[str, Any]
) -> None:
    rows = [
        {owner: owner_id, "key": key, "value_json": json.dumps(value)}
        for key, value in values.items()
    ]
    if not rows:
        return
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[owner, "key"], set_={"value_json": insert.excluded.value_json}
        ),
        rows,
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _aware(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
