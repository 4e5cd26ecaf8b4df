"""A reference that is a trial of a search: which one, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from example_records import example_record, example_row

from ablate.ablation.searches import (
    COMPARED,
    check_reference,
    pick_rule,
    pick_trial,
)
from ablate.errors import FingerprintError, ParameterError
from ablate.ledger.record import StudyRecord


def record(*values: tuple[float, ...] | None, **settings: Any) -> StudyRecord:
    """A search whose trials have these values; one without values has failed."""
    rows = [
        example_row(number, one, state="FAIL" if one is None else "COMPLETE")
        for number, one in enumerate(values)
    ]
    return example_record(rows, **settings)


@pytest.mark.parametrize("pick", ["knee", "best robust_accuracy", "best x", "trial 0", "trial 17"])
def test_what_may_be_picked(pick: str) -> None:
    assert pick_rule(pick) is None


@pytest.mark.parametrize(
    ("pick", "shown"),
    [
        ("worst", "'worst'"),
        ("best", "'best'"),
        ("trial -1", "'trial -1'"),
        ("trial ²", "'trial ²'"),
        (None, "nothing"),
    ],
)
def test_what_may_not_be_picked(pick: Any, shown: str) -> None:
    rule = f"must be knee, best METRIC or trial N, got {shown}. Write pick: knee."
    assert pick_rule(pick) == rule


# the knee


@pytest.mark.parametrize(
    ("values", "number"),
    [
        # The corner of an L; no value is the highest of its objective.
        ([(0.90, 0.60), (0.89, 0.69), (0.80, 0.70)], 1),
        # Its place does not change with the unit of an objective.
        ([(0.90, 60.0), (0.89, 69.0), (0.80, 70.0)], 1),
        # Off the front, however near to the corner.
        ([(0.90, 0.60), (0.889, 0.689), (0.80, 0.70), (0.89, 0.69)], 3),
        # Of two or one there is no knee: the first of the front.
        ([(0.80, 0.70), (0.90, 0.60)], 1),
        ([(0.80, 0.70)], 0),
        # Ties: on a line all are as far out, so the best in the first objective.
        ([(0.80, 0.70), (0.85, 0.65), (0.90, 0.60)], 2),
        ([(0.90, 0.60), (0.90, 0.60)], 0),
        # What is not a number is on no front.
        ([(float("nan"), 0.99), (0.80, 0.70)], 1),
        ([None, (0.80, 0.70)], 1),
    ],
)
def test_the_knee(values: list[tuple[float, float] | None], number: int) -> None:
    assert pick_trial(record(*values), "knee").number == number


# the best


@pytest.mark.parametrize(
    ("pick", "number"),
    [
        ("best val_robust_accuracy", 2),
        ("best robust_accuracy", 2),
        ("best clean_accuracy", 0),
        ("best  clean_accuracy ", 0),
    ],
)
def test_the_best(pick: str, number: int) -> None:
    found = record((0.90, 0.60), (0.85, 0.65), (0.80, 0.70), None)
    assert pick_trial(found, pick).number == number


# by number, and what is not there


def test_a_trial_by_its_number_need_not_be_on_the_front() -> None:
    found = record((0.7, 0.5), (0.9, 0.7))
    assert pick_trial(found, "trial 0").number == 0
    assert pick_trial(found, "trial 0").params == {"loss.terms": "clean+fma"}


@pytest.mark.parametrize(
    ("found", "pick", "message"),
    [
        (
            record((0.9, 0.6)),
            "trial 7",
            "must have that trial in state COMPLETE, got no trial 7. Pick another.",
        ),
        (
            record((0.9, 0.6), None),
            "trial 1",
            "must have that trial in state COMPLETE, got trial 1, which is FAIL. Pick another.",
        ),
        (
            record(None, None),
            "knee",
            "must have a complete trial, got none in 2 rows. Finish the search, or see `ablate "
            "trials` for why its trials failed.",
        ),
        (
            record((0.9, 0.6)),
            "best robust_acuracy",
            "best needs one of its objectives, got robust_acuracy. Did you mean "
            "val_robust_accuracy?",
        ),
    ],
)
def test_what_a_search_does_not_have(found: StudyRecord, pick: str, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        pick_trial(found, pick)
    assert str(caught.value) == f"ablation.reference: study example: {message}"


def test_a_trial_of_an_ablation_is_no_reference() -> None:
    with pytest.raises(ParameterError) as caught:
        pick_trial(replace(record((0.9, 0.6)), design={"kind": "arms"}), "knee")
    assert str(caught.value) == (
        "ablation.reference: study example: must be a search, got an ablation. Name a search."
    )


# of the same data and training


def test_a_search_on_other_data_or_another_network() -> None:
    sections = dict.fromkeys(COMPARED, "1")
    with pytest.raises(FingerprintError) as caught:
        check_reference(record().study, sections, "search", sections | {"data": "2", "model": "2"})
    assert str(caught.value) == (
        "study example: the ablation must use the same settings as the search of its reference, "
        "got other data, model than study search. Copy these sections, or write the values of the "
        "reference."
    )
