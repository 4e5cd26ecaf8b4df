"""Feature-map augmentation (FMA): keep the feature maps when the image is distorted.

Source: Kapoor et al. 2020, arXiv:2012.01386 [P] for the idea: a self-supervised regularisation of
the feature maps during finetuning.  The distances, the layers, their weights and the anchors are
our own reading [O].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ablate.distortion.shapes import FeatureMap, Images, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import DISTANCES, SCHEMES
from ablate.finetune.loss.distances import EPSILON, load_distance, relative_distances
from ablate.finetune.loss.term import (
    TEACHERS,
    Term,
    View,
    Views,
    anchor_target,
    check_branch,
    weighted_sum,
)
from ablate.model import chosen_layers
from ablate.model.taps import FeatureMaps, FeatureTaps, LayerNames, layer_names
from ablate.study.keys import candidates
from ablate.study.settings import LossSettings, Study

LayerWeights = Mapping[str, float] | str

_LEAST_SIZE = 10 * math.sqrt(EPSILON)
"""Norm of an image's map below which `EPSILON` is over 1 % of its square."""


def feature_map_loss(
    clean: Mapping[str, FeatureMap],
    distorted: Mapping[str, FeatureMap],
    weights: Mapping[str, float],
    *,
    distance: str = "relative",
) -> Scalar:
    """Weighted sum over layers of the mean distance between clean and distorted feature maps,
    without the distance's constant.

    Args:
        clean: layer -> feature map of the clean images.  A gradient flows into it unless the
            caller detaches it.
        distorted: layer -> feature map of the same images, distorted.
        weights: layer -> weight; only these layers are read.
        distance: one of `DISTANCES`.

    Returns:
        Scalar >= 0 in fp32, whatever the maps' dtype; 0 where all maps are equal.
    """
    pairs = [clean[layer] for layer in weights], [distorted[layer] for layer in weights]
    if distance == "relative":
        gaps = relative_distances(*pairs).unbind()
    else:
        gaps = tuple(map(load_distance(distance), *pairs))
    return weighted_sum(weights.values(), gaps)


class FMALoss(nn.Module):
    """Feature-map augmentation (FMA) loss with a chosen distance, layer weights and anchor.

    Its value is `feature_map_loss` times the distance's constant (`Distance.gradient_scale`), so
    that at weight 1 its gradient is about as large as that of the cross-entropy on the copies,
    whatever the distance.

    Example:
        >>> import torch
        >>> clean = {"stage1": torch.rand(8, 16, 4, 4)}
        >>> distorted = {"stage1": torch.rand(8, 16, 4, 4, requires_grad=True)}
        >>> loss = ablate.FMALoss(distance="relative")(clean, distorted)
        >>> loss.backward()
        >>> loss.item() > 0
        True
    """

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
        if isinstance(layer_weights, str):
            _find_scheme(layer_weights)
        check_branch("loss.fma.anchor", anchor)
        self.distance = distance
        self.layer_weights = layer_weights
        self.anchor = anchor

    def forward(self, clean: Mapping[str, Tensor], distorted: Mapping[str, Tensor]) -> Scalar:
        """The mean over the batch of the weighted sum over layers, times the distance's constant.

        Args:
            clean: layer -> feature map of the clean images, (image, channel, positions...), as
                `FeatureTaps.split` gives it.
            distorted: the same layers, of the same images distorted.

        Raises:
            ParameterError: if the layers or shapes of the two differ, there is no layer, a map has
                only the image axis, the distance needs more images, the layer weights are invalid
                (see `scale_weights`), or the distance reads channels and the channel axis of a map
                is not known.
        """
        if set(clean) != set(distorted):
            raise ParameterError(
                "loss.fma: clean and distorted feature maps must be of the same layers, got "
                f"{sorted(clean)} and {sorted(distorted)}. Use one FeatureTaps for both."
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
        weights = scale_weights(tuple(clean), self.layer_weights)
        for maps in (clean, distorted):
            _check_channels(self.distance, maps, weights)
        distance, images = DISTANCES[self.distance], len(next(iter(clean.values())))
        if images < distance.min_images:
            raise ParameterError(
                f"loss.fma.distance: {self.distance} compares the images of a batch and needs "
                f"{distance.min_images}, got {images}. Raise the batch size or choose another "
                "distance."
            )
        anchored = {layer: anchor_target(clean[layer], self.anchor) for layer in weights}
        value = feature_map_loss(anchored, distorted, weights, distance=self.distance)
        return float(distance.gradient_scale) * value


def build_term(settings: LossSettings, names: LayerNames) -> Term:
    """The term `fma` of the objective: the weighted mean over the copies."""
    fma = settings.fma
    layers = choose_layers(fma.layers, names)
    if not isinstance(fma.layer_weights, str):
        _check_known("loss.fma.layer_weights", tuple(fma.layer_weights), names)
    # The loss scales them once more, which can change a last bit: left, for the same results.
    weights = scale_weights(layers, fma.layer_weights)
    loss = FMALoss(fma.distance, weights, "both" if fma.anchor == "both" else "clean")
    teacher = fma.anchor if fma.anchor in TEACHERS else None

    def compared(view: View) -> FeatureMaps:
        maps = {layer: view.features[layer] for layer in weights}
        return FeatureMaps(maps, view.features.unplaced)

    def value(views: Views) -> Scalar:
        anchor = compared(views.of_anchor(fma.anchor))
        return views.mean_over_copies(lambda copy: loss(anchor, compared(copy)))

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
        min_images=DISTANCES[fma.distance].min_images,
    )


def check_layers(model: nn.Module, images: Images, study: Study) -> None:
    """Read every layer that a trial may use, so that an invalid one does not fail each trial.

    Args:
        model: set to eval mode.
        images: in [0, 1]; a few are enough.
        study: its fixed and searched layers and distances.

    Raises:
        ParameterError: naming the layer whose maps do not have the images first, or the distance
            that cannot read it, or whose reference is near 0.
    """
    loss, space = study.loss, study.space
    if not any("fma" in terms for terms in candidates(space, "loss.terms", [loss.terms])):
        return
    taps = tuple(layer_names(model).taps)
    fixed = [loss.fma.layers] if isinstance(loss.fma.layers, str) else loss.fma.layers
    found = candidates(space, "loss.fma.layers", fixed)
    words = {word: chosen_layers(word, taps) for word in ("taps", "last")}
    layers = dict.fromkeys(layer for name in found for layer in words.get(name, (name,)))
    for activation in candidates(space, "loss.fma.activation", [loss.fma.activation]):
        with FeatureTaps(model.eval(), tuple(layers), activation) as reading, torch.no_grad():
            model(images[:1])
            (single,) = reading.split(1)
            model(torch.cat([images[:1], images]))
            (maps,) = reading.split(1)
        for layer, features in maps.items():
            if len(features) != (1 + len(images)) * len(single[layer]):
                raise ParameterError(
                    f"loss.fma.layers: {layer} must give maps with the images first, got "
                    f"{tuple(features.shape)} for {1 + len(images)} images (a transformer without "
                    "batch_first gives tokens first). Choose another layer."
                )
        for distance in candidates(space, "loss.fma.distance", [loss.fma.distance]):
            _check_channels(distance, maps, layers)
            if distance == "relative":
                _check_sizes(maps)


def _check_sizes(maps: Mapping[str, Tensor]) -> None:
    """Refuse maps by which `relative` cannot divide: its constant would decide the value."""
    for layer, features in maps.items():
        size = float(features.float().flatten(1).norm(dim=1).mean())
        if size < _LEAST_SIZE:
            raise ParameterError(
                f"loss.fma.layers: relative divides by the size of a feature map, which must be at "
                f"least {_LEAST_SIZE:g}, got {size:.2g} of {layer}. Leave {layer} out, choose "
                "distance: cosine, or check the weights."
            )


def _check_channels(distance: str, maps: Mapping[str, Tensor], layers: Iterable[str]) -> None:
    """Refuse a distance that reads channels where `FeatureTaps` does not know which axis they are;
    in any other mapping it is axis 1."""
    if not isinstance(maps, FeatureMaps) or not DISTANCES[distance].reads_channels:
        return
    for layer in layers:
        if layer in maps.unplaced:
            others = (name for name, other in DISTANCES.items() if not other.reads_channels)
            raise ParameterError(
                f"loss.fma.distance: {distance} needs the channel axis of {layer}, which is not "
                f"known, got a map {list(maps[layer].shape)}. Give the network a dict "
                f"channel_axes, {{{layer!r}: axis}}, or choose one of {', '.join(others)}."
            )


# -- Which layers FMA compares, in which order, and how much each counts -------------------


def choose_layers(wanted: Sequence[str] | str, names: LayerNames) -> tuple[str, ...]:
    """Find the layers of `loss.fma.layers`, first to last in the network.

    Args:
        wanted: "taps" for all taps, "last" for the last one, or aliases and module paths in any
            order.
        names: the layers of the network.

    Returns:
        By when their output is ready: inner modules before the modules that contain them.

    Raises:
        ParameterError: if there is none, one is unknown, or one is repeated.
    """
    if isinstance(wanted, str):
        if not names.taps:
            raise ParameterError(
                f"loss.fma.layers: needs at least one layer, got {wanted!r} and a network without "
                "taps. List module paths, as `ablate layers MODEL` shows them."
            )
        return chosen_layers(wanted, tuple(names.taps))
    _check_known("loss.fma.layers", wanted, names)

    def depth(layer: str) -> tuple[int, int]:
        return names.ready(layer), -names.taps.get(layer, layer).count(".")

    return tuple(sorted(wanted, key=depth))


def scale_weights(
    layers: Sequence[str], layer_weights: LayerWeights = "uniform"
) -> dict[str, float]:
    """Scale layer weights to sum 1, so that the term's weight has the same meaning for any layers.

    Args:
        layers: the layers in use, first to last in the network.
        layer_weights: "uniform", "linear" (1, 2, 3, ... with depth), "geometric" (1, 2, 4, ...),
            or weight by layer, >= 0; missing layers have weight 0, and unused ones must have weight
            0.

    Returns:
        Layer -> weight above 0, in the order of `layers`.

    Raises:
        ParameterError: if there is no layer, the scheme is unknown, an unused layer has a weight
            above 0, a weight is negative or not finite, or all are 0.
    """
    if not layers:
        raise ParameterError("loss.fma.layers: needs at least one layer, got none. Name a tap.")
    if isinstance(layer_weights, str):
        weight_at = _find_scheme(layer_weights)
        layer_weights = {layer: weight_at(place) for place, layer in enumerate(layers)}
    for layer, weight in layer_weights.items():
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
    total = math.fsum(layer_weights.values())
    if not total:
        raise ParameterError(
            f"loss.fma.layer_weights: one weight must be above 0, got {dict(layer_weights)}. "
            "Leave layer_weights out for equal weights."
        )
    return {layer: layer_weights[layer] / total for layer in layers if layer_weights.get(layer)}


def _find_scheme(name: str) -> Callable[[int], float]:
    """The weight of a layer by its place in the network, from 0."""
    if name not in SCHEMES:
        raise ParameterError(
            "loss.fma.layer_weights: must be a scheme or a weight by layer, "
            f"got {name!r}. {did_you_mean(name, tuple(SCHEMES))}"
        )
    return SCHEMES[name]


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
            raise ParameterError(
                f"{where}: a layer may be given once, got {seen[path]} and {layer}, which are the "
                "same. Raise its weight in loss.fma.layer_weights."
            )
        seen[path] = layer
