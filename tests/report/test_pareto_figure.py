"""The figure `pareto`, by values: what it reads, where its marks stand, what its texts say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import facts, traces
from example_ablations import NOTHING, estimate, example_ablation, scored_arm
from example_records import example_record, example_row, example_scores
from example_sources import (
    curved_record,
    draw_front,
    sloped_scores,
    usual_record,
    usual_rows,
)

from ablate.ablation.cell import Arm, Design
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.info import ArmInfo
from ablate.ablation.study_source import StudySource
from ablate.errors import ParameterError
from ablate.ledger.record import Failure, StudyRecord
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet
from ablate.report.figures.figure import FigureOptions
from ablate.report.figures.pareto import FIGURE, FrontsInfo
from ablate.report.style import terms_look
from ablate.study.settings import ObjectiveSettings

ROWS = [
    example_row(0, (0.94, 0.70), scores=example_scores(0.94, 0.70)),
    example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", "loss.st.weight": 0.25}),
    example_row(2, (0.92, 0.65), params={"loss.terms": "clean+fma"}),
    example_row(3, None, state="FAIL", failure=Failure("raised", "boom")),
]
CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
UP = ObjectiveSettings(metric=CLEAN)
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


def info_of(*records: StudyRecord, **options: Any) -> FrontsInfo:
    found = FIGURE.info([StudySource(one) for one in records], FigureOptions(**options))
    assert isinstance(found, FrontsInfo)
    return found


def draw(*records: StudyRecord, sheet: Sheet = COLUMN, **options: Any) -> Any:
    return FIGURE.draw(info_of(*records, **options), sheet)


def line(trace: Any) -> list[tuple[float, float]]:
    return list(zip(trace.x, trace.y, strict=True))


# -- One search


def test_the_front_is_a_staircase_to_the_edges_of_the_axes() -> None:
    figure = draw_front(example_record(ROWS))
    (front,) = traces(figure, "Front")
    (left, right), (foot, head) = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert line(front) == [
        (left, 0.80), (0.90, 0.80), (0.90, 0.70), (0.94, 0.70), (0.94, foot),
    ]  # fmt: skip
    assert (left < 0.90, right > 0.96, foot < 0.60, head > 0.80) == (True,) * 4
    assert figure.layout.xaxis.title.text == "Clean accuracy (validation)"


def test_colours_say_terms_and_a_dominated_trial_is_faint() -> None:
    figure = draw_front(example_record([*ROWS, replace(ROWS[2], number=4)]))
    faint, front = traces(figure, "FMA")
    (st,) = traces(figure, "ST")
    assert (line(front), line(faint)) == ([(0.94, 0.70)], [(0.92, 0.65)] * 2)
    assert front.marker.color == terms_look("clean+fma").color != faint.marker.color
    assert front.marker.symbol == faint.marker.symbol != st.marker.symbol
    assert (front.name, front.showlegend, faint.showlegend) == ("FMA (3)", True, False)
    assert list(faint.customdata) == [2, 4]


def test_the_numbers_of_a_short_front_stand_where_the_front_leaves_room() -> None:
    (front,) = traces(draw_front(example_record(ROWS[:1])), "FMA")
    assert (front.text, front.textposition) == (("0",), "top right")
    scores = [(0.93 + at / 1e3, 0.8 - at / 1e3) for at in range(13)]
    many = [example_row(at, one, scores=example_scores(*one)) for at, one in enumerate(scores)]
    (front,) = traces(draw_front(example_record(many)), "FMA")
    assert [text for text in front.text if text] == ["10"], "of a long front that of the title"


def test_the_title_is_what_the_named_trial_gains_and_loses() -> None:
    layout = draw_front(usual_record()).layout
    assert layout.title.text == "<b>Trial 26: +11.7 robust for -0.8 clean</b>"
    assert layout.title.subtitle.text == "24 of 30 trials complete · digits, resnet8"
    bare = draw_front(replace(usual_record(), references={})).layout.title.text
    assert bare == "<b>Front of example</b>"


def test_the_caption_has_what_the_numbers_stand_on() -> None:
    figure = draw_front(example_record(ROWS))
    assert facts(figure) == (
        "3 of 16 trials complete · digits, resnet8 · validation, n = 359 images, single seed (0)"
        " · hypervolume 0.014, reference point (85.0, 60.0) · types trained on are "
        "among the scored: not comparable with methods that hold them out · faint: dominated"
    )
    assert (figure.layout.meta["fingerprint"], figure.layout.meta["question"]) == (
        "abc123", "Which term buys more?",
    )  # fmt: skip


def test_references_are_marked_and_told() -> None:
    figure = draw_front(example_record(ROWS))
    (baseline,), (plain,) = traces(figure, "Before finetuning"), traces(figure, "Plain finetuning")
    assert line(baseline)[0] == pytest.approx((0.95, 0.60))
    assert "Robust accuracy: <b>61.0</b>" in plain.hovertext[0]
    upright, flat = figure.layout.shapes
    assert (upright.x0, upright.x1, flat.y0, flat.y1) == pytest.approx((0.95, 0.95, 0.60, 0.60))


def test_hover_has_values_and_every_parameter() -> None:
    odd = example_row(4, (0.91, 0.79), params={"<b>": "<script>"})
    figure = draw_front(example_record([*ROWS, odd]))
    hovered = {
        number: text.split("<br>")
        for trace in figure.data
        if trace.hovertext and trace.customdata is not None
        for number, text in zip(trace.customdata, trace.hovertext, strict=True)
    }
    values = ["Clean accuracy: <b>90.0</b>", "Robust accuracy: <b>80.0</b>"]
    assert hovered[1][:3] == ["<b>trial 1</b>", *values]
    assert "loss.st.weight: 0.25" in hovered[1]
    assert "&lt;b&gt;: &lt;script&gt;" in hovered[4]


@pytest.mark.parametrize("rows", [[], ROWS[3:]])
def test_without_a_complete_trial_the_references_stand_alone(rows: list) -> None:
    figure = draw_front(example_record(rows))
    assert [note.text for note in figure.layout.annotations] == ["no complete trial"]
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert shown == ["Before finetuning", "Plain finetuning"]
    bare = draw_front(example_record(references={}, reference_point=None)).layout
    assert bare.xaxis.range == bare.yaxis.range == (0, 1)


def test_a_collapsed_trial_is_outside_the_axes_and_counted() -> None:
    collapsed = example_row(4, (0.1, 0.1), params={"loss.terms": "clean+da"})
    odd = example_row(5, (math.nan, 0.9))
    figure = draw_front(example_record([*ROWS, collapsed, odd]))
    assert figure.layout.xaxis.range[0] > 0.8
    assert "trials outside the axes: 1" in facts(figure)
    assert "trials with a value that is not a number: 1" in facts(figure)


def test_a_minimised_objective_is_worse_at_its_upper_end() -> None:
    rows = [example_row(0, (30.0, 0.8)), example_row(1, (10.0, 0.7))]
    objectives = [("train_seconds", "minimize"), ("val_robust_accuracy", "maximize")]
    figure = draw_front(example_record(rows, objectives=objectives, reference_point=(60.0, 0.6)))
    (front,) = traces(figure, "Front")
    assert line(front)[0] == (figure.layout.xaxis.range[1], 0.8)
    assert line(front)[-1] == (10.0, figure.layout.yaxis.range[0])
    assert traces(figure, "Before finetuning") == [], "which has no seconds of finetuning"
    assert traces(figure, "FMA")[0].textposition == "top left"


def test_three_objectives_have_a_panel_a_pair() -> None:
    rows = [
        example_row(at, (*row.values, seconds))
        for at, (row, seconds) in enumerate(zip(ROWS[:3], (30.0, 20.0, 10.0), strict=True))
        if row.values
    ]
    three = [
        (UP.metric, "maximize"),
        ("val_robust_accuracy", "maximize"),
        (DOWN.metric, "minimize"),
    ]
    record = example_record(rows, objectives=three, reference_point=(0.85, 0.6, 60.0))
    figure = draw(record, sheet=WIDE)
    assert [trace.showlegend for trace in traces(figure, "Front")] == [False, False, True]
    (front, *_) = traces(figure, "Front")
    assert (0.92, 0.65) not in line(front), "on the front of all three, not of this plane"
    assert (0.92, 0.65) in [pair for one in traces(figure, "FMA") for pair in line(one)]
    small = draw(record, sheet=Sheet(434, 320))
    assert len(traces(small, "Front")) == 1
    assert "pairs of objectives not shown: 2" in facts(small)


def test_a_side_that_violates_a_constraint_is_shaded() -> None:
    rows = [
        example_row(at, pair, scores=example_scores(*pair))
        for at, pair in enumerate([(0.94, 0.70), (0.90, 0.90)])
    ]
    constraints = [{"metric": "val_clean_accuracy", "min": "baseline - 0.02"}]
    figure = draw_front(example_record(rows, constraints=constraints))
    shade = next(shape for shape in figure.layout.shapes if shape.fillcolor)
    assert (shade.x0, shade.x1) == pytest.approx((0.93, figure.layout.xaxis.range[0]))
    hollow = next(one for one in traces(figure, "FMA") if list(one.customdata) == [1])
    assert hollow.marker.symbol == "circle-open"
    assert "faint: dominated; hollow: violates a constraint" in facts(figure)


def test_networks_between_the_weights_stand_behind_the_front() -> None:
    (between,) = traces(draw_front(curved_record()), "Weights between")
    assert line(between)[0] == (0.95, 0.60)
    assert list(between.y)[1:4] == pytest.approx([0.70, 0.75, math.nan], nan_ok=True)


# -- Several searches


def test_several_studies_have_their_own_look_and_steps() -> None:
    other = example_record([example_row(0, (0.92, 0.78))], name="other <b>")
    figure = draw(example_record(ROWS), other)
    (one,) = [trace for trace in traces(figure, "example (3)") if trace.showlegend]
    (two,) = traces(figure, "other &lt;b&gt; (1)")
    assert (one.marker.color != two.marker.color, one.marker.symbol != two.marker.symbol) == (
        True,
    ) * 2
    steps = [trace for trace in figure.data if trace.mode == "lines"]
    assert [step.line.color for step in steps] == [one.marker.color, two.marker.color]
    assert steps[0].line.dash != steps[1].line.dash
    assert figure.layout.title.text == "<b>Fronts of example and other &lt;b&gt;</b>"
    assert figure.layout.meta["study"] == ["example", "other <b>"]
    assert facts(figure).startswith("4 of 32 trials complete")
    with pytest.raises(
        ParameterError, match=r"^studies in one figure must have the same objectives"
    ):
        info_of(example_record(), example_record(objectives=[("a", "maximize"), ("b", "maximize")]))


def test_baselines_that_differ_are_not_drawn() -> None:
    other = replace(example_record(ROWS), references={"baseline": sloped_scores(0.9, 0.5)})
    figure = draw(example_record(ROWS), other)
    assert (traces(figure, "Before finetuning"), len(traces(figure, "Plain finetuning"))) == ([], 1)


# -- Confirmed trials, and arms


def confirmed(*arms: ArmInfo) -> ConfirmInfo:
    points = [
        ConfirmedPoint(arm.name, (), {}, {}, {}) for arm in arms if arm.name.startswith("trial")
    ]
    info = example_ablation(arms=arms, split="test")
    return ConfirmInfo(info, info, tuple(points))


def on_test(name: str, clean: Any, robust: Any, **more: Any) -> ArmInfo:
    found = {"test_clean_accuracy": clean, "test_robust_accuracy": robust}
    return ArmInfo(name, (name,), found, {}, **more)


def test_confirmed_means_have_the_axes_of_the_test_images() -> None:
    arms = (
        on_test("trial 0", estimate(0.93, 0.01), estimate(0.65, 0.02)),
        on_test("trial 1", estimate(0.92, None), estimate(0.75, None)),
        on_test("trial 2", NOTHING, NOTHING),
        on_test("DA combined", estimate(0.91, 0.01), estimate(0.6, 0.01)),
    )
    baseline = replace(example_scores(0.94, 0.58), split="test")
    confirming = replace(example_record(), test_references={"baseline": baseline})
    source = StudySource(example_record(ROWS), None, confirmed(*arms), confirming)
    info = FIGURE.info([source])
    assert isinstance(info, FrontsInfo)
    figure = FIGURE.draw(info, COLUMN)
    assert figure.layout.xaxis.title.text == "Clean accuracy (test)"
    (fma,), (st,) = traces(figure, "FMA"), traces(figure, "ST")
    assert (line(fma), list(fma.customdata), fma.text) == ([(0.93, 0.65)], [0], ("0",))
    assert fma.error_x.array == pytest.approx((0.01,))
    assert fma.error_y.arrayminus == pytest.approx((0.02,))
    assert st.error_x.array == (0,)
    assert "Clean accuracy: <b>93.0</b>, 92.0 to 94.0" in fma.hovertext[0]
    assert not any((0.90, 0.80) in line(trace) for trace in figure.data), "on validation images"
    (front,) = traces(figure, "Front")
    assert line(front)[1:-1] == [(0.92, 0.75), (0.92, 0.65), (0.93, 0.65)]
    assert line(traces(figure, "Before finetuning")[0]) == [(0.94, pytest.approx(0.58))]
    assert line(traces(figure, "DA+CA")[0]) == [(0.91, 0.6)]
    assert "axes: test images" in facts(figure)
    assert figure.layout.title.text == "<b>Trial 0: +7.0 robust for -1.0 clean (test)</b>"
    means = info.frame().query("mark == 'mean'").set_index("number")
    assert means.loc[0, "test_clean_accuracy.low"] == pytest.approx(0.92)
    assert means["val_clean_accuracy"].isna().all()


def test_an_ablation_has_its_arms() -> None:
    design = Design("arms", (), (Arm("a", ("a",)), Arm("b", ("b",))), ()).to_json()
    arms = (scored_arm("a", 0.90, 0.6), scored_arm("b", 0.80, 0.7))
    source = StudySource(replace(example_record(), design=design), example_ablation(arms=arms))
    info = FIGURE.info([source])
    assert isinstance(info, FrontsInfo)
    values = info.frame()[["name", CLEAN, ROBUST]].to_numpy().tolist()
    assert values == [["a", 0.9, 0.6], ["b", 0.8, 0.7]]
    title = FIGURE.draw(info, COLUMN).layout.title.text
    assert title == "<b>What does robustness cost? Arms of example</b>"


@pytest.mark.slow
def test_ten_thousand_trials_are_light() -> None:
    few = [(row, *row.values) for row in usual_rows(250) if row.values]
    rows = [
        replace(row, number=row.number + 250 * copy, values=(clean, robust - copy / 1000))
        for copy in range(50)
        for row, clean, robust in few
    ]
    figure = draw(replace(usual_record(1), rows=tuple(rows), trials=len(rows)))
    assert len(figure.to_json()) < 500_000
    dominated = [trace for trace in figure.data if trace.type == "scattergl"]
    by_number = {row.number: row.values for row in rows}
    one = dominated[0]
    assert by_number[int(one.customdata[7])] == pytest.approx((one.x[7], one.y[7]), abs=1e-6)
    assert one.x.dtype == np.float32
