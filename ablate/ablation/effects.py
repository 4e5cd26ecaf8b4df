"""Effects: contrasts of cells on a metric, with an interval, a test, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Claim, Contrast, ContrastKind
from ablate.ablation.intervals import Estimate, crossed_interval, t_interval
from ablate.ablation.results import Results
from ablate.ablation.significance import NonInferiority, holm, noninferiority, sign_flip_test
from ablate.robustness.bits import Shares
from ablate.study.scores import EXPOSURES

ALPHA = 0.05
"""Two-sided, of every claim."""

_ROUNDING = 1e-12
"""Of the sizes that are added up."""

Verdict = Literal["better", "worse", "not shown", "too few seeds", "exploratory"]


@dataclass(frozen=True)
class Effect:
    """A contrast on one metric.

    Attributes:
        contrast: its name; kind: see `Contrast`.
        estimate: of the weighted sum over paired seeds, in the metric's unit.
        p: exact sign-flip test over seeds, two-sided, on these images; least_p: the smallest
            possible with this number of seeds; is_exact: whether all sign flips were evaluated.
        p_adjusted: by Holm over the primary contrasts; None for an exploratory one.
        verdict: the claim that it supports; none for an exploratory one.
        kept: whether it is no worse than the declared margin; None if no margin is declared for
            this metric.
        missing: pairs without a successful run, such as "seed 3 of ST".
    """

    contrast: str
    kind: ContrastKind
    metric: str
    estimate: Estimate
    p: float
    least_p: float
    is_exact: bool
    p_adjusted: float | None = None
    verdict: Verdict = "exploratory"
    kept: NonInferiority | None = None
    missing: tuple[str, ...] = ()

    @property
    def primary(self) -> bool:
        return self.p_adjusted is not None


@dataclass(frozen=True)
class Margin:
    """What counts as kept: `metric` may fall by less than `margin`."""

    metric: str
    margin: float


def all_effects(
    results: Results,
    contrasts: Sequence[Contrast],
    metrics: Sequence[str],
    claims: Sequence[Claim],
    *,
    margin: Margin | None = None,
    minimized: Sequence[str] = (),
) -> tuple[Effect, ...]:
    """Compute every contrast on its metrics; primary ones are adjusted by Holm.

    Args:
        claims: the primary ones.
        margin: of non-inferiority.
        minimized: metrics for which less is better.
    """
    primary = {(claim.contrast, claim.metric) for claim in claims}
    by_name = {contrast.name: contrast for contrast in contrasts}
    order = {name: place for place, name in enumerate(by_name)}
    shown = dict.fromkeys([*metrics, *([] if margin is None else [margin.metric])])
    # A claim may use a metric that is in no table, such as that of one severity.
    asked = dict.fromkeys([*shown, *(claim.metric for claim in claims)])
    found: list[Effect] = []
    for metric in asked:
        tables = MetricTables(results, metric)
        for contrast in by_name.values():
            is_claim = (contrast.name, metric) in primary
            if not is_claim and (
                metric not in shown or metric not in (contrast.metrics or (metric,))
            ):
                continue
            table = tables.of(contrast)
            if table is not None:
                is_minimized = metric in minimized
                found.append(_effect(results, contrast, metric, table, margin, is_minimized))
            elif is_claim:
                found.append(_no_effect(contrast, metric))
    found.sort(key=lambda effect: order[effect.contrast])
    return tuple(_adjusted(found, primary, minimized))


def _no_effect(contrast: Contrast, metric: str) -> Effect:
    """The effect of a declared claim without data."""
    nothing = np.empty(0)
    test = sign_flip_test(nothing)
    estimate = t_interval(nothing)
    return Effect(contrast.name, contrast.kind, metric, estimate, test.p, test.least_p, test.exact)


def _effect(  # noqa: PLR0917 (all of them are needed)
    results: Results,
    contrast: Contrast,
    metric: str,
    table: Table,
    margin: Margin | None,
    is_minimized: bool,
) -> Effect:
    cells = [cell for cell, weight in contrast.weights.items() if weight]
    weights = np.array([contrast.weights[cell] for cell in cells])
    columns = [table.column(cell) for cell in cells]
    values = np.stack([column.values for column in columns])
    is_there = np.isfinite(values)
    places = np.flatnonzero(is_there.all(axis=0))
    differences = _weighted_sum(weights, values[:, places])
    by_image = _by_image(weights, columns, places)
    estimate = t_interval(differences) if by_image is None else crossed_interval(by_image)
    test = sign_flip_test(differences)
    kept = None
    if margin is not None and margin.metric == metric:
        sign, oriented = 1.0, estimate
        if is_minimized:
            sign = -1.0
            low, high = -estimate.high, -estimate.low
            oriented = replace(estimate, mean=-estimate.mean, low=low, high=high)
        kept = noninferiority(sign * differences, margin.margin, oriented)
    missing: tuple[str, ...] = ()
    if len(places) < len(results.pairs):
        gaps = np.argwhere(~is_there.T)
        missing = tuple(f"seed {results.pairs[place] + 1} of {cells[at]}" for place, at in gaps)
    return Effect(
        contrast=contrast.name,
        kind=contrast.kind,
        metric=metric,
        estimate=estimate,
        p=test.p,
        least_p=test.least_p,
        is_exact=test.exact,
        kept=kept,
        missing=missing,
    )


def _weighted_sum(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K]` of `[cells, K]`; what floating point has left of zero is zero, or a sign would be read
    into it."""
    total: NDArray[np.float64] = weights @ values
    total[np.abs(total) <= _ROUNDING * (np.abs(weights) @ np.abs(values))] = 0.0
    return total


def _by_image(
    weights: NDArray[np.float64], columns: Sequence[Column], places: NDArray[np.intp]
) -> Shares | None:
    """The weighted sum image by image, `[K, n]`; None where a cell has kept no bits."""
    total: Shares | None = None
    for weight, column in zip(weights, columns, strict=True):
        own = column.shares_at(places) if len(places) else None
        if own is None:
            return None
        total = weight * own if total is None else total + weight * own
    if total is not None:
        total[np.abs(total) <= _ROUNDING] = 0.0  # shares are of the size of 1
    return total


def _adjusted(
    effects: Sequence[Effect], primary: set[tuple[str, str]], minimized: Sequence[str]
) -> Iterator[Effect]:
    """Add Holm's p and the verdicts to the primary effects.

    A claim that was not tested counts as not shown, because all were declared.
    """
    mine = [one for one in effects if (one.contrast, one.metric) in primary]
    adjusted = iter(holm([1.0 if math.isnan(one.p) else one.p for one in mine]))
    least = iter(holm([1.0 if math.isnan(one.least_p) else one.least_p for one in mine]))
    for effect in effects:
        if (effect.contrast, effect.metric) not in primary:
            yield effect
            continue
        p, least_p = next(adjusted), next(least)
        is_better = (effect.estimate.mean > 0) != (effect.metric in minimized)
        verdict: Verdict = "not shown"
        if least_p >= ALPHA:
            verdict = "too few seeds"
        elif p < ALPHA:
            verdict = "better" if is_better else "worse"
        yield replace(effect, p_adjusted=math.nan if math.isnan(effect.p) else p, verdict=verdict)


# -- A metric of every cell, by pair and image by image: what contrasts are formed of ------


@dataclass(frozen=True)
class Column:
    """Values of one cell.

    Attributes:
        values: `[K]`, NaN if a run was not successful, or lacks the metric.
        places: indices of the pairs that have it, ascending.
        shares: `[places, n]`; None if a run has no bits, or the metric is not a mean over images.
    """

    values: NDArray[np.float64]
    places: NDArray[np.intp]
    shares: Shares | None

    def shares_at(self, places: NDArray[np.intp]) -> Shares | None:
        """At some of the pairs that have it."""
        if self.shares is None or len(places) == len(self.places):
            return self.shares
        some: Shares = self.shares[np.searchsorted(self.places, places)]
        return some


class Table:
    """A metric of every cell, each read once.

    Args:
        parts: metrics that it is the mean of.
    """

    def __init__(self, results: Results, parts: Sequence[str]) -> None:
        self._results = results
        self._parts = parts
        self._columns: dict[str, Column] = {}

    def column(self, cell: str) -> Column:
        if cell not in self._columns:
            self._columns[cell] = self._read(cell)
        return self._columns[cell]

    def _read(self, cell: str) -> Column:
        found = [self._results.values(cell, part) for part in self._parts]
        values = sum(found[1:], start=found[0]) / len(found)
        places = np.flatnonzero(np.isfinite(values))
        total: Shares | None = None
        for part in self._parts:
            own = self._results.shares(cell, part, places.tolist())
            if own is None:
                return Column(values, places, None)
            total = own if total is None else total + own
        if total is not None and len(found) > 1:
            total /= len(found)
        return Column(values, places, total)


class MetricTables:
    """The values for contrasts on one metric.

    The exposure of a type differs between cells, so two means by exposure would be over different
    types.  Therefore both are computed over the types of the cell in question.
    """

    def __init__(self, results: Results, metric: str) -> None:
        self._results = results
        self._split, _, name = metric.partition("_")
        self._exposure = next(
            (one for one in EXPOSURES if name == f"robust_accuracy_{one}"),
            None,
        )
        self._whole = Table(results, [metric])
        self._by_types: dict[tuple[str, ...], Table] = {}

    def of(self, contrast: Contrast) -> Table | None:
        """None of a mean by exposure where there are no types that all of a contrast is about."""
        exposure = self._exposure
        if exposure is None:
            return self._whole
        weights = contrast.weights.items()
        asked = {self._results.exposed_types(cell, exposure) for cell, w in weights if w > 0}
        if contrast.kind not in ("difference", "step") or len(asked) != 1 or () in asked:
            return None
        types = asked.pop()
        if types not in self._by_types:
            parts = [f"{self._split}_accuracy.{kind}" for kind in types]
            self._by_types[types] = Table(self._results, parts)
        return self._by_types[types]
