"""Two factors crossed: the mean of a metric at each pair of their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ablate.ablation.cell import Contrast, Design
from ablate.ablation.designs.factorial import TIMES, effect_name
from ablate.ablation.factors import WITH, WITHOUT, Factor, Level, level_name
from ablate.ablation.intervals import Estimate, t_interval
from ablate.ablation.results import Results
from ablate.study.settings import AblationSettings


@dataclass(frozen=True)
class Crossing:
    """A metric at each pair of levels of two factors, averaged over all others.

    Attributes:
        first, second: names of the factors; first_levels, second_levels: the lowest first.
        means: `[first][second]`, over seeds on these images.
        contrasts: names of its interactions; several where a factor has more than two levels.
    """

    first: str
    second: str
    first_levels: tuple[str, ...]
    second_levels: tuple[str, ...]
    means: tuple[tuple[Estimate, ...], ...]
    contrasts: tuple[str, ...]


def crossings(
    design: Design, settings: AblationSettings, results: Results, metric: str
) -> tuple[Crossing, ...]:
    """Every pair of factors whose interaction the design has, in its order.

    Args:
        settings: the section that the design was made of, which names the levels.

    Returns:
        Empty of a design without interactions.
    """
    contrasts = {contrast.name: contrast for contrast in design.contrasts}
    found = []
    for first, second in combinations(_factors(settings), 2):
        names = [
            f"{effect_name(first, high)}{TIMES}{effect_name(second, other)}"
            for high in range(1, len(first.levels))
            for other in range(1, len(second.levels))
        ]
        named = tuple(name for name in names if name in contrasts)
        if named:
            of_first, of_second = _cells(first, contrasts), _cells(second, contrasts)
            means = tuple(
                tuple(_mean(results, one & other, metric) for other in of_second)
                for one in of_first
            )
            found.append(
                Crossing(
                    first.name,
                    second.name,
                    tuple(level.name for level in first.levels),
                    tuple(level.name for level in second.levels),
                    means,
                    named,
                )
            )
    return tuple(found)


def _factors(settings: AblationSettings) -> list[Factor]:
    """The factors by name, then the components, with their levels' names alone."""
    names: dict[str, Sequence[str]] = {
        factor: list(levels) if isinstance(levels, Mapping) else [level_name(one) for one in levels]
        for factor, levels in (settings.factors or {}).items()
    }
    names |= dict.fromkeys(settings.components or (), (WITHOUT, WITH))
    return [
        Factor(name, tuple(Level(level, {}, ()) for level in levels), ())
        for name, levels in names.items()
    ]


def _cells(factor: Factor, contrasts: Mapping[str, Contrast]) -> list[set[str]]:
    """The cells at each level: a main effect weighs those of its level up, of the lowest down."""
    weights = [
        contrasts[effect_name(factor, high)].weights for high in range(1, len(factor.levels))
    ]
    lowest = {cell for cell, weight in weights[0].items() if weight < 0}
    return [lowest, *({cell for cell, weight in one.items() if weight > 0} for one in weights)]


def _mean(results: Results, cells: set[str], metric: str) -> Estimate:
    """Over seeds, of the mean over these cells; a seed at which one is missing is left out."""
    values = np.mean([results.values(cell, metric) for cell in sorted(cells)], axis=0)
    return t_interval(values[np.isfinite(values)])
