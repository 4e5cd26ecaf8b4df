"""Watches the head of a cluster: if it is lost, the driver ends itself, before Ray ends its
process."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import ray
from ray._private.state import actors

from ablate.errors import InfrastructureError
from ablate.search.cluster.connect import check_answer, connect
from ablate.search.dispatcher import Dispatcher
from ablate.study.settings import RunSettings

_EVERY_SECONDS = 5.0
_MISSES = 4
_LEAVE_SECONDS = 10.0


class HeadWatch:
    """Checks the connection to the head while Tune runs.

    If the head does not answer, Ray's calls block for a minute and then end the process with code 1
    and no message.  Here the dispatcher is notified after about 20 s; if Tune has not returned 10 s
    later, all reports are written and the process ends with the exit code of its error.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._address = (host, int(port))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ablate-head", daemon=True)

    def __enter__(self) -> HeadWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()

    def _watch(self) -> None:
        misses = 0
        while misses < _MISSES:
            if self._over.wait(_EVERY_SECONDS):
                return
            misses = 0 if self._answers() else misses + 1
        host, port = self._address
        error = InfrastructureError(
            f"Ray: its head at {host}:{port} must answer, got nothing for "
            f"{_MISSES * _EVERY_SECONDS:.0f} s. No result is lost: start the cluster again, "
            "then run `ablate resume`."
        )
        self._dispatcher.fail(error)
        if self._over.wait(_LEAVE_SECONDS):
            return
        self._dispatcher.close()
        sys.stderr.write(f"ablate: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._address, timeout=_EVERY_SECONDS).close()
        except OSError:
            return False
        return True


# -- Lost nodes and their trials: one line for each --------------


_NODE_ID = re.compile(r"\b[0-9a-f]{56}\b")
_ACTOR_ID = re.compile(r"\b[0-9a-f]{32}\b")

_LATE_SECONDS = 60.0
"""Ray may take this many seconds longer to detect a dead node than its lost trials."""


class LostNodes:
    """Combines Ray's reports about lost nodes and lost trials.

    They come in any order, up to a minute apart; the line is printed at the check after the one
    that found the node dead.

    Args:
        say: called with the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._alive: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._trials: dict[str, dict[int | None, float]] = {}

    def lose(self, number: int | None, node: str) -> None:
        """Note that a trial's attempt was lost on a node; None is the plain finetune."""
        self._trials.setdefault(node, {})[number] = time.monotonic()

    def look(self, nodes: list[dict[str, Any]]) -> None:
        """Take Ray's current table of nodes."""
        left = any(node["Alive"] and node["Resources"].get("CPU") for node in nodes)
        for key, name in self._gone.items():
            earliest = time.monotonic() - _LATE_SECONDS
            lost = [one for one, when in self._trials.pop(key, {}).items() if when > earliest]
            self._say(_line(name, lost, left=left))
        self._gone.clear()
        for node in nodes:
            key = node["NodeID"]
            if node["Alive"]:
                self._alive[key] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            elif key in self._alive:
                self._gone[key] = self._alive.pop(key)

    def end(self, nodes: list[dict[str, Any]]) -> None:
        """The last check."""
        for _ in range(2):
            self.look(nodes)


def node_of(error: str) -> str:
    """Id of the node of a lost actor, from Ray's message; "" if unknown."""
    if found := _NODE_ID.search(error):
        return found[0]
    found = _ACTOR_ID.search(error)
    actor = actors(found[0]) if found else {}
    return str(actor.get("Address", {}).get("NodeID", ""))


def _line(name: str, trials: list[int | None], *, left: bool) -> str:
    if not trials:
        return f"node {name} was lost; no trial was running there."
    numbers = sorted(one for one in trials if one is not None)
    named = ["the plain finetune"] if None in trials else []
    if numbers:
        named.append(f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    verb = "continue" if len(trials) > 1 else "continues"
    where = "on another node" if left else "when a node is available"
    return f"node {name} was lost; {' and '.join(named)} {verb} {where}."


# -- Resources of a Ray cluster, and whether it rejects wrong tokens ------------------------


_ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True)
class ClusterInfo:
    """The nodes of a cluster.

    Attributes:
        nodes: number of nodes; gpu_nodes: number of nodes with GPUs.
        cpus, gpus: in total.
        accelerators: "2 x A100": nodes by kind of accelerator, as Ray names it.
    """

    nodes: int
    gpu_nodes: int
    cpus: int
    gpus: int
    accelerators: str


def look_at_cluster(address: str) -> ClusterInfo:
    """Connect, read the nodes, and disconnect.

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
    """Whether the cluster rejects a wrong token."""
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
