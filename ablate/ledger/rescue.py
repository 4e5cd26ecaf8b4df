"""An SQLite database that is deleted, moved or replaced while its study runs.

SQLite continues to write to a deleted file without an error: a run would end successfully and leave
no results.  Therefore the open file is compared with its path after each commit.  If they differ,
the study is copied through the open connection.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from ablate.errors import StorageError
from ablate.ledger.url import sqlite_file, sqlite_url

_SUFFIXES = ("", "-wal", "-shm")
"""Suffixes of the files that SQLite has open: committed data may be only in the second one, and the
third one has the locks of all users of the database."""


class DatabaseFile:
    """The file of a driver's open database.

    Args:
        engine: engine of the database; from now on it does not open a new file at the path.
        file: of the database.
        name: of the study, for messages.
    """

    def __init__(self, engine: Engine, file: Path, name: str) -> None:
        self._file = file
        self._name = name
        self._lock = threading.Lock()
        self._message: str | None = None
        # Kept for the copy.  It must read once, because SQLite opens the second and third file only
        # then.
        self._open = engine.raw_connection()
        self._open.cursor().execute("SELECT count(*) FROM sqlite_master").fetchall()
        paths = [file.with_name(file.name + suffix) for suffix in _SUFFIXES]
        found = {path: _stat(path) for path in paths}
        # Without WAL there is only the first one.
        self._known = {path: one for path, one in found.items() if one or path == file}
        self._bytes = 0
        # A new connection to a path without a file would create an empty one.
        event.listen(engine, "do_connect", lambda *_: self.check())

    def check(self) -> None:
        """Compare the open file with the file at its path.

        Raises:
            StorageError: if it is not the same; the message says where the copy is, and how to
                resume.
        """
        with self._lock:
            if self._message is None:
                changed = self._changed()
                if changed is None:
                    return
                self._message = self._rescued(changed)
        raise StorageError(self._message)

    def _changed(self) -> str | None:
        for path, known in self._known.items():
            try:
                now = _stat(path)
            except OSError:
                continue  # its state is unknown
            if now is None:
                return (
                    f"{path} must not be moved or deleted while the study runs, got no file there"
                )
            if known is not None and not os.path.samestat(now, known):
                return f"{path} must not be replaced while the study runs, got another file there"
            if path == self._file:  # SQLite lets it grow
                if now.st_size < self._bytes:
                    return f"{path} must not be truncated while the study runs, got a shorter file"
                self._bytes = now.st_size
        return None

    def _rescued(self, changed: str) -> str:
        reasons = []
        for place in self._places():
            try:
                copy = self._copy_into(place)
            except (OSError, sqlite3.Error) as error:
                reasons.append(f"{place}: {getattr(error, 'strerror', None) or error}")
                continue
            named = shlex.quote(f"{sqlite_url(copy)}#{self._name}")
            return (
                f"study {self._name}: {changed}. All of its rows were copied to {copy}. "
                f"Resume with: ablate resume {named}"
            )
        return (
            f"study {self._name}: {changed}. Its rows are lost; they could not be copied "
            f"({'; '.join(reasons)}). Launch it again."
        )

    def _places(self) -> Iterator[Path]:
        """Folders to try for the copy: the database's, its parent, then the temporary folder."""
        folder = self._file.absolute().parent
        yield folder
        yield from list(folder.parents)[:2]
        yield Path(tempfile.gettempdir())

    def _copy_into(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{self._file.stem}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            with closing(sqlite3.connect(part)) as copy:
                source = self._open.dbapi_connection
                assert source is not None
                source.backup(copy)
                if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("the data read is damaged")
                # The copy has no driver; the last heartbeat is kept, because running rows ended
                # then.
                copy.execute("UPDATE ablate_lease SET token = NULL")
                copy.commit()
            known = self._known[self._file]
            if known is not None:
                part.chmod(known.st_mode & 0o777)
            return _put_under_new_name(part, folder, self._file)
        finally:
            for suffix in _SUFFIXES:
                part.with_name(part.name + suffix).unlink(missing_ok=True)


def _put_under_new_name(part: Path, folder: Path, file: Path) -> Path:
    """Give the copy the first unused name; earlier copies are kept."""
    for name in rescued_names(file):
        try:
            os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return part.replace(folder / name)
    raise AssertionError("names do not end")


def rescued_names(file: Path) -> Iterator[str]:
    """Names for copies of a database, in order."""
    yield f"{file.stem}.rescued{file.suffix}"
    number = 2
    while True:
        yield f"{file.stem}.rescued-{number}{file.suffix}"
        number += 1


def rescued_copy(url: str) -> Path | None:
    """The copy next to a database that no longer exists; None if there is no copy."""
    file = sqlite_file(url)
    if file is None or file.exists():
        return None
    copy = file.with_name(next(rescued_names(file)))
    return copy if copy.is_file() else None


def _stat(path: Path) -> os.stat_result | None:
    """The status of a file; None if it does not exist.

    Raises:
        OSError: if it cannot be determined.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
