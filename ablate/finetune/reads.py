"""Defines when a key of the study affects a finetuning, and when two configurations are the same.

`READINGS` lists the conditions on other keys.  It is used by the check of a search, for rows of a
search that are the same point, and for cells of an ablation that are the same configuration.  If a
loss, an augmentation or an optimiser starts or stops reading a key, change it here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from ablate.errors import ParameterError
from ablate.finetune.augment.ratios import lowest_and_highest, type_ratios
from ablate.finetune.loss import SCHEMES, TERMS
from ablate.model import chosen_layers, taps_of
from ablate.space.domain import ChoiceDomain
from ablate.space.fit import MOST_POINTS, points, telling_values
from ablate.space.space import Parameter, Space
from ablate.study.document import Finding, show
from ablate.study.keys import OPEN, leaves, plain_values, searched_paths
from ablate.study.settings import DEFAULT_EPOCHS, UNITS, Study

Values = Mapping[str, Any]
"""A complete configuration: plain JSON by dotted key of the study, including defaults."""

SECTIONS = ("dataset", "model", "baseline", "finetune", "loss", "augment")
"""What a finetuning is made from."""

_TRAINED = tuple(key for key in leaves() if key.partition(".")[0] in SECTIONS)
"""The keys of a finetuning."""

_DIGITS = 12
"""To which ratios are compared: 0.2 of 0.6 is 1 of 3."""


class Reading(NamedTuple):
    """Keys that affect a finetuning only under a condition.

    Attributes:
        where: the condition in words, after "where".
        keys: dotted; a key that ends with a dot means all keys below it.
        deciders: all keys that the condition reads.
        holds: evaluates the condition for a complete configuration.
    """

    where: str
    keys: tuple[str, ...]
    deciders: tuple[str, ...]
    holds: Callable[[Values], bool]


def terms_of(values: Values) -> list[str]:
    """The terms of the objective, in one order."""
    return sorted(str(values["loss.terms"]).split("+"))


def has_copies(values: Values) -> bool:
    """Whether augmented copies are made at all."""
    return terms_of(values) != ["clean"]


def type_shares(values: Values) -> dict[str, float]:
    """The probability of each distortion type; none for `augmix`, which has its own operators."""
    if values["augment.method"] == "augmix":
        return {}
    names = (values[f"augment.{name}"] for name in ("families", "mix", "types"))
    return type_ratios(*names)


_TYPES = ("augment.families", "augment.types", "augment.mix")
_DRAWN = (*_TYPES, "augment.method")
_STRENGTHS = ("augment.strength", "augment.strengths", "augment.strengths.")
_OF_MAPS = ("loss.fma.distance", "loss.fma.activation", "loss.fma.layers", "loss.fma.layer_weights")
_ANCHORS = tuple(key for key in leaves() if key.endswith(".anchor"))
_OF_WEIGHTS = ("baseline.checkpoint", "baseline.saw_validation", "baseline.expected_accuracy")
_OF_TRAINING = tuple(
    key for key in leaves() if key.startswith("baseline.") and key not in _OF_WEIGHTS
)


def _where_is(decider: str, value: Any, *keys: str) -> Reading:
    where = f"{decider} is {'not given' if value is None else value}"
    return Reading(where, keys, (decider,), lambda values: bool(values[decider] == value))


def _where_is_not(decider: str, value: Any, *keys: str) -> Reading:
    where = f"{decider} is not {value}"
    return Reading(where, keys, (decider,), lambda values: bool(values[decider] != value))


def _with_term(term: str) -> Reading:
    where = f"loss.terms has {term}"
    keys, deciders = (f"loss.{term}.",), ("loss.terms",)
    return Reading(where, keys, deciders, lambda values: term in terms_of(values))


def _above_0(decider: str, *keys: str) -> Reading:
    """Keys that have no effect while the decider is 0.  (Of a term's weight the anchor is not among
    them: its teacher still runs.)"""
    return Reading(f"{decider} is above 0", keys, (decider,), lambda values: values[decider] > 0)


def _has_ema(values: Values) -> bool:
    return any(values.get(f"loss.{term}.anchor") == "ema" for term in terms_of(values))


def _has_several_layers(values: Values) -> bool:
    layers = values["loss.fma.layers"]
    return bool(layers == "taps" or (layers != "last" and len(layers) > 1))


def _is_mixed(values: Values) -> bool:
    types = values["augment.types"]
    return len(values["augment.families"] if types is None else types) > 1


def _has_several_types(values: Values) -> bool:
    return len(type_shares(values)) > 1


def _needs_strength(values: Values) -> bool:
    return any(kind not in values["augment.strengths"] for kind in type_shares(values))


READINGS: tuple[Reading, ...] = (
    *map(_with_term, TERMS),
    _above_0("loss.st.weight", "loss.st.form", "loss.st.temperature"),
    _above_0("loss.fma.weight", *_OF_MAPS),
    Reading(
        "loss.fma.layers has more than one layer",
        keys=("loss.fma.layer_weights",),
        deciders=("loss.fma.layers",),
        holds=_has_several_layers,
    ),
    Reading(
        "a term in loss.terms has the anchor ema",
        keys=("loss.teacher_decay",),
        deciders=("loss.terms", *_ANCHORS),
        holds=_has_ema,
    ),
    Reading("loss.terms has more than clean", ("augment.",), ("loss.terms",), has_copies),
    _where_is("augment.types", None, "augment.families"),
    _where_is_not("augment.method", "augmix", *_TYPES, *_STRENGTHS),
    Reading(
        "more than one family or type is drawn from",
        keys=("augment.mix",),
        deciders=("augment.families", "augment.types"),
        holds=_is_mixed,
    ),
    Reading(
        "a type is drawn that augment.strengths leaves out",
        keys=("augment.strength",),
        deciders=(*_DRAWN, "augment.strengths"),
        holds=_needs_strength,
    ),
    _where_is("augment.method", "composed", "augment.depth"),
    Reading("more than one type is drawn", ("augment.depth",), _DRAWN, _has_several_types),
    _where_is_not("augment.method", "all", "augment.copies"),
    _where_is("augment.method", "augmix", "augment.augmix."),
    _where_is("baseline.optimizer", "sgd", "baseline.momentum"),
    _where_is("finetune.optimizer", "sgd", "finetune.momentum"),
    _where_is_not("baseline.schedule", "one_cycle", "baseline.warmup_fraction"),
    _where_is_not("finetune.schedule", "one_cycle", "finetune.warmup_fraction"),
    _where_is("baseline.checkpoint", None, *_OF_TRAINING),
    _above_0("baseline.probe_fraction", "baseline.probe_learning_rate"),
    _above_0("finetune.probe_fraction", "finetune.probe_learning_rate"),
    _above_0("baseline.lora.rank", "baseline.lora.alpha"),
    _above_0("finetune.lora.rank", "finetune.lora.alpha"),
    _where_is("finetune.lora.rank", 0, "finetune.batch_norm"),
)


@cache
def readings_of(key: str) -> tuple[Reading, ...]:
    """The conditions for a key to affect a finetuning, all of which must hold; empty for most
    keys."""
    readings = tuple(
        reading
        for reading in READINGS
        if any(
            key == read or (read.endswith(".") and key.startswith(read)) for read in reading.keys
        )
    )
    above, _, kind = key.rpartition(".")
    if above == "augment.strengths":
        where = f"the type {kind} is drawn"
        is_drawn = Reading(where, (key,), _DRAWN, lambda values: kind in type_shares(values))
        readings = (*readings, is_drawn)
    return readings


def is_read(key: str, values: Values) -> bool:
    """Whether a key reaches the finetuning of a configuration."""
    return all(reading.holds(values) for reading in readings_of(key))


def with_params(values: Values, params: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with other values for some keys, entries of open mappings too."""
    merged = {**values, **params}
    for key, value in params.items():
        above, _, name = key.rpartition(".")
        if above in OPEN:
            merged[above] = {**merged[above], name: value}
    return merged


def trained_values(values: Values, taps: Sequence[str] = ()) -> dict[str, Any]:
    """The part of a configuration that a finetuning reads, in canonical form.

    Two configurations are the same if these are equal: `clean+fma+st` is `clean+st+fma`, a list of
    all taps is `taps`, a mix of equal ratios is None, and weights of unused terms are omitted.

    Args:
        taps: named layers of its network, first to last; empty if unknown.

    Raises:
        ParameterError: if the augmentation has nothing to draw from.
    """
    read = {key: values[key] for key in _TRAINED if is_read(key, values)}
    read["loss.terms"] = terms_of(values)
    read["finetune.frozen"] = sorted(values["finetune.frozen"])
    amounts = {unit: read.pop(f"finetune.budget.{unit}") for unit in UNITS}
    given = {unit: amount for unit, amount in amounts.items() if amount is not None}
    read["finetune.budget"] = given or {"epochs": DEFAULT_EPOCHS}
    if "loss.fma.layers" in read:
        weights = read.pop("loss.fma.layer_weights", "uniform")
        read["loss.fma.layers"] = _layer_shares(read["loss.fma.layers"], weights, taps)
    if not has_copies(values):
        if read.get("finetune.batch_norm") == "separate":
            read["finetune.batch_norm"] = "joint"  # nothing stands beside the clean images
        return read
    shares = type_shares(values)
    for name in ("families", "types", "mix", "strength", "strengths"):
        read.pop(f"augment.{name}", None)
    strengths, strength = values["augment.strengths"], values["augment.strength"]
    read["augment.types"] = {
        kind: [round(share, _DIGITS), *lowest_and_highest(strengths.get(kind, strength))]
        for kind, share in shares.items()
    }
    if "augment.depth" in read:
        read["augment.depth"] = min(read["augment.depth"], len(shares))
    return read


def trained_identity(values: Values, taps: Sequence[str] = ()) -> str:
    """`trained_values` as text; equal for equal configurations."""
    try:
        read: Mapping[str, Any] = trained_values(values, taps)
    except ParameterError:  # the trial will report it
        read = {key: values[key] for key in _TRAINED}
    return as_text(read)


def as_text(value: Any) -> str:
    """Plain data as text, with whole floats as ints: 1.0 equals 1, but true does not."""
    return json.dumps(_plain(value), sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _layer_shares(named: Any, weights: Any, taps: Collection[str]) -> Any:
    """Share by layer; where the depth of a layer is not known, layers and scheme."""
    if isinstance(named, str) and not taps:
        return [named, weights]
    layers = chosen_layers(named, tuple(taps))
    if not isinstance(weights, str):
        by_layer = {layer: weights.get(layer, 0.0) for layer in layers}
    elif weights == "uniform" or len(layers) == 1:
        by_layer = dict.fromkeys(layers, 1.0)
    elif not set(layers) <= set(taps):
        return [sorted(layers), weights]
    else:
        ordered = enumerate(layer for layer in taps if layer in layers)
        by_layer = {layer: SCHEMES[weights](place) for place, layer in ordered}
    total = math.fsum(by_layer.values()) or 1.0
    return {layer: round(weight / total, _DIGITS) for layer, weight in by_layer.items() if weight}


# -- Searched parameters that no trial reads: all of their points would score the same -----


def inert_rules(study: Study, space: Space) -> Iterator[Finding]:
    """Searched parameters that no reachable setting reads.

    Args:
        study: of a search, whose trials are robustness finetunings.
    """
    # Of other networks they are only known once they are built, which a check need not do.
    fixed, taps = plain_values(study), taps_of(study.model.name) or ()
    paths = searched_paths(study.space)
    for parameter in space.parameters:
        if rule := inert_rule(space, parameter, fixed, taps):
            yield Finding(paths[parameter.key], rule)


def inert_rule(
    space: Space, parameter: Parameter, fixed: Mapping[str, Any], taps: Sequence[str] = ()
) -> str | None:
    """Why a parameter affects no trial, as `rule, got X. Fix.`, or None.

    Args:
        fixed: the study's values by dotted key.
    """
    key, values = parameter.key, telling_values(parameter.domain)
    readings = readings_of(key)
    deciders = {decider for reading in readings for decider in reading.deciders}
    # Of batch norm, `separate` is `joint` where there are no copies.
    deciders |= {"loss.terms"} if key == "finetune.batch_norm" else set()
    met: set[str] = set()
    reached, is_read_once = 0, False
    for point in islice(points(space, {key, *deciders}), MOST_POINTS):
        reached += 1
        if key not in point:
            continue
        configuration = with_params(fixed, point)
        try:
            holding = [reading for reading in readings if reading.holds(configuration)]
        except ParameterError:  # invalid augmentation; the trial will report it
            return None
        met |= {reading.where for reading in holding}
        if len(holding) == len(readings):
            is_read_once = True
            changed = (with_params(configuration, {key: value}) for value in values)
            identities = (trained_identity(each, taps) for each in changed)
            first = next(identities)  # a single value counts as read
            if len(values) == 1 or any(other != first for other in identities):
                return None
    if reached == MOST_POINTS:
        return None
    never = [reading for reading in readings if reading.where not in met] or readings
    if is_read_once or not never:
        return f"has no effect on any trial, got {show(values)}. Remove it."
    where = " and ".join(reading.where for reading in never)
    domains = {other.key: other.domain for other in space.parameters}
    got = {}
    for decider in (decider for reading in never for decider in reading.deciders):
        domain = domains.get(decider)
        got[decider] = show(fixed[decider]) if domain is None else "searched"
        if isinstance(domain, ChoiceDomain):
            got[decider] = f"one of {show(list(domain.choices))}"
    rule = f"has no effect, used only where {where}, got"
    values_text = ", ".join(f"{decider}: {text}" for decider, text in got.items())
    return f"{rule} {values_text}. Change {next(iter(got))}, or remove this."
