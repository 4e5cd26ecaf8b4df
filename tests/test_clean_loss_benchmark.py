"""Robust accuracy at equal clean accuracy, which README compares methods by: its value by hand, and
its interval where the answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from clean_loss import CurveBits, at_clean_loss, at_equal_clean

N, RUNS = 400, 5


@pytest.mark.parametrize(
    ("loss", "expected"), [(0.0, 0.4), (0.01, 0.5), (0.03, 0.65), (0.04, 0.7), (0.5, 0.7)]
)
def test_a_curve_is_read_between_its_networks(loss: float, expected: float) -> None:
    clean, robust = np.array([0.90, 0.88, 0.86]), np.array([0.4, 0.6, 0.7])
    assert at_clean_loss(clean, robust, loss) == pytest.approx(expected)
    both = at_clean_loss(np.stack([clean, clean]), np.stack([robust, robust + 0.1]), loss)
    assert both == pytest.approx([expected, expected + 0.1])


def test_a_network_that_loses_less_than_one_between_is_taken() -> None:
    assert at_clean_loss(np.array([0.9, 0.5, 0.9]), np.array([0.4, 0.2, 0.7]), 0.0) == 0.7


def drawn(seed: int, rate: float, clean: float = 1.0, *, same: bool = False) -> CurveBits:
    """Baseline and finetuned network of some runs; of the same one with `same`."""
    random = np.random.default_rng(seed)
    of_clean = np.ones((RUNS, 2, N))
    of_clean[:, 1, : round(N * (1 - clean))] = 0
    robust = (random.random((1 if same else RUNS, 1, N)) < rate).astype(float)
    runs = np.broadcast_to(robust, (RUNS, 2, N)).copy()
    runs[:, 0] = 0  # the baseline
    return CurveBits(of_clean, runs)


def test_of_equal_runs_the_interval_is_that_of_the_images() -> None:
    one, other = drawn(0, 0.8, same=True), drawn(1, 0.6, same=True)
    found = at_equal_clean(one, other, 0.01, np.arange(N))
    differences = (one.robust - other.robust)[0, 1]
    assert found.mean == pytest.approx(differences.mean())
    half = 1.96 * differences.std() / N**0.5
    assert found.low == pytest.approx(found.mean - half, abs=0.12 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.12 * half)
    again = at_equal_clean(one, other, 0.01, np.arange(N))
    assert found == again
    assert found != at_equal_clean(one, other, 0.01, np.arange(N), seed=1)


def test_images_decide_where_a_curve_is_read() -> None:
    """Half of the finetuned network's way is taken: how much varies with the clean images."""
    one, other = drawn(0, 1.0, clean=0.98, same=True), drawn(1, 0.0, same=True)
    found = at_equal_clean(one, other, 0.01, np.arange(N))
    assert found.mean == pytest.approx(0.5)
    # One point of a loss of 2 points with a standard error of .7: the share is .01 / loss.
    assert found.low == pytest.approx(0.01 / (0.02 + 1.96 * 0.007), abs=0.05)
    assert found.high == pytest.approx(1.0, abs=0.05)
