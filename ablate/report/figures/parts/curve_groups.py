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
    """By `Curve.group`, in the colours of the loss terms; cells with the same differ by dash."""
    named = dict.fromkeys(curve.group for curve in info.curves)
    if info.seeds is None:
        styles = {name: terms_style(name) for name in named}
        return {
            name: Group(style.label, style.color, style.symbol, DASHES[0])
            for name, style in styles.items()
        }
    terms = {curve.group: curve.loss_terms for curve in info.curves}
    found: dict[str, Group] = {}
    for place, name in enumerate(named):
        alike = sum(terms[other] == terms[name] for other in found)
        style = terms_style(terms[name])
        color, symbol = style.color, style.symbol
        if not terms[name]:  # a loop of the user's own: its cells have no colour of their own
            color, symbol = SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)]
            alike = place // len(SERIES)
        found[name] = Group(name, color, symbol, DASHES[alike % len(DASHES)])
    return found


def short_name(text: str) -> str:
    """As much of a name as a legend or an axis has room for."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
