"""Corruptions of this project's own: their values, and what contains them."""

from __future__ import annotations

import pytest
import torch

from ablate.distortion.random import make_generator
from ablate.robustness.corruption import load


@pytest.mark.parametrize(("severity", "loss"), [(1, 0.2), (2, 0.35), (3, 0.5), (4, 0.7), (5, 0.9)])
@pytest.mark.parametrize("shape", [(1, 3, 33, 33), (1, 1, 97, 129)])
def test_vignette_keeps_the_centre_and_darkens_by_the_square_of_the_distance(
    shape: tuple[int, ...], severity: int, loss: float
) -> None:
    ones = torch.ones(shape)
    (image,) = load("vignette")(ones, severity, make_generator(0, "cpu"))
    middle, right = shape[2] // 2, shape[3] // 2
    assert image[0, middle, right] == 1
    for corner in (image[0, 0, 0], image[0, 0, -1], image[0, -1, 0], image[0, -1, -1]):
        assert corner.item() == pytest.approx(1 - loss)
    # Half as far squared, and an eighth.
    assert image[0, middle, 0].item() == pytest.approx(1 - loss / 2)
    assert image[0, middle, right // 2].item() == pytest.approx(1 - loss / 8)
