"""Several processes open a new storage at once: `launch`, and a `status` that could not wait."""

from __future__ import annotations

import multiprocessing
from typing import Any

from ablate.ledger.lease import Lease
from ablate.ledger.storage import open_storage

PROCESSES = 4


def _open(url: str, barrier: Any, said: Any) -> None:
    barrier.wait()
    try:
        storage = open_storage(url, create=True)
        Lease(storage.engine, url, barrier.parties, "one").acquire(takeover=True)
    except Exception as error:
        said.put(f"{type(error).__name__}: {error}")
    else:
        said.put("opened")


def test_tables_that_another_process_makes_meanwhile_are_no_error(storage_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, said = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=_open, args=(storage_url, barrier, said)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    found = [said.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    errors = [one for one in found if "already exists" in one or "unique" in one.lower()]
    assert not errors
    assert "opened" in found
