"""Values of the terms by hand, and FMA as a module of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.clean import clean_loss
from ablate.finetune.loss.fma import FMALoss, choose_layers, feature_map_loss, scale_weights
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import View, Views
from ablate.model.taps import FeatureMaps, LayerNames
from ablate.study.settings import LossSettings

LAYERS = ("stem", "stage1", "stage2", "stage3")


def logits_of(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def make_maps(seed: int) -> FeatureMaps:
    generator = torch.Generator().manual_seed(seed)
    maps = {
        layer: torch.randn(4, channels, 6, 6, generator=generator)
        for layer, channels in {"stem": 2, "stage1": 3, "stage2": 5, "stage3": 8}.items()
    }
    return FeatureMaps(maps)


def test_images_without_a_label_do_not_count() -> None:
    logits = logits_of((0.5, 0.25, 0.25), (0.1, 0.8, 0.1)).requires_grad_()
    value = clean_loss(logits, torch.tensor([0, -1]))
    assert value.item() == pytest.approx(math.log(2))
    value.backward()
    assert logits.grad is not None
    assert logits.grad[1].tolist() == [0, 0, 0]
    assert clean_loss(logits, torch.tensor([-1, -1])).item() == 0


def build(terms: str, **settings: Any) -> Any:
    """With the clean branch as FMA's anchor, where `settings` do not say."""
    names = LayerNames({layer: layer for layer in LAYERS}, LAYERS)
    settings["fma"] = {"anchor": "clean", **settings.get("fma", {})}
    return build_loss(LossSettings.model_validate({"terms": terms, **settings}), names)


def make_views(weights: tuple[float, ...]) -> Views:
    views = [
        View(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)), make_maps(seed))
        for seed in range(len(weights) + 1)
    ]
    return Views(torch.tensor([0, 1, 2, 0]), views[0], tuple(views[1:]), weights)


@pytest.mark.parametrize("terms", ["da", "st", "fma"])
def test_copies_count_by_their_weight(terms: str) -> None:
    loss, views = build(terms), make_views((0.5, 0.3, 0.2))
    alone = [loss(views._replace(copies=(copy,), copy_weights=(1.0,))) for copy in views.copies]
    expected = sum(w * one for w, one in zip(views.copy_weights, alone, strict=True))
    torch.testing.assert_close(loss(views), expected)


def test_js_counts_all_copies_alike() -> None:
    loss, views = build("st", st={"form": "js"}), make_views((0.9, 0.1))
    torch.testing.assert_close(loss(views), loss(views._replace(copy_weights=(0.5, 0.5))))


@pytest.mark.parametrize("terms", ["st", "fma"])
def test_a_teacher_takes_the_place_of_the_clean_branch(terms: str) -> None:
    views = make_views((0.5, 0.5))
    assert views.clean is not None
    student = build(terms, **{terms: {"anchor": "clean"}})(views)
    loss = build(terms, **{terms: {"anchor": "pretrained"}})
    taught = views._replace(clean=None, teachers={"pretrained": views.clean})
    torch.testing.assert_close(loss(taught), student)


def test_fma_by_hand() -> None:
    clean = {"stem": torch.tensor([[3.0, 4.0]]), "stage1": torch.tensor([[2.0, 0.0]])}
    distorted = {"stem": torch.tensor([[3.0, 3.0]]), "stage1": torch.tensor([[0.0, 0.0]])}
    # relative: 1/25 and 4/4
    value = FMALoss(layer_weights={"stem": 3.0, "stage1": 1.0})(clean, distorted)
    assert value.item() == pytest.approx((0.75 / 25 + 0.25) * DISTANCES["relative"].gradient_scale)
    value = FMALoss(layer_weights="linear")(clean, distorted)
    assert value.item() == pytest.approx((1 / 25 + 2) / 3 * DISTANCES["relative"].gradient_scale)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_module_and_the_term_multiply_the_distance_by_its_constant(distance: str) -> None:
    views = make_views((1.0,))
    assert views.clean is not None
    maps = views.clean.features, views.copies[0].features
    plain = feature_map_loss(*maps, dict.fromkeys(LAYERS, 0.25), distance=distance)
    scaled = DISTANCES[distance].gradient_scale * plain
    torch.testing.assert_close(FMALoss(distance)(*maps), scaled)
    torch.testing.assert_close(build("fma", fma={"distance": distance})(views), scaled)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_weight_means_the_same_for_one_layer_as_for_four(distance: str) -> None:
    clean = dict.fromkeys(LAYERS, make_maps(0)["stem"])
    distorted = dict.fromkeys(LAYERS, make_maps(1)["stem"])
    one = FMALoss(distance)({"stem": clean["stem"]}, {"stem": distorted["stem"]})
    for weights in ("uniform", "linear", "geometric", {"stem": 5.0, "stage2": 2.0}):
        torch.testing.assert_close(FMALoss(distance, weights)(clean, distorted), one)


def test_weights_sum_to_1_in_the_order_of_the_layers() -> None:
    weights = scale_weights(("stem", "stage1", "stage2"), {"stage2": 3.0, "stem": 1.0, "x": 0.0})
    assert list(weights.items()) == [("stem", 0.25), ("stage2", 0.75)]
    assert scale_weights(("stem", "stage1")) == {"stem": 0.5, "stage1": 0.5}
    assert scale_weights(("a", "b", "c"), "linear") == {"a": 1 / 6, "b": 2 / 6, "c": 3 / 6}
    assert scale_weights(("a", "b", "c"), "geometric") == {"a": 1 / 7, "b": 2 / 7, "c": 4 / 7}


def test_a_layer_is_as_deep_as_the_last_module_inside_it() -> None:
    modules = ("conv", "body", "body.0", "body.0.conv", "body.1", "body.10", "head")
    names = LayerNames({"stage1": "body", "stem": "conv"}, modules)
    shuffled = ("head", "body.10", "stage1", "body.0", "body.0.conv", "stem", "body.1")
    ordered = ("stem", "body.0.conv", "body.0", "body.1", "body.10", "stage1", "head")
    assert choose_layers(shuffled, names) == ordered
    assert choose_layers(ordered[::-1], names) == ordered


BAD_WEIGHTS = [
    ((), "uniform", "loss.fma.layers: needs at least one layer, got none. Name a tap."),
    (
        ("stem", "stage1"),
        {"stage2": 1.0},
        "loss.fma.layer_weights: must name the layers in use, got 'stage2'. Did you mean stage1?",
    ),
    (
        ("stem",),
        {"stem": -1.0},
        "loss.fma.layer_weights.stem: must be finite and at least 0, got -1. "
        "0 leaves the layer out.",
    ),
    (
        ("stem",),
        {"stem": float("inf")},
        "loss.fma.layer_weights.stem: must be finite and at least 0, got inf. "
        "0 leaves the layer out.",
    ),
    (
        ("stem", "stage1"),
        {"stem": 0.0},
        "loss.fma.layer_weights: one weight must be above 0, got {'stem': 0.0}. "
        "Leave layer_weights out for equal weights.",
    ),
]


@pytest.mark.parametrize(("layers", "weights", "message"), BAD_WEIGHTS)
def test_bad_layer_weights(
    layers: tuple[str, ...], weights: dict[str, float] | str, message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        scale_weights(layers, weights)
    assert str(caught.value) == message


BAD_MODULES = [
    (
        lambda: FMALoss(anchor="clear"),
        "loss.fma.anchor: must be a registered anchor, got 'clear'. Did you mean clean?",
    ),
    (
        lambda: FMALoss(layer_weights="lineal"),
        "loss.fma.layer_weights: must be a scheme or a weight by layer, got 'lineal'. "
        "Did you mean linear?",
    ),
    (
        lambda: FMALoss()({"stem": torch.zeros(4, 2)}, {"stem": torch.zeros(8, 2)}),
        "loss.fma: the feature maps of stem must have one shape, got [4, 2] and [8, 2]. "
        "Pass one distorted copy per image.",
    ),
    (
        lambda: FMALoss()({"stem": torch.zeros(4)}, {"stem": torch.zeros(4)}),
        "loss.fma: the feature map of stem must be [batch, channel, ...], got [4]. "
        "Tap a layer before the reduction.",
    ),
    (
        lambda: FMALoss()({"stem": torch.zeros(4, 2)}, {"stage1": torch.zeros(4, 2)}),
        "loss.fma: clean and distorted feature maps must be of the same layers, got ['stem'] and "
        "['stage1']. Use one FeatureTaps for both.",
    ),
    (
        lambda: FMALoss("cka")(*[{"stem": torch.ones(1, 2)}] * 2),
        "loss.fma.distance: cka compares the images of a batch and needs 3, got 1. "
        "Raise the batch size or choose another distance.",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD_MODULES, ids=[text for _, text in BAD_MODULES])
def test_bad_arguments_of_the_module(call: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
