"""The history: is a search still gaining?

A line is what a search had reached after each trial that ended: of one objective the best value, of
several the hypervolume of the front, in percent of the end.  Values are those of one seed each, so
a line also rises by luck; a diamond is a mean over fresh seeds.  Several searches have a second
panel: the share of their trials that reach a value.  Of an ablation whose arms were tuned, a line
is the expected best score of an arm by number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.info import AblationInfo
from ablate.ablation.means import confirmed_means
from ablate.ablation.study_source import StudySource, arm_terms
from ablate.analysis.caveats import study_basis
from ablate.analysis.drawn import MOST_OBJECTIVES, fenced
from ablate.analysis.hypervolume import as_table, hypervolume, hypervolume_steps
from ablate.analysis.objectives import is_accuracy, objective_place, shared_objectives
from ablate.analysis.pareto import pareto_info, shared_references
from ablate.errors import NothingToDrawError
from ablate.files.shown import few, shown_if
from ablate.ledger.record import TERMINAL, StudyRecord, counted_values
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, axis, marker, metric_axis, trace_type
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.numbers import metric_words, plain_text, reference_text
from ablate.report.style import INK, Look, terms_look
from ablate.report.words import network_label
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class Course:
    """What one search had reached, or one tuned arm.

    Attributes:
        table: see `HistoryInfo.frame`, with `raised`: which trials were better than all before.
        last: number of trials that had ended at the end.
        confirmed: best mean over fresh seeds, or hypervolume of these means; NaN without.
    """

    look: Look
    table: pd.DataFrame
    last: int
    confirmed: float = math.nan


@dataclass(frozen=True)
class HistoryInfo:
    """Searches with the same objectives, or the tuned arms of an ablation.

    Attributes:
        objective: of the values.  reached: "hypervolume", "best" or "expected_best".
        unit: of the axis: of hypervolumes one percent of the largest end, else 1.
        references: of one objective, baseline and plain finetune where studies agree on them.
        facts, meta: what the numbers stand on.
    """

    courses: tuple[Course, ...]
    objective: ObjectiveSettings
    reached: str
    unit: float
    references: Mapping[str, float]
    facts: tuple[str, ...]
    meta: Mapping[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a complete trial, in the order in which they ended; of arms one a number of
        trials.

        Columns: study (of arms the arm), loss_terms: text; number, ended_trials (by then, in any
        state): int64; the objective (NaN where a constraint is violated) and hypervolume, best or
        expected_best (until then): float64.
        """
        found = pd.concat([one.table for one in self.courses], ignore_index=True).astype(_TYPES)
        names = {"value": self.objective.metric, "reached": self.reached}
        return found.drop(columns="raised").rename(columns=names)


_TYPES = {"study": "string", "loss_terms": "string", "number": "int64"}
_TYPES |= {"ended_trials": "int64", "value": "float64", "reached": "float64", "raised": "bool"}


def info_of(sources: Sequence[StudySource], _: FigureOptions) -> HistoryInfo:
    """What searches had reached, trial by trial, or what tuning bought each arm of an ablation.

    Raises:
        NothingToDrawError: of an ablation without tuned arms; of several objectives without a
            reference point, or of more than `MOST_OBJECTIVES`.
        ParameterError: if the studies' objectives differ.
    """
    ablation = sources[0].ablation
    if len(sources) == 1 and ablation is not None and ablation.tuning:
        return _tuning_info(sources[0], ablation)
    records = [the_search([source], "history").record for source in sources]
    bases, objectives = [study_basis(record) for record in records], shared_objectives(records)
    point = _reference_point(records) if len(objectives) > 1 else None
    looks = canvas.study_looks([record.name for record in records])
    if len(records) == 1:
        looks = [Look("Best so far" if point is None else "Front so far", INK, "circle")]
    courses = tuple(_course(*one, point) for one in zip(sources, looks, strict=True))
    facts, unit, references = canvas.several_facts(bases), 1.0, {}
    if point is None:
        shared = shared_references([pareto_info(record) for record in records])
        references = {name: one[0] for name, one in shared.items() if math.isfinite(one[0])}
    else:
        end = max((one.table["reached"].max() for one in courses if len(one.table)), default=0.0)
        unit = end / 100 or 1.0
        others = any(one.reference_point not in (None, point) for one in records)
        text = reference_text([one.metric for one in objectives], point)
        facts.insert(1, f"100 % is a hypervolume of {end:.4g}")
        facts += [f"reference point {text}{', also for studies that have another' * others}"]
    return HistoryInfo(
        courses,
        objectives[objective_place("", objectives)],
        "best" if point is None else "hypervolume",
        unit,
        references,
        facts=(*facts, *canvas.several_marks(bases)),
        meta=canvas.basis_meta("History", *bases),
    )


def _tuning_info(source: StudySource, ablation: AblationInfo) -> HistoryInfo:
    metric, courses = ablation.tuning[0].metric, []
    looks, terms = canvas.looks(source), arm_terms(source)
    curves = [curve for curve in ablation.tuning if curve.metric == metric]
    for curve in curves:
        counts = range(1, len(curve.scores) + 1)
        table: dict[str, Any] = {"study": curve.arm, "loss_terms": terms.get(curve.arm, "")}
        table |= {"number": counts, "ended_trials": counts, "value": math.nan}
        table |= {"reached": curve.scores, "raised": True}
        courses.append(Course(looks[curve.arm], pd.DataFrame(table), len(counts)))
    shared = (arm.estimates.get(metric) for arm in ablation.arms if arm.is_one_network)
    known = {one.mean for one in shared if one is not None and math.isfinite(one.mean)}
    notes = ["best of n trials drawn from an arm's own, one seed each; a little low near the end"]
    if not all(curve.is_random for curve in curves):
        notes.append("an approximation: the sampler was not random, so trials are not independent")
    direction: Any = "minimize" if metric in ablation.minimized else "maximize"
    objective = ObjectiveSettings(metric=metric, direction=direction)
    references = dict(zip(("baseline",), known, strict=False))
    facts = (*canvas.ablation_facts(ablation), *notes, *ablation.marks)
    meta = canvas.basis_meta("History", ablation)
    return HistoryInfo(tuple(courses), objective, "expected_best", 1.0, references, facts, meta)


def _reference_point(records: Sequence[StudyRecord]) -> tuple[float, ...]:
    count, points = len(records[0].study.objectives), [one.reference_point for one in records]
    found = next((one for one in points if one is not None), None)
    if found is None or count > MOST_OBJECTIVES:
        rule = f"needs a reference point and at most {MOST_OBJECTIVES} objectives"
        got = f"{'none' if found is None else 'one'} and {count}"
        fix = "Where no baseline is scored, set search.reference_point first; or draw pareto."
        raise NothingToDrawError(records[0].name, "history", f"{rule}, got {got}", fix)
    return found


def _course(source: StudySource, look: Look, point: tuple[float, ...] | None) -> Course:
    record, objectives = source.record, source.record.study.objectives
    rows = [row for row in record.rows if row.state in TERMINAL and row.finished is not None]
    rows.sort(key=lambda row: row.end_order)
    complete = [(place, row) for place, row in enumerate(rows, 1) if row.values is not None]
    values = as_table([counted_values(row, record.bounds) for _, row in complete], len(objectives))
    all_means = confirmed_means(source, "validation")
    means = [one.values for one in all_means if one.number is not None and not one.violates]
    if point is not None:
        reached, before = hypervolume_steps(values, objectives, point), 0.0
        volume = hypervolume(means, objectives, point) if all_means else None
        confirmed = math.nan if volume is None else volume
    else:
        better = np.fmax if objectives[0].direction == "maximize" else np.fmin
        values = np.where(np.isfinite(values), values, math.nan)
        reached, before = better.accumulate(values[:, 0]), math.nan
        confirmed = float(better.reduce([math.nan, *(of_mean[0] for of_mean in means)]))
    raised = np.isfinite(reached) & (reached != np.append(before, reached)[:-1])
    table = {
        "study": record.name,
        "loss_terms": [record.loss_terms(row) for _, row in complete],
        "number": [row.number for _, row in complete],
        "ended_trials": [place for place, _ in complete],
        "value": values[:, objective_place("", objectives)],
        "reached": reached,
        "raised": raised,
    }
    return Course(look, pd.DataFrame(table).astype(_TYPES), len(rows), confirmed)


# -- Drawing -------------------------------------------------------------------------------


def draw(info: HistoryInfo, sheet: Sheet) -> Figure:
    """What searches or arms had reached and, beside or below it, the shares of several searches."""
    courses, metric = info.courses, info.objective.metric
    maximize = info.objective.direction == "maximize"
    values = np.concatenate([one.table["value"].dropna() for one in courses])
    inside = values[values == fenced(values, maximize=maximize)]
    two = len(courses) > 1 and len(values) and sheet.rows_that_fit(2, 140) == 2
    x, y, facts = axis("Trials that ended", rangemode="tozero"), metric_axis(metric), [*info.facts]
    if len(inside) < len(values):  # a collapsed trial does not stretch the axis
        clip, end = ("clipmin", min) if maximize else ("clipmax", max)
        y["autorangeoptions"] = {clip: end([*inside.tolist(), *info.references.values()])}
        facts += (
            [f"far worse, not shown: {len(values) - len(inside)}"] if info.reached == "best" else []
        )
    figure = Figure(layout={"xaxis": x, "yaxis": y})
    if info.reached == "hypervolume":
        figure.layout.yaxis = axis("Hypervolume, % of the end")
    elif info.reached == "expected_best":
        figure.layout.xaxis = axis("Trials of an arm's search", rangemode="tozero")
        figure.layout.yaxis.title.text = f"Expected best {metric_words(metric)}"
    if two:
        side = "at or above" if maximize else "at or below"
        y2 = axis(f"Trials {side}", tickformat=".0%", range=[0, 1.02], anchor="x2")
        figure.update_layout(xaxis2=y | {"anchor": "y2"}, yaxis2=y2)
        ends = {"xaxis": [0, 0.56], "xaxis2": [0.68, 1]}
        if not sheet.is_wide:
            ends = {"yaxis": [0.6, 1], "yaxis2": [0, 0.34]}
        figure.update_layout({name: {"domain": domain} for name, domain in ends.items()})
        figure.add_traces([_shares(one, maximize=maximize) for one in courses])
    for one in courses:
        figure.add_traces(_traces(info, one))
    for name, value in info.references.items():
        dash, label = "dot" if name == "baseline" else "dash", network_label(name)
        style = {"mode": "lines", "line": {"color": INK, "width": 1.5, "dash": dash}}
        at = {"x": [0, max(one.last for one in courses)], "y": [value] * 2}
        figure.add_trace(Scatter(style, **at, name=label, showlegend=True, hoverinfo="skip"))
    is_empty = all(one.table["reached"].isna().all() for one in courses)
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=dict(info.meta),
        height=620 if two and not sheet.is_wide else 400,
        nothing=canvas.NO_TRIAL if is_empty else "",
    )


def _traces(info: HistoryInfo, one: Course) -> list[Any]:
    """The line, its trials (of a front those that raised it), and what was confirmed."""
    own, table, is_single = one.look, one.table, len(info.courses) == 1
    is_tuned, is_best = info.reached == "expected_best", info.reached == "best"
    value = "%{y:.2%}" if is_accuracy(info.objective.metric) else "%{y:.4g}"
    value = "%{y:.1f} % of the end" if info.reached == "hypervolume" else value
    steps = table[table["raised"]]
    y = canvas.single_precision((steps["reached"] / info.unit).to_numpy())
    x, y = np.append(steps["ended_trials"], ([one.last] if len(y) else [])), np.append(y, y[-1:])
    line = {"color": own.color, "dash": own.dash, "width": 2, "shape": "hv"}
    style: dict[str, Any] = {"legendgroup": own.label, "showlegend": True}
    style |= {"mode": "lines", "name": plain_text(own.label), "line": line, "hoverinfo": "skip"}
    if is_tuned:
        style |= {
            "mode": "lines+markers",
            "marker": marker(own),
            "line": line | {"shape": "linear"},
        }
        style |= {"hoverinfo": "all", "hovertemplate": f"{value} expected of %{{x}} trials"}
    found = [trace_type(len(y))(style, x=x, y=y)]
    marks = table[table["value"].notna()] if is_best else steps.iloc[: 0 if is_tuned else None]
    for terms, rows in marks.groupby("loss_terms" if is_single else "study"):
        look = terms_look(str(terms)) if is_single else own
        heights, label = rows["value" if is_best else "reached"] / info.unit, plain_text(look.label)
        text = f"<b>Trial %{{customdata}}</b>, {label}<br>{value} after %{{x}} trials"
        trace = trace_type(len(rows))(
            x=rows["ended_trials"].to_numpy(),
            y=canvas.single_precision(heights.to_numpy()),
            mode="markers",
            marker=marker(look),
            name=f"{label} ({len(rows)})",
            legendgroup=look.label,
            showlegend=is_single,
            customdata=rows["number"].tolist(),
            hovertemplate=f"{text}<extra></extra>",
        )
        found.append(trace)
    if math.isfinite(one.confirmed):
        style |= {
            "mode": "markers",
            "marker": marker(replace(own, symbol="diamond"), 12, hollow=True),
        }
        style |= {"name": shown_if(not is_single, f"{plain_text(own.label)}, ") + "fresh seeds"}
        at: Any = {"x": [one.last], "y": [one.confirmed / info.unit], "cliponaxis": False}
        found.append(Scatter(style, **at))
    return found


def _shares(one: Course, *, maximize: bool) -> Any:
    """Which share of the trials has a value or a better one."""
    x, look = np.sort(canvas.single_precision(one.table["value"].dropna().to_numpy())), one.look
    ends = np.append(x, x[-1:]) if maximize else np.append(x[:1], x)
    shares = np.linspace(maximize, not maximize, len(ends))
    line = {"color": look.color, "width": 2, "dash": look.dash, "shape": "vh" if maximize else "hv"}
    style = {"mode": "lines", "line": line, "legendgroup": look.label, "showlegend": False}
    style["hovertemplate"] = f"%{{y:.0%}} reach %{{x}}<extra>{plain_text(look.label)}</extra>"
    return trace_type(len(x))(style, x=ends, y=shares, xaxis="x2", yaxis="y2")


def _title(info: HistoryInfo) -> str:
    """What the last quarter of the trials gained, where that can be said."""
    gains = {one.look.label: _gain(info, one) for one in info.courses}
    if info.reached == "expected_best":
        gaining = [label for label, gain in gains.items() if gain]
        return f"Still gaining: {few(gaining)}" if gaining else "No arm still gains"
    if len(info.courses) > 1:
        what = f"Best {metric_words(info.objective.metric)}"
        what = "Hypervolume" if info.reached == "hypervolume" else what
        return canvas.several_title(what, list(gains))
    (one,), (gain,) = info.courses, gains.values()
    raised = one.table["ended_trials"][one.table["raised"]]
    if gain:
        return f"Still gaining: {gain} in the last {max(1, one.last // 4)} of {one.last} trials"
    return f"Last gain after {max(raised)} of {one.last} trials" if len(raised) else "No gain yet"


def _gain(info: HistoryInfo, one: Course) -> str:
    """Of the last quarter of its trials, in words; empty where none shows."""
    before = one.table["reached"][one.table["ended_trials"] <= one.last - max(1, one.last // 4)]
    ends = [before.iloc[-1], one.table["reached"].iloc[-1]] if len(before) else [math.nan]
    gain = abs(ends[-1] - ends[0]) if all(map(math.isfinite, ends)) else math.nan
    text = f"{100 * gain:.1f} points" if is_accuracy(info.objective.metric) else f"{gain:.3g}"
    text = f"{gain / info.unit:.1f} %" if info.reached == "hypervolume" else text
    return text if float(text.split()[0]) > 0 else ""


FIGURE = FigureKind(
    name="history",
    section="measured",
    title="Is the search still gaining?",
    says="A line is the best value, or the hypervolume of the front, after each trial; where it is "
    "flat, more trials gained nothing.",
    read=info_of,
    draw=draw,
    several=True,
)
