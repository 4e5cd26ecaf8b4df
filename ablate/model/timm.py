"""Networks of timm (extra `timm`), by `timm:NAME` or `timm:NAME.TAG`.

Aliases are the feature levels that timm itself lists: `stem` where the first stands before all
stages, then `stage1` and on.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

from torch import nn

from ablate.data.dataset import Statistics
from ablate.errors import (
    DataError,
    MissingDependencyError,
    ParameterError,
    did_you_mean,
    pip_install,
)
from ablate.model.normalization import Published
from ablate.model.weights.external_checkpoint import CheckpointSource

_STAGE = re.compile(r"(blocks|stages|layers|layer)\.?\d+$")


def build(name: str, classes: int) -> nn.Module:
    """Build a network with random weights.

    Raises:
        MissingDependencyError: if timm is not installed.
        ParameterError: if timm has no such network.
    """
    model: nn.Module = _import_timm(name).create_model(name, pretrained=False, num_classes=classes)
    return model


def listed_taps(model: nn.Module) -> dict[str, str]:
    """The feature levels of a network of timm: alias -> module path, first to last."""
    modules = dict(model.named_modules())
    taps: dict[str, str] = {}
    for level in getattr(model, "feature_info", ()):
        path = str(level.get("module")) if isinstance(level, dict) else ""
        if path not in modules or not path:
            continue
        if not taps and level.get("reduction", 0) <= 2 and not _STAGE.search(path):
            taps["stem"] = path
        else:
            taps[f"stage{len(taps) + ('stem' not in taps)}"] = path
    return taps


def published(name: str, _weights: str = "") -> Published | None:
    """How timm's weights of a network were fed, if known; raises as `build`."""
    config = _import_timm(name).models.get_pretrained_cfg(name)
    if config is None:
        return None
    statistics, size = Statistics(tuple(config.mean), tuple(config.std)), int(config.input_size[1])
    # timm rounds down, and cuts the middle of it.
    return Published(statistics, size, math.floor(size / config.crop_pct), config.interpolation)


def find_weights(name: str, _weights: str) -> CheckpointSource:
    """The weights that timm loads for a network; nothing is fetched.

    Raises:
        DataError: if it has none; else as `build`.
    """
    timm = _import_timm(name)
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise DataError(
            f"baseline.checkpoint: must be weights of timm, got 'timm:pretrained' for {name}, for "
            "which it has none.",
            "Set baseline.checkpoint: FILE, or leave it out.",
            parameter_fix="Give `checkpoint=FILE`.",
        )
    url = config.url or f"https://huggingface.co/{config.hf_hub_id}"
    # With the classes of the weights, so that a mismatch is reported instead of filled with new
    # weights.
    fetch = partial(timm.create_model, name, pretrained=True)
    identity = f"timm:{config.architecture}.{config.tag}"
    return CheckpointSource(identity, url=url, fetch=fetch, classes=config.num_classes)


def _import_timm(name: str) -> Any:
    """Import timm, and check that it has a network of this name."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"model.name: 'timm:{name}' needs timm, which is not installed. "
            f"Run {pip_install('timm')}."
        ) from error
    known = timm.list_models()
    network, _, tag = name.partition(".")
    if network not in known:
        raise ParameterError(
            f"model.name: must be a network of timm, got 'timm:{name}'. "
            f"{did_you_mean(f'timm:{network}', [f'timm:{other}' for other in known])}"
        )
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise ParameterError(
            f"model.name: must name weights that timm has for {network}, got 'timm:{name}'. "
            f"{did_you_mean(tag, tags)}"
        )
    return timm
