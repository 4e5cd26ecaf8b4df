"""What is printed of an ablation, as a test asks for it."""

from __future__ import annotations

from printed_tables import lines

from ablate.report.terminal.tables import FittedTable


def said(table: FittedTable) -> str:
    """All that is printed, on one line."""
    return " ".join(" ".join(lines(table)).split())


def row(table: FittedTable, name: str) -> str:
    """The printed line that begins with a name."""
    return next(line for line in lines(table) if line.startswith(f"{name} "))
