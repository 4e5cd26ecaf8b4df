"""Numbers that no sheet can hold, and many objectives."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from example_records import example_record, example_row

from ablate.ablation.study_source import StudySource
from ablate.analysis.summary import status_info
from ablate.errors import NothingToDrawError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import COLUMN
from ablate.report.page.page import report_content, report_page
from ablate.study.scores import ReportedScores

pytestmark = pytest.mark.slow

HUGE = (1e308, -1e308, 1e38, 5e-324)
SPACE = {
    "x": {"float": [0, 1]},
    "wide": {"float": [0, 1e300]},
    "scale": {"float": [1e-300, 1e300], "log": True},
    "kind": {"choice": ["a", "b"]},
}


def study(rows: list[RowRecord], **settings: Any) -> StudyRecord:
    own = {"references": {}, "trainable": "my_loop:train", "space": SPACE}
    return example_record(rows, trials=len(rows), **own, **settings)


def huge_study() -> StudyRecord:
    """24 trials; of every third each objective is beyond what a figure can hold."""
    rows = []
    for number in range(24):
        x = number / 24
        values = (HUGE[number // 3 % 4], -HUGE[number // 3 % 4]) if number % 3 == 0 else (x, 1 - x)
        curve = [
            {"epoch": epoch, "train_loss": value, "seconds": 1.0, "scores": {"a": value}}
            for epoch, value in enumerate((1.0, values[0], x), start=1)
        ]
        params = {
            "x": x,
            "wide": x * 1e300,
            "scale": 10.0 ** (25 * number - 300),
            "kind": "ab"[number % 2],
        }
        scores = ReportedScores({"a": values[0], "b": values[1]})
        rows.append(example_row(number, values, params=params, curve=curve, scores=scores))
    objectives = (("a", "maximize"), ("b", "minimize"))
    return study(rows, objectives=objectives, reference_point=(-1e307, 1e307))


def many_study(count: int) -> StudyRecord:
    """12 trials, none dominated by another, in so many objectives."""
    rows = [
        example_row(
            number,
            [(number * (place + 3)) % 13 / 13 for place in range(count)],
            params={"x": number / 12, "kind": "ab"[number % 2]},
        )
        for number in range(12)
    ]
    objectives = [(f"m{place}", "maximize") for place in range(count)]
    return study(rows, objectives=objectives, reference_point=(0.0,) * count)


def test_figures_cope() -> None:
    found = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for name in FIGURES:
            kind = find_figure(name)
            try:
                figure = kind.draw(kind.info([StudySource(huge_study())]), COLUMN)
            except NothingToDrawError:
                continue
            json.loads(figure.to_json())
            found.add(name)
    assert {"curves", "pareto", "parameters"} <= found


def test_a_page_copes(monkeypatch: pytest.MonkeyPatch) -> None:
    page = report_page(report_content(StudySource(huge_study()), reference="runs/x", now=0.0))
    assert page.count("<figure ") > 2
    # Whatever a figure trips over, the page says it in one line and has all others.
    monkeypatch.setattr("ablate.report.figures.parameters._window", lambda *_: 1 / 0)
    content = report_content(StudySource(many_study(3)), reference="runs/x", now=0.0)
    (section,) = (one for one in content.sections if one.anchor == "settings")
    why = "Figure parameters could not be drawn: ZeroDivisionError: division by zero."
    assert section.missing == why


@pytest.mark.parametrize(
    ("name", "said"),
    [("pareto", "pairs of objectives not shown: 6"), ("parameters", "the first 6 of 7 objectives")],
)
def test_objectives_that_are_left_out_are_counted(name: str, said: str) -> None:
    kind = find_figure(name)
    figure = kind.draw(kind.info([StudySource(many_study(7))]), COLUMN)
    assert said in figure.layout.meta["facts"]


def test_the_volume_of_many_objectives_is_not_waited_for() -> None:
    assert status_info(many_study(30), now=0.0).hypervolume is None
