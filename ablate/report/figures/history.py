"""The history: is a search still gaining?

A line is what a search had reached after each trial that ended: of one objective the best value, of
several the hypervolume of the front, in percent of the end.  Values are those of one seed each, so
a line also rises by luck; a diamond is a mean over fresh seeds.  Of an ablation whose arms were
tuned, a line is the expected best score of an arm by number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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

_TYPES = {"study": "string", "loss_terms": "string", "number": "int64"}
_TYPES |= {"ended_trials": "int64", "value": "float64", "reached": "float64", "raised": "bool"}


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
        table = pd.concat([course.table for course in self.courses], ignore_index=True)
        names = {"value": self.objective.metric, "reached": self.reached}
        return table.astype(_TYPES).drop(columns="raised").rename(columns=names)


def info_of(sources: Sequence[StudySource], _: FigureOptions) -> HistoryInfo:
    """What searches had reached, trial by trial, or what tuning bought each arm of an ablation.

    Raises:
        NothingToDrawError: of an ablation without tuned arms; of several objectives without a
            reference point, or of more than `MOST_OBJECTIVES`.
        ParameterError: if the studies' objectives differ.
    """
    ablation = sources[0].ablation
    if len(sources) == 1 and ablation is not None and ablation.tuning:
        return _of_tuning(sources[0], ablation)
    records = [the_search([source], "history").record for source in sources]
    bases, objectives = [study_basis(record) for record in records], shared_objectives(records)
    point = _reference_point(records) if len(objectives) > 1 else None
    looks = canvas.study_looks([record.name for record in records])
    if len(records) == 1:
        looks = [Look("Best so far" if point is None else "Front so far", INK, "circle")]
    courses = tuple(_course(*pair, point) for pair in zip(sources, looks, strict=True))
    facts, unit, references = canvas.several_facts(bases), 1.0, dict[str, float]()
    if point is None:
        shared = shared_references([pareto_info(record) for record in records])
        references = {name: values[0] for name, values in shared.items()}
    else:
        ends = [course.table["reached"].max() for course in courses if len(course.table)]
        unit = max(ends, default=0.0) / 100 or 1.0
        text = reference_text([objective.metric for objective in objectives], point)
        has_others = any(record.reference_point not in (None, point) for record in records)
        also = shown_if(has_others, ", also for studies that have another")
        facts.insert(1, f"100 % is a hypervolume of {max(ends, default=0.0):.4g}")
        facts.append(f"reference point {text}{also}")
    return HistoryInfo(
        courses,
        objectives[objective_place("", objectives)],
        "best" if point is None else "hypervolume",
        unit,
        {name: value for name, value in references.items() if math.isfinite(value)},
        (*facts, *canvas.several_marks(bases)),
        canvas.basis_meta("History", *bases),
    )


def _of_tuning(source: StudySource, ablation: AblationInfo) -> HistoryInfo:
    metric, courses = ablation.tuning[0].metric, []
    looks, terms = canvas.looks(source), arm_terms(source)
    curves = [curve for curve in ablation.tuning if curve.metric == metric]
    for curve in curves:
        counts = range(1, len(curve.scores) + 1)
        columns: dict[str, Any] = {"study": curve.arm, "loss_terms": terms.get(curve.arm, "")}
        columns |= {"number": counts, "ended_trials": counts, "value": math.nan}
        columns |= {"reached": curve.scores, "raised": True}
        courses.append(Course(looks[curve.arm], pd.DataFrame(columns), len(counts)))
    notes = ["best of n trials drawn from an arm's own, one seed each; a little low near the end"]
    if not all(curve.is_random for curve in curves):
        notes.append("an approximation: points were given, or the sampler was not random")
    fixed = (arm.estimates.get(metric) for arm in ablation.arms if arm.is_one_network)
    known = [shared.mean for shared in fixed if shared and math.isfinite(shared.mean)]
    direction: Any = "minimize" if metric in ablation.minimized else "maximize"
    return HistoryInfo(
        tuple(courses),
        ObjectiveSettings(metric=metric, direction=direction),
        "expected_best",
        1.0,
        dict(zip(("baseline",), known, strict=False)),
        (*canvas.ablation_facts(ablation), *notes, *ablation.marks),
        canvas.basis_meta("History", ablation),
    )


def _reference_point(records: Sequence[StudyRecord]) -> tuple[float, ...]:
    count, points = len(records[0].study.objectives), [each.reference_point for each in records]
    point = next((point for point in points if point is not None), None)
    if point is None or count > MOST_OBJECTIVES:
        rule = f"needs a reference point and at most {MOST_OBJECTIVES} objectives"
        got = f"{'none' if point is None else 'one'} and {count}"
        fix = "Where no baseline is scored, set search.reference_point first; or draw pareto."
        raise NothingToDrawError(records[0].name, "history", f"{rule}, got {got}", fix)
    return point


def _course(source: StudySource, look: Look, point: tuple[float, ...] | None) -> Course:
    record, objectives = source.record, source.record.study.objectives
    ended = [row for row in record.rows if row.state in TERMINAL and row.finished is not None]
    ended.sort(key=lambda row: row.end_order)
    complete = [(count, row) for count, row in enumerate(ended, 1) if row.values is not None]
    values = as_table([counted_values(row, record.bounds) for _, row in complete], len(objectives))
    all_means = confirmed_means(source, "validation")
    means = [mean.values for mean in all_means if mean.is_point and not mean.violates]
    if point is not None:
        reached, before = hypervolume_steps(values, objectives, point), 0.0
        volume = hypervolume(means, objectives, point) if all_means else None
        confirmed = math.nan if volume is None else volume
    else:
        better = np.fmax if objectives[0].direction == "maximize" else np.fmin
        values = np.where(np.isfinite(values), values, math.nan)
        reached, before = better.accumulate(values[:, 0]), math.nan
        confirmed = float(better.reduce([math.nan, *(of_mean[0] for of_mean in means)]))
    columns = {
        "study": record.name,
        "loss_terms": [record.loss_terms(row) for _, row in complete],
        "number": [row.number for _, row in complete],
        "ended_trials": [count for count, _ in complete],
        "value": values[:, objective_place("", objectives)],
        "reached": reached,
        "raised": np.isfinite(reached) & (reached != np.append(before, reached)[:-1]),
    }
    return Course(look, pd.DataFrame(columns).astype(_TYPES), len(ended), confirmed)


# -- Drawing -------------------------------------------------------------------------------


def draw(info: HistoryInfo, sheet: Sheet) -> Figure:
    """What searches or arms had reached."""
    metric, maximize = info.objective.metric, info.objective.direction == "maximize"
    x, y, facts = axis("Trials that ended", rangemode="tozero"), metric_axis(metric), [*info.facts]
    if info.reached == "hypervolume":
        y = axis("Hypervolume, % of the end")
    elif info.reached == "expected_best":
        x["title"]["text"] = "Trials of an arm's search"
        y["title"]["text"] = f"Expected best {metric_words(metric)}"
    else:  # a collapsed trial does not stretch the axis
        values = np.concatenate([course.table["value"].dropna() for course in info.courses])
        inside = values[values == fenced(values, maximize=maximize)]
        if len(inside) < len(values):
            shown = [*inside.tolist(), *info.references.values()]
            y["autorangeoptions"] = {"clipmin": min(shown)} if maximize else {"clipmax": max(shown)}
            facts.append(f"far worse, not shown: {len(values) - len(inside)}")
    figure = Figure(layout={"xaxis": x, "yaxis": y})
    for course in info.courses:
        figure.add_traces([*_traces(info, course)])
    for name, value in info.references.items():
        dash, label = "dot" if name == "baseline" else "dash", network_label(name)
        line = {"color": INK, "width": 1.5, "dash": dash}
        ends: dict[str, Any] = {"x": [0, max(course.last for course in info.courses)]}
        ends["y"] = [value, value]
        figure.add_scatter(**ends, mode="lines", line=line, name=label, hoverinfo="skip")
    is_empty = all(course.table["reached"].isna().all() for course in info.courses)
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=info.meta,
        nothing=canvas.NO_TRIAL if is_empty else "",
    )


def _traces(info: HistoryInfo, course: Course) -> Iterator[Any]:
    """The line, its trials (of a front those that raised it), and what was confirmed."""
    look, table, is_single = course.look, course.table, len(info.courses) == 1
    is_tuned, is_best = info.reached == "expected_best", info.reached == "best"
    value = "%{y:.2%}" if is_accuracy(info.objective.metric) else "%{y:.4g}"
    value = "%{y:.1f} % of the end" if info.reached == "hypervolume" else value
    raised, label = table[table["raised"]], plain_text(look.label)
    y = canvas.single_precision((raised["reached"] / info.unit).to_numpy())
    yield trace_type(len(y))(
        x=np.append(raised["ended_trials"], [course.last] if len(y) else []),  # on to the end
        y=np.append(y, y[-1:]),
        mode="lines+markers" if is_tuned else "lines",
        name=label,
        line={"color": look.color, "dash": look.dash, "width": 2}
        | {"shape": "linear" if is_tuned else "hv"},
        marker=marker(look),
        hoverinfo=None if is_tuned else "skip",
        hovertemplate=f"{value} expected of %{{x}} trials" if is_tuned else None,
    )
    marks = table[table["value"].notna()] if is_best else raised
    if is_tuned:  # its line has marks
        marks = marks[:0]
    for terms, rows in marks.groupby("loss_terms" if is_single else "study"):
        own = terms_look(str(terms)) if is_single else look
        heights = (rows["value" if is_best else "reached"] / info.unit).to_numpy()
        own_label = plain_text(own.label)
        text = f"<b>Trial %{{customdata}}</b>, {own_label}<br>{value} after %{{x}} trials"
        yield trace_type(len(rows))(
            x=rows["ended_trials"].to_numpy(),
            y=canvas.single_precision(heights),
            mode="markers",
            marker=marker(own),
            name=f"{own_label} ({len(rows)})",
            legendgroup=own_label,
            showlegend=None if is_single else False,
            customdata=rows["number"].tolist(),
            hovertemplate=f"{text}<extra></extra>",
        )
    if math.isfinite(course.confirmed):
        yield Scatter(
            x=[course.last],
            y=[course.confirmed / info.unit],
            mode="markers",
            marker=marker(replace(look, symbol="diamond"), 12, hollow=True),
            name=shown_if(not is_single, f"{label}, ") + "fresh seeds",
            legendgroup=label,
            hoverinfo="skip",
            cliponaxis=False,
        )


def _title(info: HistoryInfo) -> str:
    """What the last quarter of the trials gained, where that can be said."""
    gains = {course.look.label: _gain(info, course) for course in info.courses}
    if info.reached == "expected_best":
        gaining = [label for label, gain in gains.items() if gain]
        return f"Still gaining: {few(gaining)}" if gaining else "No arm still gains"
    if len(info.courses) > 1:
        best = f"Best {metric_words(info.objective.metric)}"
        what = "Hypervolume" if info.reached == "hypervolume" else best
        return canvas.several_title(what, list(gains))
    (course,), (gain,) = info.courses, gains.values()
    if gain:
        quarter = max(1, course.last // 4)
        return f"Still gaining: {gain} in the last {quarter} of {course.last} trials"
    raised = course.table["ended_trials"][course.table["raised"]]
    return (
        f"Last gain after {max(raised)} of {course.last} trials" if len(raised) else "No gain yet"
    )


def _gain(info: HistoryInfo, course: Course) -> str:
    """Of the last quarter of its trials, in words; empty where none shows."""
    reached, ended = course.table["reached"], course.table["ended_trials"]
    before = reached[ended <= course.last - max(1, course.last // 4)]
    ends = [before.iloc[-1], reached.iloc[-1]] if len(before) else [math.nan]
    if not all(map(math.isfinite, ends)):
        return ""
    gain = abs(ends[1] - ends[0])
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
