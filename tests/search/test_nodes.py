"""Nodes of a real cluster, compared before the first trial.

One node has mounts of its own, so that it really does not see a folder of the driver's; others
have packages of other versions in front of the right ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from needs import missing
from ray.cluster_utils import Cluster
from waiting import wait_until

from ablate.errors import (
    DataError,
    FingerprintError,
    InfrastructureError,
    UsageError,
)
from ablate.files.cache import heard_damage
from ablate.model.environment import environment_of
from ablate.search.cluster import nodes
from ablate.search.cluster.nodes import (
    Node,
    SentJob,
    agree,
    answer,
    check_worker,
    fitting_nodes,
    join,
    keep_weights,
    read_baseline,
    receive_baseline,
    submit,
)
from ablate.study.settings import Study
from ablate.trial.task import Job

pytestmark = pytest.mark.long

DATA_MODULE = """
import os
import numpy as np

def of_this_node(image_size, path):
    if "OTHER_DATA" in os.environ and path.name == "missing":
        raise FileNotFoundError("/data/digits is not there")
    random = np.random.default_rng(int(os.environ.get("OTHER_DATA", 0)))
    images = random.integers(0, 255, (60, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 3
    return {"train": (images, labels), "test": (images, labels), "classes": ["a", "b", "c"]}
"""


@pytest.fixture(scope="module")
def cluster(ray_head: Cluster, ray_here: None) -> Cluster:
    return ray_head


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of this module: `cache`, `run` and `apart` are others on the node with mounts."""
    root = tmp_path_factory.mktemp("places")
    found = {name: root / name for name in ("cache", "run", "apart", "shared", "base")}
    for folder in found.values():
        folder.mkdir()
    return found


@pytest.fixture(scope="module")
def apart_node(cluster: Cluster, places: dict[str, Path]) -> Iterator[Node]:
    """A node that has file systems of its own where the driver has `cache`, `run` and `apart`."""
    mounts = " && ".join(f"mount -t tmpfs none {places[one]}" for one in ("cache", "run", "apart"))
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "-m", "sh", "-c", mounts], check=False, capture_output=True
        ).returncode
    ):
        missing("the right to mount (unshare -m)")
    before = {node["NodeID"] for node in ray.nodes()}
    program = Path(sys.executable).with_name("ray")
    start = f"exec {program} start --address={cluster.address} --num-cpus=1 --block"
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", f"{mounts} && {start}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:

        def new() -> list[str]:
            assert process.poll() is None
            there = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
            return [one for one in there if one not in before]

        wait_until(new)
        (started,) = new()
        yield next(node for node in fitting_nodes(1, 0) if node.id == started)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def other_node(cluster: Cluster, **env: str) -> Iterator[Node]:
    """A node whose processes have these variables."""
    made = cluster.add_node(num_cpus=1, env_vars=env)
    try:
        yield next(node for node in fitting_nodes(1, 0) if node.id == made.node_id)
    finally:
        cluster.remove_node(made, allow_graceful=False)


@pytest.fixture
def make_job(places: dict[str, Path], image_folder: Path) -> Callable[..., Job]:
    def make(dataset: dict[str, Any] | None = None, **paths: object) -> Job:
        folder_of_images = {"name": "image_folder", "path": str(image_folder), "image_size": 8}
        study = Study.model_validate(
            {
                "version": 1,
                "name": "compared",
                "dataset": {**(dataset or folder_of_images), "validation": {"fraction": 0.2}},
                "model": {"name": "resnet8"},
                "baseline": {"epochs": 1, "batch_size": 24},
                "robustness": {"suite": ["contrast"], "severities": [3]},
                "run": {"gpus_per_trial": 0},
            }
        )
        given = {"cache": places["cache"], "folder": places["run"], "base": places["base"]}
        given |= {"checkpoints": places["shared"], **paths}
        return Job(study=study, **{name: str(path) for name, path in given.items()})

    return make


def on(node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
    return answer(replace(node, name=""), submit(node, function, *arguments))


def own() -> Node:
    return fitting_nodes(1, 0)[0]


def test_the_baseline_is_trained_once_and_handed_over(
    make_job: Callable[..., Job], apart_node: Node, places: dict[str, Path]
) -> None:
    job = make_job()

    def entries(cache: str) -> dict[str, bytes]:
        return {
            str(file.relative_to(cache)): file.read_bytes()
            for file in sorted(Path(cache, "baselines").rglob("*.*"))
            if file.suffix != ".lock"
        }

    agreed = agree(job, [own(), apart_node], 1, 0)
    here, there = entries(job.cache), on(apart_node, entries, job.cache)
    assert len(here) == 2  # weights, and the record with the wall time of each epoch
    assert there == here
    assert agreed.apart == {apart_node.id}
    # A node that comes later joins in the same way; once more: what is there already stays.
    later = replace(agreed, nodes=frozenset([own().id]))
    is_apart, notes = on(apart_node, join, SentJob.of(job), later)
    assert (is_apart, notes) == (True, ()), "it does not see the run's folder"
    assert on(apart_node, entries, job.cache) == here

    def make_weights(folder: str) -> None:
        file = Path(folder) / "weights" / "00003.safetensors"
        file.parent.mkdir()
        file.write_bytes(b"tensors")
        keep_weights(agreed, file)
        assert not file.exists()

    on(apart_node, make_weights, job.folder)
    assert (places["run"] / "weights" / "00003.safetensors").read_bytes() == b"tensors"

    nodes.forget(job, agreed.token)
    assert [file.name for file in places["shared"].iterdir()] == []
    assert [file.name for file in places["run"].iterdir()] == ["weights"]


def test_checkpoints_that_a_node_does_not_see(
    make_job: Callable[..., Job], apart_node: Node, places: dict[str, Path]
) -> None:
    for folder in (str(places["apart"]), f"file://{places['apart']}"):
        with pytest.raises(UsageError) as caught:
            agree(make_job(checkpoints=folder), [own(), apart_node], 1, 0)
        assert str(caught.value) == (
            f"run.checkpoints: every node must see {folder}, got node {apart_node.name}: the "
            "driver's files are missing there. Run the command in a folder that all nodes share, "
            "or set run.checkpoints: s3://BUCKET/FOLDER."
        )
        assert list(places["apart"].iterdir()) == []


def test_other_versions_are_named(
    cluster: Cluster, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    for name, version in (("torch", "0.1"), ("ray", "1.0")):
        metadata = tmp_path / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    said = (
        r"^node \S+ \([\d.]+\): packages must match the driver's, got torch 0\.1 \(here \d\S+\); "
        r"ray 1\.0 \(here \d\S+\)\. Install the same versions there, or remove the node from the "
        r"cluster\.$"
    )
    with other_node(cluster, PYTHONPATH=path) as other, pytest.raises(UsageError, match=said):
        agree(make_job(), [own(), other], 1, 0)


def test_a_node_without_ablate_is_named(
    cluster: Cluster, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    package = tmp_path / "ablate" / "__init__.py"
    package.parent.mkdir()
    package.write_text("raise ImportError('broken here')\n")
    said = r"got ablate one that cannot be imported \(ImportError: broken here\) \(here \d"
    with (
        other_node(cluster, PYTHONPATH=str(tmp_path)) as other,
        pytest.raises(UsageError, match=said),
    ):
        agree(make_job(), [own(), other], 1, 0)


def test_a_worker_that_would_give_other_scores_is_refused(make_job: Callable[..., Job]) -> None:
    job = make_job()
    here = environment_of(job.study.run).to_json()
    check_worker(job, here)
    check_worker(job, {**here, "device_name": "another"})
    with pytest.raises(
        FingerprintError, match=r"must match that of .* got threads 1 \(elsewhere 7"
    ):
        check_worker(job, {**here, "threads": 7})


@pytest.fixture
def own_data(places: dict[str, Path]) -> dict[str, Any]:
    (places["base"] / "node_data.py").write_text(DATA_MODULE)
    return {"name": "node_data:of_this_node", "image_size": 8, "path": str(places["base"])}


@pytest.fixture(scope="module")
def data_node(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose data are others, and under a path with `missing` in it none."""
    cache = tmp_path_factory.mktemp("other")
    with other_node(cluster, OTHER_DATA="1", ABLATE_CACHE=str(cache)) as other:
        yield other


def test_a_node_that_comes_later_with_other_data_is_refused(
    data_node: Node, make_job: Callable[..., Job], own_data: dict[str, Any], tmp_path: Path
) -> None:
    job = make_job(own_data, cache=tmp_path / "cache")
    said = "the data must match the other nodes, got different data"
    agreed = agree(job, [own()], 1, 0)
    with pytest.raises(DataError, match=rf"node \S+ \(\S+\): dataset: {said}"):
        on(data_node, join, SentJob.of(job), agreed)


def test_missing_data_are_said_with_their_node_at_launch(
    data_node: Node, make_job: Callable[..., Job], own_data: dict[str, Any], tmp_path: Path
) -> None:
    own_data["path"] = str(tmp_path / "missing")
    job = make_job(own_data, cache=tmp_path / "cache")
    with pytest.raises(UsageError, match=r"node \S+ \(\S+\): .*/data/digits is not there"):
        agree(job, [own(), data_node], 1, 0)


def _write_baseline(entry: Path, weights: bytes) -> None:
    entry.mkdir(parents=True, exist_ok=True)
    (entry / "weights.safetensors").write_bytes(weights)
    record = {"sha256": hashlib.sha256(weights).hexdigest(), "curve": []}
    (entry / "baseline.json").write_text(json.dumps(record))


def test_a_baseline_of_other_bits_is_not_overwritten(tmp_path: Path) -> None:
    entry = tmp_path / "there" / "baselines" / "key"
    _write_baseline(entry, b"one")
    handed = read_baseline(entry)
    _write_baseline(entry, b"another")
    with pytest.raises(FingerprintError, match=r"key: the baseline must be identical to the first"):
        receive_baseline(tmp_path / "there", *handed)
    assert (entry / "weights.safetensors").read_bytes() == b"another"
    receive_baseline(tmp_path / "here", *handed)
    assert read_baseline(tmp_path / "here" / "baselines" / "key") == handed


def test_a_damaged_baseline_is_replaced_by_the_one_that_is_handed_on(tmp_path: Path) -> None:
    entry = tmp_path / "baselines" / "key"
    _write_baseline(entry, b"one")
    handed = read_baseline(entry)
    (entry / "weights.safetensors").write_bytes(b"0ne")
    with heard_damage() as said:
        receive_baseline(tmp_path, *handed)
    assert said == ["cache: the baseline was damaged; regenerated"]
    assert read_baseline(entry) == handed


def test_a_node_that_is_gone_is_named(cluster: Cluster, make_job: Callable[..., Job]) -> None:
    gone = Node("0" * 56, "gone (192.0.2.9)")
    with pytest.raises(InfrastructureError, match=r"^node gone \(192\.0\.2\.9\): must answer, got"):
        agree(make_job(), [own(), gone], 1, 0)
