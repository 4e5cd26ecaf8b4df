"""What the cache holds, its removal, and the bound of evaluation sets.

Only what the cache's own functions made is seen: entries under a key, their locks, and what a
killed process left of one.  Importing this loads no torch.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.errors import UsageError
from ablate.files.cache import locked

KINDS = {
    "evaluation": ("evaluation", "images.npy"),
    "data": ("data", "digest"),
    "scan": ("scans", "about.json"),
    "baseline": ("baselines", "baseline.json"),
}
"""Kind -> its folder in the cache, and the file that every entry of it has."""
ABOUT = "about.json"
"""File with an entry's description; for an evaluation set also its checksums."""
BOUND_VARIABLE = "ABLATE_CACHE_GB"
"""Bounds the evaluation sets, in GB of 10^9 bytes."""
USUAL_BOUND_GB = 50.0

_MADE = re.compile(
    r"(?:([0-9a-f]{32})(\.lock|\.state)?|\.([0-9a-f]{32})(?:\.state)?\.[0-9a-f]{16})"
)
"""An entry, its lock, the state of an unfinished training; a temporary name of one of these."""
_IN_USE_SECONDS, _LEFT_SECONDS = 3600.0, 86400.0


@dataclass(frozen=True)
class Entry:
    """An entry of the cache, or what a killed process left of one.

    Attributes:
        key: folder that it is, or would have become.
        size: of its files, in bytes; used: when it was last opened or written, as a time stamp.
    """

    kind: str
    path: Path
    key: Path
    size: int
    used: float

    @property
    def is_left(self) -> bool:
        """Whether it is what a killed process left."""
        return self.path != self.key


def state_file(entry: Path) -> Path:
    """Where the state of a training is that the entry will be made of."""
    return Path(f"{entry}.state")


def mark_used(entry: Path) -> None:
    """Set an entry's time of last use to now, where the cache can be written."""
    with suppress(OSError):
        os.utime(entry)


def list_cache(cache: Path, kind: str) -> list[Entry]:
    """The entries of a kind, the most recently used first, and what was left for a day."""
    folder, file = KINDS[kind]
    entries = []
    for path in _children(cache / folder):
        made = _MADE.fullmatch(path.name)
        if made is None:
            continue
        key = path.with_name(made[1] or made[3])
        if path == key and not (path / file).is_file():
            continue
        if made[2] == ".lock" and key.exists():
            continue
        try:
            # Of what is still being written, the files too: they do not change its time.
            files = () if path == key else _children(path)
            used = max(file.lstat().st_mtime for file in (path, *files))
            entry = Entry(kind, path, key, size_of(path), used)
        except OSError:  # removed meanwhile
            continue
        if not entry.is_left or time.time() - used > _LEFT_SECONDS:
            entries.append(entry)
    return sorted(entries, key=lambda entry: (-entry.used, entry.path.name))


def remove(entry: Entry) -> bool:
    """Remove an entry with its lock; processes that have it mapped are not affected.

    Returns:
        Whether it is gone: not if a process is making it, or it cannot be removed.
    """
    lock = FileLock(f"{entry.key}.lock")
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return False
    try:
        if Path(lock.lock_file) != entry.path:
            # Renamed in one step, so that no reader finds an incomplete entry.
            gone = entry.path.with_name(f".{entry.key.name}.{secrets.token_hex(8)}")
            with suppress(FileNotFoundError):
                entry.path.rename(gone)
                shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()
        if not entry.key.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        lock.release()
    return True


def evaluation_bound() -> float:
    """Bytes that evaluation sets may take: `ABLATE_CACHE_GB`, else 50 GB.

    Raises:
        UsageError: if it is not a number from 0, or is not finite.
    """
    text = os.environ.get(BOUND_VARIABLE) or str(USUAL_BOUND_GB)
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if not (bound >= 0 and math.isfinite(bound * 1e9)):
        raise UsageError(
            f"{BOUND_VARIABLE}: must be a number of GB, at least 0, got {text!r}. Correct it, or "
            f"unset it to use {USUAL_BOUND_GB:g}."
        )
    return bound * 1e9


def bound_evaluation_sets(cache: Path, keep: Path) -> list[Path]:
    """Remove the least recently used evaluation sets until their size is within the bound.

    What killed processes left goes first.  Sets used within the last hour are kept, so the bound
    may be exceeded while many are in use.  Of several processes that do this at once, one removes
    and the others wait and count again.

    Args:
        cache: folder that holds `evaluation/`.
        keep: the new entry, which is kept.

    Returns:
        The removed sets.

    Raises:
        UsageError: if `ABLATE_CACHE_GB` is not a number from 0, or the cache cannot be written.
    """
    bound, removed = evaluation_bound(), []
    with locked(cache / KINDS["evaluation"][0] / "bound"):
        entries = list_cache(cache, "evaluation")
        total = sum(entry.size for entry in entries)
        since = time.time() - _IN_USE_SECONDS
        for entry in sorted(entries, key=lambda entry: (not entry.is_left, entry.used)):
            if not entry.is_left and (total <= bound or entry.used > since):
                break
            if entry.path != keep and remove(entry):
                total -= entry.size
                removed.append(entry.path)
    return removed


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files)


def _children(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()
