"""Curves of a study, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from example_records import example_record, example_row

from ablate.analysis.curves import MOST_DRAWN, curves_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import Rung


def epochs(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": at, "train_loss": loss} for at, loss in enumerate(losses, 1)]


ROWS = [
    example_row(0, (0.9, 0.7), curve=epochs(1.0, 0.5)),
    example_row(
        1,
        (0.8, 0.6),
        curve=epochs(2.0, math.inf),
        params={"loss.terms": "clean+st", "loss.st.weight": 1.0},
    ),
    example_row(
        2,
        None,
        state="PRUNED",
        curve=epochs(3.0),
        rungs=[Rung(1, {"val_robust_accuracy": 0.4}, True, 1)],
    ),
    example_row(3, None, state="FAIL"),
    example_row(4, None, state="WAITING", params={}),
]
PRUNER = {"trials": 16, "pruner": {"metric": "val_robust_accuracy"}}


def test_a_trial_is_a_curve_from_its_first_epoch_on() -> None:
    info = curves_info(example_record(ROWS, search=PRUNER))
    assert (info.metric, info.rung_metrics) == ("train_loss", ("val_robust_accuracy",))
    assert [curve.number for curve in info.curves] == [0, 1, 2]
    assert [curve.on_front for curve in info.curves] == [True, False, False]
    assert [curve.group for curve in info.curves] == ["clean+fma", "clean+st", "clean+fma"]
    first, second, pruned = info.curves
    assert (first.epochs, first.values) == ((1, 2), (1.0, 0.5))
    assert second.values[0] == 2.0
    assert math.isnan(second.values[1])
    assert pruned.rungs == (Rung(1, {"val_robust_accuracy": 0.4}, True, 1),)
    assert info.own_losses


def test_the_frame_has_epochs_and_rungs() -> None:
    frame = curves_info(example_record(ROWS, search=PRUNER)).frame()
    assert list(frame["what"]) == ["curve"] * 5 + ["rung"]
    assert list(frame["epoch"]) == [1, 2, 1, 2, 1, 1]
    last = frame.iloc[-1]
    assert (last["number"], last["metric"], last["value"], bool(last["stop"])) == (
        2, "val_robust_accuracy", 0.4, True,
    )  # fmt: skip
    assert frame["stop"].isna().sum() == 5
    assert len(curves_info(example_record()).frame()) == 0


def test_the_frame_has_every_metric_of_a_rung() -> None:
    scores = {"val_clean_accuracy": 0.9, "val_robust_accuracy": 0.4}
    row = example_row(0, None, state="PRUNED", rungs=[Rung(1, scores, True, 1)])
    info = curves_info(example_record([row], search={"pruner": {}}))
    assert info.rung_metrics == tuple(scores)
    assert dict(zip(info.frame()["metric"], info.frame()["value"], strict=True)) == scores
    asked = curves_info(example_record([row]), objective="val_robust_accuracy")
    assert (asked.metric, asked.rung_metrics) == ("train_loss", ("val_robust_accuracy",))


def test_of_many_trials_the_front_and_others_evenly() -> None:
    rows = [example_row(at, (0.1, 0.1), curve=epochs(1.0, 0.5)) for at in range(1200)]
    rows[777] = replace(rows[777], values=(0.9, 0.9))
    info = curves_info(example_record(rows))
    numbers = [curve.number for curve in info.curves]
    assert (len(numbers), info.found) == (MOST_DRAWN, 1200)
    assert 777 in numbers
    steps = {after - one for one, after in pairwise(numbers)}
    assert max(steps) <= 3


def test_trials_of_one_epoch_are_points_and_no_curves() -> None:
    rows = [example_row(at, (0.1, 0.1), curve=epochs(1.0)) for at in range(3)]
    with pytest.raises(NothingToDrawError, match=r"needs trials with at least two epochs, got one"):
        curves_info(example_record(rows, trials=3))
    assert len(curves_info(example_record(rows, trials=4)).curves) == 3, "a study that goes on"


def test_trials_that_are_asked_for() -> None:
    info = curves_info(example_record(ROWS), trials=(1,))
    assert [curve.number for curve in info.curves] == [1]
    with pytest.raises(ParameterError, match=r"^--trials: must be trials of example, got 99\. "):
        curves_info(example_record(ROWS), trials=(99,))


def own_loop(*scores: dict[str, float]) -> object:
    curve = [{"epoch": at, "scores": named} for at, named in enumerate(scores, 1)]
    return example_record(
        [example_row(0, (0.5, 1.0), params={"lr": 0.1}, curve=curve)],
        objectives=[("loss", "minimize"), ("speed", "maximize")],
        trainable="loops:train",
        references={},
        reference_point=None,
    )


def test_a_loop_of_ones_own_shows_its_first_objective_or_what_is_asked() -> None:
    record = own_loop({"speed": 3.0, "loss": 0.9}, {"speed": 4.0})
    assert curves_info(record).metric == "loss"  # type: ignore[arg-type]
    (curve,) = curves_info(record).curves  # type: ignore[arg-type]
    assert (curve.epochs, curve.values, curve.group) == ((1,), (0.9,), "")
    (asked,) = curves_info(record, objective="speed").curves  # type: ignore[arg-type]
    assert asked.values == (3.0, 4.0)
    assert curves_info(own_loop({"error": 0.5})).metric == "error"  # type: ignore[arg-type]
    with pytest.raises(
        ParameterError,
        match=r"^--objective: must be reported epoch by epoch in example, got speeed\. "
        r"Did you mean speed\?$",
    ):
        curves_info(record, objective="speeed")  # type: ignore[arg-type]


def test_a_finetuning_has_no_score_by_epoch() -> None:
    with pytest.raises(ParameterError, match=r"got train_time\. Did you mean train_loss\?$"):
        curves_info(example_record(ROWS), objective="train_time")


def test_losses_differ_between_trials_where_their_terms_are_searched() -> None:
    assert curves_info(example_record(ROWS)).own_losses
    alike = [replace(row, params={"augment.strength": 0.5}) for row in ROWS]
    assert not curves_info(example_record(alike)).own_losses


def test_the_groups_of_an_ablation_are_its_cells() -> None:
    rows = [replace(row, cell="AB"[row.number % 2], pair=row.number // 2) for row in ROWS]
    info = curves_info(replace(example_record(rows), design={"cells": ["A", "B"]}))
    assert [curve.group for curve in info.curves] == ["A", "B", "A"]
    assert not any(curve.on_front for curve in info.curves)
    assert (info.seeds, info.seed) == (3, None)


def test_another_tools_study_has_no_epochs() -> None:
    with pytest.raises(NothingToDrawError, match=r"^study example: figure curves needs .*, got "):
        curves_info(replace(example_record(ROWS), foreign=True))
