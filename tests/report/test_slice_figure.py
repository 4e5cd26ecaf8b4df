"""The slice figure: which trial stands in which panel, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row, example_scores
from example_sources import usual_record

from ablate.analysis.parameters import parameters_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures.slice import plot_slice

SPACE = {
    "loss.terms": {"choice": ["clean+st", "clean+fma"]},
    "loss.fma.weight": {"float": [0.01, 100.0], "log": True},
    "loss.fma.layers": {"subset": ["stem", "stage1", "stage2"]},
}


def fma(weight: float, *layers: str) -> dict[str, Any]:
    return {"loss.terms": "clean+fma", "loss.fma.weight": weight, "loss.fma.layers": list(layers)}


ROWS = [
    example_row(0, (0.94, 0.70), params=fma(0.1, "stem", "stage2")),
    example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st"}),
    example_row(2, (0.92, 0.65), params=fma(10.0, "stage1")),
]


def draw(record: StudyRecord, *params: str, objective: str = "") -> Any:
    return plot_slice(parameters_info(record, params=params, objective=objective))


def panel(figure: Any, x: str, y: str) -> list[Any]:
    return [trace for trace in figure.data if (trace.xaxis, trace.yaxis) == (x, y)]


def test_a_panel_has_the_trials_with_its_parameter() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "fma.weight", "terms")
    dominated, front = panel(figure, "x", "y")
    assert (front.customdata, dominated.customdata) == ((0,), (2,))
    np.testing.assert_allclose([front.x[0], front.y[0]], [0.1, 0.94], rtol=1e-6)
    assert front.marker.color == dominated.marker.color
    assert dominated.marker.opacity < front.marker.opacity == 1
    # Below it the second objective; then the next parameter, which all trials have.
    np.testing.assert_allclose(panel(figure, "x2", "y2")[1].y, [0.70], rtol=1e-6)
    assert {trial for trace in panel(figure, "x3", "y3") for trial in trace.customdata} == {0, 1, 2}
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.xaxis2.title.text == "weight (n = 2)"
    assert figure.layout.xaxis4.title.text == "terms"


def test_the_legend_has_every_set_of_terms_once() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "fma.weight")
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "clean+fma (2)", "clean+st (1)", "Faint: dominated", "Baseline",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.003, 0.02, ["0.003", "0.01"]),
        (0.03, 0.3, ["0.03", "0.1", "0.3"]),
        (0.2, 0.9, ["0.2", "0.5"]),
        (0.05, 20, ["0.1", "1", "10"]),
        (1e-7, 1e-1, ["1e-7", "1e-5", "0.001", "0.1"]),
        (4.2, 6.3, ["5", "6"]),
        (1.1, 1.2, ["1.1", "1.2"]),
    ],
)
def test_ticks_of_a_log_axis_are_whole_numbers(low: float, high: float, ticks: list[str]) -> None:
    space = {"lr": {"float": [low, high], "log": True}}
    rows = [example_row(at, (0.9, 0.7), params={"lr": one}) for at, one in enumerate((low, high))]
    axis = draw(example_record(rows, space=space, trainable="loops:train")).layout.xaxis
    assert list(axis.ticktext) == ticks
    assert [float(text) for text in ticks] == pytest.approx(axis.tickvals)


@pytest.mark.parametrize(("ends", "most"), [((0.25, 0.75), 5), ((0.901, 0.9049), 3)])
def test_long_numbers_of_an_axis_have_fewer_ticks(ends: tuple[float, float], most: int) -> None:
    space = {"x": {"float": list(ends)}}
    rows = [example_row(at, (0.9, 0.7), params={"x": one}) for at, one in enumerate(ends)]
    axis = draw(example_record(rows, space=space, trainable="loops:train")).layout.xaxis
    assert (axis.nticks, axis.exponentformat) == (most, "e")  # no µ, which means a unit


def test_a_level_has_a_strip_and_its_name_in_the_hover() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "terms", objective="robust")
    (st,) = [trace for trace in panel(figure, "x", "y") if trace.customdata == (1,)]
    assert abs(st.x[0]) < 0.5  # the first level
    assert st.text == ("terms: clean+st",)
    assert st.hovertemplate == (
        "<b>Trial %{customdata}</b><br>Robust accuracy: %{y:.1%}<br>%{text}<extra></extra>"
    )
    assert figure.layout.xaxis.ticktext == ("clean+st", "clean+fma")


def test_subsets_are_dots_and_the_facts_say_of_what() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "layers", objective="robust")
    assert figure.layout.xaxis.ticktext == ("○<br>●<br>○", "●<br>○<br>●")
    assert figure.layout.xaxis.title.text == "layers (n = 2), top down:<br>stem, stage1, stage2"
    assert "dots of layers, top down: stem, stage1, stage2" in " · ".join(
        figure.layout.meta["facts"]
    )


def test_the_baseline_is_a_line_where_it_is_scored() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "terms")
    assert [shape.y0 for shape in figure.layout.shapes] == pytest.approx([0.95, 0.60])
    assert not draw(example_record(ROWS, space=SPACE, references={}), "terms").layout.shapes


def test_a_trial_that_violates_a_constraint_is_not_called_dominated() -> None:
    rows = [
        example_row(at, values, scores=example_scores(*values), params={"a": at})
        for at, values in enumerate([(0.94, 0.7), (0.9, 0.8)])
    ]
    limit = [{"metric": "val_clean_accuracy", "min": 0.92}]
    names = {trace.name for trace in draw(example_record(rows, constraints=limit)).data}
    assert "Faint: off the front" in names


def test_a_collapsed_trial_is_counted_and_not_shown() -> None:
    rows = [example_row(at, (0.9, 0.7 + 0.01 * at), params={"a": at}) for at in range(9)]
    rows.append(example_row(9, (0.1, 0.1), params={"a": 9}))
    figure = draw(example_record(rows, references={"plain": example_scores(0.9, 0.7)}))
    assert figure.layout.yaxis2.range[0] > 0.5
    assert "1 trial outside the axes" in " · ".join(figure.layout.meta["facts"])
    entries = [trace.name for trace in figure.data if trace.showlegend]
    assert entries[0] == "clean+fma (10)", "it is seen in the row of clean accuracy"
    robust = draw(example_record(rows), objective="robust")
    assert next(trace.name for trace in robust.data if trace.showlegend) == "clean+fma (9)"


def test_names_are_shown_as_they_are_written() -> None:
    rows = [example_row(at, (0.9, 0.7), params={"<b>a": f"<i>{at}", "z": 1}) for at in range(2)]
    figure = draw(example_record(rows, trainable="loops:train"))
    assert figure.layout.xaxis2.title.text == "&lt;b&gt;a"
    assert figure.layout.xaxis.ticktext == ("&lt;i&gt;0", "&lt;i&gt;1")


@pytest.mark.slow
def test_of_very_many_trials_some_are_drawn_and_the_front_is_whole() -> None:
    record = usual_record(2600)
    info = parameters_info(record)
    figure = plot_slice(info)
    assert len(figure.to_json()) < 1_000_000
    drawn = panel(figure, "x2", "y2")
    assert {trace.type for trace in drawn} == {"scattergl"}
    numbers = [number for trace in drawn for number in trace.customdata]
    assert len(numbers) == 24_000 // 16
    assert {point.number for point in info.front} <= set(numbers)
    assert " trials drawn: the front, others at random" in " · ".join(figure.layout.meta["facts"])
