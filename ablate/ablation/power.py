"""How many seeds and images a contrast needs: power from the components of its variance.

Source: noncentral t, as for a paired test (Cohen 1988, Statistical Power Analysis, ch. 2), with the
variance and the degrees of freedom of `intervals.over_seeds_and_images`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ablate.ablation.cell import Claim
from ablate.ablation.effects import ALPHA, Effect
from ablate.ablation.intervals import Components, expected_model
from ablate.ablation.significance import LEAST_SEEDS
from ablate.analysis.objectives import is_accuracy
from ablate.errors import ParameterError

POWER = 0.8
DIFFERENCES = (0.005, 0.01, 0.02)
"""In accuracy: half a point, one and two points."""

MOST_SEEDS = 64
"""If so many seeds do not suffice, more are reported as useless."""

LEAST_POWER = 0.2
"""A primary contrast with a lower planned power gets a warning."""

_MOST_IMAGES = 10_000_000
_ALL_SEEDS = 1_000_000
"""As good as any number: what is left of the variance is the images'."""
_RANGE = (0.1, 0.9)


def planned_power(
    components: Components, seeds: int, images: int | None, difference: float, alpha: float = 0.05
) -> float:
    """Probability that a true difference is shown, by the test at `alpha`, two-sided.

    Args:
        components: standard deviations of the contrast, as known, or estimated by a pilot.
        seeds: K, 2 or more.
        images: that are scored; None where they are not known.
        difference: the true one, above 0, in the metric's own unit.

    Raises:
        ParameterError: if seeds, images or difference are out of range.
    """
    from scipy.stats import nct

    if seeds < 2 or (images is not None and images < 2) or not 0 < difference < math.inf:
        raise ParameterError(
            "planned_power: needs two seeds or more, two images or more and a difference above 0, "
            f"got {seeds}, {images} and {difference:g}. Raise them."
        )
    model = expected_model(components, seeds, images)
    error = components.standard_error(seeds, images)
    if error == 0:
        return 1.0
    bound = model.estimate(1 - alpha).high  # of a mean of 0: half the width of the interval
    return float(nct.sf(bound / error, model.freedom, difference / error))


@dataclass(frozen=True)
class PlannedContrast:
    """A primary contrast before the study is run.

    Attributes:
        contrast, metric: its names; pilot: the contrast of the pilot whose variance is used.
        seeds, images: K and n that are planned; difference: that should be shown.
        power: 0 to 1.
        plan: what other differences need.
    """

    contrast: str
    metric: str
    pilot: str
    seeds: int
    images: int | None
    difference: float
    power: float
    plan: str

    @property
    def text(self) -> str:
        """One line, with a warning below `LEAST_POWER`."""
        images = "" if self.images is None else f" and {self.images:,} images"
        line = (
            f"{self.contrast} on {self.metric}: power {100 * self.power:.0f} % at a true "
            f"difference of {self.difference:g}, with {self.seeds} seeds{images}, from the pilot's "
            f"{self.pilot}"
        )
        if self.plan:
            line += f"; for 80 %: {self.plan}"
        if self.power < LEAST_POWER:
            line += f". Warning: below {100 * LEAST_POWER:.0f} %, a claim is unlikely"
        return line


def planned_contrasts(
    claims: Sequence[Claim],
    effects: Sequence[Effect],
    seeds: int,
    difference: float,
    images_scored: Callable[[str], int | None] | None = None,
) -> tuple[PlannedContrast, ...]:
    """The power of primary contrasts, from a pilot's effects.

    For a contrast that the pilot has too, its components are used; for another one those of the
    pilot's contrast with the largest standard error on that metric, which plans for the worst.

    Args:
        claims: of the study; effects: of the pilot, on validation images.
        seeds: K of the study.
        images_scored: n of a metric in the study; None, or if it says None: as many as the pilot's.

    Returns:
        One a claim; those on a metric without components in the pilot are left out.
    """
    found = []
    alpha = ALPHA / max(1, len(claims))
    for claim in claims:
        known = [one for one in effects if one.metric == claim.metric and one.components]
        known = [one for one in known if one.contrast == claim.contrast] or known
        if not known:
            continue

        def error(effect: Effect) -> float:
            assert effect.components is not None
            return effect.components.standard_error(seeds, effect.n_images)

        worst = max(known, key=error)
        assert worst.components is not None
        images = worst.n_images
        if images is not None and images_scored is not None:
            images = images_scored(claim.metric) or images
        plans: tuple[SeedPlan, ...] = ()
        if is_accuracy(claim.metric):
            plans = tuple(
                seed_plan(worst.components, images, one, alpha=alpha, seeds=seeds)
                for one in DIFFERENCES
            )
        power = planned_power(worst.components, seeds, images, difference, alpha)
        found.append(
            PlannedContrast(
                *(claim.contrast, claim.metric, worst.contrast, seeds, images, difference),
                power,
                plan_text(plans),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class SeedPlan:
    """What one difference needs.

    Attributes:
        difference: in the metric's own unit.
        seeds: the fewest that give the power; None if `MOST_SEEDS` do not.
        low, high: the same at the ends of the 80 % range of the seeds' variance, which is an
            estimate; None as for seeds.
        images: what gives the power instead, if seeds is None; None where images are not known,
            or no number of them is enough.
        images_dominate: whether no number of seeds is enough.
    """

    difference: float
    seeds: int | None
    low: int | None
    high: int | None
    images: ImagePlan | None = None
    images_dominate: bool = False


@dataclass(frozen=True)
class ImagePlan:
    """The images that one difference needs.

    Attributes:
        seeds: K that are run, or `MOST_SEEDS` where no number of images suffices with those.
        images: the fewest that give the power with so many seeds.
        low, high: the same at the ends of the range of the seeds' variance; high is None where no
            number of images is enough.
    """

    seeds: int
    images: int
    low: int
    high: int | None


def seed_plan(
    components: Components,
    images: int | None,
    difference: float,
    *,
    alpha: float = 0.05,
    seeds: int | None = None,
) -> SeedPlan:
    """The fewest seeds with which a true difference is shown with power `POWER`.

    Args and raises: as `planned_power`; seeds: that are run, with which images are counted;
    without them, those of the components.
    """
    from scipy.stats import chi2

    def is_enough(of: Components, n_seeds: int, n_images: int | None) -> bool:
        return planned_power(of, n_seeds, n_images, difference, alpha) >= POWER

    def fewest(of: Components) -> int | None:
        if not is_enough(of, MOST_SEEDS, images):
            return None
        return _first(lambda n: is_enough(of, n, images), LEAST_SEEDS, MOST_SEEDS)

    def fewest_images(of: Components, n_seeds: int) -> int | None:
        assert images is not None
        if not is_enough(of, n_seeds, _MOST_IMAGES):
            return None
        return _first(lambda n: is_enough(of, n_seeds, n), images, _MOST_IMAGES)

    freedom = components.n_seeds - 1
    quantiles = [float(chi2.ppf(end, freedom)) for end in _RANGE]
    low, high = (
        replace(components, seeds=components.seeds * math.sqrt(freedom / quantile))
        for quantile in reversed(quantiles)
    )
    found = fewest(components)
    needed, images_dominate = None, not is_enough(components, _ALL_SEEDS, images)
    if images is not None and found is None:
        for n_seeds in (max(LEAST_SEEDS, seeds or components.n_seeds), MOST_SEEDS):
            usual, least = fewest_images(components, n_seeds), fewest_images(low, n_seeds)
            if usual is not None and least is not None:
                needed = ImagePlan(n_seeds, usual, least, fewest_images(high, n_seeds))
                break
    return SeedPlan(difference, found, fewest(low), fewest(high), needed, images_dominate)


def plan_text(plans: Sequence[SeedPlan], paired: str = "seed") -> str:
    """ "0.5 points: no number of seeds, but 2,900 images (2,500 to 3,800) with 8 seeds; 1 point:
    5 seeds (4 to 9); 2 points: 3 seeds"; of baselines where these are paired."""
    return "; ".join(f"{_points(plan.difference)}: {_needed(plan, f'{paired}s')}" for plan in plans)


def _points(difference: float) -> str:
    return f"{100 * difference:g} point{'s' * (difference != 0.01)}"


def _needed(plan: SeedPlan, seeds: str) -> str:
    more = f"more than {MOST_SEEDS}"
    if plan.seeds is None:
        ends = "" if plan.low is None else f" ({plan.low} or more)"
        said = f"no number of {seeds}" if plan.images_dominate else f"{more} {seeds}{ends}"
        if plan.images is None:
            return said
        images = _images_needed(plan.images)
        return f"{said}, {'but' if plan.images_dominate else 'or'} {images} {seeds}"
    if plan.low == plan.high == plan.seeds:
        return f"{plan.seeds} {seeds}"
    return f"{plan.seeds} {seeds} ({plan.low} to {more if plan.high is None else plan.high})"


def _images_needed(plan: ImagePlan) -> str:
    low, high = _rounded(plan.low), None if plan.high is None else _rounded(plan.high)
    ends = f" ({low:,} or more)" if high is None else f" ({low:,} to {high:,})" * (low != high)
    return f"{_rounded(plan.images):,} images{ends} with {plan.seeds}"


def _rounded(images: int) -> int:
    """To two digits, upwards."""
    unit: int = 10 ** max(0, len(str(images)) - 2)
    return -(-images // unit) * unit


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest number from low to high that holds, where all above it do; high if none."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
