"""Entries of the cache: their size and last use, their removal, the bound of evaluation sets.

Only files that the cache's own functions made are read: entries under a key, their locks, and what
a killed process left of one.  Importing this loads no torch.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ablate.errors import UsageError
from ablate.files.cache import locked

Kind = Literal["evaluation", "data", "scan", "baseline"]

KINDS: dict[Kind, tuple[str, str]] = {
    "evaluation": ("evaluation", "images.npy"),
    "data": ("data", "digest"),
    "scan": ("scans", "about.json"),
    "baseline": ("baselines", "baseline.json"),
}
"""Kind -> its folder in the cache, and the file that every entry of it has."""

_FILES: dict[str, frozenset[str]] = {
    "evaluation": frozenset({"images.npy", "about.json"}),
    "data": frozenset({"images.npy", "labels.npy", "digest", "about.json"}),
    "scans": frozenset({"about.json"}),
    "baselines": frozenset({"baseline.json", "weights.safetensors"}),
}
"""Folder of a kind -> all files that an entry of it is made with."""

ABOUT = "about.json"
"""File with an entry's description; for an evaluation set also its checksums.  Other entries are
valid without it."""

BOUND_VARIABLE = "ABLATE_CACHE_GB"
"""Bounds the evaluation sets, in GB of 10^9 bytes."""

USUAL_BOUND_GB = 50.0

_KEY = re.compile(r"[0-9a-f]{32}")
# Temporary names of `publish_folder`; those of eight characters are of earlier versions.
_LEFTOVER = re.compile(r"\.[0-9a-f]{32}(?:\.state)?\.(?:[0-9a-f]{16}|[0-9a-z_]{8})")
_BESIDE = (".lock", ".state")
"""Files next to an entry: its lock, and the state of an unfinished training."""
_IN_USE_SECONDS = 3600.0
_LEFTOVER_SECONDS = 86400.0


@dataclass(frozen=True)
class Entry:
    """A cache entry.

    Attributes:
        path: its folder.
        size: of its files, in bytes.
        used: when it was last opened, as a time stamp.
    """

    kind: Kind
    path: Path
    size: int
    used: float

    @cached_property
    def about(self) -> dict[str, Any]:
        """Its description; empty if there is none."""
        return _read_about(self)


@dataclass(frozen=True)
class Leftover:
    """Files of a killed process: an incomplete entry, the state of an unfinished training, or a
    lock without an entry.

    Attributes:
        size: in bytes.
        changed: when it was last written, as a time stamp.
    """

    kind: Kind
    path: Path
    size: int
    changed: float


def state_file(entry: Path) -> Path:
    """Where the state of a training is that the entry will be made of."""
    return Path(f"{entry}.state")


def mark_used(entry: Path) -> None:
    """Set an entry's time of last use to now, where the cache can be written."""
    with suppress(OSError):
        os.utime(entry)


def list_entries(cache: Path, kind: Kind) -> list[Entry]:
    """The entries of a kind, the most recently used first."""
    folder, file = KINDS[kind]
    found: list[Entry] = []
    for path in _children(cache / folder):
        if not _KEY.fullmatch(path.name) or not (path / file).is_file():
            continue
        try:
            used, size = path.stat().st_mtime, size_of(path)
        except OSError:  # removed meanwhile
            continue
        found.append(Entry(kind, path, size, used))
    return sorted(found, key=lambda entry: (-entry.used, entry.path.name))


def list_leftovers(cache: Path, kind: Kind, now: float) -> list[Leftover]:
    """Files of killed processes, and locks without entries.

    For evaluation sets these are files whose lock is free; for other kinds they must also be a day
    old, because a cache on a file system without locks may be used by other machines.
    """
    folder = cache / KINDS[kind][0]
    found: list[Leftover] = []
    for path in _children(folder):
        is_lock = path.suffix == ".lock" and _KEY.fullmatch(path.stem) is not None
        if is_lock and (folder / path.stem).exists():
            continue
        is_state = path.suffix == ".state" and _KEY.fullmatch(path.stem) is not None
        if not (is_lock or is_state or _LEFTOVER.fullmatch(path.name)):
            continue
        try:
            changed, size = _last_written(path), size_of(path)
        except OSError:
            continue
        waits = 0.0 if is_lock or kind == "evaluation" else _LEFTOVER_SECONDS
        if now - changed >= waits and _is_free(_entry_of(path)):
            found.append(Leftover(kind, path, size, changed))
    return sorted(found, key=lambda left: left.path.name)


def holds_others(path: Path) -> bool:
    """Whether an entry's folder has something in it that the cache did not make."""
    files = _FILES.get(path.parent.name, frozenset())
    if path.is_symlink():  # of which the link alone is removed
        return False
    return any(one.name not in files or one.is_dir() for one in _children(path))


def remove_entry(path: Path) -> bool:
    """Delete an entry with its lock; processes that have it mapped are not affected.

    Returns:
        Whether it was deleted.  It is kept if another process is writing it, if it contains other
        files, or if it cannot be removed.
    """
    if holds_others(path):
        return False
    with _try_lock(path) as free:
        if not free:
            return False
        # Renamed in one step, so that no reader finds an incomplete entry.
        gone = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            path.rename(gone)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        if not _delete(gone):
            return False
        _lock_of(path).unlink(missing_ok=True)
    return True


def remove_leftover(leftover: Leftover) -> bool:
    """Remove such a file, unless a process holds the lock of its entry.

    Returns:
        Whether it is gone.
    """
    path = leftover.path
    entry = _entry_of(path)
    with _try_lock(entry) as free:
        if not free:
            return False
        gone = path.suffix == ".lock" or _delete(path)
        if not entry.exists():
            _lock_of(entry).unlink(missing_ok=True)
    return gone


def evaluation_bound() -> float:
    """Bytes that evaluation sets may take: `ABLATE_CACHE_GB`, else 50 GB.

    Raises:
        UsageError: if it is not a number from 0, or is not finite.
    """
    text = os.environ.get(BOUND_VARIABLE)
    if not text:
        return USUAL_BOUND_GB * 1e9
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
    """Delete the least recently used evaluation sets until the total size is within the limit.

    Files of killed processes are deleted first.  Sets used within the last hour are kept, so the
    limit may be exceeded while many are in use.  If several processes do this at once, one deletes
    and the others wait and count again.

    Args:
        cache: folder that holds `evaluation/`.
        keep: the new entry, which is kept.

    Returns:
        The deleted entries.

    Raises:
        UsageError: if `ABLATE_CACHE_GB` is not a number from 0, or the cache cannot be written.
    """
    bound = evaluation_bound()
    removed: list[Path] = []
    with locked(cache / KINDS["evaluation"][0] / "bound"):
        for left in list_leftovers(cache, "evaluation", time.time()):
            if left.path.suffix != ".lock":
                remove_leftover(left)
        entries = list_entries(cache, "evaluation")
        total = sum(entry.size for entry in entries)
        since = time.time() - _IN_USE_SECONDS
        for entry in reversed(entries):
            if total <= bound or entry.used > since:
                break
            if entry.path != keep and remove_entry(entry.path):
                total -= entry.size
                removed.append(entry.path)
    return removed


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        (Path(folder) / name).lstat().st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def _children(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()


def _last_written(path: Path) -> float:
    """Also considers files: writing into a file does not change the folder's time."""
    return max(one.lstat().st_mtime for one in (path, *_children(path)))


def _read_about(entry: Entry) -> dict[str, Any]:
    # A baseline's record is older than this, and has it all.
    name = "baseline.json" if entry.kind == "baseline" else ABOUT
    try:
        about = json.loads((entry.path / name).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _lock_of(entry: Path) -> Path:
    return Path(f"{entry}.lock")  # as `locked` names it


def _entry_of(leftover: Path) -> Path:
    if leftover.suffix in _BESIDE:
        return leftover.with_suffix("")
    return leftover.with_name(leftover.name.split(".")[1])


def _is_free(entry: Path) -> bool:
    """Whether the entry's lock is free; no lock file is created."""
    if not _lock_of(entry).exists():
        return True
    with _try_lock(entry) as free:
        return free


def _delete(path: Path) -> bool:
    """Delete a folder, a file or a link (not its target); returns whether it is gone."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return not path.is_symlink() and not path.exists()


@contextmanager
def _try_lock(entry: Path) -> Iterator[bool]:
    """Hold an entry's lock if it is free."""
    lock = FileLock(_lock_of(entry))
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
