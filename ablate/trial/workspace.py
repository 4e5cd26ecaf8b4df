"""Local folders of a trial, gone with it; those of a process that was killed go with the next."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

_PREFIX = "ablate-trial-"
_LOCK = ".lock"
_YOUNG_SECONDS = 60
"""A folder that is younger may be one whose owner has not locked it yet."""


class Workspace:
    """Folders below one that is made when the first is asked for."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock: IO[str] | None = None

    def folder(self, name: str) -> Path:
        """A folder of this name, made if missing."""
        if self._root is None:
            _sweep()
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = (self._root / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        path = self._root / name
        path.mkdir(exist_ok=True)
        return path

    def close(self) -> None:
        """Remove all of it."""
        if self._root is not None and self._lock is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._lock.close()
            self._root = self._lock = None


@cache
def _sweep() -> None:
    """Remove what killed processes left, once a process: nobody holds their locks any more."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (root / _LOCK).open("r+") as lock:
            if time.time() - root.stat().st_mtime > _YOUNG_SECONDS:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
