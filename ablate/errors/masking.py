"""Masks secrets in texts, and removes them from the environment of child processes.

A storage's password comes from the study file, the command line or the environment.  It stays in
the driver: all printed or stored text goes through `masked`, and every start of a process is
wrapped in `without_secrets`.

Masked is what is known: each secret is registered where it comes in (`keep_secret`), and searched
in any escaping, in time proportional to the length of the text.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from html.entities import codepoint2name
from itertools import groupby
from typing import Any
from urllib.parse import unquote, unquote_plus

MASK = "***"
_FORM = "PASSWORD"

_HIDDEN = {"ABLATE_STORAGE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"}
_HIDDEN |= {"PGSYSCONFDIR", "PGSSLKEY", "PGSSLCERT", "PGSSLPASSWORD"}
"""Environment variables that only the driver may see: whatever leads to a storage's password or
key.  Those in its `${NAME}` are added as they are met."""
_URLS = ("ABLATE_STORAGE", "MLFLOW_TRACKING_URI")
_TRACKERS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "WANDB_API_KEY")
_SECRETS = ("PGPASSWORD", "PGSSLPASSWORD", *_TRACKERS)
"""Environment variables whose value is a secret; trials see those of trackers, for their own
loop."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PORT = re.compile(r"\d{0,5}(?:[/?#]|\W*$)")
_SECRET_NAME = re.compile(r"(?i)pass|pwd|secret|credential|token|key")
_LEAST_CHARACTERS, _LEAST_DIGITS = 6, 8
"""Shortest secret that is searched everywhere; shorter ones occur in too many words and numbers."""
_LONGEST_ESCAPED = 200
"""Longest secret that is searched in any escape; a longer one is a token of letters and digits."""

_kept: dict[tuple[str, str, str], None] = {}
"""What is before a secret, the secret, and what is after it; searched everywhere if neither is."""
_variables: set[str] = set()


def masked(text: str) -> str:
    """Replace each known secret in a text by `***`."""
    for name in _URLS:
        if url := os.environ.get(name):
            keep_secret(_VARIABLE.sub(lambda named: os.environ.get(named[1], ""), url))
    for name in _SECRETS:
        if _is_long(secret := os.environ.get(name, "")):
            _kept["", secret, ""] = None
    return _search(tuple(_kept)).sub(MASK, text)


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
    return any(not _is_named(secret) for _, secret, _ in _secrets_of(storage))


def keep_secret(text: str) -> None:
    """Register the secrets of a URL of the user, so that they are masked from now on.

    A short password, or one that is also the name of user, host or database, is masked only in its
    place in the URL; otherwise it would be masked in ordinary words.

    Args:
        text: the complete text with the URL at its end.
    """
    for before, secret, after in _secrets_of(text):
        public = re.split(r"[@/?#:]", f"{before}@{after}")
        for spelled in {secret, unquote(secret), unquote_plus(secret)}:
            everywhere = _is_long(spelled) and spelled not in public
            if not _is_named(spelled):
                _kept["" if everywhere else before, spelled, "" if everywhere else after[:1]] = None


def keep_secrets_in(value: Any) -> None:
    """Apply `keep_secret` to each text in plain data, including keys."""
    if isinstance(value, str):
        keep_secret(value)
    elif isinstance(value, Mapping):
        keep_secrets_in([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            keep_secrets_in(item)


def keep_variable(name: str) -> None:
    """Register a variable of a storage's URL, so that no process inherits it."""
    _variables.add(name)


def environment_without_secrets(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process, without secrets; by default that of this process."""
    named = _VARIABLE.findall(os.environ.get("ABLATE_STORAGE", ""))
    hidden = _HIDDEN | _variables | set(named)
    there = os.environ if environment is None else environment
    return {name: value for name, value in there.items() if name not in hidden}


@contextmanager
def without_secrets() -> Iterator[None]:
    """Remove secrets from the environment while a library starts processes in the block."""
    kept = {name: os.environ.pop(name) for name in {*os.environ} - {*environment_without_secrets()}}
    try:
        yield
    finally:
        os.environ.update(kept)


def _secrets_of(text: str) -> Iterator[tuple[str, str, str]]:
    """The secrets of the URL at the end of a text, each with what is before and after it.

    The last @ ends the password, which may contain an unescaped one.  Without an @, text after the
    colon that is not a port is treated as a password: the host or the @ was forgotten.
    """
    head, sign, rest = text.partition("://")
    if not sign or re.split(r"[^\w+.-]", head)[-1].startswith(("sqlite", "file")):
        return  # a path
    who, at, where = rest.rpartition("@")
    if at:
        user, colon, password = who.partition(":")
        if password:
            yield user + colon, password, at + where
    else:
        host, colon, tail = rest.partition(":")
        is_port = not re.search(r"\w", tail) or _PORT.match(tail) or re.search(r"[/?#\[]", host)
        if not is_port:
            yield host + colon, tail, ""
            yield host + colon, re.split(r"[/?#]", tail)[0], ""
    for option in re.split("[?&]", rest)[1:]:
        name, equals, value = option.partition("=")
        secret = re.split(r"[\s'\"#]", value)[0]
        if secret and _SECRET_NAME.search(name):
            yield name + equals, secret, ""


def _is_named(secret: str) -> bool:
    """Whether it is a placeholder instead of a secret: a `${VARIABLE}`, or a form to fill in."""
    return _VARIABLE.sub("", secret) in ("", _FORM)


def _is_long(secret: str) -> bool:
    return len(secret) >= (_LEAST_DIGITS if secret.isdecimal() else _LEAST_CHARACTERS)


@lru_cache(maxsize=1)
def _search(kept: Collection[tuple[str, str, str]]) -> re.Pattern[str]:
    """A pattern of all secrets, in base 16 or 64, or with each character plain or in any escape.

    A search takes time proportional to the text: no repetition in the pattern is unlimited, and it
    is tried at characters that begin a spelling alone, of backslashes at the first of a run.
    """
    first, ways = set("%&'+"), []
    for before, secret, after in sorted(kept, key=lambda parts: -len(parts[1])):  # may hold another
        first.add(secret[0])
        if before or after or len(secret) > _LONGEST_ESCAPED:
            ways.append(f"(?<={re.escape(before)}){re.escape(secret)}(?={re.escape(after)})")
            continue
        encoded = _in_other_bases(secret.encode("utf-8", "surrogatepass"))
        first |= {text[0] for text in encoded}
        runs = ((character, len(list(run))) for character, run in groupby(secret))
        ways += ["".join(_repeated(*run) for run in runs), *map(re.escape, encoded)]
    begins = re.escape("".join(sorted(first - {"\\"})))
    return re.compile(rf"(?=[{begins}]|(?<!\\)\\)(?:{'|'.join(ways) or '(?!)'})")


def _in_other_bases(data: bytes) -> list[str]:
    """In base 16 and 64; of base 64 the characters of it alone, since those at the ends have bits
    of what is encoded beside it."""
    texts = [data.hex(), data.hex().upper()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        inner = encoded[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
        texts += [inner, inner.replace("+", "-").replace("/", "_")]
    return texts


def _repeated(character: str, count: int) -> str:
    """A pattern of a character that stands `count` times, plain or in any escape."""
    code, data = ord(character), character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    slashes, amp, plain = r"\\{1,8}", "&(?:amp;)?", re.escape(character)
    entity = "apos" if character == "'" else codepoint2name.get(code)
    escapes = [
        "".join(f"%(?:25)?{byte:02x}" for byte in data),
        f"{slashes}U{code:08x}",
        "".join(f"{slashes}u{unit}" for unit in units),
        "".join(f"{slashes}x{byte:02x}" for byte in data),
        f"{slashes}x{code:02x}",
        f"{amp}#(?:0{{0,7}}{code}|x0{{0,7}}{code:x});",
    ]
    ways = [f"(?i:{'|'.join(escapes)})", *([f"{amp}{entity};"] if entity else [])]
    ways.append(plain if character.isalnum() else rf"\\{{0,8}}{plain}")
    ways += {"'": [r"'\\''", "'\"'\"'"], " ": [r"\+"]}.get(character, [])
    ways = [f"(?:{way}){{{count}}}" for way in ways]
    if character in "\\'":  # doubled, by each level of escaping
        ways.append(rf"{plain}{{{count},{8 * count}}}")
    return f"(?:{'|'.join(ways)})"
