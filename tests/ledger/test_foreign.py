"""Studies that another tool wrote with Optuna: read as they are, and left as they are."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner

import ablate
from ablate import api
from ablate.cli.main import main
from ablate.errors import StorageError, StudyNotFoundError
from ablate.ledger.foreign import read_foreign
from ablate.report.draw import plot

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def objective(trial: optuna.Trial) -> tuple[float, float]:
    kind = trial.suggest_categorical("kind", ["a", "b"])
    width = trial.suggest_float("net.width", 0.0, 1.0)
    if kind == "b":
        trial.suggest_int("depth", 1, 4)
    trial.set_user_attr("secret", "not read")
    if trial.number == 3:
        raise ValueError("boom")
    return width, 1 - width**2


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A finished study of two objectives: URL#NAME."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path_factory.mktemp('theirs')}/x.db"
    study = optuna.create_study(
        storage=url,
        study_name="a/b.study",
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.set_metric_names(["loss", "speed"])
    study.enqueue_trial({"kind": "b", "net.width": 0.25, "depth": 2})
    study.optimize(objective, n_trials=6, catch=ValueError)
    study.ask()
    study.enqueue_trial({"kind": "a"})
    return f"{url}#a/b.study"


def digest(study: str) -> tuple[str, list[str]]:
    """The bytes of its database, and what lies beside it."""
    file = Path(study.removeprefix("sqlite:///").partition("#")[0])
    return hashlib.sha256(file.read_bytes()).hexdigest(), sorted(
        p.name for p in file.parent.glob("*")
    )


def test_rows_are_read_with_parameters_values_and_times(theirs: str) -> None:
    record = api.read(theirs)
    assert (record.name, record.foreign, record.trials) == ("a/b.study", True, 8)
    assert [(one.metric, one.direction) for one in record.study.objectives] == [
        ("loss", "minimize"), ("speed", "maximize"),
    ]  # fmt: skip
    states = [row.state for row in record.rows]
    assert states == ["COMPLETE"] * 3 + ["FAIL"] + ["COMPLETE"] * 2 + ["RUNNING", "WAITING"]
    first, waiting = record.rows[0], record.rows[7]
    assert first.params == {"kind": "b", "net.width": 0.25, "depth": 2}
    assert first.values == (0.25, 0.9375)
    assert (first.enqueued, record.rows[1].enqueued, waiting.enqueued) == (True, False, True)
    assert (waiting.params, waiting.attempts) == ({"kind": "a"}, ())
    assert record.rows[3].values is None
    assert [one.end for one in record.rows[3].attempts] == ["fail"]
    assert "secret" not in str(record.rows)


def test_a_range_that_changes_from_trial_to_trial(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    study = optuna.create_study(storage=url, study_name="s", directions=["minimize"] * 2)

    def changing(trial: optuna.Trial) -> tuple[float, float]:
        first = trial.number == 0
        trial.suggest_float("wider", 0.1, 1.0 if first else 9.0, log=True)
        trial.suggest_float("steps", 0.0, 1.0, step=0.5 if first else None)
        trial.suggest_int("batch", 8, 500, log=True)
        trial.suggest_categorical("kind", ["c", "a", None])
        return 0.0, 0.0

    study.optimize(changing, n_trials=2)
    record = api.read(f"{url}#s")
    assert record.study.space == {
        "wider": {"float": [0.1, 9.0], "log": True},
        "steps": {"float": [0.0, 1.0], "log": False},
        "batch": {"int": [8, 500], "log": True, "step": 1},
        "kind": {"choice": ["c", "a", None]},
    }


def test_nothing_is_written(theirs: str) -> None:
    before = digest(theirs)
    api.read(theirs)
    ablate.load_trials(theirs)
    plot("pareto", theirs)
    assert digest(theirs) == before
    with sqlalchemy.create_engine(theirs.partition("#")[0]).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        tables = sqlalchemy.inspect(connection).get_table_names()
    assert not [name for name in tables if "ablate" in name]


@pytest.mark.parametrize(("made_by", "hours"), [("5.0.0", 0), ("4.9.0", 5)])
def test_moments_are_utc_and_local_before_optuna_5(
    made_by: str, hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is written in UTC; read as New York's winter time it is five hours later."""
    winter = datetime(2026, 1, 15, 12)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        url = f"sqlite:///{tmp_path}/x.db"
        study = optuna.create_study(storage=url, study_name="s", directions=["minimize"] * 2)
        study.optimize(lambda _: (0.0, 1.0), n_trials=1)
        with sqlalchemy.create_engine(url).begin() as connection:
            run = connection.exec_driver_sql
            run("UPDATE version_info SET library_version = ?", (made_by,))
            run("UPDATE trials SET datetime_start = ?", (f"{winter}.000000",))
        (row,) = api.read(f"{url}#s").rows
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row.started is not None
    assert row.started == winter.replace(tzinfo=UTC) + timedelta(hours=hours)
    assert row.attempts[0].started == row.started.timestamp()


def test_it_is_drawn_and_listed(theirs: str) -> None:
    figure = plot("pareto", theirs)
    facts = " · ".join(figure.layout.meta["facts"])
    assert "5 of 8 trials complete · optuna:a/b.study" in facts
    assert "single seed" not in facts
    assert "·  ·" not in facts
    frame = ablate.load_trials(theirs)
    assert list(frame["loss"].notna()) == [True] * 3 + [False] + [True] * 2 + [False] * 2
    assert frame["param.depth"].isna().any()
    listed = CliRunner().invoke(main, ["trials", theirs, "--json"], catch_exceptions=False)
    assert json.loads(listed.output)[0]["param.net.width"] == 0.25
    for command in (["trials", theirs], ["status", theirs], ["table", theirs]):
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "seed" not in result.output


def test_values_without_a_name_each_are_named_by_place(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    optuna.create_study(storage=url, study_name="bare", directions=["minimize", "maximize"])
    study = optuna.create_study(storage=url, study_name="twice", directions=["minimize"] * 2)
    study.set_metric_names(["same", "same"])
    for name in ("bare", "twice"):
        metrics = [one.metric for one in api.read(f"{url}#{name}").study.objectives]
        assert metrics == ["value_0", "value_1"]
    assert api.read(f"{url}#bare").rows == ()


def test_what_drives_a_study_leaves_theirs_alone(theirs: str) -> None:
    calls: list[Any] = [
        lambda: api.resume(theirs),
        lambda: api.enqueue(theirs, {"kind": "a"}),
        lambda: api.confirm(theirs),
    ]
    for call in calls:
        with pytest.raises(StudyNotFoundError, match=r"must be a study of ablate, got another"):
            call()


def test_what_is_not_theirs_is_none(tmp_path: Path, theirs: str) -> None:
    assert read_foreign(f"sqlite:///{tmp_path}/none.db", "x") is None
    assert not (tmp_path / "none.db").exists()
    assert read_foreign(theirs.partition("#")[0], "another") is None
    empty = tmp_path / "empty.db"
    empty.touch()
    assert read_foreign(f"sqlite:///{empty}", "x") is None
    assert empty.stat().st_size == 0


def test_tables_of_an_old_optuna_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    optuna.create_study(storage=url, study_name="old", direction="minimize")
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.exec_driver_sql("DROP TABLE trial_values")
        connection.exec_driver_sql("CREATE TABLE trial_values (trial_id INTEGER, value FLOAT)")
    with pytest.raises(StorageError, match=r"must have tables of Optuna 3 or later, got older"):
        read_foreign(url, "old")


def test_a_study_on_a_server_is_read_too(postgres_url: str) -> None:
    study = optuna.create_study(
        storage=postgres_url, study_name="served", directions=["minimize", "maximize"]
    )
    study.optimize(objective, n_trials=2)
    record = read_foreign(postgres_url, "served")
    assert record is not None
    assert [row.state for row in record.rows] == ["COMPLETE", "COMPLETE"]
    assert all(row.values is not None for row in record.rows)
