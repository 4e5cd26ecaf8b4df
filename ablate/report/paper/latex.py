"""A table in LaTeX, with the rules of booktabs."""

from __future__ import annotations

import re

from ablate.report.paper.cell import Cell
from ablate.report.paper.table import PaperTable

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

    One that is too wide for the page is drawn smaller, as kableExtra's `scale_down` does it.
    Names in other scripts than Latin are left as they are, which XeLaTeX and LuaLaTeX can draw.
    """
    columns = "".join("l" if heading.is_text else "r" for heading in table.headings)
    headings = " & ".join(_escaped(heading.text) for heading in table.headings)
    notes = "; ".join(map(_escaped, table.notes))
    label = _NOT_IN_A_LABEL.sub("-", table.name)
    lines = [
        r"% Needs \usepackage{booktabs,graphicx}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\label{{tab:{label}}}",
        r"\par\smallskip",
        r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        rf"{headings} \\",
        r"\midrule",
        *(rf"{' & '.join(map(_cell, row))} \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par\smallskip",
        rf"\parbox{{\linewidth}}{{\footnotesize {notes}.}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell) -> str:
    mean, sd, low, high = cell.parts
    if cell.estimate is None:
        text = _escaped(cell.text)
        return rf"\textbf{{{text}}}" if cell.is_bold else text
    if not mean:
        return "--"
    number = mean + rf" \pm {sd}" * bool(sd) + rf"\ [{low}, {high}]" * bool(low)
    return rf"$\mathbf{{{number}}}$" if cell.is_bold else f"${number}$"


def _escaped(text: str) -> str:
    """On one line, and nothing in it is a command."""
    escaped = "".join(_ESCAPES.get(one, one) for one in " ".join(text.split()))
    return escaped.replace("--", "-{}-{}")  # else drawn as a dash
