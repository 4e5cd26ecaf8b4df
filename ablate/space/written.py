"""Domains of a search space as Python writes them: the same plain data as in a study file.

`ablate.space` has them under the names of the file: float, int, choice, subset, simplex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Written = dict[str, Any]
"""A domain as a study file has it, which the study checks and reads."""


def float_domain(
    low: float,
    high: float,
    *,
    log: bool = False,
    step: float | None = None,
    when: Mapping[str, Any] | None = None,
) -> Written:
    """Numbers from `low` to `high`, both included.

    Args:
        low, high: in the unit of the key.
        log: sample the logarithm evenly; needs low > 0.
        step: only low, low + step, ..., high.
        when: conditions under which the parameter is searched, by dotted key: a value,
            `{"in": [a, b]}` or `{"contains": a}`; all must hold.

    Example:
        >>> ablate.space.float(1e-3, 0.1, log=True)
        {'float': [0.001, 0.1], 'log': True}
    """
    return _written("float", [low, high], log=log or None, step=step, when=when)


def int_domain(
    low: int,
    high: int,
    *,
    log: bool = False,
    step: int | None = None,
    when: Mapping[str, Any] | None = None,
) -> Written:
    """Whole numbers from `low` to `high`, both included; arguments as for `float`.

    Example:
        >>> ablate.space.int(1, 9, step=2)
        {'int': [1, 9], 'step': 2}
    """
    return _written("int", [low, high], log=log or None, step=step, when=when)


def choice(values: Sequence[Any], *, when: Mapping[str, Any] | None = None) -> Written:
    """One of some values; of `model.name` also functions and classes.

    Args:
        values: text, numbers, true, false, None, lists and mappings.
        when: as for `float`.

    Example:
        >>> ablate.space.choice(["clean", "clean+st"])
        {'choice': ['clean', 'clean+st']}
    """
    return _written("choice", _items(values), when=when)


def subset(items: Sequence[str] | str, *, when: Mapping[str, Any] | None = None) -> Written:
    """Some of the items, at least one.

    Args:
        items: names; "taps": the taps of the study's network.
        when: as for `float`.

    Example:
        >>> ablate.space.subset("taps", when={"loss.terms": {"contains": "fma"}})
        {'subset': 'taps', 'when': {'loss.terms': {'contains': 'fma'}}}
    """
    return _written("subset", _items(items), when=when)


def simplex(items: Sequence[str] | str, *, when: Mapping[str, Any] | None = None) -> Written:
    """A ratio for each item; the ratios sum to 1.

    Args:
        items: names; or the key of a subset in the space, or of a list in the study.
        when: as for `float`.

    Example:
        >>> ablate.space.simplex("augment.families")
        {'simplex': 'augment.families'}
    """
    return _written("simplex", _items(items), when=when)


def _items(given: Sequence[Any] | str) -> Any:
    """A list; text, and what is no sequence, stays for the study to judge."""
    return list(given) if isinstance(given, list | tuple | range) else given


def _written(word: str, content: Any, **options: Any) -> Written:
    return {word: content} | {key: value for key, value in options.items() if value is not None}
