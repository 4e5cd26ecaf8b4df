"""Names and sizes of files, folders and classes as a message shows them: on one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def show_name(name: str | int | Path) -> str:
    """A name, quoted and escaped if it has unprintable characters.

    A line break would split the message, and a name that is not UTF-8 cannot be written to a
    terminal.
    """
    text = str(name)
    return text if text.isprintable() else repr(text)


def without_controls(text: str) -> str:
    r"""The text with its control characters escaped (`\x1b`), but for line breaks and tabs.

    What a study file, a database or an archive says can then not move a terminal's cursor, nor
    turn the direction of a line.
    """
    return _CONTROLS.sub(lambda character: ascii(character[0])[1:-1], text)


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def few(names: Sequence[str | int], most: int = 3) -> str:
    """The first names or numbers, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(show_name, names[:most])) + more


def shown_if(condition: object, text: str) -> str:
    """The text where the condition holds, else none: for a part of a sentence."""
    return text if condition else ""


def count_text(count: int, one: str, several: str = "") -> str:
    """ "1 trial", "2 trials"; `several` if the plural is not `one` and an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def bytes_text(count: int) -> str:
    """ "0 B", "812 kB", "1.2 GB": decimal, as disks are sold."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
