"""No study stops, and no command ends, for a text that cannot be shown."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.table import Table

import ablate
from ablate.cli.main import main
from ablate.cli.show import print_result
from ablate.errors import error_text, storable_text
from ablate.errors.masking import keep_secret
from ablate.report.terminal.streams import shown_output
from ablate.search.progress import Progress

Write = Callable[..., Path]

LOOP = r"""
def train(context):
    print("\ud800 \u2713")
    if context.number == 1:
        raise RuntimeError("\ud800 \x00 \u2713")
    context.report(1, {"a": 0.5, "b": context.params["x"]})
"""


def test_a_study_runs_to_its_end_whatever_the_encoding(
    write_own: Write, ablate_alone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = write_own("unprintable", LOOP)
    latin = {"env": {**os.environ, "PYTHONIOENCODING": "latin-1"}, "encoding": "latin-1"}
    done = ablate_alone("launch", file.name, "--executor", "inline", **latin)
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


def test_no_text_of_a_study_moves_the_cursor(
    write_own: Write, ablate_alone: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    loop = LOOP.replace(r"\ud800 \x00 \u2713", r"a\x1b[2J\x9b1m\u202eb\r\x07")
    loop = loop.replace("\\u2713", "\\x1b[2J\\rover\\ttab")
    file = write_own("moving", loop)
    launched = ablate_alone("launch", file.name, "--executor", "inline")
    assert launched.returncode == 0, launched.stderr
    printed = launched.stdout + launched.stderr
    for command in (["status"], ["trials"], ["logs"], ["logs", "--trial", "1"], ["table"]):
        printed += CliRunner().invoke(main, [*command, str(file)]).output
    assert printed.count(r"RuntimeError: a\x1b[2J\x9b1m\u202eb") >= 5
    assert "\\x1b[2J\\rover\ttab\n" in printed
    assert not set(printed) & set("\x07\r\x1b\x9b\u202e")


def test_a_message_about_a_file_has_no_control_characters(work: Path) -> None:
    file = work / "named.yaml"
    file.write_text('version: 1\nname: "a\\u009b31mb"\n"c\\e[2Jd": 1\n')
    shown = CliRunner().invoke(main, ["check", str(file)]).output
    assert "name: must" in shown
    assert r"c\x1b[2Jd" in shown
    assert not set(shown) & {"\x1b", "\x9b"}


def test_a_progress_that_raises_stops_no_study(write_own: Write) -> None:
    class Broken(Progress):
        def finished(self, row: object) -> None:
            raise SystemExit(1)

        def started(self, number: int | None) -> None:
            raise KeyError(number)

    record = ablate.launch(write_own("unprintable", LOOP), executor="inline", progress=Broken())
    assert [row.state for row in record.rows] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_what_cannot_be_stored_is_escaped() -> None:
    assert storable_text("a\ud800\0 \N{CHECK MARK}\n") == "a\\ud800\\x00 \N{CHECK MARK}\n"

    class MuteError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert error_text(MuteError()) == "MuteError:"


def test_the_name_of_a_training_loop_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("")
    table.add_row("failed: my_loop:train: no")  # rich would print a train
    print_result(table)
    assert "my_loop:train: no" in capsys.readouterr().out


def test_what_is_printed_is_masked_whoever_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    keep_secret("postgresql://u:pw@h/d")
    with shown_output():
        sys.stdout.write("postgresql://u:pw@h/d\n")
        click.echo("postgresql://u:pw@h/d", err=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("postgresql://u:pw@h/d", stacklevel=1)
        sys.stdout.writelines(["a", "\x1b[2J\rb\u202e\n"])
        sys.stdout.buffer.write(b"bytes postgresql://u:pw@h/d\n")
        assert sys.stdout.isatty() is False
    sys.stdout.write("after\n")
    out, err = capsys.readouterr()
    assert (
        out == "postgresql://u:***@h/d\na\\x1b[2J\\rb\\u202e\nbytes postgresql://u:***@h/d\nafter\n"
    )
    assert err.startswith("postgresql://u:***@h/d\n")
    assert ":pw@" not in err
