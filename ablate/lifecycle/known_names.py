"""The names that a study file may use, collected from the packages that own them.

`study` and `space` must not import those packages; the names are passed in from here.  torch, ray
and optuna are not imported, unless a study names a network of another package, or a layer that is
not a tap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ablate.data import DATASETS
from ablate.distortion import FAMILIES
from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.model import MODELS, SOURCES, taps_of
from ablate.robustness.corruption import SEVERITIES
from ablate.robustness.suites import ANY, SUITES, find_suite
from ablate.space import SAMPLERS
from ablate.study.callables import (
    NotImportedError,
    import_callable,
    is_callable_name,
    is_given,
    may_import,
)
from ablate.study.metrics import METRIC_KEYS
from ablate.study.names import OpenNames
from ablate.study.scores import metric_names
from ablate.study.settings import Study


def names_for(model: str | None, base: Path | None = None) -> Mapping[str, Sequence[str]]:
    """Names by dotted key of the study.

    Args:
        model: determines the layers; None or unknown: no layers.
        base: folder of the study file, from which a network or training loop of the user is
            imported.
    """
    metrics = [
        metric
        for suite in (*map(find_suite, SUITES), ANY)
        for metric in metric_names(suite.families, SEVERITIES)
    ]
    layers = _layers(model, base)

    def own(key: str, name: str) -> str | None:
        """Why the callable that a name may be cannot be imported."""
        return _import_refusal(key, base, name) if _is_own(name) else None

    return {
        "dataset.name": OpenNames(
            lambda: DATASETS, is_callable_name, refusal=partial(own, "dataset.name")
        ),
        "model.name": OpenNames(
            lambda: MODELS, _is_model, _torchvision_like, partial(own, "model.name")
        ),
        "loss.terms": TERMS,
        "loss.st.form": FORMS,
        "loss.fma.distance": tuple(DISTANCES),
        "loss.fma.layers": layers,
        "finetune.frozen": layers,
        "augment.families": tuple(FAMILIES),
        "augment.types": tuple(kind for kinds in FAMILIES.values() for kind in kinds),
        **dict.fromkeys(METRIC_KEYS, tuple(dict.fromkeys(metrics))),
        "trainable": OpenNames(refusal=partial(_import_refusal, "trainable", base)),
        "robustness.suite": SUITES,
        "robustness.corruptions": ANY.types,
        "search.sampler": SAMPLERS,
    }


def named_callables(study: Study) -> dict[str, str]:
    """The callables that a study names and running it imports, by key."""
    if study.trainable is not None:
        names = {"trainable": study.trainable}
    else:
        names = {"dataset.name": study.dataset.name, "model.name": study.model.name}
    return {key: name for key, name in names.items() if _is_own(name) and not is_given(name)}


def _import_refusal(key: str, base: Path | None, name: str) -> str | None:
    """Why the module or function of a key cannot be imported."""
    try:
        import_callable(key, name, base)
    except NotImportedError:
        return None
    except ParameterError as error:
        return str(error).removeprefix(f"{key}: ")
    return None


def _is_own(name: str) -> bool:
    """Whether a name of a data set, network or training loop is a callable of a module."""
    return is_callable_name(name) and name.partition(":")[0] not in SOURCES


def _layers(model: str | None, base: Path | None) -> Sequence[str]:
    if model is None or not (model in MODELS or _is_model(model)):
        return ()
    if _is_own(model) and not may_import(model, base):
        return OpenNames()

    def taps() -> Sequence[str]:
        known = taps_of(model)
        if known is not None:
            return known
        from ablate.model.inspect import usable_taps

        return usable_taps(model, base)

    def modules(_name: str = "") -> Sequence[str]:
        from ablate.model.inspect import inspect_layers

        return inspect_layers(model, base).modules

    return OpenNames(taps, lambda name: name in modules(), modules)


def _is_model(name: str) -> bool:
    return is_callable_name(name) and (
        not name.startswith("torchvision:") or name in _torchvision_like(name)
    )


def _torchvision_like(name: str) -> Sequence[str]:
    """Possible networks of torchvision: all, or the one of that name."""
    if ":" in name and not name.startswith("torchvision:"):
        return ()
    from ablate.model.inspect import torchvision_names

    names = torchvision_names()
    return names if ":" in name else [one for one in names if one == f"torchvision:{name}"]
