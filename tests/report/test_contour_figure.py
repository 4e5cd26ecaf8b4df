"""The contour figure: the field, the marks over it, and their colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from example_records import example_record, example_row

from ablate.analysis.contour import contour_info
from ablate.report.figures.contour import plot_contour

SPACE = {"a": {"float": [0.0, 1.0]}, "b": {"float": [0.01, 1.0], "log": True}}
LOSSES = [("gain", "maximize"), ("loss", "minimize")]


def draw(count: int, **settings: Any) -> Any:
    rows = [
        example_row(
            at,
            (0.5, 0.6 + 0.2 * at / count),
            params={"a": at / count, "b": 10 ** (-2 * ((at * 0.618) % 1))},
        )
        for at in range(count)
    ]
    settings = {"trainable": "loops:train", "space": SPACE, **settings}
    record = example_record(rows, references={}, reference_point=None, **settings)
    return plot_contour(contour_info(record, params=("a", "b")))


def test_marks_and_field_have_one_scale_of_colours() -> None:
    figure = draw(20)
    field, dominated, front = figure.data
    assert field.type == "contour"
    assert field.coloraxis == dominated.marker.coloraxis == front.marker.coloraxis == "coloraxis"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0.6, 0.79)
    assert (front.customdata, front.marker.symbol) == ((19,), "star")
    np.testing.assert_allclose(front.marker.color, [0.79], rtol=1e-6)
    np.testing.assert_allclose([field.y[0], field.y[-1]], [0.01, 1.0], rtol=1e-6)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == (None, "log")
    assert "star: on the front" in figure.layout.title.subtitle.text


def test_bright_is_better() -> None:
    assert draw(20).layout.coloraxis.reversescale is False
    minimised = draw(20, objectives=LOSSES)
    assert minimised.layout.coloraxis.reversescale is True
    assert minimised.data[-1].customdata == (0,)


def test_few_trials_are_drawn_without_a_field() -> None:
    figure = draw(3)
    assert [trace.type for trace in figure.data] == ["scatter", "scatter"]
    assert "too few trials for a field" in figure.layout.title.subtitle.text


def test_trials_without_both_parameters_are_counted() -> None:
    rows = [example_row(0, (0.9, 0.7), params={"a": 0.5}), example_row(1, (0.8, 0.8), params={})]
    record = example_record(rows, space=SPACE, trainable="loops:train")
    figure = plot_contour(contour_info(record))
    assert "2 without both parameters or a score" in figure.layout.title.subtitle.text
    assert [note.text for note in figure.layout.annotations] == [
        "no complete trial has both parameters"
    ]
