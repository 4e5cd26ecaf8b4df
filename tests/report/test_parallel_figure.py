"""The parallel figure: where a trial's line runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row
from example_sources import usual_record

from ablate.analysis.parameters import most_telling, parameters_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures.parallel import plot_parallel

SPACE = {
    "loss.terms": {"choice": ["clean+da", "clean+fma"]},
    "loss.fma.weight": {"float": [0.01, 100.0], "log": True},
}
ROWS = [
    example_row(0, (0.94, 0.70), params={"loss.terms": "clean+fma", "loss.fma.weight": 1.0}),
    example_row(1, (0.90, 0.80), params={"loss.terms": "clean+da"}),
    example_row(2, (0.89, 0.65), params={"loss.terms": "clean+fma", "loss.fma.weight": 10.0}),
]


def draw(record: StudyRecord, *params: str) -> Any:
    info = parameters_info(record, "parallel", choose=most_telling(8), limit=12, params=params)
    return plot_parallel(info)


def line(figure: Any, number: int) -> tuple[Any, list[float]]:
    (trace,) = [one for one in figure.data if number in (one.customdata or ())]
    here = np.array(trace.customdata) == number
    return trace, np.array(trace.y)[here].tolist()


def test_a_line_runs_through_its_parameters_to_its_scores() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "fma.weight", "terms")
    assert [text.replace("<b>", "") for text in figure.layout.xaxis.ticktext] == [
        "terms", "weight", "Clean<br>accuracy</b>", "Robust<br>accuracy</b>",
    ]  # fmt: skip
    trace, heights = line(figure, 0)
    assert trace.customdata == (0,) * 5
    assert 0.5 < heights[0] < 1  # the second of two levels
    assert heights[1] == pytest.approx(0.5)  # 1 of 0.01 to 100
    low, high = 0.60 - 0.012, 0.80 + 0.012  # the baseline to the best, and the room beside them
    assert heights[3] == pytest.approx((0.70 - low) / (high - low), abs=1e-6)
    assert math.isnan(heights[4])
    assert trace.text[:3] == ("terms: clean+fma", "weight: 1", "Clean accuracy: 94.0")


def test_without_a_parameter_it_runs_through_the_lane() -> None:
    figure = draw(example_record(ROWS, space=SPACE), "fma.weight", "terms")
    trace, heights = line(figure, 1)
    assert figure.layout.yaxis.tickvals == pytest.approx([heights[1]])
    assert heights[1] < 0
    assert figure.layout.yaxis.ticktext == ("not used",)
    assert trace.text[1] == "weight: not used"


def test_the_front_is_in_full_colour() -> None:
    figure = draw(example_record(ROWS, space=SPACE))
    front, dominated = line(figure, 0)[0], line(figure, 2)[0]
    assert front.line.color == dominated.line.color
    assert dominated.opacity < front.opacity == 1
    assert dominated.line.width < front.line.width


def test_better_is_up_where_less_is_better() -> None:
    rows = [example_row(at, (0.5, 1.0 + at), params={"a": at}) for at in range(3)]
    record = example_record(
        rows,
        objectives=[("gain", "maximize"), ("loss", "minimize")],
        trainable="loops:train",
        references={},
        reference_point=None,
    )
    heights = [line(draw(record), number)[1][2] for number in range(3)]
    assert heights == sorted(heights, reverse=True)
    assert 0 < heights[2] < heights[0] < 1


def test_a_collapsed_trial_stands_at_the_foot_and_is_counted() -> None:
    rows = [example_row(at, (0.9, 0.7 + 0.01 * at), params={"a": at}) for at in range(9)]
    rows.append(example_row(9, (0.1, 0.1), params={"a": 9}))
    figure = draw(example_record(rows, references={}))
    assert line(figure, 9)[1][2] == 0
    assert "1 with a score below its axis, drawn at its foot" in figure.layout.title.subtitle.text


def test_at_most_300_dominated_lines_are_drawn() -> None:
    figure = draw(usual_record(400))
    faint = {n for one in figure.data if one.opacity and one.opacity < 1 for n in one.customdata}
    assert len(faint) == 300
    assert "300 of " in figure.layout.title.subtitle.text


def test_numbers_too_small_for_half_the_digits_have_a_height() -> None:
    rows = [
        example_row(at, (0.9, 0.7 + at / 10), params={"tiny": value})
        for at, value in enumerate((1e-300, 3e-300))
    ]
    record = example_record(rows, space={"tiny": {"float": [1e-300, 3e-300]}})
    heights = [line(draw(record, "tiny"), number)[1][0] for number in (0, 1)]
    assert heights == [0.0, 1.0]
