"""How the hypervolume grew, trial by trial, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from example_records import BEGAN, example_record, example_row
from example_sources import usual_record

from ablate.analysis.fronts import ConfirmedMean
from ablate.analysis.history import hypervolume_info
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import RowRecord


def row(number: int, values: Any, ended: float, **more: Any) -> RowRecord:
    """A row that ended so many seconds after the study began."""
    return replace(example_row(number, values, **more), finished=BEGAN + timedelta(seconds=ended))


def test_trials_count_in_the_order_in_which_they_ended() -> None:
    rows = [
        row(0, (0.95, 0.7), 3600),
        row(1, (0.95, 0.7), 1800),
        row(2, None, 2700, state="PRUNED"),
        row(3, (0.90, 0.8), 5400),
        row(4, None, 4500, state="FAIL"),
    ]
    (curve,) = hypervolume_info([example_record(rows, reference_point=(0.85, 0.6))], [()]).studies
    assert curve.numbers.tolist() == [1, 0, 3]
    assert curve.hypervolume == pytest.approx((0.01, 0.01, 0.015))
    assert curve.ended.tolist() == [1, 3, 5]
    assert curve.ended_in_all == 5


def test_the_last_step_is_the_studys_hypervolume() -> None:
    record = usual_record(60)
    frame = hypervolume_info([record], [()]).frame()
    assert list(frame.columns) == ["study", "number", "ended_trials", "hypervolume"]
    assert frame["hypervolume"].iloc[-1] == pytest.approx(pareto_info(record).hypervolume)
    assert frame["hypervolume"].is_monotonic_increasing
    assert frame["ended_trials"].iloc[-1] == 60


def test_studies_share_the_first_reference_point() -> None:
    one = example_record([row(0, (0.9, 0.7), 10)], name="one", reference_point=None)
    two = example_record([row(0, (0.9, 0.7), 10)], name="two", reference_point=(0.8, 0.6))
    three = replace(two, reference_point=(0.5, 0.5))
    info = hypervolume_info([one, two], [(), ()])
    assert info.reference_point == (0.8, 0.6)
    assert not info.has_own_reference_points
    assert [study.hypervolume[-1] for study in info.studies] == pytest.approx([0.01, 0.01])
    other = hypervolume_info([two, three], [(), ()])
    assert other.has_own_reference_points
    assert [study.hypervolume[-1] for study in other.studies] == pytest.approx([0.01, 0.01])


def test_confirmed_means() -> None:
    nan = (math.nan, math.nan)
    means = [
        ConfirmedMean(0, (0.9, 0.7), nan, nan, nan, 1),
        ConfirmedMean(1, (0.95, 0.65), nan, nan, nan, 1),
    ]
    (curve,) = hypervolume_info([example_record()], [means]).studies
    assert curve.confirmed == pytest.approx(0.05 * 0.1 + 0.05 * 0.05)
    assert curve.confirmed_trials == 2
    assert curve.hypervolume.tolist() == []


def test_without_a_reference_point() -> None:
    nothing = example_record(references={}, reference_point=None)
    with pytest.raises(NothingToDrawError) as caught:
        hypervolume_info([nothing], [()])
    assert str(caught.value) == (
        "study example: figure hypervolume needs a reference point, got none: its baseline is not "
        "scored yet. Launch it."
    )
    own = example_record(references={}, reference_point=None, trainable="loops:train")
    with pytest.raises(NothingToDrawError) as caught:
        hypervolume_info([own], [()])
    assert str(caught.value) == (
        "study example: figure hypervolume needs a reference point, got none. Set "
        "search.reference_point in the study file before launching."
    )
    with pytest.raises(
        NothingToDrawError, match=r"got none: a study of another tool has none\. Draw"
    ):
        hypervolume_info([replace(own, foreign=True)], [()])


def test_other_objectives_are_refused() -> None:
    objectives = [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")]
    with pytest.raises(ParameterError, match=r"^studies in one figure must have the same obj"):
        hypervolume_info([example_record(), example_record(objectives=objectives)], [(), ()])
