"""The profile: every type at every severity, one panel per network, in points over the baseline.

A column of a panel is a severity, a row a type, below the name of its family.  The baseline's panel
shows its accuracy, every other one the difference to it, as a colour and as a number.  Types that a
network was finetuned on have a frame: gains there do not show generalisation to other types.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from plotly.graph_objects import Figure

from ablate.ablation.study_source import StudySource
from ablate.analysis.profile import Profile, ProfileInfo
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import WIDE_PIXELS, basis_meta, finish
from ablate.report.figures.parts.heat_panels import (
    ACCURACY,
    Cell,
    Frame,
    HeatGrid,
    HeatPanel,
    whole_points,
)
from ablate.report.figures.parts.networks import (
    network_facts,
    network_marker,
    network_name,
    networks,
    no_network,
    terms_label,
)
from ablate.report.figures.parts.point_hover import against_baseline
from ablate.report.numbers import gain_text, metric_text, plain_text

_TITLE = "Points over the baseline, by type and severity"

_DECIMAL_FROM = 42
"""Pixels across a cell from which on a number has a decimal."""
_CELLS, _LEAST_PANEL = (30, 46), 118
"""Least and most width of a cell; of a panel, what the lines over it need."""
_SEEN = {"seen_type": "trained on", "seen_family": "its family trained on", "unseen": "unseen"}


def plot_profile(info: ProfileInfo, width: float = WIDE_PIXELS[0]) -> Figure:
    """Draw the profiles of a study's selected trials.

    Args:
        info: may have no trial or no baseline; without any network the figure says so.
        width: of the image at most, in pixels.

    Returns:
        A figure with its panels in as many lines as needed.
    """
    figure = Figure()
    facts = network_facts(info, len(info.chosen))
    meta = basis_meta("Profile", info)
    if not info.types:
        return finish(figure, title=_TITLE, facts=facts, meta=meta, nothing=no_network(info))
    rows = profile_rows(info)
    severities = [str(severity) for severity in info.severities]
    names = [plain_text(kind) or f"<b>{plain_text(family)}</b>" for family, kind in rows]
    grid = HeatGrid.of(len(info.profiles), names, severities, _CELLS, _LEAST_PANEL, 3, width)
    panels = [_panel(info, profile, rows, grid.cell) for profile in info.profiles]
    grid.draw(figure, panels, ("severity", ""))
    facts += [] if info.chosen else [no_network(info)]
    facts += ["framed: types trained on"] if any(panel.frames for panel in panels) else []
    return finish(figure, title=_TITLE, facts=facts, meta=meta, **grid.sizes)


def profile_rows(info: ProfileInfo) -> list[tuple[str, str]]:
    """Family and type of each row; the row over those of a family has no type."""
    return [(family, kind) for family, kinds in info.families.items() for kind in ("", *kinds)]


def _panel(
    info: ProfileInfo, profile: Profile, rows: Sequence[tuple[str, str]], cell: float
) -> HeatPanel:
    places = {kind: at for at, kind in enumerate(info.types)}
    empty = [None] * len(info.severities)
    seen = [bool(kind) and profile.exposure[places[kind]] == "seen_type" for _, kind in rows]
    runs = [list(run) for is_seen, run in groupby(range(len(rows)), seen.__getitem__) if is_seen]
    return HeatPanel(
        over=_lines_over(info, profile),
        cells=[_cells(info, profile, places[kind], cell) if kind else empty for _, kind in rows],
        frames=[Frame((run[0], run[-1]), (0, len(info.severities) - 1)) for run in runs],
        mark=network_marker(profile.name, profile.loss_terms),
        number=profile.number,
    )


def _shows_accuracy(info: ProfileInfo, profile: Profile) -> bool:
    """True for the baseline, and for all panels without a baseline."""
    return info.baseline is None or profile is info.baseline


def _cells(info: ProfileInfo, profile: Profile, at: int, cell: float) -> list[Cell | None]:
    """Of a type, by severity."""
    shows_accuracy = _shows_accuracy(info, profile)
    kind = plain_text(info.types[at])
    seen = f"<br>{_SEEN[profile.exposure[at]]}" if profile.loss_terms else ""
    found: list[Cell | None] = []
    for severity, accuracy, gain in zip(
        info.severities, profile.accuracies[at], info.differences(profile)[at], strict=True
    ):
        shown = accuracy if shows_accuracy else gain
        against = "" if profile.name == "baseline" else against_baseline(ACCURACY, gain)
        hover = (
            f"<b>{network_name(profile.name)}</b><br>{kind}, severity {severity}<br>"
            f"accuracy: <b>{metric_text(ACCURACY, accuracy)}</b>{against}{seen}"
        )
        color = math.nan if shows_accuracy else gain
        is_there = not math.isnan(shown)
        found.append(Cell(color, _number(shown, shows_accuracy, cell), hover) if is_there else None)
    return found


def _number(value: float, is_accuracy: bool, cell: float) -> str:
    """Points in a cell, rounded if a decimal has no room."""
    if cell >= _DECIMAL_FROM:
        return metric_text(ACCURACY, value) if is_accuracy else gain_text(ACCURACY, value)
    return str(round(100 * value)) if is_accuracy else whole_points(value)


def _lines_over(info: ProfileInfo, profile: Profile) -> tuple[str, ...]:
    """Name, loss terms and clean accuracy."""
    baseline = info.baseline
    clean = metric_text(ACCURACY, profile.clean_accuracy)
    if baseline is not None and profile is not baseline:
        clean += f" ({gain_text(ACCURACY, profile.clean_accuracy - baseline.clean_accuracy)})"
    what = terms_label(profile.loss_terms) or "accuracy" * _shows_accuracy(info, profile)
    lines = (f"<b>{network_name(profile.name)}</b>", what, f"clean: {clean}")
    return tuple(line for line in lines if line)


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ProfileInfo:
    return networks(sources, "profile", options.trials)


FIGURE = FigureKind(
    name="profile",
    title="Robustness profile",
    says="Accuracy by type and severity, compared with the baseline.",
    read=_read,
    draw=plot_profile,
    takes=("trials",),
    width=900,
)
