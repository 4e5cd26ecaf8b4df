"""Ray's nodes: how many trials fit on them, and running functions on a chosen one."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ablate.errors import (
    AblateError,
    InfrastructureError,
    ResourceError,
    StudyFileError,
    unexpected,
)
from ablate.study.preparation import OnStep, PreparationStep
from ablate.study.settings import RunSettings

LOOK_SECONDS = 120
"""A node that takes longer to read a file or a version counts as lost."""


_NOTICE_SECONDS = 20


@dataclass(frozen=True)
class Node:
    """A node of the cluster that can run a trial; `name` is its host and address, `cpus` what Ray
    counts there."""

    id: str
    name: str
    cpus: int = 0


def fitting_nodes(cpus: float, gpus: float) -> list[Node]:
    """Alive nodes that can run a trial, the driver's own first."""
    own = this_node().id
    nodes = [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            int(node["Resources"].get("CPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= cpus
        and node["Resources"].get("GPU", 0) >= gpus
    ]
    return sorted(nodes, key=lambda node: (node.id != own, node.id))


def remaining_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Nodes that are still alive; if none is missing, Ray gets some seconds to notice a loss."""
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


def is_idle(node: Node) -> bool:
    """Whether no CPUs or GPUs of a node are in use."""
    free = available_resources_per_node().get(node.id, {})
    return bool(free.get("CPU", 0) >= node.cpus)


def submit(
    node: Node,
    function: Callable[..., Any],
    *arguments: Any,
    cpus: float = 0,
    gpus: float = 0,
    **options: Any,
) -> Any:
    """Run a function on a node; the process of a function that uses CPUs ends, to free memory.

    Args:
        options: of `ray.remote`.
    """
    return (
        ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1 if cpus else 0, **options)(function)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        .remote(*arguments)
    )


def run_told(
    node: Node,
    function: Callable[..., Any],
    *arguments: Any,
    on_step: OnStep,
    cpus: float,
    gpus: float,
    by_name: bool = True,
) -> Any:
    """Run a function that takes `on_step` on a node, and forward each step.

    Args:
        by_name: name the node in an error.

    Returns:
        The result of the function.

    Raises:
        AblateError, InfrastructureError: as `answer`.
    """
    said = submit(
        node, _telling, function, arguments, cpus=cpus, gpus=gpus, num_returns="streaming"
    )
    given = None
    with _one_line(node, by_name=by_name):
        for reference in said:
            given = ray.get(reference)
            if isinstance(given, PreparationStep):
                on_step(given)
    return given


def _telling(function: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[Any]:
    """Yields the steps of a function, then its result."""
    said: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def work() -> None:
        try:
            given = function(*arguments, on_step=lambda step: said.put((False, step)))
        except BaseException as error:
            given = error
        said.put((True, given))

    Thread(target=work, name="ablate-prepare", daemon=True).start()
    ended = False
    while not ended:
        ended, given = said.get()
        if ended and isinstance(given, BaseException):
            raise given
        yield given


def kill_process(host: str, pid: int) -> None:
    """Send SIGKILL to a process on a node of this host name.

    Raises:
        InfrastructureError: if the node is lost.
    """
    for node in ray.nodes():
        if node["Alive"] and node["NodeManagerHostname"] == host:
            there = Node(node["NodeID"], host)
            answer(there, submit(there, os.kill, pid, signal.SIGKILL), LOOK_SECONDS)
            return


def answer(
    node: Node, reference: ray.ObjectRef, timeout: float | None = None, *, by_name: bool = True
) -> Any:
    """The result of a function on a node.

    Args:
        timeout: seconds; None: no limit.
        by_name: name the node in an error.

    Raises:
        AblateError: as the function did.
        InfrastructureError: if the node is lost, or takes longer.
        UnexpectedError: if the function raised an unexpected exception.
    """
    with _one_line(node, by_name=by_name):
        return ray.get(reference, timeout=timeout)


@contextmanager
def _one_line(node: Node, *, by_name: bool) -> Iterator[None]:
    """Convert Ray's errors to errors of `ablate` that name the node."""
    try:
        yield
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
        return error  # names file and line, which belong to the driver
    return type(error)(f"node {node.name}: {error}")


# -- How many trials fit on the nodes -------------------------------------------------------

_ROOM_SECONDS = 2


def resolve_gpus(settings: RunSettings) -> float:
    """GPUs per trial: the requested number, or 1 if Ray sees any.

    Raises:
        ResourceError: if no node has as many.
    """
    there = max((node.get("GPU", 0.0) for node in _alive()), default=0.0)
    asked = settings.gpus_per_trial
    if asked == "auto":
        return 1.0 if there else 0.0
    if asked > there:
        raise ResourceError(
            f"run.gpus_per_trial: must be at most the GPUs of a node, got {asked:g} where Ray sees "
            f"{there:g}. Set it to 0, or run on a machine with GPUs (`ablate doctor`)."
        )
    return asked


def resolve_parallel(settings: RunSettings, gpus: float) -> int:
    """Trials in parallel: as many as fit on the nodes, each on one node, or fewer if requested.

    Raises:
        ResourceError: if a trial fits on no node.
    """
    cpus, nodes = settings.cpus_per_trial, _alive()
    most = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    if cpus > most:
        raise ResourceError(
            f"run.cpus_per_trial: must fit on one node, got {cpus} where the largest has "
            f"{most:g} CPUs. Lower it."
        )
    fitting = sum(_carries(node, cpus, gpus) for node in nodes)
    if not fitting:
        raise ResourceError(
            f"run.cpus_per_trial: CPUs and GPUs of a trial must fit on one node, got {cpus} and "
            f"{gpus:g}. Lower cpus_per_trial or gpus_per_trial."
        )
    return fitting if settings.parallel == "auto" else min(settings.parallel, fitting)


class Capacity:
    """Number of trials that fit on the nodes now, which is smaller after a node was lost.

    Otherwise the remaining workers would get new rows before the interrupted ones.

    Args:
        most: the number if all nodes are alive.
        heard: called with Ray's table of nodes at each check.
    """

    def __init__(
        self, cpus: int, gpus: float, most: int, heard: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        self._trial = (cpus, gpus)
        self._most = most
        self._heard = heard
        self._looked = time.monotonic()
        self._found = most

    def __call__(self) -> int:
        """The number of at most two seconds ago; at least 1."""
        self.look()
        return max(1, min(self._most, self._found))

    def look(self) -> None:
        """Ask Ray for its nodes, at most once in two seconds."""
        if time.monotonic() - self._looked > _ROOM_SECONDS:
            self._looked = time.monotonic()
            nodes = ray.nodes()
            alive = [node["Resources"] for node in nodes if node["Alive"]]
            self._found = sum(_carries(node, *self._trial) for node in alive)
            self._heard(nodes)


def _carries(node: dict[str, float], cpus: int, gpus: float) -> int:
    """Number of trials that fit on a node; a fraction of a GPU is never split over two."""
    by_cpu = int(node.get("CPU", 0.0) // cpus)
    if not gpus:
        return by_cpu
    there = int(node.get("GPU", 0.0))
    by_gpu = there * int(1 / gpus + 1e-9) if gpus < 1 else int(there // gpus)
    return min(by_cpu, by_gpu)


def _alive() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
