"""What every registered distance of two feature maps promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES, distances
from ablate.finetune.loss.blocks import squared_error
from ablate.finetune.loss.distances import load_distance

SHAPES = [(4, 6), (4, 6, 5), (4, 6, 2, 2), (4, 6, 1, 1), (4, 3, 2, 2, 2)]


@pytest.fixture(params=DISTANCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_maps(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(shape or (4, 3, 5, 5), generator=generator)
    return clean, clean + 0.5 * torch.randn(clean.shape, generator=generator)


def test_every_distance_in_the_file_is_registered() -> None:
    functions = {name for name in vars(distances) if name.endswith("_distance")}
    found = {name.removesuffix("_distance") for name in functions - {"load_distance"}}
    assert found == set(DISTANCES), (
        "list each NAME_distance of ablate/finetune/loss/distances.py in DISTANCES of "
        f"ablate/finetune/loss/__init__.py: {sorted(found ^ set(DISTANCES))}"
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_maps_are_at_0_and_others_are_not(name: str, shape: tuple[int, ...]) -> None:
    clean, distorted = make_maps(*shape)
    distance = load_distance(name)
    assert distance(clean, clean.clone()).item() == 0
    value = distance(clean, distorted)
    assert value.shape == ()
    assert value.item() > 1e-4


@pytest.mark.parametrize(("branch", "shape"), [*enumerate(SHAPES[:2]), *enumerate(SHAPES[2:4])])
def test_a_step_down_the_gradient_brings_maps_closer(
    name: str, branch: int, shape: tuple[int, ...]
) -> None:
    maps = list(make_maps(*shape))
    maps[branch].requires_grad_()
    distance = load_distance(name)
    before = distance(*maps)
    (gradient,) = torch.autograd.grad(before, maps[branch])
    assert bool(torch.isfinite(gradient).all())
    assert gradient.abs().max() > 1e-6
    with torch.no_grad():
        maps[branch] -= 0.01 * gradient / gradient.norm()
        assert distance(*maps) < before


@pytest.mark.parametrize("branch", ["clean", "distorted"])
def test_gradient_is_that_of_finite_differences(name: str, branch: str) -> None:
    clean, distorted = (maps.double() for maps in make_maps(3, 2, 2, 1))
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


def test_the_order_of_the_batch_does_not_matter(name: str) -> None:
    clean, distorted = make_maps(6, 3, 4, 4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    distance = load_distance(name)
    torch.testing.assert_close(distance(clean[order], distorted[order]), distance(clean, distorted))


def test_batch_mean_where_one_image_is_enough(name: str) -> None:
    clean, distorted = make_maps()
    distance = load_distance(name)
    if DISTANCES[name].min_images == 1:
        alone = [distance(clean[i : i + 1], distorted[i : i + 1]) for i in range(len(clean))]
        torch.testing.assert_close(distance(clean, distorted), torch.stack(alone).mean())
    else:
        few = DISTANCES[name].min_images
        assert bool(torch.isfinite(distance(clean[:few], distorted[:few])))


def test_memory_format_changes_nothing_and_is_kept_by_the_gradient(name: str) -> None:
    maps = [one.requires_grad_() for one in make_maps(4, 6, 3, 5)]
    last = [
        one.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for one in maps
    ]
    distance = load_distance(name)
    plain, other = distance(*maps), distance(*last)
    torch.testing.assert_close(other, plain)
    plain.backward()
    other.backward()
    for one, moved in zip(maps, last, strict=True):
        torch.testing.assert_close(moved.grad, one.grad)
        assert moved.grad is not None
        assert moved.grad.is_contiguous(memory_format=torch.channels_last)


def test_fp32_for_bf16_maps_and_under_autocast(name: str) -> None:
    clean, distorted = (maps.bfloat16().requires_grad_() for maps in make_maps(8, 16, 16, 16))
    distance = load_distance(name)
    exact = distance(clean.double(), distorted.double())
    assert exact.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        value = distance(clean, distorted)
        value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    wide = [maps.detach().double().requires_grad_() for maps in (clean, distorted)]
    distance(*wide).backward()
    for maps, reference in zip((clean, distorted), wide, strict=True):
        assert maps.grad is not None
        assert maps.grad.dtype == torch.bfloat16
        assert reference.grad is not None
        error = (maps.grad.double() - reference.grad).norm() / reference.grad.norm()
        assert error < 0.01


def test_gradients_of_fp16_maps_that_are_scaled_up_are_not_lost(name: str) -> None:
    """Unscaled, they are smaller than what fp16 can hold."""
    maps = [one.half() for one in make_maps(4, 16, 16, 16)]
    grads = []
    for dtype in (torch.float32, torch.float16):
        clean, distorted = (one.to(dtype).requires_grad_() for one in maps)
        (1e-3 * load_distance(name)(clean, distorted) * 2**16).backward()
        assert distorted.grad is not None
        grads.append(distorted.grad.double())
    assert (grads[1] - grads[0]).norm() < 0.01 * grads[0].norm()


@pytest.mark.parametrize("scales", [(0, 0), (1, 0), (0, 1)], ids=str)
def test_maps_of_zeros_have_a_value_and_a_gradient(name: str, scales: tuple[int, int]) -> None:
    maps = [scale * torch.ones(2, 3, 2, 2) for scale in scales]
    for one in maps:
        one.requires_grad_()
    value = load_distance(name)(*maps)
    value.backward()
    assert bool(torch.isfinite(value))
    for one in maps:
        assert one.grad is not None
        assert bool(torch.isfinite(one.grad).all())
        if name != "relative":  # measured by the norm of the clean map
            assert one.grad.abs().max() < 10


def test_large_maps_in_blocks_are_those_of_the_whole(name: str) -> None:
    maps = [one.requires_grad_() for one in make_maps(6, 32, 48, 48)]
    wide = [one.detach().double().requires_grad_() for one in maps]
    distance = load_distance(name)
    near, exact = distance(*maps), distance(*wide)
    near.backward()
    exact.backward()
    assert near.item() == pytest.approx(exact.item(), rel=1e-4)
    for one, other in zip(maps, wide, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (one.grad.double() - other.grad).norm() / other.grad.norm() < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_value_and_gradient_of_a_cpu(name: str) -> None:
    maps = [one.requires_grad_() for one in make_maps(8, 16, 9, 9)]
    there = [one.detach().cuda().requires_grad_() for one in maps]
    distance = load_distance(name)
    values = distance(*maps), distance(*there)
    for value in values:
        value.backward()
    torch.testing.assert_close(values[1].cpu(), values[0], rtol=1e-4, atol=1e-6)
    for one, other in zip(maps, there, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-3, atol=1e-6)


def test_an_unknown_distance_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as caught:
        load_distance("cosin")
    assert str(caught.value) == (
        "loss.fma.distance: must be a registered distance, got 'cosin'. Did you mean cosine?"
    )


def test_a_distance_that_reads_channels_says_so(name: str) -> None:
    clean, distorted = make_maps(4, 3, 5, 7)
    distance = load_distance(name)
    moved = distance(clean.movedim(3, 1), distorted.movedim(3, 1))
    assert DISTANCES[name].reads_channels != torch.isclose(
        moved, distance(clean, distorted), rtol=1e-4
    )
