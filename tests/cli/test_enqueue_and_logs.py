"""Adding to a study by hand, taking out of it, and reading its log: the commands themselves."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import COMMAND

from ablate.cli.main import main
from ablate.search.progress import EventLog

Run = Callable[..., subprocess.CompletedProcess[str]]

LOOP = """
def train(context):
    rate = context.params["lr"]
    print(f"training at {rate:g}")
    if rate > 0.9:
        raise ValueError("the rate is too high")
    context.report(1, {"loss": 1 - rate, "latency": 10 * rate})
"""
STUDY = """
version: 1
name: own
trainable: my_loop:train
finetune: {budget: {epochs: 1}}
objectives: [{metric: loss, direction: minimize}, {metric: latency, direction: minimize}]
space:
  lr: {float: [0.0, 1.0]}
  width: {choice: [8, 16]}
search: {trials: 2, sampler: random, enqueue: [{lr: 0.95}, {lr: 0.25, width: 8}]}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has run: trial 0 has failed, trial 1 is complete."""
    import ablate

    folder = tmp_path_factory.mktemp("own")
    (folder / "my_loop.py").write_text(LOOP)
    (folder / "own.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        record = ablate.launch("own.yaml", executor="inline")
    assert [row.state for row in record.rows] == ["FAIL", "COMPLETE"]
    return folder


@pytest.fixture
def there(own: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(own)
    return own


def test_a_row_is_enqueued_and_tried(there: Path, ablate: Run) -> None:
    result = ablate("enqueue", "runs/own", "lr=0.5", "width=16")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "queued trial 2: lr 0.5; width 16\n"
    result = ablate("enqueue", "own.yaml", "lr=0.125", "--json")
    assert json.loads(result.stdout) == [
        {"number": 3, "values": {"lr": 0.125}, "drawn": ["width"], "copy_of": None}
    ]
    waiting = json.loads(ablate("trials", "own.yaml", "--state", "waiting", "--json").stdout)
    assert [row["number"] for row in waiting] == [2, 3]
    result = ablate("resume", "runs/own", "--executor", "inline", "--json")
    assert result.returncode == 0, result.stderr
    selected = ablate(
        *("trials", "own.yaml", "--where", "enqueued=true", "--where", "lr<0.9"),
        *("--sort", "-loss", "--columns", "trial,lr,loss,latency", "--json"),
    )
    assert json.loads(selected.stdout) == [
        {"number": 3, "param.lr": 0.125, "loss": 0.875, "latency": 1.25},
        {"number": 1, "param.lr": 0.25, "loss": 0.75, "latency": 2.5},
        {"number": 2, "param.lr": 0.5, "loss": 0.5, "latency": 5.0},
    ]


@pytest.mark.slow
def test_enqueue_says_what_is_drawn_and_what_was_run(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ablate

    for name in ("my_loop.py", "own.yaml"):
        (tmp_path / name).write_text((own / name).read_text())
    monkeypatch.chdir(tmp_path)
    ablate.launch("own.yaml", executor="inline")

    def said(*words: str) -> list[str]:
        result = CliRunner().invoke(main, list(words))
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    assert said("enqueue", "own.yaml", "lr=0.5") == [
        "queued trial 2: lr 0.5",
        "to be sampled: width",
    ]
    assert said("enqueue", "own.yaml", "lr=0.25", "width=8") == [
        "queued trial 3: lr 0.25; width 8",
        "trial 1 has the same parameters and is complete: trial 3 copies its scores and is not run",
    ]
    failed = said("enqueue", "own.yaml", "lr=0.95", "width=8")
    assert failed == ["queued trial 4: lr 0.95; width 8"]
    said("resume", "own.yaml", "--executor", "inline")
    mark = "1 of 3 complete trials is a copy of another: same parameters, not run again"
    shown = " ".join(" ".join(said("launch", "own.yaml", "--notes")).split())
    assert mark in shown
    assert mark in "".join(said("status", "own.yaml", "--json"))
    (copy,) = [
        row
        for row in json.loads("".join(said("launch", "own.yaml", "--json")))
        if row["number"] == 3
    ]
    assert copy["copy_of"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "is_terminal", "is_shown"),
    [("", True, True), ("", False, False), (", progress=False", True, False)],
)
def test_a_launch_from_python_is_shown_on_a_terminal(
    there: Path, option: str, is_terminal: bool, is_shown: bool
) -> None:
    code = f"import ablate; print(len(ablate.launch('own.yaml', executor='inline'{option}).rows))"
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm"},
            check=True,
            timeout=120,
        )
        os.write(theirs, b"end")
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert int(done.stdout) >= 2
    assert ("own" in shown) is is_shown
    assert (shown == "end") is not is_shown


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["lr=2"], "lr"),
        (["rate=0.5"], "rate"),
        (["width=9"], "width"),
        (["lr"], "enqueue: must be key=value, got 'lr'. Write lr=VALUE."),
        (["lr=0.5", "lr=0.6"], "enqueue lr: must be given once, got it again: 'lr=0.6'."),
    ],
)
def test_what_cannot_be_enqueued_is_said_in_one_line(
    values: list[str], message: str, there: Path
) -> None:
    result = CliRunner().invoke(main, ["enqueue", "own.yaml", *values])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_log_of_a_study(there: Path, ablate: Run) -> None:
    events = json.loads(ablate("logs", "own.yaml", "--json").stdout)
    assert {"drive_started", "fail", "complete", "drive_ended"} <= {one["event"] for one in events}
    printed = ablate("logs", "runs/own").stdout.splitlines()
    assert len(printed) == len(events)
    assert any("trial 1, attempt 1  complete" in line for line in printed)


def test_the_log_of_a_trial_says_why_it_failed_and_what_it_printed(
    there: Path, ablate: Run
) -> None:
    printed = ablate("logs", "own.yaml", "--trial", "0").stdout
    assert "trial 1" not in printed
    assert "ValueError: the rate is too high" in printed
    assert 'raise ValueError("the rate is too high")' in printed
    assert "runs/own/logs/00000/attempt-1.log:\n" in printed
    assert "training at 0.95" in printed
    result = ablate("logs", "own.yaml", "--trial", "99")
    assert result.returncode == 2
    assert "--trial: must be a trial of own, got 99. It has" in result.stderr


@pytest.mark.slow
def test_a_log_is_followed_until_ctrl_c(there: Path) -> None:
    command = [*COMMAND, "logs", "runs/own", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line)["event"] == "note":
                    break
                if json.loads(line)["event"] == "drive_ended":
                    EventLog(there / "runs" / "own").write("note", text="written meanwhile")
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, error) == (0, b"")
