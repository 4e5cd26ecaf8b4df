"""Networks, as plain data: importing this loads no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MODELS = ("resnet8", "resnet20", "resnet32", "resnet56", "wrn-16-2", "wrn-28-10", "wrn-40-2")
"""What `model.name` may name without a colon."""

TAPS = ("stem", "stage1", "stage2", "stage3")
"""Layers of our own networks whose feature maps have a name, first to last."""

SOURCES = ("torchvision", "timm")
"""Packages whose networks are named `SOURCE:NAME`; any other `MODULE:CALLABLE` is imported."""

_WITHOUT_BATCH_NORM = ("torchvision:convnext_", "torchvision:swin_", "torchvision:vit_")


def _paths(stem: str, stage: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return (stem, *(stage.format(number) for number in numbers))


_BLOCKS = ("features.0", "features.{}")
_TOKENS = ("conv_proj", "encoder.layers.encoder_layer_{}")
_TORCHVISION = {
    # The first ReLU, and each group of blocks.
    r"(wide_)?resne(x)?t\d+.*": _paths("relu", "layer{}", range(1, 5)),
    r"densenet\d+": _paths("features.relu0", "features.denseblock{}", range(1, 5)),
    r"regnet_[xy]_.*": _paths("stem", "trunk_output.block{}", range(1, 5)),
    # Downsampling layers stand between the stages.
    r"(convnext|swin)_.*": _paths(*_BLOCKS, (1, 3, 5, 7)),
    # Each group of MBConv blocks; the widening convolution before the classifier has no name.
    r"efficientnet_(b\d|v2_[ml])": _paths(*_BLOCKS, range(1, 8)),
    r"efficientnet_v2_s": _paths(*_BLOCKS, range(1, 7)),
    # The last block at each resolution.
    r"mobilenet_v2": _paths(*_BLOCKS, (1, 3, 6, 13, 17)),
    r"mobilenet_v3_large": _paths(*_BLOCKS, (1, 3, 6, 12, 15)),
    r"mobilenet_v3_small": _paths(*_BLOCKS, (1, 3, 8, 11)),
    # The embedded patches, and every block.
    r"vit_b_\d+": _paths(*_TOKENS, range(12)),
    r"vit_l_\d+": _paths(*_TOKENS, range(24)),
    r"vit_h_\d+": _paths(*_TOKENS, range(32)),
}
"""Pattern of torchvision's names -> module paths of the stem and of each stage."""


def tap_paths(name: str) -> dict[str, str]:
    """Alias -> module path of the named layers of a network, first to last, as its name tells.

    Args:
        name: as `model.name` names it.

    Returns:
        Empty if they are known only after building: for timm, callables, and networks of
        torchvision that are of another family or do not exist.
    """
    if name in MODELS:
        return {tap: tap for tap in TAPS}
    source, _, network = name.partition(":")
    if source == "torchvision":
        for pattern, (stem, *stages) in _TORCHVISION.items():
            if re.fullmatch(pattern, network):
                numbered = {f"stage{number}": path for number, path in enumerate(stages, start=1)}
                return {"stem": stem, **numbered}
    return {}


def taps_of(name: str) -> tuple[str, ...] | None:
    """The aliases of `tap_paths`; None if the name does not tell them."""
    return tuple(tap_paths(name)) or None


def no_feature_map(name: str) -> str:
    """What is said of a network without usable taps."""
    return f"no layer of {name} has a feature map (height and width, or tokens)"


def has_batch_norm(name: str) -> bool | None:
    """Whether a network has batch norm, if its name tells (as for `taps_of`); else None."""
    return None if taps_of(name) is None else not name.startswith(_WITHOUT_BATCH_NORM)


def is_external(name: str) -> bool:
    """Whether a model's name is that of a network from elsewhere, `SOURCE:NAME`."""
    return ":" in name


def is_own_code(name: str) -> bool:
    """Whether a name of a network, or of weights, is that of code of the user's own."""
    return is_external(name) and name.partition(":")[0] not in (*SOURCES, "ablate")


def chosen_layers(layers: Sequence[str] | str, taps: Sequence[str]) -> tuple[str, ...]:
    """The layers that a value of `loss.fma.layers` means in a network with these taps: `taps` is
    all of them, `last` the last."""
    if isinstance(layers, str):
        return tuple(taps) if layers == "taps" else tuple(taps[-1:])
    return tuple(layers)


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
