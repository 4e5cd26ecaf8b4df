"""The trials of a search as a table of their resolved parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.columns import PARAM, flat_param
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.features import choice_text
from ablate.analysis.objectives import objective_place
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.keys import find_key, meant_keys, written_domains

if TYPE_CHECKING:
    import pandas as pd


# -- One parameter over the trials of a study: numbers, or names in an order ---------------


Kind = Literal["numeric", "log", "categorical"]
_INTERVALS = ("float", "int")
_SET = "subset"


@dataclass(frozen=True)
class ParameterColumn:
    """The values of one parameter, one per trial.

    Attributes:
        key: dotted, flat.
        base: key of the space: of a part of a mix, the mix's; else the key.
        kind: "numeric"; "log", if the space has `log: true`; else "categorical".
        values: floats, or names if categorical; None if a condition left it out.
        levels: of a categorical one: the names that occur, in the space's order.
        parts: of a subset: the items that occur, in the space's order; else empty.
        bounds: of an interval of the space, and of a ratio; None if unknown.
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
        """Coordinates of the trials: the value, its log10 for kind "log", or the index of its
        level, from 0; NaN if it is left out. Read-only."""
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
        """Whether all values are whole numbers; True without values."""
        found = self.coordinates[np.isfinite(self.coordinates)]
        return self.kind == "numeric" and bool((found == np.round(found)).all())

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest coordinate: of the space and of the trials; (0, 1) if unknown.

        For a categorical parameter half a step beyond the first and the last level.
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
    written = domain[_SET]
    if isinstance(written, str):  # all taps of a model
        return ordered_parts(subsets)
    found = dict.fromkeys(part for subset in subsets for part in subset)
    known = [str(item) for item in written if str(item) in found]
    return tuple(dict.fromkeys([*known, *found]))


def ordered_parts(subsets: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The taps of these subsets, each of which has its own in the network's order.

    Where subsets leave the order of two open, the stem comes first, then the name decides; if they
    contradict each other, the order is that of appearance.
    """
    found = dict.fromkeys(part for subset in subsets for part in subset)
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(found, ()))
    for subset in subsets:
        for before, after in pairwise(subset):
            order.add(after, before)
    try:
        order.prepare()
    except CycleError:
        return tuple(found)
    ready, placed = list(order.get_ready()), list[str]()
    while ready:
        ready.sort(key=lambda part: (part != "stem", part))
        placed.append(ready.pop(0))
        order.done(placed[-1])
        ready += order.get_ready()
    return tuple(placed)


def _levels(
    names: Sequence[str | None], domain: Mapping[str, Any], parts: Sequence[str]
) -> list[str]:
    """Names that occur: choices as written, subsets from the smallest."""
    found = {name for name in names if name is not None}
    if parts:
        place = {part: at for at, part in enumerate(parts)}
        return sorted(
            found,
            key=lambda name: (name.count("+"), [place[part] for part in name.split("+")]),
        )
    written = [choice_text(choice) for choice in domain.get("choice", ())]
    known = [name for name in written if name in found]
    return [*known, *sorted(found - set(known))]


Domains = Mapping[str, Mapping[str, Any]]
"""Key -> its domain, as written in a space."""
SHOWN = 8
"""Parameters that are shown where none is named."""
MOST_NAMED = 16


@dataclass(frozen=True)
class ParametersInfo(ParetoInfo):
    """The complete trials of a search, and some of its parameters, flat.

    A subset is one parameter, a mix has one a part (`ablate.analysis.columns.flat_param`).

    Attributes:
        columns: the parameters that are shown, in order, one value a point each.
        keys: flat ones of all parameters, shown or not.
        shown: places in `objectives` of those that are shown, at most `MOST_OBJECTIVES`.
    """

    columns: tuple[ParameterColumn, ...]
    keys: tuple[str, ...]
    shown: tuple[int, ...]

    def frame(self) -> pd.DataFrame:
        """One row per complete trial.

        Columns:
            number: int64; loss_terms: text; on_front: bool.
            one per objective, float64.
            `param.<key>`, one per shown parameter: float64 if numeric, else text; missing if a
                condition left it out.
        """
        import pandas as pd

        table = super().frame()
        of_params = {
            PARAM + column.key: pd.Series(
                column.values, dtype="string" if column.kind == "categorical" else "float64"
            )
            for column in self.columns
        }
        return pd.concat([table, pd.DataFrame(of_params, index=table.index)], axis=1)


def parameters_info(
    record: StudyRecord, *, params: Sequence[str] = (), objective: str = ""
) -> ParametersInfo:
    """The parameters that the slice figure shows.

    Args:
        params: keys, or their last parts, in display order (`find_params`), at most `MOST_NAMED`;
            empty: of those that differ between trials the `SHOWN` that order the trials best, ties
            in the order of the space.
        objective: a metric, complete or short; empty: the second objective, and all are shown (the
            first ones if there are many).

    Raises:
        NothingToDrawError: if the study has no parameter.
        ParameterError: if a name is unknown, or too many are named.
    """
    pareto = pareto_info(record)
    place = objective_place(objective, pareto.objectives)
    domains = written_domains(record.study.space)
    columns = _columns(record, pareto, domains)
    if not columns:
        raise NothingToDrawError(
            record.name,
            "slice",
            "needs a parameter that is searched, got none",
            "Search one in its space.",
        )
    if params:
        chosen = find_params(params, list(columns))
        if len(chosen) > MOST_NAMED:
            raise ParameterError(
                f"--params: figure slice takes 1 to {MOST_NAMED} of them, got {len(chosen)}: "
                f"{', '.join(chosen)}. Name fewer."
            )
    else:
        differ = [column for column in columns.values() if len(set(column.values) - {None}) > 1]
        ranks = mean_ranks([point.values[place] for point in pareto.points])
        told = {column.key: association(column, ranks) for column in differ or columns.values()}
        chosen = sorted(told, key=lambda key: -told[key])[:SHOWN]
    return ParametersInfo(
        **{field.name: getattr(pareto, field.name) for field in fields(pareto)},
        columns=tuple(columns[key] for key in chosen),
        keys=tuple(columns),
        shown=(place,) if objective else tuple(range(min(len(pareto.objectives), MOST_OBJECTIVES))),
    )


def find_params(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Find the parameters that a user means, each once.

    Args:
        names: each a key, or its last parts if unique; or a common prefix of several keys, for all
            of them: `augment.mix`, `fma`.
        keys: existing keys.

    Raises:
        ParameterError: if a name is unknown, or matches several.
    """
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(_meant(name.removeprefix(PARAM), keys))
    return list(found)


def _meant(name: str, keys: Sequence[str]) -> list[str]:
    inside = [key for key in keys if name and f".{key}".rpartition(".")[0].endswith(f".{name}")]
    if not meant_keys(name, keys) and len({key.rpartition(".")[0] for key in inside}) == 1:
        return inside
    return [find_key(name, keys, where="--params", what="parameters of the study")]


def _columns(
    record: StudyRecord, pareto: ParetoInfo, domains: Domains
) -> dict[str, ParameterColumn]:
    """Every parameter by its flat key: those of the space in its order, then others of the rows."""
    base_of: dict[str, str] = {}
    flat: dict[int, dict[str, Any]] = {}
    for row in record.rows:
        of_row = flat[row.number] = {}
        for base, value in row.params.items():
            parts = flat_param(base, value)
            of_row |= parts
            base_of |= dict.fromkeys(parts, base)
    named = set(base_of.values())
    base_of |= {key: key for key in domains if key not in named and "simplex" not in domains[key]}
    order = list(domains)
    unknown = len(order)
    bases = sorted(
        base_of.items(),
        key=lambda pair: (order.index(pair[1]), "") if pair[1] in domains else (unknown, pair[0]),
    )
    rows = [flat[point.number] for point in pareto.points]
    return {key: parameter_column(key, base, rows, domains.get(base, {})) for key, base in bases}


# -- How well a parameter orders the trials: the default order of display
#
# A screening, and no importance: it looks at one parameter at a time and has no uncertainty.
# The figure `importance` is what a claim is made from.
#
# Source: epsilon squared (Kelley 1935), of the ranks.


_MOST_BINS = 6
_BIN_TRIALS = 6
"""Trials that a bin of a numeric parameter has at least, apart from the least of two bins."""


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, smallest first; equal values share their mean, NaN for NaN."""
    table = np.asarray(values, dtype=float)
    ranks = np.full(len(table), np.nan)
    finite = np.isfinite(table)
    _, place, count = np.unique(table[finite], return_inverse=True, return_counts=True)
    ranks[finite] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def association(column: ParameterColumn, ranks: NDArray[np.float64]) -> float:
    """The fraction of the ranks' variance between groups of the parameter's values.

    Args:
        column: its levels are the groups; a numeric one is split into 2 to 6 of equal size.
        ranks: one per trial; NaN if missing.

    Returns:
        0 to 1, after the adjustment; times the fraction of trials that have the parameter, so that
        a rare one does not come first by chance. 0 for fewer than four trials, and if parameter or
        rank is constant.
    """
    at = column.coordinates
    used = np.isfinite(at) & np.isfinite(ranks)
    n = int(used.sum())
    if n < 4:
        return 0.0
    groups, of_trials = at[used], ranks[used]
    if column.kind != "categorical":
        bins = min(max(n // _BIN_TRIALS, 2), _MOST_BINS)
        # By rank, so that equal values are in one group.
        shares = (mean_ranks(groups) - 0.5) / n
        groups = np.floor(shares * bins)
    _, place = np.unique(groups, return_inverse=True)
    count = np.bincount(place)
    total = float(((of_trials - of_trials.mean()) ** 2).sum())
    if len(count) < 2 or len(count) >= n or math.isclose(total, 0.0):
        return 0.0
    means = np.bincount(place, of_trials) / count
    within = float(((of_trials - means[place]) ** 2).sum())
    adjusted = 1 - (within / (n - len(count))) / (total / (n - 1))
    return max(adjusted, 0.0) * n / len(ranks)
