"""A storage's password stays in the driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

LOOP = """
import time

def train(trial):
    for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        time.sleep(0.25)
        print("the environment:", dict(__import__("os").environ))
        (trial.checkpoint_folder / "state").write_text(str(epoch))
        trial.report(epoch, {"a": 1.0, "b": 1.0})
"""


def processes_with(secret: str) -> Iterator[str]:
    """Processes of the machine that show a text in their command line or environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found = secret.encode() in (folder / name).read_bytes()
            except OSError:
                continue
            if found:
                yield f"{folder.name} {name}"


@pytest.mark.postgres
def test_a_password_is_nowhere_but_in_the_driver(work: Path, postgres_url: str) -> None:
    secret = str(make_url(postgres_url).password)
    (work / "loop.py").write_text(LOOP)
    study = {
        "version": 1,
        "name": "secret",
        "trainable": "loop:train",
        "finetune": {"budget": {"epochs": 4}},
        "space": {"x": {"float": [0.0, 1.0]}},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        "search": {"trials": 3},
        "run": {"parallel": 2},
    }
    (work / "secret.yaml").write_text(yaml.safe_dump(study))
    environment = {**os.environ, "ABLATE_STORAGE": postgres_url}
    command = [sys.executable, "-m", "ablate"]
    driver = subprocess.Popen(
        [*command, "launch", "secret.yaml"],
        cwd=work,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(work.glob("runs/secret/logs/*/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    showing = set(processes_with(secret))
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, output
    assert showing == {f"{driver.pid} environ"}  # where its user has put it
    for asked in (["status", "--json"], ["trials", "--json"], ["logs", "--json"], ["report"]):
        done = subprocess.run(
            [*command, asked[0], "runs/secret", *asked[1:]],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        output += done.stdout + done.stderr
    assert secret not in output
    files = [path for path in work.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert work / "runs" / "secret" / "report.html" in files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
