"""The self-test: a small study is broken, resumed, and compared with one that nothing broke.

`python -m ablate.doctor.selftest ARGS...` is a driver that dies; ARGS are `ablate`'s.
"""

from __future__ import annotations

import json
import os
import runpy
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from string import Template

import ray

import ablate
from ablate.doctor.findings import Finding, check
from ablate.errors import AblateError, InfrastructureError
from ablate.errors.masking import masked
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Row, StudyRecord
from ablate.ledger.storage import fill_variables, open_storage, sqlite_file, sqlite_url
from ablate.search.cluster.connect import check_answer, connect
from ablate.search.cluster.nodes import answer, fitting_nodes, submit
from ablate.search.dispatcher import Dispatcher
from ablate.study.provenance import usable_cores
from ablate.study.scores import Scores, is_mean
from ablate.study.settings import RunSettings
from ablate.trial.task import Report

STUDY = Template("""\
version: 1
name: $name
dataset: {name: digits, $images, validation: {fraction: 0.1}}
model: {name: resnet8}
baseline: {epochs: 1}
finetune: {budget: {epochs: 4}, batch_size: 64}
loss: {terms: clean+da}
space: {finetune.learning_rate: {float: [0.001, 0.01], log: true}}
objectives: [{metric: val_clean_accuracy}, {metric: val_robust_accuracy}]
search: {trials: $trials, sampler: random}
robustness: {suite: families, severities: [3]}
answer: {mixtures: false}
run: {parallel: $trials, cpus_per_trial: 1, gpus_per_trial: $gpus}
""")
_TIMEOUT_SECONDS = 300
"""For one driver: about ten seconds of work, on a machine that may be busy."""

_GPU_TOLERANCE = 0.02
"""Tolerance of an accuracy, from 0 to 1: a GPU sums in varying order."""


class SelfTest:
    """Runs a study on each kind of device, interrupts and resumes it, and compares the results.

    Args:
        address: of a Ray cluster; None: Ray on this machine.
        storage: URL of a storage to test too, with ${VARIABLE} filled in; None: only SQLite.
        say: called with each step before it starts.

    Attributes:
        exit_code: 0 if all checks passed so far, 1 if one failed, 3 if the infrastructure failed.
    """

    def __init__(self, address: str | None, storage: str | None, say: Callable[[str], object]):
        self._address = address
        self._storage = None if storage is None else fill_variables(storage)
        self._say = say
        self.exit_code = 0

    def findings(self) -> Iterator[Finding]:
        """Yields the findings as they become known.

        Raises:
            UsageError: if the address or the storage is invalid.
            InfrastructureError: if there is no answer.
        """
        if self._storage is not None:
            self._say(f"storage: opening {masked(self._storage)}")
            if sqlite_file(self._storage) is None:  # a file is made, and removed, with its study
                open_storage(self._storage, create=True).dispose()
        nodes, room = 1, {"CPU": usable_cores()}
        if self._address is not None:
            self._say("cluster: connecting")
            connect(self._address, RunSettings())
            nodes, room = len(fitting_nodes(0, 0)), ray.cluster_resources()
            ray.shutdown()
        yield check("versions")
        yield check("torch")
        if self._address is not None:
            kinds = {name.removeprefix("accelerator_type:"): room[name] for name in sorted(room)}
            counts = [f"{count:g} {name}" for name, count in kinds.items() if ":" not in name]
            yield Finding("cluster", "ok", ", ".join([*counts, f"{nodes} nodes"]))
            self._say("cluster: trying a wrong token")
            yield _wrong_token(self._address)
        else:
            import torch

            yield check("cluster token")
            room["GPU"] = torch.cuda.device_count()
        # The current folder, because a study's files will be there, on every node.
        folder = Path(tempfile.mkdtemp(prefix=".ablate-selftest-", dir=Path.cwd()))
        # SIGTERM too ends by an exception, so that all created files are removed.
        before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
        try:
            for device in [kind for kind in ("CPU", "GPU") if room.get(kind)]:
                trials = int(min(8, room[device], max(2, nodes)))  # one per node
                try:
                    for what, problem, good in self._try(device, trials, folder):
                        self.exit_code = self.exit_code or int(bool(problem))
                        yield Finding(what, "broken" if problem else "ok", problem or good)
                except AblateError as error:
                    self.exit_code = 3 if isinstance(error, InfrastructureError) else 1
                    yield Finding(device, "broken", str(error).splitlines()[0])
            if self._address is None and room.get("GPU"):
                for finding in device_findings("cuda", ["right", "fast"], Path.cwd(), self._say):
                    self.exit_code = self.exit_code or int(finding.state == "broken")
                    yield finding
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            signal.signal(signal.SIGTERM, before)

    def _try(self, device: str, trials: int, folder: Path) -> Iterator[tuple[str, str, str]]:
        """What is tried, what is wrong with it ("": nothing), and what is found if nothing is."""
        name = f"selftest-{secrets.token_hex(4)}-{device.lower()}"
        whole, broken = folder / f"{device}-whole", folder / f"{device}-broken"
        gpus = int(device == "GPU")
        images = "image_size: 32" if gpus else "image_size: 8, train_fraction: 0.25"
        text = STUDY.substitute(name=name, trials=trials, gpus=gpus, images=images)
        for run in (whole, broken):
            run.mkdir()
            (run / "study.yaml").write_text(text)
        storage = self._storage or sqlite_url(broken / "study.db")
        file = sqlite_file(storage)
        is_new = file is not None and not file.exists()
        good = f"{trials} of {trials} trials complete, each of the 4 epochs once"
        self._say(f"{device}: {trials} trials of 4 epochs without interruption")
        alone = ["--executor", "inline"] if self._address is None else []
        self._drive(whole, sqlite_url(whole / "study.db"), *alone)
        first = ablate.read(whole / "runs" / name)
        yield f"{device} trials", wrong_rows(first, trials), good
        try:
            self._say(f"{device}: the same, killing a worker and then the driver")
            self._drive(broken, storage, kill=True)
            again = [row for row in ablate.read(f"{storage}#{name}").rows if row.attempt > 1]
            problem = "" if again else "no trial was resumed"
            resumed = f"trial {again[0].number} resumed in another process" if again else ""
            yield f"{device} worker killed", problem, resumed
            self._say(f"{device}: resuming")
            self._drive(broken, storage)
            second = ablate.read(f"{storage}#{name}")
            yield f"{device} driver killed", wrong_rows(second, trials), f"resumed: {good}"
            difference = _difference(first, second)
            differs = f"accuracies differ by at most {difference:.4f}"
            weights = [_weights(run / "runs" / name) for run in (whole, broken)]
            problem, same = f"bits and {differs}", f"{differs}; tolerance: {_GPU_TOLERANCE}"
            if difference == 0 and weights[0] == weights[1]:
                same = "scores and weights are bit-identical to those of the uninterrupted run"
                problem = ""
            elif gpus and difference <= _GPU_TOLERANCE:
                problem = ""
            yield f"{device} result", problem, same
        finally:
            Ledger.remove(storage, name)
            if is_new:
                for ending in ("", "-wal", "-shm"):
                    Path(f"{file}{ending}").unlink(missing_ok=True)
        if self._storage is not None:
            yield "storage", "", f"{masked(storage)}: its test study is deleted"

    def _drive(self, folder: Path, storage: str, *options: str, kill: bool = False) -> None:
        """Start or resume a study in a new process, and wait until it ends.

        Args:
            options: of `ablate launch`; kill: kill a worker and then the driver.

        Raises:
            InfrastructureError: if the infrastructure failed, or it takes too long.
            AblateError: if it ended in an unexpected way; with the driver's message.
        """
        own = {"ABLATE_CACHE": str(folder.parent / "cache"), "ABLATE_STORAGE": storage}
        command = [sys.executable, "-m", "ablate.doctor.selftest" if kill else "ablate", "launch"]
        command += ["study.yaml", "--resume", "--accept-baseline", *options]
        if self._address is not None:
            command += ["--ray-address", self._address]
        # Into a file, because a pipe would stay open as long as any child process of the driver.
        log = folder / "driver.log"
        code: int | None = None
        with log.open("w") as output, suppress(subprocess.TimeoutExpired):
            code = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            ).returncode
        lines = log.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:400] if lines else "no output"
        if code is None:
            raise InfrastructureError(
                f"a study of about ten seconds must end, got no end in {_TIMEOUT_SECONDS} s "
                f"({last}). Check the load of the machine, or of the cluster."
            )
        if code != (-signal.SIGKILL if kill else 0):
            text = f"a driver ended with {code}: {last.removeprefix('ablate: ')}"
            raise (InfrastructureError if code == 3 else AblateError)(text)


def device_findings(
    device: str, parts: Sequence[str], folder: Path, say: Callable[[str], object]
) -> Iterator[Finding]:
    """Some parts of `benchmarks/gpu.py`, short, which write `gpu.json` into a folder."""
    package, report = Path(ablate.__file__).parent, folder / "gpu.json"
    wheel = package / "shipped"
    script = (wheel if wheel.is_dir() else package.parent) / "benchmarks" / "gpu.py"
    say(f"{device}: {' and '.join(parts)}, short, into {report.name}")
    options = ["--quick", "--device", device, "-o", str(report), "--parts", *parts]
    command = [sys.executable, str(script), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = {"results": {"": {"error": ended.stderr[-400:]}}}
    has_run = ended.returncode != 2 and report.exists()
    results = (json.loads(report.read_text()) if has_run else failed)["results"]
    for name, result in results.items():
        state = "ok" if result.get("ok") else "broken"
        said = masked(str(result.get("said") or result["error"]))
        yield Finding(f"{device} {name}", state, said)


def _wrong_token(address: str) -> Finding:
    """Whether the cluster rejects a wrong token."""
    before = dict(os.environ)
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16))
    try:
        check_answer(address)
    except InfrastructureError:
        return Finding("cluster token", "ok", "the right token is accepted, a wrong one is refused")
    finally:
        os.environ.clear()
        os.environ.update(before)
    risk = "a wrong token is accepted: anyone who can reach the cluster's ports can run code on it"
    return Finding("cluster token", "absent", risk, "RAY_AUTH_MODE=token at every `ray start`")


def wrong_rows(record: StudyRecord, trials: int) -> str:
    """What is wrong with a finished study's rows; "" if all are complete, with each epoch once."""
    if [row.number for row in record.rows] != list(range(trials)):
        return f"rows {[row.number for row in record.rows]} instead of {trials}"
    for row in record.rows:
        epochs = [entry["epoch"] for entry in row.curve]
        if row.state != "COMPLETE" or epochs != [1, 2, 3, 4]:
            why = f" ({row.failure.reason})" if row.failure else ""
            return f"trial {row.number} is {row.state}{why} with epochs {epochs}"
    return ""


def _difference(first: StudyRecord, second: StudyRecord) -> float:
    """Largest difference of a mean accuracy, from 0 to 1; infinite if parameters differ."""
    largest = 0.0
    for row, other in zip(first.rows, second.rows, strict=True):
        if row.params != other.params:
            return float("inf")
        assert isinstance(row.scores, Scores)
        assert isinstance(other.scores, Scores)
        scores, others = row.scores.metrics(), other.scores.metrics()
        names = [name for name in scores if "accuracy" in name and is_mean(name)]
        gaps = [abs(scores[name] - others[name]) for name in names]
        largest = max(largest, *gaps)
    return largest


def _weights(run: Path) -> dict[str, bytes]:
    """The files of finetuned weights, by name."""
    return {file.name: file.read_bytes() for file in (run / "weights").iterdir()}


# -- A driver that kills a worker, and then itself ----------------------------------------


def _drive_and_die(arguments: list[str]) -> None:
    """After the first epoch that is recorded, that row's worker gets SIGKILL, on whatever node it
    runs; after the next epoch of the same row, which another process has run, the driver does.

    Both in the thread that lets a worker go on, so that its trial cannot end meanwhile.
    """
    take_report = Dispatcher.report
    killed: list[tuple[int, int]] = []

    def report(self: Dispatcher, row: Row, what: Report) -> None:
        take_report(self, row, what)
        if row.number is None or what.entry is None or what.place is None or what.done:
            return
        recorded = threading.Event()
        self.after_reports(recorded.set)
        recorded.wait(_TIMEOUT_SECONDS)
        host, pid = what.place["host"], what.place["pid"]
        if not killed:
            killed.append((row.number, pid))
            nodes = fitting_nodes(0, 0)
            node = next(node for node in nodes if node.name.startswith(f"{host} "))
            answer(node, submit(node, lambda: os.kill(pid, signal.SIGKILL)))
        elif row.number == killed[0][0] and pid != killed[0][1]:
            os.kill(os.getpid(), signal.SIGKILL)

    Dispatcher.report = report  # type: ignore[assignment, method-assign]
    sys.argv = ["ablate", *arguments]
    runpy.run_module("ablate", run_name="__main__")


if __name__ == "__main__":
    _drive_and_die(sys.argv[1:])
