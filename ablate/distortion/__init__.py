"""Distortions of image batches, on the device, one strength per image.

This module is plain data: importing it loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import ParameterError, did_you_mean
from ablate.study.callables import is_callable_name

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


def with_own(
    families: Mapping[str, Sequence[str]], names: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Families, and the user's own types among these names: each belongs to the family of its
    file's name, as those here do; `my_lab.blur:smear` to `blur`."""
    found = {family: tuple(kinds) for family, kinds in families.items()}
    for name in sorted({name for name in names if is_callable_name(name)}):
        family = name.partition(":")[0].rpartition(".")[2]
        found[family] = (*found.get(family, ()), name)
    return found


def load(name: str, base: Path | None = None) -> Distortion:
    """The distortion type of that name; a function of the user's own from the folder `base` too.

    Raises:
        ParameterError: if no family has it, or the function cannot be imported.
    """
    if is_callable_name(name):
        own: Distortion = import_module(f"{__name__}.own").own_distortion(name, base)
        return own
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
