"""Ray's nodes: running functions on a chosen one, and how many trials fit on them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import ray
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


@dataclass(frozen=True)
class Node:
    """A node of the cluster that can run a trial.

    Attributes:
        name: its host and address, for messages; empty: it is not named there.
        cpus: as Ray counts them.
    """

    id: str
    name: str
    cpus: int = 0


def fitting_nodes(cpus: float, gpus: float) -> list[Node]:
    """Alive nodes that can run a trial, the driver's own first."""
    own = this_node().id
    nodes = [
        Node(node["NodeID"], node_name(node), int(node["Resources"].get("CPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= cpus
        and node["Resources"].get("GPU", 0) >= gpus
    ]
    return sorted(nodes, key=lambda node: (node.id != own, node.id))


def node_name(node: dict[str, Any]) -> str:
    """Host and address of an entry of `ray.nodes()`."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def this_node() -> Node:
    """The node that this process runs on."""
    return Node(
        ray.get_runtime_context().get_node_id(),
        f"{socket.gethostname()} ({ray.util.get_node_ip_address()})",
    )


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
) -> Any:
    """Run a function that takes `on_step` on a node, and forward each step.

    Returns:
        The result of the function.

    Raises:
        AblateError, InfrastructureError: as `answer`.
    """
    steps = submit(
        node, _telling, function, arguments, cpus=cpus, gpus=gpus, num_returns="streaming"
    )
    given = None
    with _one_line(node):
        for reference in steps:
            given = ray.get(reference)
            if isinstance(given, PreparationStep):
                on_step(given)
    return given


def _telling(function: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[Any]:
    """Yields the steps of a function, then its result."""
    steps: SimpleQueue[Any] = SimpleQueue()
    ended = object()

    def work() -> None:
        try:
            steps.put(function(*arguments, on_step=steps.put))
        except BaseException as error:
            steps.put(error)
        steps.put(ended)

    Thread(target=work, name="ablate-prepare", daemon=True).start()
    while (given := steps.get()) is not ended:
        if isinstance(given, BaseException):
            raise given
        yield given


def answer(node: Node, reference: ray.ObjectRef, timeout: float | None = None) -> Any:
    """The result of a function on a node.

    Args:
        timeout: seconds; None: no limit.

    Raises:
        AblateError: as the function did.
        InfrastructureError: if the node is lost, or takes longer.
        UnexpectedError: if the function raised an unexpected exception.
    """
    with _one_line(node):
        return ray.get(reference, timeout=timeout)


@contextmanager
def _one_line(node: Node) -> Iterator[None]:
    """Convert Ray's errors to errors of `ablate` that name the node."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AblateError):
            raise named(node, error.cause) from None
        raise unexpected(_where(node), error.cause) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"{_where(node)}: must answer, got {reason} Look at `ray status`, then try again."
        ) from error


def _where(node: Node) -> str:
    return f"node {node.name}" if node.name else "this machine"


def named(node: Node, error: AblateError) -> AblateError:
    """The same error, naming the node that it is about."""
    if isinstance(error, StudyFileError) or not node.name:
        return error  # it names file and line, which belong to the driver
    return type(error)(f"node {node.name}: {error}")


# -- How many trials fit on the nodes -------------------------------------------------------


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
    fitting = count_fitting(nodes, cpus, gpus)
    if not fitting:
        raise ResourceError(
            f"run.cpus_per_trial: CPUs and GPUs of a trial must fit on one node, got {cpus} and "
            f"{gpus:g}. Lower cpus_per_trial or gpus_per_trial."
        )
    return fitting if settings.parallel == "auto" else min(settings.parallel, fitting)


def count_fitting(nodes: Sequence[dict[str, float]], cpus: int, gpus: float) -> int:
    """Number of trials that fit on nodes of these resources; a fraction of a GPU is never split
    over two."""

    def on(node: dict[str, float]) -> int:
        by_cpu = int(node.get("CPU", 0.0) // cpus)
        if not gpus:
            return by_cpu
        there = int(node.get("GPU", 0.0))
        return min(by_cpu, there * int(1 / gpus + 1e-9) if gpus < 1 else int(there // gpus))

    return sum(map(on, nodes))


def _alive() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
