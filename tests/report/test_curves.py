"""The curves: what is drawn of which trials, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from drawn_figures import facts, traces
from example_ablations import example_ablation, example_arm
from example_records import example_record, example_row
from example_sources import usual_record

from ablate.ablation.cell import Design
from ablate.ablation.study_source import StudySource
from ablate.errors import ParameterError
from ablate.ledger.record import Rung, StudyRecord
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.curves import FIGURE, MOST_DRAWN, CurvesInfo
from ablate.report.figures.figure import FigureOptions
from ablate.report.style import faint, terms_look

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"


def epochs(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": at, "train_loss": loss} for at, loss in enumerate(losses, 1)]


ST = {"loss.terms": "clean+st", "loss.st.weight": 1.0}
ROWS = [
    example_row(0, (0.9, 0.7), curve=epochs(1, 0.5), rungs=[Rung(1, {ROBUST: 0.6}, False, 1)]),
    example_row(1, (0.8, math.inf), curve=epochs(2, 1), params=ST),
    example_row(2, None, state="PRUNED", curve=epochs(3), rungs=[Rung(1, {ROBUST: 0.4}, True, 2)]),
    example_row(3, None, state="FAIL", curve=epochs(3), rungs=[Rung(1, {ROBUST: 0.5}, False, 3)]),
    example_row(4, None, state="WAITING", params={}),
]


def info_of(record: StudyRecord, ablation: Any = None, **options: Any) -> CurvesInfo:
    found = FIGURE.info([StudySource(record, ablation)], FigureOptions(**options))
    assert isinstance(found, CurvesInfo)
    return found


def test_a_trial_goes_from_the_baseline_over_rungs_to_its_end() -> None:
    info = info_of(example_record(ROWS))
    assert (info.metrics, info.begun, info.stopped) == ((CLEAN, ROBUST), 4, 1)
    frame = info.frame()
    robust = frame[frame["metric"] == ROBUST]
    points = list(zip(robust["number"], robust["epoch"], robust["value"].round(3), strict=True))
    assert points[:3] == [(0, 0, 0.6), (0, 1, 0.6), (0, 2, 0.7)]
    assert [point[:2] for point in points[3:]] == [(1, 0), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert math.isnan(points[4][2]), "infinite"
    assert list(robust["number"][robust["stop"]]) == [2]
    assert set(frame["group"]) == {"clean+fma", "clean+st"}
    assert set(frame["number"][frame["on_front"]]) == {0}
    assert len(info_of(example_record()).frame()) == 0


def test_the_front_is_clear_and_ends_are_marked() -> None:
    figure = FIGURE.draw(info_of(example_record(ROWS)), COLUMN)
    pale, front = [one for one in traces(figure, "FMA (3)") if one.yaxis == "y2"]
    assert (pale.line.color, front.line.color) == (
        faint(terms_look("clean+fma").color),
        terms_look("clean+fma").color,
    )
    assert list(front.x) == [0, 1, 2, 2], "a gap before the next trial"
    assert np.isnan(front.y).tolist() == [False, False, False, True]
    assert list(pale.customdata) == [2, 2, 2, 3, 3, 3]
    (stopped,), (failed,) = traces(figure, "Stopped (1)"), traces(figure, "Failed (1)")
    assert [(one.x[0], one.customdata[0], one.yaxis) for one in (stopped, failed)] == [
        (1, 2, "y2"),
        (1, 3, "y2"),
    ]
    assert figure.layout.title.text == "<b>1 of 4 trials were stopped early</b>"
    shown = [one.name for one in figure.data if one.showlegend]
    assert shown == ["ST (1)", "FMA (3)", "Stopped (1)", "Failed (1)"]
    small = Rung(1, {ROBUST: 0.6}, False, 1, images=50)
    few = example_record([replace(ROWS[0], rungs=(small,))])
    assert "at rungs n = 50 images" in facts(FIGURE.draw(info_of(few), COLUMN))


def test_of_many_trials_the_front_and_others_evenly() -> None:
    rows = [example_row(at, (0.1, 0.1), curve=epochs(1.0)) for at in range(1200)]
    rows[777] = replace(rows[777], values=(0.9, 0.9))
    info = info_of(example_record(rows))
    numbers = sorted(set(info.frame()["number"]))
    assert (len(numbers), info.begun) == (MOST_DRAWN, 1200)
    assert 777 in numbers
    assert max(after - one for one, after in pairwise(numbers)) <= 3
    figure = FIGURE.draw(info_of(usual_record(700)), COLUMN)
    assert "500 of 700 trials drawn" in facts(figure)
    assert len(figure.to_json()) < 200_000


def test_a_loop_of_ones_own_has_its_objectives_by_epoch_or_what_is_asked() -> None:
    scores = [{"speed": 3.0, "loss": 0.9}, {"speed": 4.0, "loss": 0.5}, {"speed": 5.0}]
    curve = [{"epoch": at, "scores": named} for at, named in enumerate(scores, 1)]
    own = {"objectives": [("loss", "minimize")], "trainable": "loops:train", "references": {}}
    row = example_row(0, (0.4,), params={"lr": 0.1}, curve=curve)
    record = example_record([row], **own, reference_point=None)
    assert list(info_of(record).frame()["value"]) == [0.9, 0.5, 0.4]
    assert list(info_of(record, objective="speed").frame()["value"]) == [3, 4, 5]
    rule = r"^`objective`: must be reported epoch by epoch in example, got speeed\. Did you mean s"
    with pytest.raises(ParameterError, match=rule):
        info_of(record, objective="speeed")


def test_losses_are_not_drawn_and_a_trial_must_exist() -> None:
    with pytest.raises(ParameterError, match=r"must be reported epoch by epoch in example, got tr"):
        info_of(example_record(ROWS), objective="train_loss")
    with pytest.raises(ParameterError, match=r"^`trials`: must be trials of example, got 99\. "):
        info_of(example_record(ROWS), trials=(99,))


def test_an_arm_is_the_mean_over_its_runs() -> None:
    values = [(0.9, 0.7), (0.8, 0.6), (0.8, 0.8), (0.8, 0.9)]
    rows = [
        replace(example_row(at, value, curve=epochs(1, 1)), cell="AB"[at // 2], pair=at % 2)
        for at, value in enumerate(values)
    ]
    record = replace(example_record(rows), design=Design("arms", (), (), ()).to_json())
    arms = tuple(replace(example_arm(f"<i>{cell}</i>", {}), cells=(cell,)) for cell in "AB")
    info = info_of(record, example_ablation(arms=arms))
    ends = info.frame().query("metric == @ROBUST and epoch == 2")
    assert dict(zip(ends["group"], ends["value"].round(3), strict=True)) == {
        "<i>A</i>": 0.65,
        "<i>B</i>": 0.85,
    }
    figure = FIGURE.draw(info, COLUMN)
    assert [one.name for one in figure.data[:2]] == ["&lt;i&gt;A&lt;/i&gt;", "&lt;i&gt;B&lt;/i&gt;"]
    assert figure.layout.title.text == "<b>How did the arms learn?</b>"
