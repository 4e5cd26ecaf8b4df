"""The hypervolume figure's traces, by values."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from drawn_figures import facts, traces
from example_ablations import estimate, example_ablation, example_arm
from example_records import BEGAN, example_record, example_row, example_scores

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.arms import NOTHING
from ablate.report.figures.hypervolume import FIGURE


def row(number: int, values: Any, hours: float, **more: Any) -> RowRecord:
    """A row that ended so many hours after the study began."""
    return replace(example_row(number, values, **more), finished=BEGAN + timedelta(hours=hours))


RECORD = example_record(
    [
        row(0, (0.95, 0.7), 1),
        row(1, (0.90, 0.65), 2),
        row(2, (0.90, 0.8), 3),
        row(3, None, 4, state="PRUNED"),
    ]
)


def draw(*records: StudyRecord) -> Any:
    return FIGURE.draw(FIGURE.info([StudySource(record) for record in records]))


def test_a_step_after_each_trial_that_raised_it() -> None:
    figure = draw(RECORD)
    (line,) = traces(figure, "Front so far")
    assert list(line.x) == [0, 1, 3, 4]
    assert line.y == pytest.approx((0, 0.01, 0.015, 0.015))
    assert line.line.shape == "hv"
    assert figure.layout.xaxis.title.text == "Trials that ended"
    unit = figure.layout.yaxis.title.text.replace("<br />", " ")
    assert unit == "Hypervolume, accuracies as fractions"
    (marks,) = traces(figure, "Trial that raised it")
    assert list(marks.customdata) == [0, 2]
    assert list(marks.x) == [1, 3]
    assert [trace.name for trace in figure.data if trace.showlegend] == [line.name, marks.name]
    assert "reference point (85.0, 60.0) · fronts of single-seed values" in facts(figure)


def test_several_studies_have_their_own_look() -> None:
    other = replace(RECORD, name="other", rows=RECORD.rows[:1], reference_point=(0.5, 0.5))
    figure = draw(RECORD, other)
    one, two, *_ = [trace for trace in figure.data if trace.mode == "lines"]
    assert (one.name, two.name) == ("example", "other")
    assert one.line.color != two.line.color
    assert one.line.dash != two.line.dash
    assert two.y == pytest.approx((0, 0.01, 0.01))
    assert "(85.0, 60.0), also for studies that have another" in facts(figure)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["example", "other"]


def confirmed(record: StudyRecord) -> Any:
    """The figure of a search whose trial 0 was confirmed, with means of .93 and .68."""
    arm = example_arm(
        "trial 0",
        {"val_clean_accuracy": estimate(0.93), "val_robust_accuracy": estimate(0.68)},
    )
    info = example_ablation(arms=(arm,))
    point = ConfirmedPoint("trial 0", (), {}, {}, {}, {}, {}, {}, (), 1.0)
    confirmation = ConfirmInfo(
        test=info, validation=info, points=(point,), objectives=(), compare=lambda *_: NOTHING
    )
    source = StudySource(record, confirmation=confirmation)
    return FIGURE.draw(FIGURE.info([source]))


def test_the_confirmed_means_are_a_diamond_at_the_end() -> None:
    figure = confirmed(RECORD)
    (diamond,) = traces(figure, "Confirmed means")
    assert list(diamond.x) == [4]
    assert diamond.y == pytest.approx((0.08 * 0.08,))
    assert "diamond: mean of 1 confirmed trial over fresh seeds" in facts(figure)


def test_a_confirmed_mean_that_violates_a_constraint_adds_nothing() -> None:
    row = example_row(0, (0.95, 0.7), scores=example_scores(0.95, 0.7))
    limit = [{"metric": "val_clean_accuracy", "min": 0.94}]
    (diamond,) = traces(confirmed(example_record([row], constraints=limit)), "Confirmed means")
    assert diamond.y == (0,)


def test_nothing_complete_yet() -> None:
    figure = draw(example_record())
    assert "no complete trial" in [note.text for note in figure.layout.annotations]


def test_an_ablation_is_refused() -> None:
    with pytest.raises(NothingToDrawError, match=r"^study example: figure hypervolume needs a se"):
        draw(replace(RECORD, design={"cells": []}))
