"""Robust accuracy at equal clean accuracy, on the networks between baseline and finetuned weights
of an ablation (`finetune.interpolation`), with intervals over seeds and images.

Where one method's curve has lost a point of clean accuracy is itself measured on images, so the
images count twice: in the robust accuracy, and in the alpha at which it is read.

    python benchmarks/clean_loss.py runs/defaults_methods_digits_10

draws studies from a study, with its seeds and images as the population, and counts how often the
interval of one of them holds the difference in the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import ablate
from ablate.ablation.intervals import Estimate, t_interval
from ablate.files.cache import cache_folder
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.open_study import read_bits
from ablate.lifecycle.place import locate
from ablate.robustness.bits import image_shares, unpack_bits
from ablate.study.interpolation import CURVE_METRICS, bits_name
from ablate.study.scores import Scores
from ablate.trial.workbench import Workbench

Floats = NDArray[np.float64]

RESAMPLES = 2000
_ROUNDING = 1e-9
"""Of a clean loss, which is a number of images."""


def at_clean_loss(clean: Floats, robust: Floats, loss: float) -> Floats:
    """Robust accuracy where a curve has lost this much clean accuracy to its baseline.

    Linear between its networks, from the finetuned one towards the baseline; of the finetuned one
    if it has lost less.

    Args:
        clean, robust: `[..., alphas]`, from the baseline to the finetuned network.
        loss: as a fraction.

    Returns:
        `[...]`.
    """
    lower = clean[..., 0] - loss - _ROUNDING
    found, is_found = robust[..., -1].copy(), clean[..., -1] >= lower
    for place in range(clean.shape[-1] - 2, -1, -1):
        here = (clean[..., place] >= lower) & ~is_found
        higher, rise = clean[..., place + 1], clean[..., place] - clean[..., place + 1]
        share = (lower - higher) / np.where(here, rise, 1.0)
        between = robust[..., place + 1] + share * (robust[..., place] - robust[..., place + 1])
        found, is_found = np.where(here, between, found), is_found | here
    return found


def curve_of(row: RowRecord, baseline: Scores) -> tuple[Floats, Floats]:
    """Clean and robust accuracy of a run, `[alphas]`; of one without a curve at 0 and 1."""
    assert isinstance(row.scores, Scores)
    scores = [baseline, row.scores] if row.path is None else row.path.all_scores(row.scores)
    return (
        np.array([one.clean_accuracy for one in scores]),
        np.array([one.robust_accuracy for one in scores]),
    )


class CurveBits(NamedTuple):
    """What the networks of the runs of a method got of each image.

    Attributes:
        clean: `[runs, alphas, n]`; robust: `[runs, alphas, n_corrupted]`.
    """

    clean: Floats
    robust: Floats

    @classmethod
    def of(cls, rows: Sequence[RowRecord], bits: Mapping[int, Mapping[str, str]]) -> CurveBits:
        found: dict[str, list[Floats]] = {metric: [] for metric in CURVE_METRICS}
        for row in rows:
            assert isinstance(row.scores, Scores)
            assert row.path is not None
            texts = [bits[row.number][bits_name(alpha)] for alpha in row.path.alphas]
            of_all = unpack_bits(texts, row.scores)
            for metric, shares in found.items():
                one = image_shares(of_all, row.scores, metric)
                assert one is not None
                shares.append(one)
        return cls(*(np.stack(shares) for shares in found.values()))


def at_equal_clean(
    one: CurveBits,
    other: CurveBits,
    loss: float,
    corrupted: NDArray[np.int64],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The robust accuracy of a method less that of another, both at this clean loss.

    The interval is that of 95 % of the resamples of seeds and images, both drawn with replacement,
    the same draws for both methods and all their networks (Owen 2007, arXiv:0712.1111).  It is
    never narrower than Student's t over the seeds, because few seeds vary too little when drawn.

    Args:
        one, other: run by run of the same seeds, from the same baseline.
        corrupted: `[n_corrupted]`, which of the n images each corrupted copy has.
        seed: of the draws.
    """
    n_seeds, _, n = one.clean.shape
    drawn = np.random.default_rng(seed)
    seeds, images = (
        np.stack([np.bincount(draw, minlength=count) for draw in draws]).astype(np.float64)
        for count in (n_seeds, n)
        for draws in [drawn.integers(0, count, (resamples, count))]
    )
    # First the images as they are, then as drawn.
    images = np.concatenate([np.ones((1, n)), images])
    of_copies = images[:, corrupted]

    def values(method: CurveBits) -> Floats:
        clean = np.einsum("bn,kan->bka", images, method.clean, optimize=True) / n
        robust = np.einsum("bn,kan->bka", of_copies, method.robust, optimize=True)
        return at_clean_loss(clean, robust / of_copies.sum(axis=1)[:, None, None], loss)

    differences = values(one) - values(other)  # [1 + resamples, runs]
    means = (seeds * differences[1:]).sum(axis=1) / n_seeds
    of_both = np.quantile(means, [0.025, 0.975])
    of_seeds = t_interval(differences[0])
    return replace(
        of_seeds,
        low=float(np.fmin(of_seeds.low, of_both[0])),  # of equal seeds there is none
        high=float(np.fmax(of_seeds.high, of_both[1])),
        method="resampled seeds and images",
    )


def methods_of(
    folder: Path, record: StudyRecord, cells: Mapping[str, Sequence[RowRecord]]
) -> tuple[dict[str, CurveBits], NDArray[np.int64]]:
    """The bits of each method, and which images its corrupted copies have.

    Args:
        folder: of the study's run, whose data are read where copies do not have all images.
        cells: the runs of each method, in the order of their seeds.
    """
    bits, _ = read_bits(locate(str(folder)))
    methods = {name: CurveBits.of(rows, bits) for name, rows in cells.items()}
    first = next(iter(methods.values()))
    n = first.clean.shape[-1]
    if first.robust.shape[-1] == n:
        return methods, np.arange(n)
    bench = Workbench.get(record.study, folder, cache_folder())
    places = bench.corrupted_places(bench.dataset.validation)
    assert places is not None
    return methods, places.numpy()


def differences_to_first(
    folder: Path,
    record: StudyRecord,
    cells: Mapping[str, Sequence[RowRecord]],
    losses: Sequence[float],
) -> dict[str, list[Estimate]]:
    """Each method less the first at equal clean accuracy, in points, by clean loss; arguments as of
    `methods_of`."""
    methods, places = methods_of(folder, record, cells)
    first, *others = methods.values()
    names = [*methods][1:]
    return {
        name: [at_equal_clean(method, first, loss, places).times(100) for loss in losses]
        for name, method in zip(names, others, strict=True)
    }


# -- How often the interval holds the difference


def coverage(
    one: CurveBits,
    other: CurveBits,
    loss: float,
    corrupted: NDArray[np.int64],
    *,
    repetitions: int,
    random: np.random.Generator,
) -> tuple[float, float]:
    """The share of intervals that hold the difference, and their median width.

    Args:
        one, other, loss, corrupted: as of `at_equal_clean`; the population.
    """
    n_seeds, _, n = one.clean.shape
    place = np.full(n, -1)
    place[corrupted] = np.arange(len(corrupted))
    difference = at_equal_clean(one, other, loss, corrupted).mean
    found = []
    for repetition in range(repetitions):
        images, seeds = random.integers(0, n, n), random.integers(0, n_seeds, n_seeds)
        there = np.flatnonzero(place[images] >= 0)
        copies = place[images][there]
        first, second = (
            CurveBits(method.clean[seeds][:, :, images], method.robust[seeds][:, :, copies])
            for method in (one, other)
        )
        drawn = at_equal_clean(first, second, loss, there, seed=repetition, resamples=400)
        found.append(drawn)
    held = [estimate.low <= difference <= estimate.high for estimate in found]
    return float(np.mean(held)), float(np.median([one.high - one.low for one in found]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of intervals at equal clean accuracy.")
    parser.add_argument("folder", type=Path, help="run of defaults.py methods")
    parser.add_argument("--repetitions", type=int, default=150)
    options = parser.parse_args()
    record = ablate.read(options.folder)
    cells: dict[str, list[RowRecord]] = {}
    for row in sorted(record.complete, key=lambda row: row.pair or 0):
        cells.setdefault(row.cell or "", []).append(row)
    methods, places = methods_of(options.folder, record, cells)
    first, *others = methods
    random = np.random.default_rng(5)
    for name in others:
        for loss in (0.01, 0.02):
            share, width = coverage(
                methods[name],
                methods[first],
                loss,
                places,
                repetitions=options.repetitions,
                random=random,
            )
            print(f"{name} less {first} at {loss:.0%}: {share:.1%}, width {100 * width:.2f}")


if __name__ == "__main__":
    main()
