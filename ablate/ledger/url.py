"""Where a study is kept: storage URLs, `${VARIABLE}` in them, and what may be shown of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ablate.errors import UsageError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def fill_variables(url: str) -> str:
    """`url` with every `${NAME}` replaced from the environment.

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
        return os.environ[name]

    return _VARIABLE.sub(value, url)


def variables_in(url: str) -> tuple[str, ...]:
    """Names of the variables that a URL is filled from."""
    return tuple(_VARIABLE.findall(url))


def parse_url(url: str) -> URL:
    """The URL in its parts.

    Raises:
        UsageError: if it is not an SQLAlchemy URL; the message does not repeat it, since a
            password may stand in it.
    """
    try:
        return make_url(url)
    except ArgumentError:
        raise UsageError(
            "storage: must be an SQLAlchemy URL, got something else. "
            "Write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
        ) from None


def masked(url: str) -> str:
    """The URL as it may be shown: its password, and any in its query, hidden."""
    parsed = parse_url(url)
    query = {
        key: "hidden" if "password" in key.lower() else value for key, value in parsed.query.items()
    }
    return parsed.set(query=query).render_as_string(hide_password=True)


def without_password(storage: str) -> str:
    """A storage as it was written, where its password is a variable; else `masked`."""
    password = parse_url(storage).password
    literal = _VARIABLE.sub("", str(password or ""))
    return masked(storage) if literal else storage


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; none for another database or one in memory."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(file)).render_as_string()
