"""A model's layers: a table for a terminal, and the same as plain data for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ablate.report.tables import Table, text_column
from ablate.study.json_data import json_value

if TYPE_CHECKING:
    from ablate.model.build import LayerInfo


def layers_table(model: str, layers: Sequence[LayerInfo]) -> Table:
    """A model's named layers, first to last; of one without, modules that can be tapped."""
    has_taps = any(layer.is_tap for layer in layers)
    what = "layers" if has_taps else "modules, and no usable tap,"
    title = f"{model}: {len(layers)} {what} for loss.fma.layers"
    shapes = [" x ".join(map(str, layer.shape)) for layer in layers]
    channels = [
        "not known"
        if one.channel_axis is None
        else f"{one.shape[one.channel_axis - 1]} (axis {one.channel_axis})"
        for one in layers
    ]
    return Table(
        columns=(
            text_column("layer", "layer", [layer.name for layer in layers]),
            text_column("module", "module", [layer.module for layer in layers]),
            text_column("shape", "feature map of an image", shapes),
            text_column("channels", "channels", channels),
        ),
        name=model,
        title=title,
    )


def layers_rows(layers: Sequence[LayerInfo]) -> list[dict[str, Any]]:
    """One dict a layer, for JSON."""
    return [json_value(vars(layer)) for layer in layers]
