"""A storage that is really tried: the lease of a study in it, and a transaction that fails."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy.engine import Connection

from ablate.errors import LeaseError
from ablate.ledger import tables
from ablate.ledger.ledger import Ledger

_KEY = "ablate:selftest"


class _Undo(Exception):  # noqa: N818 (no error: what a transaction is undone by)
    pass


def try_storage(url: str, name: str) -> str:
    """Try what a study needs of its storage, on a study that nobody drives.

    Returns:
        What does not hold; "" where all does.

    Raises:
        StorageError: if the storage fails.
    """
    first, second = Ledger.open(url, name), Ledger.open(url, name)
    try:
        return _lease(first, second) or _transaction(first, second)
    finally:
        first.close()
        second.close()


def _lease(first: Ledger, second: Ledger) -> str:
    held, other = first.lease(), second.lease()
    held.acquire()
    try:
        other.acquire()
    except LeaseError:
        pass
    else:
        other.release()
        return "two drivers hold the lease of one study at once"
    finally:
        held.release()
    other.acquire()
    other.release()
    return ""


def _transaction(first: Ledger, second: Ledger) -> str:
    def write(connection: Connection) -> None:
        tables.set_study_attributes(connection, first.study_id, {_KEY: 1})

    def write_and_fail(connection: Connection) -> None:
        write(connection)
        raise _Undo

    with suppress(_Undo):
        first.store.write(write_and_fail)
    if _KEY in _attributes(second):
        return "a transaction that failed has left what it wrote"
    first.store.write(write)
    return "" if _KEY in _attributes(second) else "another connection does not see what was written"


def _attributes(ledger: Ledger) -> set[str]:
    return set(
        ledger.store.read(lambda connection: tables.study_attributes(connection, ledger.study_id))
    )
