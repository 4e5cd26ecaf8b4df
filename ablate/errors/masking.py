"""Masks secrets in texts, and removes them from the environment of child processes.

A storage's password comes from the study file, the command line or the environment.  It stays in
the driver: all printed or stored text goes through `masked`, and every start of a process is
wrapped in `without_secrets`.

Masked are the password of a URL and values such as `password=...`, by their position; and all known
secrets, anywhere and in any escaping.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from html.entities import codepoint2name
from typing import Any
from urllib.parse import unquote, unquote_plus

MASK = "***"
_FORM = "PASSWORD"

SECRET_VARIABLES = (
    "ABLATE_STORAGE",
    # Whatever leads libpq to a password or a key.
    *("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR"),
    *("PGSSLKEY", "PGSSLCERT", "PGSSLPASSWORD"),
)
"""Environment variables that only the driver may see, including those in a storage's `${NAME}`."""

_SECRETS = (
    *("PGPASSWORD", "PGSSLPASSWORD"),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY"),
)
"""Environment variables whose value is a secret; trials see those of trackers, for their own
loop."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_LEAST_CHARACTERS = 6
"""Shortest secret that is searched everywhere; shorter ones occur in too many words and numbers."""
_LEAST_DIGITS = 8

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# At the start of a text a URL may have spaces and quotes in its password.
_URL = re.compile(
    rf"(?P<scheme>\A{_SCHEME.pattern})(?P<rest>.*@[^\s:]\S*)"
    rf"|(?P<scheme_amid>{_SCHEME.pattern})(?P<rest_amid>[^\s'\"`<>]+)"
)
_PORT = re.compile(r"\d{0,5}(?:[/?#]|\W*$)")
_NAMES = "pass|pwd|secret|credential|token|key"
_QUERY = re.compile(rf"(?i)(?P<head>[?&][^=&\s]*(?:{_NAMES})[^=&\s]*=)(?P<value>[^&\s'\"#]+)")
_ASSIGNED = re.compile(
    r"(?i)(?P<head>\b\w*(?:password|passwd|pwd|passphrase|passfile|sslkey|secret) ?= ?)"
    r"(?!\*\*\*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&)\]}'\"]+)"
)
_ESCAPES = frozenset("%\\&+'")
"""Every escape of a character contains one of these."""

_lock = threading.Lock()
_kept: dict[str, tuple[tuple[str, ...], re.Pattern[str]]] = {}
"""Secret -> its spellings, and the pattern of it with escaped characters."""
_variables: set[str] = set()
_environment: tuple[str | None, ...] = ()


def masked(text: str) -> str:
    """Replace each secret in a text by `***`."""
    _keep_environment()
    for whole, escaped in _kept.values():
        for spelled in whole:
            text = text.replace(spelled, MASK)
        if not _ESCAPES.isdisjoint(text):
            text = escaped.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(_masked_url, text)
        text = _QUERY.sub(rf"\g<head>{MASK}", text)
    return _ASSIGNED.sub(rf"\g<head>{MASK}", text) if "=" in text else text


def masked_data(value: Any) -> Any:
    """Mask each text in plain data (as in JSON); keys are kept."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_data(item) for item in value]
    return value


def has_secret(storage: str) -> bool:
    """Whether a storage URL contains a secret that is not a `${VARIABLE}`."""
    return any(not _is_named(secret) for secret, _ in _secrets_of(storage))


def keep_secret(text: str) -> None:
    """Register the secrets of a URL of the user, so that they are masked from now on.

    Args:
        text: the complete text with the URL at its end.
    """
    for secret, public in _secrets_of(text):
        if not _is_named(secret):
            for spelled in {secret, unquote(secret), unquote_plus(secret)} - set(public):
                _keep(spelled)


def keep_secrets_in(value: Any) -> None:
    """Apply `keep_secret` to each text in plain data, including keys."""
    if isinstance(value, str):
        keep_secret(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            keep_secrets_in(key)
            keep_secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            keep_secrets_in(item)


def keep_variable(name: str) -> None:
    """Register a variable of a storage's URL, so that no process inherits it."""
    _variables.add(name)


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask everything that this process prints in the block, including libraries, warnings and
    threads."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_MaskedStream, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def print_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """As `sys.excepthook`: the traceback, masked."""
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))


class _MaskedStream:
    """Stands in for `sys.stdout` or `sys.stderr`."""

    def __init__(self, under: Any) -> None:
        self._under = under

    def write(self, text: str) -> int:
        self._under.write(masked(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> io.RawIOBase:
        """For bytes, which are masked like text."""
        return _MaskedBytes(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


class _MaskedBytes(io.RawIOBase):
    def __init__(self, text: _MaskedStream) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        encoding = getattr(self._text, "encoding", None) or "utf-8"
        self._text.write(bytes(data).decode(encoding, "backslashreplace"))
        return len(data)

    def flush(self) -> None:
        if not self._text.closed:
            self._text.flush()


def secret_variables() -> tuple[str, ...]:
    """Variables of the environment that only the driver may see."""
    named = _VARIABLE.findall(os.environ.get("ABLATE_STORAGE", ""))
    return tuple(dict.fromkeys([*SECRET_VARIABLES, *named, *sorted(_variables)]))


def environment_without_secrets(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process, without secrets; by default that of this process."""
    hidden = secret_variables()
    there = os.environ if environment is None else environment
    return {name: value for name, value in there.items() if name not in hidden}


@contextmanager
def without_secrets() -> Iterator[None]:
    """Remove secrets from the environment while a library starts processes in the block."""
    kept = {name: os.environ.pop(name) for name in secret_variables() if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _keep_environment() -> None:
    """Register the passwords in the environment, if it has changed."""
    global _environment  # noqa: PLW0603 (what was seen last)
    now = tuple(map(os.environ.get, ("ABLATE_STORAGE", *_SECRETS)))
    if now != _environment:
        _environment = now
        storage, *passwords = now
        keep_secret(_VARIABLE.sub(lambda found: os.environ.get(found[1], ""), storage or ""))
        for password in filter(None, passwords):
            _keep(password)


def _keep(secret: str) -> None:
    global _kept  # noqa: PLW0603 (who reads meanwhile goes on with the former one)
    least = _LEAST_DIGITS if secret.isdecimal() else _LEAST_CHARACTERS
    if len(secret) >= least and secret not in _kept:
        with _lock:
            escaped = re.compile(_first(secret[0]) + "".join(map(_character, secret)))
            found = {**_kept, secret: (tuple(_whole_spellings(secret)), escaped)}
            # The longest first: one may be a part of another.
            _kept = dict(sorted(found.items(), key=lambda one: -len(one[0])))


def _split(scheme: str, rest: str) -> tuple[str, str, str] | None:
    """Split a URL after its scheme: the part before the password, the password, and the rest.

    The last @ ends the password, which may contain an unescaped one.  Without an @, text after the
    colon that is not a port is treated as a password: the host or the @ was forgotten.
    """
    if scheme.startswith(("sqlite", "file")):
        return None  # a path
    who, at, where = rest.rpartition("@")
    if at:
        user, _, password = who.partition(":")
        return (f"{user}:", password, f"@{where}") if password else None
    host, _, tail = rest.partition(":")
    if not re.search(r"\w", tail) or _PORT.match(tail) or re.search(r"[/?#\[]", host):
        return None
    return f"{host}:", tail, ""


def _secrets_of(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The secrets of the URL at the end of a text, and the names in it.

    A password that equals the name of the user, the host or the database is masked only at its
    position; otherwise these names would be masked everywhere.
    """
    found = _SCHEME.search(text)
    if found is None:
        return
    rest, public = text[found.end() :], tuple[str, ...]()
    if (parts := _split(found.group(), rest)) is not None:
        before, password, after = parts
        public = (before.rstrip(":"), *re.split(r"[@/?#:]", after))
        yield password, public
        if not after:
            yield re.split(r"[/?#]", password)[0], public
    for query in _QUERY.finditer(rest):
        yield query["value"], public


def _masked_url(url: re.Match[str]) -> str:
    scheme = url["scheme"] or url["scheme_amid"]
    parts = _split(scheme, url["rest"] or url["rest_amid"])
    if parts is None or _is_named(parts[1]):
        return url.group()
    return f"{scheme}{parts[0]}{MASK}{parts[2]}"


def _is_named(secret: str) -> bool:
    """Whether it is a placeholder instead of a secret: a `${VARIABLE}`, or a form to fill in."""
    return _VARIABLE.sub("", secret) in ("", _FORM)


def _whole_spellings(secret: str) -> Iterator[str]:
    """The secret in plain text, base 16 and base 64."""
    yield secret
    data = secret.encode("utf-8", "surrogatepass")
    yield data.hex()
    yield data.hex().upper()
    for before in range(3):
        # Characters of it alone: those at the ends have bits of what is encoded beside it.
        encoded = base64.b64encode(b"\0" * before + data).decode()
        inner = encoded[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))


def _first(one: str) -> str:
    """Looks ahead: three times as fast, since most places begin no spelling."""
    return rf"(?=[{re.escape(one)}%\\&'+])"


def _character(one: str) -> str:
    """A pattern of one character, plain or in any escape."""
    code, data = ord(one), one.encode("utf-8", "surrogatepass")
    ways = [
        *("".join(f"%{byte:02x}" for byte in data), rf"\\+U{code:08x}"),
        *(f"&#0*{code};", f"&#x0*{code:x};"),
    ]
    if code < 0x100:
        ways.append(rf"\\+x{code:02x}")
    if len(data) > 1:
        ways.append("".join(rf"\\+x{byte:02x}" for byte in data))
    if code < 0x10000:
        ways.append(rf"\\+u{code:04x}")
    else:
        high, low = divmod(code - 0x10000, 0x400)
        ways.append(rf"\\+u{0xD800 + high:04x}\\+u{0xDC00 + low:04x}")
    exact = [f"&{codepoint2name[code]};"] if code in codepoint2name else []
    if one == "'":
        exact += ["&apos;", r"'\\''", "'\"'\"'", "''"]
    if one == " ":
        exact.append(r"\+")
    if not one.isalnum():
        exact.append(rf"\\+{re.escape(one)}")
    return f"(?:(?i:{'|'.join(ways)})|{'|'.join([*exact, re.escape(one)])})"
