"""The self-test's study: its file, its drivers, and what two runs of it have in common."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from ablate.errors import AblateError, InfrastructureError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.study.scores import Scores
from ablate.trial.task import weights_file

EPOCHS = 4
TIMEOUT_SECONDS = 300
"""For one driver: some ten seconds of work, on a machine that is busy with other things too."""

_MARK = "ABLATE_SELFTEST"
"""A variable that every process of a self-test has."""

GPU_TOLERANCE = 0.02
"""Of an accuracy, from 0 to 1: a GPU sums in no fixed order."""


def write_study(folder: Path, name: str, *, gpus: float, trials: int) -> Path:
    """The file of a study of seconds: digits, a small network, one searched parameter.

    Args:
        gpus: of a trial.
        trials: rows, side by side.
    """
    study = {
        "version": 1,
        "name": name,
        "dataset": {
            "name": "digits",
            "train_fraction": 1.0 if gpus else 0.4,
            "validation": {"fraction": 0.25},
        },
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 1},
        "finetune": {"budget": {"epochs": EPOCHS}, "batch_size": 64},
        "loss": {"terms": "clean+da"},
        "space": {"finetune.learning_rate": {"float": [0.001, 0.01], "log": True}},
        "objectives": [{"metric": "val_clean_accuracy"}, {"metric": "val_robust_accuracy"}],
        "search": {"trials": trials, "sampler": "random"},
        "robustness": {"suite": "families", "severities": [3]},
        "run": {"parallel": trials, "cpus_per_trial": 1, "gpus_per_trial": gpus},
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return file


class Drivers:
    """Starts drivers in a folder, each in a process of its own, and leaves no process behind.

    Args:
        folder: that they run in, with a cache of its own.
        address: of a cluster; none: Ray is started here by each.
    """

    def __init__(self, folder: Path, address: str | None) -> None:
        self._folder = folder
        self._where = () if address is None else ("--ray-address", address)
        self._mark = secrets.token_hex(8)

    def run(self, file: Path, storage: str | None, *, kill: bool = False) -> None:
        """Begin or go on with a study, until it ends.

        Args:
            storage: URL; none: SQLite in the folder.
            kill: a worker and then the driver are killed.

        Raises:
            InfrastructureError: if the infrastructure failed, or it takes too long.
            AblateError: if it ended in any other way than it should; the driver's own words.
        """
        environment = {
            **os.environ,
            "ABLATE_CACHE": str(self._folder / "cache"),
            _MARK: self._mark,
        }
        environment.pop("ABLATE_STORAGE", None)
        if storage is not None:
            environment["ABLATE_STORAGE"] = storage
        module = "ablate.doctor.killed_driver" if kill else "ablate"
        command = [sys.executable, "-m", module, "launch", file.name, "--resume", *self._where]
        # Into a file: a pipe stays open for as long as a process that the driver has started.
        log = self._folder / "driver.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            code = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise InfrastructureError(
                f"a study of about ten seconds must end, got no end in {TIMEOUT_SECONDS} s "
                f"({_last_line(log)}). Check the load of the machine, or of the cluster."
            ) from None
        finally:
            process.kill()
            process.wait()
            self._end_others()
        if code != (-signal.SIGKILL if kill else 0):
            said = f"a driver ended with {code}: {_last_line(log).removeprefix('ablate: ')}"
            raise (InfrastructureError if code == 3 else AblateError)(said)

    def _end_others(self) -> None:
        """Kill what a driver has started on this machine and left: Ray's daemons and workers."""
        mark = f"{_MARK}={self._mark}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:400] if lines else "no output"


def images_a_second(record: StudyRecord) -> float:
    """Images that went forward and backward through the network, of one trial in a second.

    The median over the epochs after each trial's first, which loads data and kernels.
    """
    rates: list[float] = []
    for row in record.rows:
        assert isinstance(row.scores, Scores)
        epoch_images = row.scores.student_images / len(row.curve)
        rates += [epoch_images / entry["seconds"] for entry in row.curve[1:]]
    return statistics.median(rates)


def whole(record: StudyRecord, trials: int) -> str:
    """What is wrong with a finished study's rows; "" where each is complete, each epoch once."""
    if [row.number for row in record.rows] != list(range(trials)):
        return f"rows {[row.number for row in record.rows]} instead of {trials}"
    for row in record.rows:
        epochs = [entry["epoch"] for entry in row.curve]
        if row.state != "COMPLETE" or epochs != list(range(1, EPOCHS + 1)):
            why = f" ({row.failure.reason})" if row.failure else ""
            return f"trial {row.number} is {row.state}{why} with epochs {epochs}"
    return ""


def largest_difference(one: StudyRecord, other: StudyRecord) -> float:
    """Of an accuracy, from 0 to 1, over all rows and corruptions; infinite where a draw differs."""
    largest = 0.0
    for left, right in zip(one.rows, other.rows, strict=True):
        if left.params != right.params:
            return float("inf")
        for name, value in _metrics(left).items():
            largest = max(largest, abs(value - _metrics(right)[name]))
    return largest


def _metrics(row: RowRecord) -> Mapping[str, Any]:
    assert isinstance(row.scores, Scores)
    return {key: value for key, value in row.scores.metrics().items() if "accuracy" in key}


def same_weights(folder: Path, one: str, other: str, trials: int) -> bool:
    """Whether the finetuned weights of two studies are the same in every bit."""
    return all(
        _tensors(folder / "runs" / one, number) == _tensors(folder / "runs" / other, number)
        for number in range(trials)
    )


def _tensors(run: Path, number: int) -> str:
    """A digest of the tensors alone: the file's header names its study."""
    content = weights_file(run, number).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    return hashlib.sha256(content[header:]).hexdigest()


@contextmanager
def removed_afterwards(url: str, name: str) -> Iterator[None]:
    """A study of this name in a storage that is the user's; in the end nothing of it is there."""
    from ablate.ledger.ledger import Ledger
    from ablate.ledger.url import sqlite_file

    file = sqlite_file(url)
    was_there = file is None or file.exists()
    try:
        yield
    finally:
        Ledger.remove(url, name)
        if file is not None and not was_there:
            for ending in ("", "-wal", "-shm"):
                Path(f"{file}{ending}").unlink(missing_ok=True)
