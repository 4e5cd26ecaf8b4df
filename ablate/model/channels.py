"""Which axis of a layer's output is the channel, read from the modules in it and next to it.

A convolution writes (batch, channel, height, width); a transformer writes (batch, token, channel)
or (batch, height, width, channel).  A module that fixes the axis also knows how many channels it
has, and only one whose number is that of the map counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from ablate.errors import ParameterError

_FOUND: WeakKeyDictionary[nn.Module, dict[tuple[str, tuple[int, ...]], int | None]] = (
    WeakKeyDictionary()
)
"""Network -> (module path, one image's shape) -> axis, since every step asks the same."""

_MOVING_BLOCKS = ("torchvision.models.convnext.CNBlock", "timm.models.convnext.ConvNeXtBlock")
"""Blocks that move the channels to the end for their own norm, and back again."""


def channel_axis(model: nn.Module, layer: str, path: str, shape: Sequence[int]) -> int | None:
    """The axis of the channels in a layer's output; the batch is axis 0.

    The network's own dict `channel_axes` (layer or module path -> axis) comes first.  Otherwise
    the modules inside the layer decide, or those next to it in the network: convolutions, batch
    norms and group norms have the channels at axis 1, layer norms and linear layers at the last.

    Args:
        layer: the name asked for, an alias or a module path; path: the module's path.
        shape: of the output, batch first.

    Returns:
        None if nothing tells the axis, or two fit.  A map of two axes is one position: axis 1.

    Raises:
        ParameterError: if `channel_axes` names an axis that the map does not have.
    """
    stated = getattr(model, "channel_axes", {})
    axis = stated.get(layer, stated.get(path))
    if axis is not None:
        if axis not in range(-len(shape) + 1, len(shape)) or axis == 0:
            raise ParameterError(
                f"channel_axes.{layer}: must be an axis of the feature map after the batch, got "
                f"{axis} for {list(shape)}. Count the batch as axis 0, or from the end, -1."
            )
        return int(axis) % len(shape)
    if len(shape) <= 2:
        return 1
    known = _FOUND.setdefault(model, {})
    key = (path, tuple(shape[1:]))
    if key not in known:
        known[key] = _find_axis(model, path, shape)
    return known[key]


def move_channels(features: Tensor, axis: int | None) -> Tensor:
    """A view with the channels at axis 1, the positions after them; the map itself if they are."""
    return features if axis is None or axis == 1 else features.movedim(axis, 1)


class _Evidence(NamedTuple):
    """What a module tells: whether the channels are last, and how many it reads and writes."""

    last: bool
    reads: int
    writes: int
    linear: bool = False


def _evidence(module: nn.Module) -> _Evidence | None:
    if isinstance(module, _ConvNd):
        return _Evidence(False, module.in_channels, module.out_channels)
    if isinstance(module, _NormBase):
        return _Evidence(False, module.num_features, module.num_features)
    if isinstance(module, nn.GroupNorm):
        return _Evidence(False, module.num_channels, module.num_channels)
    if isinstance(module, nn.Linear):
        return _Evidence(True, module.in_features, module.out_features, linear=True)
    shape = getattr(module, "normalized_shape", ())
    if isinstance(shape, tuple) and len(shape) == 1:
        # torchvision's and timm's `LayerNorm2d`, `RmsNorm2d` normalise axis 1.
        return _Evidence(not type(module).__name__.endswith("2d"), *shape, *shape)
    return None


def _find_axis(model: nn.Module, path: str, shape: Sequence[int]) -> int | None:
    inside = list(_inside(model.get_submodule(path)))
    if len(shape) > 3 and not all(evidence.linear for evidence in inside):
        # Squeeze-excitation reads vectors: in a map of four axes linear layers count where nothing
        # else does.
        inside = [evidence for evidence in inside if not evidence.linear]
    axes = _votes([(evidence, evidence.writes) for evidence in inside], shape)
    axes = axes or _votes(_neighbours(model, path), shape)
    if axes:
        return axes.pop() if len(axes) == 1 else None
    # A network in which every module but linear ones has the channels at axis 1.
    told = [evidence for module in model.modules() if (evidence := _evidence(module)) is not None]
    last = [evidence.last for evidence in told if not evidence.linear]
    return 1 if len(shape) > 3 and last and not any(last) else None


def _inside(module: nn.Module, only_first: bool = False) -> Iterator[_Evidence]:
    kind = type(module)
    only_first = only_first or f"{kind.__module__}.{kind.__qualname__}" in _MOVING_BLOCKS
    evidence = _evidence(module)
    if evidence is not None and not (only_first and evidence.last):
        yield evidence
    for child in module.children():
        yield from _inside(child, only_first)


def _votes(told: Sequence[tuple[_Evidence, int]], shape: Sequence[int]) -> set[int]:
    """The axes that modules mean, of those whose number of channels is that of the map."""
    axes = set()
    linear = {channels for evidence, channels in told if evidence.linear}
    by_chance = len(shape) > 3 and shape[1] in linear
    for evidence, channels in told:
        axis = len(shape) - 1 if evidence.last else 1
        if shape[axis] == channels and not (evidence.linear and by_chance):
            axes.add(axis)
    return axes


def _neighbours(model: nn.Module, path: str) -> list[tuple[_Evidence, int]]:
    """The nearest modules that tell before and after a layer, as the network lists them, with the
    channels that the one writes and the other reads."""
    before: list[tuple[_Evidence, int]] = []
    after: list[tuple[_Evidence, int]] = []
    is_after = False
    for name, module in model.named_modules():
        if name == path or name.startswith(f"{path}."):
            is_after = True
        elif (evidence := _evidence(module)) is not None:
            if is_after:
                after.append((evidence, evidence.reads))
            else:
                before.append((evidence, evidence.writes))
    return before[-1:] + after[:1]
