"""Factorial: every combination of the levels of all factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod

from ablate.ablation.cell import Arm, Cell, Contrast, Design
from ablate.ablation.components import Factor, LeftOutError, Level, read_factors
from ablate.ablation.configuration import Cells, Ground, Refuse, Values, runs_rule

TIMES = " * "
NO_REFERENCE = "effects are half-sums over cells: a main effect is the mean at the high level " + (
    "minus the mean at the low level, an interaction half the difference between the effects of "
    "the one factor at both levels of the other"
)
_NESTED = "Remove a factor that has no effect without another."


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """One cell per combination; contrasts are main effects and two-way interactions."""
    settings = ground.study.ablation_section
    empty = Design("factorial", (), (), ())
    factors = check_factors(ground, reference, refuse)
    if factors is None:
        return empty
    rule = runs_rule(prod(len(factor.levels) for factor in factors), settings)
    if rule is not None:  # before they are made: there may be millions
        refuse(("max_runs",), rule)
        return empty
    picks = list(product(*(range(len(factor.levels)) for factor in factors)))
    cells = make_cells(ground, reference, factors, picks, refuse)
    if len(cells) < len(picks):
        return empty
    arms = tuple(Arm(cell.name, (cell.name,)) for cell in cells)
    contrasts = tuple(_contrasts(factors, picks, [cell.name for cell in cells]))
    return Design("factorial", tuple(cells), arms, contrasts, notes=(NO_REFERENCE,))


def check_factors(ground: Ground, reference: Values, refuse: Refuse) -> list[Factor] | None:
    """The factors, if each has at least two different levels; otherwise problems are reported."""
    settings = ground.study.ablation_section
    factors = read_factors(ground, refuse)
    is_right = len(factors) == len(settings.factors or ()) + len(settings.components or ())
    for factor in factors:
        try:
            made = [level.apply(ground, reference) for level in factor.levels]
        except LeftOutError as error:
            refuse(factor.path, str(error))
            is_right = False
            continue
        if len(made) < 2:
            refuse(factor.path, f"needs two levels, got {len(made)}. Add one.")
            is_right = False
        elif any(ground.same(one, other) for one, other in combinations(made, 2)):
            names = ", ".join(level.name for level in factor.levels)
            rule = (
                f"levels must differ, got {names}, two of which give the same training at the "
                "reference"
            )
            refuse(factor.path, f"{rule}. Change one, or add the component to the reference.")
            is_right = False
    return factors if is_right else None


def make_cells(
    ground: Ground,
    reference: Values,
    factors: Sequence[Factor],
    picks: Sequence[Sequence[int]],
    refuse: Refuse,
) -> list[Cell]:
    """A cell a pick of one level a factor; fewer where one cannot be made, which is noted."""
    cells = Cells(ground, refuse)
    for pick in picks:
        levels = [factor.levels[at] for factor, at in zip(factors, pick, strict=True)]
        values = dict(reference)
        name = ", ".join(map(_level_text, factors, levels))
        try:
            for level in levels:
                values = level.apply(ground, values)
        except LeftOutError as error:
            refuse((), f"cell {name}: {error}")
            break
        if not cells.add(name, values, (), _NESTED):
            break
    return cells.made


def _level_text(factor: Factor, level: Level) -> str:
    if level.name in ("with", "without"):
        return f"{level.name} {factor.name}"
    return f"{factor.name} {level.name}"


def _contrasts(
    factors: Sequence[Factor], picks: Sequence[Sequence[int]], names: Sequence[str]
) -> Iterator[Contrast]:
    """Effects of each level against the first, averaged over all other factors."""
    for place, factor in enumerate(factors):
        for high in range(1, len(factor.levels)):
            signs = [_sign(pick[place], high) for pick in picks]
            yield effect(effect_name(factor, high), "main effect", signs, names)
    for (i, first), (j, second) in combinations(enumerate(factors), 2):
        for high, other in product(range(1, len(first.levels)), range(1, len(second.levels))):
            signs = [_sign(pick[i], high) * _sign(pick[j], other) for pick in picks]
            name = f"{effect_name(first, high)}{TIMES}{effect_name(second, other)}"
            yield effect(name, "interaction", signs, names)


def effect(name: str, kind: str, signs: Sequence[int], names: Sequence[str]) -> Contrast:
    """Mean of the cells of sign 1 less that of those of sign -1."""
    high, low = signs.count(1), signs.count(-1)
    weights = {
        cell: 1 / high if sign > 0 else -1 / low
        for cell, sign in zip(names, signs, strict=True)
        if sign
    }
    return Contrast(name, weights, "main effect" if kind == "main effect" else "interaction")


def factors_of(text: str) -> tuple[str, ...]:
    """The factors of a written effect: `fma * st`, `st*fma`, `fma`."""
    return tuple(part.strip() for part in text.split(TIMES.strip()))


def _sign(at: int, high: int) -> int:
    return 1 if at == high else -1 if at == 0 else 0


def effect_name(factor: Factor, high: int) -> str:
    """Name of the effect of a level above the lowest; with two levels, only the factor."""
    if len(factor.levels) == 2:
        return factor.name
    return f"{factor.name} {factor.levels[high].name}"
