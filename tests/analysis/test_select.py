"""Filtering and sorting of rows, and what is said of a wrong column."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_records import example_record, example_row

from ablate.analysis.select import select_trials
from ablate.errors import ParameterError
from ablate.ledger.record import Failure, Rung
from ablate.study.interpolation import Curve, CurvePoint

RECORD = example_record(
    [
        example_row(3, (0.90, 0.80), params={"loss.terms": "clean+st", "augment.strength": 0.5}),
        example_row(0, (0.94, 0.70), params={"loss.terms": "clean+fma", "augment.strength": 1}),
        example_row(1, None, state="FAIL", failure=Failure("raised", "boom"), params={}),
        example_row(2, (math.nan, 0.75), params={"loss.terms": "clean+fma"}),
        example_row(4, (0.94, 0.60), params={"loss.terms": "auto", "augment.strength": 0.2}),
    ]
)


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"state": "fail"}, [1]),
        ({"state": "done"}, [0, 2, 3, 4]),
        ({"where": ["state=Failed"]}, [1]),
        ({"where": ["param.loss.terms=clean+fma", "number=2"]}, [2]),
        ({"where": ["loss.terms!=clean+fma"]}, [1, 3, 4]),
        ({"where": ["augment.strength=0.50"]}, [3]),
        ({"where": ["strength>=50%"]}, [0, 3]),
        ({"where": ["augment.strength < 0.5"]}, [4]),
        ({"where": ["augment.strength<=0.5", "number!=3"]}, [4]),
        # What has no value there, or NaN, is unlike any value and in no order to it.
        ({"where": ["augment.strength!=0.5"]}, [0, 1, 2, 4]),
        ({"where": ["val_clean_accuracy>=0"]}, [0, 3, 4]),
        ({"where": ["robust>=75%"]}, [2, 3]),
        ({"where": ["robust=70 %"]}, [0]),
        ({"where": ["trial<=1"]}, [0, 1]),
        ({"where": ["attempts=1", "clean=0.94"]}, [0, 4]),
        ({"where": ["enqueued=FALSE"]}, [0, 1, 2, 3, 4]),
        ({"where": ["started>2026-03-01T12:00:14+00:00"]}, [3, 4]),
        ({"where": ["started=2026-03-01T12:00:05+00:00"]}, [1]),
        ({"sort": "-robust"}, [3, 2, 0, 4, 1]),
        ({"sort": "-val_clean_accuracy"}, [0, 4, 3, 1, 2]),
        ({"sort": "augment.strength"}, [4, 3, 0, 1, 2]),
        ({"sort": "loss.terms"}, [4, 0, 2, 3, 1]),
    ],
)
def test_rows_that_are_selected(selection: dict, found: list[int]) -> None:
    assert [row.number for row in select_trials(RECORD, **selection).rows] == found


def test_a_fraction_may_be_in_percent() -> None:
    path = Curve({"0": CurvePoint(0.95, {}), "1": CurvePoint(0.9, {})}, alpha=0.5, barrier=0.002)
    rungs = (Rung(1, {"val_clean_accuracy": 0.9}, stop=False, sequence=1),)
    record = example_record([replace(RECORD.rows[0], path=path, rungs=rungs)])
    assert len(select_trials(record, where=["alpha>=50%", "barrier<1%"]).rows) == 1
    with pytest.raises(ParameterError, match="where: rung_epoch is not a fraction, got 50%"):
        select_trials(record, where=["rung_epoch<=50%"])
    rungs = (replace(rungs[0], images=100),)
    record = example_record([replace(RECORD.rows[0], rungs=rungs)])
    with pytest.raises(ParameterError, match="where: rung_images is not a fraction, got 50%"):
        select_trials(record, where=["rung_images<=50%"])


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
            {"where": ["loss.term=clean"]},
            "where: must be a column of the trials, got loss.term. Did you mean param.loss.terms?",
        ),
        (
            {"where": ["state"]},
            "where: must be COLUMN=VALUE, or with !=, <, <=, >, >=, got state. "
            "Write it as state=COMPLETE.",
        ),
        (
            {"where": ["state=complet"]},
            "where: state: must be a trial state, got complet. Did you mean COMPLETE?",
        ),
        (
            {"where": ["robust>=90"]},
            "where: val_robust_accuracy is a fraction from 0 to 1, got 90. Did you mean 90% or "
            "0.9?",
        ),
        (
            {"where": ["worked>90%"]},
            "where: worked_seconds is not a fraction, got 90%. Compare it with a number without %.",
        ),
        (
            {"where": ["loss.terms>clean"]},
            "where: > needs a number or a time such as 2026-03-01T12:00, got clean. Text can be "
            "compared with = and !=.",
        ),
    ],
)
def test_what_is_said(selection: dict, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        select_trials(RECORD, **selection)
    assert str(caught.value) == message
