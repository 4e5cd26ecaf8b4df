"""The points that a search begins with, each method at the settings that were measured for it; and
where a configuration lies in a space.

The settings are the best of each method in docs/measurements.md#defaults (bold there): those of the
digits belong to the higher learning rate, those of CIFAR-10 to the lower one.  What is not listed
here is the study's own value, which is the setting's default where the file does not write it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ablate.errors import ParameterError
from ablate.space.domain import ChoiceDomain, Domain, NumberDomain, SimplexDomain, SubsetDomain
from ablate.space.space import Space
from ablate.study.keys import plain_values
from ablate.study.seeds import Params
from ablate.study.settings import Study

TERMS, RATE = "loss.terms", "finetune.learning_rate"
SCALE, WEIGHT = "loss.fma.scale", "loss.fma.weight"
RATES = (0.01, 0.03)
"""Of SGD, for a study whose own rate is less than threefold away; another one gets its own rate and
three times that, and so does any of another optimizer, for which no rate was measured."""

METHODS = ("clean+da", "clean+st", "clean+fma", "clean+da+fma")
"""Sets of terms that were measured."""

_ALWAYS = {"loss.da.weight": 1.0, "loss.st.weight": 1.0, "loss.fma.layers": "last"}
_ANCHOR_OF_ST = ("pretrained", "both")
_FMA_ALONE = ((3.0, "pretrained"), (1.0, "pretrained"))
"""Weight and anchor at each rate, where no other term reads the copies."""
_FMA_BESIDE = ((1.0, "pretrained"), (0.3, "clean"))
"""The same beside `da`; beside `st` nothing was measured, and it is taken to be as there."""


def start_points(study: Study, space: Space) -> tuple[dict[str, Any], ...] | None:
    """Points that a search runs before its sampler proposes any: of `search.enqueue`, of methods.

    Each set of loss terms that was measured and may be searched, at two learning rates, first all
    sets at the lower one; where none was measured, each set of the space, or the study's one.  A
    point may leave parameters out; the sampler draws these.  Of the methods, points that equal an
    earlier one in this space are left out.

    Args:
        study: its fixed values, for what the space does not search.
        space: of the study.

    Returns:
        By dotted key, for `Space.encode_partial`; with a training loop of one's own, whose keys
        mean what it likes, only `search.enqueue`.  None: the study asks for another start.
    """
    search = study.search
    if search.sampler != "auto" or search.start == "random" or study.ablation is not None:
        return None
    points = list(search.enqueue)
    if study.trainable is not None:
        return tuple(points)
    values = plain_values(study)
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    for key in domains:
        if key.startswith("augment.strengths.") and key not in values:
            values[key] = values["augment.strength"]
    written = [values[TERMS]]
    if isinstance(domains.get(TERMS), ChoiceDomain):
        written = list(domains[TERMS].examples())
    measured = [{*terms.split("+")} for terms in METHODS]
    methods = [terms for terms in written if {*terms.split("+")} in measured]
    # Without copies it is the plain finetune, which every study runs anyway.
    methods = methods or [terms for terms in written if terms != "clean"] or written
    own = values[RATE]
    is_near = RATES[0] / 3 < own < 3 * RATES[1]
    rates = RATES if values["finetune.optimizer"] == "sgd" and is_near else (own, 3 * own)
    places = list(range(len(rates)))
    if RATE not in domains:
        places = sorted(places, key=lambda place: abs(math.log(rates[place] / own)))[:1]
    begun = [space.canonical(space.encode_partial(point)) for point in search.enqueue]
    for place in places:
        for terms in methods:
            wanted = {**values, **_measured(terms, place), TERMS: terms, RATE: rates[place]}
            if values[SCALE] != "value":  # a weight of another kind
                wanted[WEIGHT] = values[WEIGHT]
            point = _point(space, wanted)
            raw = space.canonical(space.encode_partial(point))
            if point and raw not in begun:
                points.append(point)
                begun.append(raw)
    return tuple(points)


def _measured(terms: str, place: int) -> dict[str, Any]:
    """What was best of a set of terms, at the lower (0) or the higher (1) rate."""
    is_beside = not {"da", "st"}.isdisjoint(terms.split("+"))
    weight, anchor = (_FMA_BESIDE if is_beside else _FMA_ALONE)[place]
    found = {"loss.st.anchor": _ANCHOR_OF_ST[place], WEIGHT: weight}
    return {**_ALWAYS, **found, "loss.fma.anchor": anchor}


def _point(space: Space, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The values of active parameters that are wanted, or the nearest; a parameter that has none
    near is left out, and so is what depends on it."""
    point, known = dict[str, Any](), dict[str, Any]()
    for parameter in space.parameters:
        key, domain = parameter.key, parameter.domain
        if not space.is_active(parameter, known) or key not in wanted:
            continue
        for value in _nearest(domain, wanted[key], known):
            point[key] = value
            known[key] = domain.resolve(key, domain.encode(key, value, known), known)
    return point


def point_of(space: Space, values: Mapping[str, Any]) -> Params | None:
    """The point of a space that a configuration, by dotted key, is at; None: it lies outside."""
    raw, known = dict[str, Any](), dict[str, Any]()
    for parameter in space.parameters:
        key, domain = parameter.key, parameter.domain
        if not space.is_active(parameter, known):
            continue
        try:
            above, _, name = key.rpartition(".")  # of an entry of an open mapping
            inner = values.get(above)
            value = values[key] if key in values or not isinstance(inner, Mapping) else inner[name]
            if domain.has_equal_draws and not isinstance(value, list | Mapping):
                (value,) = _nearest(domain, value, known)  # a word, as `last`, or none
            if isinstance(domain, SimplexDomain) and not isinstance(value, Mapping):
                return None
            if isinstance(domain, SimplexDomain):  # an item that is taken out may have had none
                value = {name: one for name, one in value.items() if one or name in domain.names}
            raw |= domain.encode(key, value, known)
        except (KeyError, ParameterError):
            return None
        # A ratio stays as it was: draws give it up to rounding.
        known[key] = value if domain.has_equal_draws else domain.resolve(key, raw, known)
    return Params(known, raw)


def _nearest(domain: Domain, wanted: Any, known: Mapping[str, Any]) -> Sequence[Any]:
    """The value of a domain that is nearest to the wanted one, or nothing."""
    is_number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
    found: list[Any] = []
    match domain:
        case NumberDomain(low=low, high=high, step=step) if is_number:
            value = min(max(wanted, low), high)
            if step is not None:
                value = low + step * math.floor((value - low) / step + 0.5)
            value = domain.number(value if domain.number is float else round(value))
            found = [min(max(value, low), high)]
        case SubsetDomain(names=names) if isinstance(wanted, list):
            chosen = [name for name in names if name in wanted]
            found = [chosen] if chosen else []
        case SubsetDomain(names=names):
            found = [[names[-1]] if wanted == "last" else list(names)]
        case SimplexDomain(names=names, of=of):
            found = [dict.fromkeys(names if of is None else known[of], 1.0)]
        case ChoiceDomain(choices=choices) if domain.holds(wanted):
            found = [wanted]
        case ChoiceDomain(choices=choices) if is_number:
            numbers = [choice for choice in choices if type(choice) in (int, float)]
            found = sorted(numbers, key=lambda number: _distance(number, wanted))[:1]
    return found


def _distance(number: float, wanted: float) -> float:
    """Rates and weights are compared by their ratio."""
    return abs(math.log(number / wanted) if min(number, wanted) > 0 else number - wanted)
