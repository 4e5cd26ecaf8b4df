"""Make a network from elsewhere take images in [0, 1], with its module paths and keys as they are.

Hooks and two buffers outside the state dict do it, not a wrapper: `layer3.2.conv1` stays the
path of that layer, and checkpoints of the original network fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ablate.data.dataset import Statistics
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError


def adapt(model: nn.Module, name: str, classes: int, statistics: Statistics) -> nn.Module:
    """The same network, which now normalises what goes in and checks what comes out.

    It can be copied, pickled and moved like any other.

    Args:
        model: changed in place; takes normalised images.
        name: as `model.name` names it.
        classes: that its output must have.
        statistics: of the images; those of [0, 1] as they are add nothing.

    Raises:
        ParameterError: when the network is run and does not return the logits as one tensor.
    """
    if any(statistics.mean) or set(statistics.std) != {1.0}:
        for buffer, values in zip(("image_mean", "image_std"), statistics, strict=True):
            tensor = torch.tensor(values).view(1, -1, 1, 1)
            model.register_buffer(buffer, tensor, persistent=False)
        model.register_forward_pre_hook(_normalize)
    model.register_forward_hook(_OutputCheck(name, classes))
    return model


def _normalize(model: Any, arguments: tuple[Images]) -> tuple[Images]:
    return ((arguments[0] - model.image_mean) / model.image_std,)


@dataclass(frozen=True)
class _OutputCheck:
    name: str
    classes: int

    def __call__(self, model: nn.Module, arguments: tuple[Images], output: Any) -> None:
        expected = (len(arguments[0]), self.classes)
        if isinstance(output, torch.Tensor) and tuple(output.shape) == expected:
            return
        got = (
            f"shape {tuple(output.shape)}"
            if isinstance(output, torch.Tensor)
            else type(output).__name__
        )
        mode = "training" if model.training else "eval"
        raise ParameterError(
            f"model.name: {self.name} must return logits of shape (images, classes) = {expected} "
            f"as one tensor, got {got} in {mode} mode. Return them alone, or name another network."
        )
