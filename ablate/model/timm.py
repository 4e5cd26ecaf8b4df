"""Networks of timm (extra `timm`), by `timm:NAME` or `timm:NAME.TAG`.

Aliases are the feature levels that timm itself lists: `stem` where the first stands before all
stages, then `stage1` and on.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from ablate.data.dataset import Statistics
from ablate.errors import MissingDependencyError, ParameterError, did_you_mean
from ablate.errors.installation import pip_install

_STAGE = re.compile(r"(blocks|stages|layers|layer)\.?\d+$")


def build(name: str, classes: int) -> nn.Module:
    """Build a network with random weights and, if timm lists feature levels, a dict `taps`.

    Args:
        name: as timm lists it, such as `resnet50` or `resnet50.a1_in1k`.
        classes: size of the output.

    Raises:
        MissingDependencyError: if timm is not installed.
        ParameterError: if timm has no such network.
    """
    timm = import_timm(name)
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    taps = _find_taps(model)
    if taps:
        model.taps = taps  # type: ignore[assignment]
    return model


def own_statistics(name: str) -> Statistics | None:
    """Normalisation that timm's weights of this network were trained with, if known.

    Raises:
        MissingDependencyError: if timm is not installed.
        ParameterError: if timm has no such network.
    """
    found = pretrained_config(name)
    return None if found is None else Statistics(tuple(found.mean), tuple(found.std))


def own_image_size(name: str) -> int | None:
    """Input size in pixels that this network was trained with, if known.

    Raises:
        MissingDependencyError: if timm is not installed.
        ParameterError: if timm has no such network.
    """
    found = pretrained_config(name)
    return None if found is None else int(found.input_size[1])


def pretrained_config(name: str) -> Any:
    """What timm knows of a network's weights (`PretrainedCfg`), or None."""
    return import_timm(name).models.get_pretrained_cfg(name)


def import_timm(name: str) -> Any:
    """Import timm, and check that it has a network of this name.

    Raises:
        MissingDependencyError: if it is not installed.
        ParameterError: if it has no such network.
    """
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
        full = [f"timm:{one}" for one in known]
        raise ParameterError(
            f"model.name: must be a network of timm, got 'timm:{name}'. "
            f"{did_you_mean(f'timm:{network}', full)}"
        )
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise ParameterError(
            f"model.name: must name weights that timm has for {network}, got 'timm:{name}'. "
            f"{did_you_mean(tag, tags)}"
        )
    return timm


def _find_taps(model: nn.Module) -> dict[str, str]:
    modules = dict(model.named_modules())
    levels = [
        level for level in getattr(model, "feature_info", ()) if level.get("module") in modules
    ]
    taps: dict[str, str] = {}
    for level in levels:
        path = level["module"]
        if not taps and level.get("reduction", 0) <= 2 and not _STAGE.search(path):
            taps["stem"] = path
        else:
            taps[f"stage{len(taps) + ('stem' not in taps)}"] = path
    return taps
