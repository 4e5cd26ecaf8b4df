"""A space as it is written becomes parameters in order, with their conditions."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ablate.space.domain import (
    DOMAINS,
    ChoiceDomain,
    Condition,
    FloatDomain,
    IntDomain,
    SimplexDomain,
    SubsetDomain,
)
from ablate.space.space import Space

MakeSpace = Callable[..., Space]


def test_every_domain_is_read(whole: Space) -> None:
    domains = {parameter.key: parameter.domain for parameter in whole.parameters}
    taps = ("stem", "stage1", "stage2", "stage3")
    assert domains["loss.fma.weight"] == FloatDomain(0.01, 30.0, log=True)
    assert domains["loss.st.weight"] == FloatDomain(0.5, 2.0, step=0.25)
    assert domains["finetune.batch_size"] == IntDomain(16, 256, log=True)
    assert domains["finetune.budget.epochs"] == IntDomain(1, 7, step=2)
    assert domains["loss.fma.layers"] == SubsetDomain(taps)
    assert domains["loss.fma.layer_weights"] == SimplexDomain(taps, "loss.fma.layers")
    assert domains["baseline.learning_rate"] == ChoiceDomain((0.1, 0.01))
    assert {domain.word for domain in domains.values()} == set(DOMAINS)


def test_blocks_add_their_conditions(whole: Space) -> None:
    (anchor,) = (p for p in whole.parameters if p.key == "loss.fma.anchor")
    assert anchor.when == (
        Condition("loss.terms", "contains", "fma"),
        Condition("loss.fma.distance", "is", "relative"),
    )


def test_what_is_read_stands_before_its_reader_and_else_the_order_is_kept(
    make_space: MakeSpace,
) -> None:
    space = make_space(
        "augment.mix: {simplex: augment.families}\n"
        "loss.st.weight: {float: [0, 1], when: {loss.terms: clean+st}}\n"
        "augment.families: {subset: [noise, blur]}\n"
        "augment.strength: {float: [0.1, 1]}\n"
        "loss.terms: {choice: [clean, clean+st]}\n"
    )
    assert space.keys == (
        "augment.families",
        "augment.mix",
        "augment.strength",
        "loss.terms",
        "loss.st.weight",
    )


@pytest.mark.parametrize(
    ("study", "simplex", "items"),
    [
        ("", "augment.families", ("noise", "blur", "photometric")),
        ("augment: {families: [blur, noise]}\n", "augment.families", ("blur", "noise")),
    ],
)
def test_a_simplex_over_a_fixed_list(
    make_space: MakeSpace, study: str, simplex: str, items: tuple[str, ...]
) -> None:
    space = make_space(f"augment.mix: {{simplex: {simplex}}}", study)
    assert space.parameters[0].domain == SimplexDomain(items)


def test_who_reads_what_is_not_active_is_not_active(make_space: MakeSpace) -> None:
    # The study's own anchor is `both`, which must not count while the anchor is searched.
    space = make_space(
        "loss.terms: {choice: [clean, clean+st]}\n"
        "loss.st.anchor: {choice: [both, clean], when: {loss.terms: {contains: st}}}\n"
        "loss.st.weight: {int: [0, 1], when: {loss.st.anchor: both}}\n"
        "augment.families: {subset: [noise, blur], when: {loss.terms: {contains: st}}}\n"
        "augment.mix: {simplex: augment.families}\n"
    )
    assert space.resolve({"loss.terms": "clean"}) == {"loss.terms": "clean"}


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (Condition("k", "contains", "fma"), "clean+fma", True),
        (Condition("k", "contains", "stem"), ["stem", "stage1"], True),
        (Condition("k", "contains", 1), 11, False),
        (Condition("k", "is", 1), True, False),
        (Condition("k", "is", ["a"]), ("a",), True),
        (Condition("k", "in", [0]), False, False),
    ],
)
def test_conditions(condition: Condition, value: object, holds: bool) -> None:
    assert condition.holds(value) == holds


def test_a_space_goes_through_json(whole: Space, make_space: MakeSpace) -> None:
    fixed = make_space("loss.clean.weight: {float: [0, 1], when: {loss.terms: clean+fma}}")
    for space in (whole, fixed, Space()):
        assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_the_storage_format(make_space: MakeSpace) -> None:
    """A change here needs a new version of the format: old ledgers hold this."""
    space = make_space(
        "augment.families: {subset: [noise, blur]}\naugment.mix: {simplex: augment.families}\n"
        "loss.clean.weight: {float: [1, 2], when: {loss.terms: {contains: clean}}}\n"
        "finetune.batch_size: {int: [2, 8]}\nloss.fma.layers: {choice: [[stem], [stage1]]}\n"
    )
    assert space.to_json() == {
        "parameters": [
            {
                "key": "augment.families",
                "domain": "subset",
                "names": ["noise", "blur"],
                "when": [],
            },
            {
                "key": "augment.mix",
                "domain": "simplex",
                "names": ["noise", "blur"],
                "of": "augment.families",
                "when": [],
            },
            {
                "key": "loss.clean.weight",
                "domain": "float",
                "low": 1.0,
                "high": 2.0,
                "log": False,
                "step": None,
                "when": [{"key": "loss.terms", "operator": "contains", "operand": "clean"}],
            },
            {
                "key": "finetune.batch_size",
                "domain": "int",
                "low": 2,
                "high": 8,
                "log": False,
                "step": 1,
                "when": [],
            },
            {
                "key": "loss.fma.layers",
                "domain": "choice",
                "choices": [["stem"], ["stage1"]],
                "when": [],
            },
        ],
        "fixed": {"loss.terms": "clean+fma"},
    }
    assert [dimension.name for dimension in space.dimensions] == [
        "augment.families[noise]",
        "augment.families[blur]",
        "augment.mix[noise]",
        "loss.clean.weight",
        "finetune.batch_size",
        "loss.fma.layers",
    ]
