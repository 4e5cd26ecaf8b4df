"""Standard output and error take every text, whatever their encoding."""

from __future__ import annotations

import io
from typing import Any


def take_every_text(*streams: Any) -> None:
    """Let these write what their encoding lacks as an escape (`\\ud800`, `\\u2713`), from now on.

    Args:
        streams: text streams; one that is no file of Python's own is left as it is, and so is one
            that its owner has given another way than raising.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _RAISING:
            stream.reconfigure(errors="backslashreplace")


_RAISING = ("strict", "surrogateescape")
"""The second one, of the C locale, still raises for what no path of the system has."""
