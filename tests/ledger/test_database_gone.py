"""A database that is deleted, moved or replaced while its study runs: noticed, and copied out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from test_ledger_rows import make_head, make_scores

import ablate
from ablate.errors import StorageError
from ablate.ledger import lease as lease_module
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import RowRecord
from ablate.search.progress import Progress


class Driver:
    """A study in `runs/mine`, held by a driver that has one complete row."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "runs" / "mine"
        self.file = self.folder / "study.db"
        self.ledger = Ledger.create(f"sqlite:///{self.file}", make_head(), trials=4)
        self.lease = self.ledger.lease()
        self.lease.acquire()
        self.ledger.store.hold(self.lease, lambda *_: None, threading.Event())
        self.driving = Driving(self.ledger)
        self.driving.ask()
        self.driving.complete(0, make_scores(0.93, 0.61))


@pytest.fixture
def driver(work: Path) -> Driver:
    return Driver(work)


def delete(driver: Driver) -> None:
    for file in driver.folder.glob("study.db*"):
        file.unlink()


def delete_the_wal(driver: Driver) -> None:
    driver.file.with_name("study.db-wal").unlink()


def delete_the_folder(driver: Driver) -> None:
    shutil.rmtree(driver.folder)


def move(driver: Driver) -> None:
    driver.file.rename(driver.folder / "kept.db")


def replace(driver: Driver) -> None:
    Ledger.create(f"sqlite:///{driver.folder}/new.db", make_head(), trials=9).close()
    (driver.folder / "new.db").replace(driver.file)


CHANGES = (
    *(delete, delete_the_wal, delete_the_folder),
    *(move, replace),
)


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_noticed_at_the_next_commit(driver: Driver, change: Callable[[Driver], None]) -> None:
    row = driver.driving.ask()
    assert row is not None
    change(driver)
    with pytest.raises(StorageError, match=r"^study rows: .*while the study runs, got ") as raised:
        driver.driving.complete(1, make_scores(0.9, 0.7))
    line = str(raised.value)
    rescued = driver.folder / "study.rescued.db"
    url = f"sqlite:///{rescued}#rows"
    assert line.endswith(f"copied to {rescued}. Resume with: ablate resume '{url}'"), line
    assert "\n" not in line
    # What was committed as it was noticed is there too, and nobody drives the copy.
    record = ablate.read(url)
    assert [(row.state, row.values) for row in record.rows] == [
        ("COMPLETE", (0.93, 0.61)),
        ("COMPLETE", (0.9, 0.7)),
    ]
    assert record.driver is None
    other = Ledger.open(f"sqlite:///{rescued}", "rows").lease()
    other.acquire()
    assert other.last_sign is not None
    # It is said again, and copied once.
    with pytest.raises(StorageError, match=re.escape(line)):
        driver.ledger.read()
    driver.lease.release()
    assert [file.name for file in driver.folder.glob("*.rescued*.db")] == ["study.rescued.db"]
    assert list(driver.folder.glob(".*.part*")) == []


def test_a_lease_that_is_renewed_notices_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during an epoch of an hour."""
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 0.6)
    told: list[Exception] = []
    lost = threading.Event()
    driver.lease.keep(lambda error: (told.append(error), lost.set()))
    delete_the_folder(driver)
    assert lost.wait(10)
    driver.lease.release()
    assert isinstance(told[0], StorageError)
    assert (driver.folder / "study.rescued.db").is_file()


def test_where_nothing_can_be_written_beside_it(driver: Driver) -> None:
    """A file stands where the folder was: the copy goes to the temporary folder."""
    delete_the_folder(driver)
    driver.folder.write_text("")
    rescued = re.escape(str(Path(tempfile.gettempdir()) / "study.rescued"))
    with pytest.raises(StorageError, match=rf"{rescued}[-0-9]*\.db\. Resume") as raised:
        driver.driving.ask()
    Path(command_in(raised).removeprefix("sqlite:///").partition("#")[0]).unlink()


def test_what_cannot_be_copied_is_said_to_be_lost(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete(driver)
    monkeypatch.setattr("ablate.ledger.lease.tempfile.mkstemp", no_space)
    with pytest.raises(StorageError, match=r"rows are lost; .*No space left.*Launch it again\.$"):
        driver.driving.ask()


def no_space(**_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def study(write_own: Callable[..., Path]) -> Path:
    return write_own("gone")


class At(Progress):
    """Does something as a row has ended."""

    def __init__(self, number: int, then: Callable[[], object]) -> None:
        self._number, self._then = number, then

    def finished(self, row: RowRecord) -> None:
        if row.number == self._number:
            self._then()


def command_in(error: pytest.ExceptionInfo[StorageError]) -> str:
    """The study that the line says to go on with."""
    ablate_, resume, named = shlex.split(str(error.value).partition("Resume with: ")[2])
    assert (ablate_, resume) == ("ablate", "resume")
    return named


def test_what_was_copied_is_gone_on_with(study: Path, work: Path) -> None:
    """Ctrl-C in the moment after: the exit code is that of the loss."""
    folder = work / "runs" / "gone"

    def remove_and_stop() -> None:
        shutil.rmtree(folder)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StorageError, match="rows were copied to") as raised:
        ablate.launch(study, executor="inline", progress=At(0, remove_and_stop))
    assert raised.value.exit_code == 3
    record = ablate.resume(command_in(raised), executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3
    assert record.rows[0].attempt == 1
    # The run folder, made again, says where the study is now.
    assert ablate.read(folder).rows == record.rows
