"""Feature-map augmentation (FMA): keep the feature maps when the image is distorted.

Source: Kapoor et al. 2020, arXiv:2012.01386 [P] for the idea: a self-supervised regularisation of
the feature maps during finetuning.  The distance, the layers, their weights and the anchor are
our own reading [O].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss.anchor import check_anchor, hold_anchor
from ablate.finetune.loss.distance import load_distance
from ablate.finetune.loss.term import Pair, Term
from ablate.study.settings import LossSettings


def feature_map_loss(
    clean: Mapping[str, FeatureMap],
    distorted: Mapping[str, FeatureMap],
    weights: Mapping[str, float],
    *,
    distance: str = "relative",
) -> Scalar:
    """Weighted sum over layers of the mean distance between clean and distorted feature maps.

    Args:
        clean: layer -> feature map of the clean images.  A gradient flows into it unless the
            caller detaches it.
        distorted: layer -> feature map of the same images, distorted.
        weights: layer -> weight; only these layers are read.
        distance: one of `DISTANCES`.

    Returns:
        Scalar >= 0 in fp32, whatever the maps' dtype; 0 where all maps are equal.
    """
    measure = load_distance(distance)
    first, *others = (
        weight * measure(clean[layer], distorted[layer]) for layer, weight in weights.items()
    )
    return sum(others, start=first)


def scale_weights(
    layers: Sequence[str], layer_weights: Mapping[str, float] | None
) -> dict[str, float]:
    """Layer weights that sum to 1, so that the term's own weight means the same for any layers.

    Args:
        layers: the layers in use.
        layer_weights: weight by layer, >= 0; a layer that it leaves out has weight 0, and so must
            one that is not in use.  None: uniform.

    Returns:
        Layer -> weight above 0, in the order of `layers`.

    Raises:
        ParameterError: if there is no layer, one outside them has a weight above 0, a weight is
            negative or not finite, or all are 0.
    """
    if not layers:
        raise ParameterError("loss.fma.layers: needs at least one layer, got none. Name a tap.")
    given = dict.fromkeys(layers, 1.0) if layer_weights is None else layer_weights
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
    total = sum(given.values())
    if not total:
        raise ParameterError(
            f"loss.fma.layer_weights: one weight must be above 0, got {dict(given)}. "
            "Leave layer_weights out for equal weights."
        )
    return {layer: given[layer] / total for layer in layers if given.get(layer)}


class FMALoss(nn.Module):
    """`feature_map_loss` with a chosen distance, layer weights and anchor."""

    def __init__(
        self,
        distance: str = "relative",
        layer_weights: Mapping[str, float] | None = None,
        anchor: str = "clean",
    ) -> None:
        """Choose the variant.

        Args:
            distance: "relative", "mse" or "cosine".
            layer_weights: weight by layer, >= 0, scaled to sum 1, 0 for those it leaves out;
                None: uniform over the layers that the loss is called with.
            anchor: "clean": the clean feature maps are targets without gradient; "both": the
                gradient flows through both branches.

        Raises:
            ParameterError: if the distance or the anchor is unknown.
        """
        super().__init__()
        load_distance(distance)
        check_anchor("loss.fma.anchor", anchor)
        self.distance = distance
        self.layer_weights = layer_weights
        self.anchor = anchor

    def forward(self, clean: Mapping[str, Tensor], distorted: Mapping[str, Tensor]) -> Scalar:
        """The mean over the batch of the weighted sum over layers.

        Args:
            clean: layer -> feature map of the clean images, first axis the image, as
                `FeatureTaps.split` gives it.
            distorted: the same layers, of the same images distorted.

        Raises:
            ParameterError: if the layers or shapes of the two differ, there is none, a map has no
                axis besides the image, or the layer weights do not fit (see `scale_weights`).
        """
        _check_pair(clean, distorted)
        weights = scale_weights(tuple(clean), self.layer_weights)
        anchored = {layer: hold_anchor(clean[layer], self.anchor) for layer in weights}
        return feature_map_loss(anchored, distorted, weights, distance=self.distance)


def build_term(settings: LossSettings, taps: Sequence[str]) -> Term:
    """The term `fma` of the objective."""
    fma = settings.fma
    layers = tuple(taps) if fma.layers == "taps" else fma.layers
    _check_layers("loss.fma.layers", layers, taps)
    _check_layers("loss.fma.layer_weights", tuple(fma.layer_weights or ()), taps)
    weights = scale_weights(layers, fma.layer_weights)
    loss = FMALoss(fma.distance, weights, fma.anchor)

    def value(pair: Pair) -> Scalar:
        total: Tensor = loss(pair.clean_features, pair.augmented_features)
        return total

    return Term("fma", fma.weight, value, needs_augmented=True, layers=tuple(weights))


def _check_layers(where: str, layers: Sequence[str], taps: Sequence[str]) -> None:
    for number, layer in enumerate(layers):
        if layer not in taps:
            raise ParameterError(
                f"{where}: must be taps of the model, got {layer!r}. {did_you_mean(layer, taps)}"
            )
        if layer in layers[:number]:
            raise ParameterError(
                f"{where}: a layer may stand once, got {layer} twice. "
                "Raise its weight in loss.fma.layer_weights."
            )


def _check_pair(clean: Mapping[str, Tensor], distorted: Mapping[str, Tensor]) -> None:
    if set(clean) != set(distorted):
        raise ParameterError(
            "loss.fma: clean and distorted feature maps must be of the same layers, "
            f"got {sorted(clean)} and {sorted(distorted)}. Take both from one FeatureTaps."
        )
    for layer, features in clean.items():
        if features.ndim < 2:
            raise ParameterError(
                f"loss.fma: the feature map of {layer} must be [batch, channel, ...], "
                f"got {list(features.shape)}. Tap a layer before the reduction."
            )
        if features.shape != distorted[layer].shape:
            raise ParameterError(
                f"loss.fma: the feature maps of {layer} must have one shape, "
                f"got {list(features.shape)} and {list(distorted[layer].shape)}. "
                "Pass one distorted copy per image."
            )
