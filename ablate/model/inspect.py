"""What the layers of a network are called, and what it is made of; importing this loads no torch.

What is found of a network of torchvision or timm is kept in the cache, by the versions that it was
found with: loading these packages takes seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ablate.errors import InfrastructureError, ParameterError, UsageError
from ablate.files.cache import cache_folder, publish_file
from ablate.model import SOURCES, LayerNames
from ablate.study.settings import ModelSettings


def inspect_layers(model: str, base: Path | None = None) -> LayerNames:
    """The taps and module paths of a network.

    Args:
        model: as `model.name` names it.
        base: folder of the study file, where a network of the user's own may stand.

    Raises:
        ParameterError: if it cannot be built.
        MissingDependencyError: if it needs a package that is not installed.
    """
    facts = _inspect(model, base)
    return LayerNames(facts["taps"], tuple(facts["modules"]))


def usable_taps(model: str, base: Path | None = None) -> tuple[str, ...]:
    """The taps of a network that give a feature map, first to last; all, where it does not run on
    an image of its own size; arguments, errors as `inspect_layers`."""
    return tuple(_inspect(model, base)["usable"])


def has_adaptable_norm(model: str, base: Path | None = None) -> bool:
    """Whether a network has batch norm with statistics; arguments, errors as `inspect_layers`."""
    return bool(_inspect(model, base)["has_adaptable_norm"])


@cache
def torchvision_names() -> tuple[str, ...]:
    """`torchvision:NAME` for every network that torchvision can build for a classification."""

    def list_names() -> list[str]:
        from torchvision import models  # takes as long to load as torch does

        return [f"torchvision:{name}" for name in models.list_models(module=models)]

    return tuple(_remembered("torchvision's names", list_names))


@cache
def _inspect(model: str, base: Path | None) -> dict[str, Any]:
    def inspect() -> dict[str, Any]:
        from ablate.model.build import build_skeleton, describe_layers
        from ablate.model.modes import adaptable_norms
        from ablate.model.taps import layer_names

        settings = ModelSettings(name=model)
        skeleton = build_skeleton(settings, base=base)
        names = layer_names(skeleton)
        usable = list(names.taps)
        if usable:
            with suppress(ParameterError):
                described = {layer.name for layer in describe_layers(settings, base=base)}
                usable = [tap for tap in usable if tap in described]
        return {
            "taps": dict(names.taps),
            "modules": names.modules,
            "usable": usable,
            "has_adaptable_norm": bool(adaptable_norms(skeleton)),
        }

    return _remembered(model, inspect) if model.partition(":")[0] in SOURCES else inspect()


def _remembered(what: str, find: Callable[[], Any]) -> Any:
    """What is found with these versions of the packages and of this code, as JSON."""
    try:
        packages = [(name, version(name)) for name in ("torch", "torchvision", "timm")]
    except PackageNotFoundError:
        return find()
    digest = hashlib.sha256(json.dumps([what, packages]).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    entry = cache_folder() / "networks" / f"{digest.hexdigest()[:32]}.json"
    with suppress(OSError, ValueError):
        return json.loads(entry.read_bytes())
    found = find()
    with suppress(UsageError, InfrastructureError):  # the cache only spares time
        publish_file(entry, lambda path: path.write_text(json.dumps(found)))
    return found
