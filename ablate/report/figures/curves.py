"""The curves: how did trials learn, and which were stopped?

A line is a trial: an objective of the baseline (epoch 0), after each epoch or rung where it was
scored, and at the end.  The front (or the best trial) has full colour.  Of an ablation a line is an
arm, the mean over its runs.  Training losses are not drawn: those of unlike terms do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.drawn import fenced
from ablate.analysis.objectives import front_words, is_accuracy
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

MOST_DRAWN, _MOST_POINTS, _MOST_PANELS = 500, 40_000, 3
"""Lines in one figure; their points, where beyond each is drawn through fewer epochs; metrics."""
_TYPES = {"number": "Int64", "state": "string", "group": "string", "on_front": "bool"}
_TYPES |= {"metric": "string", "epoch": "int64", "value": "float64", "stop": "bool"}


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
    metrics = tuple(objective.metric for objective in record.study.objectives)
    if options.objective:
        known = dict.fromkeys(metrics)
        for row in begun:
            scored = [one.get("scores") or () for one in row.curve] + [
                at.scores for at in row.rungs
            ]
            known |= dict.fromkeys(name for names in scored for name in names)
        if options.objective not in known:
            rule = f"must be reported epoch by epoch in {record.name}, got {options.objective}"
            near = did_you_mean(options.objective, list(known))
            raise ParameterError(f"`objective`: {rule}. {near}")
        metrics = (options.objective,)
    is_search = record.design is None
    front = {point.number for point in pareto_info(record).front} if is_search else set()
    chosen = _evenly([row for row in begun if row.number in front], MOST_DRAWN)
    others = [row for row in begun if row.number not in front]
    chosen += _evenly(others, MOST_DRAWN - len(chosen)) if is_search else others
    arms = () if source.ablation is None else source.ablation.arms
    arm_of = {cell: arm.name for arm in reversed(arms) for cell in arm.cells}
    looks, found = dict(canvas.looks(source)), []
    most = max(2, _MOST_POINTS // (len(chosen) * len(metrics) or 1))
    for row in sorted(chosen, key=lambda row: row.number):
        terms, cell = record.loss_terms(row), row.cell or ""
        group = terms if is_search else arm_of.get(cell, cell)
        look = terms_look(terms)
        looks.setdefault(group, look if is_search else replace(look, label=group or terms))
        trial = (row.number, row.state, group, row.number in front)
        for metric in metrics:
            found += [(*trial, metric, *point) for point in _points(record, row, metric, most)]
    table = pd.DataFrame(found, columns=list(_TYPES)).astype(_TYPES)
    lines = table.groupby("metric")["epoch"].nunique()
    metrics = tuple(one for one in metrics if lines.get(one, 0) > 1) or metrics[:1]
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


def _points(
    record: StudyRecord, row: RowRecord, metric: str, most: int
) -> list[tuple[int, float, bool]]:
    """Epoch, value, and whether the trial was stopped there; at most so many, evenly."""
    values = {rung.epoch: rung.value(metric) for rung in row.rungs if metric in rung.scores}
    for entry in row.curve:
        if (score := (entry.get("scores") or {}).get(metric)) is not None:
            values[int(entry["epoch"])] = float(score)
    objectives = (objective.metric for objective in record.study.objectives)
    ended = dict(zip(objectives, row.values, strict=False)) if row.values is not None else {}
    if row.curve and metric in ended:
        values.setdefault(int(row.curve[-1]["epoch"]), ended[metric])
    baseline = record.references.get("baseline")
    if values and baseline is not None and is_accuracy(metric):
        values.setdefault(0, baseline.metrics().get(metric, math.nan))
    stops = {rung.epoch for rung in row.rungs if rung.stop}
    points = [
        (epoch, value if math.isfinite(value) else math.nan, epoch in stops)
        for epoch, value in sorted(values.items())
    ]
    kept = np.linspace(0, len(points) - 1, min(most, len(points))).round().astype(int)
    return [points[place] for place in kept]


def _evenly(rows: Sequence[RowRecord], most: int) -> list[RowRecord]:
    """At most so many, with equal steps between them."""
    most = min(most, len(rows))
    return [rows[place * len(rows) // most] for place in range(most)]


# -- Drawing -------------------------------------------------------------------------------


def draw(info: CurvesInfo, sheet: Sheet) -> Figure:
    """Draw the curves, a panel for each metric: below each other, or side by side where wide."""
    count = min(len(info.metrics), _MOST_PANELS)
    if not sheet.is_wide:
        count = sheet.rows_that_fit(count, 110)
    across = count if sheet.is_wide else 1
    figure = make_subplots(count // across, across, vertical_spacing=0.1 if count > 1 else 0)
    outside = set[int]()
    for place, metric in enumerate(info.metrics[:_MOST_PANELS][-count:]):
        row, column = (1, place + 1) if sheet.is_wide else (place + 1, 1)
        table = info.table[info.table["metric"] == metric]
        figure.add_traces(_traces(info, table, metric), rows=row, cols=column)
        x = axis(shown_if(sheet.is_wide or place + 1 == count, "Epoch"), tickformat="d")
        x["dtick"] = 1 if len(table) and table["epoch"].max() <= 12 else None
        figure.update_xaxes(x, row=row, col=column)
        collapsed = _collapsed(info, table, metric)
        outside |= collapsed
        figure.update_yaxes(_height(info, table, metric, collapsed), row=row, col=column)
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
    facts += [f"{count} of {len(info.metrics)} objectives"] if count < len(info.metrics) else []
    facts += [f"{count_text(len(outside), 'trial')} far worse, outside the axes"] if outside else []
    for one in {trace.legendgroup: trace for trace in figure.data}.values():
        one.showlegend = True
    title = f"How did the {'trials' if info.runs is None else 'arms'} learn?"
    if info.stopped:
        title = f"{info.stopped} of {count_text(info.begun, 'trial')} were stopped early"
    return canvas.finish(
        figure,
        sheet,
        title=title,
        facts=[*facts, *canvas.several_marks([info])],
        meta=canvas.basis_meta("Curves", info),
        height=420 if sheet.is_wide else 200 + 210 * count,
        nothing="" if len(info.table) else "no trial has been scored yet",
    )


def _collapsed(info: CurvesInfo, table: pd.DataFrame, metric: str) -> set[int]:
    """Numbers of the trials whose last value is far worse than the others': axes leave them out."""
    ends = table.dropna(subset=["number", "value"]).groupby("number")["value"].last()
    inside = ends == fenced(ends, maximize=larger_is_better(metric, info.objectives))
    return set(ends.index[~inside])


def _height(info: CurvesInfo, table: pd.DataFrame, metric: str, collapsed: set[int]) -> Any:
    """The axis of values, which collapsed trials do not stretch."""
    if not collapsed:
        return metric_axis(metric)
    kept = table["value"][table["number"].notna() & ~table["number"].isin(collapsed)]
    maximize = larger_is_better(metric, info.objectives)
    limit = {"clipmin": kept.min()} if maximize else {"clipmax": kept.max()}
    return metric_axis(metric) | {"autorangeoptions": limit}


def _traces(info: CurvesInfo, table: pd.DataFrame, metric: str) -> list[Any]:
    """Trials of one look in one trace, told apart by gaps; over them which were stopped or
    failed."""
    value = "%{y:.2%}" if is_accuracy(metric) else "%{y:.4g}"
    value = f"{plain_text(metric_words(metric))} {value} at epoch %{{x}}<extra></extra>"
    counts, traces = table.groupby("group")["number"].nunique().to_dict(), []
    for (is_best, group), part in table.groupby(["on_front", "group"]):
        look = info.looks[str(group)]
        gaps = part.drop_duplicates("number", keep="last").assign(value=math.nan)
        lines = pd.concat([part, gaps]).sort_values("number", kind="stable")
        color, width = (look.color, 2.4) if is_best else (faint(look.color), 1.2)
        style: dict[str, Any] = {"line": {"color": color, "width": width, "dash": look.dash}}
        style["marker"] = {"color": color, "symbol": look.symbol, "size": 2 * width + 2}
        label = plain_text(look.label)
        trial = f"<b>Trial %{{customdata}}</b>, {label}" if info.runs is None else f"<b>{label}</b>"
        trace = trace_type(len(table))(
            style,
            x=lines["epoch"].to_numpy(np.int32),
            y=single_precision(lines["value"].to_numpy()),
            mode="lines+markers" if len(table) <= 1000 else "lines",
            name=f"{label} ({counts[group]})" if info.runs is None else label,
            legendgroup=look.label,
            showlegend=False,
            customdata=[None if pd.isna(one) else int(one) for one in lines["number"]],
            hovertemplate=f"{trial}<br>{value}",
        )
        traces.append(trace)
    last = table.dropna(subset="value").drop_duplicates("number", keep="last")
    failed = last[last["state"] == "FAIL"]
    ends = (("Stopped", table[table["stop"]], "circle-open"), ("Failed", failed, "x-thin"))
    line = {"color": INK, "width": 1.5}
    for label, rows, symbol in ends:
        trace = trace_type(len(rows))(
            x=rows["epoch"].to_numpy(),
            y=single_precision(rows["value"].to_numpy()),
            mode="markers",
            name=f"{label} ({len(rows)})",
            legendgroup=label,
            showlegend=False,
            marker={"symbol": symbol, "size": 8, "color": INK, "line": line},
            customdata=rows["number"].tolist(),
            hovertemplate=f"<b>Trial %{{customdata}}</b>, {label.lower()}<br>{value}",
        )
        traces += [trace] if len(rows) else []
    return traces


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
