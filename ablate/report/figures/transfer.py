"""Transfer: models trained on one type each, tested on all types, one panel per arm.

A column is a model, a row a type that it is tested on.  The number is the accuracy, the colour the
difference to the reference arm; each model's training type has a frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from plotly.graph_objects import Figure

from ablate.ablation.figure_infos import TransferInfo, can_transfer
from ablate.ablation.info import Transfer
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.arms import basis_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import NOT_YET, ablation_facts, ablation_meta, wrapped
from ablate.report.figures.parts.canvas import WIDE_PIXELS, finish
from ablate.report.figures.parts.heat_panels import ACCURACY, Cell, Frame, HeatGrid, HeatPanel
from ablate.report.numbers import gain_text, metric_text, plain_text

_CELLS, _LEAST_PANEL, _NAME_CHARACTERS = (40, 52), 180, 24
"""Width of a cell; of a panel, and characters of a line of its name."""


def plot_transfer(info: TransferInfo, width: float = WIDE_PIXELS[0]) -> Figure:
    """Draw the accuracy of models trained on one type each, on all types.

    Args:
        info: without transfers the figure says that no run has ended.
        width: of the image at most, in pixels.

    Returns:
        A figure with its panels in as many lines as needed.  A cell whose gain is unknown has the
        colour of zero gain.
    """
    figure = Figure()
    ablation = info.ablation
    facts = ablation_facts(ablation, [*basis_notes(ablation, [ACCURACY]), *ablation.marks])
    title = f"{ablation.study}: trained on one type, tested on all"
    meta = ablation_meta(ablation, "Transfer")
    if not info.transfers:
        return finish(figure, title=title, facts=facts, meta=meta, nothing=NOT_YET)
    trained = list(dict.fromkeys(kind for one in info.transfers for kind in one.trained_on))
    tested = list(dict.fromkeys(kind for one in info.transfers for kind in one.tested_on))
    panels = [_panel(ablation.reference, one, trained, tested) for one in info.transfers]
    names = [plain_text(kind) for kind in tested]
    lines = max(len(panel.over) for panel in panels)
    grid = HeatGrid.of(len(panels), names, trained, _CELLS, _LEAST_PANEL, lines, width)
    grid.draw(figure, panels, ("trained on", "tested on"))
    if any(math.isfinite(gain) for one in info.transfers for row in one.gains for gain in row):
        facts.append(f"colour: mean gain over {ablation.reference} at the same seeds")
    if any(panel.frames for panel in panels):
        facts.append("framed: the type that a model was trained on")
    return finish(figure, title=title, facts=facts, meta=meta, **grid.sizes)


def _panel(
    reference: str, transfer: Transfer, trained: Sequence[str], tested: Sequence[str]
) -> HeatPanel:
    """Both tables are `[trained on][tested on]`; a heat map wants them turned."""
    found = {
        (row, column): _cell(reference, column, row, transfer.means[at][to], transfer.gains[at][to])
        for at, column in enumerate(transfer.trained_on)
        for to, row in enumerate(transfer.tested_on)
        if not math.isnan(transfer.means[at][to])
    }
    own = [kind for kind in transfer.trained_on if kind in transfer.tested_on]
    places = [(tested.index(kind), trained.index(kind)) for kind in own]
    return HeatPanel(
        over=tuple(f"<b>{line}</b>" for line in wrapped(transfer.arm, _NAME_CHARACTERS, 2)),
        cells=[[found.get((row, column)) for column in trained] for row in tested],
        frames=[Frame((row, row), (column, column)) for row, column in places],
    )


def _cell(reference: str, trained: str, tested: str, mean: float, gain: float) -> Cell:
    gained = gain_text(ACCURACY, gain)
    over = f" ({gained} over {plain_text(reference)})" if gained else ""
    accuracy = metric_text(ACCURACY, mean)
    where = f"trained on {plain_text(trained)}<br>tested on {plain_text(tested)}"
    return Cell(gain, accuracy, f"{where}: <b>{accuracy}</b>{over}")


def _read(sources: Sequence[StudySource], _: FigureOptions) -> TransferInfo:
    ablation = the_ablation(sources, "transfer")
    if not can_transfer(ablation):
        raise NothingToDrawError(
            ablation.study,
            "transfer",
            "needs an arm with one model per type, got none",
            "Set augment.types: each in an arm.",
        )
    return TransferInfo(ablation)


FIGURE = FigureKind(
    name="transfer",
    title="Transfer",
    says="Columns: the type that a model was trained on. Rows: the type that it is tested on.",
    read=_read,
    draw=plot_transfer,
    width=900,
)
