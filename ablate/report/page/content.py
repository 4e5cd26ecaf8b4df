"""What the report's page shows, computed from a study, as data without markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.accounting import StudyAccount, study_account
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.analysis.summary import continuation
from ablate.errors import NothingToDrawError
from ablate.report.answer import Answer, study_answer
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import FigureKind, usual_figure, why_not_drawn
from ablate.report.page.methods import Methods, methods
from ablate.report.page.origin import Fact, origin_facts
from ablate.report.page.trials import TrialsTable, trials_of
from ablate.report.paper.effects import effects_paper_table, luck_paper_table
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


# -- The figures of a page: drawn light, without a title, as the page's own headings say it


_WIDE_PIXELS = 700
_TOP_PIXELS = 40
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
            found.append(_drawn(kind, kind.draw(info, Sheet(kind.width)), prefix + name, said))
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
    (
        "types",
        "Gain by corruption type",
        "On which corruption types accuracy is gained or lost.",
        ("profile", "transfer"),
    ),
    (
        "trade-off",
        "The trade-off",
        "What was reached in each objective, over all trials or runs.",
        ("pareto", "history", "curve", "attainment"),
    ),
    (
        "ablation",
        "Effects of the components",
        "Every arm and every contrast, with intervals and tests.",
        ("effects",),
    ),
    (
        "where",
        "Severity",
        "How accuracy falls with the severity of a corruption.",
        ("severity",),
    ),
    (
        "why",
        "Effect of the parameters",
        "How scores go with the parameters, over the trials of the search: associations, not "
        "effects.",
        ("parameters",),
    ),
    (
        "run",
        "Training",
        "How trials learned, and which were stopped.",
        ("curves",),
    ),
    (
        "examples",
        "Example images",
        "Images under distortions, and what the baseline and a trial see in them.",
        ("examples",),
    ),
)
"""Anchor, heading, what it shows, and the figures in it; a section without a figure is left out."""
_BEST = ("The best trials", "The best trials in numbers, and the values of all.")
"""Heading of the section "trade-off" for one objective, and what it shows."""
_OPEN = ("types", "confirmed")
_CONFIRMED = ("effects",)


@dataclass(frozen=True)
class Section:
    """A part of the page below its first screen.

    Attributes:
        says: one sentence on what it shows; missing: on figures that could not be drawn.
        is_open: whether it is unfolded at first.
    """

    anchor: str
    title: str
    figures: tuple[DrawnFigure, ...] = ()
    tables: tuple[PaperTable, ...] = ()
    says: str = ""
    missing: str = ""

    @property
    def is_open(self) -> bool:
        return self.anchor in _OPEN


@dataclass(frozen=True)
class ReportContent:
    """A report.

    Attributes:
        study, question, subject: of the study; reference: its name in commands.
        state: "finished", or its progress.
        answer: in words.
        first: the figure beside the answer, if it could be drawn; sections: all others, and tables.
        trials: all rows, for the table with sorting and filters, and for details on click.
        origin: provenance of the numbers; settings: the study, as YAML.
        methods: for the paper; glossary: the terms that the page prints, with what they mean.
        export: the command that exports a trial's weights; `{trial}` is replaced by its number.
        made: time in seconds since 1970; reload_seconds: 0 for a final page.
    """

    study: str
    question: str
    subject: str
    reference: str
    state: str
    answer: Answer
    marks: tuple[str, ...]
    first: DrawnFigure | None
    sections: tuple[Section, ...]
    glossary: Mapping[str, str]
    trials: TrialsTable
    origin: tuple[Fact, ...]
    settings: str
    methods: Methods
    export: str
    made: float
    reload_seconds: float = 0.0

    @property
    def figures(self) -> tuple[DrawnFigure, ...]:
        below = (figure for section in self.sections for figure in section.figures)
        return (*below,) if self.first is None else (self.first, *below)


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
        reference: the name of the study in commands.
        now: seconds since 1970, the end of a running drive.
        reload_seconds: after which the page reloads; 0: never.
        has_weights: whether trials can be exported; not from an archive.
    """
    record = source.record
    info: ParetoInfo | AblationInfo = source.ablation or pareto_info(record)
    account: StudyAccount = study_account(record, now)
    state = "finished"
    if not record.is_over:
        how = continuation(record)
        alone = f"; not running ({how})" if how else ""
        state = f"{record.ended} of {record.trials} rows have ended{alone}"
    elif record.spent is not None:
        state = f"finished with {record.ended} of {record.trials} rows ({record.spent})"
    if record.is_over and source.confirming is not None:
        state += f"; confirmed: {source.confirming.ended} of {source.confirming.trials} runs"
    home = "ablation" if isinstance(info, AblationInfo) else "trade-off"
    marks = _marks(source, info)
    usual = usual_figure(source)
    if source.answering is not source:
        first, missing = drawn_figures(source.answering, (usual,), marks, "confirmed-")
    else:
        first, missing = drawn_figures(source, (usual,), marks)
    answer, sections = study_answer(source), _sections(source, info, home, missing)
    described = methods(source, info)
    return ReportContent(
        study=record.name,
        question=record.study.question,
        subject=info.subject,
        reference=reference,
        state=state,
        answer=answer,
        marks=marks,
        first=next(iter(first), None),
        sections=tuple(sections),
        glossary=printed_terms(_texts(answer, [*first], sections, described)),
        trials=trials_of(record, has_weights=has_weights),
        origin=origin_facts(record, account),
        settings=_settings(record.study.model_dump(mode="json", exclude={"storage"})),
        methods=described,
        export=f"ablate export {reference} --trial {{trial}} -o {_file_name(record.name)}",
        made=now,
        reload_seconds=reload_seconds,
    )


def _sections(
    source: StudySource,
    info: ParetoInfo | AblationInfo,
    home: str,
    first_missing: str,
) -> list[Section]:
    tables, marks = _tables(source, info), _marks(source, info)
    usual, is_single = usual_figure(source), len(source.record.study.objectives) == 1
    is_of_test = source.answering is not source
    on_top = () if is_of_test else (usual,)
    found: list[Section] = []
    # After a confirmation the types are those of its arms, on the test images.
    of_types = source.answering if source.ablation is not None else source.confirmed or source
    order = sorted(SECTIONS, key=lambda one: (one[0] != "types", one[0] != home))
    for anchor, *heading, names in order:
        title, says = _BEST if is_single and anchor == "trade-off" else heading
        below = [name for name in names if name not in on_top]
        figures, missing = drawn_figures(of_types if anchor == "types" else source, below, marks)
        shown = tables if anchor == home else ()
        missing = " ".join(filter(None, (first_missing * (anchor == home), missing)))
        if figures or shown or missing:
            found.append(Section(anchor, title, figures, shown, says=says, missing=missing))
    if source.confirmation is not None and source.confirmed is not None:
        again = [name for name in _CONFIRMED if not is_of_test or name != usual]
        figures, missing = drawn_figures(source.confirmed, again, marks, "confirmed-")
        confirmed = Section(
            anchor="confirmed",
            title="Confirmed on the test images",
            figures=figures,
            tables=(
                replace(arms_paper_table(source.confirmation.test), title="Arms, test images"),
                luck_paper_table(source.confirmation)
                if source.confirmation.points
                else replace(
                    effects_paper_table(source.confirmation.test), title="Contrasts, test images"
                ),
            ),
            says="Retrained with new seeds and scored on images not used for selection.",
            missing=missing,
        )
        found.insert(0, confirmed)
    return found


def _texts(
    answer: Answer,
    first: Sequence[DrawnFigure],
    sections: Sequence[Section],
    described: Methods,
) -> Iterator[str]:
    """What the page prints, but for the study's own words."""
    yield from (*answer.sentences, *answer.notes, *described.paragraphs)
    for figure in (*first, *(one for section in sections for one in section.figures)):
        yield from (figure.title, figure.says, figure.caption)
    for table in (one for section in sections for one in section.tables):
        yield from (*(heading.text for heading in table.headings), *table.notes)


def printed_terms(texts: Iterable[str]) -> dict[str, str]:
    """The entries of the glossary (`glossary.yaml`) that these texts use."""
    import yaml

    terms = yaml.safe_load((files("ablate.report.page") / "glossary.yaml").read_text("utf-8"))
    printed = "\n".join(texts)
    return {
        term: meaning
        for term, meaning in terms.items()
        if re.search(rf"\b{re.escape(term)}(?:s|es)?\b", printed, 0 if term.isupper() else re.I)
    }


def _marks(source: StudySource, info: ParetoInfo | AblationInfo) -> tuple[str, ...]:
    """What the page says once: of the study, and of its confirmation."""
    confirmed = () if source.confirmation is None else source.confirmation.test.marks
    return tuple(dict.fromkeys([*info.marks, *confirmed]))


def _tables(source: StudySource, info: ParetoInfo | AblationInfo) -> tuple[PaperTable, ...]:
    if isinstance(info, AblationInfo):
        return (
            replace(arms_paper_table(info), title="Arms"),
            replace(effects_paper_table(info), title="Contrasts"),
        )
    images = "" if source.record.study.trainable else ", validation images"
    title = "Front of the search" if len(info.objectives) > 1 else "Best trial of the search"
    return (replace(front_paper_table(info), title=f"{title}{images}"),)


def _settings(settings: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100)


def _file_name(study: str) -> str:
    """A name that no shell takes apart."""
    kept = "".join(one if one.isalnum() or one in "._-" else "-" for one in study).strip("-.")
    return f"{kept or 'study'}-{{trial}}.safetensors"
