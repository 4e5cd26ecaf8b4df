"""The figure of curves, by values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import traces
from example_records import example_record, example_row
from example_sources import usual_record

from ablate.analysis.curves import curves_info
from ablate.ledger.record import Rung, StudyRecord
from ablate.report.figures.curves import plot_curves
from ablate.report.style import terms_style

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
ROWS = [
    example_row(0, (0.9, 0.7), curve=[{"epoch": at, "train_loss": 1 / at} for at in (1, 2, 3)]),
    example_row(1, (0.8, 0.6), curve=[{"epoch": at, "train_loss": 2 / at} for at in (1, 2, 3)]),
    example_row(2, (0.7, 0.6), curve=[{"epoch": 1, "train_loss": 40.0}]),
    example_row(
        3,
        None,
        state="PRUNED",
        curve=[{"epoch": 1, "train_loss": 3.0}],
        rungs=[Rung(1, {"val_robust_accuracy": 0.4}, True, 1)],
    ),
]


def draw(record: StudyRecord) -> Any:
    return plot_curves(curves_info(record))


def test_lines_are_told_apart_by_gaps_and_the_front_is_clear() -> None:
    pruned, dominated, front = traces(draw(example_record(ROWS[:4])), "clean+fma (")[:3]
    assert list(front.x) == [1, 2, 3, 3]
    assert list(front.y)[:3] == pytest.approx([1, 1 / 2, 1 / 3]), "shares of the first epoch"
    assert np.isnan(front.y).tolist() == [False, False, False, True]
    assert list(front.customdata) == [0, 0, 0, 0]
    assert list(dominated.customdata) == [1, 1, 1, 1, 2, 2]
    assert np.isnan(dominated.y).tolist() == [False, False, False, True, False, True]
    assert front.line.color == dominated.line.color == terms_style("clean+fma").color
    assert dominated.opacity < front.opacity == 1
    assert (pruned.line.dash, pruned.customdata[0]) == ("dot", 3)
    assert [trace.showlegend for trace in (pruned, dominated, front)] == [False, False, True]


def test_rungs_have_a_panel_and_stops_a_mark() -> None:
    record = example_record(ROWS, search={"pruner": {"metric": "val_robust_accuracy"}})
    figure = draw(record)
    title = figure.layout.yaxis2.title.text
    assert title.replace("<br />", " ") == "Robust accuracy, points over median"
    ended, stopped = traces(figure, "Pruned")
    assert (ended.x[0], ended.y[0], ended.yaxis) == (1, 1.0, None)
    assert (stopped.x[0], stopped.customdata[0], stopped.yaxis) == (1, 3, "y2")
    assert {shape.x0 for shape in figure.layout.shapes} == {1}
    assert [ended.showlegend, stopped.showlegend] == [True, False]
    assert "yaxis2" not in draw(example_record(ROWS[:2])).layout


def test_each_metric_at_a_rung_has_a_panel_that_a_collapsed_trial_does_not_stretch() -> None:
    robust = [0.5, 0.52, 0.54, 0.55, 0.57, 0.1]
    rows = [
        replace(ROWS[3], number=at, rungs=(Rung(1, {CLEAN: 0.9, ROBUST: score}, True, at + 1),))
        for at, score in enumerate(robust)
    ]
    figure = draw(example_record(rows))
    (stopped,) = [trace for trace in traces(figure, "Pruned (6)") if trace.yaxis == "y3"]
    assert list(stopped.y) == pytest.approx([-3, -1, 1, 2, 4, -43], abs=1e-4), "points over .53"
    low, high = figure.layout.yaxis3.range
    assert -10 < low < -3 < 4 < high < 10
    assert figure.layout.yaxis2.title.text.startswith("Clean accuracy")
    facts = " · ".join(figure.layout.meta["facts"])
    assert "1 trial outside the axes at a rung" in facts


def test_a_wide_range_is_logarithmic() -> None:
    losses = [{"epoch": 1, "train_loss": 40.0}, {"epoch": 2, "train_loss": 1.0}]
    figure = draw(example_record([*ROWS, example_row(4, (0.7, 0.6), curve=losses)]))
    assert figure.layout.yaxis.type == "log"
    assert {0.05, 0.1, 0.5, 1} <= set(np.round(figure.layout.yaxis.tickvals, 9))
    assert draw(example_record(ROWS[:2])).layout.yaxis.type is None


def test_what_is_left_out_is_said() -> None:
    figure = draw(usual_record(700))
    assert "500 of 700 trials drawn" in " · ".join(figure.layout.meta["facts"])
    assert "losses as shares of the first epoch's" in " · ".join(figure.layout.meta["facts"])
    assert len(figure.to_json()) < 200_000


def test_cells_of_an_ablation_have_colours_and_their_names_as_written() -> None:
    names = [f"<i>arm</i> {at}" for at in range(10)]
    rows = [replace(row, cell=names[row.number], pair=0) for row in usual_record(10).rows]
    record = replace(usual_record(10), rows=tuple(rows), design={"cells": names})
    figure = draw(record)
    first, ninth = traces(figure, "&lt;i&gt;arm&lt;/i&gt; 0")[0], traces(figure, "&lt;i")[8]
    assert first.meta[0].startswith("&lt;i&gt;arm&lt;/i&gt; 0, ")
    looks = {(trace.line.color, trace.line.dash) for trace in traces(figure, "&lt;i")}
    assert len(looks) >= 10
    assert ninth.line.color
    assert "single seed" not in " · ".join(figure.layout.meta["facts"])
