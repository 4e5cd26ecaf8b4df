"""`ablate table`: a study as the table of a paper."""

from __future__ import annotations

from pathlib import Path

from ablate.analysis.pareto import pareto_info
from ablate.errors import UsageError
from ablate.files.cache import publish_file
from ablate.ledger.foreign import check_two_objectives
from ablate.lifecycle.open_study import OpenStudy
from ablate.report.paper.effects import effects_paper_table
from ablate.report.paper.formats import csv_text, html_text, latex_text, markdown_text
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table

_WRITERS = {"md": markdown_text, "latex": latex_text, "csv": csv_text, "html": html_text}


def paper_table(study: OpenStudy, *, effects: bool = False) -> PaperTable:
    """Of an ablation or confirmation its arms, or its effects; of a search its front.

    Raises:
        UsageError: if effects are asked of a search.
    """
    record = study.record
    if effects:
        if record.design is None:
            raise UsageError(
                f"study {record.name}: --effects needs an ablation, got a search. Leave it out."
            )
        return effects_paper_table(study.ablation)
    if record.design is None:
        check_two_objectives(record)
        return front_paper_table(pareto_info(record))
    return arms_paper_table(study.ablation)


def table_text(table: PaperTable, style: str) -> str:
    """A table in one of the formats of `ablate table`."""
    return _WRITERS[style](table)


def write_table(text: str, path: Path) -> Path:
    """Write the table atomically.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    publish_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
