"""The Optuna storage of a ledger: its URL, opening it, and one type of error for its failures.

SQLite runs in WAL mode with a timeout: several processes can read while the driver writes, and a
row costs half as much as in the default journal mode.  `ablate.errors.masking` masks URLs.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from ablate.errors import MissingDependencyError, StorageError, UsageError, pip_install
from ablate.errors.masking import keep_secret, keep_variable, masked

T = TypeVar("T")

_SQLITE_TIMEOUT_SECONDS = 60

_PAUSE_SECONDS = 0.1
_LOCKED = "database is locked"
"""SQLite's message about a lock that it does not wait for, or has waited for long enough."""
_MADE_MEANWHILE = ("already exists", "unique", "duplicate key", _LOCKED)
"""Messages of SQLite and PostgreSQL about a table, type or row that another process has just
created."""


# -- The URL -------------------------------------------------------------------------------


_VARIABLE = re.compile(r"\$\{(\w+)\}")
_FORM = (
    "Write postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; in a password @ is %40, "
    "/ is %2F, : is %3A, # is %23."
)
_OF_STORAGE = ("ABLATE_", "PG")
"""How the variables begin that a run folder may name."""


def fill_variables(url: str, *, in_folder: Path | None = None) -> str:
    """`url` with every `${NAME}` replaced from the environment.

    From then on, the variables and the secrets of the URL are masked.

    Args:
        in_folder: the run folder that names the URL: whoever made it could have any variable sent
            to a host of theirs, so only those of ablate and PostgreSQL are filled in.

    Raises:
        UsageError: if a variable is not set, or a run folder may not name it.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if in_folder is not None and not name.startswith(_OF_STORAGE):
            raise UsageError(
                f"{in_folder}: a run folder's storage may name variables ABLATE_... and PG... "
                f"alone, got ${{{name}}}. Name the study file, or URL#NAME."
            )
        if name not in os.environ:
            raise UsageError(
                f"storage: ${{{name}}} must be set in the environment, got nothing. Run export "
                f"{name}=..."
            )
        keep_variable(name)
        return os.environ[name]

    filled = _VARIABLE.sub(value, url)
    keep_secret(filled)
    return filled


def parse_url(url: str) -> URL:
    """Parse a URL.

    Raises:
        UsageError: if it is not an SQLAlchemy URL; the message does not repeat it, because it may
            contain a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(
            "storage: must be an SQLAlchemy URL, got something else. "
            "Write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
        ) from None
    except ValueError:  # it is the port that is made a number
        raise UsageError(
            f"storage: the port after HOST: must be a number, got something else. {_FORM}"
        ) from None
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise UsageError(
            f"storage: the port after HOST: must be from 1 to 65535, got {parsed.port}. {_FORM}"
        )
    if "@" in (parsed.host or ""):
        raise UsageError(f"storage: must have one @, got a second one, unescaped. {_FORM}")
    return parsed


def check_backend(url: str) -> None:
    """Refuse a database that holds no study of ablate.

    Raises:
        UsageError: if it is neither SQLite nor PostgreSQL.
    """
    name = parse_url(url).get_backend_name()
    if name not in ("sqlite", "postgresql"):
        raise UsageError(
            f"storage: must be SQLite or PostgreSQL, got {name}. Write sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/DATABASE."
        )


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for other databases and for one in memory."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(file)).render_as_string()


# -- Opening -------------------------------------------------------------------------------


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn errors of the database into one line that names it without its password."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, StorageInternalError) as error:
        reason = error_reason(error)
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


def error_reason(error: BaseException) -> str:
    """The first line of what the database says."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    text = str(cause).strip()
    return text.splitlines()[0] if text else type(cause).__name__


_known: dict[tuple[str, int | None, int], sqlalchemy.Engine] = {}
"""Storages whose tables were checked, by URL, file and process (a fork must not use connections of
its parent): checking them, and compiling statements for a new engine, is most of the time of
opening one."""


def open_storage(url: str, *, create: bool) -> sqlalchemy.Engine:
    """The storage at `url`, which has Optuna's tables; one engine for all who open it here.

    Args:
        url: an SQLAlchemy URL.
        create: create the file or the tables if they are missing.

    Raises:
        StorageError: if it cannot be reached, or is missing and `create` is False.
        MissingDependencyError: if the database's driver is not installed.
    """
    import optuna  # finding a study that is no database does not load it
    from optuna.storages import RDBStorage

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
            engine = _known.get(_place(opened, file)) or sqlalchemy.create_engine(
                opened, **engine_arguments(url)
            )
            retried(lambda: _connect(engine))
            place = _place(opened, file)
            if create or place not in _known:
                engine.dispose()
                optuna.logging.set_verbosity(optuna.logging.WARNING)
                logging.getLogger("alembic").setLevel(logging.WARNING)
                made = retried(lambda: RDBStorage(opened, engine_kwargs=engine_arguments(url)))
                made.engine.dispose()
                _known[place] = engine
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
    return engine


def _place(opened: str, file: Path | None) -> tuple[str, int | None, int]:
    """The key of a storage in `_known`; a file that another has replaced is another storage."""
    inode = file.stat().st_ino if file is not None and file.exists() else None
    return opened, inode, os.getpid()


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
    while True:
        try:
            return make()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            message = str(error).lower()
            if time.monotonic() > until or not any(one in message for one in _MADE_MEANWHILE):
                raise
        time.sleep(_PAUSE_SECONDS)


def opened_url(url: str) -> str:
    """The URL that a database is opened at: for reading alone where nothing can be written.

    An SQLite file in WAL mode is read with the help of two files beside it.  Where they cannot be
    made and nobody else has made them, nobody writes to the database, and it is read without.

    Raises:
        StorageError: if a database cannot be read so, because one of the two is missing.
    """
    file = sqlite_file(url)
    if (
        file is None
        or not file.exists()
        or all(os.access(path, os.W_OK) for path in (file, file.parent))
    ):
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


def engine_arguments(url: str) -> dict[str, Any]:
    """Arguments of `sqlalchemy.create_engine`: how long a connection waits for the database."""
    if parse_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _SQLITE_TIMEOUT_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
