"""Weights that torchvision and timm publish for their networks, by name."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ablate.errors import DataError, did_you_mean, error_text
from ablate.study.settings import ModelSettings

_WHERE = "baseline.checkpoint"


def torchvision_weights(model_settings: ModelSettings, weights: str) -> Any:
    """torchvision's entry of weights for a network; nothing is fetched.

    Args:
        model_settings: of the network that the weights are for.
        weights: such as `IMAGENET1K_V2` or `DEFAULT`.

    Raises:
        DataError: if the network is not torchvision's, or has no such weights.
    """
    source, _, name = model_settings.name.partition(":")
    if source != "torchvision":
        raise _not_of(model_settings, f"torchvision:{weights}", "torchvision:NAME")
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    if weights not in known.__members__:
        full = [f"torchvision:{one}" for one in known.__members__]
        raise DataError(
            f"{_WHERE}: must be weights that torchvision has for {name}, got "
            f"'torchvision:{weights}'. {did_you_mean(f'torchvision:{weights}', full)}"
        )
    return known[weights]


def fetch_torchvision(model_settings: ModelSettings, weights: str) -> dict[str, Tensor]:
    """The state dict of torchvision's weights, from torch's own cache or the network.

    Raises:
        DataError: if there are none of that name, or they cannot be fetched.
    """
    entry = torchvision_weights(model_settings, weights)
    from torchvision.models import get_model

    try:
        # Not `get_state_dict`: some files have keys of an older time, which the network renames.
        model = get_model(model_settings.name.partition(":")[2], weights=entry, progress=False)
    except Exception as error:
        raise _not_fetched(f"torchvision:{weights}", entry.url, error) from error
    state: dict[str, Tensor] = model.state_dict()
    return state


def timm_weights(model_settings: ModelSettings) -> Any:
    """timm's entry of the weights that it loads for a network; nothing is fetched.

    Raises:
        DataError: if the network is not timm's, or has no weights.
        MissingDependencyError: if timm is not installed.
    """
    source, _, name = model_settings.name.partition(":")
    if source != "timm":
        raise _not_of(model_settings, "timm:pretrained", "timm:NAME")
    from ablate.model.timm import pretrained_config

    config = pretrained_config(name)
    if config is None or not config.has_weights:
        raise DataError(
            f"{_WHERE}: must be weights that timm has, got 'timm:pretrained' for {name}, of which "
            "it has none. Set baseline.checkpoint: FILE, or leave it out."
        )
    return config


def fetch_timm(model_settings: ModelSettings) -> dict[str, Tensor]:
    """The state dict of timm's weights, from its own cache or the network.

    Raises:
        DataError: if there are none, or they cannot be fetched.
        MissingDependencyError: if timm is not installed.
    """
    config = timm_weights(model_settings)
    from ablate.model.timm import import_timm

    name = model_settings.name.partition(":")[2]
    try:
        # With the classes of the weights, so that a mismatch is told, not filled with new ones.
        model = import_timm(name).create_model(name, pretrained=True)
    except Exception as error:
        url = config.url or f"https://huggingface.co/{config.hf_hub_id}"
        raise _not_fetched("timm:pretrained", url, error) from error
    state: dict[str, Tensor] = model.state_dict()
    return state


def _not_of(model_settings: ModelSettings, checkpoint: str, wanted: str) -> DataError:
    return DataError(
        f"{_WHERE}: {checkpoint} needs model.name: {wanted}, got {model_settings.name!r}. "
        "Name that network, or give a file."
    )


def _not_fetched(checkpoint: str, url: str, error: Exception) -> DataError:
    text = error_text(error)
    return DataError(
        f"{_WHERE}: cannot fetch {checkpoint}, got {text}. Download {url} elsewhere and set "
        "baseline.checkpoint: FILE."
    )
