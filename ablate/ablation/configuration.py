"""Configurations based on a study: their values, and whether they can be run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pydantic import ValidationError

from ablate.ablation.cell import Arm, Cell, Contrast, Design, difference
from ablate.errors import did_you_mean
from ablate.finetune.reads import as_text, trained_identity
from ablate.model import chosen_layers
from ablate.study.checks import study_rules
from ablate.study.document import dotted, show
from ablate.study.keys import (
    BY_NAME,
    OPEN,
    SEARCHABLE,
    all_keys,
    is_own_key,
    is_searchable,
    plain_values,
    searchable,
    value_at,
)
from ablate.study.names import KnownNames, name_rules
from ablate.study.settings import Study
from ablate.study.translate import findings

Path = tuple[str | int, ...]
Problems = list[tuple[Path, str]]
Refuse = Callable[[Path, str], None]
"""Notes a problem: where below `ablation`, and `rule, got X. Fix.`"""
Values = Mapping[str, Any]

PAIRED = (
    "finetune.seed",
    "baseline.seed",
    "dataset.validation.seed",
    "robustness.seed",
)
"""Seeds are paired over the cells, so no cell has its own."""

_LAYERS = ("loss.fma.layers", "loss.fma.layer_weights")


@dataclass(frozen=True)
class Ground:
    """The basis of configurations.

    Attributes:
        study: values of keys that a configuration does not set, including those of the reference.
        names: known names by dotted key; model: the network of the layer names.
    """

    study: Study
    names: KnownNames
    model: str
    own: Values = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", plain_values(self.study))

    @property
    def taps(self) -> tuple[str, ...]:
        """Named layers of the network, first to last."""
        return tuple(self.names.get("loss.fma.layers", ()))

    def with_reference(self, reference: Values) -> Ground:
        """The ground of the cells."""
        if self.study.trainable is not None:
            return self
        study = Study.model_validate(self.filled(reference))
        # As read, because invalid values, such as NaN, would be lost when serialised.
        study = study.model_copy(update={"ablation": self.study.ablation})
        return Ground(study, self.names, self.model)

    def get(self, values: Values, key: str) -> Any:
        """The value of a key in a configuration, with the layers of a word listed."""
        found = values.get(key, self.own.get(key))
        if key == "loss.fma.layers" and isinstance(found, str) and self.is_named(values):
            return list(chosen_layers(found, self.taps))
        return list(found) if isinstance(found, tuple) else found

    def is_named(self, values: Values) -> bool:
        """Whether the layers that are known are those of a configuration's network."""
        return bool(values.get("model.name", self.own.get("model.name")) == self.model)

    def filled(self, values: Values) -> dict[str, Any]:
        """The study's plain data with the values of a configuration."""
        data = self.study.model_dump(mode="json")
        for key, value in values.items():
            above, _, last = key.rpartition(".")
            mapping = value_at(data, above)
            if isinstance(mapping, dict):  # else it is refused itself
                mapping[last] = copy.deepcopy(value)
        return data

    def identity(self, values: Values) -> str:
        """The effective settings of a configuration, and at which alpha it is scored, as text;
        equal for equivalent configurations."""
        if self.study.trainable is not None:
            return as_text(dict(values))
        try:
            study = Study.model_validate(self.filled(values))
        except ValidationError:  # reported elsewhere
            return as_text({**self.own, **values})
        taps = self.taps if self.is_named(values) else ()
        alpha = study.finetune.result_alpha
        return trained_identity(plain_values(study), taps) + (f" at {alpha}" if alpha < 1 else "")

    def same(self, one: Values, other: Values) -> bool:
        """Whether two configurations are equivalent: they give the same training."""
        return self.identity(one) == self.identity(other)


class NotPlannedError(Exception):
    """A design cannot be made; the problem has been noted."""


class Draft:
    """A design while it is made: its cells, and every problem of it.

    Args:
        may_repeat: whether two cells may be equivalent, such as arms that are tuned separately.

    Attributes:
        ground, reference: what its configurations are based on.
        cells: those that can be run, in order.
        problems: path in the study, and `rule, got X. Fix.`
    """

    def __init__(self, ground: Ground, reference: Values, *, may_repeat: bool = False) -> None:
        self.ground = ground
        self.reference = reference
        self.settings = ground.study.ablation_section
        self.cells: list[Cell] = []
        self.problems: Problems = []
        self._may_repeat = may_repeat
        self._names: dict[str, str] = {}
        self._noted: set[str] = set()

    def refuse(self, path: Path, rule: str) -> None:
        """Note a problem; the path is below `ablation`."""
        self.problems.append((("ablation", *path), rule))

    def stop(self, path: Path, rule: str) -> NoReturn:
        """Note a problem without which nothing more can be planned.

        Raises:
            NotPlannedError: always.
        """
        self.refuse(path, rule)
        raise NotPlannedError

    def stop_if_refused(self) -> None:
        """Raises: NotPlannedError: if a problem was noted."""
        if self.problems:
            raise NotPlannedError

    def add(self, name: str, values: Values, path: Path, fix: str = "Remove one.") -> bool:
        """Add a cell; returns whether it was added.

        Args:
            path: position in the file; fix: suggested for an equivalent cell.
        """
        identity = name if self._may_repeat else self.ground.identity(values)
        twin = self._names.get(identity)
        if any(cell.name == name for cell in self.cells):
            self.refuse(path, f"every cell needs its own name, got {name} twice. Rename one.")
            return False
        if twin is not None:
            rule = f"cells must differ, got {name} with the same training as {twin}"
            self.refuse(path, f"{rule}. {fix}")
            return False
        rules = [f"{dotted(at)}: {rule}" for at, rule in configuration_rules(self.ground, values)]
        for rule in rules:
            if rule not in self._noted:  # once, whatever cells have it
                self._noted.add(rule)
                self.refuse(path, f"cell {name}: {rule}")
        if not rules:
            self._names[identity] = name
            self.cells.append(Cell(name, dict(values)))
        return not rules

    def design(
        self, contrasts: Sequence[Contrast] | None = None, reference: str = "", **fields: Any
    ) -> Design:
        """The design of these cells, each an arm.

        Args:
            contrasts: None: every arm less the first, which is the reference.
        """
        arms = tuple(Arm(cell.name, (cell.name,)) for cell in self.cells)
        if contrasts is None:
            contrasts = [difference(arm, arms[0]) for arm in arms[1:]]
            reference = arms[0].name
        kind, cells = self.settings.design, tuple(self.cells)
        return Design(kind, cells, arms, tuple(contrasts), reference, **fields)

    def checked(
        self, values: Values, path: Path, *, at: Path | None = None
    ) -> dict[str, Any] | None:
        """The values, if all of them may be set in a cell; otherwise problems are noted.

        Args:
            path: of the mapping; at: of the value, if it has another name there.
        """
        good, before = {}, len(self.problems)
        for key, value in values.items():
            unsettable = key_rule(self.ground, key, value)
            if unsettable is None:
                good[key] = value
            else:
                self.refuse((*path, key), unsettable)
        for where, rule in configuration_rules(self.ground, good):
            written = next((key for key in good if _starts(where, key)), None)
            if written is None:
                self.refuse(at or path, f"{dotted(where)}: {rule}")
            else:
                below = where[len(written.split(".")) :]
                self.refuse((*(at or (*path, written)), *below), rule)
        return good if len(self.problems) == before else None

    def check_runs(self, cells: int, fewer: str = "levels") -> None:
        """Note too many cells.

        Args:
            fewer: what there could be less of.
        """
        seeds, most = self.settings.seed_count, self.settings.max_runs
        if cells * seeds > most:
            rule = f"must be at least {cells * seeds}: the design has {cells} cells x {seeds} seeds"
            rule = f"{rule}, got {most}. Raise it, or use fewer seeds or {fewer}."
            self.refuse(("max_runs",), rule)


def _starts(path: Path, key: str) -> bool:
    parts = tuple(key.split("."))
    return path[: len(parts)] == parts


def key_rule(ground: Ground, key: str, value: Any) -> str | None:
    """Why a cell may not set a key, as `rule, got X. Fix.`, or None."""
    if key in PAIRED:
        rule = f"seeds are paired over all cells, got {show(value)}"
        return f"{rule}. Remove it; ablation.seeds sets the seeds."
    if ground.study.trainable is not None:
        rule = f"must be words joined by dots, such as net.width, got {show(key)}. Rename it."
        return None if is_own_key(key) else rule
    return None if _may_be_set(key, value) else _not_settable(key, value)


def _may_be_set(key: str, value: Any) -> bool:
    # A cell may say which network between baseline and finetuned weights it is scored as.
    is_alpha = isinstance(value, Mapping) and set(value) == {"alpha"}
    return is_searchable(key) or (key == "finetune.interpolation" and is_alpha)


def _not_settable(key: str, value: Any) -> str:
    above, _, name = key.rpartition(".")
    if above in BY_NAME and above not in OPEN:
        rule = f"{above} must be set as a whole, got only one entry"
        return f"{rule}. Write {above}: {{{name}: {show(value)}}}, with all of its entries."
    inside = [one for one in searchable() if one.startswith(f"{key}.")]
    if inside:
        return f"must be one key, got a section. Write it as {inside[0]}."
    if key in all_keys():
        rule = (
            "cannot differ between cells, because it is not part of a run, or runs are compared by "
            "it"
        )
        return f"{rule}, got {show(value)}. Set it for the whole study."
    fix = did_you_mean(key, [one for one in searchable() if one not in PAIRED])
    if not fix.startswith("Did you mean"):
        fix = f"Write a key of {', '.join(SEARCHABLE)}."
    return f"unknown key. {fix}"


def configuration_rules(ground: Ground, values: Values) -> Iterator[tuple[Path, str]]:
    """Problems of a configuration: the path in the study, and `rule, got X. Fix.`"""
    if ground.study.trainable is not None:
        return
    data = ground.filled(values)
    refused: list[Path] = []
    study = None
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        for found in findings(error, data):
            refused.append(found.path)
            yield found.path, found.rule
    for key, value in values.items():
        path = tuple(key.split("."))
        if any(_starts(one, key) for one in refused) or (
            key in _LAYERS and not ground.is_named(values)
        ):
            continue
        above, _, name = key.rpartition(".")
        if above in OPEN:
            rules = name_rules(above, {name: value}, ground.names)
            yield from ((path, rule) for _, rule in rules)
        for below, rule in name_rules(key, value, ground.names):
            refused.append(path)
            yield (*path, *below), rule
    if study is not None:
        fixed = study.model_copy(update={"space": {}})
        yield from study_rules(fixed, refused)
        if (fixed.finetune.frozen or fixed.finetune.probe_fraction) and not refused:
            from ablate.finetune.depth import learning_problem  # which loads torch

            if (problem := learning_problem(fixed, fixed.finetune.frozen)) is not None:
                key, rule = problem
                yield tuple(key.split(".")), rule
