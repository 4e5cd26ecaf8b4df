"""Transfer: models of one type each, trained on x tested on, a panel an arm.

A column is a model, a row a type that it is tested on.  The number is the accuracy, the colour
what it is more than the reference arm's; each model's own type has a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ablate.ablation.info import AblationInfo, Transfer
from ablate.ablation.study_source import StudySource
from ablate.ablation.transfer_info import TransferInfo, can_transfer
from ablate.errors import NothingToDrawError
from ablate.report.arms import basis_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import NOT_YET, ablation_facts, ablation_meta
from ablate.report.figures.parts.canvas import finish
from ablate.report.figures.parts.gain_scale import gain_scale
from ablate.report.figures.parts.networks import axis_number
from ablate.report.figures.parts.transfer_grid import CELL_HEIGHT, RIGHT, TransferGrid, name_lines
from ablate.report.numbers import gain_text, metric_text, plain_text
from ablate.report.style import FONT_SIZE, INK

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Heatmap

_ACCURACY = "val_clean_accuracy"
"""Any will do: all are written alike."""


def plot_transfer(info: TransferInfo) -> Figure:
    """Draw what models of one type each do on all types.

    Args:
        info: may be without a transfer: a line says that no run has ended.

    Returns:
        A figure up to two columns of print wide, its panels in as many lines as that takes.  A
        cell whose gain is not known has the colour of no gain.
    """
    from plotly.graph_objects import Figure

    figure = Figure()
    ablation = info.ablation
    facts = ablation_facts(ablation, [*basis_notes(ablation, [_ACCURACY]), *ablation.marks])
    title = f"{ablation.study}: trained on one type, tested on all"
    meta = ablation_meta(ablation, "Transfer")
    if not info.transfers:
        figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        return finish(figure, title=title, facts=facts, meta=meta, nothing=NOT_YET)
    grid = TransferGrid.of(info.transfers)
    shapes: list[dict[str, Any]] = []
    for place, transfer in enumerate(info.transfers):
        number = axis_number(place)
        figure.update_layout(grid.axes(place))
        figure.add_trace(_cells(ablation, transfer).update(xaxis=f"x{number}", yaxis=f"y{number}"))
        figure.add_annotation(_name(transfer, number))
        shapes += _frames(transfer, number)
    gains = [gain for one in info.transfers for row in one.gains for gain in row]
    figure.update_layout(shapes=shapes, coloraxis=gain_scale(gains, grid.rows * CELL_HEIGHT))
    if any(map(math.isfinite, gains)):
        facts.append(f"colour: mean gain over {ablation.reference} at the same seeds")
    if shapes:
        facts.append("framed: the type that a model was trained on")
    return finish(
        figure,
        title=title,
        facts=facts,
        meta=meta,
        pixels=(grid.width, 0),
        inside=grid.height,
        left=grid.left,
        right=RIGHT,
        bottom=10,
    )


def _name(transfer: Transfer, number: str) -> dict[str, Any]:
    return {
        "text": "<br>".join(f"<b>{line}</b>" for line in name_lines(transfer)),
        "x": 0,
        "xref": f"x{number} domain",
        "xanchor": "left",
        "align": "left",
        "y": 1,
        "yref": f"y{number} domain",
        "yanchor": "bottom",
        "yshift": 3,
        "showarrow": False,
        "font": {"size": FONT_SIZE, "color": INK},
    }


def _cells(ablation: AblationInfo, transfer: Transfer) -> Heatmap:
    """Both tables are `[trained on][tested on]`; a heat map wants them turned."""
    from plotly.graph_objects import Heatmap

    colours: list[list[float | None]] = []
    texts: list[list[str]] = []
    hover: list[list[str]] = []
    for column, tested in enumerate(transfer.tested_on):
        cells = [
            (trained, transfer.means[row][column], transfer.gains[row][column])
            for row, trained in enumerate(transfer.trained_on)
        ]
        colours.append(
            [
                None if math.isnan(mean) else 0.0 if math.isnan(gain) else gain
                for _, mean, gain in cells
            ]
        )
        texts.append(
            ["" if math.isnan(mean) else metric_text(_ACCURACY, mean) for _, mean, _ in cells]
        )
        on = f"<br>tested on {plain_text(tested)}: "
        hover.append([_hover(ablation.reference, on, *cell) for cell in cells])
    return Heatmap(
        z=colours,
        text=texts,
        texttemplate="%{text}",
        textfont={"size": FONT_SIZE - 2},
        hovertext=hover,
        hoverinfo="text",
        hoverongaps=False,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
    )


def _hover(reference: str, tested_on: str, trained: str, mean: float, gain: float) -> str:
    gained = gain_text(_ACCURACY, gain)
    over = f" ({gained} over {plain_text(reference)})" if gained else ""
    accuracy = f"<b>{metric_text(_ACCURACY, mean)}</b>"
    return f"trained on {plain_text(trained)}{tested_on}{accuracy}{over}"


def _frames(transfer: Transfer, number: str) -> list[dict[str, Any]]:
    """Around each model's own type, where it is tested."""
    return [
        {
            "type": "rect",
            "xref": f"x{number}",
            "yref": f"y{number}",
            "x0": column - 0.48,
            "x1": column + 0.48,
            "y0": row - 0.46,
            "y1": row + 0.46,
            "line": {"color": INK, "width": 2},
        }
        for column, trained in enumerate(transfer.trained_on)
        for row, tested in enumerate(transfer.tested_on)
        if trained == tested
    ]


def _read(sources: Sequence[StudySource], _: FigureOptions) -> TransferInfo:
    ablation = the_ablation(sources, "transfer")
    if not can_transfer(ablation):
        raise NothingToDrawError(
            f"study {ablation.study}: figure transfer needs an arm of models of one type each, got "
            "none. Write augment.types: each into an arm."
        )
    return TransferInfo(ablation)


FIGURE = FigureKind(
    name="transfer",
    title="Transfer",
    says="Each column is a model of one type, each row a type that it is tested on.",
    read=_read,
    draw=plot_transfer,
)
