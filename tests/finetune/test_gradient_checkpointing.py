"""Networks that compute parts again in the backward pass to save memory, with FMA."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ablate.errors import ParameterError
from ablate.finetune.forward import Forward
from ablate.finetune.loss.objective import build_loss
from ablate.model.environment import environment_of
from ablate.model.found_taps import find_taps
from ablate.model.taps import layer_names
from ablate.study.settings import LossSettings, RunSettings


class Net(nn.Module):
    def __init__(self, is_reentrant: bool | None) -> None:
        super().__init__()
        self.first = self._stage(3)
        self.second = nn.Sequential(nn.MaxPool2d(2), *self._stage(8), nn.Conv2d(8, 8, 1))
        self.head = nn.Linear(8, 5)
        self.is_reentrant = is_reentrant
        self.taps = find_taps(self)

    def _stage(self, width: int) -> nn.Sequential:
        conv = nn.Conv2d(width, 8, 3, padding=1)
        return nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        if self.is_reentrant is not None and self.training:
            features = checkpoint(self.second, features, use_reentrant=self.is_reentrant)
        else:
            features = self.second(features)
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


def gradients(is_reentrant: bool | None, precision: str = "fp32") -> list[Tensor]:
    torch.manual_seed(0)
    model = Net(is_reentrant)
    settings = LossSettings.model_validate({"terms": "clean+fma", "fma": {"anchor": "both"}})
    loss = build_loss(settings, layer_names(model))
    environment = environment_of(RunSettings.model_validate({"precision": precision}))
    forward = Forward(model, loss, environment, "joint", {})
    images, copies = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # in lower precision the first pass is watched
        model.zero_grad()
        loss(forward(images, [copies], [1.0], torch.arange(4))).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_its_gradients_are_those_without_it(precision: str) -> None:
    without, with_it = (gradients(kind, precision) for kind in (None, False))
    assert len(without) == len(with_it) == 12
    torch.testing.assert_close(with_it, without)


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_kind_that_hides_the_gradient_is_named() -> None:
    with pytest.raises(ParameterError) as error:
        gradients(True)
    assert str(error.value) == (
        "loss.fma.layers: stage2 must run with a gradient to be trained by its maps, got a pass "
        "without one. Use checkpoint(..., use_reentrant=False) where the network saves memory so, "
        "remove no_grad() around it, or choose another layer."
    )
