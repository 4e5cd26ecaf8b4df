"""Nodes of Ray's, and functions that run on a chosen one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ablate.errors import AblateError, InfrastructureError, StudyFileError, unexpected

LOOK_SECONDS = 120
"""A node that reads a file or a version for longer is taken for lost."""


_NOTICE_SECONDS = 20


@dataclass(frozen=True)
class Node:
    """A node of the cluster that can run a trial; `name` is its host and address."""

    id: str
    name: str


def fitting_nodes(cpus: float, gpus: float) -> list[Node]:
    """Alive nodes that can run a trial, the driver's own first."""
    own = this_node().id
    nodes = [
        Node(node["NodeID"], f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})")
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= cpus
        and node["Resources"].get("GPU", 0) >= gpus
    ]
    return sorted(nodes, key=lambda node: (node.id != own, node.id))


def remaining_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Those that are still alive; where none has gone, Ray gets some seconds to notice."""
    deadline = time.monotonic() + _NOTICE_SECONDS
    while True:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        left = [node for node in nodes if node.id in alive]
        if len(left) < len(nodes) or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def this_node() -> Node:
    """The node that this process runs on."""
    return Node(
        ray.get_runtime_context().get_node_id(),
        f"{socket.gethostname()} ({ray.util.get_node_ip_address()})",
    )


def submit(
    node: Node, function: Callable[..., Any], *arguments: Any, cpus: float = 0, gpus: float = 0
) -> ray.ObjectRef:
    """Run a function on a node; what takes CPUs ends its process, so that memory is given back."""
    return (
        ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1 if cpus else 0)(function)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        .remote(*arguments)
    )


def answer(
    node: Node, reference: ray.ObjectRef, timeout: float | None = None, *, by_name: bool = True
) -> Any:
    """What a function on a node gave.

    Args:
        timeout: seconds; none: as long as it takes.
        by_name: name the node in an error.

    Raises:
        AblateError: as the function did.
        InfrastructureError: if the node is lost, or takes longer.
        UnexpectedError: if the function raised what was not foreseen.
    """
    try:
        return ray.get(reference, timeout=timeout)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AblateError):
            raise (named(node, error.cause) if by_name else error.cause) from None
        raise unexpected(f"node {node.name}", error.cause) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"node {node.name}: must answer, got {reason} Look at `ray status`, then try again."
        ) from error


def named(node: Node, error: AblateError) -> AblateError:
    """The same error, naming the node that it is about."""
    if isinstance(error, StudyFileError):
        return error  # names file and line, which are the driver's own
    return type(error)(f"node {node.name}: {error}")
