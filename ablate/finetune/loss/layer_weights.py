"""Which layers FMA compares, in which order, and how much each counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ablate.errors import ParameterError, did_you_mean
from ablate.model.taps import LayerNames

SCHEMES = ("uniform", "linear", "geometric")
"""Weights by depth [O]: all alike; 1, 2, 3, ...; 1, 2, 4, ...: deeper layers count more."""

LayerWeights = Mapping[str, float] | str


def choose_layers(wanted: Sequence[str] | str, names: LayerNames) -> tuple[str, ...]:
    """The layers that `loss.fma.layers` names, first to last in the network.

    Args:
        wanted: "taps" for all of them, or aliases and module paths in any order.
        names: what the network offers.

    Raises:
        ParameterError: if there is none, one is unknown, or one stands twice.
    """
    if not isinstance(wanted, str):
        _check_known("loss.fma.layers", wanted, names)
        return order_by_depth(wanted, names)
    if not names.taps:
        raise ParameterError(
            f"loss.fma.layers: needs at least one layer, got {wanted!r} and a network without "
            "taps. List module paths, as `ablate layers MODEL` shows them."
        )
    return tuple(names.taps)


def order_by_depth(layers: Sequence[str], names: LayerNames) -> tuple[str, ...]:
    """Layers by the place in the network where their output is ready: parts before the whole."""
    place = {path: number for number, path in enumerate(names.modules)}
    aliases = list(names.taps)

    def depth(layer: str) -> tuple[int, int]:
        path = names.taps.get(layer, layer)
        if path not in place:
            return aliases.index(layer), 0
        # A container is done when the last module inside it is.
        inside = [number for other, number in place.items() if other.startswith(f"{path}.")]
        return max([place[path], *inside]), -path.count(".")

    return tuple(sorted(layers, key=depth))


def check_weight_names(layer_weights: LayerWeights, names: LayerNames) -> None:
    """Refuse weights of layers that the network does not have.

    Raises:
        ParameterError: naming the nearest.
    """
    if not isinstance(layer_weights, str):
        _check_known("loss.fma.layer_weights", tuple(layer_weights), names)


def scale_weights(
    layers: Sequence[str], layer_weights: LayerWeights = "uniform"
) -> dict[str, float]:
    """Layer weights that sum to 1, so that the term's own weight means the same for any layers.

    Args:
        layers: the layers in use, first to last in the network.
        layer_weights: "uniform", "linear" (1, 2, 3, ... with depth), "geometric" (1, 2, 4, ...),
            or weight by layer, >= 0: a layer that it leaves out has weight 0, and so must one
            that is not in use.

    Returns:
        Layer -> weight above 0, in the order of `layers`.

    Raises:
        ParameterError: if there is no layer, the scheme is unknown, a layer outside those in use
            has a weight above 0, a weight is negative or not finite, or all are 0.
    """
    if not layers:
        raise ParameterError("loss.fma.layers: needs at least one layer, got none. Name a tap.")
    given = _by_depth(layers, layer_weights) if isinstance(layer_weights, str) else layer_weights
    for layer, weight in given.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ParameterError(
                f"loss.fma.layer_weights.{layer}: must be finite and at least 0, got {weight:g}. "
                "0 leaves the layer out."
            )
        if weight and layer not in layers:
            raise ParameterError(
                f"loss.fma.layer_weights: must name the layers in use, got {layer!r}. "
                f"{did_you_mean(layer, layers)}"
            )
    total = math.fsum(given.values())
    if not total:
        raise ParameterError(
            f"loss.fma.layer_weights: one weight must be above 0, got {dict(given)}. "
            "Leave layer_weights out for equal weights."
        )
    return {layer: given[layer] / total for layer in layers if given.get(layer)}


def check_scheme(layer_weights: LayerWeights) -> None:
    """Refuse an unknown scheme.

    Raises:
        ParameterError: naming the nearest.
    """
    if isinstance(layer_weights, str) and layer_weights not in SCHEMES:
        raise ParameterError(
            "loss.fma.layer_weights: must be a scheme or a weight by layer, "
            f"got {layer_weights!r}. {did_you_mean(layer_weights, SCHEMES)}"
        )


def _by_depth(layers: Sequence[str], scheme: str) -> dict[str, float]:
    check_scheme(scheme)
    if scheme == "linear":
        return {layer: float(place) for place, layer in enumerate(layers, start=1)}
    base = 2.0 if scheme == "geometric" else 1.0
    return {layer: base**place for place, layer in enumerate(layers)}


def _check_known(where: str, layers: Sequence[str], names: LayerNames) -> None:
    known = list(dict.fromkeys([*names.taps, *names.modules]))
    seen: dict[str, str] = {}
    for layer in layers:
        if layer not in known:
            raise ParameterError(
                f"{where}: must be taps or module paths of the model, got {layer!r}. "
                f"{did_you_mean(layer, known)}"
            )
        path = names.taps.get(layer, layer)
        if path in seen:
            other = seen[path]
            again = "twice" if layer == other else f"and {layer}, which are the same"
            raise ParameterError(
                f"{where}: a layer may stand once, got {other} {again}. "
                "Raise its weight in loss.fma.layer_weights."
            )
        seen[path] = layer
