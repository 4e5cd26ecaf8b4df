"""What the report's page holds, computed from a study: still data, nothing of it is markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.accounting import StudyAccount, study_account
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.ledger.record import TERMINAL
from ablate.report.page.answer import answer_sentences
from ablate.report.page.drawn import DrawnFigure, drawn_figures
from ablate.report.page.methods import Methods, methods
from ablate.report.page.origin import Fact, origin_facts
from ablate.report.page.trials import TrialsTable, trials_of
from ablate.report.paper.confirmed import luck_paper_table
from ablate.report.paper.effects import effects_paper_table
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table

SECTIONS = (
    ("trade-off", "The trade-off", ("pareto", "hypervolume", "attainment")),
    ("ablation", "Which part earned it", ("effects", "interactions", "arms", "budget")),
    ("where", "Where it helps", ("profile", "severity", "transfer")),
    (
        "why",
        "What matters",
        ("importance", "layers", "mix", "slice", "contour", "parallel", "rank"),
    ),
    ("run", "How it ran", ("curves", "timeline")),
)
"""Anchor, heading, and the figures in it; a section without a figure is left out."""
_CONFIRMED = ("effects", "arms")


@dataclass(frozen=True)
class Picture:
    """An image of the report.

    Attributes:
        uri: `data:image/png;base64,...`.
        alt: what is seen, for whoever does not see it.
    """

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """Images under one heading, each with what is said of it; `note` where there is none."""

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
        study, question, subject: of the study; state: "finished", or how far it is.
        answers: in words, most important first.
        sections: figures and tables.
        trials: every row, for the table that sorts and filters, and for what a click shows.
        origin: where the numbers come from; settings: the study, as YAML.
        methods: for the paper.
        export: the command that takes a trial's weights out; `{trial}` stands for its number.
        made: when, in seconds since 1970; reload_seconds: 0 of a page that is final.
    """

    study: str
    question: str
    subject: str
    state: str
    answers: tuple[str, ...]
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
    """Everything that the page of a study shows.

    Args:
        reference: how a person names the study in a command.
        now: seconds since 1970, of the end of a drive that is under way.
        galleries: images, which only whoever has data and weights can make.
        reload_seconds: after which the page is to load itself again; 0: never.
    """
    record = source.record
    info: ParetoInfo | AblationInfo = source.ablation or pareto_info(record)
    account: StudyAccount = study_account(record, now)
    ended = sum(row.state in TERMINAL for row in record.rows)
    state = "finished"
    if ended < record.trials:
        alone = "" if record.driver else "; nobody drives it (ablate resume)"
        state = f"{ended} of {record.trials} rows have ended{alone}"
    return ReportContent(
        study=record.name,
        question=record.study.question,
        subject=info.subject,
        state=state,
        answers=tuple(answer_sentences(source)),
        marks=info.marks,
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
    tables = _tables(info)
    home = "ablation" if isinstance(info, AblationInfo) else "trade-off"
    found: list[Section] = []
    for anchor, title, names in sorted(SECTIONS, key=lambda section: section[0] != home):
        figures, missing = drawn_figures(source, names, info.marks)
        shown = tables if anchor == home else ()
        if figures or shown or missing:
            found.append(Section(anchor, title, figures, shown, says=missing))
    if source.confirmation is not None and source.confirmed is not None:
        figures, missing = drawn_figures(source.confirmed, _CONFIRMED, info.marks, "confirmed-")
        what = "The front again, over fresh seeds, on images that nothing was chosen by."
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
        found.append(Section("images", "What the network sees", galleries=tuple(galleries)))
    return found


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
