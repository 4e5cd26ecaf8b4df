"""Feature maps of named layers, read while a network runs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.hooks import RemovableHandle

from ablate.errors import ParameterError, did_you_mean


class FeatureTaps:
    """Keeps the outputs of some layers, with their gradient, while the context is open.

        with FeatureTaps(model, ["stage2", "stage3"]) as taps:
            logits = model(images)
            taps.features["stage3"]

    Attributes:
        features: layer -> its output in the latest forward pass, under the name asked for.  The
            tensor itself, not a copy: a layer that works in place on it (`ReLU(inplace=True)`)
            would change it, so tap that layer instead.  What was read last stays when the
            context closes.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Name the layers; nothing is read before the context is entered.

        Args:
            model: any network; where it has a dict `taps` (alias -> module path), as the shipped
                models do, the aliases can be used.
            layers: aliases, or module paths as `model.named_modules()` gives them.

        Raises:
            ParameterError: if the model has no such layer.
        """
        self.features: dict[str, Tensor] = {}
        self._modules = {layer: _find_layer(model, layer) for layer in layers}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> FeatureTaps:
        for layer, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._keep(layer)))
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

    def split(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Both halves of every feature map, for a forward pass of `torch.cat([clean, augmented])`.

        Returns:
            (layer -> rows of the clean images, layer -> rows of the augmented ones).

        Raises:
            ParameterError: if a batch has no two equal halves.
        """
        halves = {layer: split_halves(features) for layer, features in self.features.items()}
        first = {layer: pair[0] for layer, pair in halves.items()}
        return first, {layer: pair[1] for layer, pair in halves.items()}

    def _keep(self, layer: str) -> Any:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ParameterError(
                    f"layers: {layer} must return a tensor to be tapped, "
                    f"got {type(output).__name__}. Tap a layer inside it."
                )
            self.features[layer] = output

        return hook


def split_halves(batch: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half of a batch, as views.

    Like `batch.chunk(2)`, but the gradient keeps the memory format (`chunk` makes that of a
    channels_last map contiguous, and every layer below then works on the wrong layout).

    Raises:
        ParameterError: if the batch has an odd number of rows.
    """
    if len(batch) % 2:
        raise ParameterError(
            f"split: a batch of clean and augmented images must be even, got {len(batch)} rows. "
            "Concatenate one copy per image."
        )
    halves: tuple[Tensor, Tensor] = _Halves.apply(batch)  # type: ignore[no-untyped-call]
    return halves


class _Halves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(batch)
        first, second = batch.chunk(2)
        return first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor | None, second: Tensor | None) -> Tensor:
        (batch,) = ctx.saved_tensors
        grad = torch.empty_like(batch)
        for half, given in zip(grad.chunk(2), (first, second), strict=True):
            if given is None:
                half.zero_()
            else:
                half.copy_(given)
        return grad


def _find_layer(model: nn.Module, layer: str) -> nn.Module:
    aliases: dict[str, str] = getattr(model, "taps", {})
    modules = dict(model.named_modules())
    module: nn.Module | None = modules.get(aliases.get(layer, layer))
    if module is None or module is model:
        paths = [path for path in modules if path]
        nearest = get_close_matches(layer, [*aliases, *paths], n=1)
        shown = nearest or [*aliases] or [name for name, _ in model.named_children()]
        raise ParameterError(
            f"layers: must be taps or module paths of {type(model).__name__}, got {layer!r}. "
            f"{did_you_mean(layer, shown)}"
        )
    return module
