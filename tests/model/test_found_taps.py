"""Layers that can be compared are found in any network, by running it once."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from ablate.model.build import build_model, build_skeleton
from ablate.model.found_taps import find_taps
from ablate.model.taps import FeatureTaps, layer_names
from ablate.study.settings import ModelSettings

RESNET = ["relu", "layer1", "layer2", "layer3", "layer4"]

DENSENET = [f"features.transition{number}.conv" for number in (1, 2, 3)]


def of_torchvision(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return models.get_model(name, num_classes=5, **options)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("resnet18", RESNET),
        ("mobilenet_v2", ["features.1", "features.3", "features.6", "features.13", "features"]),
        ("squeezenet1_1", ["features.1", "features.4", "features.7", "features"]),
        ("shufflenet_v2_x0_5", ["conv1", "maxpool", "stage2", "stage3", "conv5"]),
        ("googlenet", ["conv1", "conv3", "inception3b", "inception4e", "inception5b"]),
        ("swin_t", ["features.1", "features.3", "features.5", "permute"]),
        (
            "densenet121",  # which changes the output of its last norm in place
            ["features.relu0", *DENSENET, "features.denseblock4"],
        ),
        ("vit_b_16", ["encoder"]),  # a class token does not count: one resolution
    ],
)
def test_the_last_module_of_each_resolution(name: str, paths: list[str]) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    taps = find_taps(of_torchvision(name, **options))
    assert list(taps.values()) == paths
    assert list(taps) == [f"stage{number}" for number in range(1, len(paths) + 1)]


class _Small(nn.Module):
    """Two resolutions, the second in a block, on images of one channel."""

    def __init__(self, scale: Callable[[Tensor], Tensor] = lambda images: images) -> None:
        super().__init__()
        self.first, self.drop = nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(0.5)
        self.block = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)
        self.scale, self.runs = scale, 0

    def forward(self, images: Tensor) -> Tensor:
        self.runs += 1
        sys.stdout.write("runs")
        maps = self.block(self.drop(self.first(self.scale(images))))
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits


def test_the_network_is_left_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    model = _Small().train()
    state = torch.get_rng_state()
    assert find_taps(model) == {"stage1": "block.0", "stage2": "block"}
    assert (model.runs, model.training, model.drop.training) == (0, True, True)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert capsys.readouterr().out == ""


def test_a_network_that_does_not_run_without_memory() -> None:
    model = _Small(lambda images: images * float(torch.ones(1, 1).to(images).mean()))
    with pytest.raises(RuntimeError):
        model.to("meta")(torch.zeros(1, 1, 8, 8, device="meta"))
    model = _Small(model.scale)
    assert list(find_taps(model).values()) == ["block.0", "block"]


def test_a_size_that_is_the_only_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))
    assert find_taps(model) == {"stage1": "0"}


def test_known_taps_win_if_one_has_a_map() -> None:
    model = of_torchvision("resnet18")
    assert find_taps(model, {"mine": "layer3"}) == {"mine": "layer3"}
    assert list(find_taps(model, {"vector": "fc"}).values()) == RESNET


@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4), nn.Linear(4, 2)), nn.Flatten()],
)
def test_no_map(model: nn.Module) -> None:
    assert find_taps(model) == {}


def resnet(classes: int) -> nn.Module:
    """README's own network."""
    return models.resnet18(num_classes=classes)


def tapped(classes: int) -> nn.Module:
    model = models.squeezenet1_1(num_classes=classes)
    model.taps = {"mine": "features.3"}
    return model


def test_what_a_study_builds_has_them() -> None:
    settings = ModelSettings(name=f"{__name__}:resnet", normalization="imagenet")
    model = build_model(settings, 5, (0.5,) * 3, (0.5,) * 3, seed=0)
    assert list(layer_names(model).taps.values()) == RESNET
    assert layer_names(build_skeleton(settings)).taps == layer_names(model).taps
    with FeatureTaps(model, ["stage5"]) as taps:
        model(torch.rand(2, 3, 64, 64))
    assert taps.features["stage5"].shape == (2, 512, 2, 2)
    own = build_skeleton(ModelSettings(name=f"{__name__}:tapped"))
    assert layer_names(own).taps == {"mine": "features.3"}
