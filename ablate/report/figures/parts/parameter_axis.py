"""A parameter as an axis: name, ticks, positions of trials, and hover texts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.drawn import LARGEST
from ablate.analysis.parameters import ParameterColumn, ParametersInfo
from ablate.report.numbers import plain_text, short_names, shortened
from ablate.report.style import SMALL_SIZE, base_axis

_NAME_CHARACTERS = 30
_LINE_CHARACTERS = 9
_UPRIGHT_CHARACTERS = 27
"""Of the names of all levels beside one another on a narrow axis; longer ones are turned."""
_ONE_LINE_CHARACTERS = 16
_SPREAD = 0.7548776662466927
"""Step from one trial to the next, so that they fill a strip evenly.  Source: Roberts 2018, the
first step of the R2 sequence."""
_WHOLE_TICKS = 6
"""Whole numbers up to so many apart have a tick each, and none between two."""
_MOST_TICKS = 5
"""Of a logarithmic axis."""
_JITTER = 0.28
"""Half the width of the strip in which trials of one level stand, in places of levels."""


def param_names(info: ParametersInfo) -> list[str]:
    """The shown parameters as a person reads them, plain text: `fma.weight`, `mix.noise`.

    As short as no other parameter of the study ends so; a part of a mix has the mix's name too.
    """
    short = short_names(info.keys)
    names = []
    for column in info.columns:
        parts = column.key.split(".")
        least = 2 if column.key != column.base else 1
        name = ".".join(parts[-max(least, short[column.key].count(".") + 1) :])
        names.append(shortened(name, _NAME_CHARACTERS))
    return names


def has_dots(column: ParameterColumn) -> bool:
    """Whether its levels are drawn as dots, one an item: names of subsets would be too long."""
    return len(column.parts) > 1 and max(map(len, column.levels), default=0) > _LINE_CHARACTERS


def dots_facts(columns: Sequence[ParameterColumn], keys: Sequence[str]) -> list[str]:
    """The meaning of the dots of subsets, as plain text.

    Args:
        keys: of all parameters of the study.
    """
    short = short_names(keys)
    return [
        f"dots of {shortened(short[column.key], _NAME_CHARACTERS)}, top down: "
        f"{', '.join(column.parts)}"
        for column in columns
        if has_dots(column)
    ]


def dots_text(column: ParameterColumn) -> str:
    """What the rows of dots under an axis are, from above; empty of an axis without them."""
    return shortened(", ".join(column.parts), _NAME_CHARACTERS) if has_dots(column) else ""


def level_texts(column: ParameterColumn) -> list[str]:
    """Names of the levels in plotly's markup."""
    if has_dots(column):
        chosen = [level.split("+") for level in column.levels]
        dots = [["●" if part in some else "○" for part in column.parts] for some in chosen]
        return ["<br>".join(row) for row in dots]
    if not _is_turned(column):
        return [broken(level, _LINE_CHARACTERS) for level in column.levels]
    return [plain_text(shortened(level, _ONE_LINE_CHARACTERS)) for level in column.levels]


def _is_turned(column: ParameterColumn) -> bool:
    longest = min(max(map(len, column.levels), default=0), _LINE_CHARACTERS)
    return not has_dots(column) and len(column.levels) * (longest + 1) > _UPRIGHT_CHARACTERS + 1


def broken(text: str, characters: int, most: int = 3) -> str:
    """Text in lines of plotly's markup, broken before +, behind dots and _, and between words.

    Args:
        text: plain; escaped here.
        characters: in a line, about.
        most: lines, two at least; of more, those before the last are left out.
    """
    lines: list[str] = []
    for part in re.findall(r"\+?[^+._ ]+[._ ]?|[+._ ]", text):
        if lines and len(lines[-1] + part) <= characters:
            lines[-1] += part
        else:
            lines.append(part)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[-1]]
        lines[-2] += "…"
    return "<br>".join(plain_text(shortened(line.strip(), characters + 4)) for line in lines)


def placed(column: ParameterColumn, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Positions of trials on the axis, in its units; NaN beyond `LARGEST`, and if the parameter is
    left out.

    Trials of one level are spread around it; the position depends only on the number.

    Args:
        numbers: of the trials, one per value of the column.
    """
    at = column.coordinates
    if column.kind == "categorical":
        at = at + _JITTER * (2 * ((numbers * _SPREAD) % 1) - 1)
    at = 10**at if column.kind == "log" else at
    return np.where(np.abs(at) > LARGEST, np.nan, at).astype(np.float32)


def param_axis(column: ParameterColumn) -> dict[str, Any]:
    """plotly's axis of a parameter, without a title."""
    low, high = column.ends
    pad = 0.0 if column.kind == "categorical" else 0.05 * (high - low)
    axis = base_axis() | {"range": [low - pad, high + pad], "tickfont": {"size": SMALL_SIZE}}
    if column.kind == "categorical":
        return axis | {
            "tickvals": list(range(len(column.levels))),
            "ticktext": level_texts(column),
            "tickangle": -90 if _is_turned(column) else 0,
        }
    if column.kind == "log":
        ticks = _log_ticks(low, high)
        return axis | {
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:.4g}".replace("e-0", "e-") for tick in ticks],
        }
    if column.is_whole and high - low <= _WHOLE_TICKS:
        return axis | {"dtick": 1}
    widest = _characters(low, high)
    most = 5 if 5 * (widest + 1) <= _UPRIGHT_CHARACTERS + 1 else 3
    return axis | {"nticks": most, "exponentformat": "e", "minexponent": 5}


def _characters(low: float, high: float) -> int:
    """Of the longest number of a linear axis, where it has five ticks."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return 0
    decimals = max(0, math.ceil(-math.log10(span / 5)))
    largest = max(abs(low), abs(high))
    return len(f"{largest:.0f}") + (decimals + 1 if decimals else 0)


def _log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: decades, or where fewer than two are inside, round numbers
    between them.

    Args:
        low, high: exponents of ten.
    """
    decades = range(math.floor(low), math.floor(high + 1e-9) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        places = [
            (digit, decade)
            for decade in decades
            for digit in digits
            if low - 1e-9 <= decade + math.log10(digit) <= high + 1e-9
        ]
        if len(places) > 1:
            break
    ticks = [float(f"{digit}e{decade}") for digit, decade in places]
    if len(ticks) > 1:
        return ticks[:: -(-len(ticks) // _MOST_TICKS)]
    return [10**low, 10**high]


def param_hover(
    column: ParameterColumn, name: str, places: Sequence[int]
) -> tuple[str, list[str] | None]:
    """The hover text for the parameter: a part of the template, and each point's text.

    Args:
        name: from `param_names`.
        places: of the points, which have the parameter.

    Returns:
        A number is read from the axis; names of levels, escaped, are in the text (None: no text).
    """
    if column.kind != "categorical":
        return f"{plain_text(name)}: %{{x:.3g}}", None
    levels = {one: plain_text(shortened(one, 40)) for one in column.levels}
    return "%{text}", [f"{plain_text(name)}: {levels[column.values[place]]}" for place in places]


def lines_under(column: ParameterColumn) -> int:
    """Number of lines of tick labels under the axis, to reserve room for them."""
    if column.kind != "categorical" or not column.levels:
        return 1
    if _is_turned(column):
        longest = min(max(map(len, column.levels)), _ONE_LINE_CHARACTERS)
        return math.ceil(0.45 * longest)
    return max(text.count("<br>") for text in level_texts(column)) + 1 + has_dots(column)
