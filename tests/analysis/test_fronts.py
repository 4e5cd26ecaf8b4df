"""Fronts of several studies in one table."""

from __future__ import annotations

import math
from typing import Any

import pytest
from example_records import example_record, example_row

from ablate.analysis.fronts import (
    ConfirmedMean,
    StoppedTrial,
    ended_rows,
    fronts_info,
    history_info,
)
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import RowRecord, Rung, StudyRecord
from ablate.report.figures.pareto import plot_fronts

ONE = example_record([example_row(0, (0.94, 0.70)), example_row(1, (0.90, 0.60))], name="one")
TWO = example_record(
    [example_row(at, values) for at, values in enumerate([(0.9, 0.6), (0.8, 0.79), (0.7, 0.8)])],
    name="two",
)
MEAN = ConfirmedMean(0, (0.93, 0.68), (0.92, math.nan), (0.94, math.nan), (0.01, math.nan), 5)


def test_a_row_a_trial() -> None:
    frame = fronts_info([ONE, TWO], [(), ()]).frame()
    assert list(frame.columns) == [
        *("study", "number", "loss_terms", "on_front", "is_knee"),
        *("val_clean_accuracy", "val_robust_accuracy"),
    ]
    assert frame["study"].tolist() == ["one"] * 2 + ["two"] * 3
    assert frame["number"].tolist() == [0, 1, 0, 1, 2]
    assert frame["on_front"].tolist() == [True, False, True, True, True]
    assert frame["is_knee"].tolist() == [False, False, False, True, False]


def test_what_was_confirmed_stands_beside_its_trial() -> None:
    frame = fronts_info([ONE, TWO], [(MEAN,), ()]).frame()
    assert frame["confirmed_seeds"].isna().tolist() == [False, True, True, True, True]
    assert frame["confirmed_seeds"][0] == 5
    first = frame.loc[0]
    assert first["confirmed.val_clean_accuracy"] == 0.93
    assert first["confirmed.val_clean_accuracy.low"] == 0.92
    assert first["confirmed.val_robust_accuracy"] == 0.68
    assert math.isnan(first["confirmed.val_robust_accuracy.high"])
    assert math.isnan(frame["confirmed.val_clean_accuracy"][2])


def test_stopped_trials_are_shown_where_asked_if_they_were_scored_alike() -> None:
    scores = {"val_clean_accuracy": 0.95, "val_robust_accuracy": 0.9}
    rungs = {
        2: [Rung(1, {**scores, "val_robust_accuracy": 0.8}, False, 1), Rung(3, scores, True, 2)],
        3: [Rung(1, scores, True, 3, images=100)],
        4: [Rung(1, {"val_clean_accuracy": 0.9}, True, 4)],
    }
    stopped = [example_row(at, None, state="PRUNED", rungs=of) for at, of in rungs.items()]
    record = example_record([*ONE.rows, *stopped], name="one")
    info = fronts_info([record], [()], rungs=True)
    assert info.stopped == (StoppedTrial(2, 3, (0.95, 0.9), "clean+fma"),)
    assert info.unlike == 2
    frame = info.frame()
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["on_front"].tolist() == [True, False, False]  # though no trial is better
    assert frame["stopped_epoch"].isna().tolist() == [True, True, False]
    assert (frame["stopped_epoch"][2], frame["val_robust_accuracy"][2]) == (3, 0.9)
    assert frame["loss_terms"][2] == "clean+fma"
    usual = fronts_info([record], [()])
    assert (usual.stopped, usual.unlike) == ((), None)
    with pytest.raises(ParameterError) as raised:
        fronts_info([record, TWO], [(), ()], rungs=True)
    assert str(raised.value) == "--rungs: needs one study, got 2. Draw one at a time."


def test_stopped_trials_stand_in_the_history_where_they_ended() -> None:
    rung = Rung(3, {"val_robust_accuracy": 0.9}, True, 2)
    rows = [
        example_row(0, (0.7,), seconds=30),
        example_row(1, None, state="PRUNED", rungs=[rung], seconds=10),
        example_row(2, (0.6,), seconds=20),
    ]
    one = [("val_robust_accuracy", "maximize")]
    record = example_record(rows, objectives=one, reference_point=None)
    order = [row.number for row in ended_rows(record)]
    info = history_info([record], [()], rungs=True)
    (stopped,) = info.stopped
    assert stopped == StoppedTrial(1, 3, (order.index(1) + 1.0, 0.9), "clean+fma")
    assert info.unlike == 0
    figure = plot_fronts(info)
    (rings,) = (trace for trace in figure.data if trace.legendgroup == "stopped")
    assert (list(rings.x), list(rings.y)) == ([stopped.values[0]], [0.9])
    said = "rings: stopped trials as they were after epoch 3, never the best"
    assert said in figure.layout.meta["facts"]


def test_no_trial_gives_every_column() -> None:
    frame = fronts_info([example_record()], [()]).frame()
    assert len(frame) == 0
    both = fronts_info([ONE, example_record()], [(), ()]).frame()
    assert (frame.dtypes == both.dtypes).all()
    assert both.dtypes.astype(str).tolist() == [
        *("string", "int64", "string", "bool", "bool", "float64", "float64")
    ]


@pytest.mark.parametrize(
    "objectives",
    [
        [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")],
        [("val_robust_accuracy", "maximize"), ("val_clean_accuracy", "maximize")],
    ],
)
def test_other_objectives_are_refused(objectives: list) -> None:
    other = example_record(objectives=objectives, name="other", reference_point=None)
    with pytest.raises(ParameterError) as caught:
        fronts_info([ONE, other], [(), ()])
    listed = ", ".join(f"{direction} {metric}" for metric, direction in objectives)
    assert str(caught.value) == (
        "studies in one figure must have the same objectives, got maximize val_clean_accuracy, "
        f"maximize val_robust_accuracy (study one) and {listed} (study other). Draw them one at a "
        "time."
    )


# -- One objective: its history is the front of trials and values


def one_objective(rows: list[RowRecord], **settings: Any) -> StudyRecord:
    objective = [("val_robust_accuracy", "maximize")]
    return example_record(rows, objectives=objective, reference_point=None, **settings)


def test_the_history_is_in_the_order_in_which_trials_ended() -> None:
    rows = [
        example_row(0, (0.60,), seconds=40),  # ends last
        example_row(1, (0.50,)),
        example_row(2, None, state="PRUNED"),
        example_row(3, (0.55,)),
        example_row(4, (0.55,)),  # an equal value, later, is not the best so far
    ]
    mean = ConfirmedMean(0, (0.58,), (0.57,), (0.59,), (0.01,), 5)
    info = history_info([one_objective(rows)], [(mean,)])
    assert info.is_history
    (study,) = info.studies
    found = {one.number: (one.values, one.on_front) for one in study.points}
    assert found == {
        1: ((1.0, 0.50), True),
        3: ((3.0, 0.55), True),
        4: ((4.0, 0.55), False),
        0: ((5.0, 0.60), True),
    }
    assert study.references["baseline"][0] == 0
    assert info.confirmed[0][0].values == (5.0, 0.58)
    frame = info.frame()
    assert frame["ended_trials"].tolist() == [5.0, 1.0, 3.0, 4.0]
    assert frame["confirmed.val_robust_accuracy"].tolist()[0] == 0.58


def test_less_is_better_and_nothing_yet() -> None:
    objectives = [("train_seconds", "minimize")]
    rows = [example_row(at, (value,)) for at, value in enumerate((3.0, math.nan, 5.0, 2.0))]
    record = example_record(rows, objectives=objectives, reference_point=None)
    (study,) = history_info([record], [()]).studies
    assert [one.number for one in study.points if one.on_front] == [0, 3]
    assert len(history_info([one_objective([])], [()]).frame()) == 0


def test_each_kind_of_study_has_its_figure() -> None:
    with pytest.raises(
        NothingToDrawError, match=r"needs two objectives, got one\. Draw history\.$"
    ):
        fronts_info([one_objective([])], [()])
    with pytest.raises(
        NothingToDrawError, match=r"needs one objective, got 2\. Draw pareto or hyp"
    ):
        history_info([ONE], [()])
