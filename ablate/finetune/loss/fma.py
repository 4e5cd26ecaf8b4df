"""Feature-map augmentation (FMA): keep the feature maps when the image is distorted.

Source: Kapoor et al. 2020, arXiv:2012.01386 [P] for the idea: a self-supervised regularisation of
the feature maps during finetuning.  The distances, the layers, their weights and the anchors are
our own reading [O].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.errors import ParameterError
from ablate.finetune.loss.anchor import (
    ANCHORS,
    anchor_view,
    check_anchor,
    check_teacher,
    hold_anchor,
    teacher_of,
)
from ablate.finetune.loss.distance import load_distance, min_images
from ablate.finetune.loss.layer_weights import (
    LayerWeights,
    check_scheme,
    check_weight_names,
    choose_layers,
    scale_weights,
)
from ablate.finetune.loss.term import Term, View, Views
from ablate.model.taps import LayerNames
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


class FMALoss(nn.Module):
    """`feature_map_loss` with a chosen distance, layer weights and anchor."""

    def __init__(
        self,
        distance: str = "relative",
        layer_weights: LayerWeights = "uniform",
        anchor: str = "clean",
    ) -> None:
        """Choose the variant.

        Args:
            distance: one of `ablate.finetune.loss.DISTANCES`.
            layer_weights: "uniform", "linear" or "geometric" over the layers that the loss is
                called with, first to last; or weight by layer, >= 0, scaled to sum 1, 0 for
                those it leaves out.
            anchor: "clean": the clean feature maps are targets without gradient; "both": the
                gradient flows through both branches.  For a teacher pass its feature maps as the
                first argument, with "clean".

        Raises:
            ParameterError: if the distance, the scheme of the weights or the anchor is unknown.
        """
        super().__init__()
        load_distance(distance)
        check_scheme(layer_weights)
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
                axis besides the image, the distance needs more images, or the layer weights do
                not fit (see `scale_weights`).
        """
        _check_pair(clean, distorted)
        weights = scale_weights(tuple(clean), self.layer_weights)
        _check_images(self.distance, len(next(iter(clean.values()))))
        anchored = {layer: hold_anchor(clean[layer], self.anchor) for layer in weights}
        return feature_map_loss(anchored, distorted, weights, distance=self.distance)


def build_term(settings: LossSettings, names: LayerNames) -> Term:
    """The term `fma` of the objective: the weighted mean over the copies."""
    fma = settings.fma
    check_anchor("loss.fma.anchor", fma.anchor, ANCHORS)
    layers = choose_layers(fma.layers, names)
    check_weight_names(fma.layer_weights, names)
    weights = scale_weights(layers, fma.layer_weights)
    loss = FMALoss(fma.distance, weights, "both" if fma.anchor == "both" else "clean")
    teacher = teacher_of(fma.anchor)

    def value(views: Views) -> Scalar:
        copies = [_keep(copy, weights) for copy in views.require_copies()]
        anchor = _keep(anchor_view(views, fma.anchor), weights)
        if teacher is not None:
            for layer in [layer for layer in copies[0] if layer in anchor]:
                what = f"the teacher's feature map of {layer}"
                check_teacher("loss.fma.anchor", what, anchor[layer], copies[0][layer])
        first, *others = (
            weight * loss(anchor, copy)
            for copy, weight in zip(copies, views.copy_weights, strict=True)
        )
        total: Tensor = sum(others, start=first)
        return total

    return Term(
        "fma",
        fma.weight,
        value,
        needs_clean=teacher is None,
        needs_augmented=True,
        needs_labels=False,
        layers=tuple(weights),
        activation=fma.activation,
        teacher=teacher,
        scale=fma.scale,
        min_images=min_images(fma.distance),
    )


def _keep(view: View, layers: Iterable[str]) -> dict[str, Tensor]:
    return {layer: view.features[layer] for layer in layers if layer in view.features}


def _check_images(distance: str, images: int) -> None:
    least = min_images(distance)
    if images < least:
        raise ParameterError(
            f"loss.fma.distance: {distance} compares the images of a batch and needs {least}, "
            f"got {images}. Raise the batch size or choose another distance."
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
