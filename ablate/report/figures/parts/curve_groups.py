"""The colours of the figure of curves: loss terms, or the cells of an ablation."""

from __future__ import annotations

from dataclasses import dataclass

from ablate.analysis.curves import CurvesInfo
from ablate.report.numbers import plain_text
from ablate.report.style import DASHES, SERIES, SYMBOLS, terms_style

_LONGEST_NAME = 30


@dataclass(frozen=True)
class Group:
    """Trials of one colour."""

    label: str
    color: str
    symbol: str
    dash: str

    @property
    def name(self) -> str:
        return plain_text(short_name(self.label))


def groups(info: CurvesInfo) -> dict[str, Group]:
    """By `Curve.group`: loss terms in their own colours, cells of an ablation in their order."""
    named = dict.fromkeys(curve.group for curve in info.curves)
    if info.seeds is None:
        styles = {name: terms_style(name) for name in named}
        return {
            name: Group(style.label, style.color, style.symbol, DASHES[0])
            for name, style in styles.items()
        }
    return {
        name: Group(
            name,
            SERIES[place % len(SERIES)],
            SYMBOLS[place % len(SYMBOLS)],
            DASHES[place // len(SERIES) % len(DASHES)],
        )
        for place, name in enumerate(named)
    }


def short_name(text: str) -> str:
    """As much of a name as a legend or an axis has room for."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
