"""What a study, a front, effects and an evaluation look like in a notebook: a small table, and the
figure where there is one.

They are found by the names of their classes, so that none is loaded that is not shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from html import escape
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.measure import Measurement

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.analysis.pareto import ParetoInfo
    from ablate.ledger.record import StudyRecord
    from ablate.robustness.evaluation.evaluation import Evaluation
    from ablate.study.settings import Study

_COLUMNS, _WIDEST = 100, 400
_STYLE = (
    "font-family: monospace; font-size: 0.9em; line-height: 1.2; white-space: pre; overflow-x: auto"
)
_PRE = f'<pre style="{_STYLE}">{{code}}</pre>'


def html_of(*parts: RenderableType) -> str:
    """The HTML of what the command line would print; a table that needs more columns has them."""
    console = Console(file=StringIO(), record=True, width=_WIDEST, force_jupyter=False)
    needed = (Measurement.get(console, console.options, part).minimum for part in parts)
    console.width = max(_COLUMNS, *needed)
    for part in parts:
        console.print(part)
    return console.export_html(inline_styles=True, code_format=_PRE)


def study_html(study: Study) -> str:
    """A study, as its file."""
    return _PRE.format(code=escape(study.to_yaml()))


def record_html(record: StudyRecord) -> str:
    """The state of a study, and the front or the best trials of a search."""
    from ablate.analysis.pareto import pareto_info
    from ablate.analysis.summary import status_info
    from ablate.report.terminal.status import status_table
    from ablate.report.terminal.tables import front_table

    parts: list[RenderableType] = [status_table(status_info(record, time.time()))]
    if record.design is None and any(row.values is not None for row in record.rows):
        parts.append(front_table(pareto_info(record)))
    return html_of(*parts)


def front_html(info: ParetoInfo) -> str:
    """The front of a search."""
    from ablate.report.terminal.tables import front_table

    return html_of(front_table(info))


def ablation_html(info: AblationInfo) -> str:
    """The arms of an ablation, and its effects."""
    from ablate.report.terminal.ablation import arms_table, effects_table

    return html_of(arms_table(info), effects_table(info))


def confirmation_html(info: ConfirmInfo) -> str:
    """The arms on the test images and their effects, and of a front what of it was luck."""
    from ablate.report.terminal.ablation import arms_table, effects_table, points_table

    luck = [points_table(info)] if info.points else []
    return html_of(arms_table(info.test), effects_table(info.test), *luck)


def evaluation_html(evaluation: Evaluation) -> str:
    """The scores of an evaluation."""
    from ablate.report.terminal.evaluation import evaluation_report

    return html_of(evaluation_report(evaluation))


def record_figure(record: StudyRecord) -> Figure | None:
    """Of a search with a complete trial, its usual figure."""
    from ablate.ablation.study_source import StudySource
    from ablate.report.figures import find_figure
    from ablate.report.figures.canvas import WIDE
    from ablate.report.figures.figure import FigureOptions, usual_figure

    if record.design is not None or all(row.values is None for row in record.rows):
        return None
    source = StudySource(record)
    kind = find_figure(usual_figure(source))
    figure = kind.draw(kind.info([source], FigureOptions()), WIDE)
    return figure.update_layout(height=figure.layout.meta["image_pixels"][1])


def ablation_figure(info: AblationInfo) -> Figure:
    """The effects of an ablation that its table has."""
    from ablate.report.effects import shown_effects
    from ablate.report.figures.canvas import WIDE
    from ablate.report.figures.effects import effects_info, plot_effects

    primary, others = shown_effects(info)
    figure = plot_effects(effects_info(info, [*primary, *others]), WIDE)
    return figure.update_layout(height=figure.layout.meta["image_pixels"][1])


_SHOWN: dict[tuple[str, str], tuple[Callable[[Any], str], Callable[[Any], Figure | None]]] = {
    ("ablate.study.settings", "Study"): (study_html, lambda _: None),
    ("ablate.ledger.record", "StudyRecord"): (record_html, record_figure),
    ("ablate.analysis.pareto", "ParetoInfo"): (front_html, lambda _: None),
    ("ablate.ablation.info", "AblationInfo"): (ablation_html, ablation_figure),
    ("ablate.ablation.confirm", "ConfirmInfo"): (
        confirmation_html,
        lambda info: ablation_figure(info.test),
    ),
    ("ablate.robustness.evaluation.evaluation", "Evaluation"): (evaluation_html, lambda _: None),
}
"""By module and name of a class: its table, and its figure."""


def html(thing: object) -> str:
    """The table of a study, a front, effects or an evaluation."""
    return _shown(thing)[0](thing)


def display(thing: object) -> None:
    """Show table and figure in the cell that runs.

    Raises:
        NotImplementedError: outside of a notebook, where IPython prints the text.
    """
    shell = sys.modules["IPython"].get_ipython()
    if not hasattr(shell, "kernel"):
        raise NotImplementedError
    notebook: Any = import_module("IPython.display")
    table, figure = _shown(thing)
    notebook.display(notebook.HTML(table(thing)))
    drawn = figure(thing)
    if drawn is not None:
        notebook.display(drawn)


def _shown(thing: object) -> tuple[Callable[[Any], str], Callable[[Any], Figure | None]]:
    names = ((kind.__module__, kind.__qualname__) for kind in type(thing).__mro__)
    return next(_SHOWN[name] for name in names if name in _SHOWN)
