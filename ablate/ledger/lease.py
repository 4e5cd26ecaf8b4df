"""One driver a study: a lease in the study's own database.

Optuna's attributes have no compare-and-set, so the lease is a small table of its own, taken by
an UPDATE that names the token it saw.  Times are the database's clock.  On a local SQLite file a
lock beside it holds as well.  A dead driver is taken over at once where host, boot, pid namespace
and process start time prove it dead, else after the term, or when the user says so.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from ablate.errors import AblateError, LeaseError, StorageError
from ablate.ledger.storage import make_tables, storage_errors
from ablate.ledger.url import sqlite_file

TERM_SECONDS = 180
"""Longer than an outage of the storage that a driver sits out."""

_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
}


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """What tells one process from every other: host, boot, pid namespace, pid, start time."""
    pid = os.getpid() if pid is None else pid
    return {
        "host": socket.gethostname(),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "pid": pid,
        "start": _start_time(pid),
    }


def is_proven_dead(holder: dict[str, Any]) -> bool:
    """True only where the holder's process ran on this very system and is gone."""
    here = process_identity(holder["pid"])
    if not here["boot"] or not here["namespace"] or holder["host"] != here["host"]:
        return False
    if holder["boot"] != here["boot"]:
        return True  # the same host has been started anew since
    return bool(holder["namespace"] == here["namespace"] and holder["start"] != here["start"])


def delete_free_lease(connection: Connection, study_id: int) -> bool:
    """Take the lease of a study away with it; false where a driver holds it."""
    deleted = connection.execute(
        text("DELETE FROM ablate_lease WHERE study_id = :id AND token IS NULL"), {"id": study_id}
    )
    return deleted.rowcount == 1


class Lease:
    """The right to drive one study; renewed by a thread of its own until released."""

    def __init__(self, engine: Engine, url: str, study_id: int, name: str) -> None:
        self._engine = engine
        self._url = url
        self._study_id = study_id
        self._name = name
        self._token = uuid.uuid4().hex
        self._now = _NOW[engine.dialect.name]
        self._renewed = time.monotonic()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_lost: Callable[[AblateError], None] = lambda _error: None
        self._lost: AblateError | None = None
        self.last_sign: float | None = None
        file = sqlite_file(url)
        self._lock = FileLock(f"{file}.{study_id}.lock") if file is not None else None

    def _make_row(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "CREATE TABLE IF NOT EXISTS ablate_lease (study_id INTEGER PRIMARY KEY, "
                    "token VARCHAR(32), holder TEXT, since DOUBLE PRECISION, "
                    "renewed DOUBLE PRECISION)"
                )
            )
            connection.execute(
                text("INSERT INTO ablate_lease (study_id) VALUES (:id) ON CONFLICT DO NOTHING"),
                {"id": self._study_id},
            )

    def acquire(self, *, takeover: bool = False) -> None:
        """Take the lease.

        Args:
            takeover: take it even from a holder that may be alive.

        Afterwards `last_sign` is when the holder before gave its last sign, in seconds since 1970;
        none where it gave the lease back.

        Raises:
            LeaseError: if another driver holds it; the message says who, and since when.
        """
        with storage_errors(self._url):
            make_tables(self._make_row)
        seen, holder, since, age = self._read()
        if seen is not None and not takeover and age < TERM_SECONDS and not is_proven_dead(holder):
            raise self._held(holder, since, age)
        try:
            if self._lock is not None:
                self._lock.acquire(timeout=0)
        except Timeout:
            # A holder that is suspended keeps its lock; what it writes later the fence refuses.
            if not takeover and age < TERM_SECONDS:
                raise self._held(holder, since, age) from None
        with storage_errors(self._url), self._engine.begin() as connection:
            taken = connection.execute(
                text(
                    f"UPDATE ablate_lease SET token = :token, holder = :holder, "
                    f"since = {self._now}, renewed = {self._now} "
                    "WHERE study_id = :id AND COALESCE(token, '') = :seen"
                ),
                {
                    "token": self._token,
                    "holder": json.dumps(process_identity()),
                    "id": self._study_id,
                    "seen": seen or "",
                },
            )
        if taken.rowcount != 1:
            self._unlock()
            _, holder, since, age = self._read()
            raise self._held(holder, since, age)
        self._renewed = time.monotonic()
        self.last_sign = None if seen is None else time.time() - age

    def fence(self, connection: Connection) -> None:
        """Prove, and renew, the lease as part of a transaction: none that lost it writes.

        Raises:
            LeaseError: if another driver took it.
        """
        ours = connection.execute(
            text(
                f"UPDATE ablate_lease SET renewed = {self._now} "
                "WHERE study_id = :id AND token = :token"
            ),
            {"id": self._study_id, "token": self._token},
        )
        if ours.rowcount != 1:
            raise LeaseError(
                f"study {self._name}: the lease on it was lost: another driver took it over. "
                "Nothing more is written here; see ablate status."
            )

    def renewed(self, begun: float) -> None:
        """A fenced transaction that began at this moment (monotonic) has been committed."""
        self._renewed = max(self._renewed, begun)

    def seconds_left(self) -> float:
        """Until the term is over and another driver may take the study; below 0 afterwards."""
        return TERM_SECONDS - (time.monotonic() - self._renewed)

    def holder(self) -> str | None:
        """Who drives the study, in words; none where nobody does or it is proven dead."""
        try:
            token, holder, _, age = self._read()
        except (StorageError, NoResultFound):
            return None  # no driver has ever been here
        if token is None or age > TERM_SECONDS or is_proven_dead(holder):
            return None
        return _in_words(holder)

    def keep(self, on_lost: Callable[[AblateError], None]) -> None:
        """Renew in the background; `on_lost` is called once, with why, if it cannot be held.

        Called again, it puts another `on_lost` in the place of the one before.
        """
        self._on_lost = on_lost
        if self._lost is not None:
            on_lost(self._lost)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._renew_until_released, name="ablate-lease", daemon=True
            )
            self._thread.start()

    def _lose(self, error: AblateError) -> None:
        self._lost = error
        self._on_lost(error)

    def release(self) -> None:
        """Give the lease back; a second call does nothing."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    text("UPDATE ablate_lease SET token = NULL WHERE token = :token"),
                    {"token": self._token},
                )
        except SQLAlchemyError:
            pass  # the storage is away: the lease ends with its term or with this process
        self._unlock()

    def _renew_until_released(self) -> None:
        while not self._released.wait(TERM_SECONDS / 6):
            begun = time.monotonic()
            try:
                with self._engine.begin() as connection:
                    self.fence(connection)
                self.renewed(begun)
            except LeaseError as error:
                self._lose(error)
                return
            except SQLAlchemyError as error:
                if self.seconds_left() <= 0:
                    self._lose(self._away(error))
                    return

    def _away(self, error: SQLAlchemyError) -> StorageError:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return StorageError(
            f"study {self._name}: its lease must be renewed within {TERM_SECONDS} s, got no answer "
            f"from the storage ({reason}). Bring it back, then ablate resume."
        )

    def _read(self) -> tuple[str | None, dict[str, Any], float, float]:
        with storage_errors(self._url), self._engine.connect() as connection:
            token, holder, since, age = connection.execute(
                text(
                    f"SELECT token, holder, since, {self._now} - renewed "
                    "FROM ablate_lease WHERE study_id = :id"
                ),
                {"id": self._study_id},
            ).one()
        return token, json.loads(holder or "{}"), float(since or 0), float(age or 0)

    def _held(self, holder: dict[str, Any], since: float, age: float) -> LeaseError:
        begun = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since)) if since else "just now"
        return LeaseError(
            f"study {self._name}: one driver at a time, got a second: {_in_words(holder)} drives "
            f"it since {begun} (last sign {age:.0f} s ago). Wait, stop it, or add --takeover."
        )

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _in_words(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """Clock ticks from boot to the start of a process; empty where there is none."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""
