"""Operations that an image costs a network."""

from __future__ import annotations

from contextlib import nullcontext
from inspect import unwrap
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.model.modes import kept_mode


class ImageFlops(NamedTuple):
    """Operations that one image costs, in a forward pass and in a forward and a backward pass; a
    multiplication and an addition are two."""

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
                # torch wraps the method that sees each operation to keep its compiler out, and
                # loads it for that, which takes as long as torch, unless that has been done.
                method = getattr(type(counter.mode), "__torch_dispatch__", None)
                if method is not None:
                    plain = unwrap(method)
                    plain.__dict__.setdefault("__dynamo_disable", plain)
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
