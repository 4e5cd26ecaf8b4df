"""The rows of a panel of effects: names, numbers, verdicts, and how much room they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ablate.ablation.effects import Effect
from ablate.ablation.effects_info import EffectsInfo
from ablate.report.arms import difference_cell
from ablate.report.effects import kept_text, p_text, verdict_text
from ablate.report.figures.parts.ablations import wrapped

LEFT, RIGHT = 170, 172
"""Margins in pixels, for names and numbers."""
NAME_CHARACTERS, WIDE_CHARACTERS = 22, 62
WIDE_LEFT = LEFT + 7 * (WIDE_CHARACTERS - NAME_CHARACTERS)
"""Of many rows: names in one line, over two columns of print."""
_TEXT_CHARACTERS = 28
_LINE_PIXELS, _ROW_GAP = 16, 11


@dataclass(frozen=True)
class Row:
    """A line of the panel.

    Attributes:
        name, said: lines of plotly's markup, to the left and to the right.
        at: its middle, in pixels from the top of the panel.
    """

    effect: Effect
    name: tuple[str, ...]
    said: tuple[str, ...]
    at: float = 0.0

    @property
    def height(self) -> float:
        return max(len(self.name), len(self.said)) * _LINE_PIXELS + _ROW_GAP


def forest_rows(info: EffectsInfo, metric: str, characters: int = NAME_CHARACTERS) -> list[Row]:
    """A row an effect on the metric, one below the other.

    Args:
        characters: that a line of a name may have.
    """
    rows, top = [], 0.0
    for effect in info.on(metric):
        name = wrapped(effect.contrast, characters)
        if effect.primary:
            name = [f"<b>{line}</b>" for line in name]
        row = Row(effect, tuple(name), tuple(_said(info, effect)))
        rows.append(replace(row, at=top + row.height / 2))
        top += row.height
    return rows


def rows_height(rows: Sequence[Row]) -> float:
    """Pixels that these rows take."""
    return sum(row.height for row in rows)


def cut_rows(panels: Mapping[str, list[Row]], room: float) -> int:
    """Take the last exploratory rows of the longest panel away until all fit.

    Args:
        room: pixels that there are for all rows.

    Returns:
        How many were taken.
    """
    taken = 0
    while sum(map(rows_height, panels.values())) > room:
        longest = max(panels.values(), key=len)
        if longest[-1].effect.primary or len(longest) == 1:
            break
        longest.pop()
        taken += 1
    return taken


def _said(info: EffectsInfo, effect: Effect) -> list[str]:
    """What stands to the right: the estimate, what it allows to be claimed, what is kept."""
    estimate, ablation = effect.estimate, info.ablation
    printed = difference_cell(ablation, effect.metric, estimate).printed
    said = printed.replace(" [", "\n[" if len(printed) > _TEXT_CHARACTERS else " [").split("\n")
    if math.isnan(estimate.low) and estimate.n:
        said.append("1 seed: no interval")
    elif estimate.n < ablation.seeds:
        said.append(f"{estimate.n} of {ablation.seeds} seeds")
    if effect.primary:
        verdict = verdict_text(ablation, effect)
        if effect.verdict != "too few seeds":
            verdict += f", adjusted p {p_text(effect.p_adjusted)}"
        said += wrapped(verdict, _TEXT_CHARACTERS)
    if effect.kept is not None:
        claimed = (one for one in ablation.primary if one.contrast == effect.contrast)
        kept = next((kept_text(ablation, one) for one in claimed), "")
        said += wrapped(f"kept: {kept}", _TEXT_CHARACTERS) if kept else []
    return said
