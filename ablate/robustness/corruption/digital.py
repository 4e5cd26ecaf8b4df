"""Digital: contrast, elastic transform, pixelate, JPEG and saturate.

Source: hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py.  JPEG is the real codec:
torchvision's, which here gives the bytes that Pillow's gives.
"""

from __future__ import annotations

import torch

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.elastic import elastic
from ablate.robustness.corruption.kind import Corruption, Parameters, Setting
from ablate.robustness.corruption.pixels import shrink_and_enlarge

_FINEST = 1e-12  # stands for a chroma or value of 0


def contrast(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The images pulled towards their means, channel by channel.

    Args:
        images: in [0, 1].
        parameters: what is left of the distance from the mean.
    """
    (kept,) = parameters
    means = images.mean((2, 3), keepdim=True)
    return (images * kept).add_(means.mul_(1 - kept))


CONTRAST = Corruption(
    "contrast",
    {
        "cifar": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
        "imagenet": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    },
    contrast,
    channelwise=True,
)


def elastic_transform(
    images: Images, parameters: Parameters, generator: torch.Generator, setting: Setting
) -> Images:
    """The images warped by an affine map and, but for the weakest, smooth displacements.

    Args:
        images: in [0, 1].
        parameters: alpha, sigma and reach of the affine map's points, as shares of the shorter
            side; for ImageNet-C of 244 pixels where the image has 224, as its code has it.
    """
    side = min(images.shape[2:])
    unit = side * 244 / 224 if setting.scale == "imagenet" else side
    alpha, sigma, affine = (unit * share for share in parameters)
    return elastic(images, alpha, sigma, affine, generator)


ELASTIC_TRANSFORM = Corruption(
    "elastic_transform",
    {
        "cifar": (
            (0.0, 0.0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        "imagenet": (
            (2.0, 0.7, 0.1),
            (2.0, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        ),
    },
    elastic_transform,
    channelwise=True,
)


def pixelate(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The images made smaller and large again, in whole bytes.

    Args:
        images: in [0, 1].
        parameters: the share of their sides.
    """
    (share,) = parameters
    return shrink_and_enlarge(images, share)


PIXELATE = Corruption(
    "pixelate",
    {
        "cifar": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
        "imagenet": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    },
    pixelate,
    channelwise=True,
)


def jpeg_compression(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The images written to JPEG and read again, one by one on the CPU, in whole bytes.

    Args:
        images: in [0, 1], RGB.
        parameters: quality, as libjpeg counts it.
    """
    from torchvision.io import decode_jpeg, encode_jpeg  # takes longer to load than torch does

    (quality,) = parameters
    levels = (images * 255).round_().to(torch.int16).to("cpu", torch.uint8)
    # The codec wants a pixel's channels side by side; all at once that is quicker than in each.
    pixels = levels.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    decoded = decode_jpeg(encode_jpeg(list(pixels), int(quality)))
    return torch.stack(decoded).to(images.device).float().div_(255)


JPEG_COMPRESSION = Corruption(
    "jpeg_compression",
    {
        "cifar": ((80.0,), (65.0,), (58.0,), (50.0,), (40.0,)),
        "imagenet": ((25.0,), (18.0,), (15.0,), (10.0,), (7.0,)),
    },
    jpeg_compression,
)


def saturate(
    images: Images, parameters: Parameters, _generator: torch.Generator, _: Setting
) -> Images:
    """The saturation of HSV scaled and raised; grey pixels turn red where it is raised.

    Args:
        images: in [0, 1], RGB.
        parameters: factor and summand of the saturation.
    """
    factor, summand = parameters
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


SATURATE = Corruption(
    "saturate",
    {
        "cifar": ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        "imagenet": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    },
    saturate,
)


CORRUPTIONS = {
    made.name: made for made in (CONTRAST, ELASTIC_TRANSFORM, PIXELATE, JPEG_COMPRESSION, SATURATE)
}
