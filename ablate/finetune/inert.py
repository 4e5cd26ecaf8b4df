"""Searched parameters that no trial reads: all of its points would score the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ablate.errors import ParameterError
from ablate.finetune.reads import Reading, is_read, readings_of, trained_identity, with_params
from ablate.model import taps_of
from ablate.space.choice import ChoiceDomain
from ablate.space.parse import parameter_paths
from ablate.space.reach import MOST_POINTS, Doubts, points, telling_values
from ablate.space.space import Parameter, Space
from ablate.study.document import Document, Path, show
from ablate.study.keys import plain_values
from ablate.study.settings import Study


def check_inert(
    document: Document,
    path: Path,
    study: Study,
    space: Space,
    *,
    passed_over: set[str],
    doubts: Doubts,
) -> None:
    """Note every searched parameter that no setting within reach reads.

    Args:
        path: of the space in the document.
        study: of a search, whose trials are robustness finetunings.
        passed_over: parameters of which something is said already.
        doubts: parameters that rest on one of them are passed over.
    """
    places = parameter_paths(document.get(path, {}), path)
    # Of other networks they are only known once they are built, which a check need not do.
    fixed, taps = plain_values(study), taps_of(study.model.name) or ()
    for parameter in space.parameters:
        key = parameter.key
        if key in passed_over or doubts.about([key, *deciders_of(key)]):
            continue
        rule = inert_rule(space, parameter, fixed, taps)
        if rule is not None:
            document.refuse(places[parameter.key], rule, name=parameter.key, key=True)


def inert_rule(
    space: Space, parameter: Parameter, fixed: Mapping[str, Any], taps: Sequence[str] = ()
) -> str | None:
    """Why a parameter changes no trial, as `rule, got X. Fix.`; none where it changes one.

    Args:
        fixed: the study's own values by dotted key.
    """
    key, values = parameter.key, telling_values(parameter.domain)
    readings = readings_of(key)
    met: set[str] = set()
    reached = 0
    for point in islice(points(space, {key, *deciders_of(key)}), MOST_POINTS):
        reached += 1
        if key not in point:
            continue
        configuration = with_params(fixed, point)
        try:
            met |= {reading.where for reading in readings if reading.holds(configuration)}
            is_inert = not is_read(key, configuration)
        except ParameterError:  # no such augmentation, which its trial will say
            return None
        if not is_inert and _differs(configuration, key, values, taps):
            return None
    if reached == MOST_POINTS:
        return None
    never = [reading for reading in readings if reading.where not in met]
    return _rule(parameter, never or readings, fixed, space)


def deciders_of(key: str) -> set[str]:
    """Keys that decide on whether a key is read."""
    deciders = {decider for reading in readings_of(key) for decider in reading.deciders}
    # Of batch norm, `separate` is `joint` where there are no copies.
    return deciders | ({"loss.terms"} if key == "finetune.batch_norm" else set())


def _differs(
    configuration: Mapping[str, Any], key: str, values: Sequence[Any], taps: Sequence[str]
) -> bool:
    """Whether some values of a parameter make two trainings; one value alone is read as it is."""
    if len(values) == 1:
        return True
    found = (trained_identity(with_params(configuration, {key: one}), taps) for one in values)
    first = next(found)
    return any(other != first for other in found)


def _rule(
    parameter: Parameter, never: Sequence[Reading], fixed: Mapping[str, Any], space: Space
) -> str:
    """What to say of a parameter, of whose readings these never hold (or never together)."""
    if not never:
        shown = show(list(telling_values(parameter.domain)))
        return f"has no effect on any trial, got {shown}. Remove it."
    where = " and ".join(reading.where for reading in never)
    deciders = dict.fromkeys(decider for reading in never for decider in reading.deciders)
    got = ", ".join(f"{decider}: {text}" for decider, text in _got(deciders, fixed, space))
    first = next(iter(deciders))
    return f"has no effect, used only where {where}, got {got}. Change {first}, or remove this."


def _got(
    keys: Mapping[str, None], fixed: Mapping[str, Any], space: Space
) -> Iterator[tuple[str, str]]:
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    for key in keys:
        domain = domains.get(key)
        if domain is None:
            yield key, show(fixed[key])
        elif isinstance(domain, ChoiceDomain):
            yield key, f"one of {show(list(domain.choices))}"
        else:
            yield key, "searched"
