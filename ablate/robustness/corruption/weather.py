"""Weather: snow, frost, fog, brightness and spatter.

Tables and formulas: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.random import as_normal, draw_bits
from ablate.distortion.saturation import LUMA
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.directional_blur import clipped_zoom, motion_blur
from ablate.robustness.corruption.frost import draw_frost, frost_plates
from ablate.robustness.corruption.kind import (
    ONE_PLANE_PART_PIXELS,
    Corruption,
    Parameters,
    Setting,
)
from ablate.robustness.corruption.spatter import draw_plasma, mud, smooth_layer, water

_TURQUOISE = (175 / 255, 238 / 255, 238 / 255)
_BROWN = (63 / 255, 42 / 255, 20 / 255)
_FINEST = 1e-12  # stands for a value of 0


def snow(
    images: Images, parameters: Parameters, generator: torch.Generator, _setting: Setting
) -> Tensor:
    """Flakes that the wind draws out, falling and, turned by 180 degrees, once more; and pallor.

    Args:
        parameters: mean and deviation of the layer that flakes are cut from, its zoom, the
            threshold of the cut; radius and sigma of the blur; share of the image that stays.
    """
    mean, deviation, factor, threshold, radius, sigma, share = parameters
    batch, _, height, width = images.shape
    bits = draw_bits(torch.Size((batch, 1, height, width)), generator)
    angle = torch.rand(batch, generator=generator, device=images.device) * 90 - 135
    layer = as_normal(bits).mul_(deviation).add_(mean)
    if factor != 1:
        layer = clipped_zoom(layer, factor)
    layer = functional.threshold(layer, threshold, 0.0).clamp_(0, 1)
    # Sorted, since the blur is quicker where neighbours move alike; the layers have no order.
    angle, order = angle.sort()
    flakes = motion_blur(layer.mul_(255).floor_().div_(255), radius, sigma, angle)[order]
    pale = _grey(images).mul_(1.5).add_(0.5)
    snowed = torch.maximum(images, pale).mul_(1 - share).add_(images, alpha=share)
    return snowed.add_(flakes + flakes.flip(2, 3))


SNOW = Corruption(
    "snow",
    {
        "cifar": (
            (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
        ),
        "imagenet": (
            (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
        ),
    },
    snow,
    part_pixels=ONE_PLANE_PART_PIXELS,
)


def frost(
    images: Images, parameters: Parameters, generator: torch.Generator, setting: Setting
) -> Tensor:
    """A part of a photograph of frost added to each image.

    The photographs are the first five of the user's folder; without a folder, five plates that
    are painted stand for them, which makes it approximate.

    Args:
        parameters: weights of the image and of the frost.
    """
    weight, frost_weight = parameters
    photographs = setting.frost or frost_plates()
    layer = draw_frost(photographs, images.shape, setting.scale, generator)
    return layer.float().mul_(frost_weight / 255).add_(images, alpha=weight)


FROST = Corruption(
    "frost",
    {
        "cifar": ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "imagenet": ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    },
    frost,
)


def fog(
    images: Images, parameters: Parameters, generator: torch.Generator, _setting: Setting
) -> Tensor:
    """Clouds over the image, which is then darkened back to the range that it had.

    The plasma's side is the next power of two, and its top left corner is laid over the image.

    Args:
        parameters: how dense it is, and how smooth.
    """
    density, decay = parameters
    batch, _, height, width = images.shape
    side = 1 << (max(height, width) - 1).bit_length()
    plasma = draw_plasma(batch, side, decay, generator)[:, :, :height, :width]
    highest = images.amax((1, 2, 3), keepdim=True) if batch else images
    fogged = torch.add(images, plasma, alpha=density)
    return fogged.mul_(highest / (highest + density))


FOG = Corruption(
    "fog",
    {
        "cifar": ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        "imagenet": ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
    },
    fog,
)


def brightness(
    images: Images, parameters: Parameters, _generator: torch.Generator, _setting: Setting
) -> Tensor:
    """The value of hue, saturation and value raised, up to 1; the other two kept.

    Args:
        parameters: what is added.
    """
    (added,) = parameters
    value = torch.maximum(torch.maximum(images[:, 0], images[:, 1]), images[:, 2])[:, None]
    raised = (value + added).clamp_(max=1)
    brightened = images * (raised / value.clamp_min(_FINEST))
    black = 1 - value.sign()  # has no saturation, so becomes grey
    return brightened.add_(raised.mul_(black))


BRIGHTNESS = Corruption(
    "brightness",
    {
        "cifar": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
        "imagenet": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    },
    brightness,
)


def spatter(
    images: Images, parameters: Parameters, generator: torch.Generator, _setting: Setting
) -> Tensor:
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
    normal = as_normal(draw_bits(torch.Size((height, width, batch, 1)), generator))[..., 0]
    layer = smooth_layer(normal, sigma).mul_(deviation).add_(mean)
    if muddy:
        opacity = mud(layer, threshold, intensity).permute(2, 0, 1)[:, None].contiguous()
        return torch.lerp(images, _color(_BROWN, images), opacity)
    light = (
        water(functional.threshold(layer, threshold, 0.0)).permute(2, 0, 1)[:, None].contiguous()
    )
    return torch.addcmul(images, light, _color(_TURQUOISE, images), value=intensity)


SPATTER = Corruption(
    "spatter",
    {
        "cifar": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0.0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0.0),
            (0.65, 0.3, 1.0, 0.69, 0.5, 0.0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1.0),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1.0),
        ),
        "imagenet": (
            (0.65, 0.3, 4.0, 0.69, 0.6, 0.0),
            (0.65, 0.3, 3.0, 0.68, 0.6, 0.0),
            (0.65, 0.3, 2.0, 0.68, 0.5, 0.0),
            (0.65, 0.3, 1.0, 0.65, 1.5, 1.0),
            (0.67, 0.4, 1.0, 0.65, 1.5, 1.0),
        ),
    },
    spatter,
    part_pixels=ONE_PLANE_PART_PIXELS,
)


def _grey(images: Images) -> Tensor:
    """The luma, as one channel."""
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    grey = red * LUMA[0]
    return grey.add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _color(values: tuple[float, ...], like: Images) -> Tensor:
    return like.new_tensor(values).view(1, 3, 1, 1)


CORRUPTIONS = {made.name: made for made in (SNOW, FROST, FOG, BRIGHTNESS, SPATTER)}
