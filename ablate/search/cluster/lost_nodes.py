"""Which nodes are gone, and whose trials went with them: one line for each."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from ray._private.state import actors

_NODE_ID = re.compile(r"\b[0-9a-f]{56}\b")
_ACTOR_ID = re.compile(r"\b[0-9a-f]{32}\b")

_LATE_SECONDS = 60.0
"""After its trials, Ray may take this long to find a node dead."""


class LostNodes:
    """Puts together what Ray says of a node and what it says of the trials on it.

    Ray says both in any order, up to a minute apart: a line is said at the look after the one that
    found the node dead.

    Args:
        say: is given the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._alive: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._trials: dict[str, dict[int | None, float]] = {}

    def lose(self, number: int | None, node: str) -> None:
        """A trial's attempt is lost on a node; number none is the plain finetune."""
        self._trials.setdefault(node, {})[number] = time.monotonic()

    def look(self, nodes: list[dict[str, Any]]) -> None:
        """Ray's table of nodes, as it is now."""
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
        """The last look: nothing more is waited for."""
        for _ in range(2):
            self.look(nodes)


def node_of(error: str) -> str:
    """Id of the node that a lost actor was on, by what Ray wrote of it; "" where nobody knows."""
    if found := _NODE_ID.search(error):
        return found[0]
    found = _ACTOR_ID.search(error)
    actor = actors(found[0]) if found else {}
    return str(actor.get("Address", {}).get("NodeID", ""))


def _line(name: str, trials: list[int | None], *, left: bool) -> str:
    if not trials:
        return f"node {name} is gone; no trial was running there."
    numbers = sorted(one for one in trials if one is not None)
    named = ["the plain finetune"] if None in trials else []
    if numbers:
        named.append(f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    goes = "go" if len(trials) > 1 else "goes"
    where = "elsewhere" if left else "when there is a node again"
    return f"node {name} is gone; {' and '.join(named)} {goes} on {where}."
