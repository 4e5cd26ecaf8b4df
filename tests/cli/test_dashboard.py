"""`ablate dashboard` against the real optuna-dashboard, in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from commands import COMMAND

from ablate.ledger.storage import open_storage

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stored(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small finished study of two objectives, named by ABLATE_STORAGE."""
    study = optuna.create_study(
        storage=open_storage(storage_url, create=True),
        study_name="small",
        directions=["maximize", "minimize"],
    )
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("lr", 0, 1)
        study.tell(trial, [0.5 + number, 1.0])
    monkeypatch.setenv("ABLATE_STORAGE", storage_url)
    return storage_url


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, int]]:
    """The URL that the command prints, and its process; Ctrl-C must end it in order."""
    command = [*COMMAND, "dashboard", *arguments, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        printed = ""
        while not printed.endswith("]\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            printed += line
        (said,) = json.loads(printed)
        yield said["url"], process.pid
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out, error) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=120) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_it_shows_the_study_and_changes_nothing(stored: str, work: Path) -> None:
    with served("#small", "--port", "0") as (url, pid):
        assert "optuna" in get(url).lower()
        root = url.partition("/dashboard")[0]
        (summary,) = json.loads(get(f"{root}/api/studies"))["study_summaries"]
        assert summary["study_name"] == "small"
        page = json.loads(get(f"{root}/api/studies/{summary['study_id']}"))
        assert [trial["values"] for trial in page["trials"]] == [[0.5, 1], [1.5, 1], [2.5, 1]]
        assert url.endswith(f"/{summary['study_id']}")
        request = urllib.request.Request(
            f"{root}/api/studies/{summary['study_id']}", method="DELETE"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=120)
        assert refused.value.code == 403
        # A page of another host must not read it under a name of its own.
        rebound = urllib.request.Request(f"{root}/api/studies", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(rebound, timeout=120)
        assert refused.value.code == 403
        # The URL of the storage, with its password, stands on no command line.
        line = Path(f"/proc/{pid}/cmdline").read_text()
        assert stored not in line
    assert optuna.get_all_study_names(open_storage(stored, create=False)) == ["small"]


@pytest.mark.slow
def test_a_port_that_is_taken(work: Path, ablate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{work}/study.db"
    optuna.create_study(storage=open_storage(url, create=True), study_name="small")
    monkeypatch.setenv("ABLATE_STORAGE", url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = ablate("dashboard", "#small", "--port", port)
    assert result.returncode == 2
    assert result.stderr == (
        f"ablate: ablate dashboard: needs a free address, got 127.0.0.1:{port}: Address "
        "already in use. Choose another --port (0: any free one), or a --host of this machine.\n"
    )
    result = ablate("dashboard", "#smal", "--port", "0")
    assert result.returncode == 2
    assert "study smal: must have been launched, got no such study in" in result.stderr
