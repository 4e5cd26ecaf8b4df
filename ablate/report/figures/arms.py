"""The arms of an ablation as bars: clean and robust accuracy, with intervals over seeds.

An arm is a group of bars in the colour of its loss terms, clean paler than robust; below them are
the families that robust accuracy averages.  The baseline, from which all runs start, is a dotted
line through the bars of its metric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from plotly.graph_objects import Figure

from ablate.ablation.figure_infos import ArmsInfo, arms_info
from ablate.ablation.info import AblationInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import is_accuracy
from ablate.report.arms import (
    basis_notes,
    family_metrics,
    leading_metrics,
    minimized_notes,
    shown_name,
)
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import (
    EMPTY_PIXELS,
    NOT_YET,
    ablation_facts,
    ablation_meta,
    asked_metric,
    stacked,
)
from ablate.report.figures.parts.arm_bars import (
    LEFT,
    WIDE_LEFT,
    Group,
    add_arms,
    arm_groups,
    groups_height,
)
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS, finish
from ablate.report.numbers import metric_text
from ablate.report.style import SYMBOLS

_GAP = 64
"""Between two panels, in pixels."""
_MOST = 2300
"""Pixels of all bars: the image stays below 3000."""
_MOST_METRICS = 3
"""For a custom training loop, whose metrics have one panel each."""


def plot_arms(info: ArmsInfo) -> Figure:
    """Draw every arm as a group of bars.

    Args:
        info: without finished runs the figure says so.

    Returns:
        A figure for one column of print, as high as its arms need, two columns wide for very many:
        accuracies in one panel, each other metric in a separate one.
    """
    panels = _panels(info)
    is_begun = any(
        math.isfinite(arm.estimates[metric].mean)
        for arm, _ in info.arms
        for metric in info.metrics
        if metric in arm.estimates
    )
    room = (_MOST - _GAP * (len(panels) - 1)) / max(1, len(panels))
    is_wide, groups = False, _groups(info, panels, is_wide=False, room=math.inf)
    if sum(map(groups_height, groups)) > _MOST:
        is_wide, groups = True, _groups(info, panels, is_wide=True, room=room)
    domains, inside = stacked(
        [groups_height(one) or EMPTY_PIXELS for one in groups] or [EMPTY_PIXELS], _GAP
    )
    figure = Figure()
    if not is_begun:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    for place, (metrics, of_panel) in enumerate(zip(panels, groups, strict=True)):
        if is_begun:
            add_arms(figure, info, metrics, of_panel, domains[place], place + 1)
    return finish(
        figure,
        title=info.ablation.question or f"Arms of {info.ablation.study}",
        facts=_facts(info),
        meta=ablation_meta(info.ablation, "Arms"),
        pixels=(WIDE_PIXELS if is_wide else COLUMN_PIXELS),
        inside=inside if is_begun else EMPTY_PIXELS,
        left=WIDE_LEFT if is_wide else LEFT,
        nothing="" if is_begun else NOT_YET,
    )


def _groups(
    info: ArmsInfo, panels: Sequence[tuple[str, ...]], *, is_wide: bool, room: float
) -> list[list[Group]]:
    has_families = bool(info.families)
    return [
        arm_groups(info, len(one), has_families=has_families, is_wide=is_wide, room=room)
        for one in panels
    ]


def _panels(info: ArmsInfo) -> list[tuple[str, ...]]:
    """Metrics that share an axis."""
    accuracies = tuple(metric for metric in info.metrics if is_accuracy(metric))
    panels = [accuracies] if accuracies else []
    return [*panels, *((metric,) for metric in info.metrics if not is_accuracy(metric))]


def _facts(info: ArmsInfo) -> list[str]:
    ablation = info.ablation
    notes = basis_notes(ablation, info.metrics)
    if ablation.seeds > 1:
        on = "" if ablation.n_images is None else ", on these images"
        notes.append(f"bars: mean over seeds; lines: 95 % interval, t over seeds{on}")
    else:
        notes.append("one seed: no interval")
    baseline = {
        metric: value for metric in info.metrics if math.isfinite(value := info.baseline(metric))
    }
    if baseline:
        said = (
            f"{shown_name(ablation, one)} {metric_text(one, baseline[one])}" for one in baseline
        )
        notes.append(f"dotted: baseline, {', '.join(said)}")
    notes += [*minimized_notes(ablation), *ablation.marks]
    left_out = [one for one in leading_metrics(ablation) if one not in info.metrics]
    if not ablation.families and left_out:
        notes.append(f"not shown: {', '.join(left_out)}")
    return ablation_facts(ablation, notes)


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ArmsInfo:
    ablation = the_ablation(sources, "arms")
    record = sources[0].record
    if options.objective:
        return arms_info(record, ablation, [asked_metric(ablation, options.objective)])
    families = family_metrics(ablation)
    if len(families) > len(SYMBOLS):  # no mark would be left for the last
        families = []
    return arms_info(record, ablation, _usual_metrics(ablation), families)


def _usual_metrics(ablation: AblationInfo) -> list[str]:
    """Clean and robust; for a custom training loop the first, and the one by which arms are
    ranked."""
    leading = leading_metrics(ablation)
    first = [metric for metric in leading if metric != ablation.rank_metric][: _MOST_METRICS - 1]
    return [metric for metric in leading if metric in {*first, ablation.rank_metric}]


FIGURE = FigureKind(
    name="arms",
    title="Arms",
    says="Each arm's accuracy with its 95 % interval over seeds; the dotted line is the baseline.",
    read=_read,
    draw=plot_arms,
    takes=("objective",),
)
