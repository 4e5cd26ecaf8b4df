"""Ray Tune and the for-loop: one contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import ablate
from ablate.errors import ResourceError

Write = Callable[..., Path]
EXECUTORS = ("inline", "ray")


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


def test_both_give_the_same_rows_and_scores(write_study: Write) -> None:
    records = [
        ablate.launch(write_study(executor, run={"parallel": 2}), executor=executor)
        for executor in EXECUTORS
    ]
    inline, ray = records
    assert [row.state for row in inline.rows] == ["COMPLETE"] * 4
    assert scores_of(inline) == scores_of(ray)
    for record in records:
        assert set(record.references) == {"baseline", "plain"}
        assert record.references["plain"].student_images == 72 * 2
        for row in record.rows:
            assert row.scores is not None
            assert row.scores.student_images == 72 * 2 * 2
            assert [entry["epoch"] for entry in row.curve] == [1, 2]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_trial_that_fails_says_why_and_the_study_goes_on(
    write_study: Write, executor: str
) -> None:
    space = {
        "finetune.learning_rate": {"choice": [0.01, 1e30]},
        "finetune.weight_decay": {"choice": [0.0, 1e-4]},
    }
    search, one_worker = {"trials": 6, "seed": 1}, {"parallel": 1}
    file = write_study(f"failing-{executor}", space=space, search=search, run=one_worker)
    record = ablate.launch(file, executor=executor)
    states = {row.params["finetune.learning_rate"]: row.state for row in record.rows}
    assert states == {0.01: "COMPLETE", 1e30: "FAIL"}
    for row in record.rows:
        if row.state == "FAIL":
            assert row.failure is not None
            assert row.failure.kind == "not_finite"
            assert "the loss must be finite" in row.failure.reason
            assert "Traceback (most recent call last)" in row.failure.traceback


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_gpu_that_is_not_there_is_said_at_once(write_study: Write, executor: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    file = write_study("gpu", run={"gpus_per_trial": 1})
    with pytest.raises(ResourceError, match=r"run\.gpus_per_trial: must be at most what .* got 1"):
        ablate.launch(file, executor=executor)


def test_more_cpus_than_a_node_has(write_study: Write) -> None:
    import ray

    from ablate.search.ray_tune import RayExecutor
    from ablate.study.settings import RunSettings

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(ResourceError, match=r"cpus_per_trial: must fit on one node, got 3"):
            RayExecutor(RunSettings(cpus_per_trial=3))
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("gpus", "asked", "parallel"),
    [("auto", "auto", 8), (0.25, "auto", 16), (0.5, 4, 4), (2, "auto", 4), (0, "auto", 16)],
)
def test_gpus_are_shared_out(gpus: float | str, asked: int | str, parallel: int) -> None:
    import ray

    from ablate.search.ray_tune import RayExecutor
    from ablate.study.settings import RunSettings

    if not ray.is_initialized():
        ray.init(
            address="local", num_cpus=16, num_gpus=8, include_dashboard=False, log_to_driver=False
        )
    executor = RayExecutor(RunSettings(gpus_per_trial=gpus, parallel=asked))
    assert executor.parallel == parallel
    executor.close()
    assert ray.is_initialized(), "a Ray that was there already is left alone"


@pytest.fixture(scope="module", autouse=True)
def _no_ray_left() -> object:
    yield
    import ray

    ray.shutdown()


def test_nothing_that_ray_pickles_holds_the_ledger() -> None:
    import threading
    from types import SimpleNamespace

    from ray import cloudpickle

    from ablate.search.cluster.lost_nodes import LostNodes
    from ablate.search.tune_hooks import FirstComeScheduler, LedgerSearcher, ReportStopper, Watch

    # A lock cannot be pickled: whatever reached for the dispatcher would raise.
    ledger = SimpleNamespace(url="postgresql://u:s3cret@h/d", lock=threading.Lock())
    searcher = LedgerSearcher(ledger, lambda: 1, 0, LostNodes(print))  # type: ignore[arg-type]
    for hook in (searcher, ReportStopper(searcher), FirstComeScheduler(searcher), Watch(searcher)):
        assert b"s3cret" not in cloudpickle.dumps(hook)


def test_workers_do_not_inherit_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from ablate.search.ray_tune import RayExecutor
    from ablate.study.settings import RunSettings

    ray.shutdown()
    monkeypatch.setenv("ABLATE_STORAGE", "postgresql://u:s3cret@h/d")
    executor = RayExecutor(RunSettings())
    try:

        @ray.remote
        def look() -> str:
            import os

            return str(dict(os.environ))

        assert "s3cret" not in ray.get(look.remote())
    finally:
        executor.close()


OWN_LOOP = """
def train(context):
    context.report(1, {"loss": context.params["rate"], "latency": 1.0})
"""


def test_parallel_is_kept_to(work: Path) -> None:
    from ablate.search.progress import Silent

    class Counter(Silent):
        out = 0
        most = 0

        def started(self, number: int | None) -> None:
            self.out += 1
            self.most = max(self.most, self.out)

        def finished(self, row: object) -> None:
            self.out -= 1

    watcher = Counter()
    (work / "own_loop.py").write_text(OWN_LOOP)
    study = {
        "version": 1,
        "name": "one-by-one",
        "trainable": "own_loop:train",
        "finetune": {"budget": {"epochs": 1}},
        "objectives": [{"metric": "loss"}, {"metric": "latency"}],
        "space": {"rate": {"float": [0.0, 1.0]}},
        "search": {"trials": 3},
        "run": {"parallel": 1},
    }
    (work / "one-by-one.yaml").write_text(yaml.safe_dump(study))
    record = ablate.launch(work / "one-by-one.yaml", executor="ray", progress=watcher)
    assert len(record.complete) == 3
    assert (watcher.most, watcher.out) == (1, 0)
