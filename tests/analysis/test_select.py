"""Filtering and sorting of rows, and what is said of a wrong column."""

from __future__ import annotations

import math

import pytest
from example_records import example_record, example_row

from ablate.analysis.select import select_trials
from ablate.errors import ParameterError
from ablate.ledger.record import Failure

RECORD = example_record(
    [
        example_row(3, (0.90, 0.80), params={"loss.terms": "clean+st", "augment.strength": 0.5}),
        example_row(0, (0.94, 0.70), params={"loss.terms": "clean+fma", "augment.strength": 1}),
        example_row(1, None, state="FAIL", failure=Failure("raised", "boom"), params={}),
        example_row(2, (math.nan, 0.75), params={"loss.terms": "clean+fma"}),
        example_row(4, (0.94, 0.60), params={"loss.terms": "auto", "augment.strength": 0.2}),
    ]
)


def numbers(**selection: object) -> list[int]:
    return [row.number for row in select_trials(RECORD, **selection).rows]


def test_by_number_where_nothing_is_asked() -> None:
    assert numbers() == [0, 1, 2, 3, 4]


def test_state() -> None:
    assert numbers(state="fail") == [1]
    assert numbers(state="PRUNED") == []


def test_where() -> None:
    assert numbers(where=["loss.terms=clean+fma"]) == [0, 2]
    assert numbers(where=["param.loss.terms=clean+fma", "number=2"]) == [2]
    assert numbers(where=["augment.strength=0.50"]) == [3]
    assert numbers(where=["augment.strength=low"]) == []
    assert numbers(where=["failure_kind=raised"], state="fail") == [1]


def test_sort_puts_what_has_no_number_last_in_both_orders() -> None:
    assert numbers(sort="val_clean_accuracy") == [3, 0, 4, 1, 2]
    assert numbers(sort="-val_clean_accuracy") == [0, 4, 3, 1, 2]
    assert numbers(sort="augment.strength") == [4, 3, 0, 1, 2]
    assert numbers(sort="loss.terms") == [4, 0, 2, 3, 1]
    assert numbers(sort="-number") == [4, 3, 2, 1, 0]


def test_an_empty_study_can_be_sorted() -> None:
    assert select_trials(example_record(), sort="val_clean_accuracy").rows == ()


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            {"state": "complet"},
            "state: must be a trial state, got complet. Did you mean COMPLETE?",
        ),
        (
            {"sort": "val_robust_acuracy"},
            "sort: must be a column of the trials, got val_robust_acuracy. "
            "Did you mean val_robust_accuracy?",
        ),
        (
            {"sort": "-"},
            "sort: must be a column of the trials, got nothing. Known: number, state, attempt, "
            "val_clean_accuracy, val_robust_accuracy, param.augment.strength, param.loss.terms, "
            "failure_kind, failure_reason, started, finished, duration_seconds.",
        ),
        (
            {"where": ["loss.term=clean"]},
            "where: must be a column of the trials, got loss.term. Did you mean param.loss.terms?",
        ),
        (
            {"where": ["state"]},
            "where: must be COLUMN=VALUE, got state. Write it as state=COMPLETE.",
        ),
    ],
)
def test_what_is_said(selection: dict, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        select_trials(RECORD, **selection)
    assert str(caught.value) == message
