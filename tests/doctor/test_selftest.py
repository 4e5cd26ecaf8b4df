"""`ablate doctor --selftest`: what it tries really is broken, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.doctor import selftest as storage_module
from ablate.doctor.selftest import try_storage
from ablate.doctor.study import whole
from ablate.ledger.ledger import Ledger

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def finished(
    write_own: Callable[..., Path], storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A storage of each kind, with two studies in it: `tried` and `kept`."""
    monkeypatch.setenv("ABLATE_STORAGE", storage_url)
    for name in ("tried", "kept"):
        file = write_own(name, search={"trials": 2, "sampler": "random"})
        ablate.launch(file, executor="inline")
    return storage_url


def test_a_storage_is_tried_and_its_study_removed(
    finished: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ablate.read(f"{finished}#kept").rows
    locks = set(work.parent.rglob("*.lock"))
    assert try_storage(finished, "tried") == ""

    # The judge itself: what does not hold is found.
    monkeypatch.setattr(storage_module, "_Undo", ZeroDivisionError)
    monkeypatch.setattr("ablate.ledger.lease.Store.write", _keep_what_failed)
    assert "a failed transaction left data" in try_storage(finished, "tried")
    monkeypatch.undo()

    Ledger.remove(finished, "tried")
    Ledger.remove(finished, "tried")  # where there is none, nothing happens
    assert not Ledger.exists(finished, "tried")
    assert ablate.read(f"{finished}#kept").rows == before
    assert set(work.parent.rglob("*.lock")) <= locks


def _keep_what_failed(store: object, work: Callable[..., object]) -> None:
    with store._engine.begin() as connection:  # type: ignore[attr-defined]
        try:
            work(connection)
        except ZeroDivisionError:
            connection.commit()
            raise


def test_options_of_the_self_test_need_it(ablate: Run) -> None:
    for option, value in (("--storage", "sqlite:///x.db"), ("--ray-address", "auto")):
        result = ablate("doctor", option, value)
        assert result.returncode == 2
        assert f"{option}: needs --selftest" in result.stderr
    result = ablate("doctor", "--selftest", "--ray-address", "127.0.0.1:1")
    assert result.returncode == 3
    assert "a Ray cluster must answer there" in result.stderr
    url = "postgresql+psycopg://u:s3cret@127.0.0.1:1/d"
    result = ablate("doctor", "--selftest", "--storage", url)
    assert result.returncode == 3
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.timeout(900)
def test_a_study_is_broken_resumed_and_compared(
    ablate_alone: Run, work: Path, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/users.db"
    result = ablate_alone("doctor", "--selftest", "--json", "--storage", storage, timeout=800)
    assert result.returncode == 0, result.stdout + result.stderr
    findings = {one["what"]: one for one in json.loads(result.stdout)}
    assert {one["state"] for one in findings.values()} <= {"ok", "absent"}
    assert "images a second in each" in findings["CPU trials"]["found"]
    assert "in another process" in findings["CPU worker killed"]["found"]
    assert "2 of 2 trials complete" in findings["CPU driver killed"]["found"]
    assert "bit-identical" in findings["CPU result"]["found"]
    for what in ("SQLite", "storage"):
        assert "a second driver is refused" in findings[what]["found"]
    assert "CPU: resuming" in result.stderr
    assert str(tmp_path) not in result.stdout
    assert list(work.iterdir()) == []
    assert list(tmp_path.glob("users*")) == []


@pytest.mark.slow
def test_what_differs_is_seen(finished: str) -> None:
    record = ablate.read(f"{finished}#tried")
    assert whole(record, 3) == "rows [0, 1] instead of 3"
    assert "with epochs [1]" in whole(record, 2)
