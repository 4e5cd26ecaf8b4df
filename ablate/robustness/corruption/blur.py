"""Blur: defocus, glass, motion, zoom and Gaussian.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py, whose quirks are kept: the
disk of defocus is one pixel at severities 1 to 3 of CIFAR-10-C, so that its 3 x 3 Gaussian alone
acts; glass copies pixels where it means to swap them; zoom divides by one more than its frames.
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
from ablate.robustness.corruption import directional_blur as motion
from ablate.robustness.corruption.directional_blur import mean_of_zooms
from ablate.robustness.corruption.kind import ROUNDING, Corruption, Parameters, Setting
from ablate.robustness.corruption.separable import Kernel, correlate, filter_axes, gaussian_filter


def defocus_blur(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The images convolved with a disk.

    Args:
        images: in [0, 1].
        parameters: its radius, and the sigma of the Gaussian that smooths its edge, in pixels.
    """
    radius, alias_sigma = parameters
    return convolve_with_disk(images, radius, alias_sigma)


DEFOCUS_BLUR = Corruption(
    "defocus_blur",
    {
        "cifar": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        "imagenet": ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
    },
    defocus_blur,
    channelwise=True,
)


def glass_blur(
    images: Images, parameters: Parameters, generator: torch.Generator, _: Setting
) -> Images:
    """The images blurred, cut to bytes, their pixels shuffled among neighbours, blurred again.

    Args:
        images: in [0, 1].
        parameters: sigma of both blurs and the largest offset, in pixels; number of shuffles.
    """
    sigma, reach, iterations = parameters
    blurred = gaussian_filter(images, sigma).mul(255).add_(ROUNDING).floor_().div_(255)
    sources = draw_sources(images.shape, int(reach), int(iterations), generator)
    copied = sources[:, None].expand(-1, images.shape[1], -1)
    return gaussian_filter(blurred.flatten(2).gather(2, copied).view(images.shape), sigma)


GLASS_BLUR = Corruption(
    "glass_blur",
    {
        "cifar": (
            (0.05, 1.0, 1.0),
            (0.25, 1.0, 1.0),
            (0.4, 1.0, 1.0),
            (0.25, 1.0, 2.0),
            (0.4, 1.0, 2.0),
        ),
        "imagenet": (
            (0.7, 1.0, 2.0),
            (0.9, 2.0, 1.0),
            (1.0, 2.0, 3.0),
            (1.1, 3.0, 2.0),
            (1.5, 4.0, 2.0),
        ),
    },
    glass_blur,
    channelwise=True,
)


def motion_blur(
    images: Images, parameters: Parameters, generator: torch.Generator, _: Setting
) -> Images:
    """The images drawn out to one side, at an angle within 45 degrees of the horizontal.

    Args:
        images: in [0, 1].
        parameters: radius and sigma of ImageMagick's kernel, in pixels.
    """
    radius, sigma = parameters
    angle = torch.rand(len(images), generator=generator, device=images.device)
    return motion.motion_blur(images, radius, sigma, 90 * angle - 45)


MOTION_BLUR = Corruption(
    "motion_blur",
    {
        "cifar": ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)),
        "imagenet": ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0)),
    },
    motion_blur,
    channelwise=True,
)


def zoom_blur(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The mean of the images and of ever larger zooms into their centres.

    Args:
        images: in [0, 1].
        parameters: the factor before which the zooms end, and their step; they begin at 1.
    """
    end, step = parameters
    return mean_of_zooms(images, end, step)


ZOOM_BLUR = Corruption(
    "zoom_blur",
    {
        "cifar": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "imagenet": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    },
    zoom_blur,
    channelwise=True,
)


def gaussian_blur(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The images convolved with a Gaussian.

    Args:
        images: in [0, 1].
        parameters: sigma, in pixels.
    """
    (sigma,) = parameters
    return gaussian_filter(images, sigma)


GAUSSIAN_BLUR = Corruption(
    "gaussian_blur",
    {
        "cifar": ((0.4,), (0.6,), (0.7,), (0.8,), (1.0,)),
        "imagenet": ((1.0,), (2.0,), (3.0,), (4.0,), (6.0,)),
    },
    gaussian_blur,
    channelwise=True,
)


CORRUPTIONS = {
    made.name: made for made in (DEFOCUS_BLUR, GLASS_BLUR, MOTION_BLUR, ZOOM_BLUR, GAUSSIAN_BLUR)
}


# -- The defocus blur's disk, and convolution under a border that mirrors without its edge -
#
# An axis mirrored about its end pixels is a sum of cosines that reach their extremes there, and a
# kernel that is the same in both directions of both axes only scales them.  So a large disk takes
# four matrix products; a small one is summed tap by tap.  Source: Martucci 1994, "Symmetric
# convolution and the discrete sine and cosine transforms" [S]; the disk and the border are
# hendrycks/robustness's, which are OpenCV's.


SMALLEST_REACH = 8
"""The disk's canvas reaches so far from its centre, or as far as a larger radius."""

MOST_TAPS = 21
"""Of a disk that is summed tap by tap, as all of CIFAR-10-C are; with more, waves are quicker."""

_NOTHING = 1e-8  # of a tap: what fp32 does not keep


def convolve_with_disk(images: Images, radius_pixels: float, alias_sigma: float) -> Images:
    """The images convolved with a disk whose edge is smoothed.

    Args:
        images: any values; beyond the border they are mirrored about the pixel at it.
        radius_pixels: of the disk; below 1 it is one pixel.
        alias_sigma: of the small Gaussian that smooths it, in pixels.
    """
    few = _few_taps(radius_pixels, alias_sigma)
    if few is not None:
        return correlate(images, (few,), "reflect")
    height, width = images.shape[2:]
    (rows, row_waves), (columns, column_waves) = (_waves(side) for side in (height, width))
    spectrum = filter_axes(images, rows, columns)
    spectrum *= _response(height, width, radius_pixels, alias_sigma).to(images)
    return filter_axes(spectrum, row_waves, column_waves)


def disk(radius_pixels: float, alias_sigma: float) -> Float[np.ndarray, "side side"]:
    """The kernel: pixels within the radius, even, then blurred by 3 or 5 taps of a Gaussian.

    A disk that reaches the canvas's border is mirrored into it by that blur, as the reference's
    is: radius 8 and 10 brighten the image by 1.3 %.
    """
    large = radius_pixels > SMALLEST_REACH
    reach = int(radius_pixels) if large else SMALLEST_REACH
    step = np.arange(-reach, reach + 1)
    kernel = (step[:, None] ** 2 + step**2 <= radius_pixels**2).astype(np.float64)
    kernel /= kernel.sum()
    tap = np.arange(-2, 3) if large else np.arange(-1, 2)
    weights = np.exp(-(tap**2) / (2 * alias_sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, weights, axis, mode="mirror")
    return kernel


@lru_cache(maxsize=32)
def _few_taps(radius_pixels: float, alias_sigma: float) -> Kernel | None:
    """The disk without its empty borders, if it has few taps."""
    kernel = disk(radius_pixels, alias_sigma)
    kernel[kernel < _NOTHING] = 0
    rows, columns = kernel.nonzero()
    if len(rows) > MOST_TAPS:
        return None
    return kernel[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@lru_cache(maxsize=32)
def _waves(side_pixels: int) -> tuple[Float[Tensor, "side side"], Float[Tensor, "side side"]]:
    """From pixels to how much there is of each cosine, and back."""
    place = np.arange(side_pixels)
    cosines = np.cos(np.pi / (side_pixels - 1) * (np.outer(place, place) % (2 * side_pixels - 2)))
    return torch.from_numpy(np.linalg.inv(cosines)), torch.from_numpy(cosines)


@lru_cache(maxsize=32)
def _response(
    height: int, width: int, radius_pixels: float, alias_sigma: float
) -> Float[Tensor, "height width"]:
    """What the disk multiplies each pair of cosines by."""
    kernel = disk(radius_pixels, alias_sigma)
    reach = len(kernel) // 2
    down, across = (
        np.cos(np.pi / (side - 1) * np.outer(np.arange(side), np.arange(-reach, reach + 1)))
        for side in (height, width)
    )
    return torch.from_numpy(down @ kernel @ across.T)


# -- The shuffle of the benchmark's glass blur: each pixel becomes a copy of one beside it -
#
# Source: hendrycks/robustness.  Its swap of two pixels goes through views of one array, so that one
# end is copied and the other stays; the pixels are visited one by one, last row and column first,
# and a source that was visited before shows what it became.


Sources = Int64[Tensor, "batch place"]
"""For each pixel of an image, in reading order, the place of the pixel that it is a copy of."""


def draw_sources(
    shape: torch.Size, reach: int, iterations: int, generator: torch.Generator
) -> Sources:
    """What a shuffle of each image makes of its pixels.

    Args:
        shape: of the images; their channels are shuffled alike.
        reach: offsets are drawn from -reach to reach - 1 in both axes.
        iterations: how often all pixels are visited.
        generator: on the device that is wanted.
    """
    batch, _, height, width = shape
    places = torch.arange(height * width, device=generator.device)
    sources = places.expand(batch, -1)
    for _ in range(iterations):
        taken = places + _draw_offsets(shape, reach, generator)
        if reach > 1:
            taken = _follow(taken, places, _is_visited(height, width, reach, generator.device))
        sources = sources.gather(1, taken)
    return sources


def _draw_offsets(shape: torch.Size, reach: int, generator: torch.Generator) -> Sources:
    """How far from each pixel its source lies, in places; 0 at the borders, which are not visited.

    Sixteen bits choose among the (2 * reach) ** 2 pairs, which are equally likely to 1 part in
    1,000 up to a reach of 4.
    """
    batch, _, height, width = shape
    drawn = (batch, 1, height - 2 * reach, width - 2 * reach)
    bits = draw_bits(torch.Size(drawn), generator)[:, 0]
    pair = (bits.int() + 2**15).mul_(4 * reach**2) >> 16
    table = _offset_table(width, reach, generator.device)
    offsets = torch.zeros((batch, height, width), dtype=torch.long, device=generator.device)
    visited = offsets[:, reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    visited.copy_(table.index_select(0, pair.view(-1)).view(pair.shape))
    return offsets.view(batch, -1)


@lru_cache(maxsize=32)
def _offset_table(width: int, reach: int, device: torch.device) -> Int64[Tensor, " pair"]:
    step = torch.arange(-reach, reach)
    return (step[:, None] * width + step).flatten().to(device)


def _is_visited(height: int, width: int, reach: int, device: torch.device) -> Tensor:
    visited = torch.zeros((height, width), dtype=torch.bool, device=device)
    visited[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    return visited.flatten()


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
