"""How fast does it fall?  Accuracy by severity of corruption, a line a network, with intervals.

A point is the mean over types, weighted as in robust accuracy; severity 0 is the clean images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.intervals import NONE, Estimate, t_interval
from ablate.ablation.networks import ablation_runs, shown_networks
from ablate.ablation.results import BASELINE
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import study_basis
from ablate.analysis.frame import typed_frame
from ablate.files.shown import count_text
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.profile import OVER_IMAGES, REFERENCES, network_looks
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import Look
from ablate.report.words import network_label, sides
from ablate.robustness.measures import wilson_interval
from ablate.study.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

_MOST_ARMS = 5


class Line(NamedTuple):
    """Accuracies of a network, or the means of an arm, at each severity; `number` of a trial."""

    look: Look
    number: int | None
    accuracies: tuple[Estimate, ...]


@dataclass(frozen=True)
class SeverityInfo:
    """Lines of references, then of trials or arms, at severity 0 (clean) and the scored ones; what
    their intervals are of is among the facts."""

    facts: tuple[str, ...]
    meta: Mapping[str, Any]
    severities: tuple[int, ...]
    lines: tuple[Line, ...]

    def frame(self) -> pd.DataFrame:
        """One row a network and severity; accuracies are fractions."""
        types = {"network": "string", "trial": "Int64", "severity": "int64", "accuracy": "float64"}
        types |= {"low": "float64", "high": "float64", "n": "int64", "method": "string"}
        rows = [
            (line.look.label, line.number, severity, one.mean, one.low, one.high, one.n, one.method)
            for line in self.lines
            for severity, one in zip(self.severities, line.accuracies, strict=True)
        ]
        return typed_frame(types, rows)


def accuracy_at(scores: Scores, severity: int) -> float:
    """Mean accuracy over the types that are scored at a severity; NaN if none is; 0 is clean."""
    if severity == 0:
        return scores.clean_accuracy
    rows = scores.accuracies.items()
    found = {kind: row[str(severity)] for kind, row in rows if str(severity) in row}
    weights = scores.type_weights
    total = math.fsum(weights[kind] for kind in found)
    return math.fsum(weights[kind] * found[kind] for kind in found) / total if found else math.nan


def _of_one(scores: Scores, severity: int) -> Estimate:
    """Of one network, with Wilson's interval as if each image had one copy: not too narrow."""
    mean = accuracy_at(scores, severity)
    if math.isnan(mean):
        return Estimate(mean, math.nan, math.nan, math.nan, 0, NONE)
    n = scores.n_corrupted or scores.n_images if severity else scores.n_images
    return Estimate(mean, math.nan, *wilson_interval(round(mean * n), n), 1, "Wilson, over images")


def _severities(scores: Sequence[Scores]) -> tuple[int, ...]:
    found = {int(one) for each in scores for row in each.accuracies.values() for one in row}
    return (0, *sorted(found)) if scores else ()


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> SeverityInfo:
    """Lines of trials of a search, or of an ablation's arms; raises as `shown_networks`."""
    (source,) = sources
    ablation, record = source.ablation, source.record
    if ablation is None or record.study.trainable is not None or options.trials:
        networks, left_out = shown_networks(source, "severity", options.trials)
        severities = _severities([one.scores for one in networks])
        lines = [
            Line(look, one.number, tuple(_of_one(one.scores, at) for at in severities))
            for one, look in zip(networks, network_looks(source, networks), strict=True)
        ]
        basis = study_basis(record)
        facts = (*canvas.several_facts([basis]), *_left_out(left_out), OVER_IMAGES, *basis.marks)
        return SeverityInfo(facts, canvas.basis_meta("Severity", basis), severities, tuple(lines))
    runs = ablation_runs(source, ablation)
    references = record.test_references if ablation.split == "test" else record.references
    fixed = [one for one in (references.get(BASELINE),) if isinstance(one, Scores)]
    severities = _severities([*fixed, *runs.values()])
    lines = [
        Line(REFERENCES[BASELINE], None, tuple(_of_one(o, at) for at in severities)) for o in fixed
    ]
    claimed = {sides(effect, ablation)[0] for effect in ablation.primary}
    scored, looks = {cell for cell, _ in runs}, canvas.looks(source)
    arms = [arm for arm in ablation.arms if not arm.is_one_network and scored.issuperset(arm.cells)]
    arms.sort(key=lambda arm: (arm.name not in claimed, arm.name == ablation.reference))
    for arm in arms[:_MOST_ARMS]:
        pairs = sorted({pair for cell, pair in runs if cell in arm.cells})
        whole = [[runs.get((cell, pair)) for cell in arm.cells] for pair in pairs]
        seeds = [[one for one in seed if one] for seed in whole if all(seed)]
        means = [
            [np.mean([accuracy_at(one, at) for one in seed]) for seed in seeds] for at in severities
        ]
        values = [t_interval(np.array(of_seeds)) for of_seeds in means]
        lines.append(Line(replace(looks[arm.name], label=arm.name), None, tuple(values)))
    intervals = "lines: means over seeds, 95 % intervals over seeds; the baseline's over images"
    facts = (*canvas.ablation_facts(ablation), *_left_out(len(arms[_MOST_ARMS:])), intervals)
    meta = canvas.basis_meta("Severity", ablation)
    return SeverityInfo((*facts, *ablation.marks), meta, severities, tuple(lines))


def _left_out(networks: int) -> list[str]:
    return [f"{count_text(networks, 'network')} not shown"] if networks > 0 else []


def plot_severity(info: SeverityInfo, sheet: Sheet) -> Figure:
    """Draw a line a network; without any the figure says so."""
    figure = Figure()
    for order, line in enumerate(info.lines):
        shift = 0.06 * (order - (len(info.lines) - 1) / 2)  # intervals side by side
        name, color = plain_text(shortened(network_label(line.look.label), 40)), line.look.color
        values = [None if math.isnan(one.mean) else 100 * one.mean for one in line.accuracies]
        figure.add_trace(
            Scatter(
                x=[at + shift for at in info.severities],
                y=values,
                mode="lines+markers",
                name=name,
                line={"color": color, "width": 2, "dash": line.look.dash},
                marker=canvas.marker(line.look, 8),
                error_y=canvas.interval_bars(
                    line.accuracies, 100, color=color, thickness=1.5, width=0
                ),
                customdata=None if line.number is None else [line.number] * len(values),
                hovertemplate=f"<b>{name}</b><br>%{{y:.1f}} %<extra></extra>",
            )
        )
    texts = [str(severity or "clean") for severity in info.severities]
    figure.update_layout(
        xaxis=canvas.axis("Severity of corruption", tickvals=info.severities, ticktext=texts),
        yaxis=canvas.axis("Accuracy, %") | {"showgrid": True},
    )
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=info.facts,
        meta=dict(info.meta),
        height=420,
        nothing="" if figure.data else canvas.NO_TRIAL,
    )


def _title(info: SeverityInfo) -> str:
    """The recommended trial or the most accurate arm, and the baseline, at the highest severity, if
    their intervals are apart."""
    baseline = [line for line in info.lines if line.look == REFERENCES[BASELINE]]
    others = [line for line in info.lines if line.look not in REFERENCES.values()]
    if baseline and others and len(info.severities) > 1:
        first = others[0]
        if all(line.number is None for line in others):
            first = max(others, key=lambda line: line.accuracies[-1].mean)
        one, before = first.accuracies[-1], baseline[0].accuracies[-1]
        if one.low > before.high or one.high < before.low:
            number, label = first.number, shortened(first.look.label, 32)
            name = label if number is None else f"trial {number}"
            right = f"{name} is right on {100 * one.mean:.0f} of 100 images"
            others_right = f"the baseline on {100 * before.mean:.0f}"
            return f"At severity {info.severities[-1]}, {right}, {others_right}"
    return "How fast does accuracy fall?"


FIGURE = FigureKind(
    name="severity",
    section="types",
    title="How fast does it fall?",
    says="Each line is a network, or the mean of an arm: accuracy on clean images, then at each "
    "severity in the mean over corruption types, with intervals.",
    read=info_of,
    draw=plot_severity,
    takes=("trials",),
)
