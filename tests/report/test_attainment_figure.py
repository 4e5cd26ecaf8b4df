"""The attainment figure's traces, by values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from drawn_figures import facts
from example_records import example_record, example_row

from ablate.ablation.study_source import StudySource
from ablate.ledger.record import StudyRecord
from ablate.report.figures.attainment import FIGURE
from ablate.report.style import terms_style


def study(name: str, *values: tuple[float, float]) -> StudyRecord:
    return example_record([example_row(at, one) for at, one in enumerate(values)], name=name)


THREE = (study("a", (0.94, 0.70), (0.90, 0.80)), study("b", (0.93, 0.75)), study("c", (0.9, 0.7)))


def draw(*records: StudyRecord) -> Any:
    return FIGURE.draw(FIGURE.info([StudySource(record) for record in records]))


def trace(figure: Any, name: str) -> Any:
    return next(trace for trace in figure.data if (trace.name or "").startswith(name))


def test_step_lines_with_a_band_between_best_and_worst() -> None:
    figure = draw(*THREE)
    left, foot = figure.layout.xaxis.range[0], figure.layout.yaxis.range[0]
    best, worst = trace(figure, "Best (1 of 3 searches)"), trace(figure, "Worst (3 of 3 searches)")
    assert list(zip(worst.x, worst.y, strict=True)) == [(left, 0.7), (0.9, 0.7), (0.9, foot)]
    median = trace(figure, "Median (2 of 3 searches)")
    assert list(zip(median.x, median.y, strict=True)) == [
        (left, 0.75), (0.90, 0.75), (0.90, 0.70), (0.93, 0.70), (0.93, foot),
    ]  # fmt: skip
    assert len({one.line.dash for one in (best, median, worst)}) == 3
    band = figure.data[0]
    assert list(band.x) == [*best.x, *reversed(worst.x)]
    assert band.fill == "toself"
    assert band.opacity < 0.5


def test_every_trial_stands_faintly_with_its_study() -> None:
    figure = draw(*THREE)
    first, second = trace(figure, "a (2)"), trace(figure, "b (1)")
    assert list(first.customdata) == [0, 1]
    assert first.y == pytest.approx((0.70, 0.80))
    assert first.marker.symbol != second.marker.symbol
    assert "%{customdata}</b><br>Clean accuracy: %{x:.1%}" in first.hovertemplate
    assert figure.layout.title.text == "<b>Attainment of a, b and c</b>"
    assert "4 of 48 trials complete" in facts(figure)
    assert "3 searches" in facts(figure)


def test_a_trial_outside_of_the_axes_is_said_and_not_counted() -> None:
    figure = draw(*THREE[1:], study("far", (0.9, 0.7), (0.1, 0.1)))
    assert trace(figure, "far (1)").customdata == (0, 1)
    assert "1 trial outside the axes" in facts(figure)


def test_a_study_without_a_complete_trial_leaves_nothing_that_all_attain() -> None:
    figure = draw(*THREE[:2], study("empty"))
    assert "no region is attained by all" in facts(figure)
    assert not trace(figure, "Worst (3 of 3 searches)").showlegend
    left, foot = figure.layout.xaxis.range[0], figure.layout.yaxis.range[0]
    assert (figure.data[0].x[-1], figure.data[0].y[-1]) == (left, foot)


def ablation(*states: str) -> StudyRecord:
    """A run of one arm at each seed."""
    rows = [
        replace(
            example_row(at, (0.9, 0.7) if state == "COMPLETE" else None, state=state),  # type: ignore[arg-type]
            pair=at,
            cell="a",
        )
        for at, state in enumerate(states)
    ]
    return replace(example_record(rows), design={"cells": []})


def test_arms_of_an_ablation() -> None:
    figure = draw(ablation("COMPLETE", "COMPLETE", "RUNNING"))
    assert [one.name for one in figure.data if one.showlegend] == [
        "a (1 of 2 runs)", "Baseline", "Plain finetune",
    ]  # fmt: skip
    runs, line = (one for one in figure.data if one.legendgroup == "a")
    assert runs.marker.color == line.line.color == terms_style("clean+fma").color
    assert "1 run has not ended" in facts(figure)


def test_nothing_yet() -> None:
    def said(figure: Any) -> list[str]:
        return [note.text for note in figure.layout.annotations]

    assert said(draw(study("a"), study("b"))) == ["no complete trial"]
    assert said(draw(ablation("COMPLETE", "RUNNING"))) == [
        "fewer than two runs of every arm have ended"
    ]
