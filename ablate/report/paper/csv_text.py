"""A table as CSV: for programs, so in fractions, at full precision."""

from __future__ import annotations

import csv
import io
import math

from ablate.report.paper.cell import Cell
from ablate.report.paper.table import PaperTable

_FIELDS = ("mean", "sd", "low", "high", "n")


def csv_text(table: PaperTable) -> str:
    """A row an arm, five columns a metric: METRIC.mean, .sd, .low, .high (95 % interval) and .n.

    Numbers are Python's shortest that read back the same; empty where there is none.  Title and
    notes are left out.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads: list[str] = []
    for heading in table.headings:
        keys = [f"{heading.key}.{field}" for field in _FIELDS]
        heads += [heading.key] if heading.is_text else keys
    writer.writerow(heads)
    for row in table.rows:
        cells: list[str] = []
        for heading, cell in zip(table.headings, row, strict=True):
            cells += [cell.text] if heading.is_text else _numbers(cell)
        writer.writerow(cells)
    return out.getvalue()


def _numbers(cell: Cell) -> list[str]:
    one = cell.estimate
    if one is None:
        return [""] * len(_FIELDS)
    numbers = (one.mean, one.sd, one.low, one.high)
    return [*("" if math.isnan(value) else repr(float(value)) for value in numbers), str(one.n)]
