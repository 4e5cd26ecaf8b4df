"""What a study, its results and an evaluation look like in a notebook: sentences, tables, and the
figure where there is one.  It is loaded when one of them is shown."""

from __future__ import annotations

import re
import sys
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import ParetoInfo
from ablate.ledger.record import StudyRecord
from ablate.report.answer import study_answer
from ablate.report.formats import html_table
from ablate.report.tables import Table, effects_table, front_table, result_table, shown_effects
from ablate.report.terminal.streams import HTML, html_of
from ablate.study.displayed import Displayed
from ablate.study.settings import Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def html(thing: Any) -> str:
    """The sentences and tables of a study, its results, or an evaluation; a study from Python as
    its file."""
    if isinstance(thing, Study):
        return HTML.format(code=escape(thing.to_yaml()))
    said, tables = list[str](), list[Table]()
    thing = thing.test if isinstance(thing, ConfirmInfo) else thing
    if isinstance(thing, StudyRecord):
        said.append(f"{thing.name}: {thing.ended} of {thing.trials} trials ended.")
        if _is_answered(thing):
            source = StudySource(thing)
            said += study_answer(source).sentences
            tables.append(front_table(source.front))
    elif isinstance(thing, ParetoInfo):
        tables = [front_table(thing)]
    elif isinstance(thing, AblationInfo):
        tables = [result_table(thing), effects_table(thing)]
    else:
        from ablate.report.terminal.evaluation import evaluation_report

        return html_of(evaluation_report(thing))
    texts = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text)) for text in said)
    return "".join(f"<p>{text}</p>\n" for text in texts) + "".join(
        f'<div style="overflow-x: auto">\n{html_table(table)}</div>\n' for table in tables
    )


def _is_answered(record: StudyRecord) -> bool:
    """Whether it is a search with a complete trial."""
    return record.design is None and bool(record.complete)


def display(thing: Displayed) -> None:
    """Show sentences, tables and figure in the cell that runs.

    Raises:
        NotImplementedError: outside of a notebook, where IPython prints the text.
    """
    shell = sys.modules["IPython"].get_ipython()
    if not hasattr(shell, "kernel"):
        raise NotImplementedError
    notebook: Any = import_module("IPython.display")
    notebook.display(notebook.HTML(html(thing)))
    figure = _figure(thing)
    if figure is not None:  # plotly's own height may be too little
        height = figure.layout.meta["image_pixels"][1]
        notebook.display(figure.update_layout(height=height))


def _figure(thing: Displayed) -> Figure | None:
    """The usual figure of a search, or the effects of an ablation that its table has."""
    from ablate.report.figures import find_figure
    from ablate.report.figures.canvas import WIDE
    from ablate.report.figures.figure import usual_figure

    if isinstance(thing, StudyRecord) and _is_answered(thing):
        source = StudySource(thing)
        kind = find_figure(usual_figure(source))
        return kind.draw(kind.info([source]), WIDE)
    if isinstance(thing, (AblationInfo, ConfirmInfo)):
        from ablate.report.figures.effects import draw, effects_info

        info = thing.test if isinstance(thing, ConfirmInfo) else thing
        primary, others = shown_effects(info)
        return draw(effects_info(info, [*primary, *others]), WIDE)
    return None
