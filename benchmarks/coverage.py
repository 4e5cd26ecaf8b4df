"""What intervals, claims and plans of `ablate.ablation` are worth, by simulation of a known truth.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --repetitions 20000 --seed 1
    python benchmarks/coverage.py --part pooled
    python benchmarks/coverage.py --part collapses     # seeds that are not normal
    python benchmarks/coverage.py --part looks         # seeds added after results were there
    python benchmarks/coverage.py --part tuned         # settings chosen on the same images
    python benchmarks/coverage.py --part equivalence   # claims that two are equivalent
    python benchmarks/coverage.py --part orders        # Shapley values from some orders
    python benchmarks/coverage.py --part sparse        # each image under a share of the cells
    python benchmarks/coverage.py --part stop          # replicates until contrasts are decided
    python benchmarks/coverage.py --part clean_loss    # read off a curve at a clean loss

Every repetition draws paired differences `[K, n_images]` of a known mean, for K = 3, 5 and 8 seeds.

Cases: normal differences D_ki = S_k + I_i + E_ki with the components of the shipped digits ablation
(n = 359 images) and of the CIFAR-10 arms (n = 5,000, JPEG copies); with seeds that vary much; bits
near the ceiling, where one network loses a few images (at all seeds, at some seeds, or with noise
of both networks on top); bits of a probit model.  Seeds alone (a custom training loop): t
over seeds, normal and exponential less their mean.

Peers of the interval, on the same draws: the rule of ablate 0.1 (Satterthwaite, never narrower than
t over seeds), the same with at least K - 1 degrees of freedom, the modified large-sample form
alone, t over the images' means, and the pigeonhole bootstrap (Owen 2007, arXiv:0712.1111; 500
resamples, a tenth of the repetitions).  Given are the share covered in percent and the median
width in points; "of narrowest" is ours by that of the narrowest that covers 93 %.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist, median
from typing import Any

import numpy as np
import scipy
from scipy.special import ndtr, stdtrit
from threadpoolctl import threadpool_limits

from ablate.ablation.designs.shapley import draw_orders, index_weights
from ablate.ablation.effects import simultaneous
from ablate.ablation.interpolated import contributions
from ablate.ablation.intervals import (
    OVER_SEEDS_AND_IMAGES,
    Components,
    Estimate,
    MeanModel,
    over_seeds,
    over_seeds_and_images,
)
from ablate.ablation.looks import DECIDED, Look, Measured, nominal_levels, take_look
from ablate.ablation.power import planned_power
from ablate.ablation.significance import equivalence_p, holm, noninferiority
from ablate.robustness.bits import Shares, image_shares, pack_row, unpack_bits
from ablate.robustness.sparse import scored_cells
from ablate.study.interpolation import loss_point
from ablate.study.scores import Scores
from ablate.study.settings import StopSettings

SEEDS = (3, 5, 8)
LEVEL, ALPHA = 0.95, 0.05
ENOUGH = 0.93
Bounds = tuple[float, float]
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Case:
    """Differences of a known mean: `draw(random, K)` is `[K, n_images]`."""

    name: str
    truth: float
    draw: Draw


# As found: standard deviations of seeds, images and the rest, and the number of images.
DIGITS = {
    "digits, to plain": (0.0035, 0.100, 0.040, 359),
    "digits, to DA+CA": (0.0037, 0.072, 0.040, 359),
    "digits, ST+CA to DA+CA": (0.0015, 0.021, 0.037, 359),
}
CIFAR = {
    "CIFAR, to plain": (0.006, 0.140, 0.100, 5000),
    "CIFAR, to DA combined": (0.003, 0.070, 0.080, 5000),
}
FOUND = DIGITS | CIFAR


def normal_case(name: str, sds: tuple[float, float, float, int], truth: float = 0.0) -> Case:
    of_seeds, of_images, rest, n = sds

    def draw(random: np.random.Generator, n_seeds: int) -> np.ndarray:
        return (
            truth
            + of_seeds * random.standard_normal((n_seeds, 1))
            + of_images * random.standard_normal((1, n))
            + rest * random.standard_normal((n_seeds, n))
        )

    return Case(name, truth, draw)


def loss_case(share: float, noise: float = 0.0, *, at_some_seeds: bool = False) -> Case:
    """One network loses a share of 359 images; noise: share that differs at a seed, either way."""

    def draw(random: np.random.Generator, n_seeds: int) -> np.ndarray:
        shape = (n_seeds, 359)
        if at_some_seeds:
            is_hard = random.random((1, 359)) < 2 * share
            chance = np.where(is_hard, random.beta(0.5, 0.5, (1, 359)), 0.0)
            lost = random.random(shape) < chance
        else:
            lost = np.broadcast_to(random.random((1, 359)) < share, shape)
        drawn = random.random(shape)
        either = np.where(drawn < noise / 2, 1.0, np.where(drawn < noise, -1.0, 0.0))
        return np.where(lost, -1.0, either)

    how = " at some seeds" if at_some_seeds else f", {100 * noise:g} % noise" * bool(noise)
    return Case(f"bits, {100 * share:g} points lost{how}", -share, draw)


def probit_case(name: str, means: tuple[float, float], seed_sd: float) -> Case:
    difficulty_sd, network_sd, noise_sd = 1.0, 0.4, 0.6
    latent = math.hypot(seed_sd, difficulty_sd, network_sd, noise_sd)
    first, second = (NormalDist().cdf(mean / latent) for mean in means)

    def draw(random: np.random.Generator, n_seeds: int) -> np.ndarray:
        difficulty = difficulty_sd * random.standard_normal((1, 359))
        right = [
            mean
            + difficulty
            + seed_sd * random.standard_normal((n_seeds, 1))
            + network_sd * random.standard_normal((1, 359))
            + noise_sd * random.standard_normal((n_seeds, 359))
            > 0
            for mean in means
        ]
        return right[0].astype(float) - right[1]

    return Case(name, first - second, draw)


LOST = [
    loss_case(share, noise, at_some_seeds=some)
    for share in (0.003, 0.005, 0.01, 0.02)
    for noise, some in ((0.0, False), (0.01, False), (0.0, True))
]
CASES = [
    *(normal_case(name, sds) for name, sds in FOUND.items()),
    normal_case("seeds vary much", (0.02, 0.11, 0.12, 359)),
    *LOST,
    probit_case("bits, probit, equal near the ceiling", (2.6, 2.6), 0.05),
    probit_case("bits, probit, 80 %", (1.1, 1.0), 0.05),
    probit_case("bits, probit, seeds vary much", (1.1, 1.0), 0.15),
]


# -- The intervals that were not taken ------------------------------------------------------


def quantile(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def peers(table: np.ndarray) -> dict[str, Bounds]:
    n_seeds, n_images = table.shape
    seeds, images = table.mean(axis=1), table.mean(axis=0)
    mean, size = float(seeds.mean()), table.size
    rest = table - images - (seeds - mean)[:, None]
    of_seeds, of_images = n_images * seeds.var(ddof=1), n_seeds * images.var(ddof=1)
    noise = float(np.square(rest).sum()) / ((n_seeds - 1) * (n_images - 1))
    total = max(of_seeds + of_images - noise, 1e-300)
    freedom = total**2 / max(
        of_seeds**2 / (n_seeds - 1)
        + of_images**2 / (n_images - 1)
        + noise**2 / ((n_seeds - 1) * (n_images - 1)),
        1e-300,
    )
    t_seeds = quantile(n_seeds - 1) * math.sqrt(of_seeds / size)
    parts = quantile(n_seeds - 1) ** 2 * max(of_seeds - noise, 0.0)
    parts += quantile(n_images - 1) ** 2 * (noise + max(of_images - noise, 0.0))
    halves = {
        "0.1": max(t_seeds, quantile(max(freedom, 1e-3)) * math.sqrt(total / size)),
        "Satterthwaite": quantile(max(n_seeds - 1, freedom)) * math.sqrt(total / size),
        "large-sample form": math.sqrt(parts / size),
        "t over images": quantile(n_images - 1) * math.sqrt(images.var(ddof=1) / n_images),
        "t over seeds": t_seeds,
    }
    return {name: (mean - half, mean + half) for name, half in halves.items()}


def pigeonhole(random: np.random.Generator, table: np.ndarray, resamples: int = 500) -> Bounds:
    """Percentiles of means over resampled seeds and images."""
    n_seeds, n_images = table.shape

    def counts(n: int) -> np.ndarray:
        drawn = random.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
        return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)

    means = ((counts(n_seeds) @ table) * counts(n_images)).sum(axis=1) / table.size
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


# -- What is measured ----------------------------------------------------------------------


def bounds_of(estimate: Estimate) -> Bounds:
    return estimate.low, estimate.high


def coverage(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of every case, ours and the peers'."""
    names = ("ours", *peers(np.random.default_rng(0).random((3, 3))), "pigeonhole")
    yield f"| case | K | {' | '.join(names)} | of narrowest |"
    yield "|---" * (len(names) + 3) + "|"
    for case in CASES:
        for n_seeds in SEEDS:
            found: dict[str, list[Bounds]] = {name: [] for name in names}
            for number in range(repetitions):
                table = case.draw(random, n_seeds)
                found["ours"].append(bounds_of(over_seeds_and_images(table).estimate(LEVEL)))
                for name, bounds in peers(table).items():
                    found[name].append(bounds)
                if number < repetitions // 10:
                    found["pigeonhole"].append(pigeonhole(random, table))
            covered = {name: share_covered(bounds, case.truth) for name, bounds in found.items()}
            widths = {
                name: median(high - low for low, high in bounds) for name, bounds in found.items()
            }
            enough = [widths[name] for name in names if covered[name] >= ENOUGH]
            narrowest = min(enough, default=math.nan)
            cells = (f"{100 * covered[name]:.1f} ({100 * widths[name]:.2f})" for name in names)
            ratio = widths["ours"] / narrowest if covered["ours"] >= ENOUGH else math.nan
            yield f"| {case.name} | {n_seeds} | {' | '.join(cells)} | {ratio:.2f} |"


def share_covered(bounds: list[Bounds], truth: float) -> float:
    return sum(low <= truth <= high for low, high in bounds) / len(bounds)


def claims(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of two primary contrasts without a difference: how often one is claimed, and how often the
    simultaneous intervals hold both truths."""
    yield "| no true difference, two claims | " + row_of("K = {}", SEEDS) + " |"
    yield "|---" * (1 + len(SEEDS)) + "|"
    for name, sds in FOUND.items():
        case, cells = normal_case(name, sds), []
        for n_seeds in SEEDS:
            false = both = contradictions = 0
            for _ in range(repetitions):
                models = [over_seeds_and_images(case.draw(random, n_seeds)) for _ in range(2)]
                adjusted = holm([model.p() for model in models])
                false += min(adjusted) < ALPHA
                intervals = [
                    simultaneous(model.estimate(1 - ALPHA / 2), is_rejected=p < ALPHA)
                    for model, p in zip(models, adjusted, strict=True)
                ]
                both += all(one.low <= 0 <= one.high for one in intervals)
                contradictions += sum(
                    (p < ALPHA) != (not one.low < 0 < one.high)
                    for one, p in zip(intervals, adjusted, strict=True)
                )
            share = 100 * both / repetitions
            cells.append(f"{100 * false / repetitions:.1f} ({share:.1f}, {contradictions})")
        yield f"| {name} | {' | '.join(cells)} |"


def kept_wrong(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """How often "kept" is said where exactly the margin is lost."""
    yield "| kept, where the margin is lost | " + row_of("K = {}", SEEDS) + " |"
    yield "|---" * (1 + len(SEEDS)) + "|"
    normal = [
        normal_case(f"{name}, {100 * margin:g} points lost", sds, -margin)
        for name, sds in FOUND.items()
        for margin in (0.005, 0.01, 0.02)
    ]
    for case in (*LOST, *normal):
        cells = []
        for n_seeds in SEEDS:
            wrong = 0
            for _ in range(repetitions):
                model = over_seeds_and_images(case.draw(random, n_seeds))
                wrong += noninferiority(model, -case.truth).kept is True
            cells.append(f"{100 * wrong / repetitions:.1f}")
        yield f"| {case.name} | {' | '.join(cells)} |"


def power(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """At a true difference of 2 points, with the power of a z test with known components; and at
    the difference that is planned for 80 %."""
    yield (
        "| power | " + row_of("K = {}: at 2 points (known components), planned 80 %", SEEDS) + " |"
    )
    yield "|---" * (1 + len(SEEDS)) + "|"
    for name, sds in FOUND.items():
        components, cells = Components(*sds[:3], n_seeds=8), []
        for n_seeds in SEEDS:
            error = components.standard_error(n_seeds, sds[3])
            critical = NormalDist().inv_cdf(1 - ALPHA / 2)
            known = 1 - NormalDist().cdf(critical - 0.02 / error)
            at_two = realised(random, normal_case(name, sds, 0.02), n_seeds, repetitions)
            difference = planned_difference(components, n_seeds, sds[3])
            planned = realised(random, normal_case(name, sds, difference), n_seeds, repetitions)
            cells.append(f"{at_two:.2f} ({known:.2f}), {100 * planned:.0f} %")
        yield f"| {name} | {' | '.join(cells)} |"


def realised(random: np.random.Generator, case: Case, n_seeds: int, repetitions: int) -> float:
    found = (over_seeds_and_images(case.draw(random, n_seeds)) for _ in range(repetitions))
    return sum(model.estimate(1 - ALPHA).low > 0 for model in found) / repetitions


def planned_difference(
    components: Components, n_seeds: int, images: int, power: float = 0.8
) -> float:
    """That has this planned power."""
    low, high = 1e-6, 100 * components.standard_error(n_seeds, images)
    for _ in range(50):
        middle = (low + high) / 2
        if planned_power(components, n_seeds, images, middle, ALPHA) < power:
            low = middle
        else:
            high = middle
    return high


def equivalence(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """How often equivalence is claimed where the difference is exactly the margin, alone (nominal
    2.5 %); how often anything is claimed wrongly of that and two contrasts without a difference
    (5 %); how many verdicts contradict their interval; and how often it is claimed where nothing
    differs, at the margin that is planned for 80 %."""
    yield (
        "| equivalence | "
        + row_of("K = {}: wrong, wrong of three (contradictions), planned 80 %", SEEDS)
        + " |"
    )
    yield "|---" * (1 + len(SEEDS)) + "|"
    margin = 0.01
    for name, sds in FOUND.items():
        same, apart = normal_case(name, sds), normal_case(name, sds, margin)
        cells = []
        for n_seeds in SEEDS:
            wrong = any_wrong = contradictions = shown = 0
            components = Components(*sds[:3], n_seeds=8)
            planned = planned_difference(components, n_seeds, sds[3], 0.9)
            for _ in range(repetitions):
                models = [
                    over_seeds_and_images(case.draw(random, n_seeds))
                    for case in (apart, same, same)
                ]
                p = min(1.0, 2 * equivalence_p(models[0], margin))
                wrong += p < ALPHA
                adjusted = holm([p, *(model.p() for model in models[1:])])
                any_wrong += min(adjusted) < ALPHA
                one = simultaneous(
                    models[0].estimate(1 - ALPHA / 3), margin, is_rejected=adjusted[0] < ALPHA
                )
                is_within = -margin <= one.low and one.high <= margin
                contradictions += (adjusted[0] < ALPHA) != is_within
                shown += equivalence_p(models[1], planned) < ALPHA / 2
            cells.append(
                f"{with_error(wrong / repetitions, repetitions)}, "
                f"{with_error(any_wrong / repetitions, repetitions)} ({contradictions}), "
                f"{with_error(shown / repetitions, repetitions)}"
            )
        yield f"| {name} | {' | '.join(cells)} |"
    for case in LOST:
        cells = []
        for n_seeds in SEEDS:
            models = (over_seeds_and_images(case.draw(random, n_seeds)) for _ in range(repetitions))
            wrong = sum(equivalence_p(model, -case.truth) < ALPHA / 2 for model in models)
            cells.append(with_error(wrong / repetitions, repetitions))
        yield f"| {case.name} | {' | '.join(cells)} |"


def seeds_alone(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of differences without images."""
    yield "| seeds alone | " + row_of("K = {}", SEEDS) + " |"
    yield "|---" * (1 + len(SEEDS)) + "|"
    draws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": random.standard_normal,
        "exponential less its mean": lambda n: random.standard_exponential(n) - 1,
    }
    for name, draw in draws.items():
        cells = []
        for n_seeds in SEEDS:
            models: list[MeanModel] = [over_seeds(draw(n_seeds)) for _ in range(repetitions)]
            covered = share_covered([bounds_of(one.estimate(LEVEL)) for one in models], 0.0)
            cells.append(f"{100 * covered:.1f}")
        yield f"| t over seeds, {name} | {' | '.join(cells)} |"


def pooled(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of 3 baselines with 8 seeds each and 2,000 images: seeds averaged within each baseline, so
    that K = 3, and all 24 seeds as pairs, as if baselines did not matter."""
    n_baselines, n_seeds, n_images = 3, 8, 2000
    names = ("seeds averaged, K = 3", "24 seeds as pairs")
    yield f"| 3 baselines x 8 seeds x 2,000 images | {' | '.join(names)} |"
    yield "|---" * 3 + "|"
    for name, (of_seeds, of_images, rest, _) in CIFAR.items():
        for of_baselines in (0.0, 0.005):
            found: tuple[list[Bounds], list[Bounds]] = ([], [])
            for _ in range(repetitions):
                table = (
                    of_baselines * random.standard_normal((n_baselines, 1, 1))
                    + of_seeds * random.standard_normal((n_baselines, n_seeds, 1))
                    + of_images * random.standard_normal(n_images)
                    + rest * random.standard_normal((n_baselines, n_seeds, n_images))
                )
                for bounds, pairs in zip(
                    found, (table.mean(axis=1), table.reshape(-1, n_images)), strict=True
                ):
                    bounds.append(bounds_of(over_seeds_and_images(pairs).estimate(LEVEL)))
            cells = (
                f"{100 * share_covered(bounds, 0.0):.1f} "
                f"({100 * median(high - low for low, high in bounds):.2f})"
                for bounds in found
            )
            yield f"| {name}, baselines {100 * of_baselines:g} points | {' | '.join(cells)} |"


COLLAPSED, BY = 0.05, 0.09
"""Share of the seeds that collapse, and by how much accuracy."""


def collapses(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of seeds that are not normal: some that collapse, and skewed ones (less an exponential), with
    the same deviation as the normal ones of a case."""
    yield "| 95 % intervals, simulation error in brackets | " + row_of("K = {}", SEEDS) + " |"
    yield "|---" * (1 + len(SEEDS)) + "|"
    kinds: dict[str, tuple[float, Callable[[int, float], np.ndarray]]] = {
        f"{100 * COLLAPSED:g} % of the seeds {100 * BY:g} points down": (
            -COLLAPSED * BY,
            lambda n, sd: sd * random.standard_normal(n) - BY * (random.random(n) < COLLAPSED),
        ),
        "skewed seeds": (0.0, lambda n, sd: sd * (1 - random.standard_exponential(n))),
    }
    for kind, (truth, draw) in kinds.items():
        for name, (of_seeds, *others) in FOUND.items():
            of_images, rest, n_images = others
            case, cells = normal_case(name, (0.0, of_images, rest, int(n_images))), []
            for n_seeds in SEEDS:
                found = []
                for _ in range(repetitions):
                    table = draw(n_seeds, of_seeds)[:, None] + case.draw(random, n_seeds)
                    found.append(bounds_of(over_seeds_and_images(table).estimate(LEVEL)))
                cells.append(with_error(share_covered(found, truth), repetitions))
            yield f"| {name}, {kind} | {' | '.join(cells)} |"


def looks(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """How often a difference is claimed where there is none: of 8 seeds looked at once, after 5 and
    8, and after each from the third on."""
    plans = {"once": (8,), "after 5 and 8": (5, 8), "after each of 3 to 8": tuple(range(3, 9))}
    yield f"| no true difference, looked at | {' | '.join(plans)} |"
    yield "|---" * (1 + len(plans)) + "|"
    for name, sds in FOUND.items():
        case, false = normal_case(name, sds), dict.fromkeys(plans, 0)
        for _ in range(repetitions):
            table = case.draw(random, 8)
            is_shown = {}
            for n_seeds in range(3, 9):
                one = over_seeds_and_images(table[:n_seeds]).estimate(LEVEL)
                is_shown[n_seeds] = not one.low <= 0 <= one.high
            for plan, seeds in plans.items():
                false[plan] += any(is_shown[one] for one in seeds)
        cells = (with_error(count / repetitions, repetitions) for count in false.values())
        yield f"| {name} | {' | '.join(cells)} |"


TRIALS, SHARED = 16, 0.5
"""Settings that are tried; the share of the images' variance that they have in common."""


def tuned(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """How often "better" is claimed (nominal 2.5 %) of an arm at the best of some settings, none of
    which differs from the other arm: chosen by one seed on the images that it is scored on, then
    run with new seeds."""
    yield f'| false "better", best of {TRIALS} settings | ' + row_of("K = {}", SEEDS) + " |"
    yield "|---" * (1 + len(SEEDS)) + "|"
    for name, (of_seeds, of_images, rest, n) in FOUND.items():
        cells = []
        for n_seeds in SEEDS:
            false = 0
            for _ in range(repetitions):
                own = math.sqrt(1 - SHARED) * random.standard_normal((TRIALS, n))
                images = of_images * (own + math.sqrt(SHARED) * random.standard_normal((1, n)))
                searched = images.mean(axis=1) + math.hypot(
                    of_seeds, rest / math.sqrt(n)
                ) * random.standard_normal(TRIALS)
                table = (
                    images[searched.argmax()]
                    + of_seeds * random.standard_normal((n_seeds, 1))
                    + rest * random.standard_normal((n_seeds, n))
                )
                false += over_seeds_and_images(table).estimate(LEVEL).low > 0
            cells.append(with_error(false / repetitions, repetitions))
        yield f"| {name} | {' | '.join(cells)} |"


def orders(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Mean squared error of Shapley values from random orders without their reverses, by that from
    pairs, where as many subsets are trained: the fewest orders that visit at least as many, on
    average, as M / 2 pairs do.  Means over games of a kind."""
    yield f"| error of single orders by that of pairs | {row_of('M = {}', ORDERS)} |"
    yield "|---" * (1 + len(ORDERS)) + "|"
    for kind, make in GAMES.items():
        for n in (4, 6, 8):
            cells = []
            games = np.stack([make(random, n) for _ in range(10)])
            exact = [index_weights("abcdefgh"[:n], name) for name in "abcdefgh"[:n]]
            truth = np.stack(
                [sum(w * games[:, mask_of(some)] for some, w in of.items()) for of in exact], axis=1
            )

            def error(drawn: list[np.ndarray], games: Any = games, truth: Any = truth) -> float:
                return float(np.mean([np.square(values(games, one) - truth) for one in drawn]))

            for count in ORDERS:
                pairs = [
                    np.array([["abcdefgh".index(name) for name in order] for order in some])
                    for some in (
                        draw_orders("abcdefgh"[:n], count, int(seed))
                        for seed in random.integers(2**31, size=repetitions)
                    )
                ]
                wanted = float(np.mean([visited(one) for one in pairs]))
                if len(pairs[0]) < count or wanted > 0.9 * 2**n:
                    cells.append("-")  # nearly all subsets: exact values need no more
                    continue
                single_count, seen = count - 1, 0.0
                while seen < wanted:
                    single_count += 1
                    single = [alone(random, n, single_count) for _ in range(repetitions)]
                    seen = float(np.mean([visited(one) for one in single]))
                ratio = error(single) / error(pairs)
                cells.append(f"{ratio:.1f} ({wanted:.0f} and {seen:.0f} of {2**n})")
            yield f"| {kind}, {n} components | {' | '.join(cells)} |"


ORDERS = (4, 8, 16)


def mask_of(some: Iterable[str]) -> int:
    return sum(1 << "abcdefgh".index(name) for name in some)


def alone(random: np.random.Generator, n: int, count: int) -> np.ndarray:
    """Different random orders, `[count, n]`."""
    drawn: dict[tuple[int, ...], None] = {}
    while len(drawn) < min(count, math.factorial(n)):
        drawn[tuple(random.permutation(n).tolist())] = None
    return np.array(list(drawn))


def steps(of: np.ndarray) -> np.ndarray:
    """The subsets after each component of some orders, as bits."""
    return np.cumsum(1 << of, axis=1)


def visited(of: np.ndarray) -> int:
    return 1 + len(np.unique(steps(of)))


def values(games: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The mean gain of each component over some orders, `[games, n]`."""
    after = steps(of)
    gains = games[:, after] - games[:, after - (1 << of)]
    places = np.argsort(of, axis=1)
    return np.take_along_axis(gains, places[None], axis=2).mean(axis=1)


def saturating(random: np.random.Generator, n: int) -> np.ndarray:
    """Each part repairs a share of what the others have left wrong: `[2 ** n]`."""
    shares = random.uniform(0, 0.5, n)
    is_in = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return 1 - np.prod(1 - shares * is_in, axis=1)


def decaying(random: np.random.Generator, n: int) -> np.ndarray:
    """What k parts do together is normal, with half the deviation for each further part."""
    sizes = np.array([one.bit_count() for one in range(2**n)])
    together = 0.5**sizes * random.standard_normal(2**n)
    for place in range(n):  # the sum over all subsets
        for one in range(2**n):
            if one >> place & 1:
                together[one] += together[one ^ 1 << place]
    return together


def thresholds(random: np.random.Generator, n: int) -> np.ndarray:
    """1 where the weights of the parts are above half of all, else 0: all or nothing."""
    weights = random.random(n)
    is_in = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return (is_in @ weights > weights.sum() / 2).astype(float)


GAMES = {"saturating": saturating, "decaying": decaying, "threshold": thresholds}
TYPES, LEVELS, SCORED = 6, 2, 200
"""Types, severities and images of sparse scoring."""


@dataclass(frozen=True)
class Sparse:
    """Two networks that are scored under a share of the cells; bits of a probit model.

    Attributes:
        metric: what is compared, of six types at two severities.
        share: of the cells, of n images.
        mean: latent, of the second network; gain: of the first, in this share of the cells
            (`gaining`).
        families: number of types of each.
    """

    name: str
    metric: str = "val_robust_accuracy"
    share: float = 0.25
    n: int = SCORED
    mean: float = 0.8
    gain: float = 0.1
    gaining: float = 1.0
    families: tuple[int, ...] = (TYPES,)

    def scores(self, n: int, share: float, seed: int) -> Scores:
        kinds = iter([f"type{place}" for place in range(TYPES)])
        families = {
            f"family{place}": [next(kinds) for _ in range(count)]
            for place, count in enumerate(self.families)
        }
        levels = {str(level): 0.0 for level in range(1, LEVELS + 1)}
        accuracies = {kind: dict(levels) for of in families.values() for kind in of}
        design = {"cell_share": share, "cell_seed": seed}
        return Scores("val", n, 0.0, accuracies, families, **design)

    def truth(self, chances: np.ndarray) -> float:
        """Of a network that is right this often, `[cells]`."""
        scores, by_type = self.scores(1, 1.0, 0), chances.reshape(TYPES, LEVELS)
        accuracies = {
            kind: dict(zip(levels, of.tolist(), strict=True))
            for (kind, levels), of in zip(scores.accuracies.items(), by_type, strict=True)
        }
        return replace(scores, accuracies=accuracies).metrics()[self.metric]

    def shares(self, right: np.ndarray, scores: Scores) -> tuple[Shares, Shares]:
        """Of both networks, `[K, n]`, through their bits."""
        n_cells, n = right.shape[2:]
        scored = scored_cells(n, n_cells, scores.cell_share, scores.cell_seed)
        clean = np.zeros(n, dtype=np.bool_)
        first, second = (
            image_shares(
                unpack_bits([pack_row(np.concatenate([clean, one[scored]])) for one in of], scores),
                *(scores, self.metric),
            )
            for of in right
        )
        assert first is not None
        assert second is not None
        return first, second

    def draw(self, random: np.random.Generator, n_seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """Whether each network is right, `[2, K, cells, n]`, and how often it is, `[2, cells]`."""
        n_cells, n = TYPES * LEVELS, self.n
        of_cells = np.linspace(0.6, -0.6, n_cells)  # some types are harder
        gains = np.where(np.arange(n_cells) % 3 < 3 * self.gaining, self.gain, 0.0)
        means = self.mean + np.stack([of_cells + gains, of_cells])
        parts = [
            *((0.8, (1, 1, 1, n)), (0.6, (1, 1, n_cells, n))),
            *((0.3, (2, 1, 1, n)), (0.3, (2, 1, n_cells, n))),
            *((0.05, (2, n_seeds, 1, 1)), (0.05, (2, n_seeds, n_cells, 1))),
            (0.6, (2, n_seeds, n_cells, n)),
        ]
        latent = means[:, None, :, None] + sum(
            sd * random.standard_normal(shape, dtype=np.float32) for sd, shape in parts
        )
        spread = math.hypot(*(sd for sd, _ in parts))
        chances = [[NormalDist().cdf(mean / spread) for mean in of] for of in means]
        return latent > 0, np.array(chances)


ONE_CELL = 1 / (TYPES * LEVELS)
SPARSE = [
    Sparse("robust accuracy"),
    Sparse("a third of the cells gains", gain=0.6, gaining=1 / 3),
    Sparse("mean over unequal families", families=(1, 2, 3)),
    Sparse("near the ceiling", mean=3.0, gain=0.0),
    Sparse("one type", "val_accuracy.type0"),
    Sparse("one cell", "val_accuracy.type0.1"),
    Sparse("one cell an image", share=ONE_CELL),
    Sparse("30 images, 3 a cell", share=0.1, n=30),
]


COMPARED = 1
"""Of so many cases, the first ones, the others' intervals are given too."""


def sparse(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of two networks, each image of which is scored under a share of the cells; of the first case
    beside all cells, and all cells of fewer images, as many passes."""
    names = ("sparse", "all cells", "as many passes, all cells of fewer images")
    yield f"| sparse scoring, 95 % intervals | K | {' | '.join(names)} |"
    yield "|---" * 5 + "|"
    for place, case in enumerate(SPARSE):
        few = max(2, round(case.n * case.share))
        for n_seeds in (3, 8):
            found: dict[str, list[Bounds]] = {name: [] for name in names}
            for number in range(repetitions):
                right, chances = case.draw(random, n_seeds)
                # A design for some repetitions in a row, because making one takes time.
                share = [case.shares(right, case.scores(case.n, case.share, number // 20))]
                if place < COMPARED:
                    share.append(case.shares(right, case.scores(case.n, 1.0, 0)))
                    share.append(case.shares(right[..., :few], case.scores(few, 1.0, 0)))
                truth = case.truth(chances[0]) - case.truth(chances[1])
                for name, (one, other) in zip(names, share, strict=False):
                    estimate = over_seeds_and_images(one - other).estimate(LEVEL)
                    found[name].append((estimate.low - truth, estimate.high - truth))
            cells = (
                f"{with_error(share_covered(bounds, 0.0), repetitions)} "
                f"{100 * median(high - low for low, high in bounds):.2f}"
                for bounds in filter(None, found.values())
            )
            yield f"| {case.name}, {case.share:.3g} of {case.n} | {n_seeds} | {' | '.join(cells)} |"


LOOKS, SHARES = (4, 5, 6, 8), (0.0, 0.5, 0.8, 0.95, 1.0)
"""Replicates at the looks; the images' share of the variance of a mean over all of them."""
N_IMAGES = 5000
POWERS = {"quadratic": 2, "cubic": 3, "quartic": 4}
ACROSS, AMONG = ((0, 3), (1, 3), (2, 3)), ((0, 1), (0, 2), (1, 2))


def stop(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of replicates that are looked at: three arms, compared with a fourth or with each other.

    How often a true null hypothesis is rejected, over all patterns of true ones; and where all
    three differ from the fourth, by so many deviations of a replicate's difference: power of Holm's
    test of a fixed design, power with looks as a ratio to it, and the share of all runs.
    """
    yield f"| a false claim, images' share | {' | '.join(f'{share:g}' for share in SHARES)} |"
    yield "|---" * (1 + len(SHARES)) + "|"
    patterns = {
        "to a fourth, all null": (ACROSS, (0, 0, 0, 0)),
        "to a fourth, two null": (ACROSS, (3, 0, 0, 0)),
        "to a fourth, one null": (ACROSS, (3, 3, 0, 0)),
        "each other, all null": (AMONG, (0, 0, 0)),
        "each other, one null": (AMONG, (3, 0, 0)),
    }
    for spending in POWERS:
        for name, (contrasts, arms) in patterns.items():
            null, cells = [arms[one] == arms[to] for one, to in contrasts], []
            for share in SHARES:
                drawn = means_of(random, repetitions, arms, share)
                shown, _ = looked_at(drawn, contrasts, LOOKS, spending)
                false = float(shown[:, null].any(axis=1).mean())
                cells.append(with_error(false, repetitions))
            yield f"| {spending}, {name} | {' | '.join(cells)} |"
    yield ""
    differences = (1.25, 1.5, 2.0, 3.0)
    yield "| power of Holm, by it, runs | " + row_of("{}", differences) + " |"
    yield "|---" * (1 + len(differences)) + "|"
    for spending in POWERS:
        for share in SHARES[:2]:
            cells = []
            for difference in differences:
                arms = (difference,) * 3 + (0,)
                drawn = means_of(random, repetitions, arms, share)
                whole = looked_at(drawn, ACROSS, LOOKS[-1:], spending)[0].mean()
                shown, runs = looked_at(drawn, ACROSS, LOOKS, spending)
                cells.append(f"{whole:.3f}, {shown.mean() / whole:.3f}, {runs.mean():.2f}")
            yield f"| {spending}, images' share {share:g} | {' | '.join(cells)} |"


def means_of(
    random: np.random.Generator, n: int, arms: tuple[float, ...], share: float
) -> tuple[np.ndarray, float]:
    """`[n, arm, replicate]` of these means, where a difference of two arms has a deviation of 1
    over replicates (0 where images alone vary), and what the images add to the variance of a mean
    difference: of many images, which are the same for all replicates, it is known."""
    of_images = share / (1 - share) / LOOKS[-1] if share < 1 else 1.0
    tables = random.standard_normal((n, len(arms), LOOKS[-1])) * math.sqrt(0.5 * (share < 1))
    tables += random.standard_normal((n, len(arms), 1)) * math.sqrt(of_images / 2)
    return tables + np.array(arms)[:, None], of_images


def looked_at(
    drawn: tuple[np.ndarray, float],
    contrasts: tuple[tuple[int, int], ...],
    looks: tuple[int, ...],
    kind: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Which contrasts are shown, `[n, contrast]`, and the share of all runs that were made, `[n]`.

    As `take_look` with equal weights and transitions, which is compared with it for the first; all
    at once, because one at a time takes a thousand times as long. A look alone is a fixed design.
    """
    tables, of_images = drawn
    n, n_arms, last = tables.shape
    nominal = np.array(
        [nominal_levels(ALPHA / max(1, count), looks, POWERS[kind]) for count in range(4)]
    )
    pairs = [tables[:, one] - tables[:, to] for one, to in contrasts]
    shown, runs, before = np.zeros((n, len(contrasts)), bool), np.zeros(n), 0
    for place, look in enumerate(looks):
        goes = np.zeros((n, n_arms), bool)
        for at, pair in enumerate(contrasts):
            goes[:, pair] |= ~shown[:, at, None]
        runs += goes.sum(axis=1) * (look - before) / (n_arms * last)
        before = look
        for _ in contrasts:
            alpha = nominal[(~shown).sum(axis=1), place]
            for at, pair in enumerate(pairs):
                half = half_widths(pair[:, :look], of_images, alpha, is_fixed=len(looks) == 1)
                shown[:, at] |= np.abs(pair[:, :look].mean(axis=1)) >= half
    for tested, found in zip(tables[:10], shown, strict=False):
        record: Look | None = None
        for look in looks if len(looks) > 1 else ():
            measured = []
            for one, to in contrasts:
                model = model_of((tested[one] - tested[to])[:look], of_images)
                measured.append(Measured(f"{one} - {to}", "", (str(one), str(to)), model, "better"))
            settings = StopSettings(looks=looks, spending=kind)
            record = take_look(settings, look, measured, record)
        assert not record or [one.verdict in DECIDED for one in record.decisions] == [*found]
    return shown, runs


def half_widths(
    pairs: np.ndarray, of_images: float, alpha: np.ndarray, *, is_fixed: bool
) -> np.ndarray:
    """Of a fixed design those of `over_seeds_and_images`, at looks those of `repeated_model`."""
    k = pairs.shape[1]
    of_replicates = pairs.var(axis=1, ddof=1) / k
    parts = stdtrit(k - 1, alpha / 2) ** 2 * of_replicates
    parts += stdtrit(N_IMAGES - 1, alpha / 2) ** 2 * of_images
    if is_fixed:
        total = of_replicates + of_images
        spread = of_replicates**2 / (k - 1) + of_images**2 / (N_IMAGES - 1)
        parts = np.maximum(parts, stdtrit(total**2 / spread, alpha / 2) ** 2 * total)
    return np.sqrt(parts)


def model_of(differences: np.ndarray, of_images: float) -> MeanModel:
    k, sd = len(differences), float(differences.std(ddof=1))
    total = sd**2 / k + of_images
    parts = (total, k - 1, sd**2 / k, of_images, N_IMAGES - 1)
    return MeanModel(float(differences.mean()), sd, k, OVER_SEEDS_AND_IMAGES, *parts)


STATED = 0.005
"""The stated clean loss."""


@dataclass(frozen=True)
class Curves:
    """Two methods, whose networks at eleven alphas lose clean and gain robust accuracy.

    Attributes:
        drops, gains: latent, of the finetuned network of either method, in clean and in robust
            accuracy; power: of alpha in the drop.
        seed_sd: latent, of both.
    """

    name: str
    drops: tuple[float, float] = (0.3, 0.25)
    gains: tuple[float, float] = (0.8, 0.7)
    power: float = 2.0
    seed_sd: float = 0.03
    n: int = 1000

    def means(self, of_seeds: np.ndarray) -> np.ndarray:
        """Latent, `[clean and robust, methods, K, alphas, 1]`.

        Args:
            of_seeds: standard normal, `[2, 2, K]`.
        """
        alphas = np.linspace(0, 1, 11)
        moved = np.stack([-np.outer(self.drops, alphas**self.power), np.outer(self.gains, alphas)])
        seeds = self.seed_sd * of_seeds[..., None] * alphas
        start = np.array([1.6, 0.2])[:, None, None, None]
        return (start + moved[:, :, None] + seeds)[..., None]

    def spread(self) -> np.ndarray:
        """Of the latent value of an image at each alpha."""
        return np.sqrt(1 + np.linspace(0, 1, 11) ** 2 * (0.25**2 + 0.25**2))

    def draw(self, random: np.random.Generator, n_seeds: int) -> np.ndarray:
        """Whether each network is right, `[2, 2, K, 11, n]`."""
        shape, alphas = (2, 2, n_seeds, 1, self.n), np.linspace(0, 1, 11)[:, None]
        ease = random.standard_normal((self.n,))
        hard = 0.6 * ease + 0.8 * random.standard_normal((self.n,))
        own = 0.25 * random.standard_normal((2, 2, 1, 1, self.n))
        own = own + 0.25 * random.standard_normal(shape)
        images = np.stack([ease, hard])[:, None, None, None]
        return self.means(random.standard_normal((2, 2, n_seeds))) + images + alphas * own > 0

    def truth(self, random: np.random.Generator) -> float:
        """The difference over new seeds and all images."""
        latent = self.means(random.standard_normal((2, 2, 4000)))[..., 0] / self.spread()
        clean, robust = ndtr(latent)
        values = [
            [at_loss(*curves)[0] for curves in zip(*of, strict=True)]
            for of in zip(clean, robust, strict=True)
        ]
        return float(np.mean(values[0]) - np.mean(values[1]))


def at_loss(clean: np.ndarray, robust: np.ndarray) -> tuple[float, tuple[int, float]]:
    point = loss_point(clean.tolist(), STATED)
    return point.mixed(robust.tolist()), point


CURVES = [
    Curves("both lose more than is stated"),
    Curves("steep at the end", power=6.0),
    Curves("linear", power=1.0),
    Curves("no true difference", drops=(0.3, 0.3), gains=(0.8, 0.8)),
    Curves("one never loses as much", drops=(0.3, 0.0)),
    Curves("both lose just that much", drops=(0.045, 0.045), gains=(0.8, 0.8)),
    Curves("seeds vary much", seed_sd=0.15),
    Curves("200 images", n=200),
]


def clean_loss(random: np.random.Generator, repetitions: int) -> Iterator[str]:
    """Of robust accuracy at a clean loss of half a point, read off each run's curve on the images
    that it is scored on: beside it the bias, in points."""
    yield "| at a stated clean loss, 95 % intervals | " + row_of("K = {}: bias", (3, 8)) + " |"
    yield "|---" * 3 + "|"
    for case in CURVES:
        truth, cells = case.truth(random), []
        for n_seeds in (3, 8):
            bounds, means = list[Bounds](), list[float]()
            for _ in range(repetitions):
                right = case.draw(random, n_seeds).astype(np.float64)
                tables = []
                for clean, robust in zip(*right, strict=True):
                    points = [loss_point(of.mean(axis=1).tolist(), STATED) for of in clean]
                    places = [(0, place, place + 1) for place, _ in points]
                    tables.append(
                        [
                            contributions(one[[*at]], other[[*at]], point.share)
                            for one, other, at, point in zip(
                                clean, robust, places, points, strict=True
                            )
                        ]
                    )
                estimate = over_seeds_and_images(np.subtract(*tables)).estimate(LEVEL)
                bounds.append(bounds_of(estimate))
                means.append(estimate.mean)
            width = 100 * median(high - low for low, high in bounds)
            covered = with_error(share_covered(bounds, truth), repetitions)
            cells.append(f"{covered} {width:.2f}: {100 * (np.mean(means) - truth):+.2f}")
        yield f"| {case.name} | {' | '.join(cells)} |"


def with_error(share: float, repetitions: int) -> str:
    """A share in percent, with the standard error of a simulation."""
    return f"{100 * share:.1f} ({100 * math.sqrt(share * (1 - share) / repetitions):.1f})"


def row_of(text: str, numbers: tuple[float, ...]) -> str:
    return " | ".join(text.format(number) for number in numbers)


_ALL = (
    *(coverage, claims, kept_wrong, equivalence, power),
    *(seeds_alone, pooled, collapses, looks, tuned, orders, sparse, clean_loss, stop),
)
PARTS = {part.__name__: part for part in _ALL}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, help="Only this part.")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    print(
        f"{os.cpu_count()} CPUs, one used; Python {sys.version.split()[0]}, NumPy "
        f"{np.__version__}, SciPy {scipy.__version__}; {options.repetitions} repetitions, seed "
        f"{options.seed}"
    )
    began = time.monotonic()
    for part in PARTS if options.part is None else (options.part,):
        print()
        for line in PARTS[part](random, options.repetitions):
            print(line, flush=True)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
