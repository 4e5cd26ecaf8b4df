"""One parameter over the trials of a study: numbers, or names in an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["numeric", "log", "categorical"]
_INTERVALS = ("float", "int")
_SET = "subset"


@dataclass(frozen=True)
class ParameterColumn:
    """The values of one parameter, one a trial.

    Attributes:
        key: dotted, flat.
        base: key of the space: of a part of a mix, the mix's; else the key.
        kind: "numeric"; "log", where the space says `log: true`; else "categorical".
        values: floats, or names where it is categorical; None where a condition left it out.
        levels: of a categorical one: the names that occur, in the space's order.
        parts: of a subset: the items that occur, in the space's order; else empty.
        bounds: of an interval of the space, and of a ratio; None where nothing says them.
    """

    key: str
    base: str
    kind: Kind
    values: tuple[Any, ...]
    levels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None

    @cached_property
    def coordinates(self) -> NDArray[np.float64]:
        """Where each trial stands: the value, its log10 where the kind is "log", or the place of
        its level, from 0; NaN where it is left out.  Not to be written to."""
        values = self.values
        if self.kind == "categorical":
            place = {level: float(at) for at, level in enumerate(self.levels)}
            values = tuple([place.get(value) for value in values])
        found = np.array(values, dtype=float)  # which makes NaN of None
        found[~np.isfinite(found)] = np.nan
        found = np.log10(found) if self.kind == "log" else found
        found.flags.writeable = False
        return found

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers; True of none."""
        found = self.coordinates[np.isfinite(self.coordinates)]
        return self.kind == "numeric" and bool((found == np.round(found)).all())

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest coordinate: those of the space and of the trials; (0, 1) of nothing.

        Of a categorical one half a place beside the first and the last level.
        """
        if self.kind == "categorical":
            return -0.5, max(len(self.levels), 1) - 0.5
        found = self.coordinates[np.isfinite(self.coordinates)]
        if self.bounds is not None:
            found = np.append(
                found, np.log10(self.bounds) if self.kind == "log" else np.array(self.bounds)
            )
        low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
        half = 0.0 if low < high else 0.5 if self.kind == "log" else 0.1 * abs(low) or 0.5
        return low - half, high + half


def parameter_column(
    key: str, base: str, rows: Sequence[Mapping[str, Any]], domain: Mapping[str, Any]
) -> ParameterColumn:
    """The column of one parameter.

    Args:
        key, base: flat, and of the space.
        rows: flat parameters of one trial each.
        domain: as the space writes it; empty where the space does not have it: then numbers are
            numeric, and anything else is categorical.
    """
    there = [key in row for row in rows]
    values: list[Any] = [row.get(key) for row in rows]
    present: list[Any] = [value for value, has in zip(values, there, strict=True) if has]
    if _is_numeric(present, domain):
        bounds = _bounds(domain)
        positive = bounds is not None and min([*bounds, *map(float, present)]) > 0
        return ParameterColumn(
            key=key,
            base=base,
            kind="log" if domain.get("log") is True and positive else "numeric",
            values=tuple(
                float(v) if has and v is not None else None
                for v, has in zip(values, there, strict=True)
            ),
            bounds=bounds,
        )
    names = [str(v) if has else None for v, has in zip(values, there, strict=True)]
    parts = _parts(names, domain)
    return ParameterColumn(
        key=key,
        base=base,
        kind="categorical",
        values=tuple(names),
        levels=tuple(_levels(names, domain, parts)),
        parts=parts,
    )


def _is_numeric(present: Sequence[Any], domain: Mapping[str, Any]) -> bool:
    if any(word in domain for word in ("choice", _SET)):
        return False
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    return numbers and (bool(present) or any(word in domain for word in (*_INTERVALS, "simplex")))


def _bounds(domain: Mapping[str, Any]) -> tuple[float, float] | None:
    for word in _INTERVALS:
        if word in domain:
            low, high = domain[word]
            return float(low), float(high)
    return (0.0, 1.0) if "simplex" in domain else None


def _parts(names: Sequence[str | None], domain: Mapping[str, Any]) -> tuple[str, ...]:
    if _SET not in domain:
        return ()
    subsets = [name.split("+") for name in dict.fromkeys(names) if name is not None]
    found = dict.fromkeys(part for subset in subsets for part in subset)
    written = domain[_SET]
    if isinstance(written, str):  # all taps of a model: each subset has them in their order
        written = _merged(subsets, list(found))
    known = [str(item) for item in written if str(item) in found]
    return tuple(dict.fromkeys([*known, *found]))


def _merged(subsets: Sequence[Sequence[str]], found: Sequence[str]) -> Sequence[str]:
    """One order that every subset keeps; that of their first sight where there is none."""
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(found, ()))
    for subset in subsets:
        for before, after in pairwise(subset):
            order.add(after, before)
    try:
        return tuple(order.static_order())
    except CycleError:
        return found


def _levels(
    names: Sequence[str | None], domain: Mapping[str, Any], parts: Sequence[str]
) -> list[str]:
    """Names that occur: a choice's as they are written, subsets from the smallest."""
    found = {name for name in names if name is not None}
    if parts:
        place = {part: at for at, part in enumerate(parts)}
        return sorted(
            found,
            key=lambda name: (name.count("+"), [place[part] for part in name.split("+")]),
        )
    written = [_choice_text(choice) for choice in domain.get("choice", ())]
    known = [name for name in written if name in found]
    return [*known, *sorted(found - set(known))]


def _choice_text(choice: Any) -> str:
    if isinstance(choice, list | tuple):
        return "+".join(str(part) for part in choice)
    return str(choice)
