"""The Slurm script `examples/slurm.sh`, under a real Slurm on this machine.

    apt-get install slurm-wlm
    python benchmarks/slurm.py

One study with the events of a job: USR1 before the limit and a requeue, a second job of the same
study, a lost node. Both jobs must end with 0, and every value must equal that of an uninterrupted
study. Takes two to five minutes, mostly waiting for Ray, which starts four times, and for Slurm to
start requeued jobs.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fault_trial
import yaml
from slurm_cluster import SlurmCluster, missing_programs

import ablate

RECIPE = Path(__file__).parents[1] / "examples" / "slurm.sh"
TRIALS, EPOCHS = 6, 40
_SECONDS = 180


def write_study(folder: Path) -> None:
    """Write a study with trials of 40 s, until the file `hurry` exists."""
    trial = Path(fault_trial.__file__).read_text()
    slow = trial.replace("EPOCH_SECONDS = 0.02", "EPOCH_SECONDS = 1.0")
    (folder / "fault_trial.py").write_text(slow)
    study = {
        "version": 1,
        "name": "queued",
        "trainable": "fault_trial:train",
        "finetune": {"budget": {"epochs": EPOCHS}},
        "space": {"x": {"float": [0.0, 1.0]}},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        "search": {"trials": TRIALS, "sampler": "random"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


class Story:
    """The events of two jobs of one study in a folder."""

    def __init__(self, slurm: SlurmCluster, folder: Path) -> None:
        self._slurm = slurm
        self._folder = folder
        self._began = time.monotonic()

    def tell(self) -> None:
        """Run all events; AssertionError if something is wrong."""
        slurm, folder = self._slurm, self._folder
        size = ("--gpus-per-node=0", "--cpus-per-task=1", str(RECIPE), "study.yaml")
        first = slurm.submit(folder, "--nodes=2", *size)
        self._wait(lambda: self._epochs() > 1, "a job of two nodes trains")

        slurm.signal(first, "USR1")
        self._wait(lambda: slurm.job(first)["Restarts"] == "1", "USR1: drained, and requeued")
        assert "SIGUSR1: running epochs get" in self._output(first)
        kept = self._epochs()
        self._wait(lambda: self._epochs() > kept, "the requeued job goes on")

        second = slurm.submit(folder, "--nodes=1", *size)
        self._wait(
            lambda: slurm.job(second)["Restarts"] == "1", "a second job is refused, and requeued"
        )
        assert "one driver at a time, got a second" in self._output(second)

        slurm.lose_second_node()
        self._wait(
            lambda: "was lost; trial" in self._output(first), "a node is lost, the job stays"
        )
        (folder / "hurry").touch()
        for job in (first, second):
            self._wait(lambda job=job: self._has_ended(job), f"job {job} ends with 0")  # type: ignore[misc]
        assert slurm.job(first)["Restarts"] == "1", "the job of the lost node began anew"
        self._judge()

    def _judge(self) -> None:
        rows = ablate.read(str(self._folder / "runs" / "queued")).rows
        assert [row.number for row in rows] == list(range(TRIALS))
        for row in rows:
            assert row.seeds is not None
            alone = fault_trial.uninterrupted(row.params, row.seeds.train, EPOCHS)
            assert row.values == (alone["a"], alone["b"]), row
            assert [entry["epoch"] for entry in row.curve] == list(range(1, EPOCHS + 1)), row

    def _has_ended(self, job: int) -> bool:
        found = self._slurm.job(job)
        if found["JobState"] not in ("COMPLETED", "FAILED", "NODE_FAIL", "CANCELLED"):
            return False
        assert found["JobState"] == "COMPLETED", found
        assert found["ExitCode"] == "0:0", found
        assert "Pareto front" in self._output(job)
        return True

    def _epochs(self) -> int:
        try:
            rows = ablate.read(str(self._folder / "runs" / "queued")).rows
        except ablate.AblateError:
            return 0
        return sum(len(row.curve) for row in rows)

    def _output(self, job: int) -> str:
        return (self._folder / f"slurm-{job}.out").read_text()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > deadline:
                files = [*self._folder.glob("slurm-*.out"), *self._folder.glob("ray-*.log")]
                raise AssertionError(f"not so: {what}\n" + "".join(f.read_text() for f in files))
            time.sleep(0.3)
        print(f"{time.monotonic() - self._began:4.0f} s  {what}", flush=True)


def main() -> None:
    if absent := missing_programs():
        sys.exit(f"Slurm: {', '.join(absent)} must be installed: apt-get install slurm-wlm")
    with tempfile.TemporaryDirectory(prefix="ablate-queued-") as name:
        folder = Path(name)
        (folder / "token").write_text(secrets.token_hex(16))
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.environ.pop("ABLATE_STORAGE", None)
        slurm = SlurmCluster()
        try:
            slurm.start()
            write_study(folder)
            Story(slurm, folder).tell()
        finally:
            slurm.remove()
    print("every value is that of a study that nothing stopped")


if __name__ == "__main__":
    main()
