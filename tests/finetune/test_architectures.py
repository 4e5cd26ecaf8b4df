"""Every family of networks is finetuned with a distance that reads channels."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate import FeatureTaps
from ablate.data.dataset import Split
from ablate.errors import ParameterError
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss.fma import check_layers
from ablate.finetune.loss.objective import build_loss
from ablate.model import tap_paths
from ablate.model import timm as timm_networks
from ablate.model.environment import resolve_environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    AugmentSettings,
    BudgetSettings,
    DatasetSettings,
    LossSettings,
    Study,
    TrainingSettings,
)

CLASSES = 4

# The smallest networks that each library's own classes build, for images of 32 x 32: the published
# ones need minutes here.  Channels are those asked for.


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 3, 2, 12, 24, num_classes=CLASSES)


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([2, 2], 8, [1] * 4, [1, 1, 2, 2], [4, 4], num_classes=CLASSES)


def densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(4, (1, 1, 1, 1), 8, num_classes=CLASSES)


def regnet() -> nn.Module:
    from torchvision.models.regnet import BlockParams, RegNet

    sizes = BlockParams([1] * 4, [8, 16, 24, 32], [8] * 4, [1.0] * 4, [2] * 4)
    return RegNet(sizes, num_classes=CLASSES, stem_width=16)


def efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    sizes = [(16, 8, 1), (8, 16, 2), (16, 24, 2)]
    blocks = [MBConvConfig(2, 3, stride, *both, 1) for *both, stride in sizes]
    return EfficientNet(blocks, 0.1, num_classes=CLASSES)


def convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    sizes = [(8, 12), (12, 16), (16, 20), (20, None)]
    return ConvNeXt([CNBlockConfig(*both, 1) for both in sizes], num_classes=CLASSES)


def mobilenet() -> nn.Module:
    from torchvision.models import MobileNetV2

    sizes = [[1, 8, 1, 1], [2, 16, 1, 2], [2, 24, 1, 2], [2, 32, 1, 2], [2, 40, 1, 2]]
    return MobileNetV2(CLASSES, inverted_residual_setting=sizes)


def timm(name: str, **sizes: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model: nn.Module = import_module("timm").create_model(name, num_classes=CLASSES, **sizes)
        return model

    return make


FAMILIES: dict[str, tuple[Callable[[], nn.Module], list[int]]] = {
    "vit_b_16": (vit, [12] * 4),
    "swin_t": (swin, [8, 8, 16, 32, 64]),
    "densenet121": (densenet, [8, 12, 10, 9, 8]),
    "regnet_x_400mf": (regnet, [16, 8, 16, 24, 32]),
    "efficientnet_b0": (efficientnet, [16, 8, 16, 24]),
    "convnext_tiny": (convnext, [8, 8, 12, 16, 20]),
    "mobilenet_v2": (mobilenet, [32, 8, 16, 24, 32, 40]),
    "timm vit": (
        timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=12, num_heads=2),
        [12, 12],
    ),
    "timm swin": (
        timm(
            "swin_tiny_patch4_window7_224",
            img_size=32,
            patch_size=2,
            window_size=4,
            embed_dim=8,
            depths=(1,) * 4,
            num_heads=(1, 1, 2, 2),
        ),
        [8, 16, 32, 64],
    ),
    "timm efficientnet": (timm("efficientnet_lite0"), [16, 24, 40, 112, 320]),
    "timm convnext": (
        timm("convnext_atto", depths=(1,) * 4, dims=(8, 12, 16, 20)),
        [8, 12, 16, 20],
    ),
}


def build(name: str) -> nn.Module:
    """With the taps that the family has under its name in a study."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[name][0]()
    if name.startswith("timm"):
        model.taps = timm_networks.listed_taps(model)  # type: ignore[assignment]
    elif name in ("efficientnet_b0", "mobilenet_v2"):  # of fewer blocks than the published ones
        stages = range(len(model.features) - 1)  # type: ignore[arg-type]
        model.taps = {f"stage{i}" if i else "stem": f"features.{i}" for i in stages}  # type: ignore[assignment]
    else:
        paths, modules = tap_paths(f"torchvision:{name}"), dict(model.named_modules())
        model.taps = {tap: path for tap, path in paths.items() if path in modules}  # type: ignore[assignment]
    return model


def make_split() -> Split:
    images = torch.randint(256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return Split(images.to(torch.uint8), torch.arange(4) % CLASSES, "made here")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_finetuned_by_its_channels(name: str) -> None:
    model, channels = build(name), FAMILIES[name][1]
    taps = layer_names(model).taps
    with FeatureTaps(model, list(taps)) as reading, torch.no_grad():
        model(make_split().images.float() / 255)
    assert not reading.features.unplaced
    assert [features.shape[1] for features in reading.features.values()] == channels
    environment = resolve_environment("fp32", threads=1, device="cpu", compile_mode=False)
    loss = {"terms": "fma", "fma": {"distance": "unit", "anchor": "both"}}
    run = Finetuning(
        model,
        make_split(),
        TrainingSettings(batch_size=4, learning_rate=0.01),
        budget=BudgetSettings(epochs=1),
        loss=build_loss(LossSettings.model_validate(loss), layer_names(model)),
        augment=build_augmentation(AugmentSettings()),
        dataset_settings=DatasetSettings(name="digits"),
        environment=environment,
    )
    first = next(model.parameters())
    before: Tensor = first.detach().clone()
    assert run.run_epoch().train_loss > 0
    assert bool(torch.isfinite(first).all())
    assert not torch.equal(first, before)


class TokensFirst(nn.Module):
    """A transformer in torch's own layout: (token, image, channel)."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch(images).flatten(2).permute(2, 0, 1)
        found: Tensor = self.head(self.block(tokens).mean(0))
        return found


def test_a_layer_must_give_maps_of_images() -> None:
    def study(layer: str) -> Study:
        return Study.model_validate(
            {
                "version": 1,
                "name": "tokens",
                "dataset": {"name": "digits"},
                "model": {"name": "resnet8"},
                "loss": {"terms": "clean+fma", "fma": {"layers": [layer]}},
            }
        )

    images = torch.rand(3, 3, 16, 16)
    check_layers(TokensFirst(), images, study("patch"))
    with pytest.raises(ParameterError) as caught:
        check_layers(TokensFirst(), images, study("block"))
    assert str(caught.value) == (
        "loss.fma.layers: block must give maps with the images first, got (16, 8, 4) for 4 images "
        "(a transformer without batch_first gives tokens first). Choose another layer."
    )


def test_maps_near_0_are_no_reference() -> None:
    settings = {"version": 1, "name": "small", "dataset": {"name": "digits"}}
    fma = {"layers": ["patch"]}
    study = Study.model_validate(
        {**settings, "model": {"name": "resnet8"}, "loss": {"terms": "clean+fma", "fma": fma}}
    )
    network = TokensFirst()
    with torch.no_grad():
        network.patch.weight.mul_(1e-5)
        network.patch.bias.zero_()  # type: ignore[union-attr]
    with pytest.raises(ParameterError) as caught:
        check_layers(network, torch.rand(3, 3, 16, 16), study)
    text = str(caught.value)
    assert text.startswith("loss.fma.layers: relative divides by the size of a feature map, which ")
    assert "e-05 of patch. Leave patch out, choose distance: cosine, or check" in text
    cosine = study.with_values({"loss.fma.distance": "cosine"})
    check_layers(network, torch.rand(3, 3, 16, 16), cosine)
