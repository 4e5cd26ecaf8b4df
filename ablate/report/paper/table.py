"""The table for a paper: the arms of an ablation, or the front of a search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress

from rich.table import Table
from rich.text import Text

from ablate.ablation.info import AblationInfo
from ablate.analysis.caveats import StudyFacts
from ablate.analysis.objectives import is_accuracy, short_metric
from ablate.analysis.pareto import ParetoInfo
from ablate.report.arms import (
    Cell,
    arms_notes,
    basis_notes,
    curve_metrics,
    decimals,
    difference_cells,
    family_metrics,
    fingerprint_text,
    leading_metrics,
    metric_cells,
    runs_text,
    scale,
    shown_name,
    single_value,
)
from ablate.report.numbers import MISSING, metric_label, seed_texts
from ablate.report.terminal.tables import REFERENCE_LABELS, add_whole_column, leading_text

_LEAST_WIDTH = 20


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Attributes:
        text: for people.
        key: for programs: the metric's name.
        is_text: whether the column's cells have no numbers.
    """

    text: str
    key: str
    is_text: bool = False


@dataclass(frozen=True)
class PaperTable:
    """A table, independent of its format.

    Attributes:
        name: of the study.
        title: its question and subject.
        headings: the first is that of the row names.
        rows: one cell per heading.
        notes: for the reader, one sentence each.
    """

    name: str
    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]

    def printed(self, title: str, gap: str = " ") -> Table:
        """The table for a terminal, without columns in which nothing stands; numbers are never
        folded.

        Args:
            gap: between a number and its interval.
        """
        table = Table(
            title=Text(title), caption=Text("\n".join(self.notes)), caption_justify="left"
        )
        columns = [
            [cell.printed.replace(" [", f"{gap}[") for cell in column]
            for column in zip(*self.rows, strict=True)
        ] or [[]] * len(self.headings)
        used = [not column or {*column} - {"", MISSING} != set() for column in columns]
        for heading, column in compress(zip(self.headings, columns, strict=True), used):
            if heading.is_text:
                # A wide table folds names only so far: then its narrow form is taken.
                least = min(_LEAST_WIDTH, max(map(len, column), default=0)) if gap == " " else None
                table.add_column(Text(heading.text), overflow="fold", min_width=least)
            else:
                add_whole_column(table, heading.text, column)
        for row, texts in zip(self.rows, zip(*columns, strict=True), strict=True):
            shown = [
                Text(text, style="bold" if cell.is_bold else "")
                for text, cell in zip(texts, row, strict=True)
            ]
            table.add_row(*compress(shown, used))
        return table


def arms_paper_table(info: AblationInfo) -> PaperTable:
    """One row per arm: clean accuracy, each family, their mean, and the difference to the
    reference; for a custom training loop all its metrics.
    """
    leading, families = leading_metrics(info), family_metrics(info)
    metrics = [*leading[:1], *families, *leading[1:]] if families else leading
    metrics = [*metrics, *curve_metrics(info)] if families else metrics
    headings = [Heading("Arm", "arm", is_text=True)]
    headings += [Heading(_heading(metric, shown_name(info, metric)), metric) for metric in metrics]
    columns = [[Cell(arm.name) for arm in info.arms]]
    columns += [metric_cells(info, metric) for metric in metrics]
    if info.reference:
        key = f"{info.rank_metric} - {info.reference}"
        headings.append(Heading(f"Difference to {info.reference}", key))
        columns.append(difference_cells(info))
    runs = [f"{arm.name}: {text}" for arm in info.arms if (text := runs_text(info, arm))]
    return PaperTable(
        name=info.study,
        title=paper_title(info),
        headings=tuple(headings),
        rows=tuple(zip(*columns, strict=True)),
        notes=(*arms_notes(info), *runs),
    )


def front_paper_table(info: ParetoInfo) -> PaperTable:
    """Baseline, plain finetune, then the front, or the best of one objective: values and gains.

    Nothing has a spread: a search trains each trial once.
    """
    rows = [
        (label, "", info.references[name])
        for name, label in REFERENCE_LABELS.items()
        if name in info.references
    ]
    rows += [(point.name, point.loss_terms, point.values) for point in info.leading]
    headings = [Heading("Trial", "trial", is_text=True)]
    columns = [[Cell(name) for name, _, _ in rows]]
    if any(terms for _, terms, _ in rows):
        headings.append(Heading("Loss terms", "loss_terms", is_text=True))
        columns.append([Cell(terms) for _, terms, _ in rows])
    for place, metric in enumerate(objective.metric for objective in info.objectives):
        values = [values[place] for _, _, values in rows]
        empty = Cell(scale=scale(metric), decimals=decimals(metric, values))
        name = metric if info.n_images is None else short_metric(metric)
        headings.append(Heading(_heading(metric, name), metric))
        columns.append([replace(empty, estimate=single_value(value)) for value in values])
        if "baseline" in info.references and is_accuracy(metric):
            headings.append(Heading("Gain", f"{metric} - baseline"))
            gains = [info.gains(values)[place] for _, _, values in rows[1:]]
            empty = replace(empty, is_difference=True)
            columns.append(
                [empty, *(replace(empty, estimate=single_value(gain)) for gain in gains)]
            )
    return PaperTable(
        name=info.study,
        title=paper_title(info),
        headings=tuple(headings),
        rows=tuple(zip(*columns, strict=True)),
        notes=tuple(_front_notes(info)),
    )


def _front_notes(info: ParetoInfo) -> list[str]:
    metrics = [objective.metric for objective in info.objectives]
    less = [one.metric for one in info.objectives if one.direction == "minimize"]
    notes = [leading_text(info)]
    notes += basis_notes(info, metrics)
    if "baseline" in info.references and any(map(is_accuracy, metrics)):
        notes.append("gain: over the baseline, in points")
    if less:
        notes.append(f"less is better: {', '.join(less)}")
    return [*notes, *seed_texts(info.seed), *info.marks, fingerprint_text(info)]


def _heading(metric: str, name: str) -> str:
    """ "Robust (%)" for an accuracy named "robust"; custom names unchanged."""
    if not is_accuracy(metric):
        return metric_label(metric)
    return f"{name if name == metric else name[:1].upper() + name[1:]} (%)"


def paper_title(info: StudyFacts, title: str = "") -> str:
    """The question and subject of a study, or another title, after its warning, if it has one."""
    subject = f"{info.question} ({info.subject})" if info.question else info.subject
    warning = f"Warning: {info.warning}. " if info.warning else ""
    return warning + (title or subject)
