"""Parameter sets that are tried first: partial, and inside the space."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ablate.errors import ParameterError
from ablate.space.space import Space

STUDY = "search: {{enqueue: [{}]}}\n"
SPACE = """
loss.terms: {choice: [clean+da, clean+fma]}
loss.fma.weight: {float: [0.01, 30], log: true, when: {loss.terms: {contains: fma}}}
augment.families: {subset: [noise, blur, photometric]}
augment.mix: {simplex: augment.families}
"""


@pytest.mark.parametrize(
    ("values", "raw"),
    [
        # Whether it is used is decided by the terms that are drawn.
        ({"loss.fma.weight": 2}, {"loss.fma.weight": 2.0}),
        (
            {"augment.families": ["blur"]},
            {
                "augment.families[noise]": False,
                "augment.families[blur]": True,
                "augment.families[photometric]": False,
            },
        ),
    ],
)
def test_a_partial_set_is_drawn_raw(
    make_space: Callable[..., Space], values: dict[str, object], raw: dict[str, object]
) -> None:
    assert make_space(SPACE).encode_partial(values) == raw


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"loss.terms": "clean+da", "loss.fma.weight": 1},
            "loss.fma.weight: is searched only when loss.terms contains 'fma', got 1. Leave it out",
        ),
        (
            {"augment.mix": {"noise": 1}},
            "augment.mix: is a ratio of the items in augment.families, got none beside it. Give "
            "augment.families too.",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(
    make_space: Callable[..., Space], values: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError) as error:
        make_space(SPACE).encode_partial(values)
    assert str(error.value).startswith(message)


def test_every_problem_is_said_where_it_stands(problems: Callable[..., list[str]]) -> None:
    sets = "{loss.terms: x, augment.mxi: 1}, {loss.fma.weight: 31}"
    assert problems(SPACE, STUDY.format(sets)) == [
        "-1: search.enqueue[0].loss.terms: must be one of ['clean+da', 'clean+fma'], got 'x'. "
        "Use one of them.",
        "-1: search.enqueue[0].augment.mxi: not in the space. Did you mean augment.mix?",
        "-1: search.enqueue[1].loss.fma.weight: must be a number in [0.01, 30], got 31. Use one "
        "in this range.",
    ]
    assert problems(SPACE, STUDY.format("{loss.fma.weight: 3}")) == []
    (unknown,) = problems(SPACE, STUDY.format("{'a: b': 1}"))
    assert unknown.startswith("-1: search.enqueue[0].a: b: not in the space.")
