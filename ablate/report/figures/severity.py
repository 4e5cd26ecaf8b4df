"""How fast does it fall?  Accuracy by severity of corruption, a line a network, with intervals.

A point is the mean over types, weighted as in robust accuracy; severity 0 is the clean images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from plotly.graph_objects import Figure

from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate, t_interval
from ablate.ablation.networks import ablation_runs, shown_networks
from ablate.ablation.results import BASELINE
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import study_basis
from ablate.analysis.frame import typed_frame
from ablate.files.shown import count_text
from ablate.report.arms import NOTHING
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.profile import OVER_IMAGES, REFERENCES, network_looks
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import Look
from ablate.report.words import network_label, sides
from ablate.robustness.measures import wilson_interval
from ablate.study.scores import Scores, scored_copies

if TYPE_CHECKING:
    import pandas as pd

_MOST_ARMS = 5


@dataclass(frozen=True)
class SeverityInfo:
    """References, then trials or arms; what their intervals are of is among the facts.

    Attributes:
        looks: of each; trials: its number, None of a reference or an arm.
        accuracies: of each at each severity, of which 0 is clean; of an arm means.
    """

    facts: tuple[str, ...]
    meta: Mapping[str, Any]
    severities: tuple[int, ...]
    looks: tuple[Look, ...]
    trials: tuple[int | None, ...]
    accuracies: tuple[tuple[Estimate, ...], ...]

    def frame(self) -> pd.DataFrame:
        """One row a network and severity; accuracies are fractions."""
        types = {"network": "string", "trial": "Int64", "severity": "int64", "accuracy": "float64"}
        types |= {"low": "float64", "high": "float64", "n": "int64", "method": "string"}
        rows = [
            (look.label, trial, severity, one.mean, one.low, one.high, one.n, one.method)
            for look, trial, line in zip(self.looks, self.trials, self.accuracies, strict=True)
            for severity, one in zip(self.severities, line, strict=True)
        ]
        return typed_frame(types, rows)


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> SeverityInfo:
    """Lines of trials of a search, or of an ablation's arms; raises as `shown_networks`."""
    (source,) = sources
    ablation, record = source.ablation, source.record
    if ablation is not None and record.study.trainable is None and not options.trials:
        return _of_ablation(source, ablation)
    networks, left_out = shown_networks(source, "severity", options.trials)
    severities = _severities([network.scores for network in networks])
    basis = study_basis(record)
    return SeverityInfo(
        (*canvas.several_facts([basis]), *_not_shown(left_out), OVER_IMAGES, *basis.marks),
        canvas.basis_meta("Severity", basis),
        severities,
        tuple(network_looks(source, networks)),
        tuple(network.number for network in networks),
        tuple(_of_one(network.scores, severities) for network in networks),
    )


def _of_ablation(source: StudySource, ablation: AblationInfo) -> SeverityInfo:
    """The baseline, then arms whose runs have ended, those of declared contrasts first."""
    runs, record = ablation_runs(source, ablation), source.record
    references = record.test_references if ablation.split == "test" else record.references
    baseline = references.get(BASELINE)
    baselines = [baseline] if isinstance(baseline, Scores) else []
    severities = _severities([*baselines, *runs.values()])
    looks = [REFERENCES[BASELINE] for _ in baselines]
    accuracies = [_of_one(scores, severities) for scores in baselines]
    claimed = {sides(effect, ablation)[0] for effect in ablation.primary}
    scored, arm_looks = {cell for cell, _ in runs}, canvas.looks(source)
    arms = [arm for arm in ablation.arms if not arm.is_one_network and scored.issuperset(arm.cells)]
    arms.sort(key=lambda arm: (arm.name not in claimed, arm.name == ablation.reference))
    for arm in arms[:_MOST_ARMS]:
        pairs = sorted({pair for cell, pair in runs if cell in arm.cells})
        whole = [[runs.get((cell, pair)) for cell in arm.cells] for pair in pairs]
        seeds = [[scores for scores in seed if scores] for seed in whole if all(seed)]
        means = [
            [np.mean([accuracy_at(scores, at) for scores in seed]) for seed in seeds]
            for at in severities
        ]
        looks.append(replace(arm_looks[arm.name], label=arm.name))
        accuracies.append(tuple(t_interval(np.array(of_seeds)) for of_seeds in means))
    intervals = "lines: means over seeds, 95 % intervals over seeds; the baseline's over images"
    facts = (*canvas.ablation_facts(ablation), *_not_shown(len(arms[_MOST_ARMS:])), intervals)
    return SeverityInfo(
        (*facts, *ablation.marks),
        canvas.basis_meta("Severity", ablation),
        severities,
        tuple(looks),
        (None,) * len(looks),
        tuple(accuracies),
    )


def _not_shown(networks: int) -> list[str]:
    return [f"{count_text(networks, 'network')} not shown"] if networks else []


def _severities(scores: Sequence[Scores]) -> tuple[int, ...]:
    scored = {int(text) for each in scores for row in each.accuracies.values() for text in row}
    return (0, *sorted(scored)) if scores else ()


def _of_one(scores: Scores, severities: Sequence[int]) -> tuple[Estimate, ...]:
    """Of one network, with Wilson's interval as if each image had one copy: not too narrow."""
    estimates = []
    for severity in severities:
        mean, n = accuracy_at(scores, severity), scores.n_images
        if math.isnan(mean):
            estimates.append(NOTHING)
            continue
        if severity:
            types = sum(str(severity) in row for row in scores.accuracies.values())
            n = scores.n_corrupted or n
            n = min(n, scored_copies(n, types, scores.cell_share))
        ends = wilson_interval(round(mean * n), n)
        estimates.append(Estimate(mean, math.nan, *ends, 1, "Wilson, over images"))
    return tuple(estimates)


def accuracy_at(scores: Scores, severity: int) -> float:
    """Mean accuracy over the types that are scored at a severity; NaN if none is; 0 is clean."""
    if severity == 0:
        return scores.clean_accuracy
    rows, weights = scores.accuracies.items(), scores.type_weights
    of_kind = {kind: row[str(severity)] for kind, row in rows if str(severity) in row}
    if not of_kind:
        return math.nan
    weighted = math.fsum(weights[kind] * accuracy for kind, accuracy in of_kind.items())
    return weighted / math.fsum(weights[kind] for kind in of_kind)


def draw(info: SeverityInfo, sheet: Sheet) -> Figure:
    """Draw a line a network; without any the figure says so."""
    figure, ticks = Figure(), [str(severity or "clean") for severity in info.severities]
    lines = zip(info.looks, info.trials, info.accuracies, strict=True)
    for order, (look, trial, accuracies) in enumerate(lines):
        shift = 0.06 * (order - (len(info.looks) - 1) / 2)  # intervals side by side
        name = plain_text(shortened(network_label(look.label), 40))
        figure.add_scatter(
            x=[severity + shift for severity in info.severities],
            y=[
                None if math.isnan(accuracy.mean) else 100 * accuracy.mean
                for accuracy in accuracies
            ],
            mode="lines+markers",
            name=name,
            line={"color": look.color, "width": 2, "dash": look.dash},
            marker=canvas.marker(look, 8),
            error_y=canvas.interval_bars(accuracies, 100, color=look.color, thickness=1.5),
            customdata=None if trial is None else [trial] * len(accuracies),
            hovertemplate=f"<b>{name}</b><br>%{{y:.1f}} %<extra></extra>",
        )
    figure.update_layout(
        xaxis=canvas.axis("Severity of corruption", tickvals=info.severities, ticktext=ticks),
        yaxis=canvas.axis("Accuracy, %", showgrid=True),
    )
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=info.facts,
        meta=info.meta,
        height=420,
        nothing="" if figure.data else canvas.NO_TRIAL,
    )


def _title(info: SeverityInfo) -> str:
    """The recommended trial or the most accurate arm, and the baseline, at the highest severity, if
    their intervals are apart."""
    lines = [*zip(info.looks, info.trials, info.accuracies, strict=True)]
    before = [line[-1] for look, _, line in lines if look == REFERENCES[BASELINE]]
    others = [line for line in lines if line[0] not in REFERENCES.values()]
    if before and others and len(info.severities) > 1:
        look, trial, line = others[0]
        if trial is None:
            look, _, line = max(others, key=lambda other: other[2][-1].mean)
        if line[-1].low > before[0].high or line[-1].high < before[0].low:
            name = shortened(look.label, 32) if trial is None else f"trial {trial}"
            return (
                f"At severity {info.severities[-1]}, {name} is right on {100 * line[-1].mean:.0f} "
                f"of 100 images, the baseline on {100 * before[0].mean:.0f}"
            )
    return "How fast does accuracy fall?"


FIGURE = FigureKind(
    name="severity",
    section="types",
    title="How fast does it fall?",
    says="Each line is a network, or the mean of an arm: accuracy on clean images, then at each "
    "severity in the mean over corruption types, with intervals.",
    read=info_of,
    draw=draw,
    takes=("trials",),
)
