"""Distortions of image batches, on the device, one strength per image.

This module is plain data: importing it loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ablate.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from ablate.distortion.kind import Distortion

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": (
        "gaussian_noise",
        "impulse_noise",
        "shot_noise",
        "speckle_noise",
        "salt_and_pepper",
    ),
    "blur": ("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"),
    "photometric": ("brightness", "contrast", "saturation", "hue", "gamma"),
    "digital": ("jpeg", "pixelate"),
}
"""Family, and the file that has them -> its types, in the order of every table and of CA's mix."""

CORE: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "impulse_noise"),
    "blur": ("gaussian_blur",),
    "photometric": ("brightness", "contrast", "saturation"),
    "digital": ("jpeg", "pixelate"),
}
"""Family -> its core types, which are used if a family is named.

It does not grow with `FAMILIES`: a study that names families keeps its meaning and cost, and the
other types are unseen unless they are named individually.
"""

OF_COLOUR = ("saturation", "hue")
"""Types that change nothing on grey images."""


def load(name: str) -> Distortion:
    """The distortion type of that name.

    Raises:
        ParameterError: if no family has it.
    """
    files = {kind: f"{__name__}.{family}" for family, kinds in FAMILIES.items() for kind in kinds}
    found: Distortion = find_kind(name, files, "distortion: must be a registered type")
    return found


def find_kind(name: str, files: Mapping[str, str], rule: str) -> Any:
    """The `Kind` of that name, in the module of that name.

    Args:
        files: name -> the module that has it.
        rule: for the message.

    Raises:
        ParameterError: if none has it.
    """
    if name not in files:
        raise ParameterError(f"{rule}, got {name!r}. {did_you_mean(name, tuple(files))}")
    return getattr(import_module(files[name]), name)
