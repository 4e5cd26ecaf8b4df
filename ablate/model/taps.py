"""Feature maps of named layers, read while a network runs, with the channels at axis 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.optim.swa_utils import AveragedModel
from torch.utils.hooks import RemovableHandle

from ablate.errors import ParameterError, did_you_mean
from ablate.model import LayerNames

__all__ = [
    "FeatureMaps",
    "FeatureTaps",
    "LayerNames",
    "channel_axis",
    "head_of",
    "layer_names",
    "map_in",
    "split_copies",
]


def layer_names(model: nn.Module) -> LayerNames:
    """The aliases of a network (its dict `taps`, if any), and its module paths.

    For torch's `AveragedModel` they are those of the averaged network.
    """
    inner = _inner(model)
    paths = tuple(path for path, _ in inner.named_modules() if path)
    return LayerNames(dict(getattr(inner, "taps", {})), paths)


def head_of(model: nn.Module) -> tuple[str, ...]:
    """Module paths of the layers whose outputs are the classes: those that timm names in a network
    of its own, else the last layer with parameters; empty if that is not linear (or a
    convolution, which SqueezeNet's is)."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    *_, (path, last) = (
        (path, one) for path, one in model.named_modules() if [*one.parameters(recurse=False)]
    )
    return (path,) if isinstance(last, nn.Linear | nn.Conv2d) else ()


def _inner(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, AveragedModel) else model


def map_in(output: Any) -> Any:
    """The feature map in what a layer returns: element 0 of a tuple, else all of it."""
    return output[0] if isinstance(output, tuple) and output else output


class FeatureMaps(dict[str, Tensor]):
    """Layer -> its map (batch, channel, positions...).

    Attributes:
        unplaced: layers whose channel axis is not known; their maps are as the network has them.
    """

    def __init__(self, maps: Mapping[str, Tensor], unplaced: Iterable[str] = ()) -> None:
        super().__init__(maps)
        self.unplaced = frozenset(unplaced)


class FeatureTaps:
    """Keeps the outputs of some layers, with their gradient, while the context is open.

    Of a layer that returns a tuple it is element 0.  The last outputs remain available after the
    context closes.  While it is open, activations do not work in place (`ReLU(inplace=True)`),
    because they would overwrite the feature map.

    Maps come as (batch, channel, positions...), also those of a transformer, which has its channels
    last: `channel_axis` finds the axis.  Where it cannot, give the network a dict `channel_axes`,
    layer -> axis.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(inplace=True))
        >>> with ablate.FeatureTaps(model, ["0"]) as taps:
        ...     output = model(torch.rand(4, 3, 32, 32))
        >>> taps.features["0"].shape
        torch.Size([4, 8, 30, 30])
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], activation: str = "after") -> None:
        """Select the layers; nothing is read before the context is entered.

        Args:
            model: any network; if it has a dict `taps` (alias -> module path), like the built-in
                models, the aliases can be used.
            layers: aliases, or module paths as `model.named_modules()` gives them.
            activation: "after": the output of the layer; "before": the input of its last
                activation, for layers that end in an activation module.

        Raises:
            ParameterError: if the model has no such layer, or `activation` is another word.
        """
        if activation not in ("after", "before"):
            raise ParameterError(
                f"activation: must be after or before, got {activation!r}. Use one of them."
            )
        self._model = _inner(model)
        self._activation = activation
        self._paths: dict[str, str] = {}
        names = layer_names(model) if layers else LayerNames()
        for layer in layers:
            self._paths[layer] = names.taps.get(layer, layer)
            if self._paths[layer] not in names.modules:
                nearest = get_close_matches(layer, [*names.taps, *names.modules], n=1)
                shown = (
                    nearest or [*names.taps] or [name for name, _ in self._model.named_children()]
                )
                raise ParameterError(
                    f"layers: must be taps or module paths of {type(self._model).__name__}, got "
                    f"{layer!r}. {did_you_mean(layer, shown)}"
                )
        self._kept: dict[str, tuple[Tensor, int | None]] = {}
        self.without_gradient: set[str] = set()
        """Layers that ran in a block without gradient, as in the latest forward pass."""
        # Layer -> (input, output) of the activation that ran last inside it.
        self._activated: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles: list[RemovableHandle] = []
        modules = self._model.modules() if layers else ()
        self._may_be_in_place = [
            one for one in modules if isinstance(getattr(one, "inplace", None), bool)
        ]
        self._in_place: list[nn.Module] = []

    @property
    def features(self) -> FeatureMaps:
        """Layer -> its map in the latest forward pass, under the name asked for; not a copy.

        Raises:
            ParameterError: if the network has changed a map in place since, or its `channel_axes`
                name an axis that a map does not have.
        """
        for layer, (kept, version) in self._kept.items():
            if version is not None and version != _version(kept):
                parent = self._paths[layer].rpartition(".")[0]
                fix = f"Tap {parent}, which contains it." if parent else "Tap a later layer."
                raise ParameterError(
                    f"layers: {layer} must keep its output to be tapped, got one that is later "
                    f"changed in place. {fix}"
                )
        maps: dict[str, Tensor] = {}
        unplaced = []
        for layer, path in self._paths.items():
            if layer in self._kept:
                kept = self._kept[layer][0]
                axis = channel_axis(self._model, layer, path, kept.shape)
                maps[layer] = kept if axis is None or axis == 1 else kept.movedim(axis, 1)
                if axis is None:
                    unplaced.append(layer)
        return FeatureMaps(maps, unplaced)

    def __enter__(self) -> FeatureTaps:
        if not self._paths:
            return self
        self._in_place = [one for one in self._may_be_in_place if one.inplace]
        _set_in_place(self._in_place, False)
        for layer, path in self._paths.items():
            module = self._model.get_submodule(path)
            if self._activation == "before":
                note = partial(self._note, layer)
                for inner in filter(is_activation, module.modules()):
                    self._handles.append(inner.register_forward_hook(note))
            keep = partial(self._keep, layer)
            self._handles.append(module.register_forward_hook(keep))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._activated.clear()
        _set_in_place(self._in_place, True)

    def clear(self) -> None:
        """Forget the last outputs, and so free their memory."""
        self._kept.clear()
        self.without_gradient.clear()

    def split(self, n: int = 2) -> tuple[FeatureMaps, ...]:
        """The equal parts of every map, for a forward pass of `torch.cat([clean, *copies])`.

        Args:
            n: parts: the clean images and each copy of them.

        Returns:
            For each part, layer -> its rows.

        Raises:
            ParameterError: if a batch has no `n` equal parts, a layer has not run, or the network
                has changed a map.
        """
        maps = self.features
        for layer in self._paths:
            if layer not in maps:
                raise ParameterError(
                    f"layers: {layer} must run in the forward pass to be tapped, got a pass "
                    "without it. Tap a layer inside it, or another one."
                )
        split = {layer: split_copies(features, n) for layer, features in maps.items()}
        return tuple(
            FeatureMaps({layer: parts[place] for layer, parts in split.items()}, maps.unplaced)
            for place in range(n)
        )

    def _note(
        self, layer: str, _module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor
    ) -> None:
        self._activated[layer] = (arguments[0], output)

    def _keep(self, layer: str, module: nn.Module, _arguments: Any, output: Any) -> None:
        kept = features = map_in(output)
        if not isinstance(features, Tensor):
            raise ParameterError(
                f"layers: {layer} must return a tensor to be tapped, or a tuple that begins with "
                f"one, got {type(output).__name__}. Tap a layer inside it."
            )
        if self._activation == "before":
            kept, active = self._activated.pop(layer, (features, None))
            if active is not features:
                raise ParameterError(
                    f"layers: {layer} must end in an activation to be tapped before it, got "
                    f"{type(module).__name__}, which does not. Tap it after, or tap the module "
                    "before it."
                )
        self._kept[layer] = (kept, _version(kept))
        if not torch.is_grad_enabled():
            self.without_gradient.add(layer)


def _version(tensor: Tensor) -> int | None:
    # A compiled graph and tensors of inference mode have no version counter.
    if torch.compiler.is_compiling() or tensor.is_inference():
        return None
    return tensor._version


def _set_in_place(modules: Sequence[nn.Module], value: bool) -> None:
    for module in modules:
        module.inplace = value  # type: ignore[assignment]


# -- Which modules are activations: what `activation: before` reads a feature map in front of


_ACTIVATIONS = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.SELU, nn.SiLU, nn.Mish, nn.Hardsigmoid, nn.Hardswish),
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Sigmoid, nn.Softplus, nn.Tanh),
    nn.Hardtanh,  # and ReLU6, which is one
)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation of torch, of timm, or of a subclass of torch's."""
    own = type(module).__module__
    return isinstance(module, _ACTIVATIONS) or own.startswith("timm.layers.activations")


# -- Splitting a batch of clean images and their copies -------------------------


def split_copies(batch: Tensor, n: int) -> tuple[Tensor, ...]:
    """The `n` equal parts of a batch, in order, as views.

    Like `batch.chunk(n)`, but the gradient keeps the memory format (`chunk` makes that of a
    channels_last map contiguous, and every layer below then works on the wrong layout).

    Args:
        batch: rows of the first part, then of the second, and so on.
        n: parts, 1 or more.

    Raises:
        ParameterError: if the batch does not fall into as many equal parts.
    """
    if n < 1 or len(batch) % n:
        raise ParameterError(
            f"split: a batch must split into {n} equal parts, got {len(batch)} rows. Concatenate "
            "as many copies of every image."
        )
    if n == 1:
        return (batch,)
    parts: tuple[Tensor, ...] = _Parts.apply(batch, n)  # type: ignore[no-untyped-call]
    return parts


class _Parts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: Tensor, n: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(batch)
        return batch.tensor_split(n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor, None]:
        (batch,) = ctx.saved_tensors
        grad = torch.empty_like(batch)
        for part, rows in zip(grad.tensor_split(len(given)), given, strict=True):
            if rows is None:
                part.zero_()
            else:
                part.copy_(rows)
        return grad, None


# -- Which axis of a layer's output is the channel, read from the modules in it and next to it
#
# A convolution writes (batch, channel, height, width); a transformer writes (batch, token, channel)
# or (batch, height, width, channel).  A module that fixes the axis also knows how many channels it
# has, and only one whose number is that of the map counts.


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
