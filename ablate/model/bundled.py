"""What a forward pass does once for all layers, where torch does it once for each.

Autocast converts every weight, and its gradient back, and every batch norm counts its batches: on
a GPU a launch each.  Here each is one operation, with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from ablate.model.environment import Environment

_CONVERTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Not their subclasses, which may use a weight in another way."""


class BundledPasses:
    """Runs the forward passes of one network in the precision of an environment.

    Which weights autocast converts is seen in the first pass: those of layers that were called and
    gave a result in that precision, not those in a block without autocast, or read by another
    module.  The network's weights may change later, its layers may not.
    """

    def __init__(self, model: nn.Module, environment: Environment) -> None:
        self._environment = environment
        self._dtype = torch.float16 if environment.precision == "fp16" else torch.bfloat16
        self._weights: list[tuple[nn.Module, str]] | None = None
        modules = list(model.modules())
        self._norms = [one for one in modules if type(one).forward is _BatchNorm.forward]
        held = [id(weight) for one in modules for weight in one._parameters.values()]
        self._candidates = [
            one
            for one in modules
            if type(one) in _CONVERTED and all(held.count(id(p)) == 1 for p in one.parameters())
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """The block in which the network runs once."""
        with self._environment.autocast(), self._counted():
            if self._environment.precision == "fp32":
                yield
            elif self._weights is None:
                with self._watched():
                    yield
            else:
                with _converted(self._weights, self._dtype):
                    yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the batches of each batch norm in Python, and add them up after the pass."""
        counts: list[tuple[nn.Module, Tensor, _Count]] = []
        for norm in self._norms:
            total = norm._buffers.get("num_batches_tracked")
            if norm.training and total is not None and norm.momentum is not None:
                counts.append((norm, total, _Count()))
                norm._buffers["num_batches_tracked"] = counts[-1][2]  # type: ignore[assignment]
        try:
            yield
        finally:
            for norm, total, _ in counts:
                norm._buffers["num_batches_tracked"] = total
            if counts:
                added = [count.batches for _, _, count in counts]
                torch._foreach_add_([total for _, total, _ in counts], added)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        converts: dict[nn.Module, bool] = {}

        def note(layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            converts[layer] = output.dtype == self._dtype and converts.get(layer, True)

        handles = [layer.register_forward_hook(note) for layer in self._candidates]
        yield
        for handle in handles:
            handle.remove()
        self._weights = [
            (layer, name)
            for layer in filter(converts.get, self._candidates)
            for name, weight in layer._parameters.items()
            if weight is not None and weight.dtype == torch.float32
        ]


class _Count:
    batches = 0  # of a batch norm in a pass, whose own count it stands for

    def add_(self, number: int) -> None:
        self.batches += number


@contextmanager
def _converted(weights: list[tuple[nn.Module, str]], dtype: torch.dtype) -> Iterator[None]:
    own = [layer._parameters[name] for layer, name in weights]
    converted = _Convert.apply(dtype, *own) if own else ()  # type: ignore[no-untyped-call]
    try:
        for (layer, name), weight in zip(weights, converted, strict=True):
            layer._parameters[name] = weight
        yield
    finally:
        for (layer, name), weight in zip(weights, own, strict=True):
            layer._parameters[name] = weight


class _Convert(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        converted = [torch.empty_like(weight, dtype=dtype) for weight in weights]
        torch._foreach_copy_(converted, weights)
        fixed = zip(converted, ctx.needs_input_grad[1:], strict=True)
        ctx.mark_non_differentiable(*(weight for weight, learns in fixed if not learns))
        return tuple(converted)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        narrow = [grad for grad in given if grad is not None]
        wide = [torch.empty_like(grad, dtype=torch.float32) for grad in narrow]
        torch._foreach_copy_(wide, narrow)
        found = iter(wide)
        return None, *(None if grad is None else next(found) for grad in given)
