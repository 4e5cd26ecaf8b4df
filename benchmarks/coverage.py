"""Coverage of 95 % intervals: ours and three alternatives.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --repetitions 20000 --seed 1

The claim: under normal noise `t over seeds` and `t over seeds and images` cover 92 to 97 % with 5,
8, 10 and 20 seeds.  Every repetition draws paired differences of a known mean and checks whether
each interval contains it.

Seeds alone: K independent differences, normal, or exponential less their mean.  Seeds and images:
D_ki = S_k + I_i + E_ki on 400 images, normal with seeds, both or images giving most of the
variance, or exponential; and bits: two networks' right and wrong answers by a probit model of
seed, difficulty of the image, what a network makes of the image, and noise, whose true mean
difference is known (one normal variable decides a bit).  There `t over seeds` is shown too: it is
for these images, and its coverage for other images shows why a second interval is needed.

The peers are SciPy's bootstraps over seeds, percentile and BCa, and the pigeonhole bootstrap over
seeds and images (Owen 2007, doi:10.1214/07-AOAS122), of 1000 and 500 resamples; they are slow and
use a fifth and a tenth of the repetitions. A cell is the coverage in percent, its Monte Carlo
standard error, and in brackets the median width.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import NormalDist, median

import numpy as np
import scipy
from scipy.stats import bootstrap
from threadpoolctl import threadpool_limits

from ablate.ablation.intervals import (
    OVER_SEEDS,
    OVER_SEEDS_AND_IMAGES,
    crossed_interval,
    t_interval,
)

SEEDS = (5, 8, 10, 20)
IMAGES = 400
LEVEL = 0.95
CLAIM = (92.0, 97.0)

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Bounds = tuple[float, float]

# Deviations of seeds, images and the rest; of the mean of 10 seeds and 400 images, images give
# 6, 42 and 73 % of the variance.
CROSSED = {
    "mostly seeds": (1.0, 1.6, 5.0),
    "both": (1.0, 6.0, 10.0),
    "mostly images": (0.3, 6.0, 10.0),
}


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape)


def skewed(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_exponential(shape) - 1


def draw_crossed(
    random: np.random.Generator, n_seeds: int, draw: Draw, sds: tuple[float, float, float]
) -> np.ndarray:
    of_seed, of_image, rest = sds
    return (
        of_seed * draw(random, (n_seeds, 1))
        + of_image * draw(random, (1, IMAGES))
        + rest * draw(random, (n_seeds, IMAGES))
    )


# Of the probit model: the two networks' means, and deviations in units of its latent variable.
MEANS = (1.1, 1.0)
SEED_SD, DIFFICULTY_SD, NETWORK_SD, NOISE_SD = 0.05, 1.0, 0.4, 0.6
LATENT_SD = math.hypot(SEED_SD, DIFFICULTY_SD, NETWORK_SD, NOISE_SD)
TRUE_BITS = NormalDist().cdf(MEANS[0] / LATENT_SD) - NormalDist().cdf(MEANS[1] / LATENT_SD)


def draw_bits(random: np.random.Generator, n_seeds: int) -> np.ndarray:
    """Difference of two networks' correctness, `[n_seeds, IMAGES]`."""
    difficulty = DIFFICULTY_SD * random.standard_normal((1, IMAGES))
    first, second = (
        mean
        + difficulty
        + SEED_SD * random.standard_normal((n_seeds, 1))
        + NETWORK_SD * random.standard_normal((1, IMAGES))
        + NOISE_SD * random.standard_normal((n_seeds, IMAGES))
        > 0
        for mean in MEANS
    )
    return first.astype(float) - second


def pigeonhole(random: np.random.Generator, table: np.ndarray, resamples: int = 500) -> Bounds:
    """Percentiles of means over resampled seeds and images."""
    n_seeds, n_images = table.shape

    def counts(n: int) -> np.ndarray:
        drawn = random.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
        return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)

    means = ((counts(n_seeds) @ table) * counts(n_images)).sum(axis=1) / table.size
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_seeds(
    random: np.random.Generator, table: np.ndarray, method: str, resamples: int = 1000
) -> Iterator[Bounds]:
    """SciPy's bootstrap, for every row of `[repetitions, K]`."""
    for rows in np.array_split(table, max(1, len(table) // 50)):
        interval = bootstrap(
            (rows,),
            np.mean,
            axis=-1,
            n_resamples=resamples,
            method=method,
            confidence_level=LEVEL,
            random_state=random,
        ).confidence_interval
        yield from zip(interval.low, interval.high, strict=True)


def over_seeds(
    random: np.random.Generator, n_seeds: int, draw: Draw, repetitions: int
) -> dict[str, list[Bounds]]:
    """Bounds by interval, of differences of mean 0 without images."""
    table = draw(random, (repetitions, n_seeds))
    ours = [t_interval(row, LEVEL) for row in table]
    few = table[: max(2, repetitions // 5)]
    return {
        OVER_SEEDS: [(one.low, one.high) for one in ours],
        "BCa bootstrap over seeds": list(bootstrap_seeds(random, few, "BCa")),
        "percentile bootstrap over seeds": list(bootstrap_seeds(random, few, "percentile")),
    }


def over_both(
    random: np.random.Generator, draw: Callable[[], np.ndarray], repetitions: int
) -> dict[str, list[Bounds]]:
    """Bounds by interval, of differences on images."""
    bounds: dict[str, list[Bounds]] = defaultdict(list)
    for number in range(repetitions):
        table = draw()
        both, seeds = crossed_interval(table, LEVEL), t_interval(table.mean(axis=1), LEVEL)
        bounds[OVER_SEEDS_AND_IMAGES].append((both.low, both.high))
        bounds[OVER_SEEDS].append((seeds.low, seeds.high))
        if number < max(2, repetitions // 10):
            bounds["pigeonhole bootstrap"].append(pigeonhole(random, table))
    return bounds


def share_covered(bounds: list[Bounds], truth: float) -> float:
    return sum(low <= truth <= high for low, high in bounds) / len(bounds)


def show_cell(bounds: list[Bounds], truth: float) -> str:
    share, n = share_covered(bounds, truth), len(bounds)
    error = math.sqrt(share * (1 - share) / n)
    width = median(high - low for low, high in bounds)
    return f"{100 * share:.1f} ± {100 * error:.1f} ({width:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=10_000, help="of our intervals")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random, repetitions = np.random.default_rng(options.seed), options.repetitions
    print(
        f"{os.cpu_count()} CPUs, one used; Python {sys.version.split()[0]}, NumPy "
        f"{np.__version__}, SciPy {scipy.__version__}; seed {options.seed}\n"
    )

    # Noise -> the intervals' bounds at so many seeds, and the truth.
    models: dict[str, tuple[Callable[[int], dict[str, list[Bounds]]], float]] = {}
    for name, draw in (("normal", normal), ("skewed", skewed)):
        models[f"seeds alone, {name}"] = (
            lambda n_seeds, draw=draw: over_seeds(random, n_seeds, draw, repetitions),
            0.0,
        )
    crossed = [(f"normal, {name}", normal, sds) for name, sds in CROSSED.items()]
    for name, draw, sds in (*crossed, ("skewed, both", skewed, CROSSED["both"])):
        models[f"crossed, {name}"] = (
            lambda n_seeds, draw=draw, sds=sds: over_both(
                random, lambda: draw_crossed(random, n_seeds, draw, sds), repetitions
            ),
            0.0,
        )
    models["crossed, bits"] = (
        lambda n_seeds: over_both(random, lambda: draw_bits(random, n_seeds), repetitions),
        TRUE_BITS,
    )

    began = time.monotonic()
    print("| noise | interval | n | " + " | ".join(f"K = {n_seeds}" for n_seeds in SEEDS) + " |")
    print("|---" * (3 + len(SEEDS)) + "|")
    claimed = []
    for noise, (run, truth) in models.items():
        found = [run(n_seeds) for n_seeds in SEEDS]
        for method in found[0]:
            cells = [show_cell(one[method], truth) for one in found]
            n = len(found[0][method])
            print(f"| {noise} | {method} | {n} | {' | '.join(cells)} |", flush=True)
        if "normal" in noise:
            ours = OVER_SEEDS if "alone" in noise else OVER_SEEDS_AND_IMAGES
            claimed += [100 * share_covered(one[ours], truth) for one in found]
    holds = CLAIM[0] <= min(claimed) and max(claimed) <= CLAIM[1]
    print(
        f"\nours under normal noise: {min(claimed):.1f} to {max(claimed):.1f} %, the claim "
        f"{'holds' if holds else 'does not hold'}; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
