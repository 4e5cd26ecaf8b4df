"""Tables as they are printed, and a study to print."""

from __future__ import annotations

import io
import json

from example_records import example_record, example_row, example_scores
from rich.console import Console, RenderableType

from ablate.ledger.record import Failure
from ablate.report.formats import TerminalTable
from ablate.report.tables import Table

RECORD = example_record(
    [
        example_row(
            0,
            (0.94, 0.70),
            scores=example_scores(0.94, 0.70),
            params={
                "loss.terms": "clean+fma",
                "loss.fma.weight": 2.125,
                "augment.mix": {"noise": 0.25, "blur": 0.75},
            },
        ),
        example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", "loss.st.weight": 0.5}),
        example_row(2, (0.90, 0.65)),
        example_row(3, None, state="FAIL", failure=Failure("raised", "[boom] in step 3")),
        example_row(4, None, state="RUNNING"),
    ]
)


def lines(table: RenderableType | Table, width: int = 160) -> list[str]:
    """The printed lines, cells joined by one space; numbers cut nowhere, no line too wide."""
    console = Console(file=io.StringIO(), width=width)
    console.print(TerminalTable(table) if isinstance(table, Table) else table)
    text = console.file.getvalue()
    assert "…" not in text
    assert all(len(line.rstrip()) <= width for line in text.split("\n"))
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in text.split("\n")]


def said(table: Table) -> str:
    """All that is printed, on one line."""
    return " ".join(" ".join(lines(table)).split())


def row(table: Table, name: str) -> str:
    """The printed line that begins with a name."""
    return next(line for line in lines(table) if line.startswith(f"{name} "))


def strict(rows: list) -> list:
    """As JSON gives them back; fails on NaN."""
    return json.loads(json.dumps(rows, allow_nan=False))
