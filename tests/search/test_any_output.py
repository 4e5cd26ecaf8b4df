"""No study stops, and no command ends, for a text that cannot be shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import ablate
from ablate.cli import main
from ablate.errors import error_text, storable_text
from ablate.report.streams import take_every_text
from ablate.search.progress import Silent

LOOP = r"""
def train(context):
    print("\ud800 \u2713")
    if context.number == 1:
        raise RuntimeError("\ud800 \x00 \u2713")
    context.report(1, {"a": 0.5, "b": context.params["x"]})
"""


def write_study(folder: Path) -> Path:
    (folder / "unprintable.py").write_text(LOOP)
    study = {
        "version": 1,
        "name": "unprintable",
        "trainable": "unprintable:train",
        "finetune": {"budget": {"epochs": 1}},
        "space": {"x": {"float": [0.0, 1.0]}},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        "search": {"trials": 3, "sampler": "random"},
    }
    file = folder / "unprintable.yaml"
    file.write_text(yaml.safe_dump(study))
    return file


@pytest.mark.timeout(60)
def test_a_study_runs_to_its_end_whatever_the_encoding(work: Path) -> None:
    file = write_study(work)
    done = subprocess.run(
        [sys.executable, "-m", "ablate", "launch", file.name, "--executor", "inline"],
        cwd=work,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        encoding="latin-1",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "trial 1 failed: raised: RuntimeError: \\ud800 \\x00 \\u2713 (2 of 3" in done.stdout
    assert [row.state for row in ablate.read(file).rows] == ["COMPLETE", "FAIL", "COMPLETE"]
    said = "RuntimeError: \\ud800 \\x00 \N{CHECK MARK}"
    runner = CliRunner(charset="latin-1")
    for command in (["status"], ["trials"], ["logs"], ["report"], ["trials", "--json"]):
        shown = runner.invoke(main, [*command, str(file)])
        assert shown.exit_code == 0, (command, shown.output, shown.exception)
    logged = runner.invoke(main, ["logs", str(file), "--trial", "1"])
    assert logged.exit_code == 0
    assert said.encode("latin-1", "backslashreplace").decode("latin-1") in logged.output
    # What the ledger keeps can be written anywhere.
    failure = ablate.read(file).rows[1].failure
    assert failure is not None
    assert failure.reason == said
    assert (failure.reason + failure.traceback).encode()


def test_a_progress_that_raises_stops_no_study(work: Path) -> None:
    class Broken(Silent):
        def finished(self, row: object) -> None:
            raise SystemExit(1)

        def started(self, number: int | None) -> None:
            raise KeyError(number)

    record = ablate.launch(write_study(work), executor="inline", progress=Broken())
    assert [row.state for row in record.rows] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_what_cannot_be_stored_is_escaped() -> None:
    assert storable_text("a\ud800\0 \N{CHECK MARK}\n") == "a\\ud800\\x00 \N{CHECK MARK}\n"

    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert error_text(MuteError()) == "MuteError:"


def test_a_stream_keeps_the_way_that_its_owner_gave_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii", errors="ignore") as file:
        take_every_text(file, None)
        file.write("a\N{CHECK MARK}b")
    assert (tmp_path / "out").read_bytes() == b"ab"
