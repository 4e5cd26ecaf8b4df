"""Effects: contrasts of cells on a metric, with an interval, a test, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Arm, Claim, Contrast, ContrastKind, difference
from ablate.ablation.differences import NO_DIFFERENCES, Differences, MetricTables
from ablate.ablation.intervals import Components, Estimate, MeanModel
from ablate.ablation.results import Results
from ablate.ablation.significance import (
    LEAST_SEEDS,
    NonInferiority,
    holm,
    noninferiority,
    sign_flip_test,
)
from ablate.robustness.measures import LEVEL

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
        at_level: of an exploratory one, `estimate` with an interval at the level of the primary
            ones, for a picture whose intervals have one level; None: `estimate` is.
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
        worst: the difference where each failed run counts as the worst of its arm in this metric,
            with an interval at the same level; None where no run failed. It is beside the main one,
            which leaves failed pairs out, and supports no claim.
        tuned: whether a side was tuned on the images that it is scored on: then it is exploratory,
            also if it was declared, and nothing is said to be kept.
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
    tuned: bool = False
    worst: Estimate | None = None
    at_level: Estimate | None = None

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
    tuned: Collection[str] = (),
) -> tuple[Effect, ...]:
    """Compute every contrast on its metrics; primary ones are adjusted by Holm.

    Args:
        claims: the primary ones.
        margin: of non-inferiority.
        minimized: metrics for which less is better.
        tuned: cells that were tuned on these images.
    """
    primary = {(claim.contrast, claim.metric) for claim in claims}
    by_name = {contrast.name: contrast for contrast in contrasts}
    order = {name: place for place, name in enumerate(by_name)}
    shown = dict.fromkeys([*metrics, *([] if margin is None else [margin.metric])])
    # A claim may use a metric that is in no table, such as that of one severity.
    asked = dict.fromkeys([*shown, *(claim.metric for claim in claims)])
    found: list[_Tested] = []
    worst = results.with_failures_as_worst(minimized) if results.failures() else None
    for metric in asked:
        tables = MetricTables(results, metric)
        worst_tables = None if worst is None else MetricTables(worst, metric)
        for contrast in by_name.values():
            is_claim = (contrast.name, metric) in primary
            if not is_claim and (
                metric not in shown or metric not in (contrast.metrics or (metric,))
            ):
                continue
            differences = tables.differences(contrast)
            if differences is not None or is_claim:
                found.append(
                    _Tested.of(
                        contrast,
                        metric,
                        differences,
                        is_claim=is_claim,
                        is_minimized=metric in minimized,
                        are_baselines=bool(results.replications),
                        worst=None if worst_tables is None else worst_tables.differences(contrast),
                        is_tuned=any(
                            cell in tuned for cell, one in contrast.weights.items() if one
                        ),
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
        by_pair, n_images, missing: as of `Differences`, whose images are not kept; model, p: of
            them.
        are_baselines: whether the pairs are ablations from a baseline each.
        is_tuned: as of `Effect`; worst: the model of its `worst`.
    """

    contrast: Contrast
    metric: str
    by_pair: NDArray[np.float64]
    n_images: int | None
    missing: tuple[str, ...]
    model: MeanModel
    p: float
    is_claim: bool
    is_minimized: bool
    are_baselines: bool
    is_tuned: bool
    worst: MeanModel | None

    @classmethod
    def of(
        cls,
        contrast: Contrast,
        metric: str,
        differences: Differences | None,
        *,
        is_claim: bool,
        is_minimized: bool,
        are_baselines: bool,
        is_tuned: bool,
        worst: Differences | None,
    ) -> _Tested:
        """Args: differences: None where nothing can be said of a claim, which is still a claim."""
        found = differences or NO_DIFFERENCES
        if worst is not None and np.array_equal(worst.by_pair, found.by_pair, equal_nan=True):
            worst = None  # no run of these cells has failed
        model = found.model()
        return cls(
            *(contrast, metric, found.by_pair, found.n_images, found.missing, model, model.p()),
            is_claim=is_claim,
            is_minimized=is_minimized,
            are_baselines=are_baselines,
            is_tuned=is_tuned,
            worst=None if worst is None else worst.model(),
        )

    def effect(self, p_adjusted: float | None, level: float, margin: Margin | None) -> Effect:
        """Args: level: of a primary contrast's interval; p_adjusted: None of another."""
        estimate = self.model.estimate()
        worst = None if self.worst is None else self.worst.estimate()
        if p_adjusted is not None:
            worst = None if self.worst is None else self.worst.estimate(level)
            wider = self.model.estimate(level)
            estimate = simultaneous(wider, is_rejected=p_adjusted < ALPHA)
        kept = None
        if margin is not None and margin.metric == self.metric:
            kept = noninferiority(
                self.model, margin.margin, is_minimized=self.is_minimized, estimate=estimate
            )
            kept = replace(kept, kept=None) if self.is_tuned else kept
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
            by_baseline=tuple(map(float, self.by_pair)) if self.are_baselines else (),
            tuned=self.is_tuned,
            worst=worst,
        )
        if p_adjusted is None:
            return replace(effect, at_level=self.model.estimate(level))
        flips = sign_flip_test(self.by_pair[np.isfinite(self.by_pair)])
        return replace(
            effect,
            p_adjusted=p_adjusted if math.isfinite(self.p) else math.nan,
            verdict=self._verdict(p_adjusted),
            p_seeds=flips.p if math.isfinite(flips.p) else None,
            is_exact=flips.exact,
        )

    def _verdict(self, p_adjusted: float) -> Verdict:
        mean = self.model.mean
        if self.is_tuned:
            return "exploratory"
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
        found = tables.differences(contrast) if name not in tied else None
        if found is None:
            continue
        estimate = found.model().estimate(LEVEL)
        if estimate.low <= 0 <= estimate.high:
            tied.add(name)
    return tuple(arm.name for arm in arms if arm.name in tied)


def arm_difference(results: Results, arm: Arm, to: Arm, metric: str, level: float) -> Estimate:
    """One arm less another on a metric, with its interval at a level."""
    found = MetricTables(results, metric).differences(difference(arm, to))
    return (found or NO_DIFFERENCES).model().estimate(level)
