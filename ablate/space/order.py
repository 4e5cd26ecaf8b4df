"""The order in which parameters are drawn: as written, but what one reads before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ablate.space.space import Parameter
from ablate.study.document import Document, Path


def in_order(
    document: Document, parameters: Sequence[Parameter], places: Mapping[str, Path]
) -> list[Parameter]:
    """The parameters in order; a circle is noted as a problem, and who is in it left out."""
    waiting = {parameter.key: parameter for parameter in parameters}
    ordered: list[Parameter] = []
    while waiting:
        ready = next((p for p in waiting.values() if not _reads(p, waiting)), None)
        if ready is None:
            break
        ordered.append(waiting.pop(ready.key))
    if waiting:
        circle = _circle(waiting)
        rule = f"conditions must not go in a circle, got {' -> '.join([*circle, circle[0]])}."
        key = circle[0]
        document.refuse(places[key], f"{rule} Remove one of them.", name=key, key=True)
    return ordered


def _reads(parameter: Parameter, waiting: Mapping[str, Parameter]) -> list[str]:
    return [key for key in parameter.requires if key in waiting]


def _circle(waiting: Mapping[str, Parameter]) -> list[str]:
    """Keys of which each reads the next and the last the first; the first as written first."""
    path = [next(iter(waiting))]
    while True:
        following = _reads(waiting[path[-1]], waiting)[0]
        if following in path:
            circle = path[path.index(following) :]
            first = min(circle, key=list(waiting).index)
            at = circle.index(first)
            return circle[at:] + circle[:at]
        path.append(following)
