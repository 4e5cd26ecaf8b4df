"""The figures of an ablation: what is drawn where, by values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from drawn_figures import facts
from example_ablations import (
    CLEAN,
    ROBUST,
    estimate,
    example_ablation,
    example_arm,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
    scored_arm,
)
from example_sources import ablation_source

from ablate.ablation.designs.factorial import Crossing
from ablate.ablation.effects import Verdict
from ablate.ablation.figure_infos import ArmsInfo, interactions_info
from ablate.ablation.info import AblationInfo
from ablate.errors import NothingToDrawError, ParameterError
from ablate.report.figures import find_figure
from ablate.report.figures.arms import plot_arms
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.figure import FigureOptions
from ablate.report.figures.interactions import plot_interactions
from ablate.report.style import DIVERGING, INK, PAPER, terms_style


def draw(name: str, info: AblationInfo, objective: str = "") -> Any:
    kind = find_figure(name)
    return kind.draw(kind.info([ablation_source(info)], FigureOptions(objective=objective)), COLUMN)


def traces(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def said(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


# -- effects --------------------------------------------------------------------------------


def test_claims_are_filled_and_exploratory_effects_hollow() -> None:
    figure = draw("effects", example_ablation())
    (better,) = traces(figure, "Primary: better")
    assert list(better.x) == pytest.approx([16.3])  # points, in the panel of robust accuracy
    assert better.error_x.array[0] == better.error_x.arrayminus[0] == pytest.approx(2.0)
    assert better.marker.color == DIVERGING[2][1]
    (not_shown,) = traces(figure, "Primary: not shown")
    assert not_shown.marker.color == INK
    of_robust, of_clean = traces(figure, "Exploratory, no claim")
    assert of_clean.marker.color == of_robust.marker.color == PAPER
    assert list(of_clean.x) == pytest.approx([-0.5, -2.0, -1.0])
    assert [of_robust.showlegend, of_clean.showlegend] == [True, False]
    # Robust first, primary contrasts first, the largest gain first.
    names = ["<b>FMA - plain</b>", "<b>DA - plain</b>", "baseline - plain"]
    assert said(figure)[:6:2] == names
    assert figure.layout.xaxis.title.text == "Difference in robust accuracy (points, better →)"
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first is on top


def test_what_stands_at_the_edge_and_the_margin() -> None:
    figure = draw("effects", example_ablation())
    assert said(figure)[1::2] == [
        "+16.3 [+14.3, +18.3]<br>better, p .016",
        "+14.5 [+12.5, +16.5]<br>not shown, p .062",
        "-1.0 [-3.0, +1.0]",
        "-0.5 [-2.5, +1.5]<br>kept: yes (p .0039)",
        "-2.0 [-4.0, <0]<br>kept: not shown (bound -3.0)",
        "-1.0 [-3.0, +1.0]",
    ]
    (band,) = figure.layout.shapes
    assert (band.xref, band.x0, band.x1) == ("x2", -2.0, 0.0)
    assert figure.data[-1].name == "Loss within the margin"
    assert "adjusted: Holm over 2 primary contrasts" in facts(figure)


def test_of_one_seed_there_is_no_interval() -> None:
    effect = example_effect("FMA - plain", 0.1, None, n=1, p=1.0)
    nothing = replace(effect, contrast="DA - plain", estimate=estimate(math.nan, None))
    figure = draw("effects", example_ablation(seeds=1, effects=(effect, nothing)))
    (drawn,) = figure.data
    assert list(drawn.x) == pytest.approx([10.0])
    assert list(drawn.error_x.array) == [None]
    assert said(figure)[1] == "+10.0<br>1 seed: no interval"
    assert said(figure)[3].startswith("-")


def test_every_verdict_is_drawn_and_equal_seeds_are_told_from_one() -> None:
    verdicts = get_args(Verdict)
    effects = tuple(
        example_effect(
            f"{verdict} - plain",
            0.1,
            verdict=verdict,
            **({} if verdict == "exploratory" else {"p_adjusted": 0.01}),
        )
        for verdict in verdicts
    )
    figure = draw("effects", example_ablation(effects=effects))
    assert sum(len(trace.x) for trace in figure.data) == len(verdicts)
    equal = replace(effects[0], estimate=replace(estimate(0.1, None), sd=0.0, n=8))
    assert said(draw("effects", example_ablation(effects=(equal,))))[1] == (
        "+10.0<br>8 equal seeds: no interval<br>better, p .01"
    )


def test_long_names_are_broken_at_their_joints() -> None:
    names = ("combined_augmentations_2", "fma * combined_augmentations_2", "a" * 25)
    effects = tuple(example_effect(name, 0.1) for name in names)
    figure = draw("effects", example_ablation(effects=effects))
    assert said(figure)[::2] == [
        "combined_augmentations_<br>2",
        "fma *<br>combined_augmentations_<br>2",
        f"{'a' * 23}<br>{'a' * 2}",
    ]


def test_less_is_better_is_said_at_the_axis() -> None:
    figure = draw("effects", own_loop_ablation())
    assert figure.layout.xaxis.title.text == "Difference in loss (← better)"
    assert figure.layout.xaxis2.title.text == "Difference in images/s (better →)"
    assert list(figure.data[0].x) == [0.0013, 0.0788]


def test_another_metric_is_asked_for_by_its_heading() -> None:
    figure = draw("effects", example_ablation(), "noise")
    (drawn,) = figure.data
    assert list(drawn.x) == pytest.approx([16.3])
    assert figure.layout.xaxis.title.text == "Difference in accuracy, noise (points, better →)"
    rule = r"^--objective: must be one of clean, robust, noise, blur, got nose\. Did you mean noise"
    with pytest.raises(ParameterError, match=rule):
        draw("effects", example_ablation(), "nose")


def test_of_very_many_effects_the_exploratory_ones_are_cut() -> None:
    effects = tuple(
        example_effect(f"a contrast with a name of several lines, {at}", 0.1, metric=metric)
        for at in range(80)
        for metric in (CLEAN, ROBUST)
    )
    claim = example_effect("last", 0.1, p_adjusted=0.01, verdict="better")
    figure = draw("effects", example_ablation(effects=(*effects, claim)))
    width, height = figure.layout.meta["image_pixels"]
    assert width == 900
    assert height <= 3000
    shown = sum(len(trace.x) for trace in figure.data)
    assert f"{161 - shown} exploratory effects not shown, for want of room" in facts(figure)
    assert len(traces(figure, "Primary: better")) == 1


# -- interactions ---------------------------------------------------------------------------


def test_lines_of_an_interaction_are_named_at_their_ends() -> None:
    means = tuple(tuple(estimate(one) for one in line) for line in ((0.5, 0.6), (0.7, 0.705)))
    crossing = Crossing(
        "loss.fma.weight", "st", ("0.3", "3"), ("without", "with"), means, ("fma * st",)
    )
    ablation = factorial_ablation()
    info = interactions_info(ablation_source(ablation).record, ablation, ROBUST)
    assert info is not None
    figure = plot_interactions(replace(info, crossings=(crossing,)))
    without, with_st = [trace for trace in figure.data if trace.xaxis == "x2"]
    assert (list(without.y), list(with_st.y)) == ([0.5, 0.7], [0.6, 0.705])
    assert figure.layout.xaxis2.ticktext == ("0.3", "3")
    assert figure.layout.xaxis2.title.text == "loss.fma.weight"
    lower, upper = figure.layout.annotations[-2:]
    assert (lower.text, lower.y, upper.text, upper.y) == ("without st", 0.7, "with st", 0.705)
    # Ends that nearly meet: the names stand apart.
    low, high = figure.layout.yaxis2.range
    assert upper.ay - lower.ay > 0.08 * (high - low)
    assert said(figure)[:6:2] == ["<b>fma</b>", "<b>st</b>", "<b>fma * st</b>"]


def test_an_ablation_without_interactions_has_none_to_draw() -> None:
    rule = (
        r"^study example: figure interactions needs main effects and interactions, got design arms "
        r"without\. Write design: factorial, or draw effects\.$"
    )
    with pytest.raises(NothingToDrawError, match=rule):
        draw("interactions", example_ablation())


# -- arms -----------------------------------------------------------------------------------


def test_an_arm_is_a_mark_with_its_interval_on_an_axis_of_the_differences() -> None:
    terms = ("", "clean", "clean+da", "clean+da")
    figure = plot_arms(ArmsInfo(example_ablation(), (ROBUST, CLEAN), terms))
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert [trace.x[0] for trace in marks] == [0.610, 0.755, 0.773, 0.960, 0.935, 0.955]
    plain, first, second = marks[:3]
    assert list(plain.error_x.array) == pytest.approx([0.01])
    color = terms_style("clean+da").color
    # The same terms: filled and hollow.
    assert (first.marker.color, second.marker.color) == (color, PAPER)
    assert first.marker.line.color == second.marker.line.color == color
    low, high = figure.layout.xaxis.range
    assert 0.5 < low < 0.60
    assert high < 0.85
    of_robust, of_clean = traces(figure, "Baseline")
    assert (set(of_robust.x), set(of_clean.x)) == ({0.60}, {0.95})
    assert "dotted: baseline, robust 60.0, clean 95.0" in facts(figure)
    assert said(figure)[4:6] == ["<b>FMA</b>", "77.3 % [76.3, 78.3]<br>clean+da"]


def test_a_baseline_far_from_all_arms_stands_in_the_title_of_the_axis() -> None:
    arms = tuple(
        replace(scored_arm(name, clean, robust), is_one_network=name == "baseline")
        for name, clean, robust in (
            ("baseline", 0.95, 0.43),
            ("DA", 0.93, 0.65),
            ("ST", 0.94, 0.68),
        )
    )
    figure = plot_arms(ArmsInfo(example_ablation(arms=arms), (ROBUST, CLEAN), ("", "a", "b")))
    assert figure.layout.xaxis.range[0] > 0.6
    assert figure.layout.xaxis.title.text.endswith("; baseline: 43.0 %")
    (of_clean,) = traces(figure, "Baseline")
    assert of_clean.xaxis == "x2"


def test_any_other_metric_has_a_panel_of_its_own() -> None:
    figure = draw("arms", own_loop_ablation())
    axes = {trace.xaxis: figure.layout["xaxis" + trace.xaxis[1:]] for trace in figure.data}
    assert {axis.title.text for axis in axes.values()} == {"loss (less is better)", "images/s"}
    speed = next(name for name, axis in axes.items() if axis.title.text == "images/s")
    marks = [one for one in figure.data if one.xaxis == speed and one.mode == "markers"]
    assert [one.x[0] for one in marks] == [1250.0, 1300.0, None]  # nothing is known of the third


def test_missing_runs_are_said_and_names_are_shown_as_they_are() -> None:
    arms = (
        scored_arm("<b>plain", 0.9, 0.6, "seed 3 (raised)", n=7),
        example_arm("DA", {CLEAN: estimate(0.9)}),
    )
    figure = draw("arms", example_ablation(arms=arms), "robust")
    name, value = said(figure)[:2]
    assert name == "<b>&lt;b&gt;plain</b>"
    assert value.endswith("n = 7, 1 failed")
    assert [trace.x[0] for trace in figure.data if trace.mode == "markers"] == [0.6, None]
