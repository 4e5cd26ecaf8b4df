"""Values of the shipped distances by hand, and what sets each apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.blocks import gram_matrix, scatter, squared_error
from ablate.finetune.loss.distances import load_distance

# Two images of two features: (1, 2) and (1, 1); (3, 4) and (-1, 1).
FLAT = ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [-1.0, 1.0]])
ANGLE = (1 - 3 / 10**0.5 + 1 - 1 / 50**0.5) / 2
BY_HAND_FLAT = {
    "relative": (1 / 5 + 25 / 25) / 2,
    "mse": (1 / 2 + 25 / 2) / 2,
    "l1": (1 / 2 + 7 / 2) / 2,
    "cosine": ANGLE,
    "cosine_per_position": ANGLE,
    "unit": 2 * ANGLE,
    # Features are positions: (1, 4) and (1, 1); (9, 16) and (1, 1), each scaled to length 1.
    "attention": (1 - 5 / 34**0.5 + 1 - 25 / 674**0.5) / 2,
    "pooled": (1 / 2 + 25 / 2) / 2,
    "cka": 0.0,  # any two pairs of images lie to each other alike
    # The four maps lie about (1, 2) at 0, 8, 1 and 5: 13 / (2 * 14 / 3).
    "invariance": 39 / 28,
}

# One image, two channels (rows), two positions (columns).
PLACED = ([[[3.0, 0.0], [4.0, 1.0]]], [[[1.0, 4.0], [0.0, 3.0]]])
BY_HAND_PLACED = {
    "relative": (4 + 16 + 16 + 4) / 26,
    "mse": 40 / 4,
    "l1": 12 / 4,
    "cosine": 1 - 6 / 26,
    # (3, 4) and (1, 0); (0, 1) and (4, 3).
    "cosine_per_position": (0.4 + 0.4) / 2,
    "unit": 0.8,
    # (25, 1) and (1, 25), over their length.
    "attention": 24**2 / 626,
    # (1.5, 2.5) and (2.5, 1.5)
    "pooled": 1.0,
}

AGAINST_ZEROS = {  # ones and zeros: two images of three features
    "relative": 1.0,
    "mse": 1.0,
    "l1": 1.0,
    "cosine": 1.0,
    "cosine_per_position": 1.0,
    "unit": 1.0,
    "attention": 1 / 3,
    "pooled": 1.0,
    "cka": 0.0,  # neither varies in the batch
    "invariance": 1.5,
}

SCALE_FREE = {
    "relative": True,
    "mse": False,
    "l1": False,
    "cosine": True,
    "cosine_per_position": True,
    "unit": True,
    "attention": True,
    "pooled": False,
    "cka": True,
    "invariance": True,
}


def make_maps(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(shape or (6, 4, 3, 3), generator=generator)
    return clean, clean + 0.5 * torch.randn(clean.shape, generator=generator)


def test_every_shipped_distance_has_its_values_here() -> None:
    of_one_image = {name for name, one in DISTANCES.items() if one.min_images == 1}
    wanted = {
        "BY_HAND_FLAT": (set(DISTANCES), BY_HAND_FLAT),
        "BY_HAND_PLACED (if min_images is 1)": (of_one_image, BY_HAND_PLACED),
        "AGAINST_ZEROS": (set(DISTANCES), AGAINST_ZEROS),
        "SCALE_FREE": (set(DISTANCES), SCALE_FREE),
    }
    missing = {table: sorted(names - set(of)) for table, (names, of) in wanted.items()}
    missing = {table: names for table, names in missing.items() if names}
    assert not missing, f"add to the tables above: {missing}"
    assert all(set(of) == names for names, of in wanted.values()), "no distance of that name"


@pytest.mark.parametrize("name", BY_HAND_FLAT)
def test_of_maps_without_positions(name: str) -> None:
    value = load_distance(name)(*map(torch.tensor, FLAT)).item()
    assert value == pytest.approx(BY_HAND_FLAT[name], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", BY_HAND_PLACED)
def test_of_maps_with_positions(name: str) -> None:
    value = load_distance(name)(*map(torch.tensor, PLACED)).item()
    assert value == pytest.approx(BY_HAND_PLACED[name], rel=1e-5)


@pytest.mark.parametrize("name", AGAINST_ZEROS)
def test_of_zeros(name: str) -> None:
    zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
    distance = load_distance(name)
    assert distance(zeros, zeros).item() == 0
    assert distance(ones, zeros).item() == pytest.approx(AGAINST_ZEROS[name], rel=1e-5)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_both_scaled_alike(name: str) -> None:
    clean, distorted = make_maps()
    distance = load_distance(name)
    near, far = distance(clean, distorted).item(), distance(3 * clean, 3 * distorted).item()
    assert (far == pytest.approx(near, rel=1e-4)) == SCALE_FREE[name]
    if not SCALE_FREE[name]:
        assert distance(clean / 10, distorted / 10).item() < near / 9


def test_cka_by_hand() -> None:
    clean = torch.tensor([[-1.0], [0.0], [1.0]])
    distance = load_distance("cka")
    for other, expected in (([1.0, -2.0, 1.0], 1.0), ([-1.0, -1.0, 2.0], 1 - 9 / 12)):
        # A constant in every image is not seen.
        distorted = torch.tensor(other)[:, None] + 100
        assert distance(clean, distorted).item() == pytest.approx(expected, rel=1e-4)


def test_cka_keeps_its_digits_where_means_are_large() -> None:
    clean, distorted = (maps + 1000 for maps in make_maps(8, 16, 4, 4))
    exact = load_distance("cka")(clean.double(), distorted.double()).item()
    assert load_distance("cka")(clean, distorted).item() == pytest.approx(exact, rel=1e-3)


def test_invariance_is_that_of_all_pairs() -> None:
    clean, distorted = make_maps()
    points = torch.cat([clean, distorted]).flatten(1).double()
    squares = torch.cdist(points, points).square()
    everyone = squares.sum() / (len(points) * (len(points) - 1))
    own = squares.diagonal(len(clean)).mean()
    value = load_distance("invariance")(clean, distorted).item()
    assert value == pytest.approx((own / everyone).item(), rel=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        squared_error,
        scatter,
        lambda clean, distorted: gram_matrix(clean) @ gram_matrix(distorted),
        load_distance("cosine_per_position"),
    ],
    ids=["squared_error", "scatter", "gram_matrix", "per_image"],
)
def test_derivatives_by_hand(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    clean, distorted = (maps.double().requires_grad_() for maps in make_maps(3, 2, 2, 1))
    assert torch.autograd.gradcheck(function, (clean, distorted))
    assert torch.autograd.gradcheck(function, (clean.detach(), distorted))
    assert torch.autograd.gradcheck(function, (clean, distorted.detach()))
