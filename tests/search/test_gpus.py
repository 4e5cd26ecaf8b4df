"""GPUs are shared out right where there are none to try: Ray is told that there are four."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import ray

from ablate.errors import AblateError, ResourceError
from ablate.ledger.record import Row
from ablate.search.dispatcher import FINISHED
from ablate.search.ray_private import few_daemons
from ablate.search.ray_tune import RayExecutor
from ablate.study.seeds import Seeds
from ablate.study.settings import RunSettings, Study
from ablate.trial.task import Job, Report

pytestmark = pytest.mark.long

# A trial ends once as many are there as are to run at once, so that none can have been reused.
MODULE = """
import os, time
from pathlib import Path

def meet(context):
    folder, at_once = Path(context.params["folder"]), context.params["at_once"]
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    (folder / f"{context.number}").write_text(devices)
    end = time.monotonic() + 180
    while len(list(folder.iterdir())) < at_once and time.monotonic() < end:
        time.sleep(0.05)
    context.report(1, {"met": float(len(list(folder.iterdir()))), "pid": float(os.getpid())})
"""


class Rows:
    """A dispatcher of so many rows, without a ledger."""

    stopping = False
    error: AblateError | None = None

    def __init__(self, count: int, params: dict[str, Any]) -> None:
        self.reports: dict[int, Report] = {}
        self.begun_rows: list[int | None] = []
        self._rows = [
            Row(number, 1, params, Seeds(**dict.fromkeys(Seeds.__dataclass_fields__, 0)))
            for number in range(count)
        ]
        self._lock = threading.Lock()

    def take(self, _timeout: float | None) -> Row | Literal["finished"]:
        return self._rows.pop(0) if self._rows else FINISHED

    def begun(self, row: Row) -> None:
        self.begun_rows.append(row.number)

    def report(self, row: Row, report: Report) -> None:
        assert row.number in self.begun_rows
        assert row.number is not None
        self.handler = signal.getsignal(signal.SIGUSR1)
        if report.done:
            self.reports[row.number] = report

    def is_stopped(self, row: Row) -> bool:
        return row.number in self.reports

    def lose(self, row: Row, reason: str) -> None:
        raise AssertionError(f"row {row.number} was lost: {reason}")

    def fail(self, error: AblateError) -> None:
        self.stopping = True
        raise error


@pytest.fixture(scope="module", autouse=True)
def _four_gpus() -> Iterator[None]:
    ray.shutdown()
    keep = {"idle_worker_killing_time_threshold_ms": 60_000}
    with few_daemons():
        ray.init("local", num_cpus=8, num_gpus=4, log_to_driver=False, _system_config=keep)
    yield
    ray.shutdown()


def devices_told(
    folder: Path, gpus: float, at_once: int, parallel: int | str = "auto"
) -> list[str]:
    """What each of `at_once` trials was told, all of them running at the same time."""
    (folder / "told").mkdir()
    (folder / "meeting.py").write_text(MODULE)
    study = Study.model_validate(
        {
            "version": 1,
            "name": "gpus",
            "trainable": "meeting:meet",
            "finetune": {"budget": {"epochs": 1}},
            "space": {"x": {"float": [0.0, 1.0]}},
            "objectives": [{"metric": "met"}, {"metric": "pid"}],
            "run": {"gpus_per_trial": gpus, "parallel": parallel},
        }
    )
    executor = RayExecutor(study.run)
    assert executor.parallel == at_once
    paths = {name: str(folder) for name in ("base", "cache", "folder")}
    job = Job(study=study, **paths, checkpoints=str(folder / "checkpoints"))
    rows = Rows(at_once, {"folder": str(folder / "told"), "at_once": at_once})
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        executor.run(job, rows)  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert rows.handler == signal.SIG_IGN, "Tune must not put its own handler there"
    for report in rows.reports.values():
        assert report.failure is None
        assert report.scores is not None
        assert report.scores["reported"]["met"] == at_once
        assert report.place is not None
        assert isinstance(report.place["gpus"], list)
    assert len(rows.reports) == at_once
    return [file.read_text() for file in sorted((folder / "told").iterdir())]


@pytest.mark.parametrize(
    ("gpus", "asked", "parallel"),
    [("auto", "auto", 4), (0.25, "auto", 8), (0.5, 3, 3), (2, "auto", 2)],
)
def test_gpus_are_shared_out(gpus: float | str, asked: int | str, parallel: int) -> None:
    executor = RayExecutor(RunSettings(gpus_per_trial=gpus, parallel=asked))
    assert executor.parallel == parallel
    executor.close()
    assert ray.is_initialized(), "a Ray that was there already is left alone"


def test_more_cpus_than_a_node_has() -> None:
    with pytest.raises(ResourceError, match=r"cpus_per_trial: must fit on one node, got 9"):
        RayExecutor(RunSettings(cpus_per_trial=9))


@pytest.mark.parametrize(("gpus", "at_once", "on_each"), [(0.5, 3, [2, 1]), (2, 2, [1] * 4)])
def test_trials_at_once_have_gpus_of_their_own(
    tmp_path: Path, gpus: float, at_once: int, on_each: list[int]
) -> None:
    """Two halves are packed on one, and pairs are distinct."""
    told = devices_told(tmp_path, gpus, at_once, parallel=at_once)
    assert {len(devices.split(",")) for devices in told} == {max(1, int(gpus))}
    counted = Counter(gpu for devices in told for gpu in devices.split(","))
    assert sorted(counted.values(), reverse=True) == on_each
    assert set(counted) <= {"0", "1", "2", "3"}


def test_a_trial_without_gpus_sees_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.search.ray_tune.resolve_parallel", lambda *_given: 1)
    assert devices_told(tmp_path, 0, 1) == [""]


def test_a_gpu_that_torch_does_not_see_is_refused(tmp_path: Path, image_folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    study = Study.model_validate(
        {
            "version": 1,
            "name": "blind",
            "dataset": {"name": "image_folder", "path": str(image_folder), "image_size": 16},
            "model": {"name": "resnet8"},
        }
    )
    executor = RayExecutor(study.run)
    assert executor.gpus_per_trial == 1
    resolved = study.run.model_copy(update={"gpus_per_trial": 1.0})
    paths = {name: str(tmp_path) for name in ("base", "cache", "folder", "checkpoints")}
    job = Job(study=study.model_copy(update={"run": resolved}), **paths)
    said = (
        r"^run\.gpus_per_trial: needs a torch that sees the GPU, got torch \S+, which sees none "
        r"of 1\. Install a torch that matches the GPU driver, or set run\.gpus_per_trial: 0\.$"
    )
    with pytest.raises(ResourceError, match=said):
        executor.prepare(job)
    assert not (tmp_path / "baselines").exists()
