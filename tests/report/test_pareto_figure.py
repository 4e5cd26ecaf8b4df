"""The Pareto figure's traces, by values."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_figures import traces
from example_records import example_record, example_row, example_scores
from example_sources import draw_front

from ablate.analysis.fronts import fronts_info
from ablate.analysis.pareto import pareto_info
from ablate.ledger.record import Failure, Rung, StudyRecord
from ablate.report.figures.pareto import plot_fronts
from ablate.report.figures.parts.names import sides_of_names
from ablate.report.figures.parts.window import joint_window
from ablate.report.page.content import trials_of
from ablate.report.write import write_figure
from ablate.study.scores import ReportedScores

ROWS = [
    example_row(0, (0.94, 0.70), scores=example_scores(0.94, 0.70)),
    example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", "loss.st.weight": 0.25}),
    example_row(2, (0.92, 0.65), params={"loss.terms": "clean+fma"}),
    example_row(3, None, state="FAIL", failure=Failure("raised", "boom")),
]
THREE = [
    ("val_clean_accuracy", "maximize"),
    ("val_robust_accuracy", "maximize"),
    ("train_seconds", "minimize"),
]


def draw(record: StudyRecord) -> Any:
    return draw_front(pareto_info(record))


def test_the_front_is_a_staircase_to_the_edges_of_the_axes() -> None:
    figure = draw(example_record(ROWS))
    (front,) = traces(figure, "Front")
    left, right = figure.layout.xaxis.range
    foot, head = figure.layout.yaxis.range
    assert list(zip(front.x, front.y, strict=True)) == [
        (left, 0.80), (0.90, 0.80), (0.90, 0.70), (0.94, 0.70), (0.94, foot),
    ]  # fmt: skip
    assert left < 0.90
    assert right > 0.96
    assert foot < 0.60
    assert head > 0.80


def test_colours_say_terms_and_faint_says_dominated() -> None:
    figure = draw(example_record(ROWS))
    dominated, front = traces(figure, "clean+fma")
    (st,) = traces(figure, "clean+st")
    assert (list(front.x), list(front.y)) == ([0.94], [0.70])
    assert (list(dominated.x), list(dominated.y)) == ([0.92], [0.65])
    assert front.marker.color == dominated.marker.color != st.marker.color
    assert front.marker.symbol != st.marker.symbol
    assert dominated.marker.opacity < front.marker.opacity == 1
    assert (front.name, front.showlegend, dominated.showlegend) == ("clean+fma (2)", True, False)


def test_a_short_front_has_its_numbers_beside_it() -> None:
    front = traces(draw(example_record(ROWS)), "clean+fma")[1]
    assert (front.mode, list(front.text)) == ("markers+text", ["0"])
    many = [example_row(at, (0.9 + at / 1000, 0.8 - at / 1000)) for at in range(13)]
    (front,) = traces(draw(example_record(many)), "clean+fma")
    assert front.mode == "markers"


def test_the_order_of_terms_does_not_change_their_colour() -> None:
    rows = [
        example_row(0, (0.9, 0.7), params={"loss.terms": "clean+fma"}),
        example_row(1, (0.8, 0.8), params={"loss.terms": "fma+clean"}),
    ]
    (together,) = traces(draw(example_record(rows)), "clean+fma")
    assert len(together.x) == 2


def test_references_are_marked_and_named() -> None:
    figure = draw(example_record(ROWS))
    (baseline,), (plain,) = traces(figure, "Baseline"), traces(figure, "Plain finetune")
    assert (baseline.x[0], baseline.y[0]) == pytest.approx((0.95, 0.60))
    assert (plain.x[0], plain.y[0]) == pytest.approx((0.96, 0.61))
    assert baseline.showlegend
    assert plain.showlegend
    assert "Robust accuracy: <b>61.0</b> (+1.0 against the baseline)" in plain.hovertext[0]
    upright, flat = figure.layout.shapes
    assert (upright.x0, upright.x1, flat.y0, flat.y1) == pytest.approx((0.95, 0.95, 0.60, 0.60))


def test_a_copy_is_said_to_be_one() -> None:
    copy = replace(example_row(4, (0.90, 0.80), params=dict(ROWS[1].params)), copy_of=1)
    record = example_record([*ROWS, copy])
    hovered = [text for trace in traces(draw(record), "clean+st") for text in trace.hovertext or ()]
    assert [text.partition("<br>")[0] for text in hovered] == [
        "<b>Trial 1</b>, on the front",
        "<b>Trial 4</b>, on the front, copy of trial 1",
    ]
    mark = "1 of 4 complete trials is a copy of another: same parameters, not run again"
    assert mark in pareto_info(record).marks
    columns = {str(column["heading"]) for column in trials_of(record).columns}
    assert "Copy of" in columns


def test_hover_has_every_parameter_and_score() -> None:
    figure = draw(example_record(ROWS))
    (st,) = traces(figure, "clean+st")
    assert "loss.st.weight: 0.25" in st.hovertext[0]
    lines = traces(figure, "clean+fma")[1].hovertext[0].split("<br>")
    assert lines[:3] == [
        "<b>Trial 0</b>, on the front",
        "Clean accuracy: <b>94.0</b> (-1.0 against the baseline)",
        "Robust accuracy: <b>70.0</b> (+10.0 against the baseline)",
    ]
    assert "Robust accuracy, unseen families: 80.0" in lines
    assert "<b>noise: 60.0</b>" in lines
    assert "  gaussian_blur: 80.0 = mean of 85.0 / 80.0 / 75.0 (severity 1 / 3 / 5)" in lines
    assert (
        "  impulse_noise: 60.0 = mean of 65.0 / 60.0 / 55.0 (severity 1 / 3 / 5, trained on)"
        in lines
    )
    assert "trained in 20 s" in lines


def test_title_and_facts() -> None:
    layout = draw(example_record(ROWS)).layout
    assert layout.title.text == "<b>Pareto front of example</b>"
    assert layout.title.subtitle.text == "3 of 16 trials complete · digits, resnet8"
    assert layout.meta["question"] == "Which term buys more?"
    facts = " · ".join(layout.meta["facts"])
    assert facts == (
        "3 of 16 trials complete · digits, resnet8 · validation, n = 359 images, single seed (0)"
        " · hypervolume 0.014, reference point (85.0, 60.0) · types trained on are "
        "among the scored: not comparable with methods that hold them out · faint: dominated"
    )
    assert layout.xaxis.title.text == "Clean accuracy (validation)"
    assert layout.xaxis.tickformat == ".3~%"
    assert layout.meta["fingerprint"] == "abc123"


def test_what_the_author_wrote_is_shown_as_it_is() -> None:
    rows = [example_row(0, (0.9, 0.7), params={"loss.terms": "<b>x</b>", "a.b": "<script>"})]
    figure = draw(example_record(rows, name="a < b & <b>"))
    assert figure.layout.title.text == "<b>Pareto front of a &lt; b &amp; &lt;b&gt;</b>"
    (point,) = [trace for trace in figure.data if trace.legendgroup == "<b>x</b>"]
    assert point.name == "&lt;b&gt;x&lt;/b&gt; (1)"
    assert "a.b: &lt;script&gt;" in point.hovertext[0]


@pytest.mark.parametrize("rows", [[], ROWS[3:]])
def test_without_a_complete_trial(rows: list) -> None:
    figure = draw(example_record(rows))
    assert [note.text for note in figure.layout.annotations] == ["no complete trial"]
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "Baseline", "Plain finetune",
    ]  # fmt: skip
    assert "0 of 16 trials complete" in " · ".join(figure.layout.meta["facts"])


def test_with_nothing_at_all_the_axes_are_whole() -> None:
    figure = draw(example_record(references={}, reference_point=None))
    assert figure.layout.xaxis.range == figure.layout.yaxis.range == (0, 1)
    assert "hypervolume" not in " · ".join(figure.layout.meta["facts"])


def test_one_trial() -> None:
    figure = draw(example_record(ROWS[:1], references={}, reference_point=None))
    (front,) = traces(figure, "Front")
    assert len(front.x) == 3
    low, high = figure.layout.xaxis.range
    assert low < 0.94 < high
    # Two points of accuracy and the room beside them: equal values are not blown up.
    assert high - low == pytest.approx(0.02 * 1.12)


def test_ties_are_drawn_all() -> None:
    rows = [example_row(number, (0.9, 0.7)) for number in range(3)]
    figure = draw(example_record(rows))
    (front,) = traces(figure, "clean+fma")
    assert list(front.customdata) == [0, 1, 2]
    assert len(traces(figure, "Front")[0].x) == 3


def test_a_value_that_is_no_number_is_counted_over_the_figure() -> None:
    figure = draw(example_record([*ROWS, example_row(4, (math.nan, 0.9))]))
    assert "1 with a value that is not a number" in " · ".join(figure.layout.meta["facts"])
    assert len(traces(figure, "Front")[0].x) == 5


def test_a_collapsed_trial_does_not_press_the_rest_into_a_corner() -> None:
    collapsed = example_row(4, (0.1, 0.1))
    alone = example_row(5, (0.1, 0.1), params={"loss.terms": "clean+da"})
    record = example_record([*ROWS, collapsed])
    figure = draw(record)
    assert figure.layout.xaxis.range[0] > 0.8
    in_legend = [trace.name for trace in figure.data if trace.showlegend]
    assert "clean+fma (2)" in in_legend, "those inside the axes are counted"
    named = [trace.name for trace in draw(example_record([*ROWS, alone])).data if trace.showlegend]
    assert named == in_legend, "a set of which no mark is seen is not in the legend"
    assert "1 dominated trial outside the axes" in " · ".join(figure.layout.meta["facts"])
    window = joint_window([pareto_info(record)], 0)
    assert not window.contains(0.1)
    assert all(window.contains(value) for value in (0.90, 0.92, 0.94, 0.95, 0.96))


def test_the_worse_end_of_a_minimised_axis_is_its_upper_one() -> None:
    rows = [example_row(0, (30.0, 0.8)), example_row(1, (10.0, 0.7))]
    objectives = [("train_seconds", "minimize"), ("val_robust_accuracy", "maximize")]
    figure = draw(example_record(rows, objectives=objectives, reference_point=(60.0, 0.6)))
    (front,) = traces(figure, "Front")
    assert (front.x[0], front.y[0]) == (figure.layout.xaxis.range[1], 0.8)
    assert (front.x[-1], front.y[-1]) == (10.0, figure.layout.yaxis.range[0])
    # The baseline has no seconds of finetuning.
    assert traces(figure, "Baseline") == []
    assert figure.layout.xaxis.title.text == "Training time (s)"
    assert figure.layout.xaxis.tickformat is None


def test_three_objectives_have_a_panel_a_pair() -> None:
    rows = [
        example_row(0, (0.94, 0.70, 30.0)),
        example_row(1, (0.90, 0.80, 20.0)),
        example_row(2, (0.92, 0.65, 10.0)),
    ]
    record = example_record(rows, objectives=THREE, reference_point=(0.85, 0.6, 60.0))
    figure = draw(record)
    fronts = traces(figure, "Front")
    assert [trace.showlegend for trace in fronts] == [True, False, False]
    points = [trace for trace in traces(figure, "clean+fma") if trace.marker.opacity == 1]
    assert [(list(trace.x), list(trace.y)) for trace in points] == [
        ([0.94, 0.90, 0.92], [0.70, 0.80, 0.65]),
        ([0.94, 0.90, 0.92], [30.0, 20.0, 10.0]),
        ([0.70, 0.80, 0.65], [30.0, 20.0, 10.0]),
    ]
    # Off the front of the first plane, on the front of all three.
    assert (0.92, 0.65) not in list(zip(fronts[0].x, fronts[0].y, strict=True))
    titles = {axis.title.text for axis in figure.select_xaxes()}
    assert titles == {
        "Clean accuracy (validation)", "Robust accuracy (validation)", None,
    }  # fmt: skip


def own_loop(metrics: dict[str, str], values: list[tuple[float, ...]]) -> StudyRecord:
    """A study with a custom training loop, which reports an additional number."""
    rows = [
        example_row(
            number,
            row,
            params={"lr": 0.1 * number},
            scores=ReportedScores({**dict(zip(metrics, row, strict=True)), "<steps>": 12.0}),
        )
        for number, row in enumerate(values)
    ]
    return example_record(
        rows,
        objectives=list(metrics.items()),
        references={},
        reference_point=None,
        question="",
        trainable="my_loop:train",
    )


def test_free_metrics_are_plain_numbers() -> None:
    metrics = {"accuracy": "maximize", "val_loss": "minimize"}
    figure = draw(own_loop(metrics, [(90.5, 0.25), (80.0, 0.125), (70.0, 0.5)]))
    assert figure.layout.xaxis.title.text == "accuracy"
    assert figure.layout.yaxis.title.text == "val_loss"
    assert figure.layout.xaxis.tickformat is None
    dominated, front = traces(figure, "Trials")
    assert (list(front.x), list(front.y)) == ([90.5, 80.0], [0.25, 0.125])
    assert (front.name, list(dominated.customdata)) == ("Trials (2)", [2])
    assert front.marker.symbol == "circle"
    assert front.hovertext[0].split("<br>") == [
        "<b>Trial 0</b>, on the front",
        "accuracy: <b>90.5</b>",
        "val_loss: <b>0.25</b>",
        "",
        "lr: 0",
        "",
        "&lt;steps&gt;: 12",
    ]
    facts = " · ".join(figure.layout.meta["facts"])
    assert facts == (
        "3 of 16 trials complete · my_loop:train · single seed (0) · faint: dominated · "
        "1 dominated trial outside the axes"
    )


def test_three_free_metrics_have_a_panel_a_pair() -> None:
    metrics = {"loss": "minimize", "latency": "minimize", "energy": "minimize"}
    figure = draw(own_loop(metrics, [(0.5, 3.0, 2e6), (0.25, 4.0, 3e6), (0.75, 2.0, 1e6)]))
    assert len(traces(figure, "Front")) == 3
    titles = {axis.title.text for axis in [*figure.select_xaxes(), *figure.select_yaxes()]}
    assert titles == {"loss", "latency", "energy", None}


def test_a_figure_of_free_metrics_is_drawn(chromium_path: str, tmp_path: Path) -> None:
    for count in (2, 3):
        metrics = dict.fromkeys(("loss", "latency", "energy")[:count], "minimize")
        values = [(0.5, 3.0, 2e6), (0.25, 4.0, 3e6), (0.75, 2.0, 1e6)]
        image = tmp_path / f"{count}.png"
        write_figure(draw(own_loop(metrics, [row[:count] for row in values])), image)
        assert image.stat().st_size > 20_000


def test_equal_trials_of_the_front_have_one_label() -> None:
    other_terms = example_row(4, (0.94, 0.70), params={"loss.terms": "clean+da"})
    rows = [other_terms, example_row(2, (0.94, 0.70)), example_row(3, (0.90, 0.75))]
    figure = draw(example_record(rows))
    texts = [list(trace.text) for trace in figure.data if trace.mode == "markers+text"]
    assert sorted(text for of_trace in texts for text in of_trace) == ["", "2, 4", "3"]


def test_numbers_of_close_trials_are_on_different_sides() -> None:
    values = [(0.940, 0.700), (0.939, 0.701), (0.90, 0.80), (0.85, 0.85)]
    figure = draw(example_record([example_row(10 + at, one) for at, one in enumerate(values)]))
    (front,) = [trace for trace in figure.data if trace.mode == "markers+text"]
    sides = dict(zip(front.text, front.textposition, strict=True))
    assert sides["10"] != sides["11"]
    assert sides["12"] == sides["13"] == "top right"


def test_a_name_covers_no_other_name_and_no_mark() -> None:
    assert sides_of_names([(0, 0), (100, 100)], ["1", "2"]) == ["top right", "top right"]
    assert sides_of_names([(0, 0), (2, 0)], ["1", "2"]) == ["bottom left", "top right"]
    assert sides_of_names([(0, 0), (12, 12)], ["1", ""]) == ["bottom left", "top right"]
    assert sides_of_names([(0, 0)], ["1"], [(12, 12), (-12, -12)]) == ["top left"]


def test_stopped_trials_are_small_rings_only_where_asked() -> None:
    scores = {"val_clean_accuracy": 0.93, "val_robust_accuracy": 0.66}
    rungs = [Rung(3, scores, True, 1)]
    few = [Rung(1, scores, True, 2, images=50)]
    rows = [
        *ROWS,
        example_row(90, None, state="PRUNED", rungs=rungs),
        example_row(91, None, state="PRUNED", rungs=few),
    ]
    record = example_record(rows)
    figure = plot_fronts(fronts_info([record], [()], rungs=True))
    accuracies = (0.52, 0.51, 0.50, 0.49, 0.48, 0.1)  # of which the last collapsed
    earlier = [
        example_row(
            92 + at, None, state="PRUNED", rungs=[Rung(3, dict.fromkeys(scores, one), True, 1)]
        )
        for at, one in enumerate(accuracies)
    ]
    with_far = plot_fronts(fronts_info([example_record([*rows, *earlier])], [()], rungs=True))
    assert len(traces(with_far, "Stopped at a rung (6)")[0].x) == 7
    assert 0.1 < with_far.layout.xaxis.range[0] < 0.48
    assert "1 stopped trial outside the axes" in with_far.layout.meta["facts"]
    more = [example_row(80 + at, (0.93, 0.66)) for at in range(8)]
    two = example_record([*rows[:-1], *more, *earlier[-2:]])
    with_two = plot_fronts(fronts_info([two], [()], rungs=True))
    assert with_two.layout.xaxis.range[0] == pytest.approx(figure.layout.xaxis.range[0])
    assert "2 stopped trials outside the axes" in with_two.layout.meta["facts"]
    (rings,) = traces(figure, "Stopped at a rung (1)")
    assert (list(rings.x), list(rings.y), list(rings.customdata)) == ([0.93], [0.66], [90])
    assert rings.hovertext[0] == (
        "trial 90, stopped after epoch 3: clean accuracy 93.0, robust accuracy 66.0"
    )
    facts = " · ".join(figure.layout.meta["facts"])
    assert "rings: stopped trials as they were after epoch 3, on no front" in facts
    assert "1 stopped trial not drawn: scored there on fewer images" in facts
    usual = draw(record)
    assert not traces(usual, "Stopped")
    for one, other in zip(traces(figure, "Front"), traces(usual, "Front"), strict=True):
        assert (list(one.x), list(one.y)) == (list(other.x), list(other.y))
    unstopped = plot_fronts(fronts_info([example_record(ROWS)], [()], rungs=True))
    assert "no trial was stopped at a rung" in " · ".join(unstopped.layout.meta["facts"])


def test_a_trial_without_a_clean_term_that_violates_a_constraint_is_an_outline() -> None:
    """Its mark has a dot: plotly's name of the outline is circle-open-dot."""
    rows = [
        example_row(at, values, scores=example_scores(*values), params={"loss.terms": terms})
        for at, (values, terms) in enumerate([((0.94, 0.7), "fma"), ((0.9, 0.75), "fma")])
    ]
    constraints = [{"metric": "val_clean_accuracy", "min": 0.92}]
    figure = draw(example_record(rows, constraints=constraints))
    symbols = [
        symbol
        for trace in figure.data
        if trace.legendgroup == "fma" and trace.x[0] is not None
        for symbol in np.atleast_1d(trace.marker.symbol)
    ]
    assert sorted(symbols) == ["circle-dot", "circle-open-dot"]


def test_the_side_of_an_axis_that_violates_a_constraint_is_shaded() -> None:
    rows = [
        example_row(number, values, scores=example_scores(*values))
        for number, values in enumerate([(0.94, 0.70), (0.91, 0.75), (0.93, 0.65)])
    ]
    constraints = [{"metric": "val_clean_accuracy", "min": "baseline - 0.02"}]
    figure = draw(example_record(rows, constraints=constraints))
    (shade,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    low, high = figure.layout.xaxis.range
    assert (shade.x0, shade.x1) == (pytest.approx(0.93), low)
    assert low < 0.91
    assert high > 0.94
    (faint,) = [
        trace
        for trace in figure.data
        if trace.legendgroup == "clean+fma" and 1 in list(trace.customdata)
    ]
    assert list(faint.customdata) == [1, 2]
    assert [symbol.endswith("-open") for symbol in faint.marker.symbol] == [True, False]
    assert "violates a constraint" in faint.hovertext[0]
    assert "open: violates a constraint" in " · ".join(figure.layout.meta["facts"])
    assert list(traces(figure, "Front")[0].y)[:2] == [0.70, 0.70]

    for least, is_inside in ((0.93, True), (0.5, False)):  # a limit that all trials keep
        limits = [{"metric": "val_clean_accuracy", "min": least}]
        kept = draw(example_record(rows[::2], constraints=limits))
        shades = [shape.x0 for shape in kept.layout.shapes if shape.type == "rect"]
        assert shades == [least] * is_inside
