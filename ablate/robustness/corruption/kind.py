"""The class of all corruptions: parameter tables, and application to a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from ablate.distortion.saturation import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError, did_you_mean
from ablate.robustness.corruption import (
    ADDED,
    CORRUPTIONS,
    FAMILIES,
    SEVERITIES,
    Scale,
    scale_for,
)
from ablate.robustness.corruption.frost_photographs import FrostPhotographs

Parameters = tuple[float, ...]

SMALLEST_SIDE = 8
"""Smallest side of an image, in pixels."""

PART_PIXELS = 2**17
"""A batch is corrupted in parts of this many pixels, in order: 128 images of 32 x 32, 2 of 224 x
224.  On a CPU the memory of a part comes from the heap.  That of a complete batch would be
requested from the system each time, which takes three times as long as drawing the noise."""

ONE_PLANE_PART_PIXELS = 2**18
"""The same for corruptions that mostly work on one plane per image, in many small steps."""

ROUNDING = 1e-3
"""Added before truncation to bytes: in fp32, 255 can become 254.99998."""


@dataclass(frozen=True)
class Setting:
    """What a corruption depends on in addition to its parameters.

    Attributes:
        scale: whether sizes are those of CIFAR-10-C or of ImageNet-C.
        frost: photographs of frost; None: a generated texture is used.
    """

    scale: Scale
    frost: FrostPhotographs | None = None


Apply = Callable[[Images, Parameters, torch.Generator, Setting], Tensor]


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        name: as in `FAMILIES` or `ADDED`.
        tables: parameters by severity, 1 first, for both scales.
        apply: (fp32 images in [0, 1], parameters, generator on their device, setting) -> the
            corrupted images, fp32 of the same shape, not rounded to bytes; the caller clamps values
            to [0, 1].  It checks nothing and does not modify its input.
        channelwise: whether it treats each channel separately and so accepts one channel; otherwise
            grey images are expanded to three equal channels, and the luma of the result is
            returned.
        part_pixels: size of the parts that a batch is corrupted in; it affects the random draws.
    """

    name: str
    tables: Mapping[Scale, tuple[Parameters, ...]]
    apply: Apply
    channelwise: bool = False
    part_pixels: int = PART_PIXELS

    def __call__(
        self,
        images: Tensor,
        severity: int,
        generator: torch.Generator,
        *,
        scale: Scale | None = None,
        frost: FrostPhotographs | None = None,
    ) -> Tensor:
        """Corrupt a batch.

        Args:
            images: uint8, or floating point in [0, 1]; `[batch, channel, height, width]` with 1
                or 3 channels, sides of 8 pixels or more, square or not.
            severity: from 1 to 5.
            generator: on the images' device; the same state gives the same images on a CPU.
            scale: which table to use; None: "cifar" up to a shorter side of 96 pixels, else
                "imagenet".
            frost: photographs for `frost`.

        Returns:
            New images of the same shape, dtype and device. Bytes are truncated as in the benchmark,
            not rounded; floats are not converted to bytes, unless the corruption itself works on
            bytes (such as JPEG and pixelate).

        Raises:
            ParameterError: if shape, dtype, range or severity is invalid.
        """
        check_batch(self.name, images)
        if severity not in SEVERITIES or type(severity) is not int:
            raise ParameterError(
                f"{self.name}: severity must be a whole number from 1 to 5, got {severity!r}."
            )
        setting = Setting(scale or scale_of(images), frost)
        corrupted = torch.empty_like(images, memory_format=torch.contiguous_format)
        size = max(1, self.part_pixels // (images.shape[2] * images.shape[3]))
        for start in range(0, len(images), size):
            part = images[start : start + size].contiguous()
            corrupted[start : start + size] = self._corrupt(part, severity, generator, setting)
        return corrupted

    def _corrupt(
        self, images: Tensor, severity: int, generator: torch.Generator, setting: Setting
    ) -> Tensor:
        is_bytes = images.dtype == torch.uint8
        floats = images.float().div_(255) if is_bytes else images.float()
        expanded = floats
        if images.shape[1] == 1 and not self.channelwise:
            expanded = floats.expand(-1, 3, -1, -1).contiguous()
        parameters = self.tables[setting.scale][severity - 1]
        with torch.autocast(images.device.type, enabled=False):
            corrupted = self.apply(expanded, parameters, generator, setting)
        corrupted = corrupted.clamp_(0, 1) if is_bytes else corrupted.clamp(0, 1)
        if expanded is not floats:
            luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
            corrupted = (corrupted * luma).sum(1, keepdim=True)
        # Through int16, which CPUs vectorise; a direct conversion to bytes takes five times as
        # long.
        return corrupted.mul_(255).add_(ROUNDING).to(torch.int16) if is_bytes else corrupted


def scale_of(images: Tensor) -> Scale:
    """The table for images of this size."""
    return scale_for(min(images.shape[2:]))


def check_batch(where: str, images: Tensor) -> None:
    """Refuse input that is not a batch of images; the range of floats is checked.

    Raises:
        ParameterError: naming `where`.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ParameterError(
            f"{where}: images must be [batch, channel, height, width] with 1 or 3 channels, got "
            f"shape {list(images.shape)}. Add or move the missing axis."
        )
    if min(images.shape[2:]) < SMALLEST_SIDE:
        raise ParameterError(
            f"{where}: images must have sides of {SMALLEST_SIDE} pixels or more, got "
            f"{images.shape[2]} x {images.shape[3]}. Enlarge them first."
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ParameterError(
            f"{where}: images must be uint8, or floating point in [0, 1], got {images.dtype}. "
            "Convert them."
        )
    if images.is_floating_point() and images.numel():
        low, high = (bound.item() for bound in images.aminmax())
        if not (low >= 0 and high <= 1):  # NaN too
            raise ParameterError(
                f"{where}: floating point images must be in [0, 1], got {low:g} to {high:g}. "
                "Divide bytes by 255, and corrupt before normalising."
            )


def load(name: str) -> Corruption:
    """The corruption of that name.

    Raises:
        ParameterError: if there is none.
    """
    for family, names in FAMILIES.items():
        if name in names:
            module = import_module(f"ablate.robustness.corruption.{family}")
            found: Corruption = module.CORRUPTIONS[name]
            return found
    if name in ADDED:
        own: Corruption = import_module(f"ablate.robustness.corruption.added.{name}").CORRUPTION
        return own
    raise ParameterError(
        f"corruption: must be a known corruption, got {name!r}. "
        f"{did_you_mean(name, (*CORRUPTIONS, *ADDED))}"
    )


# -- A digest of the code that makes corrupted images, for the keys of stored copies -------


_PACKAGE = Path(__file__).parents[2]
_SOURCES = (
    *("distortion/*.py", "robustness/corruption/*.py"),
    *("robustness/evaluation_set.py", "study/seeds.py"),
)
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow")
"""Their codecs, filters and random draws affect the pixels."""


def code_version(types: Collection[str] = ()) -> str:
    """A digest of the source files that produce pixels, and of the versions of libraries.

    A changed comment changes it too: then sets are regenerated needlessly, but a set is never
    mistaken for another one.

    Args:
        types: the file of a corruption in `added/` counts only if it is among these, so that the
            sets of other types stay when one is added.
    """
    return _digest_code(tuple(name for name in ADDED if name in types))


@cache
def _digest_code(added: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for pattern in (*_SOURCES, *(f"robustness/corruption/added/{name}.py" for name in added)):
        for file in sorted(_PACKAGE.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            digest.update(file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()[:16]
