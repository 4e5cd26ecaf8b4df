"""What the report's page shows, computed from a study, as data without markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.accounting import StudyAccount, study_account
from ablate.analysis.columns import CELL, PARAM, column_order, flat_rows
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.analysis.summary import continuation
from ablate.errors import NothingToDrawError
from ablate.ledger.record import StudyRecord
from ablate.report.figures import find_figure
from ablate.report.figures.figure import FigureKind, why_not_drawn
from ablate.report.numbers import metric_label, short_names
from ablate.report.page.answer import study_answer
from ablate.report.page.card import Answer
from ablate.report.page.methods import Fact, Methods, methods, origin_facts
from ablate.report.paper.effects import effects_paper_table, luck_paper_table
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


# -- Every row of a study for the page: a table that sorts and filters, and what a click shows


_ALWAYS = ("number", "state")
_MANY = 2_000
"""Rows above which the page keeps objectives and parameters alone: it must stay below 15 MB."""
_DIGITS = 5
_TERMS = f"{PARAM}loss.terms"
_MIX = ("mix", "layer_weights")
_REST = ("attempt", "copy_of", "failure_reason", "duration_seconds", "gpu_hours")
_HEADINGS = {
    "number": "Trial",
    "state": "State",
    "cell": "Cell",
    "pair": "Pair",
    "train_seed": "Seed",
    "attempt": "Attempts",
    "copy_of": "Copy of",
    "failure_reason": "Failure",
    "duration_seconds": "Seconds",
    "gpu_hours": "GPU hours",
}


@dataclass(frozen=True)
class TrialsTable:
    """Rows by column.

    Attributes:
        columns: `{key, heading, percent}`, in order.
        values: one list per column, one value per row; None if a row has no value.
        front: numbers of the trials on the front; exportable: of those with weights.
    """

    columns: tuple[Mapping[str, Any], ...]
    values: tuple[tuple[Any, ...], ...]
    front: tuple[int, ...]
    exportable: tuple[int, ...]


def trials_of(record: StudyRecord) -> TrialsTable:
    """The rows of a study, in the record's order; accuracies in percent, five digits."""
    rows = flat_rows(record)
    shown = _shown(record, rows)
    params = [name.removeprefix(PARAM) for name in shown if name.startswith(PARAM)]
    short = short_names(params)
    columns = tuple(
        {
            "key": name,
            "heading": _heading(name, short),
            "percent": is_accuracy(name),
        }
        for name in shown
    )
    front = () if record.design is not None else pareto_info(record).front
    own_loop = record.study.trainable is not None
    return TrialsTable(
        columns=columns,
        values=tuple(tuple(_cell(name, row.get(name)) for row in rows) for name in shown),
        front=tuple(point.number for point in front),
        exportable=() if own_loop else tuple(row.number for row in record.complete),
    )


def _shown(record: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = column_order(rows, record.study.objectives)
    used = {name for row in rows for name, value in row.items() if value is not None}
    objectives = [objective.metric for objective in record.study.objectives]
    cell = [name for name in CELL if name in there]
    params = [name for name in there if name.startswith(PARAM)]
    params.sort(key=lambda name: name != _TERMS)  # what tells trials apart comes first
    shown = [*_ALWAYS, *cell, *objectives, *params]
    if len(rows) <= _MANY:
        families = [name for name in there if _is_coarse(name) and name not in shown]
        shown += [*families, *(name for name in _REST if name in used)]
    elif "failure_reason" in used:
        shown.append("failure_reason")
    return shown


def _is_coarse(name: str) -> bool:
    """Whether a metric is a total, or of a family or a type: not of one severity."""
    return is_accuracy(name) and name.count(".") < 2


def _heading(name: str, short: Mapping[str, str]) -> str:
    if name.startswith(PARAM):
        key = name.removeprefix(PARAM)
        # A part of a mix by itself reads like the accuracy under it.
        is_part = key.rpartition(".")[0].endswith(_MIX)
        return ".".join(key.split(".")[-2:]) if is_part and "." not in short[key] else short[key]
    return _HEADINGS.get(name) or metric_label(name)


def _cell(name: str, value: Any) -> Any:
    """A number, text or boolean for JSON; None for NaN."""
    if isinstance(value, float):
        if value - value != 0:
            return None
        return float(f"{value * (100 if is_accuracy(name) else 1):.{_DIGITS}g}")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


# -- The figures of a page: drawn light, without a title, as the page's own headings say it


_WIDE_PIXELS = 700
_TOP_PIXELS = 28
_WIDE_SHARE = 0.8
_INSIDE_PIXELS = 230


@dataclass(frozen=True)
class DrawnFigure:
    """A figure on the page.

    Attributes:
        anchor: unique on the page; title, says, caption: plain text.
        json: plotly's `data` and `layout`.
        width, height: its pixels; is_wide: whether it takes two columns.
        least_width: pixels below which it scrolls sideways instead of shrinking.
    """

    anchor: str
    title: str
    says: str
    caption: str
    json: str
    width: int
    height: int
    least_width: int

    @property
    def is_wide(self) -> bool:
        return self.width > _WIDE_PIXELS


def drawn_figures(
    source: StudySource, names: Sequence[str], said: Sequence[str], prefix: str = ""
) -> tuple[tuple[DrawnFigure, ...], str]:
    """The figures that apply to the study, in this order.

    Args:
        said: facts that the page states once, for all figures.
        prefix: of the anchors, if a page has a figure twice.

    Returns:
        The figures; and a sentence for each that could not be drawn.
    """
    found, missing = [], []
    for name in names:
        kind = find_figure(name)
        try:
            info = kind.info([source])
            found.append(_drawn(kind, kind.draw(info), prefix + name, said))
        except NothingToDrawError:
            continue
        except Exception as error:  # the rest of the page does not depend on it
            why = why_not_drawn(name, error)
            missing.append(why[0].upper() + why[1:])
    return tuple(found), " ".join(missing)


def _drawn(kind: FigureKind, figure: Figure, anchor: str, said: Sequence[str]) -> DrawnFigure:
    width, height = figure.layout.meta["image_pixels"]
    caption = " \N{MIDDLE DOT} ".join(
        fact for fact in figure.layout.meta["facts"] if fact not in said
    )
    top = figure.layout.margin.t or 0
    figure.update_layout(title=None, margin_t=_TOP_PIXELS, width=None, height=None)
    # Of a title that is none plotly would still keep the rest.
    figure.layout.title = None
    return DrawnFigure(
        anchor=anchor,
        title=kind.title,
        says=kind.says,
        caption=caption,
        json=str(figure.to_json(validate=False)),
        width=int(width),
        height=int(height - top + _TOP_PIXELS),
        least_width=_least_width(figure, width),
    )


def _least_width(figure: Figure, width: float) -> int:
    """Minimum width: names and numbers next to a plot do not shrink."""
    if width > _WIDE_PIXELS:
        return round(_WIDE_SHARE * width)
    beside = float(figure.layout.margin.l) + float(figure.layout.margin.r)
    return round(min(width, beside + _INSIDE_PIXELS))


SECTIONS = (
    ("trade-off", "The trade-off", ("pareto", "curve", "hypervolume", "attainment")),
    ("ablation", "Effects of the components", ("effects", "interactions", "arms", "budget")),
    ("where", "Accuracy by distortion", ("profile", "severity", "transfer")),
    ("why", "Effect of the parameters", ("importance", "layers", "mix", "slice")),
    ("run", "Training and run time", ("curves", "timeline")),
)
"""Anchor, heading, and the figures in it; a section without a figure is left out."""
_CONFIRMED = ("effects", "arms")


@dataclass(frozen=True)
class Picture:
    """An image of the report.

    Attributes:
        uri: `data:image/png;base64,...`.
        alt: alternative text for screen readers.
    """

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """Images under one heading, with captions; `note` if there are none."""

    anchor: str
    title: str
    says: str
    pictures: tuple[Picture, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    figures: tuple[DrawnFigure, ...] = ()
    tables: tuple[PaperTable, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class ReportContent:
    """A report.

    Attributes:
        study, question, subject: of the study; state: "finished", or its progress.
        answer: in words and cards.
        sections: figures and tables.
        trials: all rows, for the table with sorting and filters, and for details on click.
        origin: provenance of the numbers; settings: the study, as YAML.
        methods: for the paper.
        export: the command that exports a trial's weights; `{trial}` is replaced by its number.
        made: time in seconds since 1970; reload_seconds: 0 for a final page.
    """

    study: str
    question: str
    subject: str
    state: str
    answer: Answer
    marks: tuple[str, ...]
    sections: tuple[Section, ...]
    trials: TrialsTable
    origin: tuple[Fact, ...]
    settings: str
    methods: Methods
    export: str
    made: float
    reload_seconds: float = 0.0

    @property
    def figures(self) -> tuple[DrawnFigure, ...]:
        return tuple(figure for section in self.sections for figure in section.figures)


def report_content(
    source: StudySource,
    *,
    reference: str,
    now: float,
    galleries: Sequence[Gallery] = (),
    reload_seconds: float = 0.0,
) -> ReportContent:
    """The content of a study's page.

    Args:
        reference: the name of the study in commands.
        now: seconds since 1970, the end of a running drive.
        galleries: images, which need data and weights.
        reload_seconds: after which the page reloads; 0: never.
    """
    record = source.record
    info: ParetoInfo | AblationInfo = source.ablation or pareto_info(record)
    account: StudyAccount = study_account(record, now)
    state = "finished"
    if not record.is_over:
        how = continuation(record)
        alone = f"; not running ({how})" if how else ""
        state = f"{record.ended} of {record.trials} rows have ended{alone}"
    return ReportContent(
        study=record.name,
        question=record.study.question,
        subject=info.subject,
        state=state,
        answer=study_answer(source),
        marks=_marks(source, info),
        sections=tuple(_sections(source, info, galleries)),
        trials=trials_of(record),
        origin=origin_facts(record, account),
        settings=_settings(record.study.model_dump(mode="json", exclude={"storage"})),
        methods=methods(source, info),
        export=f"ablate export {reference} --trial {{trial}} -o {_file_name(record.name)}",
        made=now,
        reload_seconds=reload_seconds,
    )


def _sections(
    source: StudySource,
    info: ParetoInfo | AblationInfo,
    galleries: Sequence[Gallery],
) -> list[Section]:
    tables, marks = _tables(info), _marks(source, info)
    home = "ablation" if isinstance(info, AblationInfo) else "trade-off"
    found: list[Section] = []
    for anchor, title, names in sorted(SECTIONS, key=lambda section: section[0] != home):
        figures, missing = drawn_figures(source, names, marks)
        shown = tables if anchor == home else ()
        if figures or shown or missing:
            found.append(Section(anchor, title, figures, shown, says=missing))
    if source.confirmation is not None and source.confirmed is not None:
        figures, missing = drawn_figures(source.confirmed, _CONFIRMED, marks, "confirmed-")
        what = "The front, retrained with new seeds and scored on images not used for selection."
        confirmed = Section(
            anchor="confirmed",
            title="Confirmed on the test images",
            figures=figures,
            tables=(
                arms_paper_table(source.confirmation.test),
                luck_paper_table(source.confirmation),
            ),
            says=f"{what} {missing}".strip(),
        )
        found.insert(1, confirmed)
    if galleries:
        found.append(Section("images", "Example images", galleries=tuple(galleries)))
    return found


def _marks(source: StudySource, info: ParetoInfo | AblationInfo) -> tuple[str, ...]:
    """What the page says once: of the study, and of its confirmation."""
    confirmed = () if source.confirmation is None else source.confirmation.test.marks
    return tuple(dict.fromkeys([*info.marks, *confirmed]))


def _tables(info: ParetoInfo | AblationInfo) -> tuple[PaperTable, ...]:
    if isinstance(info, AblationInfo):
        return (arms_paper_table(info), effects_paper_table(info))
    return (front_paper_table(info),)


def _settings(settings: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100)


def _file_name(study: str) -> str:
    """A name that no shell takes apart."""
    kept = "".join(one if one.isalnum() or one in "._-" else "-" for one in study).strip("-.")
    return f"{kept or 'study'}-{{trial}}.safetensors"
