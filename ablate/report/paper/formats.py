"""The table of a paper as a page, CSV, Markdown and LaTeX, and `ablate table`."""

from __future__ import annotations

import csv
import io
import math
import re
from importlib.resources import files

from ablate.analysis.pareto import pareto_info
from ablate.errors import UsageError
from ablate.files.shown import without_controls
from ablate.lifecycle.open_study import OpenStudy, read_ablations
from ablate.report.arms import Cell
from ablate.report.paper.effects import effects_paper_table
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table


def html_text(table: PaperTable) -> str:
    """A page without scripts and network requests, light or dark by the reader's system setting;
    ends with a newline."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    text = (files(__package__) / "table.html.j2").read_text(encoding="utf-8")
    return page.from_string(text).render(table=table)


# -- A table as CSV: for programs, so in fractions, at full precision ----------------------


_FIELDS = ("mean", "sd", "low", "high", "n")


def csv_text(table: PaperTable) -> str:
    """One row per arm, five columns per metric: METRIC.mean, .sd, .low, .high (95 % interval) and
    .n.

    Numbers are the shortest text that gives the same float, p has six digits; empty if missing.
    Title and notes are left out.
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
            cells += [cell.data or cell.text] if heading.is_text else _numbers(cell)
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
    return _SPECIAL.sub(r"\\\1", without_controls(" ".join(text.split())))


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
    escaped = "".join(_ESCAPES.get(one, one) for one in without_controls(" ".join(text.split())))
    return escaped.replace("--", "-{}-{}")  # else drawn as a dash


# -- `ablate table`: a study as the table of a paper -----------------------------------------


_WRITERS = {"md": markdown_text, "latex": latex_text, "csv": csv_text, "html": html_text}


def paper_table(*studies: OpenStudy, effects: bool = False) -> PaperTable:
    """Of an ablation or confirmation, or of several read as one, its arms or its effects; of a
    search its front, or for one objective its best trials.

    Raises:
        UsageError: if effects are asked of a search, or several studies do not match.
    """
    record = studies[0].record
    if len(studies) > 1:
        info = read_ablations(studies)
        return effects_paper_table(info) if effects else arms_paper_table(info)
    study = studies[0]
    if effects:
        if record.design is None:
            raise UsageError(
                f"study {record.name}: --effects needs an ablation, got a search. Leave it out."
            )
        return effects_paper_table(study.ablation)
    if record.design is None:
        return front_paper_table(pareto_info(record))
    return arms_paper_table(study.ablation)


def table_text(table: PaperTable, style: str) -> str:
    """A table in one of the formats of `ablate table`."""
    return _WRITERS[style](table)
