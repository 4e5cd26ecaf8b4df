"""Blur: defocus, glass, motion, zoom and Gaussian.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py, whose quirks are kept: the
disk of defocus is one pixel at severities 1 to 3 of CIFAR-10-C, so that its 3 x 3 Gaussian alone
acts; glass copies pixels where it means to swap them; zoom divides by one more than its frames.
Lengths and sigmas are in pixels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import ndimage
from torch import Tensor

from ablate.distortion.random import draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.filters import (
    Kernel,
    correlate,
    filter_axes,
    gaussian_filter,
    mean_of_zooms,
    smear,
)
from ablate.robustness.corruption.kind import ROUNDING, Setting, corruption

# -- Defocus: a disk, under a border that mirrors without its edge -------------------------
#
# An axis mirrored about its end pixels is a sum of cosines that reach their extremes there, and a
# kernel that is the same in both directions of both axes only scales them.  So a large disk takes
# four matrix products; a small one is summed tap by tap.  Source: Martucci 1994, "Symmetric
# convolution and the discrete sine and cosine transforms" [S]; the disk and the border are
# hendrycks/robustness's, which are OpenCV's.


_SMALLEST_REACH = 8
"""The disk's canvas reaches so far from its centre, or as far as a larger radius."""

_MOST_TAPS = 21
"""Of a disk that is summed tap by tap, as all of CIFAR-10-C are; with more, waves are quicker."""

_NOTHING = 1e-8  # of a tap: what fp32 does not keep


@corruption(
    cifar=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
    imagenet=((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    channelwise=True,
)
def defocus_blur(images: Images, _: Setting, radius: float, alias_sigma: float) -> Images:
    """The images convolved with a disk, whose edge is smoothed by a Gaussian."""
    few = _few_taps(radius, alias_sigma)
    if few is not None:
        return correlate(images, (few,), "reflect")
    height, width = images.shape[2:]
    (rows, row_waves), (columns, column_waves) = (_waves(side) for side in (height, width))
    spectrum = filter_axes(images, rows, columns)
    spectrum *= _response(height, width, radius, alias_sigma).to(images)
    return filter_axes(spectrum, row_waves, column_waves)


def disk(radius: float, alias_sigma: float) -> Float[np.ndarray, "side side"]:
    """The kernel: pixels within the radius, even, then blurred by 3 or 5 taps of a Gaussian.

    A disk that reaches the canvas's border is mirrored into it by that blur, as the reference's
    is: radius 8 and 10 brighten the image by 1.3 %.
    """
    large = radius > _SMALLEST_REACH
    reach = int(radius) if large else _SMALLEST_REACH
    step = np.arange(-reach, reach + 1)
    kernel = (step[:, None] ** 2 + step**2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    tap = np.arange(-2, 3) if large else np.arange(-1, 2)
    weights = np.exp(-(tap**2) / (2 * alias_sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, weights, axis, mode="mirror")
    return kernel


@lru_cache(maxsize=32)
def _few_taps(radius: float, alias_sigma: float) -> Kernel | None:
    """The disk without its empty borders, if it has few taps."""
    kernel = disk(radius, alias_sigma)
    kernel[kernel < _NOTHING] = 0
    rows, columns = kernel.nonzero()
    if len(rows) > _MOST_TAPS:
        return None
    return kernel[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@lru_cache(maxsize=32)
def _waves(side: int) -> tuple[Float[Tensor, "side side"], Float[Tensor, "side side"]]:
    """From pixels to how much there is of each cosine, and back."""
    place = np.arange(side)
    cosines = np.cos(np.pi / (side - 1) * (np.outer(place, place) % (2 * side - 2)))
    return torch.from_numpy(np.linalg.inv(cosines)), torch.from_numpy(cosines)


@lru_cache(maxsize=32)
def _response(
    height: int, width: int, radius: float, alias_sigma: float
) -> Float[Tensor, "height width"]:
    """What the disk multiplies each pair of cosines by."""
    kernel = disk(radius, alias_sigma)
    reach = len(kernel) // 2
    down, across = (
        np.cos(np.pi / (side - 1) * np.outer(np.arange(side), np.arange(-reach, reach + 1)))
        for side in (height, width)
    )
    return torch.from_numpy(down @ kernel @ across.T)


# -- Glass: each pixel becomes a copy of one beside it -------------------------------------
#
# The benchmark's swap of two pixels goes through views of one array, so that one end is copied and
# the other stays; the pixels are visited one by one, last row and column first, and a source that
# was visited before shows what it became.


Sources = Int64[Tensor, "batch place"]
"""For each pixel of an image, in reading order, the place of the pixel that it is a copy of."""


@corruption(
    cifar=(
        (0.05, 1.0, 1.0),
        (0.25, 1.0, 1.0),
        (0.4, 1.0, 1.0),
        (0.25, 1.0, 2.0),
        (0.4, 1.0, 2.0),
    ),
    imagenet=(
        (0.7, 1.0, 2.0),
        (0.9, 2.0, 1.0),
        (1.0, 2.0, 3.0),
        (1.1, 3.0, 2.0),
        (1.5, 4.0, 2.0),
    ),
    channelwise=True,
)
def glass_blur(
    images: Images, setting: Setting, sigma: float, reach: float, iterations: float
) -> Images:
    """The images blurred, cut to bytes, their pixels shuffled among neighbours, blurred again."""
    blurred = gaussian_filter(images, sigma).mul(255).add_(ROUNDING).floor_().div_(255)
    sources = draw_sources(images.shape, int(reach), int(iterations), setting.generator)
    copied = sources[:, None].expand(-1, images.shape[1], -1)
    return gaussian_filter(blurred.flatten(2).gather(2, copied).view(images.shape), sigma)


def draw_sources(
    shape: torch.Size, reach: int, iterations: int, generator: torch.Generator
) -> Sources:
    """What a shuffle of each image makes of its pixels, alike in all channels.

    Sixteen bits choose among the (2 * reach) ** 2 offsets, from -reach to reach - 1 in both axes,
    which are equally likely to 1 part in 1,000 up to a reach of 4.
    """
    (batch, _, height, width), device = shape, generator.device
    places = torch.arange(height * width, device=device)
    step = torch.arange(-reach, reach, device=device)
    offsets = (step[:, None] * width + step).flatten()
    # The pixels at the borders are not visited.
    inner = [slice(reach + 1, side - reach + 1) for side in (height, width)]
    visited = torch.zeros((height, width), dtype=torch.bool, device=device)
    visited[*inner] = True
    sources = places.expand(batch, -1)
    for _ in range(iterations):
        drawn = torch.Size((batch, 1, height - 2 * reach, width - 2 * reach))
        pair = (draw_bits(drawn, generator)[:, 0].int() + 2**15).mul_(4 * reach**2) >> 16
        away = torch.zeros((batch, height, width), dtype=torch.long, device=device)
        away[:, *inner].copy_(offsets.index_select(0, pair.view(-1)).view(pair.shape))
        taken = places + away.view(batch, -1)
        if reach > 1:
            taken = _follow(taken, places, visited.flatten())
        sources = sources.gather(1, taken)
    return sources


def _follow(taken: Sources, places: Tensor, visited: Tensor) -> Sources:
    """Sources at the time of the visit -> sources before the first visit.

    A source behind its pixel has been visited and is a copy itself. Such chains are followed for
    all pixels at once, twice as far each time.
    """
    ends = ~(visited[taken] & (taken > places))
    # A place with its end found stays; the others move on to what their source became.
    step = torch.where(ends, places, taken)
    while True:
        further = step.gather(1, step)
        if torch.equal(further, step):
            break
        step = further
    # The last of a chain was not moved on from: what it took was old.
    return taken.gather(1, step)


# -- Motion, zoom and Gaussian -------------------------------------------------------------


@corruption(
    cifar=((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)),
    imagenet=((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)),
    channelwise=True,
)
def motion_blur(images: Images, setting: Setting, radius: float, sigma: float) -> Images:
    """The images drawn out to one side, at an angle within 45 degrees of the horizontal."""
    angle = torch.rand(len(images), generator=setting.generator, device=images.device)
    return smear(images, radius, sigma, 90 * angle - 45)


@corruption(
    cifar=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    imagenet=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    channelwise=True,
)
def zoom_blur(images: Images, _: Setting, end: float, step: float) -> Images:
    """The mean of the images and of ever larger zooms into their centres, from 1 to before end."""
    return mean_of_zooms(images, end, step)


@corruption(cifar=(0.4, 0.6, 0.7, 0.8, 1.0), imagenet=(1.0, 2.0, 3.0, 4.0, 6.0), channelwise=True)
def gaussian_blur(images: Images, _: Setting, sigma: float) -> Images:
    """The images convolved with a Gaussian."""
    return gaussian_filter(images, sigma)
