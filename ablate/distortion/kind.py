"""The class of distortion types: random draws for a batch, and their application.

They are separate so that image i of a batch gets the same draw regardless of other types: the draw
is made for the complete batch, and the images of the type use their rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.distortion.shapes import Images, Strengths
from ablate.errors import ParameterError

Draw = Callable[[torch.Size, torch.Generator], Tensor]
Apply = Callable[[Images, Strengths, Tensor], Images]


@dataclass(frozen=True)
class Distortion:
    """One distortion type.

    Attributes:
        name: as in `FAMILIES`.
        draw: (shape of the images, generator) -> random draws for the complete batch on the
            generator's device; the first axis is the image. The other axes are empty if the type is
            not random.
        apply: (images, strength, rows of the draw) -> the distorted images, in [0, 1], of the same
            shape, dtype and device.  No checks.
    """

    name: str
    draw: Draw
    apply: Apply

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
        check_strength(self.name, strength, batch=len(images))
        return self.apply(images, strength, self.draw(images.shape, generator))


def keep_at_zero(distorted: Images, images: Images, strength: Strengths) -> Images:
    """The distorted images, but at strength 0 the images themselves, to the last bit.

    For types whose arithmetic at strength 0 is the identity only to rounding.

    Args:
        distorted: in [0, 1], in fp32 or wider; written over.
        images: the originals.
        strength: in [0, 1], one per image.

    Returns:
        `distorted` in the dtype of the images.
    """
    if strength.device.type == "cpu" and bool(strength.all()):
        return distorted.to(images.dtype)
    kept = (strength == 0).to(distorted.dtype)[:, None, None, None]
    # lerp is exact at 0 and at 1, and with one number per image it is three times faster than
    # where on a CPU.
    return distorted.lerp_(images.to(distorted.dtype), kept).to(images.dtype)


def check_images(where: str, images: Tensor) -> None:
    """Refuse input that is not a batch of float images; checks only shape and dtype.

    Raises:
        ParameterError: naming `where`.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ParameterError(
            f"{where}: images must be [batch, channel, height, width] with 1 or 3 channels, "
            f"got {list(images.shape)}. Add or move the missing axis."
        )
    if not images.is_floating_point():
        raise ParameterError(
            f"{where}: images must be floating point in [0, 1], got {images.dtype}. "
            "Divide bytes by 255 first."
        )


def check_strength(where: str, strength: Tensor, *, batch: int) -> None:
    """Refuse input that is not one strength per image.

    Raises:
        ParameterError: naming `where`.
    """
    if strength.shape != (batch,) or not strength.is_floating_point():
        raise ParameterError(
            f"{where}: strength must be one float per image, shape [{batch}], "
            f"got {strength.dtype} of shape {list(strength.shape)}. "
            "For one strength use torch.full((batch,), strength)."
        )
    if batch and strength.device.type == "cpu":
        low, high = (bound.item() for bound in strength.aminmax())
        if not (low >= 0 and high <= 1):
            raise ParameterError(
                f"{where}: strength must be in [0, 1], got {low:g} to {high:g}. Clamp it."
            )
