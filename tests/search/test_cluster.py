"""A cluster that is there already, one that is not, and one that does not take everybody in."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import ablate
from ablate.errors import InfrastructureError, UsageError
from ablate.search.cluster import connect as cluster_module
from ablate.search.cluster.connect import check_answer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(ray_head: Cluster) -> Cluster:
    """A node of two CPUs; this process has not joined it."""
    ray.shutdown()
    ray_head.wait_for_nodes(timeout=120)
    return ray_head


LOOP = """
import os
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
        time.sleep(0.1)
        (context.checkpoint_folder / "epoch").write_text(str(epoch))
        scores = {"x": context.params["x"], "epoch": float(epoch)}
        context.report(epoch, {**scores, "of_workers": float(os.environ["OF_WORKERS"])})
        wait_for("all-heard")
    wait_for("said")
"""


@pytest.mark.long
def test_the_trials_of_a_lost_node_go_on_elsewhere_and_the_cluster_stays(
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
objectives: [{metric: x}, {metric: epoch}, {metric: of_workers}]
search: {trials: 2, sampler: random}
run: {cpus_per_trial: 2, runtime_env: {env_vars: {OF_WORKERS: "4.5"}}}
"""
    )
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes(timeout=120)

    class Killer(ablate_progress()):  # type: ignore[misc]
        def epoch(self, number: int | None, epoch: int, epochs: int | None, loss: float) -> None:
            # Two trials on two nodes, none of which passes its first epoch before this.
            heard.add(number)
            if len(heard) == 2 and node in cluster.list_all_nodes():
                cluster.remove_node(node, allow_graceful=False)
                (work / "all-heard").touch()

        def note(self, text: str) -> None:
            notes.append(text)
            (work / "said").touch()

    notes: list[str] = []
    heard: set[int | None] = set()
    record = ablate.launch(work / "lost.yaml", ray_address=cluster.address, progress=Killer())
    assert [row.state for row in record.rows] == ["COMPLETE"] * 2
    assert sorted(row.attempt for row in record.rows) == [1, 2]
    lost = next(row for row in record.rows if row.attempt == 2)
    first, second = lost.attempts
    assert first.end == "lost"
    assert first.reason
    assert second.first_epoch >= first.epochs >= 1, "every epoch that was heard of is durable"
    for row in record.rows:
        assert [entry["epoch"] for entry in row.curve] == list(range(1, 5))
        assert row.values == (row.params["x"], 4.0, 4.5)
        assert row.attempts[-1].host == socket.gethostname()
    (note,) = notes
    assert "was lost; trials that ran there continue on another node." in note
    assert note.endswith(" Ray's output: runs/lost/ray.log")
    assert "has been marked dead" in (work / "runs/lost/ray.log").read_text()
    printed = capfd.readouterr()
    assert "raylet" not in printed.out + printed.err
    assert not ray.is_initialized()
    assert not list(Path("runs/lost").glob(".ablate-probe*"))
    ray.init(address=cluster.address, log_to_driver=False)
    assert ray.cluster_resources()["CPU"] == 2
    ray.shutdown()


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


@pytest.mark.long
def test_a_token_that_is_wrong_or_missing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray reads its token once a process; who checks a cluster connects in one of its own.

    With the right one, that of this session, the test of a lost node is let in.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(InfrastructureError, match="token must be given, and this machine has none"):
        check_answer(cluster.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 32)
    said = "token must be given, and the one on this machine is missing"
    with pytest.raises(InfrastructureError, match=said) as caught:
        check_answer(cluster.address)
    assert "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in str(caught.value)
    assert "\n" not in str(caught.value)
