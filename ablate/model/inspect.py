"""What layers a network has, found by building it, if it can be without memory for weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torchvision.models import list_models

from ablate.model.build import build_skeleton
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
def torchvision_names() -> tuple[str, ...]:
    """`torchvision:NAME` for every network that torchvision can build for a classification."""
    import torchvision

    return tuple(f"torchvision:{name}" for name in list_models(module=torchvision.models))
