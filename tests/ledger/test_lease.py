"""One driver a study, in every storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import sqlalchemy

from ablate.errors import LeaseError
from ablate.ledger import lease as lease_module
from ablate.ledger.lease import Lease, is_proven_dead, process_identity


@pytest.fixture
def make_lease(storage_url: str) -> Callable[[], Lease]:
    engine = sqlalchemy.create_engine(storage_url)
    return lambda: Lease(engine, storage_url, 1, "mine")


def test_a_second_driver_is_told_who_holds_it(make_lease: Callable[[], Lease]) -> None:
    first = make_lease()
    first.acquire()
    expected = rf"study mine: one driver at a time, got a second: process {os.getpid()} on .*since"
    with pytest.raises(LeaseError, match=expected):
        make_lease().acquire()
    first.release()
    make_lease().acquire()


def test_a_driver_that_is_proven_dead_is_taken_over_at_once(
    make_lease: Callable[[], Lease], storage_url: str
) -> None:
    code = (
        "import os, sqlalchemy\n"
        "from ablate.ledger.lease import Lease\n"
        f"Lease(sqlalchemy.create_engine({storage_url!r}), {storage_url!r}, 1, 'mine').acquire()\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    make_lease().acquire()


def test_a_driver_elsewhere_keeps_it_for_its_term(
    make_lease: Callable[[], Lease], storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = make_lease()
    holder.acquire()
    holder._unlock()  # a driver on another host holds no lock on this one
    elsewhere = {**process_identity(), "host": "elsewhere"}
    with sqlalchemy.create_engine(storage_url).begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE ablate_lease SET holder = :holder"),
            {"holder": json.dumps(elsewhere)},
        )
    with pytest.raises(LeaseError, match=r"on elsewhere .*add --takeover"):
        make_lease().acquire()
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 0.0)
    make_lease().acquire()


def test_a_takeover_ends_the_first_drivers_hold(
    make_lease: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 0.6)
    first, second, lost = make_lease(), make_lease(), threading.Event()
    first.acquire()
    first._unlock()
    first.keep(lambda error: lost.set())
    second.acquire(takeover=True)
    assert lost.wait(10)
    first.release()  # must not free what is no longer its own
    with pytest.raises(LeaseError):
        make_lease().acquire()


def test_a_lease_that_is_kept_outlives_its_term(
    make_lease: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 1.5)
    first, lost = make_lease(), threading.Event()
    first.acquire()
    first.keep(lambda error: lost.set())
    assert not lost.wait(2.5)
    with pytest.raises(LeaseError):
        make_lease().acquire()
    first.release()


def test_only_what_is_proven_is_dead() -> None:
    me = process_identity()
    assert not is_proven_dead(me)
    assert is_proven_dead({**me, "start": "1"})
    assert is_proven_dead({**me, "boot": "another"})
    assert not is_proven_dead({**me, "start": "1", "host": "elsewhere"})
    assert not is_proven_dead({**me, "start": "1", "namespace": "pid:[1]"})
