"""What a network is made of, and what an image costs it: its layers, its operations."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from inspect import unwrap
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.errors import ParameterError
from ablate.model.build import build_skeleton, describe_layers
from ablate.model.modes import adaptable_norms, kept_mode
from ablate.model.taps import LayerNames, layer_names
from ablate.study.settings import ModelSettings


@cache
def inspect_layers(model: str, base: Path | None = None) -> LayerNames:
    """The taps and module paths of a network.

    Args:
        model: as `model.name` names it.
        base: folder of the study file, where a network of the user's own may stand.

    Raises:
        ParameterError: if it cannot be built.
        MissingDependencyError: if it needs a package that is not installed.
    """
    return layer_names(build_skeleton(ModelSettings(name=model), base=base))


@cache
def usable_taps(model: str, base: Path | None = None) -> tuple[str, ...]:
    """The taps of a network that give a feature map, first to last; all, where it does not run on
    an image of its own size; arguments, errors as `inspect_layers`."""
    taps = inspect_layers(model, base).taps
    with suppress(ParameterError):
        described = {layer.name for layer in describe_layers(ModelSettings(name=model), base=base)}
        return tuple(tap for tap in taps if tap in described)
    return tuple(taps)


@cache
def has_adaptable_norm(model: str, base: Path | None = None) -> bool:
    """Whether a network has batch norm with statistics; arguments, errors as `inspect_layers`."""
    return bool(adaptable_norms(build_skeleton(ModelSettings(name=model), base=base)))


@cache
def torchvision_names() -> tuple[str, ...]:
    """`torchvision:NAME` for every network that torchvision can build for a classification."""
    from torchvision import models  # takes as long to load as torch does

    return tuple(f"torchvision:{name}" for name in models.list_models(module=models))


@dataclass(frozen=True)
class ImageFlops:
    """Operations that one image costs; a multiplication and an addition are two.

    Attributes:
        forward: of a forward pass.
        training: of a forward and a backward pass.
    """

    forward: int
    training: int


def count_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> ImageFlops:
    """Operations of a network for one image, as `FlopCounterMode` counts them.

    Convolutions and matrix products are counted; norms, activations, distortions and losses are
    not, nor the update of the weights.  The network is run once, in eval mode, without a change
    to its statistics or gradients.

    Args:
        image_shape: (channel, height, width) of what goes in.

    Returns:
        Zeros if torch cannot count them.
    """
    device = next(model.parameters()).device
    images = torch.zeros(1, *image_shape, device=device)
    # Counts by module are not read, and torch's tracker of modules cannot follow parametrizations.
    counter: Any = FlopCounterMode(display=False)
    counter.mod_tracker = _AllInOne()
    with kept_mode(model):
        model.eval()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        try:
            with counter:
                _leave_compiler_unloaded(counter)
                output = model(images)
                forward = counter.get_total_flops()
                torch.autograd.grad(output.sum(), parameters, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a network that cannot be counted can be trained all the same
            return ImageFlops(0, 0)
        return ImageFlops(forward, counter.get_total_flops())


class _AllInOne(nullcontext[None]):
    """A tracker of modules that knows none: all operations are the network's."""

    parents = frozenset({"Global"})


def _leave_compiler_unloaded(counter: FlopCounterMode) -> None:
    """Count without torch's compiler, which takes as long to load as torch.

    torch wraps the method that sees each operation to keep its compiler out, and loads it for that
    unless the method says that it has been done.
    """
    method = getattr(type(counter.mode), "__torch_dispatch__", None)
    if method is not None:
        plain = unwrap(method)
        plain.__dict__.setdefault("__dynamo_disable", plain)
