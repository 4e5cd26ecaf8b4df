"""A baseline that saw the validation images is said wherever a result is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from example_records import BEGAN, example_record, example_row, example_scores
from example_sources import draw_front
from rich.console import Console, RenderableType

from ablate.analysis.caveats import OVERLAP
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.formats import TerminalTable, result_rows
from ablate.report.tables import front_table
from ablate.report.terminal.status import status_rows, status_table
from ablate.report.terminal.trials import trials_table
from ablate.robustness.corruption import APPROXIMATE_FROST

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


def rows(*teacher_images: int, **scored: object) -> list[RowRecord]:
    scores = replace(example_scores(0.94, 0.7), student_images=1000, **scored)
    return [
        example_row(number, (0.94, 0.7), scores=replace(scores, teacher_images=images))
        for number, images in enumerate(teacher_images)
    ]


TAUGHT = "{} a teacher, whose forward passes budget.images does not count: budget.flops does"
IMAGES = {"finetune": {"budget": {"images": 1000}}}


@pytest.mark.parametrize(
    ("mark", "said", "silent"),
    [
        (OVERLAP, (rows(0), {}), (rows(0, seen_types=()), {})),
        (TAUGHT.format("1 of 2 runs has"), (rows(0, 500), IMAGES), (rows(0, 0), IMAGES)),
        (
            TAUGHT.format("2 of 2 runs have"),
            (rows(500, 500), IMAGES),
            (rows(500, 500), {"finetune": {"budget": {"flops": 1e9}}}),
        ),
        (
            APPROXIMATE_FROST,
            (rows(0), {"robustness": {"suite": "cifar10c"}}),
            (rows(0), {"robustness": {"suite": "cifar10c", "frost_images": "photographs"}}),
        ),
    ],
)
def test_what_a_number_is_to_be_read_with_is_marked(
    mark: str, said: tuple[Any, dict[str, Any]], silent: tuple[Any, dict[str, Any]]
) -> None:
    marked, unmarked = (pareto_info(example_record(of, **more)) for of, more in (said, silent))
    assert mark in marked.marks
    assert mark in text(TerminalTable(front_table(marked)))
    assert mark not in unmarked.marks


@pytest.mark.parametrize(
    ("scored", "said"),
    [
        ({}, "n = 359 images, robust = mean over families"),
        (
            {"mean_over": "types", "n_corrupted": 100},
            "n = 359 images, 100 of them corrupted, robust = mean over types",
        ),
    ],
)
def test_the_caption_says_what_the_mean_is_of_and_of_how_many_images(
    scored: dict[str, Any], said: str
) -> None:
    info = pareto_info(example_record(rows(0, **scored), references={}))
    assert said in text(TerminalTable(front_table(info)))
