"""The Optuna storage behind a ledger, and one kind of error for whatever breaks in it.

SQLite runs in WAL mode with a timeout: several processes read while the driver writes, and a
row costs half of what it costs in the default journal mode.
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

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from ablate.errors import MissingDependencyError, StorageError, UsageError
from ablate.errors.masking import keep_secret, keep_variable, masked

T = TypeVar("T")

_SQLITE_TIMEOUT_SECONDS = 60

_TRIES = 50
_PAUSE_SECONDS = 0.1
_MADE_MEANWHILE = ("already exists", "unique", "duplicate key")
"""What SQLite and PostgreSQL say of a table, type or row that another process has just made."""


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn whatever the database raises into one line that names it without its password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        cause = getattr(cause, "orig", None) or cause
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        if isinstance(error, ProgrammingError) and "invalid connection option" in reason:
            raise UsageError(
                f"storage {masked(url)}: what stands after the ? must be options of the database, "
                f"got: {reason}. Correct it: libpq's names are host, port, user, password, sslmode."
            ) from error
        raise StorageError(
            f"storage {masked(url)}: must be reachable and writable, got: {reason}. "
            "Check that it is there and that you may write to it."
        ) from error


def open_storage(url: str, *, create: bool) -> RDBStorage:
    """The storage at `url`.

    Args:
        url: an SQLAlchemy URL.
        create: make the file or the tables where they are missing.

    Raises:
        StorageError: if it cannot be reached, or is missing and `create` is false.
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
                "Choose another with `storage:` or run elsewhere."
            ) from error
    with storage_errors(url):
        try:
            engine = sqlalchemy.create_engine(url, **engine_arguments(url))
            with engine.connect() as connection:
                if parse_url(url).get_backend_name() == "sqlite":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            engine.dispose()
            storage = make_tables(lambda: RDBStorage(url, engine_kwargs=engine_arguments(url)))
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise MissingDependencyError(
                f"storage {masked(url)}: needs a database driver, got none. "
                "pip install 'ablate[postgres]' and write postgresql+psycopg://..."
            ) from error
        except RuntimeError as error:  # Optuna's own word for tables of another version
            raise StorageError(
                f"storage {masked(url)}: must have tables of this Optuna's version, "
                f"got others. {error}"
            ) from error
    return storage


def make_tables(make: Callable[[], T]) -> T:
    """Call what makes tables where they are missing, again while others make the same.

    It looks for a table and then makes it, so of two processes that do so at once one fails at
    whichever table they meet, and may fail again at the next one.
    """
    for _ in range(_TRIES):
        try:
            return make()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if not any(word in str(error).lower() for word in _MADE_MEANWHILE):
                raise
        time.sleep(_PAUSE_SECONDS)
    return make()


def engine_arguments(url: str) -> dict[str, Any]:
    """Arguments of `sqlalchemy.create_engine`: how long a connection waits for the database."""
    if parse_url(url).get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _SQLITE_TIMEOUT_SECONDS}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}


# -- Where a study is kept: storage URLs, and `${VARIABLE}` in them ------------------------
#
# What may be shown of one: `ablate.errors.masking`.


_VARIABLE = re.compile(r"\$\{(\w+)\}")
_FORM = (
    "Write postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; in a password @ is %40, "
    "/ is %2F, : is %3A, # is %23."
)


def fill_variables(url: str) -> str:
    """`url` with every `${NAME}` replaced from the environment.

    The variables are secret from here on, and what the URL then says.

    Raises:
        UsageError: if a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise UsageError(
                f"storage: ${{{name}}} must be set in the environment, got nothing. "
                f"export {name}=..."
            )
        keep_variable(name)
        return os.environ[name]

    filled = _VARIABLE.sub(value, url)
    keep_secret(filled)
    return filled


def parse_url(url: str) -> URL:
    """The URL in its parts.

    Raises:
        UsageError: if it is not an SQLAlchemy URL; the message does not repeat it, since a
            password may stand in it.
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
        raise UsageError(f"storage: must have one @, got another, unescaped. {_FORM}")
    return parsed


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; none for another database or one in memory."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(file)).render_as_string()
