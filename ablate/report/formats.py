"""A table for a terminal, in Markdown, LaTeX, CSV, HTML, and as JSON rows."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from ablate.ablation.info import AblationInfo
from ablate.analysis.pareto import ParetoInfo
from ablate.files.shown import shown_if, without_controls
from ablate.report.arms import Cell
from ablate.report.numbers import MISSING
from ablate.report.tables import Column, Result, Table
from ablate.study.json_data import json_value

# -- A terminal


_GAP = 2


@dataclass(frozen=True)
class TerminalTable:
    """A table for rich to print: no number is cut.

    In a narrow terminal columns are left out, as `Table.narrow` says, and named below; then texts
    that may are folded.

    Attributes:
        notes: whether the notes are printed.
    """

    table: Table
    notes: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [one for one in self.table.columns if self.table.keeps_empty or _has_any(one)]
        left_out: list[str] = []
        for keys in self.table.narrow:
            if sum(map(_least, shown)) + _GAP * (len(shown) - 1) <= options.max_width:
                break
            left_out += [one.heading for one in shown if one.key in keys]
            shown = [one for one in shown if one.key not in keys]
        drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column in shown:
            drawn.add_column(
                Text(column.heading),
                justify="left" if column.is_text and not _is_numeric(column) else "right",
                overflow="fold",
                no_wrap=not column.folds,
                min_width=_least(column),
            )
        for row in zip(*(column.cells for column in shown), strict=True):
            drawn.add_row(*(Text(one.printed, style=shown_if(one.is_bold, "bold")) for one in row))
        if self.table.title:
            yield Text(self.table.title)
        yield drawn
        if left_out:
            yield Text(f"not shown (too wide): {', '.join(left_out)}", style="dim")
        for note in self.table.notes if self.notes else ():
            yield Text(f"- {note}")


def _is_numeric(column: Column) -> bool:
    """Whether every text in it begins as a number."""
    return all(re.match(r"[-<>]?\.?\d|-?$", cell.printed) for cell in column.cells)


def _has_any(column: Column) -> bool:
    """Whether something stands in it."""
    return not column.cells or bool({cell.printed for cell in column.cells} - {"", MISSING})


def _least(column: Column) -> int:
    """The characters that a column needs."""
    widest = max(map(cell_len, (column.heading, *(cell.printed for cell in column.cells))))
    return min(widest, column.folds or widest)


# -- CSV and JSON: for programs, so in fractions, at full precision


def csv_text(table: Table) -> str:
    """The frame: five columns a number, KEY.mean, .sd, .low, .high (95 % interval) and .n.

    Numbers are the shortest text that gives the same float, p has six digits; empty if missing.
    Title and notes are left out.
    """
    columns = {
        key: [_written(value, is_p=column.is_text) for value in values]
        for column in table.columns
        for key, values in column.data.items()
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _written(value: Any, *, is_p: bool) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(repr, value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING if is_p else ""
    if isinstance(value, float):
        return f"{value:.6g}" if is_p else repr(float(value))
    return str(value)


def result_rows(info: Result) -> list[dict[str, Any]]:
    """What `--json` gives of a search, an ablation or a confirmation, at full precision.

    Of a search the references, then the front, or the best of one objective: each with `name`
    ("baseline", "adapted baseline", "plain" or "trial"), `number` (None for a reference), `values`
    and `gains` by metric, and `marks`; a trial has `alpha`, `copy_of`, `loss_terms`, `params` and
    `scores` too.  Of an ablation one dict with all fields of the info by name, and of each effect
    whether it is primary.  Of a confirmation one dict: `test`, `validation` (as of an ablation),
    `points`, the `level` of their intervals over a reference, and the `objectives` and
    `constraints` of their probabilities.
    """
    if isinstance(info, ParetoInfo):
        return _front_rows(info)
    if isinstance(info, AblationInfo):
        whole: dict[str, Any] = json_value(asdict(replace(info, compare=None)))
        del whole["compare"]
        for row, effect in zip(whole["effects"], info.effects, strict=True):
            row["primary"] = effect.primary
        return [whole]
    points = json_value([asdict(point) for point in info.points])
    for point in points:
        del point["metrics"]  # which are the keys of the rest
    return [
        {
            "test": result_rows(info.test),
            "validation": result_rows(info.validation),
            "points": points,
            "level": info.test.level,
            "objectives": list(info.objectives),
            "constraints": list(info.constraints),
        }
    ]


def _front_rows(info: ParetoInfo) -> list[dict[str, Any]]:
    metrics = [objective.metric for objective in info.objectives]

    def row(name: str, number: int | None, values: Sequence[float], **more: Any) -> dict[str, Any]:
        read = dict(zip(metrics, values, strict=True))
        gains = dict(zip(metrics, info.gains(tuple(values)), strict=True))
        found = {"name": name, "number": number, "values": read, "gains": gains, **more}
        return {**json_value(found), "marks": list(info.marks)}

    rows = [row(name, None, values) for name, values in info.references.items()]
    for point in info.leading:
        more: dict[str, Any] = {"alpha": point.point.alpha, "copy_of": point.copy_of}
        more |= {"loss_terms": point.loss_terms, "params": dict(point.params)}
        scores = point.scores.metrics() if point.scores else {}
        rows.append(row("trial", point.number, point.values, **more, scores=scores))
    return rows


# -- GitHub's Markdown


_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$#])")


def markdown_text(table: Table) -> str:
    """Title, table and a list of notes; ends with a newline."""
    rule = [":---" if column.is_text else "---:" for column in table.columns]
    cells = [
        [
            shown_if(one.is_bold, "**") + _markdown(one.printed) + shown_if(one.is_bold, "**")
            for one in row
        ]
        for row in table.rows
    ]
    rows = [[_markdown(heading) for heading in table.headings], rule, *cells]
    lines = [f"**{_markdown(table.title)}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {_markdown(note)}" for note in table.notes)]) + "\n"


def _markdown(text: str) -> str:
    """Escape markup, on one line: a `|` would end a cell, a `$` start a formula."""
    return _SPECIAL.sub(r"\\\1", without_controls(" ".join(text.split())))


# -- LaTeX, with the rules of booktabs


_ESCAPES = {
    **{one: f"\\{one}" for one in "{}&%$#_"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{one: f"{{{one}}}" for one in "[]*"},  # after \\ or a rule these would begin an argument
    "±": r"$\pm$",
    "•": r"\textbullet{}",
}
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_.:-]+")


def latex_text(table: Table) -> str:
    r"""A `table` with a caption of one sentence and a label; ends with a newline.

    A table that is too wide for the page is scaled down, as with kableExtra's `scale_down`.  Names
    in non-Latin scripts are unchanged; XeLaTeX and LuaLaTeX can typeset them.
    """
    body = [f"{' & '.join(map(_latex_cell, row))} \\\\" for row in table.rows]
    columns = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        r"% Needs \usepackage{booktabs,graphicx}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption or table.title)}}}",
        rf"\label{{tab:{_NOT_IN_A_LABEL.sub('-', table.name)}}}",
        r"\par\smallskip",
        r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        f"{' & '.join(map(_latex, table.headings))} \\\\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def notes_text(table: Table) -> str:
    """The notes alone, a line each: what stands beside a table in LaTeX."""
    return "".join(f"{without_controls(' '.join(note.split()))}\n" for note in table.notes)


def _latex_cell(cell: Cell) -> str:
    mean, sd, low, high = cell.parts
    if not mean:
        return "--" if cell.printed == MISSING else _latex(cell.printed)
    number = mean + shown_if(sd, rf" \pm {sd}") + shown_if(low, rf"\ [{low}, {high}]")
    return rf"$\mathbf{{{number}}}$" if cell.is_bold else f"${number}$"


def _latex(text: str) -> str:
    """On one line, and nothing in it is a command."""
    escaped = "".join(_ESCAPES.get(one, one) for one in without_controls(" ".join(text.split())))
    return escaped.replace("--", "-{}-{}")  # else drawn as a dash


# -- HTML


_STYLE = """
:root { color-scheme: light dark; } body { font: 15px/1.5 Helvetica, Arial, sans-serif; }
table { border-collapse: collapse; border-block: 2px solid; } caption { font-weight: bold; }
th, td { padding: 0.3rem 0.8rem; text-align: left; font-weight: normal; }
thead th { border-bottom: 1px solid; vertical-align: bottom; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
"""


def html_text(table: Table) -> str:
    """A page without scripts and network requests, light or dark by the reader's system setting;
    ends with a newline."""
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in table.notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(table.name)}</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f"<div>\n{html_table(table)}</div>\n<ul>\n{notes}</ul>\n</body>\n</html>\n"
    )


def html_table(table: Table) -> str:
    """The table element alone, for a page or a notebook: cells of numbers have the class
    `number`, a row begins with its heading."""
    css = ["" if column.is_text else ' class="number"' for column in table.columns]
    heads = "".join(
        f'<th scope="col"{of}>{escape(heading)}</th>'
        for heading, of in zip(table.headings, css, strict=True)
    )
    rows = ""
    for row in table.rows:
        first, *others = (_html_cell(cell) for cell in row)
        cells = "".join(f"<td{of}>{text}</td>" for text, of in zip(others, css[1:], strict=True))
        rows += f'<tr><th scope="row"{css[0]}>{first}</th>{cells}</tr>\n'
    return (
        f"<table>\n<caption>{escape(table.title)}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody>\n</table>\n"
    )


def _html_cell(cell: Cell) -> str:
    text = escape(cell.printed.replace("-", "\u2212") if cell.parts.mean else cell.printed)
    return f"<strong>{text}</strong>" if cell.is_bold else text


WRITERS = {"md": markdown_text, "latex": latex_text, "csv": csv_text, "html": html_text}
"""By the format of `ablate table`."""
ENDINGS = {".md": "md", ".tex": "latex", ".csv": "csv", ".html": "html"}
