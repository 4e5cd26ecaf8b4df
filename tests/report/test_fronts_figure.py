"""Several fronts in one plane, the knee, what was confirmed, and very many trials."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import traces
from example_ablations import NOTHING, estimate, example_ablation, example_arm
from example_records import example_record, example_row
from example_sources import draw_front, sloped_scores, usual_record, usual_rows

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.fronts import ConfirmedMean, fronts_info
from ablate.analysis.pareto import pareto_info
from ablate.report.figures.pareto import FIGURE
from ablate.report.figures.parts.canvas import several_title, study_labels

ROWS = [
    example_row(0, (0.94, 0.70)),
    example_row(1, (0.93, 0.79)),
    example_row(2, (0.90, 0.80)),
    example_row(3, (0.89, 0.65)),
]
CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"


def confirmed(*arms: tuple[int, Any, Any]) -> ConfirmInfo:
    """Of trials: number, estimates of clean and robust accuracy on validation."""
    info = example_ablation(
        arms=tuple(
            example_arm(f"trial {number}", {CLEAN: clean, ROBUST: robust})
            for number, clean, robust in arms
        )
    )
    points = [
        ConfirmedPoint(f"trial {arm[0]}", (), {}, {}, {}, {}, {}, {}, (), 0.5) for arm in arms
    ]
    return ConfirmInfo(
        test=info, validation=info, points=tuple(points), objectives=(), compare=lambda *_: NOTHING
    )


NAN = (math.nan, math.nan)
SCALES = ("1 image", "1 seed (sd)")


def draw(*sources: StudySource) -> Any:
    return FIGURE.draw(FIGURE.info(sources))


def facts(figure: Any) -> list[str]:
    return " · ".join(figure.layout.meta["facts"]).split(" · ")


def test_a_ring_is_round_the_knee() -> None:
    figure = draw_front(pareto_info(example_record(ROWS)))
    (ring,) = traces(figure, "Knee (trial 1)")
    assert (ring.x[0], ring.y[0], ring.customdata[0]) == (0.93, 0.79, 1)
    assert traces(draw_front(pareto_info(example_record(ROWS[:2]))), "Knee") == []


def test_confirmed_means_are_numbered_and_joined_to_what_was_selected() -> None:
    source = StudySource(
        example_record(ROWS),
        confirmation=confirmed(
            (0, estimate(0.95, 0.01), estimate(0.65, 0.02)),
            (1, estimate(0.92, None), estimate(0.75, None)),
            (2, NOTHING, NOTHING),
        ),
    )
    figure = draw(source)
    (crosses,) = traces(figure, "Confirmed mean")
    assert (list(crosses.x), list(crosses.y)) == ([0.95, 0.92], [0.65, 0.75])
    assert list(crosses.customdata) == [0, 1]
    assert list(crosses.text) == ["0", "1"]
    (front,) = [one for one in traces(figure, "clean+fma") if one.marker.opacity == 1]
    assert crosses.marker.size == front.marker.size
    assert crosses.marker.symbol == front.marker.symbol
    assert [one.name for one in figure.data if one.name in SCALES] == list(SCALES)
    assert crosses.error_x.array == pytest.approx((0.01, 0.0))
    assert crosses.error_y.arrayminus == pytest.approx((0.02, 0.0))
    joined = figure.data[list(figure.data).index(crosses) - 1]
    assert list(joined.x) == [0.94, 0.95, None, 0.93, 0.92, None]
    assert list(joined.y) == [0.70, 0.65, None, 0.79, 0.75, None]
    first, second = crosses.hovertext
    assert "Clean accuracy: <b>95.0</b> (0.0 against the baseline), 94.0 to 96.0" in first
    assert second.endswith("(+15.0 against the baseline)")
    assert facts(figure)[-1] == (
        "white marks: mean of 1 to 8 fresh seeds, 95 % t interval, joined to the selected value"
    )


def test_a_confirmed_mean_that_collapsed_stretches_neither_axes_nor_scale() -> None:
    worth = [(0.93, 0.78, 0.01), (0.94, 0.70, 0.01), (0.3, 0.1, 0.4)]
    means = [
        ConfirmedMean(at, (clean, robust), NAN, NAN, (sd, sd), 5)
        for at, (clean, robust, sd) in enumerate(worth)
    ]
    info = fronts_info([example_record(ROWS)], [means])
    assert info.one_seed(0) == pytest.approx(0.01)
    figure = FIGURE.draw(info)
    assert figure.layout.xaxis.range[0] > 0.6
    assert figure.layout.yaxis.range[0] > 0.3
    assert "1 confirmed mean outside the axes" in facts(figure)
    marked = [number for one in traces(figure, "Confirmed mean") for number in one.customdata]
    assert sorted(marked) == [0, 1]


def test_one_image_and_one_seed_are_as_long_as_they_are_worth() -> None:
    means = [
        ConfirmedMean(at, (0.93, 0.7), NAN, NAN, sds, 5)
        for at, sds in enumerate(((0.003, 0.01), (0.004, 0.02)))
    ]
    info = fronts_info([example_record(ROWS)], [means])
    assert info.one_image(0) == pytest.approx(1 / 359)
    assert info.one_seed(0) == pytest.approx((0.003**2 / 2 + 0.004**2 / 2) ** 0.5)
    figure = FIGURE.draw(info)
    for name, worth in zip(SCALES, (info.one_image, info.one_seed), strict=True):
        (scale,) = traces(figure, name)
        assert scale.x[0] - scale.x[1] == pytest.approx(worth(0))
        assert scale.y[2] - scale.y[1] == pytest.approx(worth(1))
    unknown = fronts_info([example_record(ROWS)], [()])
    assert math.isnan(unknown.one_seed(0))


def test_the_scale_stands_where_it_covers_no_mark() -> None:
    figure = draw(StudySource(example_record(ROWS)))
    (scale,) = traces(figure, "1 image")
    low, high = figure.layout.xaxis.range
    beside = scale.x[0] + 0.1 * (high - low), scale.y[0]
    covered = draw(StudySource(example_record([*ROWS, example_row(9, beside)])))
    assert covered.layout.xaxis.range == figure.layout.xaxis.range
    assert covered.layout.yaxis.range == figure.layout.yaxis.range
    (moved,) = traces(covered, "1 image")
    assert moved.x == scale.x
    low, high = figure.layout.yaxis.range
    assert moved.y[0] - scale.y[0] > 0.05 * (high - low)


def test_several_studies_have_their_own_look_and_steps() -> None:
    other = example_record([example_row(0, (0.92, 0.78))], name="other <b>")
    figure = draw(StudySource(example_record(ROWS)), StudySource(other))
    (one,) = [trace for trace in traces(figure, "example (4)") if trace.showlegend]
    (two,) = traces(figure, "other &lt;b&gt; (1)")
    assert one.marker.color != two.marker.color
    assert one.marker.symbol != two.marker.symbol
    assert one.hoverinfo == "text+name"
    assert (one.mode, two.mode) == ("markers", "markers")  # numbers of trials would overlap
    steps = [trace for trace in figure.data if trace.mode == "lines" and trace.name not in SCALES]
    assert [step.line.color for step in steps] == [one.marker.color, two.marker.color]
    assert steps[0].line.dash != steps[1].line.dash
    assert steps[1].x[1] == 0.92
    assert len(traces(figure, "Baseline")) == 1
    assert figure.layout.title.text == "<b>Pareto fronts of example and other &lt;b&gt;</b>"
    assert figure.layout.meta["study"] == ["example", "other <b>"]
    assert facts(figure)[0] == "5 of 32 trials complete"


def test_confirmed_means_of_several_studies_have_no_numbers() -> None:
    source = StudySource(
        example_record(ROWS),
        confirmation=confirmed((0, estimate(0.95, 0.01), estimate(0.65, 0.02))),
    )
    other = StudySource(example_record(ROWS[:1], name="other"))
    (cross,) = traces(draw(source, other), "Confirmed mean")
    assert (cross.mode, cross.text) == ("markers", None)
    assert list(cross.customdata) == [0]


def test_baselines_that_differ_are_not_drawn() -> None:
    other = replace(example_record(ROWS), references={"baseline": sloped_scores(0.9, 0.5)})
    figure = draw(StudySource(example_record(ROWS)), StudySource(other))
    assert traces(figure, "Baseline") == []
    # Which the other has not scored.
    assert len(traces(figure, "Plain finetune")) == 1
    assert len(figure.layout.shapes) == 0
    assert "baselines differ: not drawn" in facts(figure)
    unscored = replace(other, references={})
    figure = draw(StudySource(unscored), StudySource(example_record(ROWS)))
    assert len(traces(figure, "Baseline")) == 1
    assert "baselines differ: not drawn" not in facts(figure)


def test_labels_fit_and_differ() -> None:
    long = "a search whose name is rather longer than a legend"
    assert study_labels(["a", "b", "a", long]) == [
        "a [1]", "b", "a [2]", "a search whose …er than a legend",
    ]  # fmt: skip
    assert several_title("Fronts", ["a", "b", "c"]) == "Fronts of a, b and c"
    assert several_title("Fronts", ["a"] * 4) == "Fronts of 4 studies"


def test_a_title_keeps_what_is_shown_where_names_are_too_long() -> None:
    def title(figure: Any) -> str:
        return str(figure.layout.title.text)

    names = ["search_of_baseline_0_DA_CA", "search_of_baseline_0_FMA_CA"]
    sources = [StudySource(example_record(ROWS, name=name)) for name in names]
    several = draw(*sources)
    assert title(several) == "<b>Pareto fronts of 2 studies</b>"
    assert several.layout.meta["heading"] == f"Pareto fronts of {' and '.join(names)}"
    one = draw(StudySource(example_record(ROWS, name="a" * 30 + "_of_" + "b" * 30)))
    assert title(one) == f"<b>Pareto front of {'a' * 13}…{'b' * 13}</b>"


def test_facts_that_are_not_of_all_studies_name_theirs() -> None:
    records = [example_record(ROWS, name=name) for name in "abc"]
    one, two, three = (pareto_info(record) for record in records)
    info = replace(
        fronts_info(records, [()] * 3),
        studies=(
            replace(one, marks=("of all", "9 of 16 runs have a teacher")),
            replace(two, marks=("16 of 16 runs have a teacher", "of all"), seed=1),
            replace(three, marks=("of all", "9 of 16 runs have a teacher"), subject="cifar10, wrn"),
        ),
    )
    said = facts(FIGURE.draw(info))
    assert said[1:5] == [
        "a, b: digits, resnet8", "c: cifar10, wrn",
        "a, c: validation, n = 359 images, single seed (0)",
        "b: validation, n = 359 images, single seed (1)",
    ]  # fmt: skip
    assert said[5:8] == [
        "of all", "a, c: 9 of 16 runs have a teacher", "b: 16 of 16 runs have a teacher",
    ]  # fmt: skip


@pytest.mark.slow
def test_ten_thousand_trials_are_light() -> None:
    few = [(row, *row.values) for row in usual_rows(250) if row.values]
    rows = [
        replace(row, number=row.number + 250 * copy, values=(clean, robust - copy / 1000))
        for copy in range(50)
        for row, clean, robust in few
    ]
    info = pareto_info(replace(usual_record(1), rows=tuple(rows), trials=len(rows)))
    assert len(info.points) == 10_000
    figure = draw_front(info)
    assert len(figure.to_json()) < 500_000
    dominated = [trace for trace in figure.data if trace.type == "scattergl"]
    assert sum(len(trace.x) for trace in dominated) == 10_000 - len(info.front)
    by_number = {point.number: point.values for point in info.points}
    of_some = dominated[0]
    assert by_number[int(of_some.customdata[7])] == pytest.approx(
        (of_some.x[7], of_some.y[7]), abs=1e-6
    )
    assert of_some.x.dtype == np.float32
    # The front keeps every parameter at hand.
    (told,) = {len(trace.hovertext) == len(trace.x) for trace in figure.data if trace.hovertext}
    assert told
