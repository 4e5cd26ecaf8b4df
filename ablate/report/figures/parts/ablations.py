"""What the figures of an ablation share: facts, `layout.meta`, metrics by name, wrapped names."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.errors import ParameterError, did_you_mean
from ablate.report.arms import fingerprint_text, shown_name
from ablate.report.numbers import plain_text

NOT_YET = "no successful run yet"
EMPTY_PIXELS = 200
"""Height of the axes of a figure that says so."""


def ablation_facts(info: AblationInfo, notes: Iterable[str]) -> list[str]:
    """How much has run, of what, and the notes of a table; the fingerprint is in the meta."""
    seeds = f"{info.seeds} {info.paired}" + "s" * (info.seeds != 1)
    begun = [f"{info.ended} of {info.runs} runs ended, {seeds}", info.subject]
    return [*begun, *(note for note in notes if note != fingerprint_text(info))]


def ablation_meta(info: AblationInfo, figure: str) -> dict[str, Any]:
    """`layout.meta` of a figure of an ablation.

    Args:
        figure: its title, as "Effects".
    """
    return {
        "title": f"{info.study}: {figure}",
        "study": info.study,
        "question": info.question,
        "fingerprint": info.fingerprint,
        "split": info.split,
        "n_images": info.n_images,
        "seeds": info.seeds,
        "runs": info.runs,
        "ended": info.ended,
    }


def asked_metric(info: AblationInfo, objective: str) -> str:
    """The metric that a person means: its name, or what a table's heading calls it.

    Raises:
        ParameterError: if nothing is known on it.
    """
    effects = (effect.metric for effect in info.effects)
    known = dict.fromkeys([*info.metrics, *effects, *(curve.metric for curve in info.tuning)])
    for metric in known:
        if objective in (metric, shown_name(info, metric)):
            return metric
    names = [shown_name(info, metric) for metric in known]
    raise ParameterError(
        f"--objective: must be one of {', '.join(names)}, got {objective}. "
        f"{did_you_mean(objective, names)}"
    )


def left_out_text(count: int) -> str:
    """The fact on rows left out for lack of room."""
    return f"{count} exploratory effect{'s' * (count != 1)} not shown, for want of room"


def wrapped(text: str, characters: int, lines: int = 3) -> list[str]:
    """A user's text, wrapped to the margin and escaped for plotly.

    A word that is longer than a line is broken after _ and +, if it has them.
    """
    words = " ".join(_broken(word, characters) for word in text.split())
    found = textwrap.wrap(
        words, characters, max_lines=lines, placeholder=" …", break_on_hyphens=False
    )
    return [plain_text(line) for line in found] or [""]


def _broken(word: str, characters: int) -> str:
    """A long word with spaces, as few as it takes, after some of its _ and +."""
    if len(word) <= characters:
        return word
    lines = [""]
    for part in re.split(r"(?<=[_+])", word):
        if lines[-1] and len(lines[-1] + part) > characters:
            lines.append("")
        lines[-1] += part
    return " ".join(lines)


def interval_bars(
    estimates: Sequence[Estimate], factor: float = 1.0, **look: Any
) -> dict[str, Any]:
    """plotly's error bars of intervals; none where an estimate has no interval.

    Args:
        factor: what the estimates are multiplied by; look: further keys.
    """
    return look | {
        "type": "data",
        "symmetric": False,
        "array": [finite_or_none(factor * (one.high - one.mean)) for one in estimates],
        "arrayminus": [finite_or_none(factor * (one.mean - one.low)) for one in estimates],
    }


def finite_or_none(value: float) -> float | None:
    """The number, or None if it is not finite, as JSON requires."""
    return value if math.isfinite(value) else None


def stacked(heights: Sequence[float], gap: float) -> tuple[list[tuple[float, float]], float]:
    """Stack panels vertically.

    Args:
        heights: of each, in pixels; gap: between two, for ticks and a title.

    Returns:
        The domain of each y axis, the first at the top; and the height of all.
    """
    whole = sum(heights) + gap * (len(heights) - 1)
    domains, top = [], whole
    for height in heights:
        domains.append((max(0.0, (top - height) / whole), top / whole))
        top -= height + gap
    return domains, whole
