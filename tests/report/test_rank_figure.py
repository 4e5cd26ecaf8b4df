"""The rank figure: a panel a pair, the best on top."""

from __future__ import annotations

import numpy as np
from example_records import example_record, example_row

from ablate.analysis.rank import rank_info
from ablate.report.figures.rank import plot_rank

ROWS = [
    example_row(at, (0.9, robust), params={"a": float(at), "b": "uvu"[at], "c": 3.0 - at})
    for at, robust in enumerate((0.8, 0.6, 0.7))
]


def test_a_pair_has_a_panel_and_the_best_is_drawn_last() -> None:
    figure = plot_rank(rank_info(example_record(ROWS), params=("a", "b", "c")))
    assert [(trace.xaxis, trace.yaxis) for trace in figure.data] == [
        ("x", "y"), ("x2", "y2"), ("x3", "y3"),
    ]  # fmt: skip
    of_a_c = figure.data[1]
    assert of_a_c.customdata == (1, 2, 0)
    np.testing.assert_array_equal(of_a_c.marker.color, [0, 0.5, 1])
    np.testing.assert_array_equal(of_a_c.x, [1, 2, 0])
    np.testing.assert_array_equal(of_a_c.y, [2, 1, 3])
    assert figure.data[0].text == ("b: v", "b: u", "b: u")
    assert figure.layout.coloraxis.colorbar.ticktext == ("worst", "middle", "best")
    assert figure.layout.coloraxis.colorbar.title.text == "Rank in Robust accuracy"


def test_less_is_better_where_it_is_minimised() -> None:
    objectives = [("gain", "maximize"), ("loss", "minimize")]
    record = example_record(
        ROWS, objectives=objectives, trainable="loops:train", references={}, reference_point=None
    )
    (panel,) = plot_rank(rank_info(record, params=("a", "c"))).data
    assert panel.customdata == (0, 2, 1)


def test_one_trial_is_the_best() -> None:
    (panel,) = plot_rank(rank_info(example_record(ROWS[:1]), params=("a", "c"))).data
    np.testing.assert_array_equal(panel.marker.color, [1])
