"""What an ablation runs and compares, as frozen plain data, stored as JSON in the ledger."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ablate.analysis.objectives import amount_text
from ablate.errors import StudyNotFoundError
from ablate.study.json_data import JsonData
from ablate.study.mixture import Mixture

ContrastKind = Literal["difference", "step", "main effect", "Shapley value", "interaction"]
FACTOR_EFFECTS: tuple[ContrastKind, ...] = ("main effect", "Shapley value", "interaction")
"""The kinds that are named by factors or components, not by two arms."""


@dataclass(frozen=True)
class Cell:
    """One configuration, run once per seed.

    Attributes:
        values: by dotted key of the study; they override its values.
        mixture: of the trials of a search, whose cells come before it: nothing is trained, their
            networks of the same seed are averaged.
    """

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    mixture: Annotated[Mixture | None, Field(exclude_if=operator.not_)] = None

    @property
    def trained(self) -> tuple[str, ...]:
        """The cells whose training its network comes from."""
        if self.mixture is None:
            return (self.name,)
        return tuple(Mixture((number,)).name for number in self.mixture.trials)


@dataclass(frozen=True)
class Arm:
    """A line of the table: a cell, or the mean of several models.

    Attributes:
        cells: their names; of several, one a type of distortion that each was trained on.
    """

    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of cells, formed within each seed.

    Attributes:
        weights: cell -> weight; a difference's sum to 0.
        kind: "difference" to the reference, "step" to the cell before, "main effect" (mean at the
            high level less mean at the low one), "Shapley value" (gain from a component, averaged
            over all orders of adding them), "interaction" (half the difference between the effects
            of the one factor at both levels of the other; beside Shapley values the interaction
            index).
        metrics: those that it is about; empty: all.
    """

    name: str
    weights: Mapping[str, float]
    kind: ContrastKind = "difference"
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A contrast on one metric that was declared beforehand: that there is a difference, or that it
    is less than `equivalent_within`, in the metric's unit."""

    contrast: str
    metric: str
    equivalent_within: Annotated[float | None, Field(exclude_if=operator.not_)] = None

    @property
    def text(self) -> str:
        """ "ST - DA on val_robust_accuracy, equivalent within 1 point"."""
        text = f"{self.contrast} on {self.metric}"
        if self.equivalent_within is None:
            return text
        return f"{text}, equivalent within {amount_text(self.metric, self.equivalent_within)}"


@dataclass(frozen=True)
class Tuning:
    """The search that tuned a cell.

    Attributes:
        study: its name; trial: the selected one.
        metric: metric of the scores.
        scores: of each trial in order, None if it failed or violates a constraint.
    """

    study: str
    trial: int
    metric: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Design(JsonData):
    """Cells, and the contrasts between them.

    Attributes:
        kind: name of the design.
        cells: in the order of their runs, within each seed.
        arms: lines of the table, in order.
        contrasts: by name, each once.
        reference: name of the arm that others are compared with; empty in designs of effects.
        claims: the primary contrasts.
        aliases: lines of the alias structure of a fraction.
        notes: what a reader has to know of the design.
        tuning: by cell, how it was tuned; empty where arms are run as they are written.
        selected: of a confirmation, by arm: what a trial of the front scored in the search.
        orders: in which components are added, where Shapley values are estimated from some.
    """

    kind: str
    cells: tuple[Cell, ...]
    arms: tuple[Arm, ...]
    contrasts: tuple[Contrast, ...]
    reference: str = ""
    claims: tuple[Claim, ...] = ()
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tuning: Mapping[str, Tuning] = field(default_factory=dict)
    selected: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    orders: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """As of any `JsonData`; earlier versions also stored `soups`, empty unless asked for.

        Raises:
            StudyNotFoundError: if it has soups.
        """
        if data.get("soups"):
            raise StudyNotFoundError(
                "confirmation: must be of single networks, got one with the mean of several "
                "(--soup of an earlier version). Read it with that version, or remove its folder."
            )
        return super().from_json({name: value for name, value in data.items() if name != "soups"})

    def cell(self, name: str) -> Cell:
        return next(cell for cell in self.cells if cell.name == name)

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


def difference(arm: Arm, to: Arm, kind: ContrastKind = "difference") -> Contrast:
    """An arm less another one."""
    weights = dict.fromkeys(arm.cells, 1 / len(arm.cells))
    for cell in to.cells:
        weights[cell] = weights.get(cell, 0.0) - 1 / len(to.cells)
    return Contrast(f"{arm.name} - {to.name}", weights, kind)
