"""The self-test's study: its file, its drivers, and the comparison of two runs.

As a module, `python -m ablate.doctor.study ARGS...`, it is a driver that dies; ARGS are `ablate`'s.
"""

from __future__ import annotations

import hashlib
import os
import runpy
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from ablate.errors import AblateError, InfrastructureError
from ablate.ledger.record import Row, RowRecord, StudyRecord
from ablate.study.scores import Scores
from ablate.trial.task import Report, weights_file

EPOCHS = 4
TIMEOUT_SECONDS = 300
"""For one driver: about ten seconds of work, on a machine that may be busy."""

_RECORDED_SECONDS = 60
"""Longest wait for an epoch to be recorded; a report of a lost attempt never is."""

_MARK = "ABLATE_SELFTEST"
"""An environment variable that every process of a self-test has."""

GPU_TOLERANCE = 0.02
"""Tolerance of an accuracy, from 0 to 1: a GPU sums in varying order."""


def write_study(folder: Path, name: str, *, gpus: float, trials: int) -> Path:
    """Write the file of a study that takes seconds: digits, a small network, one searched
    parameter.

    Args:
        gpus: per trial.
        trials: number of rows, run in parallel.
    """
    study = {
        "version": 1,
        "name": name,
        "dataset": {
            "name": "digits",
            "train_fraction": 1.0 if gpus else 0.25,
            "validation": {"fraction": 0.1},
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
    """Starts drivers in a folder, each in a new process, and leaves no process behind.

    Args:
        folder: where they run, with its own cache.
        address: of a cluster; None: each driver starts Ray here.
    """

    def __init__(self, folder: Path, address: str | None) -> None:
        self._folder = folder
        self._where = () if address is None else ("--ray-address", address)
        self._mark = secrets.token_hex(8)

    def run(self, file: Path, storage: str | None, *, kill: bool = False) -> None:
        """Start or resume a study, and wait until it ends.

        Args:
            storage: URL; None: SQLite in the folder.
            kill: kill a worker and then the driver.

        Raises:
            InfrastructureError: if the infrastructure failed, or it takes too long.
            AblateError: if it ended in an unexpected way; with the driver's message.
        """
        environment = {
            **os.environ,
            "ABLATE_CACHE": str(self._folder / "cache"),
            _MARK: self._mark,
        }
        environment.pop("ABLATE_STORAGE", None)
        if storage is not None:
            environment["ABLATE_STORAGE"] = storage
        module = "ablate.doctor.study" if kill else "ablate"
        command = [
            sys.executable,
            "-m",
            module,
            "launch",
            file.name,
            "--resume",
            "--accept-baseline",
        ]
        command += self._where
        # Into a file, because a pipe would stay open as long as any child process of the driver.
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
        """Kill processes that a driver left on this machine: Ray's daemons and workers."""
        mark = f"{_MARK}={self._mark}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:400] if lines else "no output"


def images_a_second(record: StudyRecord) -> float:
    """Training throughput of one trial in images per second.

    The median over epochs, without each trial's first, which loads data and kernels.
    """
    rates: list[float] = []
    for row in record.rows:
        assert isinstance(row.scores, Scores)
        epoch_images = row.scores.student_images / len(row.curve)
        rates += [epoch_images / entry["seconds"] for entry in row.curve[1:]]
    return statistics.median(rates)


def whole(record: StudyRecord, trials: int) -> str:
    """What is wrong with a finished study's rows; "" if all are complete, with each epoch once."""
    if [row.number for row in record.rows] != list(range(trials)):
        return f"rows {[row.number for row in record.rows]} instead of {trials}"
    for row in record.rows:
        epochs = [entry["epoch"] for entry in row.curve]
        if row.state != "COMPLETE" or epochs != list(range(1, EPOCHS + 1)):
            why = f" ({row.failure.reason})" if row.failure else ""
            return f"trial {row.number} is {row.state}{why} with epochs {epochs}"
    return ""


def largest_difference(one: StudyRecord, other: StudyRecord) -> float:
    """Largest difference of an accuracy, from 0 to 1, over all rows and corruptions; infinite if
    parameters differ."""
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
    """Whether the finetuned weights of two studies are bit-identical."""
    return all(
        _tensors(folder / "runs" / one, number) == _tensors(folder / "runs" / other, number)
        for number in range(trials)
    )


def _tensors(run: Path, number: int) -> str:
    """A digest of the tensors only, because the file's header names its study."""
    content = weights_file(run, number).read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    return hashlib.sha256(content[header:]).hexdigest()


@contextmanager
def removed_afterwards(url: str, name: str) -> Iterator[None]:
    """A study of this name in the user's storage; it is removed in the end."""
    from ablate.ledger.ledger import Ledger
    from ablate.ledger.storage import sqlite_file

    file = sqlite_file(url)
    was_there = file is None or file.exists()
    try:
        yield
    finally:
        Ledger.remove(url, name)
        if file is not None and not was_there:
            for ending in ("", "-wal", "-shm"):
                Path(f"{file}{ending}").unlink(missing_ok=True)


# -- A driver that kills a worker, and then itself ----------------------------------------


def _drive_and_die(arguments: list[str]) -> None:
    """After the first epoch that is recorded, that row's worker gets SIGKILL, on whatever node it
    runs; after the next epoch of the same row, which another process has run, the driver does.

    Both in the thread that lets a worker go on, so that its trial cannot end meanwhile.
    """
    from ablate.ledger.driving import Driving
    from ablate.search.dispatcher import Dispatcher

    record_epoch, report = Driving.record_epoch, Dispatcher.report
    recorded, killed = set[tuple[int, int]](), dict[str, Any]()

    def record(self: Driving, number: int, entry: Mapping[str, Any], *given: Any) -> Any:
        outdated = record_epoch(self, number, entry, *given)
        recorded.add((number, entry["epoch"]))
        return outdated

    def reported(self: Dispatcher, row: Row, what: Report) -> None:
        report(self, row, what)
        if row.number is None or what.entry is None or what.place is None or what.done:
            return
        until = time.monotonic() + _RECORDED_SECONDS
        while (row.number, what.entry["epoch"]) not in recorded:
            if self.stopping or time.monotonic() > until:
                return
            time.sleep(0.01)
        host, pid = what.place["host"], what.place["pid"]
        if not killed:
            killed.update(number=row.number, pid=pid)
            try:
                _kill(host, pid)
            except AblateError as error:
                self.fail(error)
        elif row.number == killed["number"] and pid != killed["pid"]:
            os.kill(os.getpid(), signal.SIGKILL)

    Driving.record_epoch = record  # type: ignore[assignment, method-assign]
    Dispatcher.report = reported  # type: ignore[assignment, method-assign]
    sys.argv = ["ablate", *arguments]
    runpy.run_module("ablate", run_name="__main__")


def _kill(host: str, pid: int) -> None:
    if host == socket.gethostname():
        os.kill(pid, signal.SIGKILL)
    else:
        from ablate.search.cluster.tasks import kill_process

        kill_process(host, pid)


if __name__ == "__main__":
    _drive_and_die(sys.argv[1:])
