"""What a configuration comes down to: the values that its training reads, written in one way.

Two configurations are one where these are equal: `clean+fma+st` is `clean+st+fma`, a list of all
taps is `taps`, a mix of equal ratios is none, and a weight of a term that the objective does not
have is nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ablate.finetune.augment.ratios import type_ratios
from ablate.study.sections.training import UNITS
from ablate.study.settings import AugmentSettings, BaselineSettings, FMASettings, Study

_DIGITS = 12
"""To which ratios are compared: 0.2 of 0.6 is 1 of 3."""


def trained_values(study: Study, taps: Sequence[str]) -> dict[str, Any]:
    """What a finetuning of the study reads, as plain data.

    Args:
        taps: named layers of its network, first to last; none where they are not known.

    Raises:
        ParameterError: if the augmentation draws from nothing.
    """
    terms = sorted(study.loss.term_names)
    has_copies = terms != ["clean"]
    return {
        "dataset": study.dataset.model_dump(mode="json"),
        "model": study.model.model_dump(mode="json"),
        "baseline": _baseline(study.baseline),
        "finetune": _finetune(study, has_copies=has_copies),
        "loss": _loss(study, terms, taps),
        "augment": _augment(study.augment) if has_copies else None,
    }


def _baseline(baseline: BaselineSettings) -> dict[str, Any]:
    data = baseline.model_dump(mode="json")
    if baseline.checkpoint is not None:  # it is read, not trained
        return {key: data[key] for key in ("checkpoint", "saw_validation")}
    return _optimizer(data)


def _optimizer(data: dict[str, Any]) -> dict[str, Any]:
    return data if data["optimizer"] == "sgd" else data | {"momentum": None}


def _finetune(study: Study, *, has_copies: bool) -> dict[str, Any]:
    data = _optimizer(study.finetune.model_dump(mode="json"))
    budget = study.finetune.budget
    amounts = {unit: getattr(budget, unit) for unit in UNITS} | {"epochs": budget.in_epochs}
    data["budget"] = {unit: amount for unit, amount in amounts.items() if amount is not None}
    if data["batch_norm"] == "separate" and not has_copies:
        data["batch_norm"] = "joint"  # nothing stands beside the clean images
    return data


def _loss(study: Study, terms: Sequence[str], taps: Sequence[str]) -> dict[str, Any]:
    data = study.loss.model_dump(mode="json")
    read: dict[str, Any] = {term: data.get(term, {}) for term in terms}
    if "fma" in read:
        named = ("layers", "layer_weights")
        others = {key: value for key, value in read["fma"].items() if key not in named}
        read["fma"] = others | {"layers": _layers(study.loss.fma, taps)}
    anchors = [settings.get("anchor") for settings in read.values()]
    return read | {"teacher_decay": data["teacher_decay"] if "ema" in anchors else None}


def _layers(fma: FMASettings, taps: Sequence[str]) -> Any:
    """Share by layer; where the depth of a layer is not known, layers and scheme."""
    layers = tuple(taps) if fma.layers == "taps" and taps else fma.layers
    weights = fma.layer_weights
    if layers == "taps":
        return [layers, weights]
    if not isinstance(weights, str):
        return _shares({layer: weights.get(layer, 0.0) for layer in layers})
    if weights == "uniform" or len(layers) == 1:
        return _shares(dict.fromkeys(layers, 1.0))
    if not set(layers) <= set(taps):
        return [sorted(layers), weights]
    ordered = enumerate(layer for layer in taps if layer in layers)
    return _shares(
        {layer: place + 1.0 if weights == "linear" else 2.0**place for place, layer in ordered}
    )


def _augment(augment: AugmentSettings) -> dict[str, Any]:
    data = augment.model_dump(mode="json")
    read = {key: data[key] for key in ("method", "clean_fraction", "copies")}
    if augment.method == "augmix":
        return read | {"augmix": data["augmix"]}
    ratios = type_ratios(augment.families, augment.mix, augment.types)
    read["types"] = {
        kind: [round(ratio, _DIGITS), *_limits(augment, kind)] for kind, ratio in ratios.items()
    }
    if augment.method == "composed":
        read["depth"] = min(augment.depth, len(ratios))
    return read


def _limits(augment: AugmentSettings, kind: str) -> tuple[float, float]:
    given = augment.strengths.get(kind, augment.strength)
    return (given[0], given[1]) if isinstance(given, tuple) else (0.0, given)


def _shares(weights: dict[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values()) or 1.0
    return {layer: round(weight / total, _DIGITS) for layer, weight in weights.items() if weight}
