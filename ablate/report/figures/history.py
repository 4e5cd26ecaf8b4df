"""The history figure: the trials of a search for one objective, and the best value so far.

It is the front of the trials that ended, as few as possible, and of the values, drawn as any other:
a pale mark was not the best when its trial ended; baseline and plain finetune stand at 0 trials.
"""

from __future__ import annotations

from collections.abc import Sequence

from ablate.ablation.study_source import StudySource
from ablate.analysis.fronts import FrontsInfo, history_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.pareto import plot_fronts
from ablate.report.figures.parts.confirmed import confirmed_means


def _read(sources: Sequence[StudySource], options: FigureOptions) -> FrontsInfo:
    searches = [the_search([source], "history") for source in sources]
    return history_info(
        [source.record for source in searches],
        [confirmed_means(source) for source in searches],
        rungs=options.rungs,
    )


FIGURE = FigureKind(
    name="history",
    title="Best so far",
    says="Each marker is a complete trial, in the order in which they ended; the steps are the "
    "best value so far.",
    read=_read,
    draw=plot_fronts,
    takes=("rungs",),
    several=True,
)
