"""What stands over a figure: the question, and what its numbers stand on."""

from __future__ import annotations

import textwrap
from typing import Any

from ablate.analysis.basis import Basis
from ablate.report.numbers import count_texts, plain_text, seed_texts
from ablate.report.style import FAINT_INK, FONT_SIZE

_TITLE_CHARACTERS = 62
_SUBTITLE_CHARACTERS = 92


def heading(title: str, subtitle: list[str]) -> tuple[dict[str, Any], float]:
    """A title that fits one column of print.

    Args:
        title: plain text; broken between words.
        subtitle: plain facts; broken between two, and within one that is longer than a line.

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
        *([info.split] if info.split else []),
        *count_texts(info.n_images, info.n_corrupted),
        *seed_texts(info.seed),
    ]
    return [
        f"{info.complete if complete is None else complete} of {info.trials} trials complete",
        info.subject,
        *([", ".join(basis)] if basis else []),
        *info.marks,
    ]


def objectives_facts(shown: int, count: int) -> list[str]:
    """How many of a study's objectives a figure shows; nothing where it shows all."""
    return [f"the first {shown} of {count} objectives"] if shown < count else []


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


def _lines(facts: list[str]) -> list[str]:
    """As many facts a line as fit; one that is longer than a line goes on in the next."""
    lines: list[str] = []
    for fact in facts:
        pieces = textwrap.wrap(fact, _SUBTITLE_CHARACTERS) or [fact]
        joined = f"{lines[-1]} · {pieces[0]}" if lines else ""
        if lines and len(joined) <= _SUBTITLE_CHARACTERS and len(pieces) == 1:
            lines[-1] = joined
        else:
            lines += pieces
    return lines
