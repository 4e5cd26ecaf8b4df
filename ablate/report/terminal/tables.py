"""The front, a model's layers and an estimate: for a terminal, and as plain data for `--json`.

Rows have fractions and seconds, and None if missing; a table shows percent, and the gain over the
baseline in points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo
from ablate.ledger.record import ADAPTED
from ablate.report.numbers import (
    count_texts,
    gain_text,
    hypervolume_text,
    metric_heading,
    metric_text,
    param_text,
    seed_texts,
    short_names,
)
from ablate.study.json_data import json_value

if TYPE_CHECKING:
    from ablate.model.build import LayerInfo


REFERENCE_LABELS = {"baseline": "baseline", ADAPTED: ADAPTED, "plain": "plain finetune"}
PARAMS_WIDTH, NARROW_PARAMS_WIDTH = 24, 12
"""Characters of a column of parameters, at the least."""
_TERMS = "loss.terms"


def front_table(info: ParetoInfo) -> FittedTable:
    """The front, or the best of one objective, under the baseline and the plain finetune; in a
    narrow terminal a gain stands below its value."""
    return FittedTable(
        (
            partial(_front_table, info, " ", PARAMS_WIDTH),
            partial(_front_table, info, "\n", PARAMS_WIDTH),
            partial(_front_table, info, "\n", NARROW_PARAMS_WIDTH),
        )
    )


def _front_table(info: ParetoInfo, gap: str, params_width: int) -> Table:
    """Args: gap: between a value and its gain; params_width: of parameters, at the least."""
    has_alphas = any(point.point.alpha != 1 for point in info.points)
    has_terms = any(point.loss_terms for point in info.points)
    headings = ["trial", *(metric_heading(one.metric) for one in info.objectives)]
    headings += ["alpha"] * has_alphas + ["loss terms"] * has_terms
    references = [
        [label, *_value_cells(info, info.references[name], gap=gap if name != "baseline" else None)]
        for name, label in REFERENCE_LABELS.items()
        if name in info.references
    ]
    trials = [
        [
            str(point.number),
            *_value_cells(info, point.values, gap=gap),
            *([f"{point.point.alpha:g}"] if has_alphas else []),
            *([point.loss_terms] if has_terms else []),
        ]
        for point in info.leading
    ]
    table = Table(
        title=escape(f"{info.study}: {leading_text(info)} ({info.trials} in all)"),
        caption=escape(_caption(info)),
    )
    for place, heading in enumerate(headings):
        cells = [row[place] for row in (*references, *trials) if place < len(row)]
        add_whole_column(table, heading, cells, is_text=heading == "loss terms")
    table.add_column("parameters", overflow="fold", min_width=params_width)
    for row in references:
        table.add_row(*map(Text, row), style="dim")
    if info.references:
        table.add_section()
    keys = sorted({key for point in info.points for key in point.params} - {_TERMS})
    for point, row in zip(info.leading, trials, strict=True):
        params = copy_cell(point.copy_of, params_cell(point.params, short_names(keys)))
        table.add_row(*map(Text, row), params)
    return table


def front_rows(info: ParetoInfo) -> list[dict[str, Any]]:
    """The references, then the front, or the best of one objective: one dict each, for JSON.

    Each has `name` ("baseline", "adapted baseline", "plain" or "trial"), `number` (None for a
    reference), `values` and `gains` by metric, and `marks`; a trial has `copy_of`, `loss_terms`,
    `params` and `scores` too.
    """
    metrics = [objective.metric for objective in info.objectives]

    def numbers(values: Iterable[float]) -> dict[str, Any]:
        return {metric: json_value(value) for metric, value in zip(metrics, values, strict=True)}

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "number": None,
            "values": numbers(values),
            "gains": numbers(info.gains(values)),
            "marks": list(info.marks),
        }
        for name, values in info.references.items()
    ]
    rows += [
        {
            "name": "trial",
            "number": point.number,
            "alpha": point.point.alpha,
            "copy_of": point.copy_of,
            "values": numbers(point.values),
            "gains": numbers(info.gains(point.values)),
            "loss_terms": point.loss_terms,
            "params": dict(point.params),
            "scores": json_value(point.scores.metrics() if point.scores else {}),
            "marks": list(info.marks),
        }
        for point in info.leading
    ]
    return rows


def leading_text(info: ParetoInfo) -> str:
    """ "Pareto front, 3 of 16 complete trials"; "the best 5 of 16 ..." for one objective."""
    of = f"{len(info.leading)} of {len(info.points)} complete trials"
    return f"Pareto front, {of}" if len(info.objectives) > 1 else f"the best {of}"


def layers_table(model: str, layers: Sequence[LayerInfo]) -> Table:
    """A model's named layers, first to last; of one without, modules that can be tapped."""
    has_taps = any(layer.is_tap for layer in layers)
    what = "layers" if has_taps else "modules, and no usable tap,"
    table = Table(title=escape(f"{model}: {len(layers)} {what} for loss.fma.layers"))
    table.add_column("layer", no_wrap=True)
    table.add_column("module", no_wrap=True)
    table.add_column("feature map of an image", justify="right")
    table.add_column("channels", justify="right")
    for layer in layers:
        shape = " x ".join(str(side) for side in layer.shape)
        axis = layer.channel_axis
        channels = "not known" if axis is None else f"{layer.shape[axis - 1]} (axis {axis})"
        table.add_row(escape(layer.name), escape(layer.module), shape, channels)
    return table


def layers_rows(layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    """One dict a layer, for JSON."""
    return [json_value(vars(layer)) for layer in layers]


_MEANS = {"families": "mean over families of the mean over types", "types": "mean over types"}


def _caption(info: ParetoInfo) -> str:
    metrics = [objective.metric for objective in info.objectives]
    caption = ""
    if any(map(is_accuracy, metrics)):
        caption = ", ".join(
            [f"{info.split} accuracy, %", *count_texts(info.n_images, info.n_corrupted)]
        )
        if any("robust_accuracy" in metric for metric in metrics) and info.mean_over is not None:
            caption += f", robust = {_MEANS[info.mean_over]}"
        if "baseline" in info.references:
            caption += "; in brackets: gain over the baseline in points"
        caption += "; "
    volume = hypervolume_text(info.hypervolume, info.objectives, info.reference_point)
    caption += f"hypervolume {volume}; " if volume else ""
    caption += ", ".join([*seed_texts(info.seed), f"fingerprint {info.fingerprint[:12]}"])
    return "; ".join([caption, *info.marks])


def _value_cells(info: ParetoInfo, values: tuple[float, ...], *, gap: str | None) -> list[str]:
    """Values, and after this gap their gains; None: without them."""
    cells = []
    for objective, value, gain in zip(info.objectives, values, info.gains(values), strict=True):
        text = "" if gap is None else gain_text(objective.metric, gain)
        number = metric_text(objective.metric, value)
        cells.append(f"{number}{gap}({text})" if text else number)
    return cells


# -- Tables that leave something out where a terminal is narrow ----------------------------


_WIDE = 10_000


@dataclass(frozen=True)
class FittedTable:
    """One table in several widths, for rich to print.

    Attributes:
        made: what makes each, the widest first: the first that fits is printed, the last where
            none does.  Those after it are not made: a study may have 10,000 rows.
    """

    made: tuple[Callable[[], Table], ...]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.made[-1]())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update_width(_WIDE)  # a measure in a narrow terminal is cut to fit it
        for make in self.made[:-1]:
            table = make()
            if Measurement.get(console, wide, table).minimum <= options.max_width:
                yield table
                return
        yield self.made[-1]()


def add_whole_column(
    table: Table, heading: str, printed: Sequence[str], *, is_text: bool = False
) -> None:
    """Add a column of numbers, or of short texts, which are never wrapped.

    Args:
        printed: its cells, since rich ignores `no_wrap` when it measures.
    """
    lines = [line for text in (heading, *printed) for line in text.split("\n")]
    width = max(map(cell_len, lines))
    justify: Literal["left", "right"] = "left" if is_text else "right"
    table.add_column(Text(heading), justify=justify, no_wrap=True, min_width=width)


# -- Headings and cells that several tables share ------------------------------------------


def params_cell(params: Mapping[str, Any], short: Mapping[str, str]) -> Text:
    """Parameters by their short names, in the order of their keys; those without one left out."""
    shown = [(short[key], param_text(params[key])) for key in sorted(params) if key in short]
    return Text("; ").join(Text.assemble((name, "dim"), f" {value}") for name, value in shown)


def copy_cell(copy_of: int | None, params: Text) -> Text:
    """Parameters of a copy, with the number of the original; unchanged if it was run."""
    if copy_of is None:
        return params
    said = Text(f"copy of trial {copy_of}", style="yellow")
    return Text("\n").join([said, params] if params else [said])
