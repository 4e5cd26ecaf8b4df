"""`ablate report`: a study becomes one HTML page without network requests, once or as it runs.

From the study to its content, data without markup, and from there to the page.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.ablation.study_source import StudySource
from ablate.analysis.columns import (
    CELL,
    COLUMNS,
    PARAM,
    RUNG,
    RUNG_EPOCH,
    VIOLATION,
    column_order,
    flat_rows,
)
from ablate.analysis.objectives import front_words, is_accuracy, is_score
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import StatusInfo, continuation, status_info
from ablate.errors import NothingToDrawError, ParameterError, UsageError
from ablate.errors.masking import masked
from ablate.files.shown import few, shown_if
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import OpenStudy, open_place
from ablate.lifecycle.place import Place, StudyReference, locate
from ablate.report.answer import Answer, study_answer
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import usual_figure, why_not_drawn
from ablate.report.formats import html_table
from ablate.report.numbers import metric_label, short_names
from ablate.report.style import DARK
from ablate.report.tables import Table, arms_table, effects_table, front_table
from ablate.report.terminal.status import study_facts
from ablate.report.write import PAGE, check_file, write_text
from ablate.study.callables import imports_limited, was_imported

if TYPE_CHECKING:
    from markupsafe import Markup
    from plotly.graph_objects import Figure

_FOLDER = files("ablate.report.page")
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
WATCH_SECONDS = 10.0
"""Between two updates of a page that is watched."""


def write_report(
    study: StudyReference,
    output: str | Path,
    *,
    with_images: bool = True,
    trust: bool = False,
    begin: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the report of a study, one HTML file.  It is written completely or not at all.

    Args:
        study: a study file, a run folder, `URL#NAME`, or a study from Python.
        output: file to write; its name must end in .html.
        with_images: include example images, if data and weights are available.
        trust: import, for the images, the functions that the study names although you have not run
            it here.
        begin: called with a description of each step as it starts.

    Raises:
        StudyNotFoundError: if there is no such study.
        ParameterError: if the name of the file does not end in .html.
        UsageError: if the study has not run anything, or the folder is missing or not writable.

    Example:
        >>> ablate.write_report("runs/own", "report.html")
    """
    check_page_file(Path(output))
    place = locate(study)
    begin(f"reading {place.file or place.name}")
    publish(open_place(place), Path(output), with_images=with_images, trust=trust, begin=begin)


def publish(
    study: OpenStudy,
    file: Path,
    *,
    with_images: bool = True,
    trust: bool = False,
    begin: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Like `write_report`, for an open study and a checked file.

    Returns:
        The names of functions that were not imported, so that images are missing.
    """
    check_begun(study.record, study.reference)
    begin("drawing the figures")
    content, refused = _content(study, 0.0, with_images=with_images, trust=trust)
    begin(f"writing {file}")
    write_text(report_page(content), file)
    return refused


def watch_report(
    place: Place,
    output: Path,
    *,
    written: Callable[[str], None],
    with_images: bool = True,
    trust: bool = False,
    every_seconds: float = WATCH_SECONDS,
) -> None:
    """Rewrite the report while the study runs, until all its rows have ended.

    An open page reloads itself; the last one, which has the images, does not.

    Args:
        written: called after each write, with the progress of the study.
        with_images: of the last one; trust: as `write_report`.

    Raises: as `publish`.
    """
    while True:
        study = open_place(place)
        has_ended = study.record.is_over and study.record.driver is None
        pause = 0.0 if has_ended else every_seconds
        content, _ = _content(study, pause, with_images=has_ended and with_images, trust=trust)
        write_text(report_page(content), output)
        written(content.state)
        if has_ended:
            return
        time.sleep(every_seconds)


def check_begun(record: StudyRecord, named: str) -> None:
    """Refuse a study that has neither a baseline nor a trial yet."""
    if record.fingerprint or any(row.attempts for row in record.rows):
        return
    fix = f"Run it: ablate resume {named}"
    if record.driver is not None:
        fix = f"{record.driver} is preparing it: wait, or run ablate report {named} --watch"
    raise UsageError(
        f"study {record.name}: needs a trial that has started, got none: the study was never "
        f"prepared. {fix}"
    )


def check_page_file(path: Path) -> None:
    """Refuse a file that no page can be written to, before anything is read.

    Raises: as `write_report`.
    """
    if path.suffix.lower() != PAGE:
        raise ParameterError(
            f"{path}: a report's file must end with {PAGE}, got {path.suffix or 'no ending'}. "
            f"Write {path.with_suffix(PAGE).name}."
        )
    check_file(path)


def _content(
    study: OpenStudy, reload_seconds: float, *, with_images: bool, trust: bool
) -> tuple[ReportContent, list[str]]:
    """The content of the page, and the names of functions that were not imported for it."""
    source = study.source if with_images else replace(study.source, place=None)
    with imports_limited(lambda name, base: trust or was_imported(name, base)) as refused:
        content = report_content(
            source,
            reference=study.reference,
            now=time.time(),
            reload_seconds=reload_seconds,
            has_weights=study.place.archive is None,
        )
    return content, list(dict.fromkeys(refused))


# -- The content


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
        state: "finished", or its progress.
        first: the figure beside the answer, under its question; None if it could not be drawn.
        sections: all others, and tables.
        trials: all rows (`trials_of`), for the table with sorting and filters, and for details.
        origin: provenance of the numbers, names and texts; settings: the study, as YAML.
        notes: what numbers, tables and figures are to be read with, each once.
        export: the command that exports a trial's weights; `{trial}` is replaced by its number.
        made: time in seconds since 1970; reload_seconds: 0 for a final page.
    """

    study: str
    question: str
    subject: str
    state: str
    answer: Answer
    first: DrawnFigure | None
    sections: tuple[Section, ...]
    trials: Mapping[str, Any]
    origin: Sequence[tuple[str, str]]
    settings: str
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
        trial, there = self.answer.trial, self.trials["exportable"]
        if isinstance(trial, str) and there:
            return self.export.replace("{trial}", trial, 1).replace("{trial}", "mixture")
        return self.export.replace("{trial}", str(trial)) if trial in there else ""


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
        has_weights: whether trials can be exported; not from an archive.
    """
    import yaml

    record, confirmation = source.record, source.confirmation
    question = "Which settings are best?"
    if any("_robust_accuracy" in objective.metric for objective in record.study.objectives):
        question = "What does robustness cost, and which part earns it?"
    info = source.ablation or source.front
    answer, tables = study_answer(source), _tables(source)
    notes = [*answer.notes, *info.marks, *(confirmation.test.marks if confirmation else ())]
    notes += [note for group in tables.values() for table in group for note in table.notes]
    top, first, missing = _first_figure(source, notes)
    sections = []
    for anchor, title in SECTIONS.items():
        names = [name for name in FIGURES if find_figure(name).section == anchor]
        # What a confirmation has, is shown of it.
        shown = source.confirmed or source if anchor in ("part", "types") else source
        figures, lacking = _figures(shown, [name for name in names if name != top], notes)
        lacking = " ".join(filter(None, (shown_if(top in names, missing), lacking)))
        heading = "All runs" if anchor == "trials" and record.design is not None else title
        section = Section(anchor, heading, tuple(figures), tables.get(anchor, ()), lacking)
        if anchor in ("trials", "measured") or figures or section.tables or lacking:
            sections.append(section)
    file = "".join(one if one.isalnum() or one in "._-" else "-" for one in record.name).strip("-.")
    settings = record.study.model_dump(mode="json", exclude={"storage"})
    return ReportContent(
        study=record.name,
        question=record.study.question or question,
        subject=info.subject,
        state=_state(source),
        answer=answer,
        first=first,
        sections=tuple(sections),
        trials=trials_of(record, has_weights=has_weights),
        origin=origin_facts(status_info(record, now, tuning=source.tuning)),
        settings=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100),
        notes=tuple(dict.fromkeys(notes)),
        export=f"ablate export {reference} --trial {{trial}} -o "
        f"{file or 'study'}-{{trial}}.safetensors",
        made=now,
        reload_seconds=reload_seconds,
    )


_NARROW, _WIDE = Sheet(600, titled=False), Sheet(900, titled=False)
"""A figure of one column of print, and of two."""
_BUTTONS = 22
"""Pixels over a figure for plotly's buttons."""


def _first_figure(source: StudySource, notes: Sequence[str]) -> tuple[str, DrawnFigure | None, str]:
    """The front, else the usual figure: its name, the figure, and why it could not be drawn."""
    usual = usual_figure(source)
    for name in ("pareto", usual):
        drawn, missing = _figures(source.answering, [name], notes)
        if drawn or missing:
            heading = find_figure(name).title
            return name, replace(drawn[0], heading=heading) if drawn else None, missing
    return usual, None, ""


def _figures(
    source: StudySource, names: Sequence[str], notes: Sequence[str]
) -> tuple[list[DrawnFigure], str]:
    """The figures that apply to the study, in this order; and a sentence for each that could not
    be drawn.

    Args:
        notes: facts that the page states once.
    """
    drawn, missing = [], []
    for name in names:
        kind = find_figure(name)
        is_wide = name == "parameters" or kind.width > _NARROW.width
        try:
            figure = kind.draw(kind.info([source]), _WIDE if is_wide else _NARROW)
        except NothingToDrawError:
            continue
        except Exception as error:  # the rest of the page does not depend on it
            why = why_not_drawn(name, error)
            missing.append(why[0].upper() + why[1:])
            continue
        meta = figure.layout.meta
        width, height = meta["image_pixels"]
        drawn.append(
            DrawnFigure(
                anchor=name,
                heading=meta["heading"],
                key=meta.get("key", ""),
                says=kind.says,
                facts=" \N{MIDDLE DOT} ".join(fact for fact in meta["facts"] if fact not in notes),
                json=_figure_json(figure),
                width=int(width),
                height=int(height) + _BUTTONS,
            )
        )
    return drawn, " ".join(missing)


def _figure_json(figure: Figure) -> str:
    top = figure.layout.margin.t + _BUTTONS
    figure.update_layout(width=None, height=None, margin_t=top)
    figure.layout.title = None  # else plotly keeps the rest of it
    return str(figure.to_json(validate=False))


def _tables(source: StudySource) -> dict[str, tuple[Table, ...]]:
    """By the section that they stand in."""
    shown = source.ablation if source.confirmation is None else source.confirmation.test
    tables: dict[str, tuple[Table, ...]] = {}
    if shown is not None:
        on = "" if shown.split is None else f", {shown.split} images"
        means = replace(arms_table(shown), title=f"Means{on}")
        tables["part"] = (means, replace(effects_table(shown), title=f"Differences{on}"))
    if source.ablation is not None:
        return tables
    kind = "Front" if len(source.front.objectives) > 1 else "Best trial"
    images = "" if source.front.split is None else f", {source.front.split} images"
    front = replace(front_table(source.front), title=f"{kind} of the search{images}")
    return {"cost": (front,), **tables}


def _state(source: StudySource) -> str:
    record = source.record
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


# -- Every row, for a table that sorts and filters, and for what a click shows


_MANY = 2_000
"""Rows above which the page keeps objectives and parameters alone: it must stay below 15 MB."""
_HEADINGS = {RUNG_EPOCH: "Last rung", VIOLATION: "Violation", "alpha": "Alpha"}


def trials_of(record: StudyRecord, *, has_weights: bool = True) -> dict[str, Any]:
    """The rows of a study by column, in the record's order; accuracies in percent, five digits.

    Args:
        has_weights: whether complete trials can be exported.

    Returns:
        `columns`, with `key`, `heading` and `percent`; `values`, a list a column, None where a row
        has none; `front`, numbers of the trials on the front, or of the best for one objective;
        `front_words`, which of both; `exportable`, numbers of those with weights.
    """
    rows = flat_rows(record)
    names = _column_names(record, rows)
    short = short_names([name.removeprefix(PARAM) for name in names if name.startswith(PARAM)])
    front = () if record.design is not None else pareto_info(record).front
    can_export = has_weights and record.study.trainable is None
    return {
        "columns": [
            {
                "key": name,
                "heading": _heading(name, short),
                "percent": is_accuracy(name.removeprefix(RUNG)),
            }
            for name in names
        ],
        "values": [[_page_value(name, row.get(name)) for row in rows] for name in names],
        "front": [point.number for point in front if not point.is_mixture],
        "front_words": front_words(record.study.objectives),
        "exportable": [row.number for row in record.complete] if can_export else [],
    }


def _column_names(record: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = column_order(rows, record.study.objectives)
    used = {name for row in rows for name, value in row.items() if value is not None}
    objectives = [objective.metric for objective in record.study.objectives]
    params = [name for name in there if name.startswith(PARAM)]
    params.sort(key=lambda name: name != f"{PARAM}loss.terms")  # it tells trials apart
    names = ["number", "state", *(name for name in CELL if name in there), *objectives, *params]
    if len(rows) > _MANY:
        return [*names, *({"failure_reason"} & used)]
    # Totals, families and types, but no single severities.
    names += [one for one in there if is_score(one) and one.count(".") < 2]
    rest = [VIOLATION, "alpha", *(name for name, one in COLUMNS.items() if one.title)]
    if any(row["state"] == "PRUNED" for row in rows):  # why they were stopped
        rest += [RUNG_EPOCH, *(RUNG + objective for objective in objectives)]
    return [*dict.fromkeys([*names, *(name for name in rest if name in used)])]


def _heading(name: str, short: Mapping[str, str]) -> str:
    if name.startswith(PARAM):
        key = name.removeprefix(PARAM)
        # A part of a mix by itself reads like the accuracy under it.
        is_part = key.rpartition(".")[0].endswith(("mix", "layer_weights"))
        return ".".join(key.split(".")[-2:]) if is_part and "." not in short[key] else short[key]
    if name.startswith(RUNG):
        return f"{metric_label(name.removeprefix(RUNG))}, last rung"
    return COLUMNS[name].title if name in COLUMNS else _HEADINGS.get(name) or metric_label(name)


def _page_value(name: str, value: Any) -> Any:
    """A number, text or boolean for JSON; None for NaN."""
    if isinstance(value, float):
        percent = 100 if is_accuracy(name.removeprefix(RUNG)) else 1
        return float(f"{value * percent:.5g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


# -- Where the numbers come from


def origin_facts(info: StatusInfo) -> list[tuple[str, str]]:
    """Code, machine, seeds, dates, cost, and which data saw what: names and texts, without
    passwords."""
    record = info.record
    last = record.drives[-1].provenance if record.drives else {}
    versions = {"python": last.get("python", ""), **last.get("packages", {})}
    environment = record.environment
    hardware = {
        "": environment.get("device_name") or environment.get("device"),
        "precision ": environment.get("precision"),
        "threads per trial: ": environment.get("threads"),
        "hosts ": ", ".join(info.account.hosts),
        "on ": last.get("platform"),
    }
    facts = [
        ("fingerprint", record.fingerprint),
        ("part of", record.parent or ""),
        ("started", _moment(record.drives[0].started) if record.drives else ""),
        *study_facts(info),
        ("versions", ", ".join(f"{name} {one}" for name, one in versions.items() if one)),
        ("hardware", "; ".join(f"{name}{value}" for name, value in hardware.items() if value)),
        ("seeds", _seeds_text(record)),
        *_data_facts(record),
        *(("noted", note) for note in record.notes),
    ]
    return [(name[:1].upper() + name[1:], masked(text)) for name, text in facts if text]


def _seeds_text(record: StudyRecord) -> str:
    study = record.study
    trained = sorted({row.seeds.train for row in record.rows if row.seeds is not None})
    parts = [f"search {study.search.seed}"] if record.design is None else []
    if study.trainable is None:
        parts.append(f"split {study.dataset.validation.seed}")
        parts.append(f"corrupted sets {study.robustness.seed}")
    return "; ".join([*parts, f"training {few(trained or [study.finetune.seed], 20)}"])


def _data_facts(record: StudyRecord) -> list[tuple[str, str]]:
    """Which data saw which step."""
    if record.study.trainable is not None:
        return [("data", "loaded by the training function; its splits are unknown to ablate")]
    dataset, start = record.study.dataset, record.study.baseline
    baseline = "the training images without the validation split"
    if start.checkpoint:
        baseline = f"unknown data (external checkpoint {start.checkpoint})"
        if start.saw_validation is not None:
            seen = "saw" if start.saw_validation else "did not see"
            baseline += f"; it {seen} the validation images"
    digest = record.sections.get("data", "")
    name = dataset.name + shown_if(dataset.path, f", {dataset.path}")
    used = "by every run" if record.test is not None else shown_if(not record.test_opened, "never")
    return [
        ("data set", name + shown_if(digest, f"; digest {digest[:12]}")),
        ("baseline trained on", baseline),
        ("finetuned on", _training_images(record)),
        ("selected on", "the validation images"),
        ("test images used", used),
    ]


def _training_images(record: StudyRecord) -> str:
    dataset = record.study.dataset
    text = "the training images without the validation split"
    if any("dataset.train_fraction" in row.params for row in record.rows):
        text = f"a share of each class of {text}, which varies"
    elif dataset.train_fraction < 1:
        text = f"{100 * dataset.train_fraction:g} % of each class of {text}"
    if dataset.unlabeled is not None:
        text += f"; where no term needs a label, on images of {dataset.unlabeled} instead"
    return text


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- The page


def report_page(content: ReportContent) -> str:
    """The page as one HTML text, with plotly in it once.

    Whatever the study's author wrote is escaped: as text by Jinja, in data by escaping every `<`.
    """
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    glossary = Glossary()
    environment.filters["prose"] = glossary.explained
    environment.filters["table"] = lambda table: Markup(html_table(table))
    environment.filters["data"] = _data
    return environment.from_string(_text("page.html.j2")).render(
        content=content,
        names=glossary.spelled_out(" ".join(content.answer.sentences)),
        # Figures and trials are data; scripts and style are the package's own.
        trials=json.dumps(content.trials, separators=(",", ":")),
        settings=json.dumps(
            {
                "dark": DARK,
                "export": content.export,
                "reloadSeconds": content.reload_seconds,
                "study": content.study,
            }
        ),
        style=Markup(_text("page.css")),
        script=Markup("\n".join(map(_text, ("figures.js", "rows.js")))),
        plotly=Markup(get_plotlyjs()),
        made=_moment(content.made),
    )


SPELLED = ("FMA", "ST", "DA", "CA", "robust accuracy")
"""Names that the page spells out under an answer that has them."""
_TOGETHER = re.compile(r"[+-][\d.]+ points|\([^()]{,24} to [^()]{,12}\)|\d %|trials? \d+")


class Glossary:
    """Explains each term of `glossary.yaml` where a page prints it first."""

    def __init__(self) -> None:
        import yaml

        self._meanings: dict[str, str] = yaml.safe_load(_text("glossary.yaml"))
        words = "|".join(
            re.escape(meaning) if meaning.isupper() else f"(?i:{re.escape(meaning)})"
            for meaning in sorted(self._meanings, key=len, reverse=True)
        )
        self._pattern = re.compile(rf"\b(?P<term>{words})(?:s|es)?\b")
        self._seen: set[str] = set()

    def explained(self, text: str) -> Markup:
        """The text as HTML: terms with what they mean as a tooltip, `words in backticks` as code,
        numbers not parted from their unit or interval at the end of a line."""
        from markupsafe import Markup, escape

        def explain(found: re.Match[str]) -> str:
            term = found["term"]
            term = term if term in self._meanings else term.lower()
            if term in self._seen or term not in self._meanings:
                return found[0]
            self._seen.add(term)
            return f'<abbr title="{escape(self._meanings[term])}">{found[0]}</abbr>'

        html = ""
        for place, part in enumerate(re.split(r"`([^`]+)`", text)):
            if place % 2:
                html += f"<code>{escape(part)}</code>"
            else:
                whole = _TOGETHER.sub(lambda one: one[0].replace(" ", "\N{NO-BREAK SPACE}"), part)
                html += self._pattern.sub(explain, str(escape(whole)))
        return Markup(html)

    def spelled_out(self, text: str) -> str:
        """ "FMA: feature-map augmentation loss · ST: stability training", of names in a text."""
        parts = []
        for name in SPELLED:
            if re.search(rf"\b{name}\b", text):
                meaning = self._meanings[name].partition(":")[0]
                parts.append(f"{name}: {meaning[:1].lower()}{meaning[1:]}")
        return " · ".join(parts)


def _data(text: str) -> Markup:
    """JSON that cannot end its script element."""
    from markupsafe import Markup

    for character in ("<", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
