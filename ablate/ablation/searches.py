"""The searches of an ablation: one that tunes an arm, one whose trial is the reference."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Cell, Design
from ablate.ablation.draft import Draft
from ablate.ablation.results import BASELINE
from ablate.analysis.caveats import nearest_text
from ablate.analysis.pareto import ParetoPoint, pareto_info
from ablate.errors import FingerprintError, ParameterError, did_you_mean
from ablate.files.shown import count_text
from ablate.ledger.record import StudyRecord
from ablate.space.fit import telling_values
from ablate.space.parse import read_space
from ablate.space.space import Space, enqueue_rules
from ablate.study.document import name_of, show
from ablate.study.fingerprint import changed_keys
from ablate.study.keys import FIXED_KEYS
from ablate.study.names import KnownNames
from ablate.study.settings import SearchSettings, Study, TuneSettings


def tuned_cells(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that have something to tune: all but a baseline of the study's own, and those whose
    values fix every key of the space."""
    assert isinstance(study.space, dict)
    cells = [cell for cell in cells if without_keys(study.space, cell.values)]
    return [cell for cell in cells if study.trainable is not None or cell.name != BASELINE]


def arm_study(study: Study, cell: Cell, name: str, names: KnownNames) -> Study:
    """The search of a cell.

    Args:
        study: the ablation; its space and tuning define the search.
        names: that exist, by dotted key.
    """
    tune = study.tune_section
    assert isinstance(study.space, dict)
    space = without_keys(study.space, cell.values)
    if study.trainable is None:
        study = study.with_values(dict(cell.values))
    else:  # its values are in no section: each is a choice of one
        space = {key: {"choice": [value]} for key, value in cell.values.items()} | space
    study = study.model_copy(update={"name": name, "ablation": None, "space": space})
    points = _own_points(tune, cell, read_space(study, names)[0]) if tune.enqueue else []
    search = SearchSettings(
        trials=tune.trials,
        sampler=tune.sampler,
        seed=tune.seed,
        enqueue=tuple(one for i, one in enumerate(points) if one and one not in points[:i]),
    )
    return study.model_copy(update={"search": search})


def _own_points(tune: TuneSettings, cell: Cell, space: Space) -> list[dict[str, Any]]:
    """The points that are run first, without the parameters that the cell does not search."""
    own = _searched_keys(cell, space)
    return [{key: point[key] for key in point if key in own} for point in tune.enqueue]


def _searched_keys(cell: Cell, space: Space) -> tuple[str, ...]:
    """Keys that a trial of the search of a cell may draw; of a loop of one's own, the space has the
    values of the cell too."""
    return space.left_out({key: cell.values[key] for key in space.keys if key in cell.values})


def without_keys(space: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """A space as written, without the parameters of these keys, also in blocks."""
    left: dict[str, Any] = {}
    for name, entry in space.items():
        if "parameters" in entry:
            inner = without_keys(entry["parameters"], keys)
            if inner:
                left[name] = {**entry, "parameters": inner}
        elif name not in keys:
            left[name] = entry
    return left


def check_tuning(draft: Draft, design: Design) -> None:
    """Note what is wrong with the tuning: its sampler, its pick, arms whose search cannot start, or
    has only one point, and the points that are run first."""
    tune = draft.study.tune_section
    samplers = draft.names.get("search.sampler", ())
    if samplers and tune.sampler not in samplers:
        fix = did_you_mean(tune.sampler, samplers)
        draft.refuse(("tune", "sampler"), f"unknown sampler, got {show(tune.sampler)}. {fix}")
    metrics = [objective.metric for objective in draft.study.objectives]
    rule, (word, argument) = pick_rule(tune.pick), (*tune.pick.split(), "", "")[:2]
    if rule is None and word == "best" and best_of(argument, metrics) is None:
        fix = did_you_mean(argument, metrics)
        rule = f"best needs one of the objectives, got {argument}. {fix}"
    if rule is None and word == "trial" and int(argument) >= tune.trials:
        rule = f"must be a trial from 0 to {tune.trials - 1}, got {tune.pick}"
        rule += ". Pick another, or raise tune.trials."
    if rule is not None:
        draft.refuse(("tune", "pick"), rule)
    arms = {cell: arm.name for arm in design.arms for cell in arm.cells}
    noted: set[tuple[str, str]] = set()
    spaces = []
    cells = tuned_cells(draft.study, design.cells)
    if design.cells and not cells:
        draft.refuse(("tune",), "needs a key of the space that an arm leaves open. Add one.")
    for cell in cells:
        study = arm_study(draft.study, cell, draft.study.name, draft.names)
        space, findings = read_space(study, draft.names)
        rules = [f"{name_of(path)}: {found}" for path, found in findings]
        spaces.append((cell, space))
        if not rules and not _can_vary(draft, cell, space):
            fix = "Add one to the space, or fix every key of the space: then it is not tuned."
            rules = [f"tune needs a parameter that the arm uses, got none. {fix}"]
        for found in rules:
            if (arms[cell.name], found) not in noted:
                noted.add((arms[cell.name], found))
                draft.refuse(("arms", arms[cell.name]), f"its search: {found}")
    if not noted:
        _check_points(draft, spaces)


def _check_points(draft: Draft, spaces: Sequence[tuple[Cell, Space]]) -> None:
    """Note what is wrong with the points that are run first: values in a search, keys in all."""
    tune = draft.study.tune_section
    found = (enqueue_rules(space, _own_points(tune, cell, space)) for cell, space in spaces)
    for wrong in dict.fromkeys(chain.from_iterable(found)):
        draft.refuse(("tune", *wrong.path[1:]), wrong.rule)
    searched = sorted({key for each in spaces for key in _searched_keys(*each)})
    for i, point in enumerate(tune.enqueue):
        for key in [key for key in point if key not in searched]:
            rule = f"searched by no arm. {did_you_mean(key, searched)}"
            draft.refuse(("tune", "enqueue", i, key), rule)


def _can_vary(draft: Draft, cell: Cell, space: Space) -> bool:
    """Whether a parameter of the space changes what the cell trains."""
    searched = _searched_keys(cell, space)
    for parameter in space.parameters:
        if parameter.key not in searched:
            continue
        values = telling_values(parameter.domain)
        made = (draft.identity({**cell.values, parameter.key: value}) for value in values)
        first = next(made)
        if any(other != first for other in made):
            return True
    return False


# -- Expected best score of a smaller search: what an arm's tuning budget bought -----------
#
# Source: Tang et al. 2020, arXiv:2004.13705, sec. 3: without replacement, which is unbiased.  Dodge
# et al. 2019, arXiv:1909.03004, sec. 3.2, draw with replacement: biased low for n near T, as scores
# above the best one are never seen.


def expected_best(values: np.ndarray) -> NDArray[np.float64]:
    """Mean of the maximum over all subsets of n of the T scores, for n from 1 to T.

    Without bias for random search, whose trials are independent samples; an approximation for
    adaptive samplers, whose later trials are better because of earlier ones.

    Args:
        values: `[T]`, higher is better; NaN or infinity for a failed trial, which counts as the
            worst score of the others.

    Returns:
        `[T]`, not decreasing: at n = 1 the mean, at n = T the maximum.
        NaN if all failed; empty without trials.
    """
    scores = np.asarray(values, dtype=np.float64)
    is_scored = np.isfinite(scores)
    if not is_scored.any():
        return np.full(len(scores), math.nan)
    ordered = np.sort(np.where(is_scored, scores, scores[is_scored].min()))
    n = len(ordered)
    # The best of n is at or below the i-th score with probability C(i, n) / C(T, n); the sum over
    # scores, by parts: the highest less every gap between neighbours, times how probably it is not
    # crossed.
    gaps = np.diff(ordered)
    ranks = np.arange(1, n)
    below = np.ones(n - 1)
    best = np.empty(n)
    for place in range(n):
        below *= np.maximum(ranks - place, 0) / (n - place)
        best[place] = ordered[-1] - gaps @ below
    return best


# -- A reference that is a trial of a search: which one, and whether it may be one ---------


COMPARED = (
    *("trainable", "dataset", "data", "model", "baseline"),
    *("finetune", "loss", "augment", "robustness"),
)
"""Sections of the fingerprint in which an ablation and its search must agree."""


def pick_rule(pick: Any) -> str | None:
    """Why a pick is invalid, as `rule, got X. Fix.`, or None."""
    is_valid = isinstance(pick, str) and re.fullmatch(
        r"\s*(knee|best\s+\S+|trial\s+[0-9]+)\s*", pick
    )
    rule = f"must be knee, best METRIC or trial N, got {show(pick)}. Write pick: knee."
    return None if is_valid else rule


def best_of(metric: str, metrics: Sequence[str]) -> str | None:
    """The objective of `best METRIC`, where `val_` may be left out; None if there is none."""
    return next((one for one in (metric, f"val_{metric}") if one in metrics), None)


def pick_trial(
    record: StudyRecord,
    pick: str,
    *,
    key: str = "ablation.reference",
    mixtures: bool = False,
) -> ParetoPoint:
    """Select a trial of a search.

    Args:
        record: of the search.
        pick: "knee", "best METRIC" (of an objective; `val_` may be left out) or "trial N".
        key: of the study file, for messages.
        mixtures: whether knee and best may be a mixture too, which has no parameters.

    Raises:
        ParameterError: if it is none of these, there is no such complete trial, or no such
            objective.
    """
    rule = pick_rule(pick)
    if rule is not None:
        raise ParameterError(f"{key}.pick: {rule}")

    def refuse(rule: str) -> NoReturn:
        raise ParameterError(f"{key}: study {record.name}: {rule}")

    if record.design is not None:
        refuse("must be a search, got an ablation. Name a search.")
    info = pareto_info(record if mixtures else replace(record, mixtures=None))
    word, argument = (*pick.split(), "")[:2]
    if word == "trial":
        number = int(argument)
        for point in info.points:
            if point.number == number:
                return point
        state = next((row.state for row in record.rows if row.number == number), None)
        got = f"trial {number}, which is {state}" if state else f"no trial {number}"
        refuse(f"must have that trial in state COMPLETE, got {got}. Pick another.")
    if info.picked is None and info.points and info.bounds:
        refuse(
            f"must have a trial that keeps all constraints, got none of {len(info.points)} "
            f"complete ones: nearest is {nearest_text(record)}. Name one that does not by its "
            "number, or change the constraints."
        )
    if info.picked is None:
        refuse(
            f"must have a complete trial, got none in {count_text(len(record.rows), 'row')}. "
            "Finish the search, or see `ablate trials` for why its trials failed."
        )
    if word == "knee":
        return info.picked
    metrics = [objective.metric for objective in info.objectives]
    metric = best_of(argument, metrics)
    if metric is None:
        fix = did_you_mean(argument, metrics)
        refuse(f"best needs one of its objectives, got {argument}. {fix}")
    place = metrics.index(metric)
    sign = 1 if info.objectives[place].direction == "maximize" else -1
    # Of equal ones the first of the front's order: a trial before a mixture.
    ranked = sorted(info.front, key=lambda point: (point.is_mixture, point.point))
    return max(ranked, key=lambda point: sign * point.values[place])


def check_same_sections(study: Study, record: StudyRecord) -> None:
    """Refuse a search that was of other settings, before anything is run.

    Raises:
        FingerprintError: naming the keys that differ.
    """
    plain = [one.model_dump(mode="json") for one in (record.study, study)]
    changed = [
        line
        for line in changed_keys(*plain)
        if re.split(r"[.:]", line, maxsplit=1)[0] in COMPARED
        and line.partition(":")[0] not in FIXED_KEYS
    ]
    if changed:
        raise FingerprintError(
            f"study {study.name}: the ablation must use the same settings as the search of its "
            f"reference, got {'; '.join(changed)} (study {record.name} -> here). Copy these, or "
            "write the values of the reference."
        )


def check_reference(
    study: Study, fingerprint: Mapping[str, str], search: str, other: Mapping[str, str]
) -> None:
    """Refuse a search with other data, network or training.

    Args:
        fingerprint: of the ablation, by section.
        search: name of the search; other: its fingerprint.

    Raises:
        FingerprintError: the message names the sections that differ.
    """
    differ = [name for name in COMPARED if fingerprint.get(name) != other.get(name)]
    if differ:
        raise FingerprintError(
            f"study {study.name}: the ablation must use the same settings as the search of its "
            f"reference, got other {', '.join(differ)} than study {search}. Copy these sections, "
            "or write the values of the reference."
        )
