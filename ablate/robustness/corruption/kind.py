"""What a corruption is: parameters by severity, and a function that is applied to a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate.distortion.kind import Kind, check_images
from ablate.distortion.own import apply_own, named, takes_severity
from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError
from ablate.robustness.corruption import SEVERITIES, Scale, scale_for
from ablate.robustness.corruption.frost import FrostPhotographs
from ablate.study.callables import import_callable

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
        generator: of the random draws, on the images' device.
        scale: whether sizes are those of CIFAR-10-C or of ImageNet-C.
        frost: photographs of frost; None: a generated texture is used.
    """

    generator: torch.Generator
    scale: Scale
    frost: FrostPhotographs | None = None


@dataclass(frozen=True)
class Corruption(Kind):
    """A kind with severities from 1 to 5.

    Attributes:
        apply: (fp32 images in [0, 1], setting, *parameters) -> the corrupted images, fp32 of the
            same shape, not rounded to bytes; the caller clamps values to [0, 1].
        tables: parameters by severity, 1 first, for both scales.
        channelwise: whether it treats each channel separately and so accepts one channel; otherwise
            grey images are expanded to three equal channels, and the luma of the result is
            returned.
        part_pixels: size of the parts that a batch is corrupted in; it affects the random draws.
    """

    apply: Callable[..., Tensor]
    tables: Mapping[Scale, tuple[Parameters, ...]]
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
            not rounded; floats stay floats, unless the corruption works on bytes (as JPEG does).

        Raises:
            ParameterError: if shape, dtype, range or severity is invalid.
        """
        check_batch(self.name, images)
        if severity not in SEVERITIES or type(severity) is not int:
            raise ParameterError(
                f"{self.name}: severity must be a whole number from 1 to 5, got {severity!r}."
            )
        setting = Setting(generator, scale or scale_for(min(images.shape[2:])), frost)
        corrupted = torch.empty_like(images, memory_format=torch.contiguous_format)
        size = max(1, self.part_pixels // (images.shape[2] * images.shape[3]))
        for start in range(0, len(images), size):
            part = images[start : start + size].contiguous()
            corrupted[start : start + size] = self._corrupt(part, severity, setting)
        return corrupted

    def _corrupt(self, images: Tensor, severity: int, setting: Setting) -> Tensor:
        is_bytes = images.dtype == torch.uint8
        floats = images.float().div_(255) if is_bytes else images.float()
        expanded = floats
        if images.shape[1] == 1 and not self.channelwise:
            expanded = floats.expand(-1, 3, -1, -1).contiguous()
        with torch.autocast(images.device.type, enabled=False):
            corrupted = self.apply(expanded, setting, *self.tables[setting.scale][severity - 1])
        corrupted = corrupted.clamp_(0, 1) if is_bytes else corrupted.clamp(0, 1)
        if expanded is not floats:
            luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
            corrupted = (corrupted * luma).sum(1, keepdim=True)
        # Through int16, which CPUs vectorise; a direct conversion to bytes takes five times as
        # long.
        return corrupted.mul_(255).add_(ROUNDING).to(torch.int16) if is_bytes else corrupted


def corruption(
    *,
    cifar: Sequence[float | Parameters],
    imagenet: Sequence[float | Parameters] | None = None,
    channelwise: bool = False,
    part_pixels: int = PART_PIXELS,
) -> Callable[[Callable[..., Tensor]], Corruption]:
    """Make a function the `Corruption` of its name.

    Args:
        cifar, imagenet: parameters by severity; a number where there is but one.  None: as cifar.
        channelwise, part_pixels: as in `Corruption`.
    """

    def rows(table: Sequence[float | Parameters]) -> tuple[Parameters, ...]:
        return tuple(row if isinstance(row, tuple) else (row,) for row in table)

    tables: dict[Scale, tuple[Parameters, ...]]
    tables = {"cifar": rows(cifar), "imagenet": rows(imagenet or cifar)}
    return lambda apply: Corruption(apply.__name__, apply, tables, channelwise, part_pixels)


def own_corruption(name: str, base: Path | None) -> Corruption:
    """The corruption that a function of the user's own is (`ablate.distortion.own`)."""
    where = "robustness.suite"
    function = import_callable(where, name, base)
    by_severity, asked = takes_severity(function), named(where, name, function)

    def apply(images: Images, setting: Setting, severity: float) -> Images:
        level: Any = int(severity)
        if not by_severity:
            level = torch.full((len(images),), severity / len(SEVERITIES), device=images.device)
        return apply_own(asked, images, level, setting.generator)

    table = tuple((float(severity),) for severity in SEVERITIES)
    return Corruption(name, apply, {"cifar": table, "imagenet": table})


def check_batch(where: str, images: Tensor) -> None:
    """Refuse input that is not a batch of images; the range of floats is checked.

    Raises:
        ParameterError: naming `where`.
    """
    check_images(where, images, bytes_too=True)
    if min(images.shape[2:]) < SMALLEST_SIDE:
        raise ParameterError(
            f"{where}: images must have sides of {SMALLEST_SIDE} pixels or more, got "
            f"{images.shape[2]} x {images.shape[3]}. Enlarge them first."
        )
    if images.is_floating_point() and images.numel():
        low, high = (bound.item() for bound in images.aminmax())
        if not (low >= 0 and high <= 1):  # NaN too
            raise ParameterError(
                f"{where}: floating point images must be in [0, 1], got {low:g} to {high:g}. "
                "Divide bytes by 255, and corrupt before normalising."
            )


_PACKAGE = Path(__file__).parents[2]
_SOURCES = (
    *("distortion/*.py", "robustness/corruption/*.py", "robustness/corruption/added/*.py"),
    *("robustness/evaluation_set.py", "study/seeds.py"),
)
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow")
"""Their codecs, filters and random draws affect the pixels."""


@cache
def code_version() -> str:
    """A digest of the source files that produce pixels, and of the versions of libraries, for the
    keys of stored copies.

    A changed comment changes it too: then sets are regenerated needlessly, but a set is never
    mistaken for another one.
    """
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for file in sorted(_PACKAGE.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            digest.update(file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()[:16]
