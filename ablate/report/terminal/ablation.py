"""An ablation for a terminal: arms, ranks, transfer and tuning; also as plain data.

Texts are plain: print them without markup.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import compress
from typing import Any

from rich.table import Table
from rich.text import Text

from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.info import AblationInfo, Transfer, TuningCurve
from ablate.report.arms import curve_metrics, family_metrics, leading_metrics
from ablate.report.effects import shown_effects
from ablate.report.numbers import (
    MISSING,
    count_text,
    gain_text,
    metric_text,
    metric_unit,
    metric_words,
)
from ablate.report.paper.effects import effects_paper_table, luck_paper_table
from ablate.report.paper.table import PaperTable, arms_paper_table
from ablate.report.terminal.tables import FittedTable
from ablate.study.json_data import json_value

_FEW_SEEDS = 5
"""Of fewer, resampling gives nearly the same order again and again."""


def arms_table(info: AblationInfo) -> FittedTable:
    """The arms as in a paper.

    In a narrow terminal the families are left out first; for a custom training loop the last
    metrics, until only the compared one is left.  The caption names what is left out.
    """
    families = family_metrics(info)
    others = [metric for metric in leading_metrics(info) if metric != info.rank_metric]
    if info.families:
        choices = [[], families, [*families, *curve_metrics(info)]]
    else:
        choices = [others[count:] for count in range(len(others), -1, -1)]
    title, paper = f"{info.study}: {info.ended} of {info.runs} runs ended", arms_paper_table(info)
    return FittedTable(tuple(partial(_without(paper, some).printed, title) for some in choices))


def effects_table(info: AblationInfo) -> FittedTable:
    """The primary contrasts with their verdicts, then the others, as in a paper; in a narrow
    terminal a cell with two numbers has two lines."""
    primary, others = shown_effects(info)
    declared = f"{count_text(len(primary), 'primary contrast')}, " if primary else ""
    title = f"{info.study}: {declared}{count_text(len(others), 'exploratory effect')}"
    paper = effects_paper_table(info)
    return FittedTable((partial(paper.printed, title), partial(paper.printed, title, gap="\n")))


def _without(paper: PaperTable, metrics: Sequence[str]) -> PaperTable:
    """The table without the columns of these metrics, which a note names."""
    kept = [heading.key not in metrics for heading in paper.headings]
    left_out = [one.text for one, keep in zip(paper.headings, kept, strict=True) if not keep]
    notes = [f"not shown (terminal too narrow): {', '.join(left_out)}"] * bool(left_out)
    return replace(
        paper,
        headings=tuple(compress(paper.headings, kept)),
        rows=tuple(tuple(compress(row, kept)) for row in paper.rows),
        notes=(*notes, *paper.notes),
    )


def ablation_rows(info: AblationInfo) -> list[dict[str, Any]]:
    """One dict for JSON: all fields of the info by name; each effect has whether it is primary."""
    whole = json_value(asdict(replace(info, compare=None)))
    del whole["compare"]
    for row, effect in zip(whole["effects"], info.effects, strict=True):
        row["primary"] = effect.primary
    return [whole]


def ranks_text(info: AblationInfo) -> list[str]:
    """The arms by their mean rank, a line each, and how far the seeds agree; empty of fewer than
    two arms."""
    ranks = info.ranks
    if ranks is None:
        return []
    heading = f"rank by {metric_words(info.rank_metric)}"
    if not ranks.n:
        return [f"{heading}: {MISSING} (no seed has every arm)"]
    heading += ": mean over 1 seed" if ranks.n == 1 else f": mean over {ranks.n} seeds"
    if ranks.n > 1:
        heading += " [range of 95 % of resampled seeds]"
        if ranks.n < _FEW_SEEDS:
            heading += f"; {ranks.n} seeds are too few to generalise"
    order = sorted(range(len(ranks.names)), key=lambda place: ranks.mean_rank[place])
    longest = max(map(len, ranks.names))
    lines = [heading]
    for place in order:
        line = f"  {ranks.names[place]:{longest}} {ranks.mean_rank[place]:.1f}"
        low, high = ranks.rank_low[place], ranks.rank_high[place]
        if not math.isnan(low):
            first = 100 * ranks.first_probability[place]
            line += f" [{low:g}, {high:g}], first with {first:.0f} %"
        lines.append(line)
    if not math.isnan(ranks.kendall_w):
        lines.append(f"Kendall's W {ranks.kendall_w:.2f} (1: every seed gives the same order)")
    return lines


def transfer_table(transfer: Transfer) -> Table:
    """Accuracy of models trained on one type each: one column per model, one row per tested
    type."""
    notes = [
        "column: type that the model was trained on; row: type it is tested on (• the same); "
        "accuracy in %",
        "brackets: gain over the reference arm, in points",
    ]
    table = Table(
        title=Text(f"{transfer.arm}: trained on x tested on"),
        caption=Text("\n".join(notes)),
        caption_justify="left",
    )
    table.add_column("tested on", overflow="fold")
    for kind in transfer.trained_on:
        table.add_column(Text(kind), justify="right", overflow="fold")
    for column, tested in enumerate(transfer.tested_on):
        cells = []
        for row, trained in enumerate(transfer.trained_on):
            metric = f"val_accuracy.{tested}"
            gain = gain_text(metric, transfer.gains[row][column])
            cell = metric_text(metric, transfer.means[row][column]) + (f" ({gain})" if gain else "")
            cells.append(Text(f"• {cell}", style="bold") if trained == tested else Text(cell))
        table.add_row(Text(tested), *cells)
    return table


def tuning_lines(info: AblationInfo) -> list[str]:
    """What each arm's search would have found with fewer trials, a line an arm."""
    return [_tuning_line(curve) for curve in info.tuning]


def _tuning_line(curve: TuningCurve) -> str:
    trials = len(curve.scores)
    counts = [2**power for power in range(trials.bit_length())]
    if trials not in counts:
        counts.append(trials)
    after = f"{', '.join(map(str, counts))} trial" + "s" * (trials > 1)
    best = ", ".join(metric_text(curve.metric, curve.scores[count - 1]) for count in counts)
    line = (
        f"tuning of {curve.arm}: expected best {metric_words(curve.metric)} after {after}: {best}"
    )
    line += metric_unit(curve.metric)
    if not curve.is_random:
        line += " (an approximation: its sampler was not random)"
    return line


# -- A confirmed front: what of each point was selection luck, and what is still on the front


def points_table(info: ConfirmInfo) -> Table:
    """A line a point and metric, as in a paper."""
    return luck_paper_table(info).printed(f"{info.test.study}: selection luck, confirmed scores")


def confirmation_rows(info: ConfirmInfo) -> list[dict[str, Any]]:
    """One dict for JSON: `test`, `validation` (as `ablation_rows`), `points`, the `level` of their
    intervals over a reference, and of their probabilities the `objectives`, `constraints`, and
    those that are `unknown` on these images."""
    points = json_value([asdict(point) for point in info.points])
    for point in points:
        del point["metrics"]  # which are the keys of the rest
    return [
        {
            "test": ablation_rows(info.test),
            "validation": ablation_rows(info.validation),
            "points": points,
            "level": info.test.level,
            "objectives": list(info.objectives),
            "constraints": list(info.constraints),
            "unknown": list(info.unknown),
        }
    ]
