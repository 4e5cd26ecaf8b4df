"""Ray Tune and the for-loop: one contract."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.errors import InfrastructureError, ResourceError
from ablate.search.progress import Progress

Write = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]
EXECUTORS = ("inline", "ray")


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.long)])
def executor(request: pytest.FixtureRequest) -> str:
    """Each executor; Ray's joins the session's cluster."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return str(request.param)


def scores_of(record: object) -> list[object]:
    """What must be the same: all but the wall time."""
    rows = record.rows  # type: ignore[attr-defined]
    return [
        (
            row.number,
            dict(row.params),
            [
                (name, value)
                for name, value in row.scores.metrics().items()
                if name != "train_seconds" and not math.isnan(value)
            ],
        )
        for row in rows
    ]


def test_both_give_the_same_rows_and_scores(write_study: Write, ray_here: None) -> None:
    keys = {
        "search": {"trials": 3, "sampler": "random"},
        "run": {"parallel": 2},
        "robustness": {"suite": ["contrast", "gaussian_noise"], "severities": [3]},
    }
    records = [ablate.launch(write_study(one, **keys), executor=one) for one in EXECUTORS]
    inline, ray = records
    assert [row.state for row in inline.rows] == ["COMPLETE"] * 3
    assert scores_of(inline) == scores_of(ray)
    for record in records:
        assert set(record.references) == {"baseline", "plain"}
        assert record.references["plain"].student_images == 72 * 2
        for row in record.rows:
            assert row.scores is not None
            assert row.scores.student_images == 72 * 2 * 2
            assert [entry["epoch"] for entry in row.curve] == [1, 2]


FAILING_LOOP = """
def train(context):
    value = float("nan") if context.params["x"] < 0.5 else 1.0
    context.report(1, {"a": value, "b": 1.0})
"""


class Counter(Progress):
    """Counts the trials that run at once."""

    out = 0
    most = 0

    def started(self, number: int | None) -> None:
        self.out += 1
        self.most = max(self.most, self.out)

    def finished(self, row: object) -> None:
        self.out -= 1


def test_a_trial_that_fails_says_why_and_the_study_goes_on_one_by_one(
    write_own: Write, executor: str
) -> None:
    search = {"trials": 3, "enqueue": [{"x": 0.2}, {"x": 0.7}, {"x": 0.8}]}
    file = write_own(f"failing_{executor}", FAILING_LOOP, search=search, run={"parallel": 1})
    watcher = Counter()
    record = ablate.launch(file, executor=executor, progress=watcher)
    failed = record.rows[0]
    assert (watcher.most, watcher.out) == (1, 0)
    assert [row.state for row in record.rows] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert failed.failure is not None
    assert failed.failure.kind == "not_finite"
    assert (
        "an objective or constraint must be finite, got a nan in epoch 1" in failed.failure.reason
    )
    assert "Traceback (most recent call last)" in failed.failure.traceback


def test_a_gpu_that_is_not_there_is_said_at_once(write_study: Write, executor: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    file = write_study("gpu", run={"gpus_per_trial": 1})
    with pytest.raises(
        ResourceError, match=r"run\.gpus_per_trial: must be at most the GPUs .* got 1"
    ):
        ablate.launch(file, executor=executor)


LOST_GPU_LOOP = """
import os
from pathlib import Path

def train(context):
    if context.number == 1 and not os.path.exists("was-lost"):
        Path("was-lost").touch()
        raise RuntimeError(
            "CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be "
            "asynchronously reported at some other API call."
        )
    context.report(1, {"a": float(os.getpid()), "b": 1.0})
"""


def test_a_process_that_has_lost_its_gpu_takes_no_other_trial(
    write_own: Write, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_own(f"lost_gpu_{executor}", LOST_GPU_LOOP, run={"parallel": 1})
    monkeypatch.chdir(file.parent)
    said = "GPU: must answer, got RuntimeError: CUDA error: an illegal memory access was encountere"
    if executor == "inline":  # this process is the one that has lost it
        with pytest.raises(InfrastructureError, match=re.escape(said)):
            ablate.launch(file, executor=executor)
        record = ablate.resume(file, executor=executor)
    else:
        record = ablate.launch(file, executor=executor)
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3
    first, again, last = record.rows
    assert again.attempts[0].end == "lost"
    assert again.attempts[0].reason.startswith(said)
    if executor == "ray":
        assert first.values[0] != again.values[0] == last.values[0]  # type: ignore[index]


def test_nothing_that_ray_pickles_holds_the_ledger() -> None:
    import threading
    from types import SimpleNamespace

    from ray import cloudpickle

    from ablate.search.ray_tune import LedgerScheduler, LedgerSearcher, NodeWatch, Watch

    # A lock cannot be pickled: whatever reached for the dispatcher would raise.
    ledger = SimpleNamespace(url="postgresql://u:s3cret@h/d", lock=threading.Lock())
    searcher = LedgerSearcher(ledger, 1, None)  # type: ignore[arg-type]
    for hook in (searcher, LedgerScheduler(searcher), Watch(searcher, NodeWatch(print))):
        assert b"s3cret" not in cloudpickle.dumps(hook)


@pytest.mark.long
def test_it_starts_as_many_workers_as_it_has_cores_with_what_they_need(tmp_path: Path) -> None:
    """A batch system gives a job some of the machine's cores: a process for each and one for the
    preparation, each with the named packages; a name that is not there ends none."""
    code = (
        "import os, ray, time\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from ablate.search.ray_tune import RayExecutor\n"
        "from ablate.study.settings import RunSettings\n"
        "names = ('fractions', 'there_is_no_such_package', 'colorsys')\n"
        "executor = RayExecutor(RunSettings(gpus_per_trial=0), None, names)\n"
        "def look(folder):\n"
        "    import os, sys\n"
        "    open(os.path.join(folder, f'pid_{os.getpid()}'), 'w').close()\n"
        "    end = time.monotonic() + 120\n"
        "    while sum(name[:4] == 'pid_' for name in os.listdir(folder)) < 2:\n"
        "        assert time.monotonic() < end\n"
        "        time.sleep(0.01)\n"
        "    return sorted({'fractions', 'colorsys', 'wave'} & set(sys.modules))\n"
        "looks = [ray.remote(num_cpus=0)(look).remote(os.getcwd()) for _ in range(2)]\n"
        "print(executor.parallel, *ray.get(looks))\n"
        "executor.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 ['colorsys', 'fractions'] ['colorsys', 'fractions']\n", done.stderr


@pytest.mark.long
def test_ray_that_does_not_start_is_one_line(write_own: Write, ablate_alone: Run) -> None:
    folder = f"/tmp/{'x' * 100}"  # a socket's path may have 107 bytes
    result = ablate_alone("launch", write_own("own"), env={**os.environ, "RAY_TMPDIR": folder})
    shutil.rmtree(folder, ignore_errors=True)
    assert result.returncode == 3
    assert "Ray must start on this machine, got: " in result.stderr
    assert "--executor inline" in result.stderr
    assert "Traceback" not in result.stderr
