"""A cluster of two nodes that is there already: real raylets on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import ablate
from ablate.errors import InfrastructureError


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    ray.shutdown()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_study_runs_on_a_cluster_and_leaves_it_there(
    write_study: Callable[..., Path], cluster: Cluster
) -> None:
    file = write_study("clustered", search={"trials": 3, "sampler": "random"})
    record = ablate.launch(file, ray_address=cluster.address)
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3
    assert not ray.is_initialized()
    ray.init(address=cluster.address, log_to_driver=False)
    assert ray.cluster_resources()["CPU"] == 2


def test_a_cluster_that_is_not_there(write_study: Callable[..., Path]) -> None:
    ray.shutdown()
    with pytest.raises(InfrastructureError, match=r"--ray-address 127\.0\.0\.1:1: a Ray cluster"):
        ablate.launch(write_study("nowhere"), ray_address="127.0.0.1:1")
