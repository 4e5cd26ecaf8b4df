"""Blur: defocus, glass, motion, zoom and Gaussian.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py, whose quirks are kept: the
disk of defocus is one pixel at severities 1 to 3 of CIFAR-10-C, so that its 3 x 3 Gaussian alone
acts; glass copies pixels where it means to swap them; zoom divides by one more than its frames.
"""

from __future__ import annotations

import torch

from ablate.distortion.shapes import Images
from ablate.robustness.corruption import motion
from ablate.robustness.corruption.defocus import convolve_with_disk
from ablate.robustness.corruption.glass import draw_sources
from ablate.robustness.corruption.kind import ROUNDING, Corruption, Parameters, Setting
from ablate.robustness.corruption.separable import gaussian_filter
from ablate.robustness.corruption.zoom import mean_of_zooms


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
