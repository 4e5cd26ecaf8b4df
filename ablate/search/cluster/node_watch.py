"""Watches a cluster while trials run: its head, and its other nodes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

from ablate.errors import InfrastructureError
from ablate.search.cluster.tasks import count_fitting, node_name
from ablate.search.dispatcher import Dispatcher

_EVERY_SECONDS = 5.0
_MISSES = 4
_LEAVE_SECONDS = 10.0


@contextmanager
def watched_head(dispatcher: Dispatcher) -> Iterator[None]:
    """Check the connection to the head while Tune runs in the block.

    If the head does not answer, Ray's calls block for a minute and then end the process with code 1
    and no message.  Here the dispatcher is notified after about 20 s; if Tune has not returned 10 s
    later, all reports are written and the process ends with the exit code of its error.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    over = threading.Event()

    def answers() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=_EVERY_SECONDS).close()
        except OSError:
            return False
        return True

    def watch() -> None:
        misses = 0
        while misses < _MISSES:
            if over.wait(_EVERY_SECONDS):
                return
            misses = 0 if answers() else misses + 1
        error = InfrastructureError(
            f"Ray: its head at {host}:{port} must answer, got nothing for "
            f"{_MISSES * _EVERY_SECONDS:.0f} s. No result is lost: start the cluster again, "
            "then run `ablate resume`."
        )
        dispatcher.fail(error)
        if not over.wait(_LEAVE_SECONDS):
            dispatcher.close()
            sys.stderr.write(f"ablate: {error}\n")
            sys.stderr.flush()
            os._exit(error.exit_code)

    threading.Thread(target=watch, name="ablate-head", daemon=True).start()
    try:
        yield
    finally:
        over.set()


_LOOK_SECONDS = 2


class NodeWatch:
    """Looks at Ray's table of nodes: how many trials fit on them, and which were lost.

    Without it the remaining workers would get new rows before those that a lost node has left.

    Args:
        cpus, gpus: of a trial.
        most: number of trials if all nodes are alive.
        say: called with a line about each lost node.
    """

    def __init__(self, cpus: int, gpus: float, most: int, say: Callable[[str], None]) -> None:
        self._trial = (cpus, gpus)
        self._most = self._room = most
        self._say = say
        self._alive: dict[str, str] = {}
        self._looked = 0.0

    @property
    def room(self) -> int:
        """Number of trials that fit, as of at most two seconds ago; at least 1."""
        self.look()
        return max(1, min(self._most, self._room))

    def look(self, *, at_once: bool = False) -> None:
        """Ask Ray for its nodes, at most once in two seconds."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS and not at_once:
            return
        self._looked, nodes = now, ray.nodes()
        alive = {node["NodeID"]: node for node in nodes if node["Alive"]}
        resources = [node["Resources"] for node in alive.values()]
        self._room = count_fitting(resources, *self._trial)
        where = "on another node" if any(map(_has_cpu, resources)) else "when one is available"
        for key in self._alive.keys() - alive.keys():
            name = self._alive.pop(key)
            self._say(f"node {name} was lost; trials that ran there continue {where}.")
        self._alive = {key: node_name(node) for key, node in alive.items()}


def _has_cpu(resources: dict[str, float]) -> bool:
    return resources.get("CPU", 0) > 0
