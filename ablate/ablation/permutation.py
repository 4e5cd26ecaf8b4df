"""Sign-flip test: could the mean difference over paired seeds be luck?

Where the two networks of a pair do not differ, a difference is as likely with either sign.
Source: Fisher 1935, The Design of Experiments, sec. 21; the +1 of the random one: Phipson and
Smyth 2010, arXiv:1603.05766.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.intervals import as_differences
from ablate.errors import ParameterError, did_you_mean

Alternative = Literal["two-sided", "greater"]

MOST_EXACT = 16
"""Seeds up to which all 2^K sign vectors are looked at."""

FLIPS = 100_000

_CHUNK = 10_000
_TIE = 1e-9


@dataclass(frozen=True)
class PermutationTest:
    """What a test over paired seeds says.

    Attributes:
        p: NaN of no seed.
        least_p: the smallest p that so many seeds allow, however large the differences: 2 / 2^K
            two-sided, 1 / 2^K one-sided, and no less than 1 / (FLIPS + 1) where signs are drawn.
        exact: whether all sign vectors were looked at.
    """

    p: float
    least_p: float
    exact: bool


def sign_flip_test(
    differences: np.ndarray,
    *,
    shift: float = 0.0,
    alternative: Alternative = "two-sided",
    seed: int = 0,
) -> PermutationTest:
    """The share of sign vectors with which the mean is at least as far out as it is.

    Exact up to 16 seeds; above, of 100,000 vectors drawn at random, the observed one counted with
    them. Sums that differ by less than 1e-9 of the sum of all sizes are tied, and ties count as at
    least as far out.

    Args:
        differences: `[K]`, one a seed, of two networks with the same seed.
        shift: added to every difference: the hypothesis that is tested is a mean of -shift.
        alternative: "greater" asks only whether the mean is above it.
        seed: of the drawn vectors.

    Returns:
        K = 0: NaN. K = 1: two-sided 1. All differences zero: 1.

    Raises:
        ParameterError: if the shape is another, a difference is not finite, or the alternative is
            unknown.
    """
    if alternative not in get_args(Alternative):
        fix = did_you_mean(alternative, get_args(Alternative))
        raise ParameterError(f"alternative: unknown alternative, got {alternative!r}. {fix}")
    values = as_differences(differences, "K") + shift
    n = len(values)
    if n == 0:
        return PermutationTest(math.nan, math.nan, True)
    least = (2 if alternative == "two-sided" else 1) / 2**n
    slack = _TIE * float(np.abs(values).sum())
    observed = float(values.sum())
    if n <= MOST_EXACT:
        hits = _count(_all_sums(values), observed, slack, alternative)
        return PermutationTest(hits / 2**n, least, True)
    generator = np.random.default_rng(seed)
    hits = 0
    for _ in range(FLIPS // _CHUNK):
        is_kept = generator.integers(0, 2, (_CHUNK, n), dtype=np.int8)
        hits += _count(2 * (is_kept @ values) - observed, observed, slack, alternative)
    return PermutationTest((hits + 1) / (FLIPS + 1), max(least, 1 / (FLIPS + 1)), False)


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of all 2^K sign vectors."""
    sums: NDArray[np.float64] = _all_signs(len(values)) @ values
    return sums


@lru_cache(maxsize=2)
def _all_signs(n: int) -> NDArray[np.float64]:
    """`[2^n, n]`, kept: the tests of a study are mostly over the same number of seeds."""
    is_kept = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.where(is_kept, 1.0, -1.0)


def _count(
    sums: NDArray[np.float64], observed: float, slack: float, alternative: Alternative
) -> int:
    if alternative == "two-sided":
        sums, observed = np.abs(sums), abs(observed)
    return int(np.count_nonzero(sums >= observed - slack))
