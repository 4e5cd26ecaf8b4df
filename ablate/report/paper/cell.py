"""A cell of a table, with its number in full and as a person reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ablate.ablation.intervals import Estimate
from ablate.report.numbers import MISSING


class Parts(NamedTuple):
    """A number as it is printed; empty where there is none, or where the cell does not show it."""

    mean: str
    sd: str
    low: str
    high: str


@dataclass(frozen=True)
class Cell:
    """A number with its uncertainty, or a text.

    Attributes:
        text: of a cell without a number.
        estimate: in the metric's own unit; None of a text.
        scale: what it is multiplied by where a person reads it: 100 for percent and points.
        decimals: of what is read.
        is_difference: shown with its sign and its interval; else with its standard deviation.
        is_bold: whether it is among the best.
    """

    text: str = ""
    estimate: Estimate | None = None
    scale: float = 1.0
    decimals: int = 1
    is_difference: bool = False
    is_bold: bool = False

    @property
    def parts(self) -> Parts:
        """The numbers that are shown; all empty of a text."""
        one = self.estimate
        if one is None:
            return Parts("", "", "", "")
        if self.is_difference:
            return Parts(self._shown(one.mean), "", self._shown(one.low), self._shown(one.high))
        return Parts(self._shown(one.mean), self._shown(one.sd), "", "")

    @property
    def printed(self) -> str:
        """ "77.3 ± 0.4", "+18.6 [+16.2, +21.0]", "-" without a number, or the text."""
        if self.estimate is None:
            return self.text
        mean, sd, low, high = self.parts
        return (mean or MISSING) + f" ± {sd}" * bool(sd) + f" [{low}, {high}]" * bool(low)

    def _shown(self, value: float) -> str:
        if math.isnan(value):
            return ""
        # No "-0.0": what rounds to nothing has no sign to speak of.
        rounded = round(self.scale * value, self.decimals) + 0.0
        return f"{rounded:{'+' if self.is_difference else ''}.{self.decimals}f}"
