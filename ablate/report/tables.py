"""Tables for a terminal, and the same rows as plain data for `--json`.

Rows hold fractions and seconds as they are, and None where there is no number; a table shows
percent, and beside it the gain over the baseline in points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.analysis.columns import flat_row
from ablate.analysis.metrics import is_accuracy
from ablate.analysis.pareto import ParetoInfo
from ablate.analysis.summary import StatusInfo
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.numbers import (
    MISSING,
    duration_text,
    gain_text,
    json_value,
    metric_label,
    metric_text,
    param_text,
    reference_text,
    short_names,
)

if TYPE_CHECKING:
    from ablate.dry_run import DryRun
    from ablate.finetune.model.build import LayerInfo

REFERENCE_LABELS = {"baseline": "baseline", "plain": "plain finetune"}
_TERMS = "loss.terms"


def front_table(info: ParetoInfo) -> Table:
    """The front, best first in the first objective, under the baseline and the plain finetune."""
    table = Table(
        title=escape(
            f"{info.study}: Pareto front, {len(info.front)} of {len(info.points)} complete trials "
            f"({info.trials} in all)"
        ),
        caption=escape(_caption(info)),
    )
    table.add_column("trial", justify="right", no_wrap=True)
    for objective in info.objectives:
        table.add_column(_heading(objective.metric), justify="right", no_wrap=True)
    table.add_column("loss terms", no_wrap=True)
    table.add_column("parameters", overflow="fold", min_width=24)
    for name, label in REFERENCE_LABELS.items():
        if name in info.references:
            cells = _value_cells(info, info.references[name], gained=name != "baseline")
            table.add_row(label, *cells, "", "", style="dim")
    if info.references:
        table.add_section()
    keys = sorted({key for point in info.points for key in point.params} - {_TERMS})
    for point in info.front:
        table.add_row(
            str(point.number),
            *_value_cells(info, point.values, gained=True),
            escape(point.loss_terms),
            _params_cell(point.params, short_names(keys)),
        )
    return table


def front_rows(info: ParetoInfo) -> list[dict[str, Any]]:
    """The references, then the front: one dict each, for JSON.

    Each has `name` ("baseline", "plain" or "trial"), `number` (None for a reference), `values`
    and `gains` by metric, and `marks`; a trial has `loss_terms`, `params` and `scores` too.
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
            "values": numbers(point.values),
            "gains": numbers(info.gains(point.values)),
            "loss_terms": point.loss_terms,
            "params": dict(point.params),
            "scores": json_value(point.scores.metrics() if point.scores else {}),
            "marks": list(info.marks),
        }
        for point in info.front
    ]
    return rows


def trials_table(record: StudyRecord) -> Table:
    """The record's rows in its order (`select_trials` filters and sorts)."""
    objectives = record.study.objectives
    table = Table(
        title=escape(f"{record.name}: {len(record.rows)} of {record.trials} trials"),
        caption=escape(
            "; ".join(["accuracies in %, on the validation split", *record.study.marks])
        ),
    )
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for objective in objectives:
        table.add_column(_heading(objective.metric), justify="right", no_wrap=True)
    table.add_column("training", justify="right", no_wrap=True)
    table.add_column("parameters, or why it failed", overflow="fold", min_width=24)
    short = short_names(sorted({key for row in record.rows for key in row.params}))
    for row in record.rows:
        flat = flat_row(row, objectives)
        seconds = _training_seconds(row)
        cells = [
            metric_text(objective.metric, flat[objective.metric])
            if objective.metric in flat
            else MISSING
            for objective in objectives
        ]
        note = _params_cell(row.params, short)
        if row.failure is not None:
            why = Text(f"{row.failure.kind}: {row.failure.reason}", style="red")
            note = Text("\n").join([why, note]) if note else why
        table.add_row(
            str(row.number),
            row.state.lower(),
            *cells,
            MISSING if seconds is None else duration_text(seconds),
            note,
        )
    return table


def _training_seconds(row: RowRecord) -> float | None:
    """Training alone, over all attempts: what the row cost, without waiting and pauses."""
    if row.scores is not None:
        return row.scores.train_seconds
    return math.fsum(entry["seconds"] for entry in row.curve) if row.curve else None


def trials_rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The record's rows, flat, by the columns of `trials_frame`; moments in ISO 8601, UTC."""
    return [json_value(flat_row(row, record.study.objectives)) for row in record.rows]


def status_table(info: StatusInfo) -> Table:
    """Where the study stands, a line a fact."""
    table = Table(title=escape(f"{info.study}: {info.terminal} of {info.trials} trials ended"))
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.show_header = False
    counts = ", ".join(f"{count} {state.lower()}" for state, count in info.counts.items() if count)
    table.add_row("trials", counts or "none begun")
    for best in info.best:
        table.add_row(
            f"best {metric_label(best.metric).lower()}",
            f"{metric_text(best.metric, best.value)}{_unit(best.metric)} (trial {best.number})",
        )
    table.add_row("hypervolume", _hypervolume_text(info))
    table.add_row(
        "rate",
        MISSING if info.rows_per_minute is None else f"{info.rows_per_minute:.3g} trials a minute",
    )
    left = info.seconds_left
    table.add_row("time left", MISSING if left is None else duration_text(left))
    table.add_row("GPU hours", f"{info.gpu_hours:.2f}")
    for group in info.failures:
        numbers = ", ".join(str(number) for number in group.numbers)
        table.add_row(
            f"failed: {len(group.numbers)}", escape(f"{group.kind}: {group.reason} ({numbers})")
        )
    for mark in info.marks:
        table.add_row("note", escape(mark))
    table.add_row("driver", escape(_driver_text(info)))
    table.add_row("storage", escape(info.storage))
    table.add_row("fingerprint", escape(info.fingerprint))
    return table


def status_rows(info: StatusInfo) -> list[dict[str, Any]]:
    """One dict, for JSON."""
    reference = info.reference_point
    status = {
        "study": info.study,
        "driver": info.driver,
        "storage": info.storage,
        "fingerprint": info.fingerprint,
        "trials": info.trials,
        "counts": dict(info.counts),
        "best": [
            {"metric": best.metric, "value": best.value, "number": best.number}
            for best in info.best
        ],
        "hypervolume": info.hypervolume,
        "reference_point": None if reference is None else list(reference),
        "rows_per_minute": info.rows_per_minute,
        "seconds_left": info.seconds_left,
        "gpu_hours": info.gpu_hours,
        "failures": [
            {"kind": group.kind, "reason": group.reason, "numbers": list(group.numbers)}
            for group in info.failures
        ],
        "marks": list(info.marks),
    }
    return [json_value(status)]


def layers_table(model: str, layers: Sequence[LayerInfo]) -> Table:
    """A model's named layers, first to last."""
    table = Table(title=escape(f"{model}: {len(layers)} layers for loss.fma.layers"))
    table.add_column("layer", no_wrap=True)
    table.add_column("module", no_wrap=True)
    table.add_column("feature map (channels x height x width)", justify="right")
    for layer in layers:
        shape = " x ".join(str(side) for side in layer.shape)
        table.add_row(escape(layer.name), escape(layer.module), shape)
    return table


def layers_rows(layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    """One dict a layer, for JSON."""
    return [
        {"name": layer.name, "module": layer.module, "shape": list(layer.shape)} for layer in layers
    ]


def estimate_text(info: DryRun) -> str:
    """What a study would take, in lines."""
    trial = info.trial
    gpus = f", {info.gpus_per_trial:g} GPU each" if info.gpus_per_trial else ""
    return "\n".join(
        [
            f"{info.study}: {info.trials} trials and the plain finetune, {info.parallel} at once"
            f"{gpus}, on {info.device} in {info.precision}",
            f"one trial: {duration_text(trial.train_seconds)} of training on "
            f"{trial.train_images} images, {duration_text(trial.score_seconds)} of scoring on "
            f"{trial.validation_images}",
            f"all: {duration_text(info.seconds)} without the baseline, {info.gpu_hours:.2f} GPU "
            f"hours, {info.disk_bytes / 1e6:.0f} MB of disk",
        ]
    )


def _caption(info: ParetoInfo) -> str:
    images = f", n = {info.n_images} images" if info.n_images is not None else ""
    caption = f"{info.split} accuracy, %{images}"
    if any("robust_accuracy" in objective.metric for objective in info.objectives):
        caption += ", robust = mean over families of the mean over types"
    if "baseline" in info.references:
        caption += "; in brackets: gain over the baseline in points"
    if info.hypervolume is not None and info.reference_point is not None:
        metrics = [objective.metric for objective in info.objectives]
        point = reference_text(metrics, info.reference_point)
        caption += f"; hypervolume {info.hypervolume:.4g}, reference point {point}"
    caption += f"; single seed ({info.seed}), fingerprint {info.fingerprint[:12]}"
    return "; ".join([caption, *info.marks])


def _driver_text(info: StatusInfo) -> str:
    if info.driver is not None:
        return info.driver
    return "none" if info.terminal >= info.trials else "none: ablate resume goes on"


def _hypervolume_text(info: StatusInfo) -> str:
    if info.hypervolume is None or info.reference_point is None:
        return f"{MISSING} (no reference point before the baseline is scored)"
    metrics = [objective.metric for objective in info.objectives]
    return (
        f"{info.hypervolume:.4g}, reference point {reference_text(metrics, info.reference_point)}"
    )


def _heading(metric: str) -> str:
    return escape(metric_label(metric).lower().replace(" accuracy", "")) + _unit(metric)


def _unit(metric: str) -> str:
    return " %" if is_accuracy(metric) else ""


def _value_cells(info: ParetoInfo, values: tuple[float, ...], *, gained: bool) -> list[str]:
    cells = []
    for objective, value, gain in zip(info.objectives, values, info.gains(values), strict=True):
        text = gain_text(objective.metric, gain) if gained else ""
        number = metric_text(objective.metric, value)
        cells.append(f"{number} ({text})" if text else number)
    return cells


def _params_cell(params: Mapping[str, Any], short: Mapping[str, str]) -> Text:
    shown = [(short[key], param_text(params[key])) for key in sorted(params) if key in short]
    return Text("; ").join(Text.assemble((name, "dim"), f" {value}") for name, value in shown)
