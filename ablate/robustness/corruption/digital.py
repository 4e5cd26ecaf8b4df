"""Digital: contrast, elastic transform, pixelate, JPEG and saturate.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py.  JPEG is the real codec:
torchvision's, which here gives the bytes that Pillow's gives.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ablate.distortion.random import as_uniform, draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.filters import AxisMatrix, gaussian_filter
from ablate.robustness.corruption.kind import Setting, corruption

_FINEST = 1e-12  # stands for a chroma or value of 0


@corruption(
    cifar=(0.75, 0.5, 0.4, 0.3, 0.15), imagenet=(0.4, 0.3, 0.2, 0.1, 0.05), channelwise=True
)
def contrast(images: Images, _: Setting, kept: float) -> Images:
    """The images pulled towards their means, channel by channel, from which a share is kept."""
    means = images.mean((2, 3), keepdim=True)
    return (images * kept).add_(means.mul_(1 - kept))


Places = Float[Tensor, "batch 2 pixel"]
"""Where each pixel is read: x, across, and y, down, from -1 to 1."""

TRUNCATE_SIGMAS = 3.0


@corruption(
    cifar=(
        (0.0, 0.0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    imagenet=(
        (2.0, 0.7, 0.1),
        (2.0, 0.08, 0.2),
        (0.05, 0.01, 0.02),
        (0.07, 0.01, 0.02),
        (0.12, 0.01, 0.02),
    ),
    channelwise=True,
)
def elastic_transform(
    images: Images, setting: Setting, alpha: float, sigma: float, affine: float
) -> Images:
    """The images warped by an affine map and, but for the weakest, smooth displacements.

    Source: hendrycks/robustness, after Simard et al. 2003.  Differs: OpenCV's affine warp rounds
    places to 1/32 pixel, this one does not.  Lengths are shares of the shorter side; for ImageNet-C
    of 244 pixels where the image has 224, as its code has it.

    Args:
        alpha: what the smoothed field of uniform noise in (-1, 1) is multiplied by; 0: no
            displacements.
        sigma: of the Gaussian that smooths it.
        affine: how far each of the affine map's three points moves at most, in both axes.
    """
    height, width = images.shape[2:]
    side = min(height, width)
    unit = side * 244 / 224 if setting.scale == "imagenet" else side
    alpha_pixels = unit * alpha
    sides = torch.tensor((width, height), device=images.device, dtype=images.dtype)
    places = _places(height, width, images.device)
    linear, shift = _draw_affine(images, unit * affine, setting.generator)
    # From pixels to -1 at the middle of the first and 1 at that of the last.
    to_ends = 2 / (sides - 1)
    linear, shift = linear * to_ends[:, None], shift * to_ends - 1
    mapped = torch.baddbmm(shift[:, :, None], linear, places.expand(len(images), -1, -1))
    warped = _read(images, mapped, edge_repeated=False)
    if alpha_pixels == 0:
        return warped
    bits = draw_bits(torch.Size((len(images), 2, height, width)), setting.generator)
    field = gaussian_filter(
        as_uniform(bits), unit * sigma, border="reflect", truncate=TRUNCATE_SIGMAS
    )
    # From pixels to -1 at the outer edge of the first and 1 at that of the last; and the noise,
    # which is in (0, 1), to be in (-1, 1).
    to_edges = (2 / sides)[:, None]
    still = (places + (0.5 - alpha_pixels)) * to_edges - 1
    displaced = torch.addcmul(still, field.flatten(2), to_edges, value=2 * alpha_pixels)
    return _read(warped, displaced, edge_repeated=True)


def _places(height: int, width: int, device: torch.device) -> Float[Tensor, "2 pixel"]:
    """Where the pixels are: across and down, in pixels from 0."""
    across, down = (torch.arange(side, device=device).float() for side in (width, height))
    return torch.stack(torch.meshgrid(across, down, indexing="xy")).flatten(1)


def _draw_affine(
    images: Images, reach_pixels: float, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 2 2"], Float[Tensor, "batch 2"]]:
    """The map from where three moved points are to where they were: what columns (x, y) are
    multiplied by, and what is added to them.

    As in the reference the points' x is about half of the height, and their y half of the width.
    """
    height, width = images.shape[2:]
    square = min(height, width) // 3
    corner = (height // 2 + square, width // 2 - square)
    moved = torch.rand((len(images), 3, 2), generator=generator, device=images.device)
    moved = moved.mul_(2).sub_(1).mul_(reach_pixels)
    # From the corner to the other two points, where they were: (0, 2s) and (-2s, 0).
    a, c = (moved[:, 0] - moved[:, 1]).unbind(1)
    b, d = (moved[:, 2] - moved[:, 1]).unbind(1)
    c, b = c + 2 * square, b - 2 * square
    # [[0, -2s], [2s, 0]] times the inverse of [[a, b], [c, d]]
    scale = 2 * square / (a * d - b * c)
    linear = torch.stack([c * scale, -a * scale, d * scale, -b * scale], dim=1).view(-1, 2, 2)
    corners = torch.tensor(corner, device=images.device, dtype=images.dtype)
    moved_corner = moved[:, 1] + corners
    return linear, corners - (linear @ moved_corner[:, :, None])[:, :, 0]


def _read(images: Images, places: Places, *, edge_repeated: bool) -> Images:
    """The images at these places, by linear interpolation; beyond the border they are mirrored, by
    a mirror that stands beyond the pixel at the border, or on it."""
    grid = places.view(-1, 2, *images.shape[2:]).movedim(1, 3)
    return functional.grid_sample(
        images, grid, padding_mode="reflection", align_corners=not edge_repeated
    )


@corruption(
    cifar=(0.95, 0.9, 0.85, 0.75, 0.65), imagenet=(0.6, 0.5, 0.4, 0.3, 0.25), channelwise=True
)
def pixelate(images: Images, _: Setting, share: float) -> Images:
    """The images at a share of their sides, and back, in whole bytes, by Pillow's box filter.

    Source: Pillow's `Image.resize(..., BOX)`.  Its box covers whole pixels, whose centres it holds,
    so that a pixel of the small image is the plain mean of one to a few; back up, a pixel is a
    copy.  Sides are cut to whole pixels.
    """
    rows, columns = (_axis(side, int(side * share)).to(images) for side in images.shape[2:])
    # As Pillow does it: the width first, and bytes in between, half of one rounded up.
    levels = (images * 255).round_()
    levels = (levels @ columns.mT).add_(_HALF).floor_()
    return (rows @ levels).add_(_HALF).floor_().div_(255)


_HALF = 0.5 + 1e-4  # a mean of six bytes that ends in .5 may have lost its last digit


@lru_cache(maxsize=64)
def _axis(side_pixels: int, small_pixels: int) -> AxisMatrix:
    """Down and up again: Pillow's own resizes of the unit vectors.

    In one, since what is rounded after the first may as well be rounded after the copying.
    """
    return _resize(small_pixels, side_pixels) @ _resize(side_pixels, small_pixels)


def _resize(from_pixels: int, to_pixels: int) -> AxisMatrix:
    unit = Image.fromarray(np.eye(from_pixels, dtype=np.float32))
    resized = unit.resize((to_pixels, from_pixels), Image.Resampling.BOX)
    covered = np.asarray(resized).T > 0
    return torch.from_numpy(covered / covered.sum(1, keepdims=True))


@corruption(cifar=(80.0, 65.0, 58.0, 50.0, 40.0), imagenet=(25.0, 18.0, 15.0, 10.0, 7.0))
def jpeg_compression(images: Images, _: Setting, quality: float) -> Images:
    """The images written to JPEG and read again, one by one on the CPU, in whole bytes.

    Args:
        quality: as libjpeg counts it.
    """
    from torchvision.io import decode_jpeg, encode_jpeg  # takes longer to load than torch does

    levels = (images * 255).round_().to(torch.int16).to("cpu", torch.uint8)
    # The codec wants a pixel's channels side by side; all at once that is quicker than in each.
    pixels = levels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    decoded = decode_jpeg(encode_jpeg(list(pixels), int(quality)))
    return torch.stack(decoded).to(images.device).float().div_(255)


@corruption(
    cifar=((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
    imagenet=((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
)
def saturate(images: Images, _: Setting, factor: float, summand: float) -> Images:
    """The saturation of HSV scaled and raised; grey pixels turn red where it is raised."""
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    saturation = (chroma / value.clamp_min(_FINEST)).mul_(factor).add_(summand).clamp_(0, 1)
    # In HSV a colour lies between the value and the value without its saturation.
    depth = saturation.mul_(value)
    saturated = torch.sub(value[:, None], images)
    saturated.mul_((depth / chroma.clamp_min(_FINEST))[:, None])
    if summand > 0:  # grey has hue 0, that of red
        grey = 1 - chroma.sign()
        saturated[:, 1:] += depth.mul_(grey)[:, None]
    return torch.sub(value[:, None], saturated)
