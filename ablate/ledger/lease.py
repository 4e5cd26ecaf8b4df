"""One driver a study: its lease, in the study's own database, and transactions under it.

Optuna's attributes have no compare-and-set, so the lease is a small separate table, taken by an
UPDATE that names the token it read.  Times are those of the database's clock.  A driver that is
proven dead is replaced at once, any other one after the term, or with `--takeover`.

Every transaction of a driver begins by renewing its lease, and may be run twice: if the storage
fails during a commit, it is unknown whether it was committed.  So each write sets values and never
increments them.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    NoResultFound,
    OperationalError,
    SQLAlchemyError,
)

from ablate.errors import AblateError, LeaseError, StorageError
from ablate.errors.masking import masked
from ablate.ledger.storage import error_reason, retried, sqlite_file, sqlite_url, storage_errors

T = TypeVar("T")

TERM_SECONDS = 180
"""Longer than an outage of the database that a driver survives."""

_RETRY_SECONDS = 0.5
_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
}
_LEASES = sa.Table(
    "ablate_lease",
    sa.MetaData(),
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("token", sa.String(32)),
    sa.Column("holder", sa.Text),
    sa.Column("since", sa.Double),
    sa.Column("renewed", sa.Double),
)


class Store:
    """The database of one study.

    Args:
        url: of the storage, for messages.
        engine: of the database.
    """

    def __init__(self, url: str, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self._lease: Lease | None = None
        self._note: Callable[[str, str], None] = lambda *_: None
        self._at_once = threading.Event()

    def hold(
        self, lease: Lease, note: Callable[[str, str], None], at_once: threading.Event
    ) -> None:
        """From now on write under this lease, and wait during outages of the storage.

        Args:
            note: receives a line when the storage becomes unreachable, and when it answers again.
            at_once: ends the waiting when set.
        """
        self._lease, self._note, self._at_once = lease, note, at_once

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that only reads, on one snapshot; outages are handled as for `write`.

        Raises:
            StorageError: if the storage cannot be reached.
        """
        engine = self._engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")

        def attempt() -> T:
            with engine.begin() as connection:
                if engine.dialect.name == "sqlite":  # its driver begins none for a SELECT
                    connection.exec_driver_sql("BEGIN")
                return work(connection)

        return self._patiently(attempt)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function as one transaction.

        If the lease is held and the storage is unreachable, it is retried until the lease expires.

        Raises:
            StorageError: if the storage cannot be reached, or its file was deleted or replaced.
            LeaseError: if another driver holds the study.
        """

        def attempt() -> T:
            begun = time.monotonic()
            with self._engine.begin() as connection:
                if self._lease is not None:
                    self._lease.fence(connection)
                result = work(connection)
            if self._lease is not None:
                self._lease.renewed(begun)
            return result

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Run it; again while the storage is unreachable, until the lease expires that is held."""
        away: float | None = None
        with storage_errors(self._url):
            while True:
                try:
                    result = attempt()
                except (DBAPIError, sqlite3.Error) as error:
                    self._check_file()
                    if self._lease is None or not _is_outage(error) or self._at_once.is_set():
                        raise
                    left, reason, now = (
                        self._lease.seconds_left(),
                        error_reason(error),
                        time.monotonic(),
                    )
                    if left <= 0:
                        raise StorageError(
                            f"storage {masked(self._url)}: must answer before the lease expires, "
                            f"got no answer for {now - (away or now):.0f} s ({reason}). Restore "
                            "it, then run `ablate resume`: it continues from the last recorded "
                            "epochs."
                        ) from error
                    if away is None:
                        away = now
                        self._note(
                            "storage_away",
                            f"the database does not answer ({reason}): running trials continue, "
                            f"no new trial starts; the study stops in {left:.0f} s",
                        )
                    self._at_once.wait(min(_RETRY_SECONDS, left))
                else:
                    self._check_file()
                    if away is not None:
                        gone = time.monotonic() - away
                        self._note("storage_back", f"the database answers again after {gone:.0f} s")
                    return result

    def _check_file(self) -> None:
        if self._lease is not None:
            self._lease.check_file()


def _is_outage(error: Exception) -> bool:
    """Whether another attempt may succeed: the server, the network or the disk is unreachable."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError)


# -- The lease -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """The table row of a study, as read.

    Attributes:
        token: token of the holder; None if the lease is free.
        holder: None if there was none, or it is of another version.
        since: when it was taken, in seconds since 1970.
        age: seconds since the last heartbeat, by the database's clock; None if there was none.
    """

    token: str | None
    holder: Holder | None
    since: float
    age: float | None

    @property
    def may_be_taken(self) -> bool:
        """Whether the lease is free, or its holder is past the term or proven dead.

        A heartbeat that is a term ahead is of a clock that was set back since: it proves nothing.
        """
        if self.token is None or self.age is None or abs(self.age) >= TERM_SECONDS:
            return True
        return self.holder is not None and is_proven_dead(self.holder)

    @property
    def in_words(self) -> str:
        if self.holder is None:
            return "an unknown process"
        return f"process {self.holder.pid} on {self.holder.host}"


class Lease:
    """The right to drive one study; a thread renews it until it is released."""

    def __init__(self, engine: Engine, url: str, study_id: int, name: str) -> None:
        self._engine = engine
        self._url = url
        self._study_id = study_id
        self._name = name
        self._token = uuid.uuid4().hex
        self._now: sa.ColumnElement[float] = sa.literal_column(_NOW[engine.dialect.name])
        self._ours = _LEASES.update().where(
            _LEASES.c.study_id == study_id, _LEASES.c.token == self._token
        )
        self._renewed = time.monotonic()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None
        self._on_lost: Callable[[AblateError], None] = lambda _error: None
        self._lost: AblateError | None = None
        self._file: DatabaseFile | None = None
        self.last_sign: float | None = None

    def _make_row(self) -> None:
        with self._engine.begin() as connection:
            _LEASES.create(connection, checkfirst=True)
            mine = sa.select(_LEASES.c.study_id).where(_LEASES.c.study_id == self._study_id)
            if connection.execute(mine).first() is None:
                connection.execute(_LEASES.insert().values(study_id=self._study_id))

    def acquire(self, *, takeover: bool = False) -> None:
        """Take the lease.

        Args:
            takeover: take it even from a holder that may be alive.

        Afterwards `last_sign` is the last heartbeat of the previous holder, in seconds since 1970;
        None if there was no previous holder.

        Raises:
            LeaseError: if another driver holds it; the message names it and since when.
        """
        with storage_errors(self._url):
            retried(self._make_row)
        seen = self._read()
        if not takeover and not seen.may_be_taken:
            raise self._held(seen)
        take = _LEASES.update().where(
            _LEASES.c.study_id == self._study_id,
            sa.func.coalesce(_LEASES.c.token, "") == (seen.token or ""),
        )
        holder = json.dumps(vars(this_process()))
        with storage_errors(self._url), self._engine.begin() as connection:
            taken = connection.execute(
                take.values(token=self._token, holder=holder, since=self._now, renewed=self._now)
            )
        if taken.rowcount != 1:
            raise self._held(self._read())
        self._renewed = time.monotonic()
        self.last_sign = None if seen.age is None else time.time() - max(0.0, seen.age)
        file = sqlite_file(self._url)
        if file is not None:
            self._file = DatabaseFile(self._engine, file, self._name)

    def check_file(self) -> None:
        """Check that an SQLite file is still at its path; for other databases, nothing.

        Raises:
            StorageError: if it was deleted, moved or replaced; the message says where its rows were
                copied.
        """
        if self._file is not None:
            self._file.check()

    def fence(self, connection: Connection) -> None:
        """Check and renew the lease as part of a transaction, so that a driver that lost it cannot
        write.

        Raises:
            LeaseError: if another driver took it.
        """
        ours = connection.execute(self._ours.values(renewed=self._now))
        if ours.rowcount != 1:
            raise LeaseError(
                f"study {self._name}: its lease was taken over by another driver. This driver "
                "writes no more results; see `ablate status`."
            )

    def renewed(self, begun: float) -> None:
        """Note that a fenced transaction that started at this time (monotonic) was committed."""
        self._renewed = max(self._renewed, begun)

    def seconds_left(self) -> float:
        """Seconds until the term ends and another driver may take the study; negative
        afterwards."""
        return TERM_SECONDS - (time.monotonic() - self._renewed)

    def holder(self) -> str | None:
        """Description of the current driver; None if there is none or it is proven dead."""
        try:
            seen = self._read()
        except (StorageError, NoResultFound):
            return None  # there has never been a driver, or the database does not answer
        return None if seen.may_be_taken else seen.in_words

    def keep(self, on_lost: Callable[[AblateError], None]) -> None:
        """Renew in the background; `on_lost` is called once, with the reason, if the lease is lost.

        A second call replaces `on_lost`.
        """
        self._on_lost = on_lost
        if self._lost is not None:
            on_lost(self._lost)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._renew_until_released, name="ablate-lease", daemon=True
            )
            self._thread.start()

    def release(self) -> None:
        """Release the lease; a second call does nothing."""
        self._released.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(self._ours.values(token=None))
        except (SQLAlchemyError, StorageError):
            pass  # the storage is away: the lease ends with its term or with this process

    def _renew_until_released(self) -> None:
        while not self._released.wait(TERM_SECONDS / 6):
            begun = time.monotonic()
            try:
                with self._engine.begin() as connection:
                    self.fence(connection)
                self.renewed(begun)
                self.check_file()
                continue
            except (LeaseError, StorageError) as error:
                self._lost = error
            except SQLAlchemyError as error:
                if self.seconds_left() > 0:
                    continue
                self._lost = StorageError(
                    f"study {self._name}: its lease must be renewed within {TERM_SECONDS} s, got "
                    f"no answer from the database ({error_reason(error)}). Restore it, then run "
                    "`ablate resume`."
                )
            self._on_lost(self._lost)
            return

    def _read(self) -> _Entry:
        lease = _LEASES.c
        query = sa.select(lease.token, lease.holder, lease.since, self._now - lease.renewed)
        with storage_errors(self._url), self._engine.connect() as connection:
            mine = query.where(lease.study_id == self._study_id)
            token, holder, since, age = connection.execute(mine).one()
        try:
            known = Holder(**json.loads(holder))
        except (TypeError, ValueError):
            known = None
        return _Entry(token, known, float(since or 0.0), None if age is None else float(age))

    def _held(self, seen: _Entry) -> LeaseError:
        age = max(0.0, seen.age or 0.0)
        return LeaseError(
            f"study {self._name}: one driver at a time, got a second: {seen.in_words} has run it "
            f"since {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(seen.since))} (last "
            f"heartbeat {age:.0f} s ago; without another, its lease expires in "
            f"{max(0.0, TERM_SECONDS - age):.0f} s). Wait, stop that process, or add "
            "`takeover=True`."
        )


def delete_free_lease(connection: Connection, study_id: int) -> bool:
    """Delete the lease of a study that is deleted; False if a driver holds it."""
    free = _LEASES.delete().where(_LEASES.c.study_id == study_id, _LEASES.c.token.is_(None))
    return connection.execute(free).rowcount == 1


def remove_lease(connection: Connection, study_id: int) -> None:
    """Remove the lease of a study, whoever holds it."""
    if sa.inspect(connection).has_table(_LEASES.name):
        connection.execute(_LEASES.delete().where(_LEASES.c.study_id == study_id))


# -- The process that holds it, and whether it is proven dead --------------------------------
#
# Death can only be proven on the machine that the process ran on.  What cannot be read (`/proc`
# with `hidepid`, another user's process, another namespace) proves nothing.


@dataclass(frozen=True)
class Holder:
    """A uniquely identified process; fields that could not be read are empty.

    Attributes:
        host: its name, for messages: two machines may have the same one.
        machine: `/etc/machine-id`.
        boot: drawn at random by the kernel each time it starts.
        namespace: of process ids, and of time, which a start time is counted in.
        pid: in that namespace.
        start: clock ticks from boot to the start of the process.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    start: str


def this_process() -> Holder:
    """The current process."""
    return Holder(
        host=socket.gethostname(),
        machine=_text("/etc/machine-id"),
        boot=_text("/proc/sys/kernel/random/boot_id"),
        namespace=f"{_link('/proc/self/ns/pid')} {_link('/proc/self/ns/time')}".strip(),
        pid=os.getpid(),
        start=process_start(os.getpid())[0],
    )


def process_start(pid: int) -> tuple[str, bool]:
    """Clock ticks from boot to the start of a process, and whether it has ended: is a zombie, with
    no thread that still runs.  Empty if there is none, or `/proc` shows another namespace."""
    if _link("/proc/self") != str(os.getpid()):
        return "", False  # of another namespace: its numbers are not ours
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20:  # proc(5): the state is its third field, the start its 22nd
        return "", False
    return fields[19], fields[0] in "ZX" and int(fields[17]) <= 1


def is_proven_dead(holder: Holder) -> bool:
    """True only if the process ran on this machine since its last boot, and no longer exists.

    Containers often have no machine id.  The boot id, which is random, is required.
    """
    here = this_process()
    if not (here.boot and here.namespace and here.start and holder.start):
        return False
    if (here.machine, here.boot, here.namespace) != (holder.machine, holder.boot, holder.namespace):
        return False
    try:
        os.kill(holder.pid, 0)  # the kernel is asked, because `/proc` may hide it
    except OSError as error:
        if error.errno == errno.ESRCH:
            return True
    start, is_ended = process_start(holder.pid)
    return start != "" and (is_ended or start != holder.start)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError):
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


# -- An SQLite database that is deleted, moved or replaced while its study runs ---------------
#
# SQLite continues to write to a deleted file without an error: a run would end successfully and
# leave no results.  So the open file is compared with its path after each commit, and if they
# differ, the study is copied through the open connection.


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
        self._message = ""
        # Kept for the copy.  It must read once, because SQLite opens the log and its index only
        # then: committed data may be only in the log, the index has the locks of all users.
        self._open = engine.raw_connection()
        self._open.cursor().execute("SELECT count(*) FROM sqlite_master").fetchall()
        paths = (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm")))
        self._known = {path: _stat(path) for path in paths if path == file or path.exists()}
        # A new connection to a path without a file would create an empty one.
        sa.event.listen(engine, "do_connect", lambda *_: self.check())

    def check(self) -> None:
        """Compare the open file with the file at its path.

        Raises:
            StorageError: if it is not the same; the message says where the copy is, and how to
                resume.
        """
        with self._lock:
            for path, known in self._known.items():
                if not self._message and (changed := _change(path, known)):
                    self._message = f"study {self._name}: {changed}. {self._rescued()}"
        if self._message:
            raise StorageError(self._message)

    def _rescued(self) -> str:
        """Copy the rows beside the database, else into the temporary folder; what to do then."""
        reasons = []
        for folder in (self._file.absolute().parent, Path(tempfile.gettempdir())):
            try:
                copy = self._copy_into(folder)
            except (OSError, sqlite3.Error) as error:
                reasons.append(f"{folder}: {getattr(error, 'strerror', None) or error}")
                continue
            named = shlex.quote(f"{sqlite_url(copy)}#{self._name}")
            return f"All of its rows were copied to {copy}. Resume with: ablate resume {named}"
        lost = "; ".join(reasons)
        return f"Its rows are lost; they could not be copied ({lost}). Launch it again."

    def _copy_into(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{self._file.stem}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        source = self._open.dbapi_connection
        assert source is not None
        try:
            with closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("the data read is damaged")
                # The copy has no driver; its last heartbeat is kept: running rows ended then.
                copy.execute("UPDATE ablate_lease SET token = NULL")
                copy.commit()
            known = self._known[self._file]
            if known is not None:
                part.chmod(known.st_mode & 0o777)
            names = (folder / name for name in rescued_names(self._file))
            return part.rename(next(path for path in names if not path.exists()))
        finally:
            for left in folder.glob(f"{part.name}*"):
                left.unlink()


def _stat(path: Path) -> os.stat_result | None:
    """The status of a file; None if it does not exist."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _change(path: Path, known: os.stat_result | None) -> str:
    """What happened to a file of an open database; empty if it is still at its path."""
    try:
        now = _stat(path)
    except OSError:
        return ""  # its state is unknown
    if now is None:
        return f"{path} must not be moved or deleted while the study runs, got no file there"
    if known is not None and os.path.samestat(now, known):
        return ""
    return f"{path} must not be replaced while the study runs, got another file there"


def rescued_names(file: Path) -> Iterator[str]:
    """Names for copies of a database, in order; earlier copies are kept."""
    yield f"{file.stem}.rescued{file.suffix}"
    for number in count(2):
        yield f"{file.stem}.rescued-{number}{file.suffix}"


def rescued_copy(url: str) -> Path | None:
    """The copy next to a database that no longer exists; None if there is no copy."""
    file = sqlite_file(url)
    if file is None or file.exists():
        return None
    copy = file.with_name(next(rescued_names(file)))
    return copy if copy.is_file() else None
