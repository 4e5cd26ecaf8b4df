"""How images in [0, 1] are shifted and scaled before a network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from ablate.data.dataset import Statistics
from ablate.distortion.shapes import Images
from ablate.study.settings import ModelSettings, NormalizationSettings

Choice = Literal["auto", "dataset", "imagenet", "none"]


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's training images, as torchvision's weights were trained with [S]."""


class Published(NamedTuple):
    """How a network's published weights were fed: mean and deviation of the images, their size in
    pixels, the shorter side before the centre crop, and how it was reached."""

    statistics: Statistics
    image_size: int
    resize: int
    interpolation: str


def statistics_of(
    settings: ModelSettings, dataset: Statistics, own: Statistics | None
) -> Statistics:
    """`choose_statistics` for a network's settings, of red, green and blue in [0, 1]: what
    `channels` and `value_range` change of the numbers is taken back."""
    mean, std = choose_statistics(settings.normalization, dataset, own)
    if settings.channels == "bgr" and isinstance(settings.normalization, NormalizationSettings):
        mean, std = mean[::-1], std[::-1]
    white = settings.value_range
    return Statistics(tuple(m / white for m in mean), tuple(s / white for s in std))


def reverse_channels(model: nn.Module) -> None:
    """Make a network get the channels from blue to red: a normalised image is reversed.

    It is marked by an attribute, `image_channels`, for `channels_of`.
    """
    if isinstance(inside := getattr(model, "normalize", None), Normalize):
        inside.register_forward_hook(_reverse_output)
    else:
        model.register_forward_pre_hook(_reverse_input)
    model.image_channels = "bgr"  # type: ignore[assignment]


def _reverse_output(_module: nn.Module, _arguments: tuple[Images], output: Images) -> Images:
    return output.flip(1)


def _reverse_input(_module: nn.Module, arguments: tuple[Images]) -> tuple[Images]:
    return (arguments[0].flip(1),)


def channels_of(model: nn.Module) -> Literal["rgb", "bgr"]:
    """The order in which a network of ablate gets the channels."""
    return "bgr" if hasattr(model, "image_channels") else "rgb"


def choose_statistics(
    choice: Choice | NormalizationSettings, dataset: Statistics, own: Statistics | None
) -> Statistics:
    """The statistics for `model.normalization`.

    Args:
        choice: the setting; "auto" is the network's own, else the training images'.
        dataset: of the training images.
        own: statistics that the network was trained with, if known.
    """
    if isinstance(choice, NormalizationSettings):
        return Statistics(choice.mean, choice.std)
    if choice == "imagenet":
        return IMAGENET
    if choice == "none":
        channels = len(dataset.mean)
        return Statistics((0.0,) * channels, (1.0,) * channels)
    return own if choice == "auto" and own is not None else dataset


def explain_choices(own_numbers: str) -> str:
    """What a person can state of weights that do not say how their images were normalised.

    Args:
        own_numbers: how mean and deviation are written here, of 0.5.
    """
    mean = ", ".join(f"{value:g}" for value in IMAGENET.mean)
    return (
        f"imagenet (mean {mean}, as torchvision's), dataset (mean and std of the training images), "
        "none (images in [0, 1], or the network normalises itself), or "
        f"{own_numbers} (images in [-1, 1], or your numbers)"
    )


class Normalize(nn.Module):
    """Shift and scale each channel, so that a network takes [0, 1]; the statistics are stored in
    its weights."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Images) -> Images:
        return (images - self.mean) / self.std


def carried_statistics(model: nn.Module) -> Statistics | None:
    """The normalisation of a network built by ablate; None if it has none."""
    for module in model.modules():
        if isinstance(module, Normalize):
            carried: list[object] = [module.mean, module.std]
            break
    else:
        carried = [getattr(model, name, None) for name in ("image_mean", "image_std")]
    numbers = [
        tuple(values.flatten().tolist()) for values in carried if isinstance(values, torch.Tensor)
    ]
    return Statistics(*numbers) if len(numbers) == 2 else None
