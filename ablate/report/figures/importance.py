"""The importance figure: which parameters matter, for each objective, within each set of terms.

A row of panels is a set of loss terms in its colour, a column an objective; of a parameter the
full bar is PED-ANOVA's share, the hatched one fANOVA's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Bar, Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.importance import (
    LEAST_TRIALS,
    METHODS,
    NULL_LEVEL,
    PERMUTATIONS,
    RESAMPLES,
    ImportanceInfo,
    ImportancePanel,
    ParameterImportance,
    importance_info,
)
from ablate.errors import NothingToDrawError
from ablate.errors.installation import pip_install
from ablate.files.shown import few
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    NO_TRIAL,
    WIDE_PIXELS,
    basis_facts,
    basis_meta,
    finish,
    objectives_facts,
    violating_facts,
)
from ablate.report.numbers import metric_label, plain_text, short_names, shortened
from ablate.report.style import FONT_SIZE, INK, PAPER, base_axis, terms_style

MOST_PARAMETERS = 12
"""Of a panel; those of less importance are counted."""
_METHOD_NAMES = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}
_BAR_PIXELS = 24
"""Of a parameter: both bars."""
_GAP_PIXELS = 80
"""Between two rows of panels: ticks, and the name of the next set."""
_HEAD_PIXELS, _LINE_PIXELS = 30, 17
"""Over the first row: room for two lines of names; and of one of them."""
_MOST_CHARACTERS = 24
"""Of a name."""
_THICK = 0.38
"""Of a bar, where a parameter has 1."""


def plot_importance(info: ImportanceInfo) -> Figure:
    """Draw importances side by side.

    Args:
        info: without panels if no set of terms has enough complete trials; the figure says so.

    Returns:
        A figure for one column of print for two objectives, as high as its parameters need.
    """
    columns = min(len(info.objectives), MOST_OBJECTIVES)
    rows = [info.panels[at : at + columns] for at in range(0, len(info.panels), columns)]
    shown = [_most_important(row) for row in rows]
    short = short_names(sorted({one.key for row in rows for one in row[0].parameters}))
    labels = [
        [_label(row[0].parameters[at], short) for at in chosen]
        for row, chosen in zip(rows, shown, strict=True)
    ]
    heights = [_BAR_PIXELS * max(len(chosen), 2) for chosen in shown] or [8 * _BAR_PIXELS]
    height = sum(heights) + _GAP_PIXELS * (len(heights) - 1)
    left = 30 + 0.53 * FONT_SIZE * max((len(one) for row in labels for one in row), default=0)
    figure = make_subplots(
        rows=len(heights),
        cols=columns if rows else 1,
        shared_yaxes="rows",
        row_heights=heights,
        horizontal_spacing=0.15,
        vertical_spacing=_GAP_PIXELS / height if len(heights) > 1 else 0,
    )
    figure.update_yaxes(base_axis() | {"ticks": "", "showgrid": False, "visible": bool(rows)})
    figure.update_xaxes(_share_axis(info))
    figure.update_xaxes(title_text="Share", row=len(heights))
    figure.add_traces([_swatch(method) for method in METHODS if _is_drawn(info, method)])
    for at, (panels, chosen) in enumerate(zip(rows, shown, strict=True)):
        for column, panel in enumerate(panels, start=1):
            figure.add_traces(_bars(panel, chosen), rows=at + 1, cols=column)
            figure.add_trace(_nulls(panel, chosen, in_legend=at + column == 1), at + 1, column)
            figure.add_annotation(_over(at * columns + column, metric_label(panel.metric)))
        figure.update_yaxes(tickvals=list(range(len(chosen))), ticktext=labels[at], row=at + 1)
        figure.update_yaxes(range=[len(chosen) - 0.4, -0.6], row=at + 1)
        set_name = f"{terms_style(panels[0].loss_terms).label}, {panels[0].trials} trials"
        figure.add_annotation(_over(at * columns + 1, set_name, shift=10 - left))
    room = height / (height + _HEAD_PIXELS)
    figure.for_each_yaxis(lambda axis: axis.update(domain=[room * end for end in axis.domain]))
    return finish(
        figure,
        title=f"Importance of the parameters of {info.study}",
        facts=importance_facts(
            info, sum(len(row[0].parameters) for row in rows) - sum(map(len, shown))
        ),
        meta=basis_meta(FIGURE.title, info),
        pixels=(WIDE_PIXELS if columns > 2 else COLUMN_PIXELS),
        inside=height + _HEAD_PIXELS,
        left=left,
        right=24,
        bottom=64,
        nothing=nothing_to_show(info),
    )


def _most_important(panels: Sequence[ImportancePanel]) -> list[int]:
    """Places of the parameters in a set's panels, by their mean share over both methods."""
    shares = np.array(
        [
            [np.nan_to_num(one.shares[method]) for one in panel.parameters]
            for panel in panels
            for method in METHODS
        ]
    )
    order: list[int] = np.argsort(-shares.mean(axis=0), kind="stable").tolist()
    return order[:MOST_PARAMETERS]


def _label(one: ParameterImportance, short: dict[str, str]) -> str:
    name = f"{short[one.key]}.{one.part}" if one.part else short[one.key]
    return plain_text(shortened(name, _MOST_CHARACTERS))


def _bars(panel: ImportancePanel, chosen: Sequence[int]) -> list[Bar]:
    style = terms_style(panel.loss_terms)
    traces = []
    for offset, method in zip((-_THICK, 0.0), METHODS, strict=True):
        ones = [panel.parameters[at] for at in chosen]
        known = [place for place, one in enumerate(ones) if math.isfinite(one.shares[method])]
        shares = [ones[place].shares[method] for place in known]
        spread = [ones[place].sds[method] for place in known]
        traces.append(
            Bar(
                y=known,
                x=shares,
                orientation="h",
                width=_THICK,
                offset=offset,
                marker=_fill(style.color, method),
                error_x={
                    # A share below zero, or over 1, does not exist.
                    "array": [min(sd, 1 - one) for sd, one in zip(spread, shares, strict=True)],
                    "arrayminus": [min(two) for two in zip(spread, shares, strict=True)],
                    "symmetric": False,
                    "color": INK,
                    "thickness": 1,
                    "width": 2,
                },
                name=_METHOD_NAMES[method],
                showlegend=False,
                hovertext=[_hover(ones[place], method) for place in known],
                hoverinfo="text",
            )
        )
    return traces


def _nulls(panel: ImportancePanel, chosen: Sequence[int], *, in_legend: bool) -> Scatter:
    """A line across each PED-ANOVA bar, at the share that chance alone may give."""
    nulls = [panel.parameters[at].null for at in chosen]
    line = {"color": INK, "width": 2}
    return Scatter(
        x=nulls,
        y=[at - _THICK / 2 for at in range(len(nulls))],
        mode="markers",
        name=f"By chance ({NULL_LEVEL:.0%})",
        legendgroup="null",
        showlegend=in_legend,
        marker={"symbol": "line-ns", "size": _THICK * _BAR_PIXELS, "line": line},
        hoverinfo="skip",
    )


def _fill(color: str, method: str) -> dict[str, Any]:
    if method == "ped_anova":
        return {"color": color, "line": {"color": color, "width": 1}}
    hatched = {"shape": "/", "fgcolor": color, "bgcolor": PAPER, "fillmode": "replace", "size": 5}
    return {"color": color, "pattern": hatched, "line": {"color": color, "width": 1}}


def _is_drawn(info: ImportanceInfo, method: str) -> bool:
    return any(method == "ped_anova" or panel.fanova_trials for panel in info.panels)


def _swatch(method: str) -> Bar:
    return Bar(
        x=[None], y=[None], name=_METHOD_NAMES[method], marker=_fill(INK, method), showlegend=True
    )


def _hover(one: ParameterImportance, method: str) -> str:
    name = plain_text(f"{one.key}.{one.part}" if one.part else one.key)
    share, sd = 100 * one.shares[method], 100 * one.sds[method]
    return f"<b>{name}</b><br>{_METHOD_NAMES[method]}: {share:.0f}% (sd {sd:.0f})"


def _over(axis: int, text: str, *, shift: float | None = None) -> dict[str, Any]:
    """A text over a panel: at its right end; or in bold, a line higher and `shift` pixels from its
    left end."""
    number = "" if axis == 1 else axis
    short = plain_text(shortened(text, _MOST_CHARACTERS))
    return {
        "text": short if shift is None else f"<b>{short}</b>",
        "font": {"size": FONT_SIZE},
        "x": 1 if shift is None else 0,
        "xanchor": "right" if shift is None else "left",
        "xshift": shift or 0,
        "y": 1,
        "yanchor": "bottom",
        "yshift": 0 if shift is None else _LINE_PIXELS,
        "xref": f"x{number} domain",
        "yref": f"y{number} domain",
        "showarrow": False,
    }


def _share_axis(info: ImportanceInfo) -> dict[str, Any]:
    ends = [
        one.shares[method] + one.sds[method]
        for panel in info.panels
        for one in panel.parameters
        for method in METHODS
        if math.isfinite(one.shares[method])
    ]
    ends += [one.null for panel in info.panels for one in panel.parameters]
    return base_axis() | {
        "range": [0, min(1.03 * max(ends, default=1.0), 1.03) or 1.0],
        "tickvals": [0, 0.5, 1],
        "tickformat": ".0%",
        "visible": bool(info.panels),
        "title": {"standoff": 8, "font": {"size": FONT_SIZE}},
    }


def _read(sources: Sequence[StudySource], _: FigureOptions) -> ImportanceInfo:
    record = the_search(sources, "importance").record
    if not record.study.space and not any(row.params for row in record.rows):
        raise NothingToDrawError(
            record.name,
            "importance",
            "needs a parameter that is searched, got none",
            "Search one in its space.",
        )
    info = importance_info(record)
    if record.is_over and not info.panels and info.complete:
        most = max((trials for _, trials in info.left_out), default=0)
        within = " with one set of loss terms" if record.study.trainable is None else ""
        got = f"got {most} at the most" if within else f"got {most}"
        raise NothingToDrawError(
            record.name,
            "importance",
            f"needs {LEAST_TRIALS} complete trials{within}, {got}",
            "Resume it with --add, or draw slice.",
        )
    return info


FIGURE = FigureKind(
    name="importance",
    title="Importance of parameters",
    says="Importance of each parameter for the score, among trials with the same loss terms. "
    "Solid: PED-ANOVA, with a line where chance alone may reach; hatched: fANOVA.",
    read=_read,
    draw=plot_importance,
)


# -- Heading of the importance figure ------------------------------------------------------


def importance_facts(info: ImportanceInfo, others: int) -> list[str]:
    """The basis of the shares.

    Args:
        others: parameters that are not drawn.
    """
    count = len(info.objectives)
    said = [*basis_facts(info), *violating_facts([info])]
    said += objectives_facts(min(count, MOST_OBJECTIVES), count)
    if info.left_out:
        sets = [f"{terms_style(terms).label} ({trials})" for terms, trials in info.left_out]
        said.append(f"sets of fewer trials not shown: {few(sets)}")
    if not info.panels:
        return said
    said.append("shares of a panel and method sum to 100%")
    with_fanova = _is_drawn(info, "fanova")
    of_fanova = f" (fANOVA: {RESAMPLES['fanova']})" * with_fanova
    bootstraps = f"{RESAMPLES['ped_anova']}{of_fanova} bootstraps"
    said.append(f"whiskers: sd over {bootstraps} of the trials, within 0% and 100%")
    said.append(
        f"black line: {NULL_LEVEL:.0%} of {PERMUTATIONS} permutations of the scores stay below it "
        "(PED-ANOVA)"
    )
    low, *_, high = sorted(f"{panel.best_share:.0%}" for panel in [*info.panels, info.panels[-1]])
    share = low if low == high else f"{low} to {high}"
    said.append(f"PED-ANOVA: the best {share} of the trials compared with all")
    if not with_fanova:
        said.append(f"fANOVA is not drawn: it needs {pip_install('fanova')}")
    elif any(panel.fanova_trials < panel.trials for panel in info.panels):
        said.append(f"fANOVA: of {info.panels[0].fanova_trials} random trials per set")
    if others:
        said.append(f"{others} less important parameters not shown")
    return said


def nothing_to_show(info: ImportanceInfo) -> str:
    """Why there is no bar; empty where there is one."""
    if any(panel.parameters for panel in info.panels):
        return ""
    if info.panels:
        return "no parameter differs between the trials"
    if not info.complete:
        return NO_TRIAL
    has_terms = any(terms for terms, _ in info.left_out)  # a custom loop has none
    return f"fewer than {LEAST_TRIALS} complete trials{' of every set of terms' * has_terms}"
