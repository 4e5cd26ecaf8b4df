"""One driver a study: a lease in the study's own database.

Optuna's attributes have no compare-and-set, so the lease is a small separate table, taken by an
UPDATE that names the token it read.  Times are those of the database's clock.  For a local SQLite
file there is also a lock file next to it, and the file itself is watched.  A driver that is proven
dead (`holder.py`) is replaced at once, any other one after the term, or with `--takeover`.
"""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from ablate.errors import AblateError, LeaseError, StorageError
from ablate.ledger.holder import Holder, is_proven_dead, this_process
from ablate.ledger.rescue import DatabaseFile
from ablate.ledger.storage import retried, storage_errors
from ablate.ledger.url import sqlite_file

TERM_SECONDS = 180
"""Longer than an outage of the database that a driver survives."""

_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
}


@dataclass(frozen=True)
class _Entry:
    """The table row of a study, as read.

    Attributes:
        token: token of the holder; None if the lease is free.
        holder: None if it cannot be parsed.
        since: when it was taken, in seconds since 1970; 0 if unknown.
        age: seconds since the last heartbeat, by the database's clock; negative if that clock was
            set back, None if there was no heartbeat.
    """

    token: str | None
    holder: Holder | None
    since: float
    age: float | None

    @property
    def may_be_taken(self) -> bool:
        """Whether the lease is free, or its holder is past the term or proven dead."""
        if self.token is None or (self.age is not None and self.age >= TERM_SECONDS):
            return True
        return self.holder is not None and is_proven_dead(self.holder)


def delete_free_lease(connection: Connection, study_id: int) -> bool:
    """Delete the lease of a study that is deleted; False if a driver holds it."""
    deleted = connection.execute(
        text("DELETE FROM ablate_lease WHERE study_id = :id AND token IS NULL"), {"id": study_id}
    )
    return deleted.rowcount == 1


class Lease:
    """The right to drive one study; a thread renews it until it is released."""

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
        self._file: DatabaseFile | None = None

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

        Afterwards `last_sign` is the last heartbeat of the previous holder, in seconds since 1970;
        None if there was no previous holder.

        Raises:
            LeaseError: if another driver holds it; the message names it and since when.
        """
        with storage_errors(self._url):
            retried(self._make_row)
        seen = self._read()
        if not takeover and not seen.may_be_taken:
            raise self._held(seen)
        try:
            if self._lock is not None:
                self._lock.acquire(timeout=0)
        except Timeout:
            # A holder that is suspended keeps its lock; what it writes later the fence refuses.
            if not takeover and (seen.age is None or seen.age < TERM_SECONDS):
                raise self._held(seen) from None
        with storage_errors(self._url), self._engine.begin() as connection:
            taken = connection.execute(
                text(
                    f"UPDATE ablate_lease SET token = :token, holder = :holder, "
                    f"since = {self._now}, renewed = {self._now} "
                    "WHERE study_id = :id AND COALESCE(token, '') = :seen"
                ),
                {
                    "token": self._token,
                    "holder": json.dumps(vars(this_process())),
                    "id": self._study_id,
                    "seen": seen.token or "",
                },
            )
        if taken.rowcount != 1:
            self._unlock()
            raise self._held(self._read())
        self._renewed = time.monotonic()
        self.last_sign = None if seen.age is None else time.time() - max(0.0, seen.age)
        file = sqlite_file(self._url)
        if file is not None:
            self._file = DatabaseFile(self._engine, file, self._name)

    def check_file(self) -> None:
        """Check that an SQLite file is still at its path; for other databases, nothing.

        Raises:
            StorageError: if it was deleted, moved or replaced; the message says where its rows were
                copied.
        """
        if self._file is not None:
            self._file.check()

    def fence(self, connection: Connection) -> None:
        """Check and renew the lease as part of a transaction, so that a driver that lost it cannot
        write.

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
                f"study {self._name}: its lease was taken over by another driver. This driver "
                "writes no more results; see `ablate status`."
            )

    def renewed(self, begun: float) -> None:
        """Note that a fenced transaction that started at this time (monotonic) was committed."""
        self._renewed = max(self._renewed, begun)

    def seconds_left(self) -> float:
        """Seconds until the term ends and another driver may take the study; negative
        afterwards."""
        return TERM_SECONDS - (time.monotonic() - self._renewed)

    def holder(self) -> str | None:
        """Description of the current driver; None if there is none or it is proven dead."""
        try:
            seen = self._read()
        except (StorageError, NoResultFound):
            return None  # there has never been a driver
        return None if seen.may_be_taken else _in_words(seen.holder)

    def keep(self, on_lost: Callable[[AblateError], None]) -> None:
        """Renew in the background; `on_lost` is called once, with the reason, if the lease is lost.

        A second call replaces `on_lost`.
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
        """Release the lease; a second call does nothing."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    text("UPDATE ablate_lease SET token = NULL WHERE token = :token"),
                    {"token": self._token},
                )
        except (SQLAlchemyError, StorageError):
            pass  # the storage is away: the lease ends with its term or with this process
        self._unlock()

    def _renew_until_released(self) -> None:
        while not self._released.wait(TERM_SECONDS / 6):
            begun = time.monotonic()
            try:
                with self._engine.begin() as connection:
                    self.fence(connection)
                self.renewed(begun)
                self.check_file()
            except (LeaseError, StorageError) as error:
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
            f"from the database ({reason}). Restore it, then run `ablate resume`."
        )

    def _read(self) -> _Entry:
        with storage_errors(self._url), self._engine.connect() as connection:
            token, holder, since, age = connection.execute(
                text(
                    f"SELECT token, holder, since, {self._now} - renewed "
                    "FROM ablate_lease WHERE study_id = :id"
                ),
                {"id": self._study_id},
            ).one()
        return _Entry(
            None if token is None else str(token),
            Holder.read(holder),
            _number(since) or 0.0,
            _number(age),
        )

    def _held(self, seen: _Entry) -> LeaseError:
        begun = _moment(seen.since)
        if seen.age is None or seen.age < 0:
            self._begin_term()
            sign = "no heartbeat"
            if seen.age is not None:
                sign = f"last heartbeat {-seen.age:.0f} s ahead of the storage's clock"
            sign += f", so its lease expires {TERM_SECONDS:g} s from now"
        else:
            left = max(0.0, TERM_SECONDS - seen.age)
            sign = f"last heartbeat {seen.age:.0f} s ago; without another, its lease expires in "
            sign += f"{left:.0f} s"
        return LeaseError(
            f"study {self._name}: one driver at a time, got a second: "
            f"{_in_words(seen.holder)} has run it since {begun} ({sign}). Wait, stop that "
            "process, or add --takeover."
        )

    def _begin_term(self) -> None:
        """Start the term now if the last heartbeat is unusable (for example in the future).

        A living holder renews it; the lease of a dead one expires a term later.
        """
        with storage_errors(self._url), self._engine.begin() as connection:
            connection.execute(
                text(f"UPDATE ablate_lease SET renewed = {self._now} WHERE study_id = :id"),
                {"id": self._study_id},
            )

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def remove_lease(connection: Connection, url: str, study_id: int) -> None:
    """Remove the lease of a study: its row, and the lock file of an SQLite file."""
    if inspect(connection).has_table("ablate_lease"):
        connection.execute(text("DELETE FROM ablate_lease WHERE study_id = :id"), {"id": study_id})
    file = sqlite_file(url)
    if file is not None:
        Path(f"{file}.{study_id}.lock").unlink(missing_ok=True)


def _in_words(holder: Holder | None) -> str:
    return "an unknown process" if holder is None else f"process {holder.pid} on {holder.host}"


def _number(value: object) -> float | None:
    """A finite number; None for anything else in the table."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _moment(seconds: float) -> str:
    try:
        return (
            time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "just now"
        )
    except (OverflowError, OSError, ValueError):
        return "an unknown time"
