"""Transactions on a study's database, under the lease, repeated after an outage.

Every function may be run twice: if the storage fails during a commit, it is unknown whether it was
committed.  So each write sets values and never increments them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from ablate.errors import StorageError
from ablate.errors.masking import masked
from ablate.ledger.storage import storage_errors

T = TypeVar("T")

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Patience:
    """How a driver waits for an unreachable storage.

    Attributes:
        seconds_left: until the lease expires, and another driver may take the study.
        renewed: called with the start time of each committed transaction, which renewed the lease.
        told: receives a line when the storage becomes unreachable, and when it answers again.
        stop: ends the waiting when set.
    """

    seconds_left: Callable[[], float]
    renewed: Callable[[float], None]
    told: Callable[[str, str], None]
    stop: threading.Event


class Store:
    """The database of one study.

    Args:
        url: of the storage, for messages.
        engine: of the database.
    """

    def __init__(self, url: str, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self._fence: Callable[[Connection], None] | None = None
        self._check: Callable[[], None] = lambda: None
        self._patience: Patience | None = None

    def hold(
        self,
        fence: Callable[[Connection], None],
        check: Callable[[], None],
        patience: Patience,
    ) -> None:
        """From now on every transaction checks the lease, and outages are waited for.

        Args:
            fence: first step of each transaction; raises if the lease is lost.
            check: called after each; raises if the database's file is no longer at its path.
        """
        self._fence, self._check, self._patience = fence, check, patience

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads, on one snapshot; outages are handled as for `write`.

        Raises:
            StorageError: if the storage cannot be reached.
        """
        engine = self._engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")

        def attempt() -> T:
            with engine.begin() as connection:
                if engine.dialect.name == "sqlite":  # its driver begins none for a SELECT
                    connection.exec_driver_sql("BEGIN")
                return work(connection)

        return self._patiently(attempt)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function as one transaction.

        If the lease is held and the storage is unreachable, it is retried until the lease expires.

        Raises:
            StorageError: if the storage cannot be reached, or its file was deleted or replaced.
            LeaseError: if another driver holds the study.
        """

        def attempt() -> T:
            begun = time.monotonic()
            with self._engine.begin() as connection:
                if self._fence is not None:
                    self._fence(connection)
                result = work(connection)
            if self._patience is not None:
                self._patience.renewed(begun)
            return result

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        away: float | None = None
        with storage_errors(self._url):
            while True:
                try:
                    result = attempt()
                except (DBAPIError, sqlite3.Error) as error:
                    self._check()
                    away = away or time.monotonic()
                    self._wait(error, first=away)
                else:
                    self._check()
                    if away is not None and self._patience is not None:
                        gone = time.monotonic() - away
                        self._patience.told(
                            "storage_back", f"the database answers again after {gone:.0f} s"
                        )
                    return result

    def _wait(self, error: Exception, *, first: float) -> None:
        patience = self._patience
        if patience is None or not _is_outage(error) or patience.stop.is_set():
            raise error
        left = patience.seconds_left()
        if left <= 0:
            raise StorageError(
                f"storage {masked(self._url)}: must answer before the lease expires, got no answer "
                f"for {time.monotonic() - first:.0f} s ({_first_line(error)}). Restore it, then "
                "run `ablate resume`: it continues from the last recorded epochs."
            ) from error
        if time.monotonic() - first < _RETRY_SECONDS:
            patience.told(
                "storage_away",
                f"the database does not answer ({_first_line(error)}): running trials continue, no "
                f"new trial starts; the study stops in {left:.0f} s",
            )
        patience.stop.wait(min(_RETRY_SECONDS, left))


def _is_outage(error: Exception) -> bool:
    """Whether a retry may succeed: the server, the network or the disk is unreachable."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError)


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
