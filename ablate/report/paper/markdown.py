"""A table in GitHub's Markdown."""

from __future__ import annotations

import re

from ablate.report.paper.cell import Cell
from ablate.report.paper.table import PaperTable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$#])")


def markdown_text(table: PaperTable) -> str:
    """Title, table and a list of notes; ends with a newline."""
    headings = [_escaped(heading.text) for heading in table.headings]
    rule = [":---" if heading.is_text else "---:" for heading in table.headings]
    rows = [headings, rule, *(list(map(_cell, row)) for row in table.rows)]
    lines = [f"**{_escaped(table.title)}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    lines += [f"- {_escaped(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell) -> str:
    return f"**{_escaped(cell.printed)}**" if cell.is_bold else _escaped(cell.printed)


def _escaped(text: str) -> str:
    """On one line, and nothing in it is markup: a `|` would end a cell, a `$` begin a formula."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
