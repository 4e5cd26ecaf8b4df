"""A baseline that saw the validation images is said wherever a result is."""

from __future__ import annotations

import json

import pytest
from example_records import BEGAN, example_record, example_row
from rich.console import Console
from rich.table import Table

from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures.pareto import plot_pareto
from ablate.report.status import status_rows, status_table
from ablate.report.tables import front_rows, front_table
from ablate.report.trials import trials_table

NOW = BEGAN.timestamp()
MARK = "validation seen by the baseline"


def record(saw_validation: bool) -> StudyRecord:
    baseline = {"checkpoint": "weights.pt", "saw_validation": saw_validation}
    return example_record([example_row(0, (0.94, 0.7))], baseline=baseline)


def text(table: Table) -> str:
    console = Console(width=300)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())


@pytest.mark.parametrize("saw_validation", [True, False])
def test_the_mark_is_in_every_result(saw_validation: bool) -> None:
    marked = record(saw_validation)
    info = pareto_info(marked)
    shown = [
        text(front_table(info)),
        text(trials_table(marked)),
        text(status_table(status_info(marked, NOW))),
        json.dumps(status_rows(status_info(marked, NOW))),
        str(plot_pareto(info).layout.title.subtitle.text),
        *(json.dumps(row) for row in front_rows(info)),
    ]
    assert len(shown) == 8
    assert [MARK in one for one in shown] == [saw_validation] * 8
