"""Ratios and scores of a search's mixes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from example_records import example_record, example_row

from ablate.analysis.mix import mix_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import RowRecord

ROBUST = 1
Z = {"p": 1, "q": 0, "r": 1}


def mix_row(number: int, mix: Any, *values: float, key: str = "augment.mix") -> RowRecord:
    return example_row(number, values or (0.9, 0.7), params={"loss.terms": "clean+fma", key: mix})


def test_ratios_scores_and_the_front() -> None:
    record = example_record(
        [
            mix_row(1, {"noise": 0.25, "blur": 0.75}, 0.95, 0.6),
            mix_row(0, {"noise": 2, "blur": 1, "photometric": 1}, 0.9, 0.7),
            mix_row(2, {"photometric": 1.0}, 0.9, 0.6),
        ]
    )
    info = mix_info(record, ROBUST)
    assert info.parts == ("noise", "blur", "photometric")
    assert [(one.number, one.ratios, one.score, one.on_front) for one in info.points] == [
        (0, (0.5, 0.25, 0.25), 0.7, True),
        (1, (0.25, 0.75, 0.0), 0.6, True),
        (2, (0.0, 0.0, 1.0), 0.6, False),
    ]
    frame = info.frame()
    assert frame["augment.mix.photometric"].tolist() == [0.25, 0.0, 1.0]
    assert frame["val_robust_accuracy"].tolist() == [0.7, 0.6, 0.6]
    assert mix_info(record, 0).points[1].score == 0.95


def test_the_space_says_the_order_of_the_parts_before_any_trial() -> None:
    info = mix_info(example_record(space={"augment.mix": {"simplex": ["b", "a", "c"]}}), ROBUST)
    assert (info.parts, info.points) == (("b", "a", "c"), ())
    of_a_subset = {"augment.mix": {"simplex": "augment.families"}}
    assert mix_info(example_record(space=of_a_subset), ROBUST).parts == ()


def test_a_score_that_is_no_number_is_counted() -> None:
    mix = {"a": 0.5, "b": 0.5, "c": 0.0}
    info = mix_info(example_record([mix_row(0, mix), mix_row(1, mix, 0.9, math.nan)]), ROBUST)
    assert [point.number for point in info.points] == [0]
    assert info.not_finite == 1


def test_a_loop_of_ones_own_mixes_what_it_likes() -> None:
    rows = [
        example_row(0, (1.0, 2.0), params={"data": {"web": 3, "books": 1, "code": 0}, "z": Z}),
        example_row(1, (1.0, 2.0), params={"data": {"web": 1, "books": 1, "code": 1}, "z": Z}),
    ]
    record = example_record(
        rows, trainable="loops:train", references={}, reference_point=None,
        objectives=[("loss", "minimize"), ("speed", "maximize")],
    )  # fmt: skip
    info = mix_info(record, ROBUST)
    assert (info.key, info.others) == ("data", ("z",))
    assert info.points[0].ratios == (0.75, 0.25, 0.0)
    assert info.points[0].loss_terms == ""
    assert mix_info(record, ROBUST, ("z",)).parts == ("p", "q", "r")
    with pytest.raises(ParameterError, match=r"^--params: figure mix takes one mix, got z, data"):
        mix_info(record, ROBUST, ("z", "data"))
    with pytest.raises(ParameterError, match=r"^--params: must be parameters of the study, got y"):
        mix_info(record, ROBUST, ("y",))


@pytest.mark.parametrize(
    "value",
    [
        *(0.5, ["a", "b", "c"], {"a": 1.0}, {"a": 1, "b": 1}, dict.fromkeys("abcd", 1)),
        *({"a": -1, "b": 2, "c": 0}, dict.fromkeys("abc", "x"), dict.fromkeys("abc", 0)),
    ],
)
def test_what_is_no_mix_of_three(value: Any) -> None:
    with pytest.raises(
        NothingToDrawError,
        match=r"^study example: figure mix needs a parameter that is a mix of three parts, got "
        r"loss\.terms, some\. Search one: \{simplex: \[a, b, c\]\}, or draw slice\.$",
    ):
        mix_info(example_record([mix_row(0, value, key="some")]), ROBUST)
