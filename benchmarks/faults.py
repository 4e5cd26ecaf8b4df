"""Interrupts a study in many ways, resumes it, and checks its results.

    python benchmarks/faults.py --rounds 10

Each fault breaks a study of 6 trials of 3 epochs in one way, with a real Ray cluster and a real
storage, and resumes it until it ends. Then there must be exactly N rows, all ended; every epoch of
a complete row once, in order; every value equal to that of an uninterrupted run; and no attempt may
have started before the last durable state. A row of the table is one kind of fault, with the most
steps that a trial repeated. A trial has 30 steps, 10 per epoch. If the kind says "after a
checkpoint in it", states are saved within an epoch, at each step of .2 s; otherwise after each
epoch.

With `--pruned` the study has 16 trials, a pruner and a constraint, and runs one trial at a time
where the fault allows it: then parameters, values and decisions must equal those without faults.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy
import yaml

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import fault_trial
from fault_driver import EAGER, NOWHERE
from forked_driver import ForkedDriver
from mlflow_server import PYTHON, MlflowServer
from postgres_server import PostgresServer, postgres_programs
from ray.cluster_utils import Cluster
from tracker_readers import differences, read_mlflow, read_tensorboard, read_wandb
from two_machines import NotAllowedError, TwoMachines, two_machines

import ablate
from ablate.ledger.record import RowRecord, StudyRecord

TRIALS, EPOCHS = 6, 3
_TIMEOUT_SECONDS = 120
AT_RANDOM = "driver: at random times"
CUT_OFF = "node: cut off, then back"
_RESUMABLE = (3, 130, 143, -signal.SIGKILL)


FINETUNING: dict[str, Any] = {
    "version": 1,
    "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.5}},
    "model": {"name": "resnet8"},
    "finetune": {"budget": {"images": 512}},
    "robustness": {"suite": ["contrast", "gaussian_noise"], "severities": [3]},
    "space": {"loss.da.weight": {"float": [0.1, 2.0]}},
    "loss": {"terms": "clean+da"},
    "search": {"trials": TRIALS, "sampler": "random"},
    "run": {"precision": "fp32"},
}
"""A search on handwritten digits; its name and weights are the lab's."""
PRUNED: dict[str, Any] = {
    "search": {"trials": 16, "pruner": {"reduction_factor": 2}},
    "constraints": [{"metric": "c", "min": 0.3}],
}
"""What `--pruned` changes; at this seed trial 2, which several faults break, is not stopped."""
FINETUNED_PRUNED: dict[str, Any] = {
    "finetune": {"budget": {"epochs": EPOCHS}, "learning_rate": 0.02},
    "search": {**PRUNED["search"], "trials": TRIALS},
    "constraints": [{"metric": "val_accuracy.contrast", "min": 0.2}],
}


REPLICATES: dict[str, Any] = {
    **{name: value for name, value in FINETUNING.items() if name not in ("loss", "search")},
    "name": "faulty",
    "baseline": {"checkpoint": "digits{replicate}.safetensors", "saw_validation": False},
    "ablation": {
        "design": "arms",
        "arms": {"plain": {"loss.terms": "clean"}, "DA": {"loss.terms": "clean+da"}},
        "replicates": 2,
        "seeds": 1,
        "tune": {"trials": 2},
    },
    "space": {"finetune.learning_rate": {"float": [0.001, 0.1], "log": True}},
}
"""An ablation with replicates, each of which tunes its arms: 4 trials and 2 runs a replicate."""


@functools.cache
def untrained_weights(seed: int = 0) -> Path:
    """Random weights of the network: damage is detected for any weights."""
    from ablate.model.build import build_model
    from ablate.model.weights.export_metadata import export_weights
    from ablate.study.settings import ModelSettings

    path = Path(tempfile.mkdtemp(prefix="ablate-fault-")) / "digits.safetensors"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    model = build_model(ModelSettings(name="resnet8"), 10, (0.5,) * 3, (0.5,) * 3, seed=seed)
    export_weights(model, path)
    return path


Begin = Callable[[Sequence[str], Path, Mapping[str, str]], Any]
"""Begins a driver: its arguments (`--at POINT N` in front lets it die there), folder, variables."""


def begin_python(
    program: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    prefix: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start a driver in a new Python process; `prefix` precedes the command."""
    python = ["-m", "ablate", *program]
    if program[0] == "--at":
        python = [str(HERE / "fault_driver.py"), *program[1:]]
    return subprocess.Popen(
        [*prefix, sys.executable, *python],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@functools.cache
def without_faults(text: str, begin: Begin) -> tuple[tuple[RowRecord, ...], str]:
    """The rows of a study that nothing breaks, one trial at a time; of an ablation also its effects
    with all digits.

    Args:
        text: of its file.
        begin: as of `Lab`.
    """
    study = yaml.safe_load(text)
    if "trainable" in study:  # other keys of `run` need Ray, or folders
        study["run"] = {}
    with tempfile.TemporaryDirectory(prefix="ablate-fault-") as folder:
        lab = Lab(Path(folder), None, begin=begin)
        lab.hurry()
        lab.write_files(study)
        code, output = lab.end(lab.start())
        assert code == 0, output
        return lab.read().rows, lab.effects()


class Lab:
    """One study in a folder of its own, over a cluster that outlives it.

    Args:
        address: of the cluster; none: drivers run inline.
        begin: how drivers begin that need no Python of their own.
        resumed_on: an executor to go on with after the fault; none: the same as before.
        pruned: with a pruner and a constraint.
        mlflow: a server: the study has all trackers, and they are judged too.
    """

    def __init__(
        self,
        folder: Path,
        address: str | None,
        storage: str | None = None,
        begin: Begin = begin_python,
        resumed_on: str | None = None,
        *,
        pruned: bool = False,
        mlflow: str | None = None,
    ) -> None:
        self.folder, self.mlflow = folder, mlflow
        self._pruned = pruned
        self._begin, self._resumed_on = begin, resumed_on
        self._where = ("--ray-address", address) if address else ("--executor", "inline")
        self._environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        self._environment.pop("ABLATE_STORAGE", None)
        if mlflow is not None:
            self._environment |= {EAGER: "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        self.storage = storage
        if storage is not None:
            self._environment["ABLATE_STORAGE"] = storage
        self._prefix: tuple[str, ...] = ()
        self.durable: dict[int, tuple[int, int]] = {}
        self.attempts: dict[int, int] = {}
        self.failed: tuple[int, ...] = ()
        self.trials, self.epochs = TRIALS, EPOCHS
        self.codes: list[int] = []
        self.expected: tuple[RowRecord, ...] = ()

    @property
    def reference(self) -> str:
        return f"{self.storage}#faulty" if self.storage else str(self.folder / "runs" / "faulty")

    def move(self, machines: TwoMachines) -> None:
        """From now on run drivers on the head's machine."""
        self._prefix, self._where = machines.on_head, ("--ray-address", machines.address)
        self._environment |= machines.environment

    def leave_the_cluster(self, executor: str, **environment: str) -> None:
        """From now on run drivers without it: inline, or with their own Ray."""
        self._where = ("--executor", executor)
        self._environment |= environment
        if executor == "ray" or environment:
            self._begin = begin_python

    def write(self, *, epoch_seconds: float = 0.02, **keys: Any) -> None:
        """The study file; keywords replace its sections."""
        run = keys.pop("run", {})
        study = {
            "version": 1,
            "name": "faulty",
            "trainable": "fault_trial:train",
            "finetune": {"budget": {"epochs": EPOCHS}},
            "space": {"x": {"float": [0.0, 1.0]}, "y": {"float": [0.01, 1.0], "log": True}},
            "objectives": [{"metric": "a"}, {"metric": "b"}],
            "search": {"trials": TRIALS, "sampler": "random"},
            "run": {
                "parallel": 1 if self._pruned else 2,
                **{"grace_seconds": 5.0, "trackers": self._trackers()},
                **run,
            },
            **keys,
            **(PRUNED if self._pruned else {}),
        }
        self.write_files(study, epoch_seconds)

    def _trackers(self) -> list[Any]:
        if self.mlflow is None:
            return []
        server = {"uri": self.mlflow, "experiment": self.folder.name}
        return ["tensorboard", {"mlflow": server}, "wandb"]

    def write_finetuning(self) -> None:
        """Write a robustness study of seconds.

        It runs in the driver's process, because workers of a cluster would spend most of the time
        importing torch.
        """
        baseline = {"checkpoint": "digits.safetensors", "saw_validation": False}
        study = {**FINETUNING, "baseline": baseline, "name": "faulty"}
        self.write_files({**study, **(FINETUNED_PRUNED if self._pruned else {})})
        self.leave_the_cluster("inline")

    def write_files(self, study: Mapping[str, Any], epoch_seconds: float = 0.02) -> None:
        """Write a study file, and its loop; or its weights, for which it has its own cache."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(study))
        self.trials = study.get("search", {}).get("trials", 0)
        if "ablation" in study:
            self.trials = 2 * study["ablation"]["replicates"] * study["ablation"]["seeds"]
        self.epochs = study["finetune"]["budget"].get("epochs", 1)
        if "trainable" in study:
            trial = (HERE / "fault_trial.py").read_text()
            (self.folder / "fault_trial.py").write_text(
                trial.replace("EPOCH_SECONDS = 0.02", f"EPOCH_SECONDS = {epoch_seconds}")
            )
        else:
            shutil.copy(untrained_weights(), self.folder / "digits.safetensors")
            for number in range(study.get("ablation", {}).get("replicates", 0)):
                copy = self.folder / f"digits{number}.safetensors"
                shutil.copy(untrained_weights(number), copy)
            self._environment["ABLATE_CACHE"] = str(self.folder / "cache")

    def start(self, *arguments: str, point: str | None = None, call: int = 1) -> Any:
        """Start a driver in a new process; with a point it kills, or stops, itself there."""
        if not arguments:
            # The finetuning's baseline is untrained.
            arguments = ("launch", "study.yaml", "--resume", "--accept-baseline")
        program = [*arguments, *self._where]
        if point is not None or self.mlflow is not None:
            program = ["--at", point or NOWHERE, str(call), *program]
        if self._prefix:
            return begin_python(program, self.folder, self._environment, self._prefix)
        return self._begin(program, self.folder, self._environment)

    def start_track(self) -> Any:
        """Start `ablate track`."""
        program = ["--at", NOWHERE, "0", "track", self.reference]
        return self._begin(program, self.folder, self._environment)

    def end(self, driver: Any) -> tuple[int, str]:
        """Wait for a driver; its exit code and what it printed."""
        try:
            output, _ = driver.communicate(timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            output, _ = driver.communicate()
            raise AssertionError(f"a driver did not end:\n{output}") from None
        self.codes.append(driver.returncode)
        return driver.returncode, output

    def kill(self, driver: Any) -> None:
        driver.send_signal(signal.SIGKILL)
        self.end(driver)

    def wait_for(self, what: Callable[[StudyRecord], bool], driver: Any) -> None:
        """Wait until the study is in this state, or its driver has ended."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline and driver.poll() is None:
            with contextlib.suppress(ablate.AblateError):
                if what(self.read()):
                    return
            time.sleep(0.2)
        try:
            self.read()
        except ablate.AblateError:
            driver.kill()
            _, output = self.end(driver)
            raise AssertionError(f"no study was begun:\n{output}") from None

    def read(self) -> StudyRecord:
        return ablate.read(self.reference)

    def steps_again(self) -> int:
        """The largest number of repeated steps of a trial."""
        file = self.folder / "steps"
        done = Counter(file.read_text().splitlines()) if file.is_file() else Counter()
        of_trial: Counter[str] = Counter()
        for step, times in done.items():
            of_trial[step.partition(" ")[0]] += times - 1
        return max(of_trial.values(), default=0)

    def hurry(self) -> None:
        """After the fault, let the remaining steps take no time."""
        (self.folder / "hurry").touch()

    def look(self) -> None:
        """Record the durable states: no later attempt may start before them."""
        with contextlib.suppress(ablate.AblateError):
            for row in self.read().rows:
                if row.state == "RUNNING" and row.checkpoints:
                    self.durable[row.number] = row.checkpoints[-1].place
                    self.attempts[row.number] = row.attempt

    def resume(self) -> None:
        """Resume with the command of a requeued job, until the study ends."""
        self.hurry()
        if self._resumed_on is not None:
            self.leave_the_cluster(self._resumed_on)
        for _ in range(5):
            self.look()
            code, output = self.end(self.start())
            if code == 0:
                return
            assert code in _RESUMABLE, f"exit code {code}:\n{output}"
        raise AssertionError(f"not ended after five resumes:\n{output}")

    def effects(self) -> str:
        """Those of an ablation, with all digits."""
        is_ablation = self.read().design is not None
        return repr(ablate.read_ablation(self.reference).effects) if is_ablation else ""

    def without_faults(self) -> tuple[RowRecord, ...]:
        """The rows of the same study, if nothing breaks it."""
        return without_faults((self.folder / "study.yaml").read_text(), self._begin)[0]

    def faults(self) -> list[str]:
        """What is wrong with the ended study."""
        record = self.read()
        wrong = [] if self.mlflow is None else self._tracker_faults(record)
        if self._pruned and record.study.run.parallel == 1 and not self.failed:
            self.expected = self.without_faults()
        wrong += _differences(record.rows, self.expected)
        if [row.number for row in record.rows] != list(range(self.trials)):
            wrong.append(f"rows: {[row.number for row in record.rows]}")
        for row in record.rows:
            name = f"row {row.number}"
            if row.number in self.failed and row.state == "FAIL":
                continue
            if row.state not in ("COMPLETE", "PRUNED"):
                wrong.append(f"{name}: {row.state}")
                continue
            epochs = [entry["epoch"] for entry in row.curve]
            last = row.rungs[-1].epoch if row.state == "PRUNED" else self.epochs
            if epochs != list(range(1, last + 1)):
                wrong.append(f"{name}: epochs {epochs}")
            if record.study.trainable is None:
                continue
            assert row.seeds is not None
            alone = fault_trial.uninterrupted(row.params, row.seeds.train, self.epochs)
            if row.state == "COMPLETE" and row.values != (alone["a"], alone["b"]):
                wrong.append(f"{name}: {row.values} instead of {alone}")
            if row.number in self.durable and row.attempt > self.attempts[row.number]:
                last_attempt = row.attempts[-1]
                begun = (last_attempt.first_epoch, last_attempt.first_step)
                if begun < self.durable[row.number]:
                    wrong.append(f"{name}: from {begun}, durable {self.durable[row.number]}")
        return wrong

    def _tracker_faults(self, record: StudyRecord) -> list[str]:
        """What is wrong with what the trackers show of the ended study."""
        assert self.mlflow is not None
        run = self.folder / "runs" / "faulty"
        shown = {
            "tensorboard": read_tensorboard(run / "tensorboard"),
            "wandb": read_wandb(run / "wandb"),
            "mlflow": read_mlflow(self.mlflow, self.folder.name),
        }
        return differences(record, shown)


def _differences(rows: Sequence[RowRecord], expected: Sequence[RowRecord]) -> list[str]:
    """In what rows are not as expected, with a pruner's decisions."""
    return [
        f"row {row.number}: {what} {getattr(row, what)} instead of {getattr(other, what)}"
        for row, other in zip(rows, expected, strict=False)
        for what in ("params", "state", "values", "rungs")
        if getattr(row, what) != getattr(other, what)
    ]


# -- the faults ----------------------------------------------------------------------------


def at_point(point: str, call: int, **keys: Any) -> Callable[[Lab], None]:
    """The driver dies at a point in its code."""

    def fault(lab: Lab) -> None:
        lab.write(**keys)
        code, output = lab.end(lab.start(point=point, call=call))
        assert code == -signal.SIGKILL, f"the driver was to die, got {code}:\n{output}"
        lab.resume()

    return fault


def replicate_broken(point: str, call: int) -> Callable[[Lab], None]:
    """The driver of an ablation with replicates dies at a point in its code."""

    def fault(lab: Lab) -> None:
        lab.write_files(REPLICATES)
        lab.leave_the_cluster("inline")
        code, output = lab.end(lab.start(point=point, call=call))
        assert code == -signal.SIGKILL, f"the driver was to die, got {code}:\n{output}"
        assert (lab.read().replicates_ended, len(lab.read().rows)) == (1, 2), output
        lab.resume()
        text = (lab.folder / "study.yaml").read_text()
        lab.expected, effects = without_faults(text, lab._begin)
        assert lab.effects() == effects, "the effects are others than without faults"

    return fault


def driver_at_random(earliest: float, latest: float) -> Callable[[Lab], None]:
    """SIGKILL, twice, at any time between these seconds after its start."""

    def fault(lab: Lab) -> None:
        lab.write(epoch_seconds=0.1)
        for _ in range(2):
            driver = lab.start()
            time.sleep(random.uniform(earliest, latest))
            lab.look()
            lab.kill(driver)
        lab.resume()

    return fault


def driver_amid_an_epoch(lab: Lab) -> None:
    """SIGKILL during epochs of a second, after the first one is durable."""
    lab.write(epoch_seconds=0.7)
    driver = lab.start()
    lab.wait_for(lambda record: any(row.checkpoints for row in record.rows), driver)
    time.sleep(random.uniform(0.1, 0.6))
    lab.look()
    lab.kill(driver)
    lab.resume()


def told_to_stop(number: int) -> Callable[[Lab], None]:
    """SIGTERM or SIGUSR1: running epochs are finished and kept."""

    def fault(lab: Lab) -> None:
        lab.write(epoch_seconds=1.0)
        driver = lab.start()
        lab.wait_for(lambda record: any(row.curve for row in record.rows), driver)
        driver.send_signal(number)
        code, output = lab.end(driver)
        assert code == 128 + number, f"exit code {code}:\n{output}"
        lab.look()
        lab.resume()

    return fault


def worker_killed(lab: Lab) -> None:
    """SIGKILL of a worker in its second epoch."""
    lab.write()
    (lab.folder / "kill").write_text("2 1 2 1")
    lab.resume()
    assert lab.read().rows[2].attempts[0].end == "lost"


def _often(lab: Lab) -> None:
    """Epochs of seconds, with a training state within each."""
    lab.write(epoch_seconds=2.0, run={"checkpoint_seconds": 0.05})


def worker_killed_after_a_state(lab: Lab) -> None:
    """SIGKILL of a worker within its first epoch, after a training state in it."""
    _often(lab)
    (lab.folder / "kill").write_text(f"0 1 1 {fault_trial.STEPS - 1}")
    driver = lab.start()
    lab.wait_for(lambda record: any(row.attempt > 1 for row in record.rows), driver)
    lab.hurry()
    code, output = lab.end(driver)
    assert code == 0, f"exit code {code}:\n{output}"
    first, second = lab.read().rows[0].attempts
    assert first.end == "lost"
    assert (second.first_epoch, second.first_step > 0) == (0, True), second


def driver_killed_after_a_state(lab: Lab) -> None:
    """SIGKILL of a driver during the first epochs, after a training state within them."""
    _often(lab)
    driver = lab.start()
    lab.wait_for(
        lambda record: any(kept.step for row in record.rows for kept in row.checkpoints), driver
    )
    time.sleep(random.uniform(0.0, 0.5))
    lab.look()
    while driver.poll() is None and not any(step for _, step in lab.durable.values()):
        time.sleep(0.05)  # just then an epoch ended
        lab.look()
    assert any(step for _, step in lab.durable.values()), lab.durable
    lab.kill(driver)
    lab.resume()


def trial_that_sleeps(lab: Lab) -> None:
    """A trial that hangs is ended by run.epoch_timeout_seconds, and retried."""
    lab.write(run={"epoch_timeout_seconds": 5.0, "max_failures": 2})
    (lab.folder / "hang").write_text("2 1 2 5")
    lab.resume()
    first = lab.read().rows[2].attempts[0]
    assert first.end == "raised", first
    assert "an epoch must end within run.epoch_timeout_seconds" in first.reason, first


def trial_leaves(lab: Lab) -> None:
    """`os._exit(0)` of a trial in the driver's process: a failure, which is retried."""
    lab.leave_the_cluster("inline")
    lab.write(run={"max_failures": 1})
    (lab.folder / "leave").write_text("2 1 2 1")
    code, output = lab.end(lab.start())
    assert code == 0, f"exit code {code}:\n{output}"
    assert "got os._exit(0)" in lab.read().rows[2].attempts[0].reason


def unprintable(lab: Lab) -> None:
    """An exception with unencodable characters, and an output with a limited encoding."""
    lab.leave_the_cluster("inline", PYTHONIOENCODING="latin-1")
    lab.write(run={"max_failures": 0})
    (lab.folder / "raise").write_text("2 1 2 1")
    code, output = lab.end(lab.start())
    assert code == 0, f"exit code {code}:\n{output}"
    assert "trial 2 failed: raised: RuntimeError: \\ud800 \\x00 \\u2713" in output, output
    failure = lab.read().rows[2].failure
    assert failure is not None
    assert failure.reason == "RuntimeError: \\ud800 \\x00 \N{CHECK MARK}", failure
    lab.failed = (2,)


def ctrl_c_amid_rays_start(lab: Lab) -> None:
    """Ctrl-C at any time while the driver starts Ray: one line, exit code 130."""
    lab.leave_the_cluster("ray")
    lab.write(epoch_seconds=0.5)
    driver = lab.start()
    for line in driver.stdout:
        if "starting the workers" in line:
            break
    time.sleep(random.uniform(0.0, 2.5))
    os.killpg(driver.pid, signal.SIGINT)
    code, output = lab.end(driver)
    assert code == 130, f"exit code {code}:\n{output}"
    assert output.splitlines()[-1].startswith("ablate: stopped; "), output
    lab.leave_the_cluster("inline")
    lab.resume()


def torn_checkpoint(lab: Lab) -> None:
    """The newest state of every running row is truncated: the previous one is used."""
    lab.write(epoch_seconds=0.7)
    driver = lab.start()
    lab.wait_for(lambda record: any(len(row.checkpoints) > 1 for row in record.rows), driver)
    lab.kill(driver)
    for row in lab.read().rows:
        if row.state == "RUNNING" and row.checkpoints:
            path = Path(row.checkpoints[-1].uri)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            before = row.checkpoints[:-1]
            lab.durable[row.number] = before[-1].place if before else (0, 0)
    durable = dict(lab.durable)
    lab.resume()
    lab.durable = durable


def damaged(pattern: str) -> Callable[[Lab], None]:
    """Cache files are damaged during a study: they are regenerated, and no score changes.

    Args:
        pattern: of the files, below the cache.
    """

    def fault(lab: Lab) -> None:
        lab.write_finetuning()
        lab.expected = lab.without_faults()
        driver = lab.start(point="stop:tell")  # it must not end before its files are damaged
        _wait_until_stopped(driver)
        files = list((lab.folder / "cache").glob(pattern))
        assert files, f"no {pattern} in the cache"
        for file in files:
            content = bytearray(file.read_bytes())
            middle = len(content) // 2
            content[middle : middle + 20_000] = bytes(
                one ^ 255 for one in content[middle : middle + 20_000]
            )
            file.write_bytes(content)
        driver.send_signal(signal.SIGCONT)
        code, output = lab.end(driver)
        assert code == 0, f"exit code {code}:\n{output}"
        assert "damaged; regenerated" in output, output

    return fault


def _wait_until_stopped(driver: Any) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    stat = Path(f"/proc/{driver.pid}/stat")
    while driver.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.05)
    raise AssertionError(f"the driver was to stop itself, exit code {driver.poll()}")


def two_drivers(lab: Lab) -> None:
    """A second driver is refused, with the holder's name, and changes nothing."""
    lab.write(epoch_seconds=5.0)
    first = lab.start()
    lab.wait_for(lambda record: bool(record.rows), first)
    code, output = lab.end(lab.start())
    assert code == 3, f"exit code {code}:\n{output}"
    assert f"process {first.pid} on" in output, output
    lab.hurry()
    code, output = lab.end(first)
    assert code == 0, output


def full_disk(lab: Lab) -> None:
    """ENOSPC where checkpoints go: the study stops, resumable, and no row fails."""
    place = lab.folder / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    try:
        (place / "filler").write_bytes(b"x" * 64 * 1024)
        lab.write(run={"checkpoints": "small"})
        code, output = lab.end(lab.start())
        assert code == 3, f"exit code {code}:\n{output}"
        (place / "filler").unlink()
        lab.resume()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def deleted(*, folder: bool) -> Callable[[Lab], None]:
    """The database, or the run's folder, is deleted during a run: its rows are copied."""

    def fault(lab: Lab) -> None:
        lab.write(epoch_seconds=2.0)
        driver = lab.start()
        lab.wait_for(lambda record: any(row.curve for row in record.rows), driver)
        run = lab.folder / "runs" / "faulty"
        driver.send_signal(signal.SIGSTOP)  # it must not copy its rows before all is deleted
        for file in run.glob("study.db*"):
            file.unlink()
        if folder:
            shutil.rmtree(run, ignore_errors=True)  # workers go on writing into it
        driver.send_signal(signal.SIGCONT)
        lab.hurry()
        code, output = lab.end(driver)
        assert code == 3, f"exit code {code}:\n{output}"
        rescued = run / "study.rescued.db"
        assert f"rows were copied to {rescued}. Resume with: ablate resume" in output, output
        assert not (run / "study.db").exists()
        rescued.rename(run / "study.db")
        lab.resume()
        if folder:
            lab.durable.clear()  # the training states were removed too

    return fault


def host_booted_since(lab: Lab) -> None:
    """A driver is killed and its lease is from another boot: it ends only with its term."""
    lab.write(epoch_seconds=2.0)
    driver = lab.start()
    lab.wait_for(lambda record: any(row.curve for row in record.rows), driver)
    lab.kill(driver)
    url = lab.storage or f"sqlite:///{lab.folder}/runs/faulty/study.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        holder = json.loads(connection.execute(_HOLDER).scalar_one())
        connection.execute(_SET_HOLDER, {"holder": json.dumps({**holder, "boot": "another"})})
    lab.hurry()
    code, output = lab.end(lab.start())
    assert code == 3, f"exit code {code}:\n{output}"
    assert f"got a second: process {driver.pid} on" in output, output
    with engine.begin() as connection:
        connection.execute(_A_TERM_LATER)
    engine.dispose()
    lab.resume()


_HOLDER = sqlalchemy.text("SELECT holder FROM ablate_lease")
_SET_HOLDER = sqlalchemy.text("UPDATE ablate_lease SET holder = :holder")
_A_TERM_LATER = sqlalchemy.text("UPDATE ablate_lease SET renewed = renewed - 200")


def pruned_by_a_dying_driver(lab: Lab) -> None:
    """SIGKILL between a stop decision and the tell: the row ends as pruned, once."""
    pruner = {"metric": "a", "min_epochs": 1, "reduction_factor": 2}
    lab.write(search={"trials": TRIALS, "sampler": "random", "pruner": pruner})
    lab.end(lab.start(point="before:prune", call=1))
    lab.resume()
    assert any(row.state == "PRUNED" for row in lab.read().rows)


def node_cut_off(lab: Lab) -> None:
    """A node loses its network until its trials continue elsewhere, and then gets it back."""
    with two_machines(lab.folder) as machines:
        lab.move(machines)
        lab.write(epoch_seconds=2.0, run={"parallel": 3})
        driver = lab.start()
        lab.wait_for(lambda record: sum(bool(row.checkpoints) for row in record.rows) > 2, driver)
        lab.look()
        machines.cut()
        lab.wait_for(lambda record: any(row.attempt > 1 for row in record.rows), driver)
        machines.mend()
        machines.node.wait(_TIMEOUT_SECONDS)  # with its last words, to every driver
        lab.hurry()
        code, output = lab.end(driver)
    assert code == 0, f"exit code {code}:\n{output}"
    said = [line for line in output.splitlines() if "was lost" in line]
    assert len(said) == 1, output
    assert " on another node. Ray's output: runs/faulty/ray.log" in said[0], output
    assert "raylet" not in output, output
    assert "has been marked dead" in (lab.folder / "runs/faulty/ray.log").read_text()


POINTS: dict[str, Callable[[Lab], None]] = {
    "driver: while creating the study": at_point("after:create", 1),
    "driver: before an ask": at_point("before:ask", 3),
    "driver: while sampling": at_point("before:suggest", 6),
    "driver: while writing a row": at_point("after:write_row", 3),
    "driver: after an ask": at_point("after:ask", 3),
    "driver: before a row is handed out": at_point("before:hand_out", 2),
    "driver: between checkpoint and ledger": at_point("before:record_epoch", 4),
    "driver: after an epoch is recorded": at_point("after:record_epoch", 4),
    "driver: before the tell": at_point("before:tell", 2),
    "driver: during the tell": at_point("after:end_row", 2),
    "driver: after the tell": at_point("after:tell", 3),
    "driver: between stop decision and tell": pruned_by_a_dying_driver,
}
OTHERS: dict[str, Callable[[Lab], None]] = {
    "driver: during epochs": driver_amid_an_epoch,
    AT_RANDOM: driver_at_random(2.0, 5.0),
    "driver: SIGTERM": told_to_stop(signal.SIGTERM),
    "driver: SIGUSR1": told_to_stop(signal.SIGUSR1),
    "driver: within an epoch, after a checkpoint in it": driver_killed_after_a_state,
    "worker: SIGKILL": worker_killed,
    "worker: within an epoch, after a checkpoint in it": worker_killed_after_a_state,
    "trial: never ends (epoch_timeout_seconds)": trial_that_sleeps,
    "driver: Ctrl-C while Ray starts": ctrl_c_amid_rays_start,
    "trial: os._exit (inline)": trial_leaves,
    "trial: an exception that cannot be printed": unprintable,
    "checkpoint: torn": torn_checkpoint,
    "checkpoint: no space left": full_disk,
    "evaluation set: damaged": damaged("evaluation/*/images.npy"),
    "baseline: damaged": damaged("baselines/*/weights.safetensors"),
    "driver: between two replicates": replicate_broken("before:replicate", 2),
    "driver: in a replicate's tuning": replicate_broken("before:tell", 8),
    "two drivers at once": two_drivers,
    "driver: killed, then host rebooted": host_booted_since,
    "database: deleted during a run": deleted(folder=False),
    "run folder: deleted during a run": deleted(folder=True),
    CUT_OFF: node_cut_off,
}


TRACKER_POINTS: dict[str, Callable[[Lab], None]] = {
    "driver: before a file is renamed": at_point("after:rename", 4),
    "driver: before a later file is renamed": at_point("after:rename", 9),
    "driver: before an event file": at_point("before:tensorboard", 2),
    "driver: after an event file": at_point("after:tensorboard", 3),
    "driver: before an offline run": at_point("before:wandb", 2),
    "driver: after an offline run": at_point("after:wandb", 4),
    "driver: before a run is created": at_point("before:mlflow_run", 2),
    "driver: between a run and its numbers": at_point("after:mlflow_run", 2),
    "driver: before numbers are logged": at_point("before:mlflow_log", 4),
    "driver: after numbers are logged": at_point("after:mlflow_log", 5),
    "driver: after a row is passed on": at_point("after:mlflow_row", 3),
    "driver: after runs are found": at_point("after:mlflow_delete", 1),
}
OF_RAY = (
    *("driver: during epochs", "worker: SIGKILL", "driver: SIGUSR1"),
    "worker: within an epoch, after a checkpoint in it",
)
"""With trackers, faults that are made on the cluster; the others are made inline."""
WITHOUT_TRACKERS = (
    *("driver: Ctrl-C while Ray starts", "trial: os._exit (inline)"),
    *("trial: never ends (epoch_timeout_seconds)", "trial: an exception that cannot be printed"),
    *(
        "evaluation set: damaged",
        "baseline: damaged",
        "driver: within an epoch, after a checkpoint in it",
        "driver: between two replicates",
        "driver: in a replicate's tuning",
    ),
    CUT_OFF,
)
"""Faults that take long or have studies of their own, and say no more about trackers."""


# -- with what they need -------------------------------------------------------------------


@dataclass
class Bench:
    """A Ray cluster and a PostgreSQL server, shared by all faults."""

    cluster: Cluster
    server: PostgresServer | None
    begin: Begin = begin_python
    mlflow: MlflowServer | None = None
    results: dict[str, Counter[str]] = field(default_factory=dict)

    def run(
        self,
        name: str,
        fault: Callable[[Lab], None],
        *,
        storage: str = "sqlite",
        inline: bool = False,
        resumed_on: str | None = None,
        pruned: bool = False,
    ) -> list[str]:
        """Run one fault; returns what is wrong afterwards.

        Raises:
            NotAllowedError: if this machine does not allow the fault.
        """
        address = None if inline else self.cluster.address
        with tempfile.TemporaryDirectory(prefix="ablate-fault-") as folder:
            url = self.server.new_database() if storage == "postgresql" and self.server else None
            lab = Lab(
                Path(folder),
                address,
                url,
                self.begin,
                resumed_on,
                pruned=pruned,
                mlflow=None if self.mlflow is None else self.mlflow.uri,
            )
            try:
                fault(lab)
                wrong = lab.faults()
            except (AssertionError, ablate.AblateError) as error:
                wrong = [str(error) or "an assertion of the fault"]
            again = lab.steps_again()
        kept = self.results.setdefault(name, Counter())
        kept["runs"] += 1
        kept["again"] = max(kept["again"], again)
        kept["wrong"] += bool(wrong)
        return wrong

    def tracker_killed(self, *, until_the_end: bool) -> Callable[[Lab], None]:
        """SIGKILL of the MLflow server while rows are passed on; it is started again during the
        study, or after it, when `ablate track` catches up."""

        def fault(lab: Lab) -> None:
            assert self.mlflow is not None
            lab.write(epoch_seconds=0.3 if until_the_end else 4.0)
            driver = lab.start()
            lab.wait_for(lambda record: any(row.curve for row in record.rows), driver)
            time.sleep(random.uniform(0.0, 0.6))
            self.mlflow.kill()
            try:
                if until_the_end:
                    lab.hurry()
                    code, output = lab.end(driver)
                    assert code == 0, f"exit code {code}:\n{output}"
                    assert "run `ablate track runs/faulty` once it works" in output, output
            finally:
                self.mlflow.start()
            if until_the_end:
                code, output = lab.end(lab.start_track())
            else:
                lab.hurry()
                code, output = lab.end(driver)
            assert code == 0, f"exit code {code}:\n{output}"

        return fault

    def node_lost(self, lab: Lab) -> None:
        """A Ray node with a running trial dies: its row continues elsewhere."""
        node = self.cluster.add_node(num_cpus=1)
        self.cluster.wait_for_nodes(timeout=120)
        lab.write(epoch_seconds=4.0, run={"parallel": 3})
        driver = lab.start()
        lab.wait_for(lambda record: sum(bool(row.checkpoints) for row in record.rows) > 2, driver)
        self.cluster.remove_node(node, allow_graceful=False)
        lab.hurry()
        code, output = lab.end(driver)
        # The next driver must not join the one that is gone.
        self.cluster.wait_for_nodes(timeout=120)
        assert code == 0, f"exit code {code}:\n{output}"
        ends = [attempt.end for row in lab.read().rows for attempt in row.attempts]
        assert "lost" in ends, ends

    def server_away(self, seconds: float) -> Callable[[Lab], None]:
        """PostgreSQL stops during a study and starts again."""

        def fault(lab: Lab) -> None:
            assert self.server is not None
            lab.write(epoch_seconds=0.5, finetune={"budget": {"epochs": 12}})
            driver = lab.start()
            lab.wait_for(lambda record: any(row.curve for row in record.rows), driver)
            self.server.stop()
            time.sleep(seconds)
            self.server.start()
            lab.hurry()
            code, output = lab.end(driver)
            assert code == 0, f"exit code {code}:\n{output}"
            assert "the database does not answer" in output, output
            assert all(row.attempt == 1 for row in lab.read().rows)

        return fault

    def driver_behind(self, lab: Lab) -> None:
        """SIGKILL of a driver that cannot write to PostgreSQL, with workers epochs ahead."""
        assert self.server is not None
        lab.write(epoch_seconds=0.5, finetune={"budget": {"epochs": 12}})
        driver = lab.start()
        lab.wait_for(lambda record: any(row.checkpoints for row in record.rows), driver)
        self.server.stop()
        time.sleep(3.0)
        lab.kill(driver)
        self.server.start()
        lab.resume()
        assert lab.durable, "nothing was durable before the kill"


def with_trackers(tools: Bench, rounds: int) -> None:
    """All trackers on: faults of driver, worker, storage and tracker."""
    others = {name: fault for name, fault in OTHERS.items() if name not in WITHOUT_TRACKERS}
    others[AT_RANDOM] = driver_at_random(0.0, 2.0)
    others["PostgreSQL: away for 4 s"] = tools.server_away(4.0)
    others["driver: SIGKILL while PostgreSQL is away"] = tools.driver_behind
    others["MLflow: killed, and back during the study"] = tools.tracker_killed(until_the_end=False)
    others["MLflow: killed, and back after the study"] = tools.tracker_killed(until_the_end=True)
    for number in range(rounds):
        random.seed(number)
        for name, fault in {**TRACKER_POINTS, **POINTS, **others}.items():
            served = "PostgreSQL" in name or (number % 2 == 1 and "deleted" not in name)
            inline = name not in OF_RAY and "PostgreSQL" not in name
            # What is to happen to a worker must not happen to a driver.
            then = None if inline or name.startswith("worker") else "inline"
            storage = "postgresql" if served else "sqlite"
            wrong = tools.run(name, fault, storage=storage, inline=inline, resumed_on=then)
            print(f"{number:3d}  {name}: {'; '.join(wrong) or 'ok'}", flush=True)


@contextlib.contextmanager
def bench(*, trackers: bool = False) -> Iterator[Bench]:
    """Start the cluster and the servers, and stop them in the end.

    Args:
        trackers: start MLflow too; drivers are forked from a process that has loaded the trackers.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    programs = postgres_programs()
    server = PostgresServer(programs) if programs else None
    arguments = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    mlflow = MlflowServer(os.environ[PYTHON]) if trackers else None
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        if server is not None:
            server.start()
        if mlflow is not None:
            mlflow.start()
        yield Bench(cluster, server, ForkedDriver if trackers else begin_python, mlflow)
    finally:
        if mlflow is not None:
            mlflow.remove()
        cluster.shutdown()
        if server is not None:
            server.remove()


def without_trackers(tools: Bench, options: argparse.Namespace) -> None:
    """Every kind of fault, each round."""
    others = {
        **OTHERS,
        "driver: SIGKILL while PostgreSQL is away": tools.driver_behind,
        "node: killed": tools.node_lost,
    }
    for number in range(options.rounds):
        random.seed(number)
        faults = {
            **(POINTS if options.only != "others" else {}),
            **(others if options.only != "points" else {}),
        }
        if number % 5 == 0 and options.only != "points":
            faults[f"PostgreSQL: away for {options.outage:g} s"] = tools.server_away(options.outage)
        for name, fault in faults.items():
            # A point of the driver's code is the same whatever executor runs beside it.
            inline = name in POINTS and (number % 2 == 1 or options.only == "points")
            # The server listens on this machine alone, which another "machine" cannot reach.
            of_sqlite = "deleted during a run" in name or name == CUT_OFF
            served = "PostgreSQL" in name or (number % 4 in (1, 2) and not of_sqlite)
            storage = "postgresql" if served else "sqlite"
            try:
                wrong = tools.run(
                    name, fault, storage=storage, inline=inline, pruned=options.pruned
                )
            except NotAllowedError as error:
                print(f"{number:3d}  {name}: left out, it needs {error}", flush=True)
                continue
            print(f"{number:3d}  {name}: {'; '.join(wrong) or 'ok'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=["points", "others"], help="half of the faults")
    parser.add_argument(
        "--outage", type=float, default=60.0, help="seconds of PostgreSQL's absence"
    )
    parser.add_argument("--pruned", action="store_true", help="with a pruner and a constraint")
    parser.add_argument(
        "--trackers", action="store_true", help=f"with all trackers; needs {PYTHON}"
    )
    options = parser.parse_args()
    began = time.monotonic()
    with bench(trackers=options.trackers) as tools:
        if options.trackers:
            with_trackers(tools, options.rounds)
        else:
            without_trackers(tools, options)
    print("\n| fault | runs | wrong | most steps of a trial done again |")
    print("| --- | ---: | ---: | ---: |")
    for name, counted in tools.results.items():
        print(f"| {name} | {counted['runs']} | {counted['wrong']} | {counted['again']} |")
    total = sum(counted["runs"] for counted in tools.results.values())
    bad = sum(counted["wrong"] for counted in tools.results.values())
    print(f"| **all** | **{total}** | **{bad}** | |")
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
