"""What every distance of two feature maps promises, and its value by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import ablate.finetune.loss.distance
from ablate.errors import ParameterError
from ablate.finetune.loss.distance import DISTANCES, load_distance
from ablate.finetune.loss.distance.squared_error import squared_error, squared_norm

SCALE_FREE = {"relative": True, "cosine": True, "mse": False}
SHARED = {"__init__", "squared_error"}


@pytest.fixture(params=DISTANCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_maps(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(shape or (4, 3, 5, 5), generator=generator)
    return clean, clean + 0.5 * torch.randn(clean.shape, generator=generator)


def test_every_file_in_the_folder_is_registered() -> None:
    folder = Path(ablate.finetune.loss.distance.__file__).parent
    assert set(DISTANCES) == {file.stem for file in folder.glob("*.py")} - SHARED
    assert set(DISTANCES) == set(SCALE_FREE)


def test_value_by_hand(name: str) -> None:
    clean = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    distorted = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    # Image 0: squared error 1, squared norm 5. Image 1: squared error 25, squared norm 25.
    first = 3 / (5**0.5 * 2**0.5)
    second = 1 / (5 * 2**0.5)
    expected = {
        "relative": (1 / 5 + 25 / 25) / 2,
        "mse": (1 / 2 + 25 / 2) / 2,
        "cosine": ((1 - first) + (1 - second)) / 2,
    }
    assert load_distance(name)(clean, distorted).item() == pytest.approx(expected[name], rel=1e-5)


def test_equal_maps_are_at_0(name: str) -> None:
    clean, _ = make_maps()
    assert load_distance(name)(clean, clean.clone()).item() == pytest.approx(0, abs=1e-6)


def test_both_scaled_alike(name: str) -> None:
    clean, distorted = make_maps()
    distance = load_distance(name)
    near, far = distance(clean, distorted), distance(10 * clean, 10 * distorted)
    assert (far.item() == pytest.approx(near.item(), rel=1e-3)) == SCALE_FREE[name]


def test_shape_of_the_map_does_not_matter(name: str) -> None:
    clean, distorted = make_maps(4, 6, 2, 2)
    distance = load_distance(name)
    flat = distance(clean.flatten(1), distorted.flatten(1))
    torch.testing.assert_close(distance(clean, distorted), flat)
    last = [maps.contiguous(memory_format=torch.channels_last) for maps in (clean, distorted)]
    torch.testing.assert_close(distance(*last), flat)


def test_batch_mean(name: str) -> None:
    clean, distorted = make_maps()
    distance = load_distance(name)
    alone = [distance(clean[i : i + 1], distorted[i : i + 1]) for i in range(len(clean))]
    torch.testing.assert_close(distance(clean, distorted), torch.stack(alone).mean())


def test_fp32_for_bf16_maps_and_under_autocast(name: str) -> None:
    clean, distorted = (maps.bfloat16() for maps in make_maps(8, 16, 16, 16))
    exact = load_distance(name)(clean.double(), distorted.double())
    with torch.autocast("cpu", torch.bfloat16):
        value = load_distance(name)(clean, distorted)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("branch", ["clean", "distorted"])
def test_gradient_is_that_of_finite_differences(name: str, branch: str) -> None:
    clean, distorted = (maps.double() for maps in make_maps(3, 2, 2, 2))
    distance = load_distance(name)
    if name == "relative":  # its norm carries no gradient, so it is held while the map moves
        norm = clean.square().sum((1, 2, 3)) + 1e-6

        def measure(first: Tensor, second: Tensor) -> Tensor:
            return (squared_error(first, second) / norm).mean()
    else:
        measure = distance
    moving = (clean if branch == "clean" else distorted).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(clean, distorted), moving)
    numeric = torch.zeros_like(moving)
    for index in torch.cartesian_prod(*(torch.arange(size) for size in moving.shape)).tolist():
        step = torch.zeros_like(moving)
        step[tuple(index)] = 1e-5
        moves = (step, -step) if branch == "clean" else (0 * step, 0 * step)
        others = (step, -step) if branch == "distorted" else (0 * step, 0 * step)
        pairs = [(clean + a, distorted + b) for a, b in zip(moves, others, strict=True)]
        up, down = (measure(*pair).item() for pair in pairs)
        numeric[tuple(index)] = (up - down) / 2e-5
    torch.testing.assert_close(gradient, numeric, rtol=1e-4, atol=1e-6)


def test_a_step_down_the_gradient_brings_maps_closer(name: str) -> None:
    clean, distorted = make_maps()
    distorted.requires_grad_()
    distance = load_distance(name)
    before = distance(clean, distorted)
    (gradient,) = torch.autograd.grad(before, distorted)
    assert bool(torch.isfinite(gradient).all())
    assert gradient.abs().max() > 0
    with torch.no_grad():
        after = distance(clean, distorted - 0.01 * gradient / gradient.norm())
    assert after < before


def test_maps_of_zeros(name: str) -> None:
    zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
    distance = load_distance(name)
    nothing = {"relative": 0.0, "mse": 0.0, "cosine": 1.0}[name]
    vanished = {"relative": 1.0, "mse": 1.0, "cosine": 1.0}[name]
    assert distance(zeros, zeros).item() == nothing
    assert distance(ones, zeros).item() == pytest.approx(vanished, rel=1e-5)
    moving = ones.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(zeros, moving), moving)
    assert bool(torch.isfinite(gradient).all())


def test_mse_falls_when_activations_shrink_and_relative_does_not() -> None:
    clean, distorted = make_maps()
    assert (
        load_distance("mse")(clean / 10, distorted / 10)
        < load_distance("mse")(clean, distorted) / 50
    )


def test_squared_error_passes_gradcheck() -> None:
    clean, distorted = (maps.double().requires_grad_() for maps in make_maps(3, 2, 3, 3))
    assert torch.autograd.gradcheck(squared_error, (clean, distorted))
    assert torch.autograd.gradcheck(squared_error, (clean.detach(), distorted))
    assert torch.autograd.gradcheck(squared_error, (clean, distorted.detach()))


def test_squared_error_in_blocks_is_that_of_the_whole() -> None:
    clean, distorted = make_maps(7, 64, 40, 40)  # 102,400 values an image: two images a block
    expected = (clean - distorted).double().square().sum((1, 2, 3)).float()
    torch.testing.assert_close(squared_error(clean, distorted), expected)
    wide = make_maps(2, 64, 80, 80)  # an image larger than a block
    expected = (wide[0] - wide[1]).double().square().sum((1, 2, 3)).float()
    torch.testing.assert_close(squared_error(*wide), expected, rtol=2e-5, atol=0)


def test_squared_norm_carries_no_gradient() -> None:
    clean = torch.tensor([[3.0, 4.0]], requires_grad=True)
    norm = squared_norm(clean)
    assert norm.item() == pytest.approx(25)
    assert not norm.requires_grad


def test_an_unknown_distance_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        load_distance("cosin")
    assert str(caught.value) == (
        "loss.fma.distance: must be a registered distance, got 'cosin'. Did you mean cosine?"
    )
