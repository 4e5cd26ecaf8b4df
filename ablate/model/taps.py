"""Feature maps of named layers, read while a network runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim.swa_utils import AveragedModel
from torch.utils.hooks import RemovableHandle

from ablate.errors import ParameterError, did_you_mean
from ablate.model import LayerNames
from ablate.model.channels import channel_axis, move_channels

__all__ = ["FeatureMaps", "FeatureTaps", "LayerNames", "layer_names", "map_in", "split_copies"]


def layer_names(model: nn.Module) -> LayerNames:
    """The aliases of a network (its dict `taps`, if any), and its module paths.

    For torch's `AveragedModel` they are those of the averaged network.
    """
    inner = _inner(model)
    paths = tuple(path for path, _ in inner.named_modules() if path)
    return LayerNames(dict(getattr(inner, "taps", {})), paths)


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
        # Layer -> (input, output) of the activation that ran last inside it.
        self._activated: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles: list[RemovableHandle] = []
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
        raw = {layer: self._kept[layer][0] for layer in self._paths if layer in self._kept}
        axes = {
            layer: channel_axis(self._model, layer, self._paths[layer], features.shape)
            for layer, features in raw.items()
        }
        maps = {layer: move_channels(features, axes[layer]) for layer, features in raw.items()}
        return FeatureMaps(maps, [layer for layer, axis in axes.items() if axis is None])

    def __enter__(self) -> FeatureTaps:
        if not self._paths:
            return self
        modules = dict(self._model.named_modules())
        self._in_place = [one for one in modules.values() if getattr(one, "inplace", False) is True]
        _set_in_place(self._in_place, False)
        for layer, path in self._paths.items():
            if self._activation == "before":
                note = partial(self._note, layer)
                for inner in filter(is_activation, modules[path].modules()):
                    self._handles.append(inner.register_forward_hook(note))
            keep = partial(self._keep, layer)
            self._handles.append(modules[path].register_forward_hook(keep))
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
        self._in_place = []

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
        parts = tuple(FeatureMaps({}, maps.unplaced) for _ in range(n))
        for layer in self._paths:
            if layer not in maps:
                raise ParameterError(
                    f"layers: {layer} must run in the forward pass to be tapped, got a pass "
                    "without it. Tap a layer inside it, or another one."
                )
        for layer, features in maps.items():
            for part, rows in zip(parts, split_copies(features, n), strict=True):
                part[layer] = rows
        return parts

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
