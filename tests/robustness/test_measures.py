"""Measures against numbers worked out by hand, and SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from ablate.robustness.corruption import BENCHMARK
from ablate.robustness.measures import (
    ALEXNET_CLEAN_ERROR,
    ALEXNET_MEAN_ERRORS,
    alexnet_errors,
    calibration_error,
    mean_corruption_error,
    mean_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (3, 7), (870, 1000)])
def test_the_interval_is_that_of_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_mean_counts_images() -> None:
    shares = np.array([0.0, 1.0, 1.0, 1.0])
    half = 1.959964 * 0.5 / math.sqrt(4)  # the deviation of 0, 1, 1, 1 is 0.5
    assert mean_interval(shares) == pytest.approx((0.75 - half, 1.0), abs=1e-6)
    # Copies that are all alike say no more than one of them.
    assert mean_interval(shares[:1]) == (0.0, 1.0)
    # Where no image differs, the deviation says nothing, and the count of images still does.
    assert mean_interval(np.ones(9)) == wilson_interval(9, 9)
    assert mean_interval(np.zeros(9)) == wilson_interval(0, 9)


def test_calibration_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 0.5, 0.55], dtype=np.float32)
    correct = np.array([True, False, True, True])
    # Fifteen bins: the last one holds two, 0.97 sure and half right; .5 and .55 have one each.
    assert calibration_error(confidence, correct) == pytest.approx(
        (2 * abs(0.97 - 0.5) + 0.5 + 0.45) / 4
    )


def test_calibration_at_the_borders() -> None:
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert calibration_error(np.array([0.0]), np.array([False])) == 0
    # 0.2 is in the third bin, what is above it in the fourth: apart, their errors do not cancel.
    assert calibration_error(np.array([0.2, 0.21]), np.array([True, False])) == (
        pytest.approx((0.8 + 0.21) / 2)
    )
    assert math.isnan(calibration_error(np.array([]), np.array([], dtype=bool)))


def test_mean_corruption_error_by_hand() -> None:
    errors = {"fog": [0.1, 0.3], "snow": [0.2, 0.4]}
    reference = {"fog": [0.4, 0.4], "snow": [0.5, 0.7]}
    # fog: 0.4 / 0.8, snow: 0.6 / 1.2
    assert mean_corruption_error(errors, reference) == pytest.approx(0.5)
    assert mean_corruption_error(reference, reference) == pytest.approx(1)


def test_relative_mean_corruption_error_by_hand() -> None:
    errors = {"fog": [0.1, 0.3], "snow": [0.2, 0.4]}
    reference = {"fog": [0.4, 0.4], "snow": [0.5, 0.7]}
    # fog: (0 + 0.2) / (0.2 + 0.2), snow: (0.1 + 0.3) / (0.3 + 0.5)
    found = mean_corruption_error(errors, reference, 0.1, 0.2)
    assert found == pytest.approx(0.5)


def test_alexnet_by_hand() -> None:
    assert set(ALEXNET_MEAN_ERRORS) == set(BENCHMARK)
    errors = {kind: [error] * 5 for kind, error in ALEXNET_MEAN_ERRORS.items()}
    assert mean_corruption_error(errors, alexnet_errors()) == pytest.approx(1)
    # Half of AlexNet's on one of fifteen: .443214 over five severities, however they are spread.
    errors["gaussian_noise"] = [0.1, 0.2, 0.5, 0.6, 5 * 0.443214 - 1.4]
    assert mean_corruption_error(errors, alexnet_errors()) == pytest.approx(14.5 / 15)
    # Relative: with AlexNet's clean error 14 are 1; of the noise (.443214 - .43478) is left of
    # (.886428 - .43478).
    found = mean_corruption_error(errors, alexnet_errors(), 0.43478, ALEXNET_CLEAN_ERROR)
    assert found == pytest.approx((14 + 0.008434 / 0.451648) / 15)
