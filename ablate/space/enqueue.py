"""Whether parameter sets that are tried first lie in the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.errors import ParameterError
from ablate.space.space import Space
from ablate.study.document import Document, dotted


def check_enqueued(document: Document, space: Space, sets: Sequence[Mapping[str, Any]]) -> None:
    """Note every value of `search.enqueue` that cannot be tried.

    Args:
        document: of the study; its sets are those that are given.
        space: of the study.
        sets: of some parameters each, by dotted key.
    """
    for i, values in enumerate(sets):
        path, left = ("search", "enqueue", i), dict(values)
        while (problem := _first_problem(space, left)) is not None:
            key, rule = problem
            at = (*path, key)
            document.refuse(at, rule, name=f"{dotted(path)}.{key}", key=key not in space.keys)
            del left[key]


def _first_problem(space: Space, values: Mapping[str, Any]) -> tuple[str, str] | None:
    try:
        space.encode_partial(values)
    except ParameterError as error:
        key, _, rule = str(error).partition(": ")
        return key, rule
    return None
