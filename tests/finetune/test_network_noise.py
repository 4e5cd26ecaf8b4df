"""Dropout and stochastic depth are off in a finetuning, where they would be part of a distance."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from ablate.data.dataset import Split
from ablate.finetune.augment.augmentation import CombinedAugmentations
from ablate.finetune.forward import Forward
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model.environment import environment_of
from ablate.model.found_taps import find_taps
from ablate.model.modes import drawing_modules
from ablate.model.taps import layer_names
from ablate.study.settings import (
    BaselineSettings,
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    LossSettings,
    RunSettings,
    TrainingSettings,
)

ENVIRONMENT = environment_of(RunSettings(precision="fp32"))
IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit(**options: float) -> nn.Module:
    net = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5, **options)
    nn.init.normal_(net.heads.head.weight)  # type: ignore[union-attr,arg-type]
    return net.train()


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        (vit(dropout=0.1), {"Dropout"}),
        (vit(attention_dropout=0.1), {"MultiheadAttention"}),
        (
            models.swin_t(weights=None, attention_dropout=0.1),
            {"StochasticDepth", "ShiftedWindowAttention"},
        ),
        (models.densenet121(drop_rate=0.1), {"_DenseLayer"}),  # by a function
        (models.resnet18(), set()),
    ],
)
def test_what_draws_is_found_however_it_is_written(model: nn.Module, kinds: set[str]) -> None:
    before, state = copy.deepcopy(model.train().state_dict()), torch.get_rng_state()
    assert {type(module).__name__ for module in drawing_modules(model, IMAGES)} == kinds
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


class _Seen(nn.Module):
    """A network that notes whether its dropout draws, and its batch norm learns, in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = models.densenet121(drop_rate=0.2, num_classes=5)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        layers = [one for one in self.modules() if type(one).__name__ == "_DenseLayer"]
        norms = [one for one in self.modules() if isinstance(one, nn.BatchNorm2d)]
        self.seen.append((any(one.training for one in layers), all(one.training for one in norms)))
        logits: Tensor = self.body(images)
        return logits


@pytest.mark.parametrize("terms", ["clean", "clean+da", "clean+fma"])
@pytest.mark.parametrize(
    ("settings", "draws"), [(FinetuneSettings, False), (BaselineSettings, True)]
)
def test_a_finetuning_has_none_and_a_baseline_keeps_it(
    terms: str, settings: type[TrainingSettings], draws: bool
) -> None:
    model = _Seen()
    model.taps = {"last": "body.features.denseblock4"}  # type: ignore[assignment]
    images = (255 * IMAGES).to(torch.uint8)
    run = Finetuning(
        model,
        Split(images, torch.arange(4), "four images"),
        settings(batch_size=4),
        budget=BudgetSettings(epochs=2),
        loss=build_loss(LossSettings(terms=terms), layer_names(model)),
        augment=CombinedAugmentations(),
        dataset_settings=DatasetSettings(name="digits", crop_padding=0, horizontal_flip=False),
        environment=ENVIRONMENT,
    )
    model.seen.clear()
    while not run.done:
        run.run_epoch()
    assert set(model.seen) == {(draws, True)}


@pytest.mark.parametrize("terms", ["clean+fma", "clean+st"])
@pytest.mark.parametrize("anchor", ["pretrained", "both"])
def test_undistorted_copies_are_at_no_distance(terms: str, anchor: str) -> None:
    model = vit(dropout=0.3)
    model.taps = find_taps(model)  # type: ignore[assignment]
    teachers = {} if anchor == "both" else {anchor: copy.deepcopy(model).eval()}
    anchors = {term: {"anchor": anchor} for term in ("st", "fma")}
    settings = LossSettings.model_validate({"terms": terms, **anchors})
    loss = build_loss(settings, layer_names(model))
    still = drawing_modules(model, IMAGES)
    forward = Forward(model, loss, ENVIRONMENT, "joint", teachers, still=still)
    for _ in range(2):
        forward.prepare()  # before each epoch
        views = forward(IMAGES, [IMAGES, IMAGES], [0.5, 0.5], torch.zeros(4, dtype=torch.long))
    (one, other), anchored = views.copies, views.of_anchor(anchor)
    torch.testing.assert_close(one.logits, anchored.logits)
    for layer, features in anchored.features.items():
        torch.testing.assert_close(other.features[layer], features)
