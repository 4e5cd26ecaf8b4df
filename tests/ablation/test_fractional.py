"""Fractional designs: known ones, the resolution they promise, and what they cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, combinations

import numpy as np
import pytest
from plans import plan

from ablate.ablation.designs.fractional import (
    Effect,
    Fraction,
    alias_lines,
    aliases_of,
    make_fraction,
)

LETTERS = "ABCDEFGHIJK"
PARTS = ("st", "fma", "layers", "noise")

every_design = pytest.mark.parametrize(
    ("k", "asked"), [(k, asked) for k in (3, 5, 7, 9) for asked in (3, 4, 5)]
)


def lettered(k: int, asked: int) -> Fraction:
    return make_fraction(LETTERS[:k], asked)


def pattern_of(words: Iterable[Iterable[str]]) -> dict[int, int]:
    """How many words there are of each length."""
    lengths = [len(list(word)) for word in words]
    return {length: lengths.count(length) for length in sorted(set(lengths))}


def aliases(design: Fraction) -> dict[Effect, tuple[Effect, ...]]:
    return {one: aliases_of(design, one) for one in effects_up_to(design, 2)}


def signs(design: Fraction) -> np.ndarray:
    """`[runs, factors]`, of 1 and -1."""
    return np.where(np.array(design.runs), 1, -1)


def contrast(design: Fraction, effect: Effect) -> np.ndarray:
    columns = [design.factors.index(name) for name in effect]
    return signs(design)[:, columns].prod(axis=1)


def effects_up_to(design: Fraction, order: int) -> list[Effect]:
    sizes = (combinations(design.factors, size) for size in range(1, order + 1))
    return list(chain.from_iterable(sizes))


# Sizes and resolutions as in the table of Box, Hunter and Hunter 2005 (chapter 6), patterns of 16
# and 32 runs as in the catalogue of Chen, Sun and Wu 1993 (International Statistical Review 61).
@pytest.mark.parametrize(
    ("k", "asked", "runs", "resolution", "pattern"),
    [
        (3, 3, 4, 3, {3: 1}),
        (4, 3, 8, 4, {4: 1}),
        (4, 4, 8, 4, {4: 1}),
        (5, 3, 8, 3, {3: 2, 4: 1}),
        (5, 4, 16, 5, {5: 1}),
        (5, 5, 16, 5, {5: 1}),
        (6, 3, 8, 3, {3: 4, 4: 3}),
        (6, 4, 16, 4, {4: 3}),
        (6, 5, 32, 6, {6: 1}),
        (7, 3, 8, 3, {3: 7, 4: 7, 7: 1}),
        (7, 4, 16, 4, {4: 7}),
        (7, 5, 64, 7, {7: 1}),
        (8, 3, 16, 4, {4: 14, 8: 1}),
        (8, 4, 16, 4, {4: 14, 8: 1}),
        (8, 5, 64, 5, {5: 2, 6: 1}),
        (9, 3, 16, 3, {3: 4, 4: 14, 5: 8, 7: 4, 8: 1}),
        (9, 4, 32, 4, {4: 6, 5: 8, 8: 1}),
        (9, 5, 128, 6, {6: 3}),
        (10, 3, 16, 3, {3: 8, 4: 18, 5: 16, 6: 8, 7: 8, 8: 5}),
        (10, 4, 32, 4, {4: 10, 5: 16, 8: 5}),
        (10, 5, 128, 5, {5: 3, 6: 3, 7: 1}),
        (11, 3, 16, 3, {3: 12, 4: 26, 5: 28, 6: 24, 7: 20, 8: 13, 9: 4}),
        (11, 4, 32, 4, {4: 25, 6: 27, 8: 10, 10: 1}),
        (11, 5, 128, 5, {5: 6, 6: 6, 7: 2, 8: 1}),
    ],
)
def test_known_designs(
    k: int, asked: int, runs: int, resolution: int, pattern: dict[int, int]
) -> None:
    design = lettered(k, asked)
    assert (len(design.runs), design.resolution) == (runs, resolution)
    assert pattern_of(design.words) == pattern


@every_design
def test_words_are_all_products_that_never_change(k: int, asked: int) -> None:
    design = lettered(k, asked)
    constant = [
        product for product in effects_up_to(design, k) if (contrast(design, product) == 1).all()
    ]
    # By length and then by the factors' order, as combinations come.
    assert list(design.words) == constant
    assert len(constant) == 2**k / len(design.runs) - 1
    assert design.resolution == (len(constant[0]) if constant else None)
    assert design.resolution is None or design.resolution >= asked


@pytest.mark.parametrize(("k", "asked"), [(k, asked) for k in range(3, 9) for asked in (3, 4, 5)])
def test_no_smaller_design_and_none_of_less_aberration(k: int, asked: int) -> None:
    """Every set of generators is tried, without the shortcuts of the search."""
    design = lettered(k, asked)
    n_basic = k - len(design.generators)
    for size in range(2, n_basic + 1 if design.generators else n_basic):
        interactions = [
            frozenset(one)
            for order in range(2, size + 1)
            for one in combinations(LETTERS[:size], order)
        ]
        patterns = []
        for chosen in combinations(interactions, k - size):
            words = [frozenset[str]()]
            for letter, generator in zip(LETTERS[size:k], chosen, strict=True):
                words += [word ^ generator ^ {letter} for word in words]
            lengths = [len(word) for word in words[1:]]
            if min(lengths) >= asked:
                patterns.append([lengths.count(length) for length in range(1, k + 1)])
        if size < n_basic:
            assert patterns == []
        else:
            lengths = [len(word) for word in design.words]
            assert min(patterns) == [lengths.count(length) for length in range(1, k + 1)]


@every_design
def test_contrasts_are_equal_where_effects_are_aliased_and_else_orthogonal(
    k: int, asked: int
) -> None:
    design = lettered(k, asked)
    effects = effects_up_to(design, 2)
    columns = np.column_stack([contrast(design, effect) for effect in effects])
    products = columns.T @ columns
    structure = aliases(design)
    assert list(structure) == effects
    for row, effect in enumerate(effects):
        same = [effects[other] for other in np.flatnonzero(products[row] == len(design.runs))]
        assert list(structure[effect]) == [other for other in same if other != effect]
    assert set(np.unique(products)) <= {0, len(design.runs)}


def test_aliases_of_one_effect() -> None:
    design = make_fraction(PARTS, 4)
    assert aliases_of(design, ("fma",)) == ()
    assert aliases_of(design, ("fma", "st")) == (("layers", "noise"),)
    assert aliases_of(design, ("layers", "st", "fma")) == (("noise",),)
    # A word is aliased with the mean, which is no effect.
    assert aliases_of(design, PARTS) == ()


def test_lines_of_a_person() -> None:
    assert alias_lines(make_fraction(["st", "layers", "fma"], 3)) == [
        "st = layers * fma",
        "layers = st * fma",
        "fma = st * layers",
    ]
    assert alias_lines(make_fraction(PARTS, 4)) == [
        "st * fma = layers * noise",
        "st * layers = fma * noise",
        "st * noise = fma * layers",
    ]
    assert alias_lines(lettered(5, 5)) == [
        "no aliases among main effects and two-factor interactions"
    ]


@pytest.mark.parametrize(
    ("count", "rule"), [(2, "got 2. Add some."), (12, "got 12. Hold some fixed.")]
)
def test_too_few_and_too_many_factors(count: int, rule: str) -> None:
    factors = {f"own{place}": [0, 1] for place in range(count)}
    written = {
        name: {level: {name: value} for level, value in zip("ab", levels, strict=True)}
        for name, levels in factors.items()
    }
    _, problems = plan("fractional", {"factors": written}, trainable="own:train")
    assert problems == [(("ablation",), f"factors: a fraction needs 3 to 11, {rule}")]
