"""A network, and what is done before and after it: resizing, normalising, a look at the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.data.dataset import Statistics
from ablate.distortion.saturation import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError


class ShownNetwork(nn.Module):
    """A network, and what is done before and after it.

    Args:
        network: called with normalised images of its size.
        name: for messages.
        classes: that its output must have.
        statistics: that images are normalised by; None: as they are.
        side: in pixels, to which other images are resized; None: none are.
        fixed_mode: whether it has no mode, and refuses to be put into one.
        may_have_more: whether it may have more outputs, where labels alone say how many it needs.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        name: str,
        classes: int,
        statistics: Statistics | None,
        side: int | None,
        *,
        fixed_mode: bool = False,
        may_have_more: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.name, self.classes, self.side = name, classes, side
        self.normalized = statistics is not None
        self.fixed_mode, self.may_have_more = fixed_mode, may_have_more
        for buffer, values in zip(
            ("image_mean", "image_std"), statistics or ((0.0,), (1.0,)), strict=True
        ):
            self.register_buffer(buffer, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> ShownNetwork:
        if self.fixed_mode:
            self.training = mode
            return self
        super().train(mode)
        return self

    def forward(self, images: Images) -> Tensor:
        shown = images
        if self.side is not None and shown.shape[-2:] != (self.side, self.side):
            shown = functional.interpolate(
                shown, size=(self.side, self.side), mode="bilinear", antialias=True
            )
        if self.normalized:
            if shown.shape[1] == 3 and self.image_mean.shape[1] == 1:
                luma = torch.tensor(LUMA, device=shown.device).view(1, 3, 1, 1)
                shown = (shown * luma).sum(1, keepdim=True)
            shown = (shown - self.image_mean) / self.image_std
        logits = self.network(shown.contiguous(memory_format=torch.channels_last))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else _kind(logits)
            raise ParameterError(
                f"MODEL: {self.name} must return the logits (images, classes) as one tensor, got "
                f"{got}. Return them alone, without features or auxiliary outputs."
            )
        more = logits.shape[1] - self.classes
        if more < 0 or (more > 0 and not self.may_have_more):
            raise ParameterError(
                f"MODEL: {self.name} must have an output for each of the data set's "
                f"{self.classes} classes, got {logits.shape[1]}. Name the data set that it was "
                "trained on, or another network."
            )
        return logits


def _kind(output: object) -> str:
    if isinstance(output, Mapping):
        keys = ", ".join(map(str, output))
        return f"a dict of {keys or 'nothing'}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return type(output).__name__
