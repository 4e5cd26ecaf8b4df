"""The curves: how did trials learn, and which were stopped?

A line is a trial: an objective of the baseline (epoch 0), after each epoch or rung where it was
scored, and at the end.  The front (or the best trial) has full colour.  Of an ablation a line is an
arm, the mean over its runs.  Training losses are not drawn: those of unlike terms do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.drawn import fenced
from ablate.analysis.objectives import front_words, is_accuracy, is_score
from ablate.analysis.pareto import pareto_info
from ablate.errors import ParameterError, did_you_mean
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, axis, metric_axis, single_precision, trace_type
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import metric_words, plain_text
from ablate.report.style import INK, Look, faint, terms_look
from ablate.study.metrics import larger_is_better

MOST_DRAWN, _MOST_PANELS = 500, 3  # lines in one figure, and metrics
_MOST_POINTS = 40_000  # of all lines: of more, each is drawn through fewer epochs
_TYPES = {"number": "Int64", "state": "string", "group": "string", "on_front": "bool"}
_TYPES |= {"metric": "string", "epoch": "int64", "value": "float64", "stop": "bool"}

Item = TypeVar("Item")


@dataclass(frozen=True)
class CurvesInfo(Basis):
    """The curves of a study.

    Attributes:
        table: see `frame`.
        metrics: the objectives that were scored at several epochs, or the one that was asked for.
        begun: number of trials with an epoch or a rung; of more than `MOST_DRAWN` the table has the
            front, then an even selection of the others.  stopped: of them.
        rung_images: on how many images rungs were scored, where on fewer than the end.
        runs: of an ablation, largest number of an arm; None: a search.
    """

    table: pd.DataFrame
    metrics: tuple[str, ...]
    begun: int
    stopped: int
    rung_images: tuple[int, ...]
    runs: int | None
    looks: Mapping[str, Look]

    def frame(self) -> pd.DataFrame:
        """One row per metric, trial (of an ablation arm) and epoch; epoch 0 is the baseline.

        Columns: number (Int64, missing of arms); state, group (text: loss terms, or the arm);
        on_front (bool); metric (text); epoch (int64); value (float64, NaN if not finite); stop
        (bool: stopped at this rung).
        """
        return self.table.copy()


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> CurvesInfo:
    """The curves of a study's trials, in any state.

    Raises:
        ParameterError: if a trial does not exist, or no trial has the metric.
    """
    (source,) = sources
    record, numbers = source.record, {row.number for row in source.record.rows}
    for number in sorted({*options.trials} - numbers):
        rule = f"must be trials of {record.name}, got {number}"
        raise ParameterError(f"`trials`: {rule}. It has {len(numbers)}, from 0.")
    shown = options.trials or numbers
    begun = [row for row in record.rows if row.number in shown and (row.curve or row.rungs)]
    begun = [row for row in begun if options.trials or not row.outside]
    metrics = _metrics(record, begun, options.objective)
    is_search = record.design is None
    points = pareto_info(record).points if is_search else ()
    front = {point.number for point in points if point.on_front}
    drawn = _evenly([row for row in begun if row.number in front], MOST_DRAWN)
    others = [row for row in begun if row.number not in front]
    drawn += _evenly(others, MOST_DRAWN - len(drawn)) if is_search else others
    arms = () if source.ablation is None else source.ablation.arms
    arm_of = {cell: arm.name for arm in reversed(arms) for cell in arm.cells}
    looks, rows = dict(canvas.looks(source)), []
    most = max(2, _MOST_POINTS // (len(drawn) * len(metrics) or 1))
    for row in sorted(drawn, key=lambda row: row.number):
        terms = record.loss_terms(row)
        group = terms if is_search else arm_of.get(row.cell or "", row.cell or "")
        label = terms_look(terms).label if is_search else group or terms
        looks.setdefault(group, replace(terms_look(terms), label=label))
        trial = (row.number, row.state, group, row.number in front)
        for metric in metrics:
            rows += [(*trial, metric, *point) for point in _points(record, row, metric, most)]
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    epochs = table.groupby("metric")["epoch"].nunique()
    metrics = tuple(metric for metric in metrics if epochs.get(metric, 0) > 1) or metrics[:1]
    table = table[table["metric"].isin(metrics)]
    if not is_search:
        runs = table[table["state"] != "FAIL"].groupby(["group", "metric", "epoch"], sort=False)
        means = runs["value"].mean().reset_index().assign(number=None, state="", stop=False)
        table = means.assign(on_front=True)[list(_TYPES)].astype(_TYPES).sort_values("epoch")
    return CurvesInfo(
        **vars(study_basis(record)),
        table=table,
        metrics=metrics,
        begun=len(begun),
        stopped=sum(any(rung.stop for rung in row.rungs) for row in begun),
        rung_images=tuple(sorted({rung.images for row in begun for rung in row.rungs} - {0})),
        runs=None if is_search else len({row.pair for row in record.rows}),
        looks=looks,
    )


def _metrics(record: StudyRecord, begun: Sequence[RowRecord], asked: str) -> tuple[str, ...]:
    """The objectives, or what is asked for, which a trial must have reported."""
    objectives = tuple(objective.metric for objective in record.study.objectives)
    if not asked:
        return objectives
    known = dict.fromkeys(objectives)
    for row in begun:
        known |= {name: None for entry in row.curve for name in entry.get("scores") or ()}
        known |= {name: None for rung in row.rungs for name in rung.scores}
    if asked not in known:
        rule = f"must be reported epoch by epoch in {record.name}, got {asked}"
        raise ParameterError(f"`objective`: {rule}. {did_you_mean(asked, list(known))}")
    return (asked,)


def _points(
    record: StudyRecord, row: RowRecord, metric: str, most: int
) -> list[tuple[int, float, bool]]:
    """Epoch, value, and whether the trial was stopped there; at most so many, evenly."""
    values = {rung.epoch: rung.value(metric) for rung in row.rungs if metric in rung.scores}
    for entry in row.curve:
        if (score := (entry.get("scores") or {}).get(metric)) is not None:
            values[int(entry["epoch"])] = float(score)
    objectives = (objective.metric for objective in record.study.objectives)
    at_end = dict(zip(objectives, row.values, strict=False)) if row.values is not None else {}
    if row.curve and metric in at_end:
        values.setdefault(int(row.curve[-1]["epoch"]), at_end[metric])
    baseline = record.references.get("baseline")
    if values and baseline is not None and is_score(metric):
        values.setdefault(0, baseline.metrics().get(metric, math.nan))
    stops = {rung.epoch for rung in row.rungs if rung.stop}
    points = [
        (epoch, value if math.isfinite(value) else math.nan, epoch in stops)
        for epoch, value in sorted(values.items())
    ]
    return _evenly(points, most, with_ends=True)


def _evenly(items: Sequence[Item], most: int, *, with_ends: bool = False) -> list[Item]:
    """At most so many, with equal steps between them."""
    most = min(most, len(items))
    if with_ends:
        return [items[at] for at in np.linspace(0, len(items) - 1, most).round().astype(int)]
    return [items[place * len(items) // most] for place in range(most)]


# -- Drawing -------------------------------------------------------------------------------


def draw(info: CurvesInfo, sheet: Sheet) -> Figure:
    """Draw the curves, a panel for each metric: below each other, or side by side where wide."""
    count = min(len(info.metrics), _MOST_PANELS)
    count = count if sheet.is_wide else sheet.rows_that_fit(count, 110)
    down, across = (1, count) if sheet.is_wide else (count, 1)
    figure = make_subplots(down, across, vertical_spacing=0.1, shared_xaxes=down > 1)
    outside = set[int]()
    for panel, metric in enumerate(info.metrics[:_MOST_PANELS][-count:]):
        place = {"row": 1, "col": panel + 1} if sheet.is_wide else {"row": panel + 1, "col": 1}
        table = info.table[info.table["metric"] == metric]
        for trace in _traces(info, table, metric):
            figure.add_trace(trace, **place)
        dtick = 1 if len(table) and table["epoch"].max() <= 12 else None
        title = shown_if(sheet.is_wide or panel + 1 == count, "Epoch")
        figure.update_xaxes(axis(title, tickformat="d", dtick=dtick), **place)
        # A trial whose last value is far worse than the others' does not stretch the axis.
        maximize = larger_is_better(metric, info.objectives)
        ends = table.dropna(subset=["number", "value"]).groupby("number")["value"].last()
        is_inside = ends == fenced(ends, maximize=maximize)
        outside |= {*ends.index[~is_inside]}
        kept = table["value"][table["number"].isin(ends.index[is_inside])]
        clip = {"clipmin": kept.min()} if maximize else {"clipmax": kept.max()}
        limit = {} if is_inside.all() else {"autorangeoptions": clip}
        figure.update_yaxes(metric_axis(metric) | limit, **place)
    title = f"How did the {'trials' if info.runs is None else 'arms'} learn?"
    if info.stopped:
        title = f"{info.stopped} of {count_text(info.begun, 'trial')} were stopped early"
    return canvas.finish(
        figure,
        sheet,
        title=title,
        facts=_facts(info, count, len(outside)),
        meta=canvas.basis_meta("Curves", info),
        height=420 if sheet.is_wide else 200 + 210 * count,
        nothing="" if len(info.table) else "no trial has been scored yet",
    )


def _facts(info: CurvesInfo, panels: int, outside: int) -> list[str]:
    facts = canvas.several_facts([info])
    if info.runs is not None:
        facts.insert(0, f"mean over the runs of an arm, at most {info.runs}")
    elif info.table["on_front"].any():
        facts.insert(1, f"full colour: {front_words(info.objectives)}")
    facts.append("marks are scores, lines join them")
    facts += ["epoch 0: the baseline"] if (info.table["epoch"] == 0).any() else []
    facts += [f"at rungs n = {images} images" for images in info.rung_images]
    if info.begun > MOST_DRAWN and info.runs is None:
        facts.append(f"{MOST_DRAWN} of {info.begun} trials drawn, others evenly left out")
    if panels < len(info.metrics):
        facts.append(f"{panels} of {len(info.metrics)} objectives")
    facts += [f"{count_text(outside, 'trial')} far worse, outside the axes"] if outside else []
    return [*facts, *canvas.several_marks([info])]


def _traces(info: CurvesInfo, table: pd.DataFrame, metric: str) -> Iterator[Any]:
    """Trials of one look in one trace, told apart by gaps; over them which were stopped or
    failed."""
    value = "%{y:.2%}" if is_accuracy(metric) else "%{y:.4g}"
    value = f"{plain_text(metric_words(metric))} {value} at epoch %{{x}}<extra></extra>"
    counts = info.table.groupby("group")["number"].nunique().to_dict()
    for (is_best, group), part in table.groupby(["on_front", "group"]):
        look = info.looks[str(group)]
        gaps = part.drop_duplicates("number", keep="last").assign(value=math.nan)
        lines = pd.concat([part, gaps]).sort_values("number", kind="stable")
        color, width = (look.color, 2.4) if is_best else (faint(look.color), 1.2)
        label, name = plain_text(look.label), f"<b>{plain_text(look.label)}</b>"
        if info.runs is None:
            name, label = f"<b>Trial %{{customdata}}</b>, {label}", f"{label} ({counts[group]})"
        yield trace_type(len(table))(
            x=lines["epoch"].to_numpy(np.int32),
            y=single_precision(lines["value"].to_numpy()),
            mode="lines+markers" if len(table) <= 1000 else "lines",
            name=label,
            line={"color": color, "width": width, "dash": look.dash},
            marker={"color": color, "symbol": look.symbol, "size": 2 * width + 2},
            customdata=[None if pd.isna(number) else int(number) for number in lines["number"]],
            hovertemplate=f"{name}<br>{value}",
        )
    last = table.dropna(subset="value").drop_duplicates("number", keep="last")
    failed = last[last["state"] == "FAIL"]
    line = {"color": INK, "width": 1.5}
    ends = (("Stopped", table[table["stop"]], "circle-open"), ("Failed", failed, "x-thin"))
    for label, rows, symbol in ends:
        if len(rows):
            yield trace_type(len(rows))(
                x=rows["epoch"].to_numpy(),
                y=single_precision(rows["value"].to_numpy()),
                mode="markers",
                name=f"{label} ({len(rows)})",
                marker={"symbol": symbol, "size": 8, "color": INK, "line": line},
                customdata=rows["number"].tolist(),
                hovertemplate=f"<b>Trial %{{customdata}}</b>, {label.lower()}<br>{value}",
            )


FIGURE = FigureKind(
    name="curves",
    section="measured",
    title="How did trials learn?",
    says="Each line is a trial, or an arm of an ablation, from the baseline on, at the epochs "
    "where it was scored; circles are trials that were stopped.",
    read=info_of,
    draw=draw,
    takes=("trials", "objective"),
)
