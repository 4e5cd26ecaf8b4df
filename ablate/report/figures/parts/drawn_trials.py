"""Which trials a figure of parameters draws, how, and what is said about the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.dominance import as_table
from ablate.analysis.parameters import ParametersInfo
from ablate.report.figures.parts.heading import basis_facts, objectives_facts
from ablate.report.numbers import plain_text
from ablate.report.style import DOMINATED_OPACITY, INK, TermsStyle, terms_style

if TYPE_CHECKING:
    from plotly.graph_objects import Scatter

GL_TRIALS = 2000
"""Above so many trials, points are drawn by the graphics card."""
_MOST_MARKS = 24_000
"""Of a whole figure: what a page of about 1 MB holds, and a browser still turns over quickly."""
_SEED = 0


@dataclass(frozen=True)
class Group:
    """Trials of one set of terms, on the front or off it: places in `info.points`."""

    style: TermsStyle
    on_front: bool
    places: NDArray[np.int64]


@dataclass(frozen=True)
class DrawnTrials:
    """The trials that are drawn.

    Attributes:
        places: in `info.points`, ascending.
        facts: about those that are not.
    """

    places: NDArray[np.int64]
    facts: tuple[str, ...]

    def groups(self, info: ParametersInfo) -> Iterator[Group]:
        """By their style, in order of its label: all that are dominated, then the front."""
        of_terms = {terms: terms_style(terms) for terms in {p.loss_terms for p in info.points}}
        styles = [of_terms[info.points[place].loss_terms] for place in self.places]
        on_front = np.array([info.points[place].on_front for place in self.places], dtype=bool)
        labels = np.array([style.label for style in styles], dtype=object)
        by_label = dict(sorted({style.label: style for style in styles}.items()))
        for front in (False, True):
            for label, style in by_label.items():
                places = self.places[(labels == label) & (on_front == front)]
                if len(places):
                    yield Group(style, front, places)


def drawn_trials(
    info: ParametersInfo, *, panels: int = 1, dominated: int = _MOST_MARKS
) -> DrawnTrials:
    """The trials with numbers for every objective; of very many some, picked at random by a fixed
    seed, those on the front before the others.

    Args:
        panels: how often each is drawn.
        dominated: of those off the front, at most; of those on it the same.
    """
    values = as_table([point.values for point in info.points], len(info.objectives))
    finite = np.isfinite(values).all(axis=1)
    front = np.array([point.on_front for point in info.points], dtype=bool)
    most = _MOST_MARKS // panels
    random = np.random.default_rng(_SEED)
    kept: list[NDArray[np.int64]] = []
    said = []
    for group, name in ((front, "on the front"), (~front, "dominated")):
        places = np.flatnonzero(group & finite)
        room = min(most - sum(map(len, kept)), dominated)
        if len(places) > room:
            said.append(f"{room:,} of {len(places):,} trials {name} drawn, picked at random")
            places = random.permutation(places)[:room]
        kept.append(places)
    missing = int((~finite).sum())
    if missing:
        said.append(f"{missing} with a value that is no number")
    return DrawnTrials(np.sort(np.concatenate(kept)), tuple(said))


def trial_numbers(info: ParametersInfo) -> NDArray[np.int64]:
    return np.array([point.number for point in info.points], dtype=np.int64)


def trial_facts(info: ParametersInfo, *more: str) -> list[str]:
    """What the numbers stand on, then what is said of this figure."""
    left = len(info.keys) - len(info.columns)
    chosen = [f"{len(info.columns)} of {len(info.keys)} parameters"] if left else []
    return [*basis_facts(info), *chosen, *more]


def shown_facts(info: ParametersInfo) -> list[str]:
    """That not all objectives are shown, where none was asked for."""
    is_asked = len(info.shown) == 1
    return [] if is_asked else objectives_facts(len(info.shown), len(info.objectives))


def point_marker(group: Group, size: float) -> dict[str, Any]:
    """Full colour and an ink line on the front; faint off it."""
    style = group.style
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": size if group.on_front else 0.8 * size,
        "opacity": 1 if group.on_front else DOMINATED_OPACITY,
        "line": {"color": INK if group.on_front else style.color, "width": 1},
    }


def legend_of(info: ParametersInfo, groups: list[Group], mode: str) -> list[Scatter]:
    """One entry a set of terms with its number of complete trials: a trace without a point."""
    from plotly.graph_objects import Scatter

    styles = {group.style.label: group.style for group in groups}
    count: Counter[str] = Counter()
    for loss_terms, trials in Counter(point.loss_terms for point in info.points).items():
        count[terms_style(loss_terms).label] += trials
    return [
        Scatter(
            x=[None],
            y=[None],
            mode=mode,
            name=f"{plain_text(label)} ({count[label]})",
            legendgroup=label,
            showlegend=True,
            hoverinfo="skip",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 10,
                "line": {"color": INK, "width": 1},
            },
            line={"color": style.color, "width": 3},
        )
        for label, style in sorted(styles.items())
    ]
