"""The history: hypervolume, best value and expected best by hand, against moocore, and as drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawn_figures import facts, traces
from example_records import BEGAN, example_record, example_row, example_scores
from example_sources import ablations, usual_record

from ablate.ablation.study_source import StudySource
from ablate.analysis.hypervolume import hypervolume, hypervolume_steps
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.history import FIGURE, HistoryInfo
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")
ONE = {"objectives": [("val_robust_accuracy", "maximize")], "reference_point": None}


def row(number: int, values: Any, hours: float, **more: Any) -> RowRecord:
    """A row that ended so many hours after the study began."""
    return replace(example_row(number, values, **more), finished=BEGAN + timedelta(hours=hours))


ROWS = [
    row(0, (0.95, 0.7), 2),
    row(1, (0.95, 0.7), 1),
    row(2, None, 1.5, state="PRUNED"),
    row(3, (0.90, 0.8), 4),
    row(4, (0.90, 0.65), 3),
]
RECORD = example_record(ROWS)


def info_of(*records: StudyRecord) -> HistoryInfo:
    found = FIGURE.info([StudySource(record) for record in records])
    assert isinstance(found, HistoryInfo)
    return found


def draw(*records: StudyRecord) -> Any:
    return FIGURE.draw(info_of(*records), COLUMN)


@pytest.mark.parametrize("objectives", [(UP, DOWN), (UP, DOWN, UP)])
def test_every_step_is_the_hypervolume_so_far(objectives: tuple) -> None:
    random = np.random.default_rng(0)
    # On a coarse grid, so that ties come up.
    values = random.integers(0, 15, (120, len(objectives))).astype(float)
    values[::9, 0], values[::13, 1] = math.nan, math.inf
    reference = [2.0, 12.0, 2.0][: len(objectives)]
    steps = hypervolume_steps(values, objectives, reference)
    expected = [hypervolume(values[: end + 1], objectives, reference) for end in range(120)]
    assert steps == pytest.approx(np.array(expected), abs=1e-9)
    assert hypervolume_steps([], objectives, reference).tolist() == []
    corners = [(2, 2), (3, 1), (1, 1), (2, 2), (2, 3)]  # dominated, equal, as wide but higher
    assert hypervolume_steps(corners, (UP, UP), (0, 0)).tolist() == [4, 5, 5, 5, 7]


def test_trials_count_in_the_order_in_which_they_ended() -> None:
    frame = info_of(RECORD).frame()
    assert list(frame["number"]) == [1, 0, 4, 3]
    assert list(frame["ended_trials"]) == [1, 3, 4, 5]
    assert list(frame["hypervolume"]) == pytest.approx([0.01, 0.01, 0.01, 0.015])
    usual = usual_record(60)
    last = info_of(usual).frame()["hypervolume"].iloc[-1]
    assert last == pytest.approx(pareto_info(usual).hypervolume)


def test_a_hypervolume_is_in_percent_of_the_end() -> None:
    figure = draw(RECORD)
    (line,) = traces(figure, "Front so far")
    assert list(line.x) == [1, 5, 5]
    assert line.y == pytest.approx((200 / 3, 100, 100))
    (marks,) = traces(figure, "FMA (2)")
    assert list(marks.customdata) == [1, 3], "the trials that raised it"
    heading = "Still gaining: 33.3 % in the last 1 of 5 trials"
    assert figure.layout.meta["heading"] == heading
    assert "100 % is a hypervolume of 0.015" in facts(figure)
    assert "reference point (85.0, 60.0)" in facts(figure)
    longer = example_record([*ROWS, *(row(at, (0.9, 0.65), at) for at in range(5, 30))])
    assert draw(longer).layout.title.text == "<b>Last gain after 5 of 30 trials</b>"
    worse = draw(example_record([row(0, (0.5, 0.5), 1)]))
    assert worse.layout.title.text == "<b>No gain yet</b>"


def test_several_studies_share_one_reference_point_and_100_percent() -> None:
    other = replace(RECORD, name="other", rows=RECORD.rows[:1], reference_point=(0.5, 0.5))
    figure = draw(RECORD, other)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    one, two = lines
    assert (one.name, two.name) == ("example", "other")
    assert (one.line.color, one.line.dash) != (two.line.color, two.line.dash)
    assert two.y == pytest.approx((200 / 3, 200 / 3))
    assert "(85.0, 60.0), also for studies that have another" in facts(figure)
    assert figure.layout.title.text == "<b>Hypervolume of example and other</b>"
    with pytest.raises(ParameterError, match=r"^studies in one figure must have the same obj"):
        info_of(RECORD, example_record(**ONE))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_one_objective_has_the_best_so_far(direction: str) -> None:
    rows = [row(at, (one,), at) for at, one in enumerate([0.7, 0.79, 0.75, math.nan, 0.6])]
    loss = {"objectives": [("loss", direction)], "trainable": "loops:train"}
    record = example_record(rows, **loss, references={}, reference_point=None)
    best = [0.7, 0.79, 0.79, 0.79, 0.79] if direction == "maximize" else [0.7, 0.7, 0.7, 0.7, 0.6]
    assert list(info_of(record).frame()["best"]) == best


def test_trials_references_and_collapsed_ones() -> None:
    values = [0.70, 0.79, 0.75, 0.76, 0.77, 0.74, 0.10]
    rows = [row(at, (value,), at) for at, value in enumerate(values)]
    figure = draw(example_record(rows, **ONE))
    (marks,) = traces(figure, "FMA (7)")
    assert list(marks.customdata) == list(range(7))
    (baseline,) = traces(figure, "Before finetuning")
    assert baseline.y == pytest.approx((0.60, 0.60))
    assert figure.layout.yaxis.autorangeoptions.clipmin == pytest.approx(0.60)
    assert "far worse, not shown: 1" in facts(figure)


def test_what_was_confirmed_is_a_diamond_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def confirmed(record: StudyRecord, *values: float, violates: bool = False) -> Any:
        mean = SimpleNamespace(is_point=True, values=values, violates=violates)
        monkeypatch.setattr("ablate.report.figures.history.confirmed_means", lambda *_: [mean])
        (diamond,) = (one for one in draw(record).data if "fresh seeds" in (one.name or ""))
        assert (diamond.marker.symbol, diamond.x) == ("diamond-open", (len(record.rows),))
        return diamond.y

    assert confirmed(RECORD, 0.93, 0.68) == pytest.approx((100 * 0.08 * 0.08 / 0.015,))
    assert confirmed(RECORD, 0.93, 0.68, violates=True) == (0,)
    assert confirmed(example_record([row(0, (0.7,), 1)], **ONE), 0.68) == (0.68,)


def test_a_trial_that_violates_a_constraint_is_never_the_best() -> None:
    pairs = [(0.94, 0.70), (0.90, 0.90), (0.95, 0.72)]
    rows = [row(at, one[1:], at, scores=example_scores(*one)) for at, one in enumerate(pairs)]
    limit = [{"metric": "val_clean_accuracy", "min": 0.93}]
    frame = info_of(example_record(rows, **ONE, constraints=limit)).frame()
    assert list(frame["best"]) == [0.70, 0.70, 0.72]
    assert math.isnan(frame["val_robust_accuracy"][1])


def test_tuned_arms_have_a_line_each_of_the_expected_best() -> None:
    info: Any = FIGURE.info([ablations()["tuned ablation"]])
    figure = FIGURE.draw(info, COLUMN)
    lines = [trace for trace in figure.data if "lines" in trace.mode]
    assert [line.name for line in lines] == ["DA", "FMA", "Before finetuning"]
    assert lines[0].y[:3] == pytest.approx((0.70, 0.74, 0.75))
    assert set(lines[2].y) == {0.60}
    assert figure.layout.title.text == "<b>Still gaining: DA, FMA</b>"
    assert "an approximation: points were given, or the sampler" in facts(figure)
    assert list(info.frame()["study"]) == ["DA"] * 3 + ["FMA"] * 2
    assert list(info.frame()["expected_best"]) == [0.70, 0.74, 0.75, 0.71, 0.77]
    with pytest.raises(NothingToDrawError, match=r"figure history needs a search, got an ablation"):
        FIGURE.info([ablations()["ablation"]])


def test_without_a_reference_point_it_says_what_to_do() -> None:
    with pytest.raises(NothingToDrawError) as caught:
        info_of(example_record(references={}, reference_point=None))
    assert str(caught.value) == (
        "study example: figure history needs a reference point and at most 6 objectives, got none "
        "and 2. Where no baseline is scored, set search.reference_point first; or draw pareto."
    )
