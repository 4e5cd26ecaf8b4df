"""A table as a separate page, light or dark by the reader's system setting."""

from __future__ import annotations

import csv
import io
import math
import re
from html import escape

from ablate.report.arms import Cell
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
    """A page without scripts and network requests; ends with a newline."""
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


# -- A table as CSV: for programs, so in fractions, at full precision ----------------------


_FIELDS = ("mean", "sd", "low", "high", "n")


def csv_text(table: PaperTable) -> str:
    """One row per arm, five columns per metric: METRIC.mean, .sd, .low, .high (95 % interval) and
    .n.

    Numbers are the shortest text that gives the same float; empty if missing.  Title and notes are
    left out.
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


# -- A table in GitHub's Markdown ----------------------------------------------------------


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
    """Escape markup, on one line: a `|` would end a cell, a `$` start a formula."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


# -- A table in LaTeX, with the rules of booktabs ------------------------------------------


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After \\ or a rule these would begin an argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "•": r"\textbullet{}",
}
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_.:-]+")


def latex_text(table: PaperTable) -> str:
    r"""A `table` with caption, label and notes; ends with a newline.

    A table that is too wide for the page is scaled down, as with kableExtra's `scale_down`.  Names
    in non-Latin scripts are unchanged; XeLaTeX and LuaLaTeX can typeset them.
    """
    columns = "".join("l" if heading.is_text else "r" for heading in table.headings)
    headings = " & ".join(_latex_escaped(heading.text) for heading in table.headings)
    notes = "; ".join(map(_latex_escaped, table.notes))
    label = _NOT_IN_A_LABEL.sub("-", table.name)
    lines = [
        r"% Needs \usepackage{booktabs,graphicx}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex_escaped(table.title)}}}",
        rf"\label{{tab:{label}}}",
        r"\par\smallskip",
        r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        rf"{headings} \\",
        r"\midrule",
        *(rf"{' & '.join(map(_latex_cell, row))} \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip",
        rf"\parbox{{\linewidth}}{{\footnotesize {notes}.}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell) -> str:
    mean, sd, low, high = cell.parts
    if cell.estimate is None:
        text = _latex_escaped(cell.text)
        return rf"\textbf{{{text}}}" if cell.is_bold else text
    if not mean:
        return "--"
    number = mean + rf" \pm {sd}" * bool(sd) + rf"\ [{low}, {high}]" * bool(low)
    return rf"$\mathbf{{{number}}}$" if cell.is_bold else f"${number}$"


def _latex_escaped(text: str) -> str:
    """On one line, and nothing in it is a command."""
    escaped = "".join(_ESCAPES.get(one, one) for one in " ".join(text.split()))
    return escaped.replace("--", "-{}-{}")  # else drawn as a dash
