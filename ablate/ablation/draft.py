"""A design while it is made: configurations based on a study, whether they can be run, and every
problem of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

from ablate.ablation.cell import Arm, Cell, Contrast, Design, difference
from ablate.errors import did_you_mean
from ablate.finetune.reads import as_text, trained_identity
from ablate.model import chosen_layers
from ablate.study.checks import study_rules
from ablate.study.document import Path, dotted, show, starts_with
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

Problems = list[tuple[Path, str]]
Values = Mapping[str, Any]
"""A configuration: by dotted key of the study, whose values it overrides."""
Refuse = Callable[[Path, str], None]
"""Notes a problem: where below `ablation`, and `rule, got X. Fix.`"""

PAIRED = ("finetune.seed", "baseline.seed", "dataset.validation.seed", "robustness.seed")
"""Seeds are paired over the cells, so no cell has its own."""
_LAYERS = ("loss.fma.layers", "loss.fma.layer_weights")


class NotPlannedError(Exception):
    """A design cannot be made; the problem has been noted."""


class Draft:
    """A design while it is made.

    Args:
        study: with an ablation; names: known names by dotted key.

    Attributes:
        study: has the values that a configuration does not set; from `base_on` on those of the
            reference too. settings: its ablation.
        has_baseline: whether runs finetune one; else they call the user's own training function.
        taps: named layers of the study's network, first to last.
        reference: what cells are based on.
        cells: those that can be run, in order.
        problems: path in the study, and `rule, got X. Fix.`
    """

    def __init__(self, study: Study, names: KnownNames) -> None:
        self.study, self.names = study, names
        self.settings = study.ablation_section
        self.has_baseline = study.trainable is None
        self.taps = tuple(names.get("loss.fma.layers", ()))
        self.reference: Values = {}
        self.cells: list[Cell] = []
        self.problems: Problems = []
        self._own = plain_values(study)
        self._model = study.model.name
        self._by_identity: dict[str, str] = {}  # names of the cells
        self._noted: set[str] = set()

    def base_on(self, reference: Values) -> None:
        """Base the cells on a reference, whose values have been checked."""
        self.reference = reference
        if self.has_baseline:
            study = Study.model_validate(self.filled(reference))
            # As read, because invalid values, such as NaN, would be lost when serialised.
            self.study = study.model_copy(update={"ablation": self.settings})
            self._own = plain_values(self.study)

    # What a configuration is

    def get(self, values: Values, key: str) -> Any:
        """The value of a key in a configuration, with the layers of a word listed."""
        found = values.get(key, self._own.get(key))
        if key == "loss.fma.layers" and isinstance(found, str) and self._has_own_model(values):
            return list(chosen_layers(found, self.taps))
        return list(found) if isinstance(found, tuple) else found

    def _has_own_model(self, values: Values) -> bool:
        """Whether the layers that are known are those of a configuration's network."""
        return bool(values.get("model.name", self._own.get("model.name")) == self._model)

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
        if not self.has_baseline:
            return as_text(dict(values))
        try:
            study = Study.model_validate(self.filled(values))
        except ValidationError:  # reported elsewhere
            return as_text({**self._own, **values})
        taps = self.taps if self._has_own_model(values) else ()
        alpha = study.finetune.result_alpha
        return trained_identity(plain_values(study), taps) + (f" at {alpha}" if alpha < 1 else "")

    def same(self, one: Values, other: Values) -> bool:
        """Whether two configurations are equivalent: they give the same training."""
        return self.identity(one) == self.identity(other)

    # Problems

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

    def checked(self, values: Values, path: Path, *, at: Path | None = None) -> bool:
        """Whether all of these values may be set in a cell; otherwise problems are noted.

        Args:
            path: of the mapping; at: of the value, if it has another name there.
        """
        good, before = {}, len(self.problems)
        for key, value in values.items():
            if (rule := self.key_rule(key, value)) is None:
                good[key] = value
            else:
                self.refuse((*path, key), rule)
        for where, rule in self._rules(good):
            written = next((key for key in good if starts_with(where, _parts(key))), None)
            if written is None:
                self.refuse(at or path, f"{dotted(where)}: {rule}")
            else:
                below = where[len(_parts(written)) :]
                self.refuse((*(at or (*path, written)), *below), rule)
        return len(self.problems) == before

    def key_rule(self, key: str, value: Any) -> str | None:
        """Why a cell may not set a key, as `rule, got X. Fix.`, or None."""
        if key in PAIRED:
            rule = f"seeds are paired over all cells, got {show(value)}"
            return f"{rule}. Remove it; ablation.seeds sets the seeds."
        if not self.has_baseline:
            rule = f"must be words joined by dots, such as net.width, got {show(key)}. Rename it."
            return None if is_own_key(key) else rule
        # A cell may say which network between baseline and finetuned weights it is scored as.
        is_alpha = isinstance(value, Mapping) and set(value) == {"alpha"}
        may_be_set = is_searchable(key) or (key == "finetune.interpolation" and is_alpha)
        return None if may_be_set else _unsettable_rule(key, value)

    def _rules(self, values: Values) -> Iterator[tuple[Path, str]]:
        """Problems of a configuration: the path in the study, and `rule, got X. Fix.`"""
        if not self.has_baseline:
            return
        data = self.filled(values)
        refused: list[Path] = []
        study = None
        try:
            study = Study.model_validate(data)
        except ValidationError as error:
            for found in findings(error, data):
                refused.append(found.path)
                yield found.path, found.rule
        for key, value in values.items():
            path = _parts(key)
            is_of_other_network = key in _LAYERS and not self._has_own_model(values)
            if is_of_other_network or any(starts_with(one, path) for one in refused):
                continue
            above, _, name = key.rpartition(".")
            if above in OPEN:
                for _, rule in name_rules(above, {name: value}, self.names):
                    yield path, rule
            for below, rule in name_rules(key, value, self.names):
                refused.append(path)
                yield (*path, *below), rule
        if study is None:
            return
        fixed = study.model_copy(update={"space": {}})
        yield from study_rules(fixed, refused)
        for section in ("baseline", "finetune"):
            settings = getattr(fixed, section)
            if (settings.frozen or settings.probe_fraction or settings.lora.rank) and not refused:
                from ablate.finetune.depth import learning_problem  # which loads torch

                if (problem := learning_problem(fixed, section, settings.frozen)) is not None:
                    key, rule = problem
                    yield _parts(key), rule

    # Cells

    def add(self, name: str, values: Values, path: Path, fix: str = "Remove one.") -> bool:
        """Add a cell; returns whether it was added.

        Args:
            path: position in the file; fix: suggested for an equivalent cell.
        """
        # Arms that are tuned separately may be equivalent.
        identity = self.identity(values) if self.settings.tune is None else name
        twin = self._by_identity.get(identity)
        if any(cell.name == name for cell in self.cells):
            self.refuse(path, f"every cell needs its own name, got {name} twice. Rename one.")
            return False
        if twin is not None:
            rule = f"cells must differ, got {name} with the same training as {twin}"
            self.refuse(path, f"{rule}. {fix}")
            return False
        rules = [f"{dotted(at)}: {rule}" for at, rule in self._rules(values)]
        for rule in rules:
            if rule not in self._noted:  # once, whatever cells have it
                self._noted.add(rule)
                self.refuse(path, f"cell {name}: {rule}")
        if not rules:
            self._by_identity[identity] = name
            self.cells.append(Cell(name, dict(values)))
        return not rules

    def check_runs(self, cells: int, fewer: str = "levels") -> None:
        """Note too many cells.

        Args:
            fewer: what there could be less of.
        """
        seeds, most = self.settings.seed_count, self.settings.max_runs
        replicates = self.settings.replicates
        if (runs := cells * seeds * (replicates or 1)) > most:
            rule = f"must be at least {runs}: the design has {cells} cells x {seeds} seeds"
            rule += f" x {replicates} replicates" if replicates else ""
            rule = f"{rule}, got {most}. Raise it, or use fewer seeds or {fewer}."
            self.refuse(("max_runs",), rule)

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


def _parts(key: str) -> Path:
    return tuple(key.split("."))


def _unsettable_rule(key: str, value: Any) -> str:
    above, _, name = key.rpartition(".")
    if above in BY_NAME and above not in OPEN:
        rule = f"{above} must be set as a whole, got only one entry"
        return f"{rule}. Write {above}: {{{name}: {show(value)}}}, with all of its entries."
    inside = [one for one in searchable() if one.startswith(f"{key}.")]
    if inside:
        return f"must be one key, got a section. Write it as {inside[0]}."
    if key in all_keys():
        return (
            "cannot differ between cells, because it is not part of a run, or runs are "
            f"compared by it, got {show(value)}. Set it for the whole study."
        )
    fix = did_you_mean(key, [one for one in searchable() if one not in PAIRED])
    if not fix.startswith("Did you mean"):
        fix = f"Write a key of {', '.join(SEARCHABLE)}."
    return f"unknown key. {fix}"
