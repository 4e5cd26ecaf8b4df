"""What distortions and corruptions have in common, and what a distortion is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, Strengths
from ablate.errors import ParameterError


@dataclass(frozen=True)
class Kind:
    """One way to change images: a `Distortion`, to train on, or a `Corruption`, to score on.

    Attributes:
        name: as its package lists it in `FAMILIES`.
        apply: the pure function, which checks nothing and does not modify its input.
    """

    name: str
    apply: Callable[..., Tensor]


@dataclass(frozen=True)
class Distortion(Kind):
    """A kind with a strength from 0, which changes no bit, to 1, by image.

    Draw and apply are separate so that image i of a batch gets the same draw regardless of other
    types: the draw is made for the complete batch, and the images of the type use their rows.

    Attributes:
        apply: (images, strength, rows of the draw) -> the distorted images, in [0, 1], of the same
            shape, dtype and device.
        draw: (shape of the images, generator) -> random draws for the complete batch on the
            generator's device; the first axis is the image.  `draw_nothing` for a type that is not
            random.
    """

    apply: Callable[[Images, Strengths, Tensor], Images]
    draw: Callable[[torch.Size, torch.Generator], Tensor]

    def __call__(self, images: Tensor, strength: Tensor, generator: torch.Generator) -> Images:
        """Distort a batch, each image by its own strength.

        Args:
            images: floating point in [0, 1], `[batch, channel, height, width]`, 1 or 3 channels.
            strength: floating point in [0, 1], `[batch]`: 0 is the identity, 1 the strongest.
            generator: on the images' device.  The same state gives the same images on a CPU.

        Returns:
            New images of the same shape, dtype and device.

        Raises:
            ParameterError: if a shape or dtype is invalid, or a strength is outside [0, 1].
                Strengths on a GPU are not checked, because that would make it wait.
        """
        check_images(self.name, images)
        if strength.shape != images.shape[:1] or not strength.is_floating_point():
            raise ParameterError(
                f"{self.name}: strength must be one float per image, shape [{len(images)}], "
                f"got {strength.dtype} of shape {list(strength.shape)}. "
                "For one strength use torch.full((batch,), strength)."
            )
        if len(images) and strength.device.type == "cpu":
            low, high = (bound.item() for bound in strength.aminmax())
            if not (low >= 0 and high <= 1):
                raise ParameterError(
                    f"{self.name}: strength must be in [0, 1], got {low:g} to {high:g}. Clamp it."
                )
        return self.apply(images, strength, self.draw(images.shape, generator))


def distortion(
    draw: Callable[[torch.Size, torch.Generator], Tensor] = draw_nothing,
) -> Callable[[Callable[[Images, Strengths, Tensor], Images]], Distortion]:
    """Make a function the `Distortion` of its name."""
    return lambda apply: Distortion(apply.__name__, apply, draw)


def keep_at_zero(distorted: Images, images: Images, strength: Strengths) -> Images:
    """The distorted images, but at strength 0 the images themselves, to the last bit.

    For types whose arithmetic at strength 0 is the identity only to rounding.

    Args:
        distorted: in [0, 1], in fp32 or wider; written over.

    Returns:
        `distorted` in the dtype of the images.
    """
    if strength.device.type == "cpu" and bool(strength.all()):
        return distorted.to(images.dtype)
    kept = (strength == 0).to(distorted.dtype)[:, None, None, None]
    # lerp is exact at 0 and at 1, and with one number per image it is three times faster than
    # where on a CPU.
    return distorted.lerp_(images.to(distorted.dtype), kept).to(images.dtype)


def check_images(where: str, images: Tensor, *, bytes_too: bool = False) -> None:
    """Refuse input that is not a batch of images; only shape and dtype are checked.

    Args:
        bytes_too: whether they may be uint8.

    Raises:
        ParameterError: naming `where`.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ParameterError(
            f"{where}: images must be [batch, channel, height, width] with 1 or 3 channels, "
            f"got {list(images.shape)}. Add or move the missing axis."
        )
    if not (images.is_floating_point() or (bytes_too and images.dtype == torch.uint8)):
        rule = "uint8, or floating point in [0, 1]" if bytes_too else "floating point in [0, 1]"
        fix = "Convert them." if bytes_too else "Divide bytes by 255 first."
        raise ParameterError(f"{where}: images must be {rule}, got {images.dtype}. {fix}")
