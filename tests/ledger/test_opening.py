"""Several processes open a new storage at once: `launch`, and a `status` that could not wait."""

from __future__ import annotations

import gc
import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from test_ledger_rows import make_head
from waiting import wait_until

import ablate
from ablate.errors import StorageError
from ablate.ledger.lease import Lease
from ablate.ledger.ledger import Ledger
from ablate.ledger.storage import open_storage, storage_errors

PROCESSES = 3


def _open_each(urls: Any, barrier: Any, said: Any) -> None:
    while (url := urls.get()) is not None:
        barrier.wait()
        try:
            engine = open_storage(url, create=True)
            Lease(engine, url, barrier.parties, "one").acquire(takeover=True)
        except Exception as error:
            said.put(f"{type(error).__name__}: {error}")
        else:
            said.put("opened")


@pytest.fixture(scope="module")
def open_at_once() -> Iterator[Callable[[str], list[str]]]:
    """Opens a storage in several new processes at the same time; what each of them says."""
    context = multiprocessing.get_context("spawn")
    urls, barrier, said = context.Queue(), context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=_open_each, args=(urls, barrier, said)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()

    def open_at_once(url: str) -> list[str]:
        for _ in processes:
            urls.put(url)
        return [said.get(timeout=120) for _ in processes]

    yield open_at_once
    for _ in processes:
        urls.put(None)
    for process in processes:
        process.join()


@pytest.mark.slow
def test_tables_that_another_process_makes_meanwhile_are_no_error(
    storage_url: str, open_at_once: Callable[[str], list[str]]
) -> None:
    found = open_at_once(storage_url)
    meanwhile = ("already exists", "unique", "locked")
    errors = [one for one in found if any(word in one.lower() for word in meanwhile)]
    assert not errors
    assert "opened" in found


def test_reading_leaves_no_connection_open(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger.create(postgres_url, make_head(), trials=3).close()
    monkeypatch.setenv("ABLATE_STORAGE", postgres_url)
    engine = sqlalchemy.create_engine(postgres_url)
    count = sqlalchemy.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = :name AND backend_type = 'client backend'"
    )
    name = {"name": engine.url.database}
    gc.disable()  # whoever waits for Python to close them has them open at the end
    try:
        for _ in range(5):
            assert len(ablate.read("#rows").rows) == 0
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # Its own; those that are closed go within moments.
            wait_until(lambda: connection.execute(count, name).scalar_one() == 1)
    finally:
        gc.enable()
        engine.dispose()


def test_a_lock_that_is_not_given_back_has_its_own_fix(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with closing(sqlite3.connect(file)) as holder, closing(sqlite3.connect(file, timeout=0)) as one:
        holder.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(StorageError, match="or end that process") as error,
            storage_errors("sqlite:///study.db"),
        ):
            one.execute("BEGIN IMMEDIATE")
    assert "got: database is locked. Another process holds it" in str(error.value)
