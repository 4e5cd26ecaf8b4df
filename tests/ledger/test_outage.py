"""A storage that goes away and comes back, and one that does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer
from test_ledger_rows import make_head, make_scores
from waiting import SECONDS

from ablate.errors import StorageError
from ablate.ledger import lease as lease_module
from ablate.ledger.driving import Driving
from ablate.ledger.lease import Lease
from ablate.ledger.ledger import Ledger
from ablate.ledger.storage import fill_variables


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The session's, which runs again afterwards."""
    yield postgres_server
    postgres_server.start()


class Driver:
    """A ledger that is held, with what its driver was told."""

    def __init__(self, url: str) -> None:
        self.told: list[tuple[str, str]] = []
        self.stop = threading.Event()
        self.ledger = Ledger.create(url, make_head(), trials=3)
        self.lease: Lease = self.ledger.lease()
        self.lease.acquire()
        self.ledger.store.hold(self.lease, lambda *told: self.told.append(told), self.stop)
        self.driving = Driving(self.ledger)


def test_an_outage_within_the_term_is_sat_out(server: PostgresServer) -> None:
    driver = Driver(server.new_database())
    driver.driving.ask()
    server.stop()
    done = threading.Event()

    def end() -> None:
        driver.driving.complete(0, make_scores(0.93, 0.61))
        done.set()

    thread = threading.Thread(target=end)
    thread.start()
    assert not done.wait(2)
    server.start()
    assert done.wait(SECONDS)
    thread.join()
    (row,) = driver.ledger.read().rows
    assert (row.state, row.values) == ("COMPLETE", (0.93, 0.61))
    events = [event for event, _ in driver.told]
    assert events == ["storage_away", "storage_back"]
    assert "no new trial starts" in driver.told[0][1]
    driver.lease.release()


def test_an_outage_beyond_the_term_ends_the_driver(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(server.new_database())
    driver.driving.ask()
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 2.0)
    server.stop()
    with pytest.raises(
        StorageError, match=r"must answer before the lease expires, got no answer for \d+ s"
    ):
        driver.driving.complete(0, make_scores())
    server.start()
    assert driver.ledger.read().rows[0].state == "RUNNING"


def test_who_is_told_to_stop_does_not_wait(server: PostgresServer) -> None:
    driver = Driver(fill_variables(server.new_database()))  # where a URL's password is kept
    driver.driving.ask()
    server.stop()
    driver.stop.set()
    with pytest.raises(StorageError, match=r"must be reachable and writable") as raised:
        driver.driving.complete(0, make_scores())
    assert server.password not in str(raised.value)
