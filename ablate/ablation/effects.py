"""Effects: contrasts of cells on a metric, with an interval, a test, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Arm, Claim, Contrast, ContrastKind, difference
from ablate.ablation.intervals import (
    Components,
    Estimate,
    MeanModel,
    over_seeds,
    over_seeds_and_images,
)
from ablate.ablation.results import Results
from ablate.ablation.significance import (
    LEAST_SEEDS,
    NonInferiority,
    holm,
    noninferiority,
    sign_flip_test,
)
from ablate.robustness.bits import Shares
from ablate.robustness.measures import LEVEL
from ablate.study.scores import EXPOSURES

ALPHA = 0.05
"""Two-sided, of all claims of a study together."""

_ROUNDING = 1e-12
"""Of the sizes that are added up."""

Verdict = Literal[
    "better", "worse", "not shown", "at most one image", "too few seeds", "exploratory"
]


@dataclass(frozen=True)
class Effect:
    """A contrast on one metric.

    Attributes:
        contrast: its name; kind: see `Contrast`.
        estimate: of the weighted sum over paired seeds, in the metric's own unit. The interval is
            at 95 %; those of the primary contrasts are simultaneous, at Bonferroni's level (see
            `simultaneous`).
        p: two-sided, from the model of the interval; NaN where there is no interval.
        p_adjusted: by Holm over the primary contrasts; None of an exploratory one.
        verdict: what it allows to be claimed; of an exploratory one nothing.
        p_seeds: of a primary contrast, the sign-flip test over seeds, on these images; else None;
            is_exact: whether all sign flips were evaluated.
        components: of the differences' variance; None where there is no interval; n_images: that
            they are about, None where not known.
        kept: whether it is no worse than the declared margin; None where none is declared for this
            metric.
        missing: pairs that a run of which has not ended well, as "seed 3 of ST".
        by_baseline: of ablations that are read as one (`PooledResults`), the difference in each;
            NaN where it is missing.
    """

    contrast: str
    kind: ContrastKind
    metric: str
    estimate: Estimate
    p: float
    p_adjusted: float | None = None
    verdict: Verdict = "exploratory"
    p_seeds: float | None = None
    is_exact: bool = True
    components: Components | None = None
    n_images: int | None = None
    kept: NonInferiority | None = None
    missing: tuple[str, ...] = ()
    by_baseline: tuple[float, ...] = ()

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
    found: list[_Tested] = []
    for metric in asked:
        tables = MetricTables(results, metric)
        for contrast in by_name.values():
            is_claim = (contrast.name, metric) in primary
            if not is_claim and (
                metric not in shown or metric not in (contrast.metrics or (metric,))
            ):
                continue
            table = tables.of(contrast)
            if table is not None or is_claim:
                found.append(
                    _Tested.of(
                        results, contrast, metric, table, is_claim, is_minimized=metric in minimized
                    )
                )
    found.sort(key=lambda one: order[one.contrast.name])
    adjusted = iter(holm([one.p if math.isfinite(one.p) else 1.0 for one in found if one.is_claim]))
    level = 1 - ALPHA / max(1, len(primary))
    return tuple(
        one.effect(next(adjusted) if one.is_claim else None, level, margin) for one in found
    )


@dataclass(frozen=True)
class _Tested:
    """A contrast on a metric before it is known what the other claims of the study are.

    Attributes:
        differences: `[K]`, of the pairs that are complete; model, p: of them.
        n_images: behind each difference; None where they are not known.
    """

    contrast: Contrast
    metric: str
    differences: NDArray[np.float64]
    model: MeanModel
    p: float
    n_images: int | None
    missing: tuple[str, ...]
    is_claim: bool
    is_minimized: bool
    by_baseline: tuple[float, ...]

    @classmethod
    def of(
        cls,
        results: Results,
        contrast: Contrast,
        metric: str,
        table: Table | None,
        is_claim: bool,
        *,
        is_minimized: bool,
    ) -> _Tested:
        """Args: table: None where nothing can be said of a claim, which is still a claim."""
        if table is None:
            by_pair, by_image, missing = np.empty(0), None, tuple[str, ...]()
        else:
            by_pair, by_image, missing = _differences(results, contrast, table)
        differences = by_pair[np.isfinite(by_pair)]
        model = _model(differences, by_image)
        n_images = None if by_image is None else by_image.shape[1]
        return cls(
            contrast=contrast,
            metric=metric,
            differences=differences,
            model=model,
            p=model.p(),
            n_images=n_images,
            missing=missing,
            is_claim=is_claim,
            is_minimized=is_minimized,
            by_baseline=tuple(map(float, by_pair)) if results.replications else (),
        )

    def effect(self, p_adjusted: float | None, level: float, margin: Margin | None) -> Effect:
        """Args: level: of a primary contrast's interval; p_adjusted: None of another."""
        estimate = self.model.estimate()
        if p_adjusted is not None:
            wider = self.model.estimate(level)
            estimate = simultaneous(wider, is_rejected=p_adjusted < ALPHA)
        kept = None
        if margin is not None and margin.metric == self.metric:
            kept = noninferiority(
                self.model, margin.margin, is_minimized=self.is_minimized, estimate=estimate
            )
        effect = Effect(
            contrast=self.contrast.name,
            kind=self.contrast.kind,
            metric=self.metric,
            estimate=estimate,
            p=self.p,
            components=self.model.components,
            n_images=self.n_images,
            kept=kept,
            missing=self.missing,
            by_baseline=self.by_baseline,
        )
        if p_adjusted is None:
            return effect
        flips = sign_flip_test(self.differences)
        return replace(
            effect,
            p_adjusted=p_adjusted if math.isfinite(self.p) else math.nan,
            verdict=self._verdict(p_adjusted),
            p_seeds=flips.p if math.isfinite(flips.p) else None,
            is_exact=flips.exact,
        )

    def _verdict(self, p_adjusted: float) -> Verdict:
        mean = self.model.mean
        if self.model.n < LEAST_SEEDS:
            return "too few seeds"
        if not p_adjusted < ALPHA:
            return "not shown"
        if self.n_images is not None and abs(mean) * self.n_images <= 1 + _ROUNDING:
            return "at most one image"
        return "better" if (mean > 0) != self.is_minimized else "worse"


def simultaneous(estimate: Estimate, *, is_rejected: bool) -> Estimate:
    """An interval at Bonferroni's level that agrees with Holm's test.

    Holm rejects more than Bonferroni. An interval that then still holds 0 ends at 0, which is what
    all tests together exclude (Strassburger and Bretz 2008, Statistics in Medicine 27, 4914).
    Bonferroni's intervals hold all true values in 95 % of studies; with those that end at 0 it is
    93 to 94 % in the worst case, one true difference just on the other side of 0 among large ones.
    """
    if not is_rejected or not estimate.low <= 0 <= estimate.high:
        return estimate
    if estimate.mean > 0:
        return replace(estimate, low=0.0)
    return replace(estimate, high=0.0)


def _differences(
    results: Results, contrast: Contrast, table: Table
) -> tuple[NDArray[np.float64], Shares | None, tuple[str, ...]]:
    """Of a contrast at each pair, NaN where it is not complete; image by image over the complete
    ones, `[K, n]`, or None where a cell has kept no bits; and which pairs are missing."""
    cells = [cell for cell, weight in contrast.weights.items() if weight]
    weights = np.array([contrast.weights[cell] for cell in cells])
    columns = [table.column(cell) for cell in cells]
    values = np.stack([column.values for column in columns])
    is_there = np.isfinite(values)
    places = np.flatnonzero(is_there.all(axis=0))
    missing: tuple[str, ...] = ()
    if len(places) < len(results.pairs):
        gaps = np.argwhere(~is_there.T)
        missing = tuple(f"{results.pair_name(int(place))} of {cells[at]}" for place, at in gaps)
    differences = np.full(len(results.pairs), math.nan)
    differences[places] = _weighted_sum(weights, values[:, places])
    return differences, _by_image(weights, columns, places), missing


def tied_with_best(
    results: Results, arms: Sequence[Arm], metric: str, *, is_minimized: bool
) -> tuple[str, ...]:
    """The arm with the best mean, and all whose paired difference to it has an interval that
    holds 0, in their order; empty where no arm has the metric."""
    tables = MetricTables(results, metric)
    means: dict[str, float] = {}
    for arm in arms:
        mean = results.mean_values(arm.cells, metric)
        mean = mean[np.isfinite(mean)]
        if len(mean):
            means[arm.name] = -float(mean.mean()) if is_minimized else float(mean.mean())
    if not means:
        return ()
    best = max(means, key=lambda name: means[name])
    by_name = {arm.name: arm for arm in arms}
    tied = {name for name in means if math.isclose(means[name], means[best], rel_tol=_ROUNDING)}
    for name in means:
        contrast = difference(by_name[name], by_name[best])
        table = tables.of(contrast) if name not in tied else None
        if table is None:
            continue
        estimate = _estimate(results, contrast, table)
        if estimate.low <= 0 <= estimate.high:
            tied.add(name)
    return tuple(arm.name for arm in arms if arm.name in tied)


def arm_difference(results: Results, arm: Arm, to: Arm, metric: str, level: float) -> Estimate:
    """One arm less another on a metric, with its interval at a level."""
    contrast = difference(arm, to)
    table = MetricTables(results, metric).of(contrast)
    if table is None:
        return over_seeds(np.empty(0)).estimate()
    return _estimate(results, contrast, table, level)


def _estimate(results: Results, contrast: Contrast, table: Table, level: float = LEVEL) -> Estimate:
    by_pair, by_image, _ = _differences(results, contrast, table)
    return _model(by_pair[np.isfinite(by_pair)], by_image).estimate(level)


def _model(differences: NDArray[np.float64], by_image: Shares | None) -> MeanModel:
    return over_seeds(differences) if by_image is None else over_seeds_and_images(by_image)


def _weighted_sum(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K]` of `[cells, K]`; rounding errors are set to zero, or they would have a sign."""
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
        self._exposed = next(
            (one for one in EXPOSURES if name == f"robust_accuracy_{one}"),
            None,
        )
        self._whole = Table(results, [metric])
        self._by_types: dict[tuple[str, ...], Table] = {}

    def of(self, contrast: Contrast) -> Table | None:
        """None of a mean by exposure where there are no types that all of a contrast is about."""
        exposed = self._exposed
        if exposed is None:
            return self._whole
        weights = contrast.weights.items()
        asked = {self._results.exposed_types(cell, exposed) for cell, w in weights if w > 0}
        if contrast.kind not in ("difference", "step") or len(asked) != 1 or () in asked:
            return None
        types = asked.pop()
        if types not in self._by_types:
            parts = [f"{self._split}_accuracy.{kind}" for kind in types]
            self._by_types[types] = Table(self._results, parts)
        return self._by_types[types]
