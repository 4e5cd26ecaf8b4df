"""Networks, as plain data: importing this loads no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_STAGES_OF_3 = ("stem", "stage1", "stage2", "stage3")

TAPS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("resnet8", "resnet20", "resnet32", "resnet56", "wrn-16-2", "wrn-28-10", "wrn-40-2"),
    _STAGES_OF_3,
)
"""Own network -> the layers whose feature maps have a name, first to last."""

MODELS = tuple(TAPS)
"""What `model.name` may name without a colon."""

SOURCES = ("torchvision", "timm")
"""Packages whose networks are named `SOURCE:NAME`; any other `MODULE:CALLABLE` is imported."""

# Pattern of torchvision's names -> stages after the stem.
_TORCHVISION_STAGES = {
    r"(wide_)?resne(x)?t\d+.*": 4,
    r"convnext_.*": 4,
    r"efficientnet_b\d": 7,
    r"efficientnet_v2_s": 6,
    r"efficientnet_v2_[ml]": 7,
    r"mobilenet_v2": 5,
    r"mobilenet_v3_large": 5,
    r"mobilenet_v3_small": 4,
    r"densenet\d+": 4,
    r"regnet_[xy]_.*": 4,
    r"swin_.*": 4,
    r"vit_b_\d+": 12,
    r"vit_l_\d+": 24,
    r"vit_h_\d+": 32,
}


_WITHOUT_BATCH_NORM = ("torchvision:convnext_", "torchvision:swin_", "torchvision:vit_")


def has_batch_norm(name: str) -> bool | None:
    """Whether a network has batch norm, if its name tells (as for `taps_of`); else None."""
    return None if taps_of(name) is None else not name.startswith(_WITHOUT_BATCH_NORM)


def is_external(name: str) -> bool:
    """Whether a model's name is that of a network from elsewhere, `SOURCE:NAME`."""
    return ":" in name


def chosen_layers(layers: Sequence[str] | str, taps: Sequence[str]) -> tuple[str, ...]:
    """The layers that a value of `loss.fma.layers` means in a network with these taps: `taps` is
    all of them, `last` the last."""
    if isinstance(layers, str):
        return tuple(taps) if layers == "taps" else tuple(taps[-1:])
    return tuple(layers)


def taps_of(name: str) -> tuple[str, ...] | None:
    """The named layers of a network, first to last, if its name determines them.

    Args:
        name: as `model.name` names it.

    Returns:
        None if they are known only after building: for timm, callables, and networks of torchvision
        that are of another family or do not exist.
    """
    if name in TAPS:
        return TAPS[name]
    source, _, network = name.partition(":")
    if source == "torchvision":
        for pattern, stages in _TORCHVISION_STAGES.items():
            if re.fullmatch(pattern, network):
                return ("stem", *(f"stage{i}" for i in range(1, stages + 1)))
    return None


@dataclass(frozen=True)
class LayerNames:
    """What the layers of a network can be called.

    Attributes:
        taps: alias -> module path, in order of depth; empty where the network has no aliases.
        modules: every module path, in the order in which the network lists them.
    """

    taps: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def ready(self, layer: str) -> int:
        """When the output of a tap or module is ready: the place in `modules` of the last module
        inside it."""
        path = self.taps.get(layer, layer)
        inside = (place for place, one in enumerate(self.modules) if one.startswith(f"{path}."))
        return max(inside, default=self.modules.index(path))
