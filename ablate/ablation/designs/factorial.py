"""Factorial: every combination of the levels of all factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod

from ablate.ablation.cell import Contrast, ContrastKind, Design
from ablate.ablation.components import (
    WITH,
    WITHOUT,
    Factor,
    LeftOutError,
    add_changed,
    read_factors,
)
from ablate.ablation.draft import Draft

TIMES = " * "
NO_REFERENCE = (
    "effects are half-sums over cells: a main effect is the mean at the high level minus the mean "
    "at the low level, an interaction half the difference between the effects of the one factor at "
    "both levels of the other"
)


def plan(draft: Draft) -> Design:
    """One cell per combination; contrasts are main effects and two-way interactions."""
    factors = checked_factors(draft)
    draft.check_runs(prod(len(factor.levels) for factor in factors))
    draft.stop_if_refused()  # before cells are made: there may be millions
    picks = list(product(*(range(len(factor.levels)) for factor in factors)))
    names = make_cells(draft, factors, picks)
    return draft.design(list(_contrasts(factors, picks, names)), notes=(NO_REFERENCE,))


def checked_factors(draft: Draft) -> list[Factor]:
    """The factors, each with at least two different levels; stops where one has not."""
    factors = read_factors(draft)
    for factor in factors:
        try:
            made = [level.apply(draft, draft.reference) for level in factor.levels]
        except LeftOutError as error:
            draft.refuse(factor.path, str(error))
            continue
        if len(made) < 2:
            draft.refuse(factor.path, f"needs two levels, got {len(made)}. Add one.")
        elif any(draft.same(one, other) for one, other in combinations(made, 2)):
            names = ", ".join(level.name for level in factor.levels)
            rule = f"levels must differ, got {names}, two of which give the same training at the"
            fix = "Change one, or add the component to the reference."
            draft.refuse(factor.path, f"{rule} reference. {fix}")
    draft.stop_if_refused()
    return factors


def make_cells(
    draft: Draft, factors: Sequence[Factor], picks: Sequence[Sequence[int]]
) -> list[str]:
    """The names of the cells, one a pick of one level a factor; stops at one that cannot be."""
    for pick in picks:
        levels = [factor.levels[at] for factor, at in zip(factors, pick, strict=True)]
        name = ", ".join(
            f"{level.name} {factor.name}"
            if level.name in (WITH, WITHOUT)
            else f"{factor.name} {level.name}"
            for factor, level in zip(factors, levels, strict=True)
        )
        fix = "Remove a factor that has no effect without another."
        add_changed(draft, name, levels, fix=fix)
        draft.stop_if_refused()
    return [cell.name for cell in draft.cells]


def _contrasts(
    factors: Sequence[Factor], picks: Sequence[Sequence[int]], names: Sequence[str]
) -> Iterator[Contrast]:
    """Effects of each level against the first, averaged over all other factors."""
    signs_of = {
        _effect_name(factor, high): [_sign(pick[place], high) for pick in picks]
        for place, factor in enumerate(factors)
        for high in range(1, len(factor.levels))
    }
    for name, signs in signs_of.items():
        yield effect(name, "main effect", signs, names)
    for one, other in combinations(factors, 2):
        for high, of_other in product(range(1, len(one.levels)), range(1, len(other.levels))):
            pair = _effect_name(one, high), _effect_name(other, of_other)
            signs = [a * b for a, b in zip(signs_of[pair[0]], signs_of[pair[1]], strict=True)]
            yield effect(TIMES.join(pair), "interaction", signs, names)


def effect(name: str, kind: ContrastKind, signs: Sequence[int], names: Sequence[str]) -> Contrast:
    """Mean of the cells of sign 1 less that of those of sign -1."""
    weights = {1: 1 / signs.count(1), -1: -1 / signs.count(-1)}
    both = zip(names, signs, strict=True)
    return Contrast(name, {cell: weights[sign] for cell, sign in both if sign}, kind)


def factors_of(text: str) -> tuple[str, ...]:
    """The factors of a written effect: `fma * st`, `st*fma`, `fma`."""
    return tuple(part.strip() for part in text.split(TIMES.strip()))


def _sign(at: int, high: int) -> int:
    return 1 if at == high else -1 if at == 0 else 0


def _effect_name(factor: Factor, high: int) -> str:
    """Name of the effect of a level above the lowest; with two levels, only the factor."""
    if len(factor.levels) == 2:
        return factor.name
    return f"{factor.name} {factor.levels[high].name}"
