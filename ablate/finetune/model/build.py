"""Build a network by its name, and say what layers it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.model import MODELS
from ablate.finetune.model.resnet import resnet8, resnet20
from ablate.finetune.model.taps import FeatureTaps

_BUILDERS: dict[str, Callable[[int, Sequence[float], Sequence[float]], nn.Module]] = {
    "resnet8": resnet8,
    "resnet20": resnet20,
}


@dataclass(frozen=True)
class LayerInfo:
    """A layer whose feature map has a name.

    Attributes:
        name: as `loss.fma.layers` takes it.
        module: path of the module in the network.
        shape: (channel, height, width) of one image's feature map.
    """

    name: str
    module: str
    shape: tuple[int, ...]


def build_model(
    name: str, classes: int, mean: Sequence[float], std: Sequence[float], seed: int
) -> nn.Module:
    """A network with new weights, on the CPU in channels_last.

    Args:
        name: one of `MODELS`.
        classes: size of the output.
        mean, std: of each channel, as fractions of 255; the network takes images in [0, 1].
        seed: of the weights; torch's own random state is left as it was.

    Raises:
        ParameterError: if the name is unknown.
    """
    if name not in _BUILDERS:
        raise ParameterError(
            f"model.name: must be a known network, got {name!r}. {did_you_mean(name, MODELS)}"
        )
    # The CPU's generator alone: `torch.manual_seed` would reseed every GPU too.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = _BUILDERS[name](classes, mean, std)
    # torch's stubs leave out this use of `to`, which its documentation names.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def model_taps(model: nn.Module) -> Mapping[str, str]:
    """Name -> module path of the layers whose feature maps have a name; empty if none do."""
    taps: Mapping[str, str] = getattr(model, "taps", {})
    return taps


def describe_layers(name: str, image_size: int = 32) -> list[LayerInfo]:
    """The named layers of a network and the shapes of their feature maps, first to last.

    Args:
        name: one of `MODELS`.
        image_size: side in pixels of the images that go in.

    Raises:
        ParameterError: if the name is unknown.
    """
    model = build_model(name, 10, (0.0,) * 3, (1.0,) * 3, seed=0).eval()
    taps = model_taps(model)
    with FeatureTaps(model, list(taps)) as reading, torch.inference_mode():
        model(torch.zeros(1, 3, image_size, image_size))
        return [
            LayerInfo(alias, path, tuple(reading.features[alias].shape[1:]))
            for alias, path in taps.items()
        ]
