"""Values of the terms by hand, and FMA and ST as modules of their own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.clean import clean_loss
from ablate.finetune.loss.da import da_loss
from ablate.finetune.loss.fma import FMALoss, scale_weights
from ablate.finetune.loss.st import StabilityLoss, stability_loss


def logits_of(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def make_maps(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randn(4, channels, 6, 6, generator=generator)
        for layer, channels in {"stem": 2, "stage1": 3, "stage2": 5, "stage3": 8}.items()
    }


def test_cross_entropies_by_hand() -> None:
    logits, labels = logits_of((0.5, 0.25, 0.25), (0.1, 0.8, 0.1)), torch.tensor([0, 2])
    expected = (math.log(2) + math.log(10)) / 2
    assert clean_loss(logits, labels).item() == pytest.approx(expected)
    assert da_loss(logits, labels).item() == pytest.approx(expected)


def test_stability_by_hand() -> None:
    clean = logits_of((0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3))
    distorted = logits_of((0.25, 0.5, 0.25), (0.2, 0.4, 0.4))
    first = 0.5 * math.log(4) + 0.25 * math.log(2) + 0.25 * math.log(4)
    second = (math.log(5) + 2 * math.log(2.5)) / 3
    assert stability_loss(clean, distorted).item() == pytest.approx((first + second) / 2)


def test_stability_of_equal_predictions_is_their_entropy() -> None:
    logits = logits_of((0.5, 0.25, 0.25))
    entropy = 0.5 * math.log(2) + 0.5 * math.log(4)
    assert StabilityLoss()(logits, logits).item() == pytest.approx(entropy)
    apart = logits_of((0.25, 0.5, 0.25))
    assert StabilityLoss()(logits, apart).item() > entropy


def test_stability_ignores_a_shift_of_the_logits() -> None:
    clean, distorted = logits_of((0.5, 0.3, 0.2)), logits_of((0.2, 0.3, 0.5))
    torch.testing.assert_close(
        StabilityLoss()(clean + 5, distorted - 3), StabilityLoss()(clean, distorted)
    )


def test_anchors_give_one_value() -> None:
    clean, distorted = make_maps(0), make_maps(1)
    both, held = (FMALoss(anchor=anchor)(clean, distorted) for anchor in ("both", "clean"))
    torch.testing.assert_close(both, held)


@pytest.mark.parametrize("distance", DISTANCES)
def test_fma_of_equal_maps_is_0(distance: str) -> None:
    maps = make_maps(0)
    copies = {layer: features.clone() for layer, features in maps.items()}
    assert FMALoss(distance)(maps, copies).item() == pytest.approx(0, abs=1e-6)


def test_fma_by_hand() -> None:
    clean = {"stem": torch.tensor([[3.0, 4.0]]), "stage1": torch.tensor([[2.0, 0.0]])}
    distorted = {"stem": torch.tensor([[3.0, 3.0]]), "stage1": torch.tensor([[0.0, 0.0]])}
    # relative: 1/25 and 4/4
    value = FMALoss(layer_weights={"stem": 3.0, "stage1": 1.0})(clean, distorted)
    assert value.item() == pytest.approx(0.75 / 25 + 0.25)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_weight_means_the_same_for_one_layer_as_for_four(distance: str) -> None:
    clean = dict.fromkeys(("stem", "stage1", "stage2", "stage3"), make_maps(0)["stem"])
    distorted = dict.fromkeys(clean, make_maps(1)["stem"])
    one = FMALoss(distance)({"stem": clean["stem"]}, {"stem": distorted["stem"]})
    torch.testing.assert_close(FMALoss(distance)(clean, distorted), one)
    torch.testing.assert_close(
        FMALoss(distance, {"stem": 5.0, "stage2": 2.0})(clean, distorted), one
    )


def test_weights_sum_to_1_in_the_order_of_the_layers() -> None:
    weights = scale_weights(("stem", "stage1", "stage2"), {"stage2": 3.0, "stem": 1.0, "x": 0.0})
    assert list(weights.items()) == [("stem", 0.25), ("stage2", 0.75)]
    assert scale_weights(("stem", "stage1"), None) == {"stem": 0.5, "stage1": 0.5}


BAD_WEIGHTS = [
    ((), None, "loss.fma.layers: needs at least one layer, got none. Name a tap."),
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
    layers: tuple[str, ...], weights: dict[str, float] | None, message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        scale_weights(layers, weights)
    assert str(caught.value) == message


BAD_MODULES = [
    (
        lambda: FMALoss("cosin"),
        "loss.fma.distance: must be a registered distance, got 'cosin'. Did you mean cosine?",
    ),
    (
        lambda: FMALoss(anchor="clear"),
        "loss.fma.anchor: must be a registered anchor, got 'clear'. Did you mean clean?",
    ),
    (
        lambda: StabilityLoss("cross-entropy"),
        "loss.st.form: must be a registered form, got 'cross-entropy'. Did you mean cross_entropy?",
    ),
    (
        lambda: StabilityLoss(anchor="neither"),
        "loss.st.anchor: must be a registered anchor, got 'neither'. Known: both, clean.",
    ),
    (
        lambda: StabilityLoss()(torch.zeros(4, 10), torch.zeros(8, 10)),
        "loss.st: clean and distorted logits must have one shape, got [4, 10] and [8, 10]. "
        "Pass one distorted copy per image.",
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
        "loss.fma: clean and distorted feature maps must be of the same layers, "
        "got ['stem'] and ['stage1']. Take both from one FeatureTaps.",
    ),
    (
        lambda: FMALoss()({}, {}),
        "loss.fma.layers: needs at least one layer, got none. Name a tap.",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD_MODULES, ids=[text for _, text in BAD_MODULES])
def test_bad_arguments_of_the_modules(call: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
