"""What a Ray cluster has, and whether its token keeps others out."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from dataclasses import dataclass

import ray

from ablate.errors import InfrastructureError
from ablate.search.cluster.connect import check_answer, connect
from ablate.study.settings import RunSettings

_ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True)
class ClusterInfo:
    """The nodes of a cluster.

    Attributes:
        nodes: how many are there; gpu_nodes: how many of them have GPUs.
        cpus, gpus: in sum.
        accelerators: "2 x A100": nodes by kind of accelerator, as Ray names it.
    """

    nodes: int
    gpu_nodes: int
    cpus: int
    gpus: int
    accelerators: str


def look_at_cluster(address: str) -> ClusterInfo:
    """Connect, look at the nodes, and leave again.

    Raises:
        UsageError, InfrastructureError: as `connect`.
    """
    connect(address, RunSettings())
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        ray.shutdown()
    kinds = Counter(
        key.removeprefix(_ACCELERATOR) for node in nodes for key in node if _ACCELERATOR in key
    )
    return ClusterInfo(
        nodes=len(nodes),
        gpu_nodes=sum(node.get("GPU", 0) >= 1 for node in nodes),
        cpus=int(sum(node.get("CPU", 0) for node in nodes)),
        gpus=int(sum(node.get("GPU", 0) for node in nodes)),
        accelerators=", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items())),
    )


def refuses_wrong_token(address: str) -> bool:
    """Whether the cluster keeps out who does not have its token."""
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16))
    try:
        check_answer(address)
    except InfrastructureError:
        return True
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    return False
