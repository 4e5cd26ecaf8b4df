"""Which trials a figure of parameters draws, how, and what is said about the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.fronts import ConfirmedMean
from ablate.analysis.hypervolume import as_table
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.parameters import ParametersInfo
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.report.figures.parts.canvas import basis_facts, objectives_facts
from ablate.report.numbers import (
    duration_text,
    gain_text,
    metric_label,
    metric_text,
    param_text,
    plain_text,
)
from ablate.report.style import DOMINATED_OPACITY, INK, TermsStyle, terms_style
from ablate.study.scores import COSTS, AnyScores, Scores
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    from plotly.graph_objects import Scatter


GL_TRIALS = 2000
"""Above so many trials, points are drawn by the graphics card."""
_MOST_MARKS = 24_000
"""Of a whole figure: what a page of about 1 MB holds, and a browser still turns over quickly."""
_SEED = 0


@dataclass(frozen=True)
class Group:
    """Trials of one set of terms, on the front or off it: places in `info.points`."""

    style: TermsStyle
    on_front: bool
    places: NDArray[np.int64]


@dataclass(frozen=True)
class DrawnTrials:
    """The trials that are drawn.

    Attributes:
        places: in `info.points`, ascending.
        facts: about those that are not.
    """

    places: NDArray[np.int64]
    facts: tuple[str, ...]

    def groups(self, info: ParametersInfo) -> Iterator[Group]:
        """By their style, in order of its label: all that are dominated, then the front."""
        of_terms = {terms: terms_style(terms) for terms in {p.loss_terms for p in info.points}}
        styles = [of_terms[info.points[place].loss_terms] for place in self.places]
        on_front = np.array([info.points[place].on_front for place in self.places], dtype=bool)
        labels = np.array([style.label for style in styles], dtype=object)
        by_label = dict(sorted({style.label: style for style in styles}.items()))
        for front in (False, True):
            for label, style in by_label.items():
                places = self.places[(labels == label) & (on_front == front)]
                if len(places):
                    yield Group(style, front, places)


def drawn_trials(
    info: ParametersInfo, *, panels: int = 1, dominated: int = _MOST_MARKS
) -> DrawnTrials:
    """The trials with numbers for every objective; of very many some, picked at random by a fixed
    seed, those on the front before the others.

    Args:
        panels: how often each is drawn.
        dominated: of those off the front, at most; of those on it the same.
    """
    values = as_table([point.values for point in info.points], len(info.objectives))
    finite = np.isfinite(values).all(axis=1)
    front = np.array([point.on_front for point in info.points], dtype=bool)
    most = _MOST_MARKS // panels
    random = np.random.default_rng(_SEED)
    kept: list[NDArray[np.int64]] = []
    said = []
    for group, name in ((front, "on the front"), (~front, "dominated")):
        places = np.flatnonzero(group & finite)
        room = min(most - sum(map(len, kept)), dominated)
        if len(places) > room:
            said.append(f"{room:,} of {len(places):,} trials {name} drawn, picked at random")
            places = random.permutation(places)[:room]
        kept.append(places)
    missing = int((~finite).sum())
    if missing:
        said.append(f"{missing} with a value that is not a number")
    return DrawnTrials(np.sort(np.concatenate(kept)), tuple(said))


def trial_numbers(info: ParametersInfo) -> NDArray[np.int64]:
    return np.array([point.number for point in info.points], dtype=np.int64)


def trial_facts(info: ParametersInfo, *more: str) -> list[str]:
    """What the numbers stand on, then what is said of this figure."""
    left = len(info.keys) - len(info.columns)
    chosen = [f"{len(info.columns)} of {len(info.keys)} parameters"] if left else []
    return [*basis_facts(info), *chosen, *more]


def shown_facts(info: ParametersInfo) -> list[str]:
    """That not all objectives are shown, where none was asked for."""
    is_asked = len(info.shown) == 1
    return [] if is_asked else objectives_facts(len(info.shown), len(info.objectives))


def point_marker(group: Group, size: float) -> dict[str, Any]:
    """Full colour and an ink line on the front; faint off it."""
    style = group.style
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": size if group.on_front else 0.8 * size,
        "opacity": 1 if group.on_front else DOMINATED_OPACITY,
        "line": {"color": INK if group.on_front else style.color, "width": 1},
    }


def legend_of(info: ParametersInfo, groups: list[Group], mode: str) -> list[Scatter]:
    """One entry a set of terms with its number of complete trials: a trace without a point."""
    from plotly.graph_objects import Scatter

    styles = {group.style.label: group.style for group in groups}
    count: Counter[str] = Counter()
    for loss_terms, trials in Counter(point.loss_terms for point in info.points).items():
        count[terms_style(loss_terms).label] += trials
    return [
        Scatter(
            x=[None],
            y=[None],
            mode=mode,
            name=f"{plain_text(label)} ({count[label]})",
            legendgroup=label,
            showlegend=True,
            hoverinfo="skip",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 10,
                "line": {"color": INK, "width": 1},
            },
            line={"color": style.color, "width": 3},
        )
        for label, style in sorted(styles.items())
    ]


# -- What stands beside a point when a person points at it: every parameter and every score


_SEEN = {"seen_type": ", trained on", "seen_family": ", its family trained on", "unseen": ""}


def point_hover(info: ParetoInfo, point: ParetoPoint) -> str:
    """A trial in lines of plotly's markup; whatever the study's author wrote is escaped."""
    head = f"<b>Trial {point.number}</b>{', on the front' if point.on_front else ''}"
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


def plane_template(
    objectives: Sequence[ObjectiveSettings], x: int, y: int, word: str = "Trial"
) -> str:
    """plotly's hovertemplate of very many points: number and the two values, drawn in the page."""
    lines = [f"<b>{word} %{{customdata}}</b>"]
    for axis, objective in (("x", objectives[x]), ("y", objectives[y])):
        text = ".1%" if is_accuracy(objective.metric) else ".4g"
        lines.append(f"{plain_text(metric_label(objective.metric))}: %{{{axis}:{text}}}")
    return "<br>".join(lines)


def _objective_lines(info: ParetoInfo, values: tuple[float, ...]) -> list[str]:
    lines = []
    for objective, value, gain in zip(info.objectives, values, info.gains(values), strict=True):
        text = gain_text(objective.metric, gain)
        gained = f" ({text} against the baseline)" if text else ""
        label = plain_text(metric_label(objective.metric))
        lines.append(f"{label}: <b>{metric_text(objective.metric, value)}</b>{gained}")
    return lines


def _score_lines(info: ParetoInfo, scores: AnyScores) -> list[str]:
    """Every score that is no objective: totals, then a line a type, severity by severity."""
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
