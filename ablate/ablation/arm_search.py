"""The search that tunes an arm: its values fixed, the rest of the study's space searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.ablation.cell import Cell, Design
from ablate.ablation.configuration import Ground, Refuse
from ablate.ablation.results import BASELINE
from ablate.space.domain import Domain
from ablate.space.parse import check_space
from ablate.space.simplex import SimplexDomain
from ablate.space.space import Parameter, Space
from ablate.space.subset import SubsetDomain
from ablate.study.document import Document
from ablate.study.settings import SearchSettings, Study


def tuned_cells(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that have something to tune: all but a baseline of the study's own."""
    return [cell for cell in cells if study.trainable is not None or cell.name != BASELINE]


def arm_study(study: Study, cell: Cell, name: str) -> Study:
    """The search of a cell.

    Args:
        study: the ablation, whose space and tuning say what is searched.
    """
    settings = study.ablation
    assert settings is not None
    assert settings.tune is not None
    assert isinstance(study.space, dict)
    tune = settings.tune
    search = SearchSettings(trials=tune.trials, sampler=tune.sampler, seed=tune.seed)
    space = without_keys(study.space, cell.values)
    if study.trainable is None:
        study = study.with_values(dict(cell.values))
    else:  # its values are in no section: each is a choice of one
        space = {key: {"choice": [value]} for key, value in cell.values.items()} | space
    update = {"name": name, "ablation": None, "search": search, "space": space}
    return study.model_copy(update=update)


def without_keys(space: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """A space as it is written, without the parameters of these keys, in its blocks too."""
    left: dict[str, Any] = {}
    for name, entry in space.items():
        if "parameters" in entry:
            inner = without_keys(entry["parameters"], keys)
            if inner:
                left[name] = {**entry, "parameters": inner}
        elif name not in keys:
            left[name] = entry
    return left


def check_searches(ground: Ground, design: Design, refuse: Refuse) -> None:
    """Note arms whose search could not be begun, or would try one point again and again."""
    arms = {cell: arm.name for arm in design.arms for cell in arm.cells}
    said: set[tuple[str, str]] = set()
    for cell in tuned_cells(ground.study, design.cells):
        study = arm_study(ground.study, cell, ground.study.name)
        document = Document("space", study.space)
        space = check_space(document, (), study, ground.names)
        rules = [problem.message for problem in document.problems]
        if not rules and not _can_vary(ground, cell, space):
            fix = "Add one to the space, as finetune.learning_rate."
            rules = [f"tune needs a parameter that the arm reads, got none. {fix}"]
        for rule in rules:
            if (arms[cell.name], rule) not in said:
                said.add((arms[cell.name], rule))
                refuse(("arms", arms[cell.name]), f"its search: {rule}")


def _can_vary(ground: Ground, cell: Cell, space: Space) -> bool:
    """Whether a parameter of the space changes what the cell trains."""
    return any(
        len({ground.identity({**cell.values, one.key: value}) for value in _values(one.domain)}) > 1
        for one in space.parameters
        if _may_be_active(one, space)
    )


def _may_be_active(parameter: Parameter, space: Space) -> bool:
    return all(
        condition.key in space.keys or condition.holds(space.fixed.get(condition.key))
        for condition in parameter.when
    )


def _values(domain: Domain) -> Sequence[Any]:
    """Some values of a domain, two at least where it has two."""
    if isinstance(domain, SubsetDomain):
        return [[name] for name in domain.names]
    if isinstance(domain, SimplexDomain):
        return [{name: 1.0} for name in domain.names]
    return domain.examples()
