"""Standard output on a full disk or closed, a working folder that is gone: one line at most, never
a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND
from own_study import write_own_study

import ablate

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a study that was launched while the disk of its output was full."""
    made = tmp_path_factory.mktemp("full")
    write_own_study(made, "full")
    code, said = run(made, "launch", "full.yaml", "--executor", "inline")
    assert code == 0, said  # a study is not its output
    assert said == [FULL]
    return made


FULL = (
    "ablate: standard output: must be writable, got: No space left on device. Part of the output "
    "is lost, nothing else: free disk space, then run the command again."
)


SLOW = ("ablate: reading ", "ablate: drawing ", "ablate: making ", "ablate: writing ")


def run(folder: Path, *command: str, unbuffered: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of standard error, with standard output on a full disk."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, *command],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    lines = result.stderr.splitlines()
    # What takes long is said too: on a machine with other work, that may be anything.
    return result.returncode, [line for line in lines if not line.startswith(SLOW)]


@pytest.mark.parametrize("command", ["report"])
def test_what_only_prints_says_that_it_could_not(folder: Path, command: str) -> None:
    name, *options = command.split()
    assert run(folder, name, "full.yaml", *options) == (3, [FULL])


WRITES_TO_ANY = """
import os

def train(context):
    for number in (1, 2):
        os.write(number, b"to whatever has this number" * 1000)
    os.system("echo to standard output; echo to standard error >&2")
    context.report(1, {"a": context.params["x"], "b": 1.0})
"""


def test_a_closed_stream_changes_no_exit_code(tmp_path: Path) -> None:
    """Nor does a trial's output reach the file that was opened in its place."""
    for name in ("own", "all"):
        write_own_study(tmp_path, name, WRITES_TO_ANY)
    for command, closed, expected in [
        ("launch own.yaml --executor inline", ">&-", 0),
        ("trials own.yaml --json", ">&-", 0),
        ("status nonsense", ">&-", 2),
        ("launch all.yaml --executor ray", "<&- >&- 2>&-", 0),
    ]:
        program = f"{shlex.join(COMMAND)} {command} {closed}"
        done = subprocess.run(
            ["sh", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, (command, done.stderr)
        assert "Traceback" not in done.stderr
    for name in ("own", "all"):
        assert [row.state for row in ablate.read(tmp_path / "runs" / name).rows] == ["COMPLETE"] * 3
        for database in tmp_path.glob(f"runs/{name}/study.db*"):
            assert b"to whatever" not in database.read_bytes()


@pytest.mark.parametrize("command", ["launch s.yaml", "layers resnet8"])
def test_a_working_folder_that_is_gone(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f'cd "{gone}" && rmdir "{gone}" && exec {shlex.join(COMMAND)} {command}'
    result = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == (
        "ablate: working folder: must exist, got: No such file or directory. It was deleted or "
        "moved: change to another one.\n"
    )
