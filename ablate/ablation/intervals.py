"""How sure a mean difference over paired seeds is: one model gives the interval and the p value.

Three questions have three answers.  `over_seeds` is of these images: what other seeds would give on
them.  `over_images` is of these networks: what they would get of other images of the same kind.
`over_seeds_and_images` is of both.  All seeds are scored on the same images, so more seeds do not
make it narrower than the images alone allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ablate.robustness.measures import LEVEL

OVER_SEEDS = "t over seeds"
OVER_IMAGES = "t over images"
OVER_SEEDS_AND_IMAGES = "t over seeds and images"
NONE = "none"

PSEUDO_IMAGES = 2.5
"""Images that are added to those in which two networks differ. Bonett and Price add two; with two,
"kept" is wrong in up to 3.8 % of the cases of benchmarks/coverage.py where 2.5 is nominal, with
three intervals near the ceiling are up to 1.8 times as wide as need be."""

_LEAST_P = 1e-15
_ROUNDING = 1e-12
"""Of the sizes that are compared."""


@dataclass(frozen=True)
class Estimate:
    """A mean difference and its interval.

    Attributes:
        mean: in the metric's unit; NaN without seeds.
        sd: standard deviation over the seeds, of each seed's mean where there are images; NaN of
            fewer than two seeds.
        low, high: bounds of the interval; NaN where there is none.
        n: seeds.
        method: "t over seeds", "t over images", "t over seeds and images"; "none": no interval.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    method: str

    def times(self, weight: float) -> Estimate:
        """Of the difference times a positive weight."""
        mean, sd, low, high = (weight * x for x in (self.mean, self.sd, self.low, self.high))
        return Estimate(mean, sd, low, high, self.n, self.method)


@dataclass(frozen=True)
class Components:
    """Standard deviations of D_ki = mu + S_k + I_i + E_ki, in the metric's own unit.

    Attributes:
        seeds, images, rest: of S, I and E; of differences without images all is in seeds.
        n_seeds: that they are estimated from.
    """

    seeds: float
    images: float
    rest: float
    n_seeds: int

    def standard_error(self, n_seeds: int, n_images: int | None) -> float:
        """Of the mean over so many seeds and images; None: images are not known."""
        n = n_images or 1
        of_seeds = self.seeds**2 / n_seeds
        return math.sqrt(of_seeds + self.images**2 / n + self.rest**2 / (n_seeds * n))


@dataclass(frozen=True)
class MeanModel:
    """A mean over paired seeds with the parts of its variance.

    Attributes:
        mean, sd, n: as of `Estimate`.
        method: what its interval is called; "none" where there is no interval.
        total: estimated variance of the mean.
        freedom: of `total`, after Satterthwaite; at least n - 1.
        of_seeds: the part of the variance that is the seeds' alone.
        of_images: the remaining part: images, and noise of each image at each seed.
        image_freedom: of `of_images`.
        components: behind all of it; None where there is no interval.
    """

    mean: float
    sd: float
    n: int
    method: str
    total: float = math.nan
    freedom: float = math.nan
    of_seeds: float = math.nan
    of_images: float = math.nan
    image_freedom: float = math.nan
    components: Components | None = None

    def estimate(self, level: float = LEVEL) -> Estimate:
        """The mean with its interval at a level between 0 and 1."""
        low = high = math.nan  # the one object, so that equal estimates are equal
        if self.method != NONE:
            half = self._half_width(1 - level)
            low, high = self.mean - half, self.mean + half
        return Estimate(self.mean, self.sd, low, high, self.n, self.method)

    def p(self, null: float = 0.0) -> float:
        """Two-sided p value of the hypothesis that the mean is `null`.

        It is below 1 - level exactly where the interval at that level excludes `null`; NaN where
        there is no interval.
        """
        from scipy.optimize import brentq

        if self.method == NONE:
            return math.nan
        distance = abs(self.mean - null)
        if distance == 0:
            return 1.0
        lowest = math.log(_LEAST_P)
        if self._half_width(_LEAST_P) <= distance:
            return _LEAST_P
        root = brentq(lambda log_p: self._half_width(math.exp(log_p)) - distance, lowest, 0.0)
        return math.exp(float(root))

    def _half_width(self, alpha: float) -> float:
        """Of the interval that leaves out `alpha` in both tails together."""
        of_total = _quantile(self.freedom, alpha) * math.sqrt(self.total)
        if self.method in (OVER_SEEDS, OVER_IMAGES):
            return of_total
        of_seeds = _quantile(self.n - 1, alpha) * math.sqrt(self.of_seeds)
        of_images = _quantile(self.image_freedom, alpha) * math.sqrt(self.of_images)
        half = max(of_total, math.hypot(of_seeds, of_images))
        if self.n == 2:  # one degree of freedom tells seeds and noise apart too rarely
            half = max(half, _quantile(1, alpha) * self.sd / math.sqrt(2))
        return half


def over_seeds(differences: np.ndarray) -> MeanModel:
    """Student's t of the mean over seeds; the images are taken as given.

    Args:
        differences: `[K]`, one a seed, of two networks with the same seed.

    Returns:
        K = 0: NaN throughout. K = 1, and where all are equal: the mean, no interval.

    Source: Student 1908. Exact for normal differences; too narrow for skewed ones and few seeds
    (benchmarks/coverage.py).
    """
    seeds = np.asarray(differences, dtype=np.float64)
    n = len(seeds)
    if n < 2 or np.ptp(seeds) <= _ROUNDING * np.abs(seeds).max():
        return _no_interval(seeds)
    found = Components(float(seeds.std(ddof=1)), 0.0, 0.0, n)
    return replace(expected_model(found, n, None), mean=float(seeds.mean()), components=found)


def over_images(differences: np.ndarray) -> MeanModel:
    """Student's t of the mean over images, with the images that `over_seeds_and_images` adds; the
    two networks, of one seed, are taken as given.

    Args:
        differences: `[n_images]`, what one network got of an image less what the other did.

    Returns:
        Its n is 1, of seeds; no interval of one image.
    """
    images = np.asarray(differences, dtype=np.float64)
    n_images, mean = len(images), float(images.mean())
    if n_images < 2:
        return MeanModel(mean, math.nan, 1, NONE)
    squares = float(np.square(images).sum())
    added = float(np.square(np.square(images)).sum()) / squares if squares else 1.0
    variance = float(images.var()) * n_images + PSEUDO_IMAGES * added
    variance /= (n_images + PSEUDO_IMAGES - 1) * n_images
    return MeanModel(mean, math.nan, 1, OVER_IMAGES, total=variance, freedom=n_images - 1)


def over_seeds_and_images(differences: np.ndarray) -> MeanModel:
    """The mean over seeds and images, both taken as draws, fully crossed.

    D_ki = mu + S_k + I_i + E_ki, and the variance of the mean is s_S^2 / K + s_I^2 / n + s_E^2 /
    (K n). With the mean squares of a two-way analysis of variance without replication, MS_K of
    seeds, MS_I of images and MS_E of the residual, (MS_K + MS_I - MS_E) / (K n) estimates it
    without bias, also for bits, because only exchangeability of seeds and of images is required.

    Where both networks are nearly always right, they differ on few images, and MS_I may be small or
    0 by chance.  So 2.5 images are added to it, because n images cannot exclude rare differences.
    Each differs by sqrt(sum D^4 / sum D^2): 1 for bits, the size of the larger differences for a
    mean over copies; 1 if no image differs.

    The interval is the wider of two. With Satterthwaite's degrees of freedom alone, few seeds that
    happen to agree make it too narrow; with each part of the variance at its own quantile (the
    modified large-sample form of Graybill and Wang) alone, it is too narrow where the seeds' part
    is estimated as 0. Of two seeds it is never narrower than `over_seeds` of the seeds' means.

    Args:
        differences: `[K, n_images]`, what one network got of an image less what the other did,
            with the same seed; every seed on the same images, in their order.

    Returns:
        Its n is K, its sd that of the seeds' means. K = 0: NaN throughout. K = 1: the mean, no
        interval, as one seed does not tell images and noise apart. One image: `over_seeds` of it,
        as one image says nothing of others.

    Source: Cornfield and Tukey 1956, Annals of Mathematical Statistics 27, 907 (mean squares where
    nothing is normal); Satterthwaite 1946, Biometrics Bulletin 2, 110 (degrees of freedom);
    Graybill and Wang 1980, JASA 75, 869; Bonett and Price 2012, J. Educ. Behav. Stat. 37, 479
    (two added observations of a paired difference of proportions).
    """
    table = np.asarray(differences, dtype=np.float64)
    n_seeds, n_images = table.shape
    if n_images == 1:
        return over_seeds(table[:, 0])
    if n_seeds < 2:
        return _no_interval(table.mean(axis=1))
    squares = _mean_squares(table)
    of_seeds = max(squares.seeds - squares.rest, 0.0) / n_images
    of_images = max(squares.images - squares.rest, 0.0) / n_seeds
    sds = [math.sqrt(one) for one in (of_seeds, of_images, squares.rest)]
    return replace(
        _crossed_model(squares, n_seeds, n_images),
        mean=float(table.mean()),
        components=Components(sds[0], sds[1], sds[2], n_seeds),
    )


def expected_model(components: Components, n_seeds: int, n_images: int | None) -> MeanModel:
    """The model that so many seeds and images have where mean squares are as expected, of mean 0:
    what power is planned with.

    Args:
        n_images: None of differences without images.
    """
    if n_images is None:
        total, freedom = components.seeds**2 / n_seeds, n_seeds - 1
        return MeanModel(
            mean=0.0,
            sd=components.seeds,
            n=n_seeds,
            method=OVER_SEEDS,
            total=total,
            freedom=freedom,
            of_seeds=total,
            of_images=0.0,
            image_freedom=freedom,
        )
    rest = components.rest**2
    squares = _MeanSquares(
        seeds=n_images * components.seeds**2 + rest,
        images=n_seeds * components.images**2 + rest,
        rest=rest,
        # of normal differences sum D^4 / sum D^2 is three times their variance
        added=3 * (components.seeds**2 + components.images**2 + rest),
    )
    return _crossed_model(squares, n_seeds, n_images)


def _crossed_model(squares: _MeanSquares, n_seeds: int, n_images: int) -> MeanModel:
    """Of a table of these mean squares; its mean is 0."""
    size = n_seeds * n_images
    images = squares.images * (n_images - 1) + n_seeds * PSEUDO_IMAGES * squares.added
    images /= n_images + PSEUDO_IMAGES - 1
    total = max(squares.seeds + images - squares.rest, 0.0)
    spread = squares.seeds**2 / (n_seeds - 1) + images**2 / (n_images - 1)
    spread += squares.rest**2 / ((n_seeds - 1) * (n_images - 1))
    return MeanModel(
        mean=0.0,
        sd=math.sqrt(squares.seeds / n_images),
        n=n_seeds,
        method=OVER_SEEDS_AND_IMAGES,
        total=total / size,
        freedom=max(n_seeds - 1, total**2 / spread) if spread else n_seeds - 1,
        of_seeds=max(squares.seeds - squares.rest, 0.0) / size,
        of_images=(squares.rest + max(images - squares.rest, 0.0)) / size,
        image_freedom=n_images - 1,
    )


class _MeanSquares(NamedTuple):
    """Of a two-way analysis of variance without replication; `added` is the square of what each
    added image differs by."""

    seeds: float
    images: float
    rest: float
    added: float


def _mean_squares(table: NDArray[np.float64]) -> _MeanSquares:
    n_seeds, n_images = table.shape
    of_seeds, of_images = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_images
    rest -= (of_seeds - of_seeds.mean())[:, None]
    squares = np.square(table)
    whole = float(squares.sum())
    return _MeanSquares(
        seeds=n_images * float(of_seeds.var(ddof=1)),
        images=n_seeds * float(of_images.var(ddof=1)),
        rest=_sum_of_squares(rest) / ((n_seeds - 1) * (n_images - 1)),
        added=_sum_of_squares(squares) / whole if whole else 1.0,
    )


def _sum_of_squares(table: NDArray[np.float64]) -> float:
    """By one thread: several add up in another order, which changes the last digits."""
    with _pools().limit(limits=1, user_api="blas"):
        return float(np.vdot(table, table))


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def t_interval(differences: np.ndarray, level: float = LEVEL) -> Estimate:
    """The interval of `over_seeds`, of the differences that are finite."""
    seeds = np.asarray(differences, dtype=np.float64)
    return over_seeds(seeds[np.isfinite(seeds)]).estimate(level)


def _no_interval(seeds: NDArray[np.float64]) -> MeanModel:
    mean = float(seeds.mean()) if len(seeds) else math.nan
    sd = float(seeds.std(ddof=1)) if len(seeds) > 1 else math.nan
    # What floating point leaves of equal seeds is no deviation.
    return MeanModel(mean, sd if sd > _ROUNDING * abs(mean) else sd * 0, len(seeds), NONE)


def _quantile(freedom: float, alpha: float) -> float:
    """Student's t, exceeded with probability alpha / 2."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, alpha / 2))
