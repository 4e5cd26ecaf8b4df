"""What stands over a figure: the question, and what its numbers stand on."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from ablate.analysis.basis import Basis
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.report.figures.window import Window
from ablate.report.numbers import count_texts, plain_text, reference_text
from ablate.report.style import FAINT_INK, FONT_SIZE

_TITLE_CHARACTERS = 62
_SUBTITLE_CHARACTERS = 92


def heading(title: str, subtitle: list[str]) -> tuple[dict[str, Any], float]:
    """A title that fits one column of print.

    Args:
        title: plain text; broken between words.
        subtitle: plain facts; broken only between two.

    Returns:
        plotly's `layout.title`, with whatever its author wrote escaped, and the top margin in
        pixels that it takes.
    """
    lines = textwrap.wrap(title, _TITLE_CHARACTERS)
    facts_lines = _lines(subtitle)
    top = 1.3 * (len(lines) * (FONT_SIZE + 1) + len(facts_lines) * (FONT_SIZE - 2)) + 40
    return {
        "text": "<br>".join(f"<b>{plain_text(line)}</b>" for line in lines),
        "font": {"size": FONT_SIZE + 1},
        "subtitle": {
            "text": "<br>".join(plain_text(line) for line in facts_lines),
            "font": {"size": FONT_SIZE - 2, "color": FAINT_INK},
        },
        "x": 0.02,
        "xanchor": "left",
        # Not 1 with a pad: plotly.js does not apply `title.pad.t` to a title anchored so.
        "y": 0.97,
        "yref": "container",
        "yanchor": "top",
    }, top


def basis_facts(info: Basis, *, complete: int | None = None) -> list[str]:
    """What the numbers of one search stand on: n, data, split, seed; its marks come last.

    Args:
        complete: in place of the study's own, where a figure has others.
    """
    basis = [
        info.split,
        *count_texts(info.n_images, info.n_corrupted),
        f"single seed ({info.seed})",
    ]
    return [
        f"{info.complete if complete is None else complete} of {info.trials} trials complete",
        info.subject,
        ", ".join(part for part in basis if part),
        *info.marks,
    ]


def basis_meta(info: Basis, figure: str) -> dict[str, Any]:
    """`layout.meta` of a figure of one study.

    Args:
        figure: its title, as "Pareto front".
    """
    return {
        "title": f"{info.study}: {figure}",
        "study": info.study,
        "fingerprint": info.fingerprint,
        "split": info.split,
        "n_images": info.n_images,
        "seed": info.seed,
        "trials": info.trials,
        "complete": info.complete,
    }


def facts(info: ParetoInfo, windows: list[Window]) -> list[str]:
    """What a front's numbers stand on: `basis_facts`, and hypervolume with its reference."""
    said = basis_facts(info)
    marks = len(said) - len(info.marks)
    if info.hypervolume is not None and info.reference_point is not None:
        metrics = [objective.metric for objective in info.objectives]
        point = reference_text(metrics, info.reference_point)
        said.insert(marks, f"hypervolume {info.hypervolume:.4g}, reference point {point}")
    drawn = [point for point in info.points if all(map(math.isfinite, point.values))]
    dominated = [point for point in drawn if not point.on_front]
    if dominated:
        said.append("faint: dominated")
    outside = sum(not _is_inside(point, windows) for point in dominated)
    if outside:
        said.append(f"{outside} dominated {'trial' if outside == 1 else 'trials'} outside the axes")
    if len(drawn) < len(info.points):
        said.append(f"{len(info.points) - len(drawn)} with a value that is no number")
    return said


def _is_inside(point: ParetoPoint, windows: list[Window]) -> bool:
    return all(window.contains(value) for window, value in zip(windows, point.values, strict=True))


def _lines(facts: list[str]) -> list[str]:
    lines = [facts[0]]
    for fact in facts[1:]:
        joined = f"{lines[-1]} · {fact}"
        if len(joined) <= _SUBTITLE_CHARACTERS:
            lines[-1] = joined
        else:
            lines.append(fact)
    return lines
