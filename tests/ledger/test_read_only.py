"""A study that can be read, and not written: another user's, or on a file system mounted so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from commands import run_alone
from needs import missing
from own_study import write_own_study
from test_ledger_rows import make_head

import ablate
from ablate.errors import StorageError
from ablate.ledger.ledger import Ledger
from ablate.ledger.storage import sqlite_url

NOBODY = 65534

COMMANDS = (
    "status runs/own",
    "trials runs/own",
    "logs runs/own",
    "table runs/own",
    "plot runs/own -o {out}/front.html",
    "report runs/own -o {out}/report.html",
    "archive runs/own -o {out}/own.tar",
)


def mounted_read_only(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A Python program for which a folder is on a file system that is mounted read-only."""
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
    unshare = ("unshare", "-m", "sh", "-c")
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            [*unshare, mount, "sh", str(folder)], check=False, capture_output=True
        ).returncode
    ):
        missing("the right to mount (unshare -m)")
    program = [sys.executable, "-c", code]
    return subprocess.run(
        [*unshare, f'{mount} && shift && exec "$@"', "sh", str(folder), *program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


@pytest.mark.long
def test_a_finished_study_is_read_from_a_read_only_file_system(work: Path) -> None:
    # In a process of its own: SQLite's files beside the database go with its last connection.
    assert run_alone("launch", write_own_study(work, "own"), "--executor", "inline").returncode == 0
    before = sorted((work / "runs").rglob("*"))
    assert [file.name for file in before if "study.db-" in file.name] == []
    out = work.parent
    commands = [[*one.format(out=out).split()] for one in (*COMMANDS, "resume runs/own --add 1")]
    code = f"""
import os
from commands import run_here
os.chdir({str(work)!r})
for command in {commands!r}:
    done = run_here(*command)
    print(command[0], done.returncode, done.stderr.splitlines()[-1:])
"""
    ran = mounted_read_only(work, code)
    assert ran.returncode == 0, ran.stderr
    *read, resumed = ran.stdout.splitlines()
    assert [line.split()[:2] for line in read] == [[one.split()[0], "0"] for one in COMMANDS], ran
    assert resumed.startswith("resume 3 ")
    assert "attempt to write a readonly database" in resumed
    assert sorted((work / "runs").rglob("*")) == before
    assert ablate.verify(out / "own.tar").holds


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter."""
    made = Path(tempfile.mkdtemp(prefix="ablate-test-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def by_another(folder: Path) -> Callable[[], str]:
    """Reads the study as a user who may write neither its files nor into their folder."""
    url = sqlite_url(folder / "study.db")

    def read() -> str:
        folder.chmod(0o555)
        for file in folder.iterdir():
            file.chmod(0o444)
        there, here = os.pipe()
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                with closing(Ledger.open(url, "rows")) as ledger:
                    said = f"{len(ledger.read().rows)} rows"
            except StorageError as error:
                said = str(error)
            os.write(here, said.encode())
            os._exit(0)
        os.close(here)
        os.waitpid(child, 0)
        folder.chmod(0o755)
        return os.read(there, 10_000).decode()

    return read


def test_another_user_reads_what_a_killed_driver_left(
    folder: Path, by_another: Callable[[], str]
) -> None:
    (folder / "live").mkdir()
    url = sqlite_url(folder / "live" / "study.db")
    with closing(Ledger.create(url, make_head(), trials=3)) as ledger:
        ledger.enqueue({"loss.terms": "clean+da", "augment.strength": 0.3})
        for file in (folder / "live").iterdir():
            shutil.copy(file, folder)
    shutil.rmtree(folder / "live")
    assert by_another() == "1 rows"
    (folder / "study.db-shm").unlink()
    said = by_another()
    assert said.startswith(f"storage sqlite:///{folder}/study.db: must have study.db-shm beside ")
    assert said.endswith("Copy the folder to one that can be written, and read the copy.")
