"""What the report's page shows, computed from a study, as data without markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ablate.ablation.study_source import StudySource
from ablate.analysis.accounting import study_account
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import continuation
from ablate.errors import NothingToDrawError
from ablate.ledger.record import StudyRecord
from ablate.report.answer import Answer, study_answer
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import usual_figure, why_not_drawn
from ablate.report.page.methods import Methods, methods
from ablate.report.page.origin import Fact, origin_facts
from ablate.report.page.trials import TrialsTable, trials_of
from ablate.report.tables import Table, arms_table, effects_table, front_table, luck_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SECTIONS = {
    "cost": "The front in numbers",
    "part": "Which part earns it?",
    "types": "Robust to what?",
    "settings": "Which settings matter?",
    "examples": "What does it look like?",
    "trials": "All trials",
    "measured": "How was it measured?",
}
"""Anchor and heading of what is folded below the first screen; a section without content is left
out."""
_OF_TEST = ("part", "types")
"""Sections whose figures are of the confirmation once there is one."""
_QUESTIONS = {
    True: "What does robustness cost, and which part earns it?",
    False: "Which settings are best?",
}
"""Of a study without one, by whether a robust accuracy is an objective."""
_BUTTONS = 22
"""Pixels over a figure for plotly's buttons."""
_WIDE = ("parameters",)
_SHEETS = {False: Sheet(600, titled=False), True: Sheet(900, titled=False)}
"""Of a figure of one column of print, and of two."""


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on the page, in the light theme.

    Attributes:
        anchor: unique on the page; heading: what it shows, key: what its lines are, says: how to
            read it, facts: what it stands on, plain text.
        json: plotly's `data` and `layout`.
        width, height: its pixels; is_wide: whether it takes the whole width.
    """

    anchor: str
    heading: str
    key: str
    says: str
    facts: str
    json: str
    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        return self.width > 600


@dataclass(frozen=True)
class Section:
    """A part of the page below its first screen; `missing`: on figures that could not be drawn."""

    anchor: str
    title: str
    figures: tuple[DrawnFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class ReportContent:
    """A report.

    Attributes:
        reference: the name of the study in commands; state: "finished", or its progress.
        first: the figure beside the answer, under its question; None if it could not be drawn.
        sections: all others, and tables.
        trials: all rows, for the table with sorting and filters, and for details on click.
        origin: provenance of the numbers; settings: the study, as YAML; methods: for a paper.
        notes: what numbers, tables and figures are to be read with, each once.
        export: the command that exports a trial's weights; `{trial}` is replaced by its number.
        made: time in seconds since 1970; reload_seconds: 0 for a final page.
    """

    study: str
    question: str
    subject: str
    reference: str
    state: str
    answer: Answer
    first: DrawnFigure | None
    sections: tuple[Section, ...]
    trials: TrialsTable
    origin: tuple[Fact, ...]
    settings: str
    methods: Methods
    notes: tuple[str, ...]
    export: str
    made: float
    reload_seconds: float = 0.0

    @property
    def figures(self) -> tuple[DrawnFigure, ...]:
        below = [figure for section in self.sections for figure in section.figures]
        return (*filter(None, [self.first]), *below)

    @property
    def command(self) -> str:
        """That exports the network to take; empty where none is named or has weights."""
        trial = self.answer.trial
        can_export = trial in self.trials.exportable
        return self.export.replace("{trial}", str(trial)) if can_export else ""


def report_content(
    source: StudySource,
    *,
    reference: str,
    now: float,
    reload_seconds: float = 0.0,
    has_weights: bool = True,
) -> ReportContent:
    """The content of a study's page.

    Args:
        now: seconds since 1970, the end of a running drive.
        has_weights: whether trials can be exported; not from an archive.
    """
    record = source.record
    is_of_robustness = any("_robust_accuracy" in one.metric for one in record.study.objectives)
    info = source.ablation or pareto_info(record)
    answer, tables = study_answer(source), _tables(source)
    marks = info.marks if source.confirmation is None else source.confirmation.test.marks
    notes = [*answer.notes, *info.marks, *marks]
    notes += [note for of in tables.values() for table in of for note in table.notes]
    first: tuple[DrawnFigure, ...] = ()
    missing = top = ""
    for top in ("pareto", usual_figure(source)):
        first, missing = _figures(source.answering, (top,), notes)
        if first or missing:
            break
    sections = []
    for anchor, title in SECTIONS.items():
        names = [name for name in FIGURES if find_figure(name).section == anchor]
        shown = source.confirmed or source if anchor in _OF_TEST else source
        figures, lacking = _figures(shown, [name for name in names if name != top], notes)
        lacking = " ".join(filter(None, (missing * (top in names), lacking)))
        section = Section(anchor, title, figures, tables.get(anchor, ()), lacking)
        if anchor in ("trials", "measured") or figures or section.tables or lacking:
            sections.append(section)
    kept = "".join(one if one.isalnum() or one in "._-" else "-" for one in record.name).strip("-.")
    return ReportContent(
        study=record.name,
        question=record.study.question or _QUESTIONS[is_of_robustness],
        subject=info.subject,
        reference=reference,
        state=_state(source, record),
        answer=answer,
        first=next((replace(one, heading=find_figure(top).title) for one in first), None),
        sections=tuple(sections),
        trials=trials_of(record, has_weights=has_weights),
        origin=origin_facts(record, study_account(record, now)),
        settings=_yaml(record.study.model_dump(mode="json", exclude={"storage"})),
        methods=methods(source, info),
        notes=tuple(dict.fromkeys(notes)),
        export=f"ablate export {reference} --trial {{trial}} -o "
        f"{kept or 'study'}-{{trial}}.safetensors",
        made=now,
        reload_seconds=reload_seconds,
    )


def _figures(
    source: StudySource, names: Sequence[str], notes: Sequence[str]
) -> tuple[tuple[DrawnFigure, ...], str]:
    """The figures that apply to the study, in this order; and a sentence for each that could not
    be drawn.

    Args:
        notes: facts that the page states once.
    """
    found, missing = [], []
    for name in names:
        kind = find_figure(name)
        sheet = _SHEETS[name in _WIDE or kind.width > _SHEETS[False].width]
        try:
            figure = kind.draw(kind.info([source]), sheet)
        except NothingToDrawError:
            continue
        except Exception as error:  # the rest of the page does not depend on it
            why = why_not_drawn(name, error)
            missing.append(why[0].upper() + why[1:])
            continue
        found.append(_drawn(figure, name, kind.says, notes))
    return tuple(found), " ".join(missing)


def _drawn(figure: Figure, anchor: str, says: str, notes: Sequence[str]) -> DrawnFigure:
    meta = figure.layout.meta
    width, height = meta["image_pixels"]
    top = figure.layout.margin.t + _BUTTONS
    figure.update_layout(width=None, height=None, margin_t=top)
    figure.layout.title = None  # else plotly keeps the rest of it
    return DrawnFigure(
        anchor=anchor,
        heading=meta["heading"],
        key=meta.get("key", ""),
        says=says,
        facts=" \N{MIDDLE DOT} ".join(fact for fact in meta["facts"] if fact not in notes),
        json=str(figure.to_json(validate=False)),
        width=int(width),
        height=int(height) + _BUTTONS,
    )


def _tables(source: StudySource) -> Mapping[str, tuple[Table, ...]]:
    """By the section that they stand in."""
    confirmation = source.confirmation
    if source.ablation is not None:
        shown = source.ablation if confirmation is None else confirmation.test
        on = "" if shown.split is None else f", {shown.split} images"
        means = replace(arms_table(shown), title=f"Means{on}")
        return {"part": (means, replace(effects_table(shown), title=f"Differences{on}"))}
    kind = "Front" if len(source.front.objectives) > 1 else "Best trial"
    images = "" if source.front.split is None else f", {source.front.split} images"
    front = {"cost": (replace(front_table(source.front), title=f"{kind} of the search{images}"),)}
    if confirmation is None:
        return front
    test, luck = confirmation.test, luck_table(confirmation)
    means = replace(arms_table(test), title="Means, test images")
    return front | {"part": (means, replace(luck, title="What of the search's scores was luck"))}


def _state(source: StudySource, record: StudyRecord) -> str:
    if not record.is_over:
        how = continuation(record)
        alone = f"; not running ({how})" if how else ""
        return f"{record.ended} of {record.trials} rows have ended{alone}"
    state = "finished"
    if record.spent is not None:
        state += f" with {record.ended} of {record.trials} rows ({record.spent})"
    if source.confirming is not None:
        state += f"; confirmed: {source.confirming.ended} of {source.confirming.trials} runs"
    return state


def _yaml(settings: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100)
