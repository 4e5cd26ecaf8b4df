"""The profile: every type at every severity, one panel per network, in points over the baseline.

A column of a panel is a severity, a row a type, below the name of its family.  The baseline's panel
shows its accuracy, every other one the difference to it, as a colour and as a number.  Types that a
network was finetuned on have a frame: gains there do not show generalisation to other types.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from plotly.graph_objects import Figure, Heatmap, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.profile import Profile, ProfileInfo
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    WIDE_PIXELS,
    axis_number,
    basis_meta,
    finish,
)
from ablate.report.figures.parts.gain_colours import ACCURACY, gain_cells, gain_scale, whole_points
from ablate.report.figures.parts.networks import (
    NOT_YET,
    network_facts,
    network_marker,
    network_name,
    networks,
    terms_label,
)
from ablate.report.figures.parts.point_hover import against_baseline
from ablate.report.numbers import gain_text, metric_text, plain_text
from ablate.report.style import FONT_SIZE, INK, SMALL_SIZE

_TITLE = "Accuracy by type and severity: points over the baseline"

_DECIMAL_FROM = 42
"""Pixels across a cell from which on a number has a decimal."""
_LEFT = -0.5
"""Left edge of a panel, whose first severity stands at 0."""
_LINES, _MARK = (-50, -31, -14), 11
"""In pixels: where name, terms and clean accuracy stand, from a panel's first row; the mark."""
_SEEN = {"seen_type": "trained on", "seen_family": "its family trained on", "unseen": "unseen"}


def plot_profile(info: ProfileInfo) -> Figure:
    """Draw the profiles of a study's selected trials.

    Args:
        info: may have no trial or no baseline; without any network the figure says so.

    Returns:
        A figure up to two columns of print wide, its panels in as many lines as needed.
    """
    figure = Figure()
    facts = network_facts(info, len(info.chosen))
    meta = basis_meta("Profile", info)
    if not info.types:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        return finish(figure, title=_TITLE, facts=facts, meta=meta, nothing=NOT_YET)
    grid = ProfileGrid.of(len(info.profiles), info.families, info.severities)
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for place, profile in enumerate(info.profiles):
        number = axis_number(place)
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        figure.update_layout(grid.axes(place))
        traces = (_cells(info, profile, grid), _mark(profile, grid))
        figure.add_traces([trace.update(axes) for trace in traces])
        shapes += _frames(info, profile, grid, number)
        notes += _lines_over(info, profile, number)
    if not info.chosen:
        facts.append(NOT_YET)
    if shapes:
        facts.append("framed: types trained on")
    figure.update_layout(
        shapes=shapes,
        annotations=notes,
        coloraxis=gain_scale(_gains(info), grid.panel_height),
    )
    return finish(
        figure,
        title=_TITLE,
        facts=facts,
        meta=meta,
        pixels=(grid.width, 0),
        inside=grid.height,
        left=grid.left,
        right=RIGHT,
        bottom=10,
    )


def _shows_accuracy(info: ProfileInfo, profile: Profile) -> bool:
    """True for the baseline, and for all panels without a baseline."""
    return info.baseline is None or profile is info.baseline


def _cells(info: ProfileInfo, profile: Profile, grid: ProfileGrid) -> Heatmap:
    shows_accuracy = _shows_accuracy(info, profile)
    shown = profile.accuracies if shows_accuracy else info.differences(profile)
    colours: list[list[float | None]] = []
    texts: list[list[str]] = []
    hover: list[list[str]] = []
    for row in grid.rows:
        values = (
            shown[info.types.index(row.kind)] if row.kind else (math.nan,) * len(grid.severities)
        )
        # No difference, or a colour of its own where there is nothing to differ from.
        colours.append(
            [None if math.isnan(one) else 0.0 if shows_accuracy else one for one in values]
        )
        texts.append([_number(one, shows_accuracy, grid.cell) for one in values])
        hover.append(_hover(info, profile, row.kind) if row.kind else [""] * len(values))
    return gain_cells(colours, texts, hover, x=list(range(len(grid.severities))), y=grid.bounds)


def _number(value: float, is_accuracy: bool, cell: float) -> str:
    """Points in a cell, rounded if a decimal has no room; empty for NaN."""
    if math.isnan(value):
        return ""
    if cell >= _DECIMAL_FROM:
        return metric_text(ACCURACY, value) if is_accuracy else gain_text(ACCURACY, value)
    return str(round(100 * value)) if is_accuracy else whole_points(value)


def _hover(info: ProfileInfo, profile: Profile, kind: str) -> list[str]:
    at = info.types.index(kind)
    seen = f"<br>{_SEEN[profile.exposure[at]]}" if profile.loss_terms else ""
    texts = []
    for severity, accuracy, gain in zip(
        info.severities, profile.accuracies[at], info.differences(profile)[at], strict=True
    ):
        against = "" if profile.name == "baseline" else against_baseline(ACCURACY, gain)
        texts.append(
            f"<b>{network_name(profile.name)}</b><br>{plain_text(kind)}, severity {severity}<br>"
            f"accuracy: <b>{metric_text(ACCURACY, accuracy)}</b>{against}{seen}"
        )
    return texts


def _mark(profile: Profile, grid: ProfileGrid) -> Scatter:
    """The network's mark as in the front, over its panel."""
    return Scatter(
        x=[_LEFT + 0.5 * _MARK / grid.cell],
        y=[_LINES[0]],
        mode="markers",
        marker={"size": _MARK, **network_marker(profile.name, profile.loss_terms)},
        customdata=None if profile.number is None else [profile.number],
        hovertext=[f"<b>{network_name(profile.name)}</b>"],
        hoverinfo="text",
        cliponaxis=False,
        showlegend=False,
    )


def _lines_over(info: ProfileInfo, profile: Profile, number: str) -> list[dict[str, Any]]:
    """Name, loss terms and clean accuracy, over a panel."""
    baseline = info.baseline
    clean = metric_text(ACCURACY, profile.clean_accuracy)
    if baseline is not None and profile is not baseline:
        clean += f" ({gain_text(ACCURACY, profile.clean_accuracy - baseline.clean_accuracy)})"
    what = terms_label(profile.loss_terms)
    if not what:
        what = "accuracy" if _shows_accuracy(info, profile) else ""
    texts = (f"<b>{network_name(profile.name)}</b>", what, f"clean {clean}")
    return [
        {
            "text": text,
            "x": _LEFT,
            "xref": f"x{number}",
            "xanchor": "left",
            "xshift": _MARK + 3 if at == _LINES[0] else -1,
            "y": at,
            "yref": f"y{number}",
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": FONT_SIZE if at == _LINES[0] else SMALL_SIZE, "color": INK},
        }
        for at, text in zip(_LINES, texts, strict=True)
        if text
    ]


def _frames(
    info: ProfileInfo, profile: Profile, grid: ProfileGrid, number: str
) -> list[dict[str, Any]]:
    """One around each run of types that the network was trained on."""

    def is_seen(row: Any) -> bool:
        return bool(row.kind) and profile.exposure[info.types.index(row.kind)] == "seen_type"

    runs = [list(rows) for seen, rows in groupby(grid.rows, key=is_seen) if seen]
    return [
        {
            "type": "rect",
            "xref": f"x{number}",
            "yref": f"y{number}",
            # Inside the panel by half the line, which would be cut there.
            "x0": _LEFT + 1 / grid.cell,
            "x1": _LEFT + len(grid.severities) - 1 / grid.cell,
            "y0": rows[0].head + 1,
            "y1": rows[-1].foot - 1,
            "line": {"color": INK, "width": 2},
        }
        for rows in runs
    ]


def _gains(info: ProfileInfo) -> list[float]:
    rows = [row for profile in info.profiles for row in info.differences(profile)]
    return [gain for row in rows for gain in row]


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ProfileInfo:
    return networks(sources, "profile", options.trials)


FIGURE = FigureKind(
    name="profile",
    title="Robustness profile",
    says="Accuracy by type and severity: trials of the front, or the means of the arms, compared "
    "with the baseline.",
    read=_read,
    draw=plot_profile,
    takes=("trials",),
)


# -- Where the panels, rows and columns of a profile stand, in pixels ----------------------


RIGHT = 78
"""Margin that holds the bar of colours."""
_ROW, _HEADER = 24, 24
"""Of a type's row, and of the line with its family's name."""
_NARROWEST, _WIDEST = 30, 46
"""Of a severity's column."""
_LEAST_PANEL = 118
"""Across: what the lines over a panel need."""
OVER = 62
"""Of the lines over a panel: its y axis begins so far above its rows."""
_UNDER, _GAP = 48, 16
"""Of the severities and their title under a panel, and between two."""


@dataclass(frozen=True)
class Row:
    """A line of a panel: a type or, without one, the name of a family.

    Attributes:
        head, foot: in pixels from the panel's upper edge.
    """

    family: str
    kind: str
    head: float
    foot: float


@dataclass(frozen=True)
class ProfileGrid:
    """Panels side by side, in as many lines as needed within two columns of print.

    Attributes:
        columns, lines: of panels.
        cell: width of a severity's column; left: margin for the types' names.
        rows: of every panel, from above.
    """

    severities: tuple[int, ...]
    columns: int
    lines: int
    cell: float
    left: float
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls, panels: int, families: Mapping[str, Sequence[str]], severities: tuple[int, ...]
    ) -> ProfileGrid:
        """The grid of so many panels, at least one, with at least one severity."""
        rows = tuple(_rows(families))
        longest = max(len(row.kind or row.family) for row in rows)
        left = 20 + 0.54 * SMALL_SIZE * longest
        room = WIDE_PIXELS[0] - left - RIGHT + _GAP
        least = max(_NARROWEST * len(severities), _LEAST_PANEL)
        lines = math.ceil(panels / max(1, int(room // (least + _GAP))))
        columns = math.ceil(panels / lines)
        cell = min((room / columns - _GAP) / len(severities), _WIDEST)
        cell = max(cell, _LEAST_PANEL / len(severities))
        return cls(severities, columns, lines, cell, left, rows)

    @property
    def panel_width(self) -> float:
        return self.cell * len(self.severities)

    @property
    def panel_height(self) -> float:
        return self.rows[-1].foot

    @property
    def width(self) -> float:
        """Of the whole figure."""
        across = self.columns * (self.panel_width + _GAP) - _GAP
        return max(self.left + across + RIGHT, COLUMN_PIXELS[0])

    @property
    def height(self) -> float:
        """Of the plotting area."""
        return self.lines * (OVER + self.panel_height + _UNDER)

    @property
    def bounds(self) -> list[float]:
        """Of the rows, one more than there are rows."""
        return [0.0, *(row.foot for row in self.rows)]

    def axes(self, place: int) -> dict[str, dict[str, Any]]:
        """Both axes of a panel: x counts severities from 0, y pixels downwards from the first row.

        Args:
            place: of the panel, from 0, line by line.
        """
        number = axis_number(place)
        line, column = divmod(place, self.columns)
        plot = self.width - self.left - RIGHT
        left = column * (self.panel_width + _GAP) / plot
        head = line * (OVER + self.panel_height + _UNDER)
        foot = (line + 1) * (OVER + self.panel_height + _UNDER) - _UNDER
        look = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True}
        named = self.rows if column == 0 else ()
        return {
            f"xaxis{number}": look
            | {
                "anchor": f"y{number}",
                "domain": [left, min(1.0, left + self.panel_width / plot)],
                "range": [-0.5, len(self.severities) - 0.5],
                "tickvals": list(range(len(self.severities))),
                "ticktext": list(map(str, self.severities)),
                "tickfont": {"size": SMALL_SIZE},
                "title": {"text": "severity", "standoff": 4, "font": {"size": SMALL_SIZE}},
            },
            f"yaxis{number}": look
            | {
                "anchor": f"x{number}",
                "domain": [max(0.0, 1 - foot / self.height), 1 - head / self.height],
                "range": [self.panel_height, -OVER],
                "tickvals": [(row.head + row.foot) / 2 for row in named],
                "ticktext": [_row_text(row) for row in named],
                "tickfont": {"size": SMALL_SIZE},
                "ticklabelstandoff": 6,
            },
        }


def _rows(families: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    at = 0.0
    for family, kinds in families.items():
        yield Row(family, "", at, at + _HEADER)
        at += _HEADER
        for kind in kinds:
            yield Row(family, kind, at, at + _ROW)
            at += _ROW


def _row_text(row: Row) -> str:
    return plain_text(row.kind) if row.kind else f"<b>{plain_text(row.family)}</b>"
