"""The 19 common corruptions of CIFAR-10-C and ImageNet-C, on batches.

This module is plain data; importing it does not load torch.
Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ablate.distortion import find_kind
from ablate.robustness.corruption.added import ADDED as ADDED
from ablate.study.callables import is_callable_name

if TYPE_CHECKING:
    from ablate.robustness.corruption.kind import Corruption

Scale = Literal["cifar", "imagenet"]
"""Table of parameters: of CIFAR-10-C (32 x 32) or of ImageNet-C (224 x 224)."""

SEVERITIES = (1, 2, 3, 4, 5)

LARGEST_OF_CIFAR = 96
"""Shorter side in pixels up to which the table of CIFAR-10-C is the default."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
"""Family -> its corruptions, in the order of all tables; one file per family."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four corruptions that the benchmark reserves for validation."""

GREY_KEPT = {"saturate": (1, 2, 3)}
"""Severities at which a corruption changes nothing on grey images, with either table."""

CORRUPTIONS = tuple(name for names in FAMILIES.values() for name in names)

BENCHMARK = tuple(name for name in CORRUPTIONS if name not in EXTRA)
"""The fifteen corruptions of the benchmark's mean."""

OTHER = "other"
"""Family of corruptions that are not among the nineteen, such as those of the -bar sets."""

CIFAR10CBAR = (
    *("blue_noise_sample", "brownish_noise", "checkerboard_cutout", "inverse_sparkles"),
    *("pinch_and_twirl", "ripple", "circular_motion_blur", "lines", "sparkles"),
    "transverse_chromatic_abberation",
)
IMAGENETCBAR = (
    *("blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout"),
    *("cocentric_sine_waves", "inverse_sparkles", "perlin_noise", "plasma_noise"),
    *("single_frequency_greyscale", "sparkles"),
)
BAR = tuple(dict.fromkeys((*CIFAR10CBAR, *IMAGENETCBAR)))
"""The ten types of CIFAR-10-C-bar and those of ImageNet-C-bar, generated from descriptions."""

SELECTABLE: dict[str, tuple[str, ...]] = {**FAMILIES, OTHER: (*BAR, *ADDED)}
"""Family -> what a list may name: the nineteen, those of the -bar sets, and this project's own."""

APPROXIMATE_FROST = "frost: procedural texture, approximate"
"""Noted with every score of `frost` without photographs."""


def scale_for(shorter_side: int) -> Scale:
    """The table for images of this shorter side, in pixels."""
    return "cifar" if shorter_side <= LARGEST_OF_CIFAR else "imagenet"


def load(name: str, base: Path | None = None) -> Corruption:
    """The corruption of that name; a function of the user's own from the folder `base` too.

    Raises:
        ParameterError: if there is none, or the function cannot be imported.
    """
    if is_callable_name(name):
        own: Corruption = import_module(f"{__name__}.kind").own_corruption(name, base)
        return own
    files = {kind: f"{__name__}.{family}" for family, kinds in FAMILIES.items() for kind in kinds}
    files |= dict.fromkeys(BAR, f"{__name__}.bar")
    files |= {kind: f"{__name__}.added.{kind}" for kind in ADDED}
    found: Corruption = find_kind(name, files, "corruption: must be a known corruption")
    return found
