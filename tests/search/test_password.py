"""A storage's password stays in the driver: it is in no output, file, log, database or process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy
import yaml
from click.testing import CliRunner
from commands import run_alone
from secret_spellings import spellings
from sqlalchemy import make_url
from waiting import wait_until

from ablate.cli.main import main
from ablate.ledger.ledger import Ledger
from ablate.lifecycle.place import locate, place_of_file
from ablate.study.yaml_source import parse_yaml

SECRET = "Tr0ub:4d@r/&?#3 'x\"\\ü%7yZ"
FOUND = {spelled.encode() for spelled in spellings(SECRET).values()}

LOOP = """
import os, pathlib, time

def train(trial):
    for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        print("the environment:", dict(os.environ), flush=True)
        until = time.monotonic() + 120
        while pathlib.Path(__file__).with_name("wait").exists() and time.monotonic() < until:
            time.sleep(0.05)
        (trial.checkpoint_folder / "state").write_text(str(epoch))
        trial.report(epoch, {"a": 1.0, "b": 1.0})
    if trial.params["x"] > 0.5:
        raise ValueError(f"the environment: {dict(os.environ)}")
"""
STUDY = {
    "version": 1,
    "name": "secret",
    "trainable": "loop:train",
    "finetune": {"budget": {"epochs": 4}},
    "space": {"x": {"float": [0.0, 1.0]}},
    "objectives": [{"metric": "a"}, {"metric": "b"}],
    "search": {"trials": 3, "enqueue": [{"x": 0.25}, {"x": 0.75}]},
    "run": {"parallel": 2, "max_failed_fraction": 1.0},
}


def shows(content: bytes) -> bool:
    return any(spelled in content for spelled in FOUND)


def processes_that_show_it() -> Iterator[str]:
    """Processes of the machine with the secret in their command line or environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found = shows((folder / name).read_bytes())
            except OSError:
                continue
            if found:
                yield f"{folder.name} {name}"


@pytest.fixture
def nasty_url(postgres_url: str) -> str:
    """A database whose owner has the secret for a password."""
    with sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as server:
        server.exec_driver_sql("DROP ROLE IF EXISTS nasty")
        server.execute(sqlalchemy.text(f"CREATE ROLE nasty LOGIN SUPERUSER PASSWORD {quoted()}"))
    url = make_url(postgres_url).set(username="nasty", password="hidden")
    return url.render_as_string(hide_password=False).replace(":hidden@", f":{quote(SECRET, '')}@")


def quoted() -> str:
    return "E'" + SECRET.replace("\\", "\\\\").replace("'", "\\'").replace(":", "\\:") + "'"


def write_study(work: Path, storage: str = "") -> Path:
    (work / "loop.py").write_text(LOOP)
    file = work / "secret.yaml"
    file.write_text(f"# kept\n{yaml.safe_dump(STUDY)}{storage}")
    return file


def test_a_password_is_nowhere_but_in_the_driver(
    work: Path, nasty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the study file, escaped as YAML allows, and in every variable of libpq's."""
    escaped = "".join(f"\\x{ord(one):02x}" for one in nasty_url)
    write_study(work, f'storage: "{escaped}" # {nasty_url}\n# also kept\n')
    (work / "wait").touch()
    with tempfile.TemporaryDirectory(prefix="ab") as ray_folder:
        for name, value in {
            "ABLATE_STORAGE": nasty_url,
            "PGPASSWORD": SECRET,
            "PGPASSFILE": f"/no/such/{SECRET}",
            "PGSERVICEFILE": f"/no/such/{SECRET}",
            "PGSSLKEY": f"/no/such/{SECRET}",
            "RAY_TMPDIR": ray_folder,
        }.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-m", "ablate"]
        driver = subprocess.Popen(
            [*command, "launch", "secret.yaml", "--set", f"storage={nasty_url}"],
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: list(work.glob("runs/secret/logs/*/*")))
            showing = set(processes_that_show_it())
        finally:
            (work / "wait").unlink()
            try:
                output, _ = driver.communicate(timeout=120)
            finally:
                driver.kill()
        assert driver.returncode == 0, output.decode()
        # Where its user has put it.
        assert showing == {f"{driver.pid} environ", f"{driver.pid} cmdline"}
        of_ray = [path for path in Path(ray_folder).rglob("*") if path.is_file()]
        assert len(of_ray) > 5
        assert [path for path in of_ray if shows(path.read_bytes())] == []
    for asked in (["status", "--json"], ["trials", "--json"], ["logs"], ["report"]):
        arguments = [asked[0], f"{nasty_url}#secret", *asked[1:]]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        output += done.output.encode()
    assert not shows(output)
    files = [path for path in work.rglob("*") if path.is_file()]
    assert work / "runs" / "secret" / "report.html" in files
    showing_files = [path.name for path in files if shows(path.read_bytes())]
    assert showing_files == ["secret.yaml"]
    assert not shows("".join(database_rows(nasty_url)).encode())
    text = Ledger.open(nasty_url, "secret").head.text
    assert text.startswith("# kept\n")
    assert text.endswith("# also kept\n")
    assert parse_yaml(text, "kept").data == STUDY


def database_rows(url: str) -> Iterator[str]:
    """Every row of every table, as text."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        names = sqlalchemy.inspect(connection).get_table_names()
        assert len(names) > 5
        for name in names:
            for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"'):
                yield repr(tuple(row)) + "\n" + "\n".join(map(str, row)) + "\n"
    engine.dispose()


@pytest.mark.long
def test_another_storage_gets_no_password_of_the_files(work: Path) -> None:
    """The inline executor runs trials in the driver, which print what they see there."""
    url = f"postgresql+psycopg://u:{quote(SECRET, '')}@h/d"
    write_study(work, f"storage: {url}\n")
    environment = {**os.environ, "PGPASSWORD": SECRET}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ablate", "launch", "secret.yaml", "--executor", "inline"),
            *("--set", "storage=sqlite:///other.db", "--set", "search.trials=2"),
        ],
        cwd=work,
        env=environment,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert not shows(done.stdout + done.stderr)
    files = [path for path in work.rglob("*") if path.is_file()]
    assert {"other.db", "attempt-1.log", "log.jsonl"} <= {path.name for path in files}
    assert [path.name for path in files if shows(path.read_bytes())] == ["secret.yaml"]
    text = Ledger.open(f"sqlite:///{work}/other.db", "secret").head.text
    assert "storage" not in parse_yaml(text, "kept").data
    # From the storage's URL alone it is resumed.
    (work / "secret.yaml").unlink()
    more = ["resume", "sqlite:///other.db#secret", "--add", "1", "--executor", "inline"]
    resumed = CliRunner().invoke(main, more, catch_exceptions=False)
    assert resumed.exit_code == 0, resumed.output


def test_a_run_folder_without_the_password_says_to_name_the_study_file(work: Path) -> None:
    write_study(work, "storage: postgresql+psycopg://u:Tr0ub4dor-3x@127.0.0.1:1/d\n")
    place_of_file(work / "secret.yaml").make_folder()
    note = json.loads((work / "runs" / "secret" / "run.json").read_text())
    assert note == {"name": "secret", "storage": "postgresql+psycopg://u:***@127.0.0.1:1/d"}
    for command in ("resume", "status", "report"):
        done = CliRunner().invoke(main, [command, "runs/secret"])
        assert done.exit_code == 2
        assert done.output.startswith(
            "ablate: runs/secret: the run folder must contain the full storage URL"
        )
        assert "Name the study file, or URL#NAME" in done.output
        assert done.output.count("\n") == 1
    again = CliRunner().invoke(main, ["resume", "secret.yaml"])
    assert again.exit_code == 3  # nobody answers there
    locate("postgresql+psycopg://u:Tr0ub4dor-3x@127.0.0.1:1/d#secret").make_folder()
    assert json.loads((work / "runs" / "secret" / "run.json").read_text()) == note


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "postgresql+psycopg://u:Tr0ub4dor-3x/db#x"], "the port after HOST"),
        (["resume", "postgresql+psycopg://u:Tr0ub4@dor-3x@h/d#x"], "must have one @"),
        (["resume", "postgresql+psycopg://u:Tr0ub4#dor-3x@h/d"], "no # before its @"),
        (["status", "postgresql+psycopg://u:Tr0ub4dor-3x@h/d"], "Add #NAME"),
        (["status", "postgresql+psycopg://u@127.0.0.1:1/d?passwd=Tr0ub4dor-3x#x"], 'n "passwd"'),
        (["postgresql://u:Tr0ub4dor-3x@h/d#x"], "No such command"),
        (["resume", "x", "--trials", "postgresql://u:Tr0ub4dor-3x@h/d"], "--trials"),
        (["check", "secret.yaml", "--set", "storage:postgresql://u:Tr0ub4dor-3x@h/d"], "without ="),
        (["check", "secret.yaml", "--set", "storage={url: 'x://u:Tr0ub4dor-3x@h/d'}"], "a mapping"),
        (["check", "secret.yaml", "--set", "search.trials=x://u:Tr0ub4dor-3x@h/d"], "whole number"),
        (["check", "mapping.yaml"], "mapping.yaml:23:1: storage: must be text, got a mapping"),
        (["check", "top.yaml"], "must be a mapping of keys"),
        pytest.param(
            ["--debug", "status", "postgresql+psycopg://u:Tr0ub4dor-3x@127.0.0.1:1/d#x"],
            "Traceback",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_mistake_repeats_no_password(work: Path, arguments: list[str], said: str) -> None:
    storage = "storage: {url: 'postgresql://u:Tr0ub4dor-3x@h/d'}\n"
    write_study(work)
    (work / "mapping.yaml").write_text(yaml.safe_dump(STUDY) + storage)
    (work / "top.yaml").write_text(f"- {storage}")
    if "--debug" in arguments:
        output = run_alone(*arguments, cwd=work).stderr
    else:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code in (2, 3)
        assert isinstance(done.exception, SystemExit)
        output = done.output
    assert said in output
    for part in ("Tr0ub", "dor-3x"):
        assert part not in output
