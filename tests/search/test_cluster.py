"""A cluster that is there already, one that is not, and one that does not take everybody in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import ablate
from ablate.errors import InfrastructureError, UsageError
from ablate.search.cluster import connect as cluster_module
from ablate.search.cluster.connect import check_answer

pytestmark = pytest.mark.slow

TOKEN = "a" * 32


@pytest.fixture(scope="module")
def cluster(ray_head: Cluster) -> Iterator[Cluster]:
    """Two nodes of two CPUs each; this process has not joined them."""
    ray.shutdown()
    node = ray_head.add_node(num_cpus=2)
    ray_head.wait_for_nodes(timeout=120)
    yield ray_head
    ray.shutdown()
    ray_head.remove_node(node)
    ray_head.wait_for_nodes(timeout=120)


def test_a_study_runs_on_a_cluster_and_leaves_it_there(
    write_own: Callable[..., Path], cluster: Cluster
) -> None:
    file = write_own("clustered", search={"trials": 2, "sampler": "random"})
    record = ablate.launch(file, ray_address=cluster.address)
    assert [row.state for row in record.rows] == ["COMPLETE"] * 2
    assert {row.attempts[-1].host for row in record.rows} == {socket.gethostname()}
    assert not ray.is_initialized()
    assert not list(Path("runs/clustered").glob(".ablate-probe*"))
    ray.init(address=cluster.address, log_to_driver=False)
    assert ray.cluster_resources()["CPU"] == 4
    ray.shutdown()


LOOP = """
import time
from pathlib import Path

def wait_for(name):
    limit = time.monotonic() + 120
    while not (Path(__file__).parent / name).exists() and time.monotonic() < limit:
        time.sleep(0.1)

def slow(context):
    state = context.checkpoint / "epoch" if context.checkpoint else None
    done = int(state.read_text()) if state else 0
    for epoch in range(done + 1, context.epochs + 1):
        time.sleep(0.4)
        (context.checkpoint_folder / "epoch").write_text(str(epoch))
        context.report(epoch, {"x": context.params["x"], "epoch": float(epoch)})
        wait_for("all-heard")
    wait_for("said")
"""


def test_the_trials_of_a_lost_node_go_on_elsewhere(
    work: Path, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    (work / "loop.py").write_text(LOOP)
    (work / "lost.yaml").write_text(
        """
version: 1
name: lost
trainable: loop:slow
finetune: {budget: {epochs: 4}}
space: {x: {float: [0.0, 1.0]}}
objectives: [{metric: x}, {metric: epoch}]
search: {trials: 3, sampler: random}
run: {cpus_per_trial: 2}
"""
    )
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes(timeout=120)

    class Killer(ablate_progress()):  # type: ignore[misc]
        def epoch(self, number: int | None, epoch: int, epochs: int | None, loss: float) -> None:
            # Three trials on three nodes, none of which passes its first epoch before this.
            heard.add(number)
            if len(heard) == 3 and node in cluster.list_all_nodes():
                cluster.remove_node(node, allow_graceful=False)
                (work / "all-heard").touch()

        def note(self, text: str) -> None:
            notes.append(text)
            (work / "said").touch()

    notes: list[str] = []
    heard: set[int | None] = set()
    record = ablate.launch(work / "lost.yaml", ray_address=cluster.address, progress=Killer())
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3
    assert sorted(row.attempt for row in record.rows) == [1, 1, 2]
    lost = next(row for row in record.rows if row.attempt == 2)
    first, second = lost.attempts
    assert first.end == "lost"
    assert first.reason
    assert second.first_epoch >= first.epochs >= 1, "every epoch that was heard of is durable"
    for row in record.rows:
        assert [entry["epoch"] for entry in row.curve] == list(range(1, 5))
        assert row.values == (row.params["x"], 4.0)
    (note,) = notes
    assert "was lost; trials that ran there continue on another node." in note
    assert note.endswith(" Ray's output: runs/lost/ray.log")
    assert "has been marked dead" in (work / "runs/lost/ray.log").read_text()
    printed = capfd.readouterr()
    assert "raylet" not in printed.out + printed.err


def ablate_progress() -> type:
    from ablate.search.progress import Progress

    return Progress


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        (
            "127.0.0.1:1",
            InfrastructureError,
            r"a Ray cluster must answer there, got: Connection re",
        ),
        ("nonsense", UsageError, r"nonsense`: must be auto or HOST:PORT, got neither"),
        ("ray://127.0.0.1:10001", UsageError, r"got a URL\. Ray's client \(ray://\) cannot run"),
    ],
)
def test_an_address_where_no_cluster_can_be(
    write_study: Callable[..., Path], address: str, kind: type[Exception], said: str
) -> None:
    ray.shutdown()
    with pytest.raises(kind, match=rf"^`ray_address=.*{said}"):
        ablate.launch(write_study("nowhere"), ray_address=address)


def test_what_listens_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            InfrastructureError, match=r"got no answer in 2 s\. Check that the token"
        ):
            check_answer(f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def guarded_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A head that wants a token, started as a user starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(home), "RAY_AUTH_MODE": "token"}
    program = Path(sys.executable).with_name("ray")
    arguments = ["--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    process = subprocess.Popen(
        [program, "start", *arguments],
        env={**environment, "RAY_AUTH_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any("Ray runtime started" in line for line in process.stdout)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.communicate()


def test_a_token_that_is_right_wrong_or_missing(
    guarded_head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray reads its token once a process; who checks a cluster connects in one of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(InfrastructureError, match="token must be given, and this machine has none"):
        check_answer(guarded_head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 32)
    said = "token must be given, and the one on this machine is missing"
    with pytest.raises(InfrastructureError, match=said) as caught:
        check_answer(guarded_head)
    assert "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    check_answer(guarded_head)
