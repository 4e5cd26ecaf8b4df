"""Fractional: a regular two-level fraction of the factorial, and its aliases.

In a fraction, 2^(k-p), some factors, the basic ones, run through every combination; each of the
others follows a product of basic ones, its generator.  The words of the defining relation are the
products that are high in every run: two effects are aliased if their product is a word; then only
their sum can be estimated.

Source: Box and Hunter 1961, Technometrics 3, 311 (resolution, generators); Fries and Hunter 1980,
Technometrics 22, 601 (aberration).  Differs: designs are searched for, not read from a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

from ablate.ablation.cell import Contrast, ContrastKind, Design
from ablate.ablation.designs.factorial import (
    NO_REFERENCE,
    TIMES,
    checked_factors,
    effect,
    factors_of,
    make_cells,
)
from ablate.ablation.draft import Draft
from ablate.errors import did_you_mean
from ablate.study.document import Path, show

FEWEST_FACTORS, MOST_FACTORS = 3, 11
NO_ALIASES = "no aliases among main effects and two-factor interactions"

Effect = tuple[str, ...]
"""A main effect or an interaction, by its factors: `("fma",)`, `("fma", "st")`."""


def plan(draft: Draft) -> Design:
    """One cell per run of the smallest fraction of the given resolution.

    Contrasts are all main effects, and the requested interactions, by name or as a primary
    contrast; an interaction that is aliased with another effect up to order two is refused.
    """
    factors = checked_factors(draft)
    for factor in factors:
        if len(factor.levels) != 2:
            rule = f"a fraction needs two levels per factor, got {len(factor.levels)}"
            draft.stop(factor.path, f"{rule}. Remove some, or write design: factorial.")
    if not FEWEST_FACTORS <= len(factors) <= MOST_FACTORS:
        fix = "Add some." if len(factors) < FEWEST_FACTORS else "Hold some fixed."
        rule = f"a fraction needs {FEWEST_FACTORS} to {MOST_FACTORS}, got {len(factors)}. {fix}"
        draft.stop((), f"factors: {rule}")
    fraction = make_fraction([factor.name for factor in factors], draft.settings.resolution)
    wanted = _asked(draft, fraction)
    draft.stop_if_refused()
    cells = make_cells(draft, factors, [[int(high) for high in run] for run in fraction.runs])
    names, size = fraction.factors, f"{len(fraction.runs)} of {2 ** len(factors)} runs"
    contrasts: list[Contrast] = []
    for of in [*((name,) for name in names), *wanted]:
        places = [names.index(name) for name in of]
        signs = [prod(1 if run[at] else -1 for at in places) for run in fraction.runs]
        kind: ContrastKind = "main effect" if len(of) == 1 else "interaction"
        contrasts.append(effect(TIMES.join(of), kind, signs, cells))
    relation, notes = f"the full factorial, {size}", [NO_REFERENCE]
    if fraction.generators:
        generators = "; ".join(fraction.generators)
        relation = f"resolution {fraction.resolution}, {size}; {generators}"
    if mixed := ", ".join(name for name in names if aliases_of(fraction, (name,))):
        notes.append(
            f"main effects of {mixed} may be those of the interactions that they are aliased with"
        )
    return draft.design(contrasts, aliases=(relation, *alias_lines(fraction)), notes=tuple(notes))


def _asked(draft: Draft, fraction: Fraction) -> list[Effect]:
    """The interactions that are asked for; all that are free of aliases where none is named."""
    settings = draft.settings
    asked: dict[Path, str] = {
        ("interactions", place): text for place, text in enumerate(settings.interactions)
    }
    for place, claim in enumerate(settings.primary):
        if len(set(factors_of(claim.compare)) & set(fraction.factors)) > 1:
            asked["primary", place, "compare"] = claim.compare
    found: dict[Effect, None] = {}
    for path, text in asked.items():
        rule = _interaction_rule(fraction, text)
        pair = tuple(name for name in fraction.factors if name in factors_of(text))
        if rule is not None:
            draft.refuse(path, rule)
        elif pair in found and path[0] == "interactions":
            draft.refuse(path, f"given twice, got {show(text)}. Remove one.")
        else:
            found[pair] = None
    if settings.interactions:
        return list(found)
    pairs = combinations(fraction.factors, 2)
    return [pair for pair in pairs if not aliases_of(fraction, pair)]


def _interaction_rule(fraction: Fraction, text: str) -> str | None:
    """Why an interaction is refused, as `rule, got X. Fix.`, or None."""
    names = factors_of(text)
    unknown = next((name for name in names if name not in fraction.factors), None)
    if unknown is not None:
        return f"must name factors, got {show(unknown)}. {did_you_mean(unknown, fraction.factors)}"
    if len(names) != 2 or len(set(names)) != 2:
        return f"must be two factors joined by *, got {show(text)}. Write A * B."
    aliases = aliases_of(fraction, names)
    if not aliases:
        return None
    others = ", ".join(TIMES.join(alias) for alias in aliases)
    rule = f"cannot be told apart from {others} in this fraction, got {show(text)}"
    return f"{rule}. Write resolution: 5, or design: factorial."


# -- The smallest fraction of a resolution, and its aliases


@dataclass(frozen=True)
class Fraction:
    """A two-level design in which every factor is high in half of the runs.

    Attributes:
        factors: their names, the basic ones first.
        generators: definitions of the other factors, such as `D = A B C`; none in a full factorial.
        words: the defining relation, all 2^p - 1 of them, the shortest first, in the order of the
            factors.  All are positive, so that the last run has every factor high.
        resolution: the length of the shortest word; None in a full factorial.
        runs: one bool per factor, True for high (present), in standard order: the first basic
            factor alternates from run to run, the next from pair to pair, and so on.
    """

    factors: tuple[str, ...]
    generators: tuple[str, ...]
    words: tuple[Effect, ...]
    resolution: int | None
    runs: tuple[tuple[bool, ...], ...]


def make_fraction(factors: Sequence[str], resolution: int) -> Fraction:
    """The smallest regular fraction of at least this resolution, of least aberration in its size.

    Least aberration is fewest words of the shortest length, then of the next, and so on.  The
    search is exhaustive up to exchanges of basic factors, so both are exact for all supported
    numbers of factors.  Ties are broken by the lengths and letters of the generators, so that the
    design depends only on the arguments.

    Args:
        factors: 3 to 11 different names.  Their order determines the basic ones.
        resolution: 3 (main effects are clear of each other), 4 (of two-factor interactions too)
            or 5 (these are clear of each other too).  The design may have a higher one.

    Returns:
        The design; the full factorial, without words, if no smaller one is possible.
    """
    names = tuple(factors)
    columns, words = tuple[int, ...](), tuple[int, ...]()
    for n_basic in range(2, len(names)):
        designs = _designs(n_basic, len(names), resolution)
        if designs:
            lengths = range(1, len(names) + 1)
            columns, words = min(
                designs, key=lambda one: [[*map(int.bit_count, one[1])].count(at) for at in lengths]
            )
            break
    n_basic = len(names) - len(columns)

    def factors_in(bits: int) -> Effect:
        return tuple(name for place, name in enumerate(names) if bits >> place & 1)

    # A basic factor is the product of itself; a product is high if an even number of it is low.
    products = [*(1 << place for place in range(n_basic)), *columns]
    return Fraction(
        factors=names,
        generators=tuple(
            f"{name} = {' '.join(factors_in(column))}"
            for name, column in zip(names[n_basic:], columns, strict=True)
        ),
        words=_ordered(names, map(factors_in, words[1:])),
        resolution=min(map(int.bit_count, words[1:]), default=None),
        runs=tuple(
            tuple((product & ~run).bit_count() % 2 == 0 for product in products)
            for run in range(2**n_basic)
        ),
    )


def aliases_of(fraction: Fraction, effect: Effect) -> tuple[Effect, ...]:
    """The other main effects and two-factor interactions that are aliased with an effect.

    Args:
        effect: one or more factors of the design, each once, in any order.

    Returns:
        Main effects first; each in the order of the factors, with a positive sign.  The mean, which
        is aliased with words, is not included.
    """
    products = (set(effect).symmetric_difference(word) for word in fraction.words)
    return _ordered(fraction.factors, (product for product in products if 0 < len(product) <= 2))


def alias_lines(fraction: Fraction) -> list[str]:
    """Aliased main effects and two-factor interactions, as text.

    Returns:
        One line per class, such as `fma = st * layers`; effects without aliases have none.  A
        single line says so if there are no aliases.
    """
    lines, named = list[str](), set[Effect]()
    for order in (1, 2):
        for first in combinations(fraction.factors, order):
            aliases = aliases_of(fraction, first)
            if aliases and first not in named:
                lines.append(" = ".join(TIMES.join(one) for one in (first, *aliases)))
                named.update(aliases)
    return lines or [NO_ALIASES]


def _designs(
    n_basic: int, n_factors: int, resolution: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All designs of a resolution, up to exchanges of basic factors: the basic factors in each
    generator, and the words, of which the first is empty; factors as bits.

    Designs are extended by one generator at a time, and dropped at the first word that is too
    short.
    """
    candidates = [
        sum(1 << factor for factor in chosen)
        for length in range(resolution - 1, n_basic + 1)
        for chosen in combinations(range(n_basic), length)
    ]
    designs: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), (0,))]
    for factor in range(n_basic, n_factors):
        grown = []
        for columns, words in designs:
            later = candidates.index(columns[-1]) + 1 if columns else 0
            for column in candidates[later:]:
                # An exchange of basic factors makes the shortest generator A B C ...
                if not columns and column & (column + 1):
                    continue
                added = tuple(column ^ 1 << factor ^ word for word in words)
                if all(word.bit_count() >= resolution for word in added):
                    grown.append(((*columns, column), words + added))
        designs = grown
    return designs


def _ordered(factors: Sequence[str], effects: Iterable[Iterable[str]]) -> tuple[Effect, ...]:
    """Shorter effects first, then by the places of their factors, which are ordered too."""
    places = [sorted(factors.index(name) for name in effect) for effect in effects]
    places.sort(key=lambda effect: (len(effect), effect))
    return tuple(tuple(factors[place] for place in effect) for effect in places)
