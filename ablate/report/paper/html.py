"""A table as a page of its own, in the light or dark of whoever reads it."""

from __future__ import annotations

from html import escape

from ablate.report.paper.cell import Cell
from ablate.report.paper.table import PaperTable

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 Helvetica, Arial, "Liberation Sans", sans-serif; margin: 2rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; border-block: 2px solid; }}
caption {{ text-align: left; font-weight: bold; padding-block: 0.5rem; }}
thead th {{ border-bottom: 1px solid; vertical-align: bottom; }}
th, td {{ padding: 0.3rem 0.8rem; text-align: left; font-weight: normal; }}
.number {{ text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }}
ul {{ padding-left: 1.2rem; font-size: 13px; max-width: 50rem; }}
</style>
</head>
<body>
<div>
<table>
<caption>{title}</caption>
<thead>
<tr>{headings}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<ul>
{notes}
</ul>
</body>
</html>
"""


def html_text(table: PaperTable) -> str:
    """A page without a script that asks no network for anything; ends with a newline."""
    headings = "".join(
        f'<th scope="col"{_class(heading.is_text)}>{escape(heading.text)}</th>'
        for heading in table.headings
    )
    is_text = [heading.is_text for heading in table.headings]
    rows = [_row(row, is_text) for row in table.rows]
    notes = [f"<li>{escape(note)}</li>" for note in table.notes]
    return _PAGE.format(
        name=escape(table.name),
        title=escape(table.title),
        headings=headings,
        rows="\n".join(rows),
        notes="\n".join(notes),
    )


def _row(row: tuple[Cell, ...], is_text: list[bool]) -> str:
    cells = [f'<th scope="row">{_printed(row[0])}</th>']
    cells += [
        f"<td{_class(text)}>{_printed(cell)}</td>"
        for cell, text in zip(row[1:], is_text[1:], strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _printed(cell: Cell) -> str:
    text = escape(cell.printed)
    if cell.parts.mean:
        text = text.replace("-", "\N{MINUS SIGN}")
    return f"<strong>{text}</strong>" if cell.is_bold else text


def _class(is_text: bool) -> str:
    return "" if is_text else ' class="number"'
