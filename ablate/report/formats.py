"""A table for a terminal, in Markdown, LaTeX, CSV, HTML, and as JSON rows."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from jinja2 import Template


# -- A terminal


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
        columns = [
            column for column in self.table.columns if self.table.keeps_empty or _has_any(column)
        ]
        left_out: list[str] = []
        for keys in self.table.narrow:
            if sum(_least_width(column) + 2 for column in columns) - 2 <= options.max_width:
                break
            left_out += [column.heading for column in columns if column.key in keys]
            columns = [column for column in columns if column.key not in keys]
        drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            printed = [cell.printed for cell in column.cells]
            is_numeric = all(re.match(r"[-<>]?\.?\d|-?$", text) for text in printed)
            drawn.add_column(
                Text(column.heading),
                justify="right" if is_numeric or not column.is_text else "left",
                overflow="fold",
                no_wrap=not column.folds,
                min_width=_least_width(column),
            )
        for row in zip(*(column.cells for column in columns), strict=True):
            drawn.add_row(*(Text(one.printed, style=shown_if(one.is_bold, "bold")) for one in row))
        if self.table.title:
            yield Text(self.table.title)
        yield drawn
        if left_out:
            yield Text(f"not shown (too wide): {', '.join(left_out)}", style="dim")
        if self.notes:
            yield from (Text(f"- {note}") for note in self.table.notes)


def _has_any(column: Column) -> bool:
    """Whether something stands in it."""
    return not column.cells or bool({cell.printed for cell in column.cells} - {"", MISSING})


def _least_width(column: Column) -> int:
    widest = max(map(cell_len, (column.heading, *(cell.printed for cell in column.cells))))
    return min(widest, column.folds or widest)


# -- CSV and JSON: for programs, so in fractions, at full precision


def csv_text(table: Table) -> str:
    """The frame: five columns a number, KEY.mean, .sd, .low, .high (95 % interval) and .n.

    Numbers are the shortest text that gives the same float, p has six digits; empty if missing.
    Title and notes are left out.
    """
    frame = table.frame
    for column in table.columns:
        if column.is_text:
            for key in column.data:
                frame[key] = [_csv_value(value) for value in frame[key]]
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _csv_value(value: Any) -> str:
    """Of a text, a p, or the numbers of several baselines."""
    if isinstance(value, tuple):
        return ", ".join(map(repr, value))
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def result_rows(info: Result) -> list[dict[str, Any]]:
    """What `--json` gives of a search, an ablation or a confirmation, at full precision.

    Of a search the references, then the front, or the best of one objective: each with `name`
    ("baseline", "adapted baseline", "plain", "trial" or "mixture"), `number` (of a trial), `values`
    and `gains` by metric, and `marks`; a trial and a mixture have `trials` and `weights` (what is
    missing to 1 is the baseline's), `alpha`, `copy_of`, `loss_terms`, `params` and `scores` too.
    Of an ablation one dict with all fields of the info by name, and of each effect whether it is
    primary.  Of a confirmation one dict: `test`, `validation` (as of an ablation), `points`, and
    the `level` of their intervals over a reference.
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
        }
    ]


def _front_rows(info: ParetoInfo) -> list[dict[str, Any]]:
    metrics = [objective.metric for objective in info.objectives]

    def row(name: str, number: int | None, values: Sequence[float], **more: Any) -> dict[str, Any]:
        by_metric = dict(zip(metrics, values, strict=True))
        gains = dict(zip(metrics, info.gains(tuple(values)), strict=True))
        data = {"name": name, "number": number, "values": by_metric, "gains": gains, **more}
        return {**json_value(data), "marks": list(info.marks)}

    references = [row(name, None, values) for name, values in info.references.items()]
    trials = [
        row(
            "mixture" if point.is_mixture else "trial",
            None if point.is_mixture else point.number,
            point.values,
            trials=list(point.point.trials),
            weights=list(point.point.weights),
            alpha=point.point.alpha,
            copy_of=point.copy_of,
            loss_terms=point.loss_terms,
            params=dict(point.params),
            scores=point.scores.metrics() if point.scores else {},
        )
        for point in info.leading
    ]
    return references + trials


# -- GitHub's Markdown


_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$#])")


def markdown_text(table: Table) -> str:
    """Title, table and a list of notes; ends with a newline."""
    rows = [
        [_markdown(heading) for heading in table.headings],
        [":---" if column.is_text else "---:" for column in table.columns],
    ]
    for row in table.rows:
        texts = [(_markdown(cell.printed), cell.is_bold) for cell in row]
        rows.append([f"**{text}**" if is_bold else text for text, is_bold in texts])
    lines = [f"**{_markdown(table.title)}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {_markdown(note)}" for note in table.notes)]) + "\n"


def _one_line(text: str) -> str:
    return without_controls(" ".join(text.split()))


def _markdown(text: str) -> str:
    """Escape markup, on one line: a `|` would end a cell, a `$` start a formula."""
    return _SPECIAL.sub(r"\\\1", _one_line(text))


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
_LATEX = r"""% Needs \usepackage{booktabs,graphicx}.
\begin{table}
\centering
\caption{CAPTION}
\label{tab:NAME}
\par\smallskip
\small
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{@{}COLUMNS@{}}
\toprule
HEADINGS \\
\midrule
ROWS\bottomrule
\end{tabular}}
\end{table}
"""


def latex_text(table: Table) -> str:
    r"""A `table` with a caption of one sentence and a label; ends with a newline.

    A table that is too wide for the page is scaled down, as with kableExtra's `scale_down`.  Names
    in non-Latin scripts are unchanged; XeLaTeX and LuaLaTeX can typeset them.
    """
    parts = {
        "CAPTION": _latex(table.caption or table.title),
        "NAME": re.sub(r"[^A-Za-z0-9_.:-]+", "-", table.name),
        "COLUMNS": "".join("l" if column.is_text else "r" for column in table.columns),
        "HEADINGS": " & ".join(map(_latex, table.headings)),
        "ROWS": "".join(f"{' & '.join(map(_latex_cell, row))} \\\\\n" for row in table.rows),
    }
    return re.sub("|".join(parts), lambda name: parts[name[0]], _LATEX)


def notes_text(table: Table) -> str:
    """The notes alone, a line each: what stands beside a table in LaTeX."""
    return "".join(f"{_one_line(note)}\n" for note in table.notes)


def _latex_cell(cell: Cell) -> str:
    mean, sd, low, high = cell.parts
    if not mean:
        return "--" if cell.printed == MISSING else _latex(cell.printed)
    number = mean + shown_if(sd, rf" \pm {sd}") + shown_if(low, rf"\ [{low}, {high}]")
    return rf"$\mathbf{{{number}}}$" if cell.is_bold else f"${number}$"


def _latex(text: str) -> str:
    """On one line, and nothing in it is a command."""
    escaped = "".join(_ESCAPES.get(one, one) for one in _one_line(text))
    return escaped.replace("--", "-{}-{}")  # else drawn as a dash


# -- HTML


def html_text(table: Table) -> str:
    """A page without scripts and network requests, light or dark by the reader's system setting;
    ends with a newline."""
    return _html().render(table=table, is_page=True)


def html_table(table: Table) -> str:
    """The table element alone, for a page or a notebook: cells of numbers have the class
    `number`, a row begins with its heading."""
    return _html().render(table=table)


@cache
def _html() -> Template:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((files("ablate.report") / "table.html.j2").read_text("utf-8"))


WRITERS = {"md": markdown_text, "latex": latex_text, "csv": csv_text, "html": html_text}
"""By the format of `ablate table`."""
ENDINGS = {".md": "md", ".tex": "latex", ".csv": "csv", ".html": "html"}
