"""The names that a study file may use, collected from the packages that own them.

`study` and `space` must not import those packages; the names are passed in from here.  torch, ray
and optuna are not imported, unless a study names a network of another package, or a layer that is
not a tap.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from ablate.data import DATASETS
from ablate.distortion import FAMILIES
from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.model import MODELS, is_own_code, taps_of
from ablate.robustness.corruption import SEVERITIES
from ablate.robustness.suites import ANY, SUITES, find_suite
from ablate.space import SAMPLERS
from ablate.study.callables import (
    NotImportedError,
    import_callable,
    is_callable_name,
    is_given,
    may_import,
    own_types,
)
from ablate.study.metrics import METRIC_KEYS
from ablate.study.names import KnownNames, OpenNames
from ablate.study.scores import LOSS_OBJECTIVE, metric_names
from ablate.study.settings import Study


def names_for(model: str | None, base: Path | None = None) -> KnownNames:
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
    measured = tuple(dict.fromkeys([*metrics, LOSS_OBJECTIVE]))
    layers, parts = (_layers(model, base, patterns=patterns) for patterns in (False, True))
    keys = ("dataset.name", "model.name", "trainable", "search.sampler")
    data, network, loop, sampler = (partial(_refusal, key, base) for key in keys)
    return {
        "dataset.name": OpenNames(lambda: DATASETS, is_callable_name, refusal=data),
        "model.name": OpenNames(lambda: MODELS, _is_model, _torchvision_like, network),
        "loss.terms": TERMS,
        "loss.st.form": FORMS,
        "loss.fma.distance": tuple(DISTANCES),
        "loss.fma.layers": layers,
        "finetune.frozen": parts,
        "baseline.frozen": parts,
        "augment.families": _and_own(tuple(FAMILIES)),
        "augment.types": _and_own([kind for kinds in FAMILIES.values() for kind in kinds]),
        **dict.fromkeys(METRIC_KEYS, OpenNames(lambda: measured, _is_of_own)),
        "trainable": OpenNames(refusal=loop),
        **dict.fromkeys(("robustness.suite", "ablation.stop.confirm.suite"), SUITES),
        "robustness.corruptions": _and_own(ANY.types),
        "search.sampler": OpenNames(lambda: SAMPLERS, is_callable_name, refusal=sampler),
    }


def _and_own(listed: Sequence[str]) -> OpenNames:
    """These, and functions of the user's own."""
    return OpenNames(lambda: listed, is_callable_name)


def _is_of_own(metric: str) -> bool:
    """Whether a metric may be of the user's own type or family: it resembles no other."""
    part = metric.removeprefix("val_accuracy.")
    known = [*ANY.families, *ANY.types, *find_suite("families_all").families]
    return part != metric and (":" in part or not get_close_matches(part, known, 1, 0.8))


def _refusal(key: str, base: Path | None, name: str) -> str | None:
    """Why the callable that a name may be cannot be imported, or makes no sampler."""
    if key != "trainable" and not _is_own(name):
        return None
    try:
        import_callable(key, name, base)
        if key == "search.sampler":
            from ablate.space.sampling import make_sampler

            make_sampler(name, 0, 0, base=base)
    except NotImportedError:
        return None
    except ParameterError as error:
        return str(error).removeprefix(f"{key}: ")
    return None


def named_callables(study: Study) -> list[str]:
    """The callables that a study names and running it imports."""
    names = [study.trainable or ""]
    if study.trainable is None:
        named = study.dataset.name, study.model.name, study.baseline.backbone or ""
        names = [name for name in named if _is_own(name)]
        names += [name for _, _, name in own_types(study.model_dump(mode="json"))]
    return [name for name in dict.fromkeys(names) if not is_given(name)]


def _is_own(name: str) -> bool:
    """Whether a name of a data set, network or training loop is a callable of a module."""
    return is_callable_name(name) and is_own_code(name)


def _layers(model: str | None, base: Path | None, *, patterns: bool) -> Sequence[str]:
    """Names of layers; with `patterns`, patterns of parameters too, which are tried out later."""
    if model is None or not (model in MODELS or _is_model(model)):
        return ()
    if _is_own(model) and not may_import(model, base):
        return OpenNames()

    def taps() -> Sequence[str]:
        if (known := taps_of(model)) is not None:
            return known
        from ablate.model.inspect import usable_taps

        return usable_taps(model, base)

    def modules(_name: str = "") -> Sequence[str]:
        from ablate.model.inspect import inspect_layers

        return inspect_layers(model, base).modules

    def accepts(name: str) -> bool:
        return (patterns and not {*"*?["}.isdisjoint(name)) or name in modules()

    return OpenNames(taps, accepts, modules)


def _is_model(name: str) -> bool:
    is_other = not name.startswith("torchvision:")
    return is_callable_name(name) and (is_other or name in _torchvision_like(name))


def _torchvision_like(name: str) -> Sequence[str]:
    """Possible networks of torchvision: all, or the one of that name."""
    if ":" in name and not name.startswith("torchvision:"):
        return ()
    from ablate.model.inspect import torchvision_names

    names = torchvision_names()
    return names if ":" in name else [known for known in names if known == f"torchvision:{name}"]
