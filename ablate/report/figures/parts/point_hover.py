"""The hover text of a point: every parameter and every score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.analysis.fronts import ConfirmedMean
from ablate.analysis.objectives import front_words, is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.report.numbers import (
    duration_text,
    gain_text,
    metric_label,
    metric_text,
    param_text,
    plain_text,
)
from ablate.study.scores import COSTS, AnyScores, Scores
from ablate.study.settings import ObjectiveSettings

_SEEN = {"seen_type": ", trained on", "seen_family": ", its family trained on", "unseen": ""}


def point_hover(info: ParetoInfo, point: ParetoPoint) -> str:
    """A trial in lines of plotly's markup; whatever the study's author wrote is escaped."""
    head = f"<b>{point.name.capitalize()}</b>"
    head += f", {front_words(info.objectives)}" * point.on_front
    head += ", violates a constraint" if point.violation else ""
    head += "" if point.copy_of is None else f", copy of trial {point.copy_of}"
    lines = [head, *_objective_lines(info, point.values)]
    lines.append("")
    lines += [
        f"{plain_text(key)}: {plain_text(param_text(value))}"
        for key, value in sorted(point.params.items())
    ] or ["no parameter is searched"]
    if point.scores is not None:
        lines += ["", *_score_lines(info, point.scores)]
    return "<br>".join(lines)


def reference_hover(info: ParetoInfo, name: str, label: str) -> str:
    """A reference in lines of plotly's markup: its objectives and gains."""
    return "<br>".join([f"<b>{label}</b>", *_objective_lines(info, info.references[name])])


def mean_hover(info: ParetoInfo, mean: ConfirmedMean) -> str:
    """A confirmed trial in lines of plotly's markup: means with their intervals."""
    lines = [f"<b>Trial {mean.number}</b>, confirmed ({mean.seeds} seeds)"]
    for place, line in enumerate(_objective_lines(info, mean.values)):
        metric = info.objectives[place].metric
        low, high = (metric_text(metric, end[place]) for end in (mean.low, mean.high))
        lines.append(line + f", {low} to {high}" * math.isfinite(mean.low[place]))
    return "<br>".join(lines)


def against_baseline(metric: str, gain: float) -> str:
    """ " (+1.2 against the baseline)"; empty where there is no gain to tell."""
    text = gain_text(metric, gain)
    return f" ({text} against the baseline)" if text else ""


def score_template(metric: str, axis: str) -> str:
    """A score in plotly's hovertemplate: its name, and the point's own value on this axis."""
    form = ".1%" if is_accuracy(metric) else ".4g"
    return f"{plain_text(metric_label(metric))}: %{{{axis}:{form}}}"


def plane_template(
    objectives: Sequence[ObjectiveSettings], x: int, y: int, word: str = "Trial"
) -> str:
    """plotly's hovertemplate of very many points: number and the two values, drawn in the page."""
    of_x, of_y = objectives[x].metric, objectives[y].metric
    head = f"<b>{word} %{{customdata}}</b>"
    return "<br>".join([head, score_template(of_x, "x"), score_template(of_y, "y")])


def _objective_lines(info: ParetoInfo, values: tuple[float, ...]) -> list[str]:
    lines = []
    for objective, value, gain in zip(info.objectives, values, info.gains(values), strict=True):
        gained = against_baseline(objective.metric, gain)
        label = plain_text(metric_label(objective.metric))
        lines.append(f"{label}: <b>{metric_text(objective.metric, value)}</b>{gained}")
    return lines


def _score_lines(info: ParetoInfo, scores: AnyScores) -> list[str]:
    """Every score that is not an objective: totals, then a line per type with all severities."""
    metrics = scores.metrics()
    if not isinstance(scores, Scores):
        objectives = {objective.metric for objective in info.objectives}
        return [
            f"{plain_text(name)}: {metric_text(name, value)}"
            for name, value in metrics.items()
            if name not in objectives
        ]
    said = {*COSTS, *(objective.metric for objective in info.objectives)}
    lines = [
        f"{metric_label(name)}: {metric_text(name, metrics[name])}"
        for name in metrics
        if name not in said and "accuracy." not in name
    ]
    for family, kinds in scores.families.items():
        mean = 100 * scores.family_accuracy(family)
        lines.append(f"<b>{plain_text(family)}: {mean:.1f}</b>")
        for kind in kinds:
            by_severity = scores.accuracies[kind]
            each = " / ".join(f"{100 * accuracy:.1f}" for accuracy in by_severity.values())
            seen = _SEEN[scores.exposure_of(kind)]
            lines.append(
                f"  {plain_text(kind)}: {100 * scores.type_accuracy(kind):.1f} = mean of {each} "
                f"(severity {' / '.join(by_severity)}{seen})"
            )
    if scores.train_seconds:
        lines.append(f"trained in {duration_text(scores.train_seconds)}")
    if scores.student_images:
        teacher = f" and {scores.teacher_images:,} through a teacher" * bool(scores.teacher_images)
        lines.append(f"{scores.student_images:,} images{teacher}")
    if scores.train_flops:
        lines.append(f"{scores.train_flops / 1e12:.3g} TFLOP")
    return lines
