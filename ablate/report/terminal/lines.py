"""For a terminal: an event of a run's log, what a study would take, and the layers of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ablate.files.shown import shown_if
from ablate.model import no_feature_map
from ablate.report.numbers import duration_text, param_text, short_names
from ablate.report.tables import Table, text_column
from ablate.study.json_data import json_value
from ablate.study.preparation import fed_text

if TYPE_CHECKING:
    from ablate.lifecycle.dry_run import DryRun, PlannedAblation
    from ablate.model.build import LayerInfo


_HEAD = ("time", "event", "trial", "plain", "attempt", "host")


def event_text(event: Mapping[str, Any]) -> str:
    """ "2026-03-01 13:00:05  trial 17, attempt 2  epoch: epoch 3, train_loss 0.41  (node7)".

    Args:
        event: `time` (seconds since 1970) and `event`; `trial`, `plain`, `attempt` and `host` if
            present; other fields follow in order.
    """
    trial = event.get("trial")
    subject = (
        f"trial {trial}" if trial is not None else shown_if(event.get("plain"), "plain finetune")
    )
    if subject and event.get("attempt"):
        subject += f", attempt {event['attempt']}"
    details = ", ".join(
        f"{key} {' '.join(_field_text(json_value(value)).split())}"
        for key, value in event.items()
        if key not in _HEAD and value is not None
    )
    parts = (
        datetime.fromtimestamp(float(event["time"])).strftime("%Y-%m-%d %H:%M:%S"),
        subject,
        str(event["event"]).replace("_", " ") + (f": {details}" if details else ""),
        f"({event['host']})" if event.get("host") else "",
    )
    return "  ".join(filter(None, parts))


def _field_text(value: Any) -> str:
    """Numbers of a list beside each other; other values as those of a parameter."""
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        return ", ".join(map(param_text, value))
    return param_text(value)


# -- What a study would take, in lines, and for an ablation what it would run --------------


def estimate_text(info: DryRun) -> str:
    """What a study would take, in lines; its image files and an ablation's cells first."""
    trial = info.trial
    gpus = f", {info.gpus_per_trial:g} GPU each" if info.gpus_per_trial else ""
    plan = info.ablation
    lines = list(info.data) + ([] if plan is None else _design_lines(plan))
    rows = f"{info.trials} trials and the plain finetune"
    if plan is not None:
        times = shown_if(plan.replicates, f" x {plan.replicates} replicates")
        rows = f"{info.trials} runs ({len(plan.cells)} cells x {plan.seeds} seeds{times})"
        if plan.tuning_trials:
            rows += f" after {plan.tuning_trials} trials of tuning"
        if plan.confirmed_seeds:
            rows += f", confirmed with {plan.confirmed_seeds} seeds each (test images not counted)"
    lines.append(
        f"{info.study}: {rows}, {info.parallel} in parallel{gpus}, on {info.device} in "
        f"{info.precision}"
    )
    baseline = info.baseline
    if baseline is not None:
        fed = fed_text(baseline.accuracy, baseline.images, baseline.preprocessing)
        lines.append(f"baseline: right on {fed}")
    if plan is None:
        images = f"{trial.train_images:,}"
        if trial.seen_images < trial.train_images:
            images = f"{trial.seen_images:,} of {images}"
        lines.append(
            f"one trial: {duration_text(trial.train_seconds)} of training on "
            f"{images} images, {duration_text(trial.score_seconds)} of scoring on "
            f"{trial.validation_images:,}"
        )
    lines += info.learned
    if info.first_points:
        short = short_names(sorted({key for point in info.first_points for key in point}))
        lines.append("first trials (of search.enqueue, then of search.start):")
        for point in info.first_points:
            values = (f"{short[key]} {param_text(value)}" for key, value in point.items())
            lines.append(f"  {'; '.join(values)}")
    each = f" and mixtures ({duration_text(trial.score_seconds)} each)"
    lines.append(
        f"total: {duration_text(info.seconds)} plus the baseline{shown_if(info.mixtures, each)}, "
        f"{info.gpu_hours:.2f} GPU hours, {info.disk_bytes / 1e6:.0f} MB of disk"
    )
    if 0 < info.gpus_per_trial < 1:
        lines.append("note: timed alone; trials that share a GPU slow each other down")
    return "\n".join(lines)


def _design_lines(plan: PlannedAblation) -> list[str]:
    """One line per cell, then the comparisons."""
    short = short_names(sorted({key for cell in plan.cells for key in cell.differs}))
    width = max((len(cell.name) for cell in plan.cells), default=0)
    lines = [f"design {plan.design}: {len(plan.cells)} cells"]
    for cell in plan.cells:
        differs = (f"{short[key]} {param_text(value)}" for key, value in cell.differs.items())
        values = "; ".join(differs)
        seconds = duration_text(cell.seconds)
        lines.append(
            f"  {cell.name:{width}}  {seconds:>10} per run  {values or 'settings of the study'}"
        )
    lines += [f"  {line}" for line in plan.aliases]
    lines += [f"primary: {claim}" for claim in plan.claims]
    return [*lines, *plan.power, *(f"note: {note}" for note in plan.notes)]


# -- A model's layers


def layers_table(model: str, layers: Sequence[LayerInfo]) -> Table:
    """A model's named layers, first to last; of one without, modules that can be tapped."""
    what = "layers"
    if not any(layer.is_tap for layer in layers):
        has_maps = any(layer.shape[1:] for layer in layers)
        why = "no usable tap," if has_maps else f"{no_feature_map(model)},"
        what = f"modules, and {why}"
    shapes = [" x ".join(map(str, layer.shape)) for layer in layers]
    channels = [
        "not known"
        if layer.channel_axis is None
        else f"{layer.shape[layer.channel_axis - 1]} (axis {layer.channel_axis})"
        for layer in layers
    ]
    columns = (
        text_column("layer", "layer", [layer.name for layer in layers]),
        text_column("module", "module", [layer.module for layer in layers]),
        text_column("shape", "feature map of an image", shapes),
        text_column("channels", "channels", channels),
    )
    return Table(model, f"{model}: {len(layers)} {what} for loss.fma.layers", columns)


def layers_rows(layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    """One dict a layer, for JSON."""
    return [json_value(vars(layer)) for layer in layers]
