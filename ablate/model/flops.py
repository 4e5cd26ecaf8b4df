"""Floating point operations of a network, counted by torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ablate.model.modes import kept_mode


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
    """
    device = next(model.parameters()).device
    images = torch.zeros(1, *image_shape, device=device)
    with kept_mode(model):
        model.eval()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with FlopCounterMode(display=False) as counter:
            output = model(images)
            forward = counter.get_total_flops()
            torch.autograd.grad(output.sum(), parameters, allow_unused=True)
        return ImageFlops(forward, counter.get_total_flops())
