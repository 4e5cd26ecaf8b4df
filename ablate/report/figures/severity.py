"""Accuracy against severity: a panel a family, a line a network, severity 0 the clean images.

The last panel of a row names the lines; for one column of print, a legend does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.profile import SeverityInfo, SeverityLine, severity_info
from ablate.ledger.record import ADAPTED
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.ablations import wrapped
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    LEFT,
    RIGHT,
    WIDE_PIXELS,
    axis_title,
    basis_meta,
    finish,
)
from ablate.report.figures.parts.front_marks import REFERENCES
from ablate.report.figures.parts.heat_panels import ACCURACY
from ablate.report.figures.parts.names import add_line_labels, axis_number
from ablate.report.figures.parts.networks import (
    network_color,
    network_facts,
    network_marker,
    network_name,
    networks,
    no_network,
    terms_label,
)
from ablate.report.figures.parts.point_hover import against_baseline
from ablate.report.numbers import metric_text, plain_text
from ablate.report.style import DASHES, FONT_SIZE, INK, SERIES, base_axis

_TITLE = "Accuracy against severity, by family"

_PANEL_PIXELS, _COLUMN_PANEL_PIXELS = 270, 140
_NAME_CHARACTERS = 22
"""Of a line of a network's name."""
_NAMES = 172
"""Margin in pixels, for the names of the lines."""
_OVER, _GAP, _BETWEEN = 34, 24, 62
"""Pixels over the first line of panels, for the families' names; between two panels; and between
two lines of them."""
_UNDER = 48
"""Pixels under the last line of panels, for the severities and their title."""
_MOST_ACROSS = 3
_REFERENCE_DASHES = {"baseline": "solid", "plain": "dot", ADAPTED: "dash"}


def plot_severity(info: SeverityInfo, width: float = WIDE_PIXELS[0]) -> Figure:
    """Draw the accuracy of selected trials and the references by severity, for each family.

    Args:
        info: may have no trial or no line; the figure says so.
        width: of the image, in pixels.

    Returns:
        A figure with one panel per family, all with the same axes.  The first line of its loss
        terms has their colour; further ones have colours of no other line, and other dashes.
    """
    figure = Figure()
    numbers = {line.number for line in info.lines} - {None}
    facts = network_facts(info, len(numbers))
    families = tuple(info.families) or ("",)
    across = _across(len(families))
    down = math.ceil(len(families) / across)
    is_wide = width >= WIDE_PIXELS[0]
    pixels = width if across > 1 else COLUMN_PIXELS[0]
    right, height = (_NAMES, _PANEL_PIXELS) if is_wide else (RIGHT, _COLUMN_PANEL_PIXELS)
    panel = (pixels - LEFT - right + _GAP) / across - _GAP
    plot = across * (panel + _GAP) - _GAP, _OVER + down * (height + _BETWEEN) - _BETWEEN
    looks = _looks(info.lines)
    window = _range(info)
    baseline = {line.family: line for line in info.lines if line.name == "baseline"}
    notes = []
    for place, family in enumerate(families):
        number = axis_number(place)
        row, column = divmod(place, across)
        left = column * (panel + _GAP) / plot[0]
        head = (_OVER + row * (height + _BETWEEN)) / plot[1]
        is_lowest = place + across >= len(families)
        figure.update_layout(_axes(info, number, first=column == 0, titled=is_lowest))
        if not is_wide:
            middle = "severity (0: clean)" if column == across // 2 and is_lowest else ""
            texts = {"title": {"text": middle}, "ticktext": list(map(str, info.levels or (0, 1)))}
            figure.layout[f"xaxis{number}"].update(texts)
        figure.update_layout(
            {
                f"xaxis{number}": {"domain": [left, min(1.0, left + panel / plot[0])]},
                f"yaxis{number}": {"domain": [max(0.0, 1 - head - height / plot[1]), 1 - head]},
            }
        )
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        lines = [line for line in info.lines if line.family == family]
        figure.add_traces(
            [
                _line(info, line, baseline.get(family), looks).update(
                    axes | {"showlegend": not is_wide and place == 0}
                )
                for line in lines
            ]
        )
        notes.append(_name(family, number))
    figure.update_layout(annotations=notes)
    gap = 0.06 * (info.levels or (0, 1))[-1]
    for place, family in enumerate(families):
        if is_wide and (place % across == across - 1 or place == len(families) - 1):
            lines = [line for line in info.lines if line.family == family]
            ends = [_end(info, line, looks) for line in lines]
            add_line_labels(figure, ends, window, axis_number(place), panel=height, gap=gap)
    return finish(
        figure,
        title=_TITLE,
        facts=facts,
        meta=basis_meta("Severity", info),
        pixels=(pixels, 0),
        inside=plot[1],
        right=right,
        bottom=_UNDER,
        nothing="" if numbers or info.seeds else no_network(info),
    )


def _across(panels: int) -> int:
    return 2 if panels == 4 else min(panels, _MOST_ACROSS)


def _axes(info: SeverityInfo, number: str, *, first: bool, titled: bool) -> dict[str, Any]:
    """Both axes of a panel; all panels share them."""
    severities = info.levels or (0, 1)
    room = 0.06 * severities[-1]
    low, high = _range(info)
    title = {"text": "severity", "standoff": 6, "font": {"size": FONT_SIZE}}
    x = base_axis() | {
        "anchor": f"y{number}",
        "range": [-room, severities[-1] + room],
        "tickvals": list(severities),
        "ticktext": ["clean", *map(str, severities[1:])],
        "title": title if titled else None,
    }
    y = base_axis() | {
        "anchor": f"x{number}",
        "range": [low, high],
        "tickformat": ".3~%",
        "showticklabels": first,
    }
    if first:
        label = f"Accuracy ({info.split})" if info.split else "Accuracy"
        y["title"] = axis_title(label)
    if number:
        x["matches"], y["matches"] = "x", "y"
    return {f"xaxis{number}": x, f"yaxis{number}": y}


def _range(info: SeverityInfo) -> tuple[float, float]:
    found = [one for line in info.lines for one in line.accuracies if math.isfinite(one)]
    if not found:
        return 0.0, 1.0
    room = max(0.06 * (max(found) - min(found)), 0.01)
    return min(found) - room, max(found) + room


def _name(family: str, number: str) -> dict[str, Any]:
    return {
        "text": f"<b>{plain_text(family)}</b>",
        "x": 0.5,
        "xref": f"x{number} domain",
        "y": 1,
        "yref": f"y{number} domain",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"size": FONT_SIZE, "color": INK},
    }


class _Look(NamedTuple):
    color: str
    dash: str


def _looks(lines: Sequence[SeverityLine]) -> Mapping[str, _Look]:
    """Of each network, by its name: lines of the same terms differ in colour and dash."""
    terms = {line.name: terms_label(line.loss_terms) for line in lines}
    colors = {line.name: network_color(line.name, line.loss_terms) for line in lines}
    free = cycle([one for one in SERIES if one not in colors.values()] or SERIES)
    found: dict[str, _Look] = {}
    used: dict[str, int] = {}
    for name, label in terms.items():
        if name in REFERENCES:
            found[name] = _Look(colors[name], _REFERENCE_DASHES[name])
            continue
        alike = used.get(label, 0)
        used[label] = alike + 1
        color = next(free) if alike else colors[name]
        found[name] = _Look(color, DASHES[alike % len(DASHES)])
    return found


def _line(
    info: SeverityInfo,
    line: SeverityLine,
    baseline: SeverityLine | None,
    looks: Mapping[str, _Look],
) -> Scatter:
    look = looks[line.name]
    marker = network_marker(line.name, line.loss_terms)
    if line.name not in REFERENCES:
        marker["color"] = look.color
    name, terms = _texts(line)
    return Scatter(
        x=list(info.levels),
        y=[None if math.isnan(one) else one for one in line.accuracies],
        mode="lines+markers",
        name=f"{name}, {terms}" if terms else name,
        legendgroup=line.name,
        showlegend=False,
        line={"color": look.color, "width": 2, "dash": look.dash},
        marker={"size": 8, **marker},
        customdata=None if line.number is None else [line.number] * len(info.levels),
        hovertext=_hover(info, line, baseline, f"<b>{name}</b>" + f", {terms}" * bool(terms)),
        hoverinfo="text",
        cliponaxis=False,
    )


def _texts(line: SeverityLine) -> tuple[str, str]:
    """The network's name and, where it does not say them, its loss terms."""
    terms = "" if line.number is None else terms_label(line.loss_terms)
    return network_name(line.name), terms


def _end(
    info: SeverityInfo, line: SeverityLine, looks: Mapping[str, _Look]
) -> tuple[float, float, list[str], str]:
    """Where a line ends, and how it is named there."""
    name, terms = _texts(line)
    lines = [f"{name}, {terms}"] if terms else wrapped(name, _NAME_CHARACTERS, 2)
    return info.levels[-1], line.accuracies[-1], lines, looks[line.name].color


def _hover(
    info: SeverityInfo, line: SeverityLine, baseline: SeverityLine | None, head: str
) -> list[str]:
    texts = []
    for place, (severity, accuracy) in enumerate(zip(info.levels, line.accuracies, strict=True)):
        gain = math.nan
        if baseline is not None and baseline is not line:
            gain = accuracy - baseline.accuracies[place]
        against = against_baseline(ACCURACY, gain)
        where = f"{plain_text(line.family)}, severity {severity}" if severity else "clean"
        texts.append(f"{head}<br>{where}: <b>{metric_text(ACCURACY, accuracy)}</b>{against}")
    return texts


def _read(sources: Sequence[StudySource], options: FigureOptions) -> SeverityInfo:
    return severity_info(networks(sources, "severity", options.trials))


FIGURE = FigureKind(
    name="severity",
    title="Accuracy against severity",
    says="Each line is a network, or the mean of an arm: accuracy on clean images, then the mean "
    "of a family at each severity.",
    read=_read,
    draw=plot_severity,
    takes=("trials",),
    width=900,
)
