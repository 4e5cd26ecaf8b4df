"""Finds the layers of any network whose feature maps can be compared.

One small batch is run; for each spatial resolution the last module that gives a feature map of it
is a tap, so `stage1` has the finest maps and the last tap the coarsest.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from itertools import chain
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from ablate.model.taps import channel_axis, head_of, map_in

_SIDES = (64, 224, 32, 28, 128, 256, 96, 48, 299, 384, 240, 160, 192, 112, 320, 448, 512, 40, 16, 8)
"""Sides of images in pixels that are tried: at 64 most networks still have several resolutions."""

_BATCH = 2

_WITHOUT_A_MAP = (nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity, nn.Softmax)
"""Modules whose output is that of the module before, the weights of attention, or a vector."""


def find_taps(model: nn.Module, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """The layers of a network whose feature maps can be compared: alias -> module path.

    A feature map has more than one position, on axes that are neither the batch nor the channels:
    two of them, or the tokens of a transformer, where a class token does not count.  A copy of the
    network is run on the first size of images that it takes.

    Args:
        known: taps from elsewhere, which are returned if one of them has a feature map.

    Returns:
        `stage1` and on, from fine to coarse; empty if there is no map, or no size is taken.
    """
    known = dict(known or {})
    # Without memory it costs little, but a network that makes tensors as it runs needs the other.
    for maps in chain(_maps_by_size(model, "meta"), _maps_by_size(model)):
        if set(known.values()) & set(maps):
            return known
        stages = _stages(model, maps)
        return {f"stage{number}": path for number, path in enumerate(stages, start=1)}
    return known


def input_channels(model: nn.Module) -> int | None:
    """The channels that the first convolution of a network reads; None if it has none."""
    first = next((one for one in model.modules() if isinstance(one, _ConvNd)), None)
    return None if first is None else first.in_channels


def _stages(model: nn.Module, maps: Mapping[str, int]) -> list[str]:
    """The last module of each resolution, from fine to coarse, by positions in order of ending.

    A block that makes the map coarser begins with layers of the finer one: these are taken only
    where nothing before the block has that resolution.
    """
    blocks = {
        path: {positions, *(maps[one] for one in maps if one.startswith(f"{path}."))} - {0, 1}
        for path, positions in maps.items()
        if not isinstance(model.get_submodule(path), nn.Sequential)
    }

    def is_in_block(path: str) -> bool:
        parts = path.split(".")
        above = (".".join(parts[:count]) for count in range(1, len(parts)))
        return any(
            maps[block] < maps[path] and blocks[block] == {maps[block], maps[path]}
            for block in above
            if block in blocks
        )

    last: dict[int, str] = {}
    for path in sorted(maps, key=is_in_block, reverse=True):
        last[maps[path]] = path
    stages: list[str] = []
    for path in (path for path in maps if last[maps[path]] == path and maps[path] > 1):
        if not stages or maps[path] < maps[stages[-1]]:
            stages.append(path)
    return stages


def _maps_by_size(model: nn.Module, device: str | None = None) -> Iterator[dict[str, int]]:
    """For each size that it takes, module path -> positions of its map, in the order of ending."""
    try:
        probe = copy.deepcopy(model).eval().to(device)
    except Exception:  # nor could a study copy it
        return
    channels = input_channels(probe) or 3
    maps: dict[str, int] = {}
    kept: dict[str, tuple[torch.Tensor, int]] = {}  # until the network has run: it may change them

    def note(path: str, _module: nn.Module, _arguments: Any, output: Any) -> None:
        maps.pop(path, None)  # of a module that runs several times, the last map is read
        features = map_in(output)
        if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4):
            return
        axis = channel_axis(probe, path, path, features.shape) or (1 if features.ndim == 4 else 2)
        if len(features) == _BATCH and features.is_floating_point():
            # Without the class token the tokens of an image are a square.
            maps[path] = math.isqrt(features[0].numel() // features.shape[axis]) ** 2
            kept[path] = features, features._version

    for path, module in probe.named_modules():
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]  # as `FeatureTaps` does
        if path and not isinstance(module, _WITHOUT_A_MAP):
            module.register_forward_hook(partial(note, path))
    weights = list(probe.parameters())
    place, heads = (weights[0].device, head_of(probe)) if weights else (torch.device("cpu"), ())
    for side in _SIDES:
        maps.clear()
        kept.clear()
        try:
            with torch.no_grad(), redirect_stdout(StringIO()), catch_warnings():
                simplefilter("ignore")
                probe(torch.zeros(_BATCH, channels, side, side, device=place))
        except Exception:
            continue
        ended = list(maps)  # a head of convolutions makes maps of classes
        after = [ended.index(path) for path in heads if path in maps]
        before = ended[: min(after, default=len(ended))]
        yield {path: maps[path] for path in before if kept[path][0]._version == kept[path][1]}
