"""Draws and values: each gives back the other.  The encodings are storage formats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ablate.errors import ParameterError
from ablate.space.domain import (
    CategoricalDimension,
    ChoiceDomain,
    Dimension,
    FloatDomain,
    IntDomain,
    SimplexDomain,
    SubsetDomain,
    break_stick,
    join_stick,
)
from ablate.space.space import Parameter, Space

FAMILIES = ("noise", "blur", "photometric")
MIX = Space(
    (
        Parameter("augment.families", SubsetDomain(FAMILIES)),
        Parameter("augment.mix", SimplexDomain(FAMILIES, "augment.families")),
    )
)


def draws_of(dimension: Dimension) -> st.SearchStrategy[Any]:
    if isinstance(dimension, CategoricalDimension):
        return st.sampled_from(dimension.choices)
    if dimension.is_whole:
        low, step = dimension.low, dimension.step or 1
        return st.integers(0, int((dimension.high - low) // step)).map(lambda k: low + k * step)
    if dimension.step is None:
        return st.floats(dimension.low, dimension.high)
    low, step = dimension.low, dimension.step
    return st.integers(0, round((dimension.high - low) / step)).map(lambda k: low + k * step)


def assert_close(a: Any, b: Any) -> None:
    """Equal, floats to 1e-9, the ratios of a mix too."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, float):
        assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    else:
        assert a == b


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_draws_and_values_give_back_each_other(whole: Space, data: st.DataObject) -> None:
    raw = {dimension.name: data.draw(draws_of(dimension)) for dimension in whole.dimensions}
    values = whole.resolve(raw)
    encoded = whole.encode(values)
    assert_close(whole.resolve(encoded), values)
    assert whole.canonical(raw) == encoded
    assert set(encoded) <= set(raw)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-300, 1e-12])), min_size=2).filter(
        lambda ratios: sum(ratios) > 0
    )
)
def test_every_mix_has_its_draws(ratios: list[float]) -> None:
    total = math.fsum(ratios)
    mix = [ratio / total for ratio in ratios]
    draws = join_stick(mix)
    assert all(0 <= draw <= 1 for draw in draws)
    assert break_stick(draws) == pytest.approx(mix, abs=1e-9)


def test_a_stick_by_hand() -> None:
    # K = 3: the first piece is 1 - u ** (1/2), the second 1 - u of the rest.
    assert break_stick([0.25, 0.5]) == pytest.approx([0.5, 0.25, 0.25])
    assert break_stick([1.0, 1.0]) == [0.0, 0.0, 1.0]
    assert break_stick([0.0, 0.3]) == [1.0, 0.0, 0.0]
    assert join_stick([0.5, 0.25, 0.25]) == pytest.approx([0.25, 0.5])


def test_uniform_draws_are_uniform_on_the_simplex() -> None:
    draws = np.random.default_rng(0).random((4000, 3))
    ratios = np.array([break_stick(list(row)) for row in draws])
    # Each ratio of a uniform point of the simplex of 4 is Beta(1, 3), and so is every sum of one.
    for k in range(4):
        assert stats.kstest(ratios[:, k], stats.beta(1, 3).cdf).pvalue > 0.001
    assert stats.kstest(ratios[:, 0] + ratios[:, 3], stats.beta(2, 2).cdf).pvalue > 0.001


def test_a_subset_is_never_empty() -> None:
    drawn = {f"augment.families[{family}]": False for family in FAMILIES}
    assert Space(MIX.parameters[:1]).resolve(drawn) == {"augment.families": ["photometric"]}


def test_a_mix_keeps_to_the_chosen_families() -> None:
    raw = {
        "augment.families[noise]": True,
        "augment.families[blur]": False,
        "augment.families[photometric]": True,
        "augment.mix[noise]": 0.25,
        "augment.mix[blur]": 0.5,
    }
    mix = MIX.resolve(raw)["augment.mix"]
    assert mix == pytest.approx({"noise": 2 / 3, "blur": 0, "photometric": 1 / 3})


def test_lists_are_stored_as_json_text() -> None:
    space = Space((Parameter("k", ChoiceDomain(("taps", ["stem"], {"b": 1, "a": None}, None))),))
    assert space.dimensions == (
        CategoricalDimension("k", ("taps", '["stem"]', '{"a":null,"b":1}', None)),
    )
    assert space.encode({"k": ["stem"]}) == {"k": '["stem"]'}
    assert space.resolve({"k": '{"a":null,"b":1}'}) == {"k": {"b": 1, "a": None}}
    assert space.resolve({"k": None}) == {"k": None}


@pytest.mark.parametrize(
    ("domain", "value", "message"),
    [
        (
            FloatDomain(0, 1),
            True,
            "k: must be a number in [0, 1], got true. Use one in this range.",
        ),
        (
            FloatDomain(0, 1, step=0.25),
            0.3,
            "k: must be a number in [0, 1] in steps of 0.25, got 0.3. Use one in this range.",
        ),
        (
            IntDomain(1, 9),
            2.0,
            "k: must be a whole number in [1, 9], got 2. Use one in this range.",
        ),
        (ChoiceDomain(("a", 1)), True, "k: must be one of ['a', 1], got true. Use one of them."),
        (
            SubsetDomain(("a", "b")),
            [],
            "k: must be a list of at least one of ['a', 'b'], got []. Name one.",
        ),
        (SubsetDomain(("stem", "b")), ["sten"], "k: unknown item, got 'sten'. Did you mean stem?"),
        (
            SimplexDomain(("a", "b")),
            [0.5, 0.5],
            "k: must be a mapping of ratios, got [0.5, 0.5]. Write {a: 1}.",
        ),
        (
            SimplexDomain(("a", "b")),
            {"a": -1},
            "k: ratios must be numbers, at least 0, got -1. Raise the ratio of a.",
        ),
        (
            SimplexDomain(("a", "b")),
            {"a": 0, "b": 0},
            "k: ratios must have a finite sum above 0, got {a: 0, b: 0}. Raise one.",
        ),
    ],
)
def test_a_value_outside_its_domain_is_refused(domain: Any, value: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Space((Parameter("k", domain),)).encode({"k": value})
    assert str(caught.value).startswith(message)


def test_a_ratio_of_a_family_that_is_not_chosen_is_refused() -> None:
    with pytest.raises(ParameterError) as caught:
        MIX.encode({"augment.families": ["noise"], "augment.mix": {"noise": 1, "blur": 1}})
    assert str(caught.value) == (
        "augment.mix: must be 0 where augment.families is ['noise'], got 'blur'. "
        "Choose it there or set it to 0."
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss.trems": 1}, "loss.trems: not in the space. Did you mean loss.terms?"),
        ({}, "loss.terms: is required, got nothing. Give its value."),
        (
            {"loss.terms": "clean+da", "loss.st.weight": 1.0},
            "loss.st.weight: is searched only when loss.terms in ['clean+st', 'clean+st+fma'], "
            "got 1. Leave it out.",
        ),
    ],
)
def test_values_must_be_those_of_the_active_parameters(
    whole: Space, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        whole.encode(values)
    assert str(caught.value) == message
