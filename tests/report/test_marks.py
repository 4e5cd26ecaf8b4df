"""A baseline that saw the validation images is said wherever a result is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from example_records import BEGAN, example_record, example_row, example_scores
from example_sources import draw_front, usual_record
from rich.console import Console, RenderableType

from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.figure import USUAL
from ablate.report.formats import TerminalTable, result_rows
from ablate.report.tables import front_table
from ablate.report.terminal.status import status_rows, status_table
from ablate.report.terminal.trials import trials_table
from ablate.robustness.corruption import APPROXIMATE_FROST

OVERLAPPING = (
    "types trained on are among the scored: not comparable with methods that hold them out"
)
NOW = BEGAN.timestamp()
MARK = "validation seen by the baseline"


def record(saw_validation: bool) -> StudyRecord:
    baseline = {"checkpoint": "weights.pt", "saw_validation": saw_validation}
    return example_record([example_row(0, (0.94, 0.7))], baseline=baseline)


def text(table: RenderableType) -> str:
    console = Console(width=300)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())


@pytest.mark.parametrize("saw_validation", [True, False])
def test_the_mark_is_in_every_result(saw_validation: bool) -> None:
    marked = record(saw_validation)
    info = pareto_info(marked)
    shown = [
        text(TerminalTable(front_table(info))),
        text(TerminalTable(trials_table(marked))),
        text(status_table(status_info(marked, NOW))),
        json.dumps(status_rows(status_info(marked, NOW))),
        " · ".join(draw_front(marked).layout.meta["facts"]),
        *(json.dumps(row) for row in result_rows(info)),
    ]
    assert len(shown) == 8
    assert [MARK in one for one in shown] == [saw_validation] * 8


@pytest.mark.parametrize(("trained_on", "marked"), [(("gaussian_noise",), True), ((), False)])
def test_scores_over_types_that_were_trained_on_are_marked(
    trained_on: tuple[str, ...], marked: bool
) -> None:
    scores = replace(example_scores(0.94, 0.7), seen_types=trained_on)
    row = example_row(0, (0.94, 0.7), scores=scores)
    info = pareto_info(example_record([row]))
    assert (OVERLAPPING in info.marks) is marked
    assert (OVERLAPPING in text(TerminalTable(front_table(info)))) is marked


@pytest.mark.parametrize(
    ("budget", "taught", "mark"),
    [
        ({"images": 1000}, [0, 0], None),
        ({"images": 1000}, [0, 500], "1 of 2 runs has a teacher"),
        ({"images": 1000}, [500, 500], "2 of 2 runs have a teacher"),
        ({"flops": 1e9}, [0, 500], None),
        ({"epochs": 2}, [0, 500], None),
    ],
)
def test_a_teacher_that_a_budget_does_not_count_is_marked(
    budget: dict[str, float], taught: list[int], mark: str | None
) -> None:
    rows = [
        example_row(
            number,
            (0.94, 0.7),
            scores=replace(example_scores(0.94, 0.7), student_images=1000, teacher_images=images),
        )
        for number, images in enumerate(taught)
    ]
    marks = pareto_info(example_record(rows, finetune={"budget": budget})).marks
    rest = ", whose forward passes budget.images does not count: budget.flops does"
    assert [one for one in marks if "teacher" in one] == ([] if mark is None else [mark + rest])


@pytest.mark.parametrize(("photographs", "marked"), [(None, True), ("photographs", False)])
def test_frost_without_photographs_is_marked(photographs: str | None, marked: bool) -> None:
    robustness = {"suite": "cifar10c", "frost_images": photographs}
    info = pareto_info(example_record([example_row(0, (0.94, 0.7))], robustness=robustness))
    assert (APPROXIMATE_FROST in info.marks) is marked


def test_the_caption_says_what_the_mean_is_of_and_of_how_many_images() -> None:
    scores = example_scores(0.94, 0.7)
    record = example_record([example_row(0, (0.94, 0.7), scores=scores)], references={})
    shown = text(TerminalTable(front_table(pareto_info(record))))
    assert "n = 359 images, robust = mean over families" in shown
    of_types = replace(scores, mean_over="types", n_corrupted=100)
    record = example_record([example_row(0, (0.94, 0.7), scores=of_types)], references={})
    shown = text(TerminalTable(front_table(pareto_info(record))))
    assert "n = 359 images, 100 of them corrupted, robust = mean over types" in shown


@pytest.mark.parametrize("name", ["parameters"])
def test_figures_of_all_complete_trials_have_those_that_violate_a_constraint(name: str) -> None:
    def facts(least: float) -> list[str]:
        limits = [{"metric": "val_clean_accuracy", "min": least}]
        kind, source = find_figure(name), StudySource(usual_record(30, constraints=limits))
        found: list[str] = kind.draw(kind.info([source], USUAL), COLUMN).layout.meta["facts"]
        return found

    said = "trials that violate a constraint are among those shown"
    assert (said in facts(0.94), said in facts(0.1)) == (True, False)
