"""The Optuna storage of a ledger, and one type of error for all its failures.

SQLite runs in WAL mode with a timeout: several processes can read while the driver writes, and a
row costs half as much as in the default journal mode.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.exc import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from ablate.errors import MissingDependencyError, StorageError, UsageError
from ablate.errors.installation import pip_install
from ablate.errors.masking import masked
from ablate.ledger.url import parse_url, sqlite_file

T = TypeVar("T")

_SQLITE_TIMEOUT_SECONDS = 60

_TRIES = 50
_PAUSE_SECONDS = 0.1
_MADE_MEANWHILE = ("already exists", "unique", "duplicate key")
"""Messages of SQLite and PostgreSQL about a table, type or row that another process has just
created."""

_LOCKED = "database is locked"
"""SQLite's message about a lock that it does not wait for, or has waited for long enough."""


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn errors of the database into one line that names it without its password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        cause = getattr(cause, "orig", None) or cause
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        if isinstance(error, ProgrammingError) and "invalid connection option" in reason:
            raise UsageError(
                f"storage {masked(url)}: the part after ? must be options of the database, got: "
                f"{reason}. Correct it; libpq's names are host, port, user, password, sslmode."
            ) from error
        fix = "Check that it exists and that you have write access."
        if reason == _LOCKED:
            fix = "Another process holds it, perhaps a stopped one: continue or end that process."
        raise StorageError(
            f"storage {masked(url)}: must be reachable and writable, got: {reason}. {fix}"
        ) from error


def open_storage(url: str, *, create: bool) -> RDBStorage:
    """The storage at `url`.

    Args:
        url: an SQLAlchemy URL.
        create: create the file or the tables if they are missing.

    Raises:
        StorageError: if it cannot be reached, or is missing and `create` is False.
        MissingDependencyError: if the database's driver is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        if not create:
            raise StorageError(
                f"storage {masked(url)}: must exist, got no such file. Check the path."
            )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"storage {masked(url)}: its folder must be writable, got: {error.strerror}. "
                "Choose another with `storage:` or run in another folder."
            ) from error
    with storage_errors(url):
        try:
            opened = opened_url(url)
            engine = sqlalchemy.create_engine(opened, **engine_arguments(url))
            retried(lambda: _connect(engine))
            engine.dispose()
            storage = retried(lambda: RDBStorage(opened, engine_kwargs=engine_arguments(url)))
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise MissingDependencyError(
                f"storage {masked(url)}: needs a database driver, got none. "
                f"{pip_install('postgres')} and write postgresql+psycopg://..."
            ) from error
        except RuntimeError as error:  # Optuna's error for tables of another version
            raise StorageError(
                f"storage {masked(url)}: must have the tables of the installed Optuna version, got "
                f"others. {error}"
            ) from error
    return storage


def _connect(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def retried(make: Callable[[], T]) -> T:
    """Create something in the database, and retry while other processes create the same.

    A table is checked and then created, so if two processes do this at once, one of them fails, and
    may fail again at the next table.  And SQLite does not wait for a lock where two connections
    could wait for each other, as when both go over to WAL.
    """
    until = time.monotonic() + _SQLITE_TIMEOUT_SECONDS
    for _ in range(_TRIES):
        try:
            return make()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            said = str(error).lower()
            is_locked = _LOCKED in said and time.monotonic() < until
            if not is_locked and not any(word in said for word in _MADE_MEANWHILE):
                raise
        time.sleep(_PAUSE_SECONDS)
    return make()


def opened_url(url: str) -> str:
    """The URL that a database is opened at: for reading alone where nothing can be written.

    An SQLite file in WAL mode is read with the help of two files beside it.  Where they cannot be
    made and nobody else has made them, nobody writes to the database, and it is read without.

    Raises:
        StorageError: if a database cannot be read so, because one of the two is missing.
    """
    file = sqlite_file(url)
    if file is None or not file.exists() or _is_writable(file):
        return url
    query = {"mode": "ro", "uri": "true"}
    log, index = (file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))
    if not index.exists():
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"storage {masked(url)}: must have {index.name} beside {log.name}, or be in a "
                "folder that can be written, got neither. Copy the folder to one that can be "
                "written, and read the copy."
            )
        query["immutable"] = "1"
    path = f"file:{quote(str(file.absolute()))}"
    return sqlalchemy.URL.create("sqlite", database=path, query=query).render_as_string()


def _is_writable(file: Path) -> bool:
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def engine_arguments(url: str) -> dict[str, Any]:
    """Arguments of `sqlalchemy.create_engine`: how long a connection waits for the database."""
    if parse_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _SQLITE_TIMEOUT_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
