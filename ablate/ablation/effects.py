"""Effects: contrasts of cells on a metric, with an interval, a test, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

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
from ablate.ablation.results import Column, Results
from ablate.ablation.significance import (
    LEAST_SEEDS,
    MOST_EXACT,
    NonInferiority,
    equivalence_p,
    holm,
    noninferiority,
    sign_flip_test,
)
from ablate.robustness.measures import LEVEL
from ablate.study.scores import EXPOSURES, base_name
from ablate.study.settings import NonInferiorSettings

ALPHA = 0.05
"""Two-sided, of all claims of a study together."""

_ROUNDING = 1e-12
"""Of the sizes that are added up."""

Shown = Literal["better", "worse", "equivalent"]
Verdict = Literal[Shown, "not shown", "at most one image", "too few seeds", "exploratory", "open"]


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
        equivalent_within: the margin of a claim of equivalence; None of any other.
        p: two-sided, from the model of the interval; of a claim of equivalence the larger of two
            one-sided; NaN where there is no interval.
        p_adjusted: by Holm over the primary contrasts, where one-sided p count double; None of an
            exploratory one.
        verdict: what it allows to be claimed; of an exploratory one nothing.  "open": a planned
            look will decide.
        p_seeds: of a primary contrast, the sign-flip test over seeds, on these images; else, and
            of equivalence, None; is_exact: whether all sign flips were evaluated.
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
    equivalent_within: float | None = None

    @property
    def primary(self) -> bool:
        return self.p_adjusted is not None


class _Tested(NamedTuple):
    """A contrast on a metric; worst: where each failed run counts as the worst of its cell."""

    contrast: Contrast
    metric: str
    is_claim: bool
    equivalent_within: float | None
    found: Differences
    worst: Differences | None


def all_effects(
    results: Results,
    contrasts: Sequence[Contrast],
    metrics: Sequence[str],
    claims: Sequence[Claim],
    *,
    margin: NonInferiorSettings | None = None,
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
    margins: dict[tuple[str, str], list[float | None]] = {}  # of the claims on a contrast
    for claim in sorted(dict.fromkeys(claims), key=lambda one: one.equivalent_within or 0.0):
        margins.setdefault((claim.contrast, claim.metric), []).append(claim.equivalent_within)
    level = 1 - ALPHA / max(1, sum(map(len, margins.values())))
    by_name = {contrast.name: contrast for contrast in contrasts}
    shown = dict.fromkeys([*metrics, *([] if margin is None else [margin.metric])])
    worst_results = results.with_failures_as_worst(minimized) if results.failures() else None
    tested: list[_Tested] = []
    # A claim may use a metric that is in no table, such as that of one severity.
    for metric in dict.fromkeys([*shown, *(claim.metric for claim in claims)]):
        table = MetricTable(results, metric)
        worst_table = None if worst_results is None else MetricTable(worst_results, metric)
        for contrast in by_name.values():
            declared = margins.get((contrast.name, metric), [])
            is_claim = bool(declared)
            is_shown = metric in shown and metric in (contrast.metrics or (metric,))
            found = table.differences(contrast) if is_claim or is_shown else None
            if found is None and not is_claim:
                continue
            found = found or NO_DIFFERENCES
            worst = None if worst_table is None else worst_table.differences(contrast)
            if worst is not None and worst.same_values(found):
                worst = None  # no run of these cells has failed
            for within in declared or [None]:
                tested.append(_Tested(contrast, metric, is_claim, within, found, worst))
    places = {name: place for place, name in enumerate(by_name)}
    tested.sort(key=lambda one: places[one.contrast.name])
    p_values = [
        model.p() if within is None else equivalence_p(model, within)
        for within, model in ((one.equivalent_within, one.found.model) for one in tested)
    ]
    claimed = [
        min(1.0, p if one.equivalent_within is None else 2 * p)
        for p, one in zip(p_values, tested, strict=True)
        if one.is_claim
    ]
    adjusted = iter(holm([p if math.isfinite(p) else 1.0 for p in claimed]))
    effects = []
    for p, one in zip(p_values, tested, strict=True):
        contrast, metric, found, model = one.contrast, one.metric, one.found, one.found.model
        worst_level = level if one.is_claim else LEVEL
        effect = Effect(
            contrast=contrast.name,
            kind=contrast.kind,
            metric=metric,
            estimate=model.estimate(),
            p=p,
            components=model.components,
            n_images=found.n_images,
            missing=found.missing,
            by_baseline=tuple(found.by_pair.tolist()) if results.replications else (),
            tuned=any(cell in tuned for cell, weight in contrast.weights.items() if weight),
            worst=None if one.worst is None else one.worst.model.estimate(worst_level),
            at_level=None if one.is_claim else model.estimate(level),
            equivalent_within=one.equivalent_within,
        )
        if one.is_claim:
            effect = _claimed(effect, found, next(adjusted), level, metric in minimized)
        if margin is not None and margin.metric == metric:
            kept = noninferiority(
                model,
                margin.margin,
                is_minimized=metric in minimized,
                estimate=effect.estimate,
            )
            kept = replace(kept, kept=None) if effect.tuned else kept
            effect = replace(effect, kept=kept)
        effects.append(effect)
    return tuple(effects)


def _claimed(
    effect: Effect, found: Differences, p_adjusted: float, level: float, is_minimized: bool
) -> Effect:
    """A primary effect: adjusted, with a simultaneous interval at this level, and a verdict."""
    model, margin = found.model, effect.equivalent_within
    verdict = claim_verdict(
        model,
        effect.n_images,
        margin,
        is_minimized=is_minimized,
        is_rejected=p_adjusted < ALPHA,
    )
    complete = found.by_pair[np.isfinite(found.by_pair)]
    p_seeds = sign_flip_test(complete) if margin is None else math.nan
    return replace(
        effect,
        estimate=simultaneous(model.estimate(level), margin, is_rejected=p_adjusted < ALPHA),
        p_adjusted=p_adjusted if math.isfinite(effect.p) else math.nan,
        verdict="exploratory" if effect.tuned else verdict,
        p_seeds=p_seeds if math.isfinite(p_seeds) else None,
        is_exact=len(complete) <= MOST_EXACT,
    )


def claim_verdict(
    model: MeanModel,
    n_images: int | None,
    margin: float | None = None,
    *,
    is_rejected: bool,
    is_minimized: bool = False,
) -> Verdict:
    """What a declared contrast allows to be claimed.

    Args:
        n_images: behind each difference; None where not known.
        margin: of a claim of equivalence; None: that there is a difference.
        is_rejected: whether its null hypothesis is.
    """
    images = (n_images or math.inf) * (abs(model.mean) if margin is None else 1)
    if model.n < LEAST_SEEDS:
        return "too few seeds"
    if not is_rejected:
        return "not shown"
    if images <= 1 + _ROUNDING:
        return "at most one image"
    if margin is not None:
        return "equivalent"
    return "better" if (model.mean > 0) != is_minimized else "worse"


def simultaneous(estimate: Estimate, margin: float | None = None, *, is_rejected: bool) -> Estimate:
    """An interval at Bonferroni's level that agrees with Holm's test; where equivalence is shown it
    ends at the margin at most.

    Holm rejects more than Bonferroni. An interval that then still holds 0 ends at 0, which is what
    all tests together exclude (Strassburger and Bretz 2008, Statistics in Medicine 27, 4914).
    Bonferroni's intervals hold all true values in 95 % of studies; with those that end at 0 it is
    93 to 94 % in the worst case, one true difference just on the other side of 0 among large ones.
    """
    if is_rejected and margin is not None:
        return replace(estimate, low=max(estimate.low, -margin), high=min(estimate.high, margin))
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
    table, means = MetricTable(results, metric), dict[str, float]()
    for arm in arms:
        values = table.values(arm)
        values = values[np.isfinite(values)]
        if len(values):
            means[arm.name] = float(values.mean()) * (-1 if is_minimized else 1)
    if not means:
        return ()
    highest = max(means.values())
    best = next(arm for arm in arms if means.get(arm.name) == highest)

    def is_tied(arm: Arm) -> bool:
        if math.isclose(means[arm.name], highest, rel_tol=_ROUNDING):
            return True
        found = table.differences(difference(arm, best))
        if found is None:
            return False
        estimate = found.model.estimate(LEVEL)
        return estimate.low <= 0 <= estimate.high

    return tuple(arm.name for arm in arms if arm.name in means and is_tied(arm))


def arm_difference(results: Results, arm: Arm, to: Arm, metric: str, level: float) -> Estimate:
    """One arm less another on a metric, with its interval at a level."""
    found = MetricTable(results, metric).differences(difference(arm, to))
    return (found or NO_DIFFERENCES).model.estimate(level)


# -- The differences that a contrast is, within each pair and image by image


@dataclass(frozen=True)
class Differences:
    """A contrast on a metric, within each pair.

    Attributes:
        by_pair: `[pairs]`, NaN where a run was not successful.
        model: of their mean over pairs and images, or over pairs alone.
        n_images: behind each difference; None where a cell has kept no bits.
        missing: what is not complete, as "seed 3 of ST".
    """

    by_pair: NDArray[np.float64]
    model: MeanModel
    n_images: int | None
    missing: tuple[str, ...]

    def same_values(self, other: Differences) -> bool:
        return np.array_equal(self.by_pair, other.by_pair, equal_nan=True)


NO_DIFFERENCES = Differences(np.empty(0), over_seeds(np.empty(0)), None, ())


class MetricTable:
    """The values for contrasts on one metric, each cell read once.

    The exposure of a type differs between cells, so two means by exposure would be over different
    types.  Therefore both are computed over the types of the cell in question.
    """

    def __init__(self, results: Results, metric: str) -> None:
        self._results = results
        self._metric = metric
        self._columns: dict[tuple[str, tuple[str, ...]], Column] = {}

    def differences(self, contrast: Contrast) -> Differences | None:
        """A contrast on the metric; None where there is nothing to compare: see `_parts`."""
        parts = self._parts(contrast)
        if not parts:
            return None
        weights = {cell: weight for cell, weight in contrast.weights.items() if weight}
        for cell in weights:
            if (cell, parts) not in self._columns:
                self._columns[cell, parts] = self._results.column(cell, parts)
        columns = [self._columns[cell, parts] for cell in weights]
        signed = np.array([*weights.values()])
        values = np.stack([column.values for column in columns])
        is_there = np.isfinite(values)
        places = np.flatnonzero(is_there.all(axis=0))
        by_pair = np.full(values.shape[1], math.nan)
        # Rounding errors are set to zero, or they would have a sign.
        complete = signed @ values[:, places]
        sizes = np.abs(signed) @ np.abs(values[:, places])
        by_pair[places] = np.where(np.abs(complete) <= _ROUNDING * sizes, 0.0, complete)
        names = [*weights]
        missing = tuple(
            f"{self._results.pair_name(place)} of {names[at]}"
            for place, at in np.argwhere(~is_there.T).tolist()
            if (names[at], place) not in self._results.stopped
        )
        shares = [column.shares_at(places) for column in columns] if len(places) else []
        known = [share for share in shares if share is not None]
        if not known or len(known) < len(columns):
            return Differences(by_pair, over_seeds(by_pair[places]), None, missing)
        by_image = sum(weight * own for weight, own in zip(signed, known, strict=True))
        by_image[np.abs(by_image) <= _ROUNDING] = 0.0  # shares are of the size of 1
        n_images = by_image.shape[1]
        return Differences(by_pair, over_seeds_and_images(by_image), n_images, missing)

    def values(self, arm: Arm) -> NDArray[np.float64]:
        """The metric of an arm at each pair, `[K]`, NaN where it is missing; of a mean by exposure
        over the types that it is compared on."""
        own = Contrast(arm.name, dict.fromkeys(arm.cells, 1.0), "difference")
        over = self._parts(own) or (self._metric,)
        means = [self._results.mean_values(arm.cells, one) for one in over]
        mean: NDArray[np.float64] = np.mean(means, axis=0)
        return mean

    def _parts(self, contrast: Contrast) -> tuple[str, ...]:
        """The metrics whose mean a contrast is about: of a mean by exposure the accuracies of its
        types, none where there are none in common; none where one side lacks the metric."""
        split, _, name = base_name(self._metric).partition("_")
        at_loss = self._metric.removeprefix(base_name(self._metric))
        if any(self._results.lacks(cell, self._metric) for cell in contrast.weights):
            return ()
        exposed = next((one for one in EXPOSURES if name == f"robust_accuracy_{one}"), None)
        if exposed is None:
            return (self._metric,)
        asked = {
            self._results.exposed_types(cell, exposed)
            for cell, weight in contrast.weights.items()
            if weight > 0
        }
        if contrast.kind not in ("difference", "step") or len(asked) != 1:
            return ()
        return tuple(f"{split}_accuracy.{kind}{at_loss}" for kind in asked.pop())
