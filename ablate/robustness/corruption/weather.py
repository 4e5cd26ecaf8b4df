"""Weather: snow, frost, fog, brightness and spatter.

Tables and formulas: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ablate.distortion.photometric import LUMA
from ablate.distortion.random import as_normal, as_uniform, draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.filters import clipped_zoom, smear
from ablate.robustness.corruption.frost import draw_frost, frost_plates
from ablate.robustness.corruption.kind import ONE_PLANE_PART_PIXELS, Setting, corruption
from ablate.robustness.corruption.spatter import mud, smooth_layer, water

_TURQUOISE = (175 / 255, 238 / 255, 238 / 255)
_BROWN = (63 / 255, 42 / 255, 20 / 255)
_FINEST = 1e-12  # stands for a value of 0


@corruption(
    cifar=(
        (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
    ),
    imagenet=(
        (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
        (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
        (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
    ),
    part_pixels=ONE_PLANE_PART_PIXELS,
)
def snow(images: Images, setting: Setting, *parameters: float) -> Tensor:
    """Flakes that the wind draws out, falling and, turned by 180 degrees, once more; and pallor.

    Args:
        parameters: mean and deviation of the layer that flakes are cut from, its zoom, the
            threshold of the cut; radius and sigma of the blur; share of the image that stays.
    """
    mean, deviation, factor, threshold, radius, sigma, share = parameters
    batch, _, height, width = images.shape
    bits = draw_bits(torch.Size((batch, 1, height, width)), setting.generator)
    angle = torch.rand(batch, generator=setting.generator, device=images.device) * 90 - 135
    layer = as_normal(bits).mul_(deviation).add_(mean)
    if factor != 1:
        layer = clipped_zoom(layer, factor)
    layer = functional.threshold(layer, threshold, 0.0).clamp_(0, 1)
    # Sorted, since the blur is quicker where neighbours move alike; the layers have no order.
    angle, order = angle.sort()
    flakes = smear(layer.mul_(255).floor_().div_(255), radius, sigma, angle)[order]
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    grey = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    pale = grey.mul_(1.5).add_(0.5)
    snowed = torch.maximum(images, pale).mul_(1 - share).add_(images, alpha=share)
    return snowed.add_(flakes + flakes.flip(2, 3))


@corruption(
    cifar=((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    imagenet=((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
)
def frost(images: Images, setting: Setting, weight: float, frost_weight: float) -> Tensor:
    """A part of a photograph of frost added to each image.

    The photographs are the first five of the user's folder; without a folder, five plates that
    are painted stand for them, which makes it approximate.
    """
    photographs = setting.frost or frost_plates()
    layer = draw_frost(photographs, images.shape, setting.scale, setting.generator)
    return layer.float().mul_(frost_weight / 255).add_(images, alpha=weight)


@corruption(
    cifar=((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    imagenet=((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
)
def fog(images: Images, setting: Setting, density: float, decay: float) -> Tensor:
    """Clouds over the image, which is then darkened back to the range that it had.

    The plasma's side is the next power of two, and its top left corner is laid over the image.

    Args:
        decay: how smooth the clouds are.
    """
    batch, _, height, width = images.shape
    side = 1 << (max(height, width) - 1).bit_length()
    plasma = draw_plasma(batch, side, decay, setting.generator)[:, :, :height, :width]
    highest = images.amax((1, 2, 3), keepdim=True) if batch else images
    fogged = torch.add(images, plasma, alpha=density)
    return fogged.mul_(highest / (highest + density))


_FIRST_WIBBLE = 100.0

Plasma = Float[Tensor, "side side batch"]


def draw_plasma(
    batch: int, side_pixels: int, decay: float, generator: torch.Generator
) -> Float[Tensor, "batch 1 side side"]:
    """A plasma for each image, by diamond and square on a torus, from 0 at its lowest point to 1.

    Source: Fournier, Fussell and Carpenter 1982, "Computer rendering of stochastic models"; the
    amplitudes are those of hendrycks/robustness, where noise is `wibble * U(-wibble, wibble)`, so
    that it falls by the decay's square from one level to the next.

    Args:
        side_pixels: a power of two; the benchmark's is 32 for 32 x 32 and 256 for 224 x 224.
        decay: what the amplitude's root is divided by at each level; the more, the smoother.
    """
    # The batch is the last axis: neighbours are slices of long runs then.
    bits = draw_bits(torch.Size((side_pixels, side_pixels, batch, 1)), generator)
    noise = as_uniform(bits)[..., 0].mul_(2).sub_(1)
    plasma = torch.zeros_like(noise)
    step, wibble = side_pixels, _FIRST_WIBBLE
    while step >= 2:
        _refine(plasma, noise, step, wibble**2)
        step //= 2
        wibble /= decay
    if not batch:
        return plasma.permute(2, 0, 1)[:, None]
    lowest, highest = plasma.amin((0, 1)), plasma.amax((0, 1))
    scaled = (plasma - lowest) / (highest - lowest)
    return scaled.permute(2, 0, 1)[:, None].contiguous()


def _refine(plasma: Plasma, noise: Plasma, step: int, amplitude: float) -> None:
    """Fill the points midway between those that are `step` apart."""
    half = step // 2

    def fill(down: int, across: int, sum_of_four: Tensor) -> None:
        where = (slice(down, None, step), slice(across, None, step))
        torch.add(sum_of_four / 4, noise[where], alpha=amplitude, out=plasma[where])

    corners, middles = plasma[::step, ::step], plasma[half::step, half::step]
    across = corners + corners.roll(-1, 1)
    down = corners + corners.roll(-1, 0)
    fill(half, half, across + across.roll(-1, 0))
    fill(0, half, across + middles + middles.roll(1, 0))
    fill(half, 0, down + middles + middles.roll(1, 1))


@corruption(cifar=(0.05, 0.1, 0.15, 0.2, 0.3), imagenet=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(images: Images, _: Setting, added: float) -> Tensor:
    """The value of hue, saturation and value raised, up to 1; the other two kept."""
    value = torch.maximum(torch.maximum(images[:, 0], images[:, 1]), images[:, 2])[:, None]
    raised = (value + added).clamp_(max=1)
    brightened = images * (raised / value.clamp_min(_FINEST))
    black = 1 - value.sign()  # has no saturation, so becomes grey
    return brightened.add_(raised.mul_(black))


@corruption(
    cifar=(
        (0.62, 0.1, 0.7, 0.7, 0.5, 0.0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0.0),
        (0.65, 0.3, 1.0, 0.69, 0.5, 0.0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1.0),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1.0),
    ),
    imagenet=(
        (0.65, 0.3, 4.0, 0.69, 0.6, 0.0),
        (0.65, 0.3, 3.0, 0.68, 0.6, 0.0),
        (0.65, 0.3, 2.0, 0.68, 0.5, 0.0),
        (0.65, 0.3, 1.0, 0.65, 1.5, 1.0),
        (0.67, 0.4, 1.0, 0.65, 1.5, 1.0),
    ),
    part_pixels=ONE_PLANE_PART_PIXELS,
)
def spatter(images: Images, setting: Setting, *parameters: float) -> Tensor:
    """Drops of water on the lens, or mud.

    Args:
        parameters: mean and deviation of the layer that drops are cut from, sigma of its blur,
            threshold of the cut; the water's intensity or the sigma of the mud's own blur; 0 for
            water, 1 for mud.
    """
    mean, deviation, sigma, threshold, intensity, muddy = parameters
    batch, _, height, width = images.shape
    if not batch:
        return images.clone()
    # One channel of rows for `as_normal`, then the batch last, as the kernels want it.
    bits = draw_bits(torch.Size((height, width, batch, 1)), setting.generator)
    layer = smooth_layer(as_normal(bits)[..., 0], sigma).mul_(deviation).add_(mean)
    if muddy:
        cover = mud(layer, threshold, intensity)
    else:
        cover = water(functional.threshold(layer, threshold, 0.0))
    cover = cover.permute(2, 0, 1)[:, None].contiguous()
    color = images.new_tensor(_BROWN if muddy else _TURQUOISE).view(1, 3, 1, 1)
    if muddy:
        return torch.lerp(images, color, cover)
    return torch.addcmul(images, cover, color, value=intensity)
