"""Classification networks of torchvision, by `torchvision:NAME`."""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.model import tap_paths
from ablate.model.normalization import IMAGENET, Published
from ablate.model.weights.external_checkpoint import CheckpointSource

_AUXILIARY = ("googlenet", "inception_v3")
"""Networks that return auxiliary logits too in training, of which only the logits are used."""


def build(name: str, classes: int) -> nn.Module:
    """Build a network with random weights and, if its family is known, a dict `taps`.

    Raises:
        ParameterError: if torchvision has no such network for classification.
    """
    _check(name)
    options = {"init_weights": True} if name in _AUXILIARY else {}  # or it warns
    model: nn.Module = get_model(name, weights=None, num_classes=classes, **options)
    if taps := tap_paths(f"torchvision:{name}"):
        model.taps = taps  # type: ignore[assignment]
    return model


def published(name: str, weights: str = "") -> Published:
    """How torchvision's weights of a network were fed.

    Args:
        weights: which, such as `IMAGENET1K_V2`; others than it has: those of the smallest size, as
            a network that accepts only one size is built for it.

    Raises:
        ParameterError: if torchvision has no such network.
    """
    _check(name)
    members = get_model_weights(name).__members__
    entries = {key: entry.transforms() for key, entry in members.items()}
    smallest = min(entries.values(), key=lambda transform: int(transform.crop_size[0]))
    chosen = entries.get(weights, smallest)
    resize, interpolation = int(chosen.resize_size[0]), chosen.interpolation.value
    return Published(IMAGENET, int(chosen.crop_size[0]), resize, interpolation)


def find_weights(name: str, weights: str) -> CheckpointSource:
    """torchvision's weights of a network, such as `DEFAULT`; nothing is downloaded.

    Raises:
        DataError: if it has no such weights.
    """
    if name in _AUXILIARY:
        raise DataError(
            f"baseline.checkpoint: must not be torchvision's weights of {name}, got "
            f"'torchvision:{weights}', whose network also scales its images itself "
            "(transform_input). Name a function of your own that builds it, and a file."
        )
    known = get_model_weights(name)
    if weights not in known.__members__:
        full = [f"torchvision:{entry}" for entry in known.__members__]
        raise DataError(
            f"baseline.checkpoint: must be weights that torchvision has for {name}, got "
            f"'torchvision:{weights}'. {did_you_mean(f'torchvision:{weights}', full)}"
        )
    url, classes = known[weights].url, len(known[weights].meta["categories"])
    # Not `get_state_dict`: some files have keys of an older time, which the network renames.
    fetch = partial(get_model, name, weights=known[weights], progress=False)
    return CheckpointSource(f"torchvision:{url}", url=url, fetch=fetch, classes=classes)


def _check(name: str) -> None:
    known = list_models(module=torchvision.models)
    if name not in known:
        full = [f"torchvision:{network}" for network in known]
        raise ParameterError(
            f"model.name: must be a classification network of torchvision, got "
            f"'torchvision:{name}'. {did_you_mean(f'torchvision:{name}', full)}"
        )
