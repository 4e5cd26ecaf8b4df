"""Storage URLs, and `${VARIABLE}` in them.

`ablate.errors.masking` masks them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
)

from ablate.errors import UsageError
from ablate.errors.masking import keep_secret, keep_variable

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
