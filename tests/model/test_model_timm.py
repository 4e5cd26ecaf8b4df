"""Networks of timm, which is an extra."""

from __future__ import annotations

import sys

import pytest

from ablate.errors import MissingDependencyError, ParameterError
from ablate.model.build import (
    build_model,
    build_skeleton,
    describe_layers,
    own_image_size,
    own_statistics,
)
from ablate.model.taps import layer_names
from ablate.study.settings import ModelSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)


def settings(name: str) -> ModelSettings:
    return ModelSettings(name=f"timm:{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("resnet18", ["stem", "stage1", "stage2", "stage3", "stage4"]),
        ("efficientnet_b0", ["stage1", "stage2", "stage3", "stage4", "stage5"]),
        ("vit_tiny_patch16_224", [f"stage{i}" for i in range(1, 13)]),
        ("swin_tiny_patch4_window7_224", ["stage1", "stage2", "stage3", "stage4"]),
    ],
)
def test_feature_levels_are_taps(name: str, taps: list[str]) -> None:
    model = build_skeleton(settings(name))
    names = layer_names(model)
    assert list(names.taps) == taps
    assert set(names.taps.values()) <= set(names.modules)
    layers = describe_layers(settings(name), 224 if "_224" in name else 64)
    assert [layer.name for layer in layers] == taps
    channels = {level["module"]: level["num_chs"] for level in model.feature_info}  # type: ignore[union-attr]
    for layer in layers:
        assert layer.channel_axis is not None
        assert layer.shape[layer.channel_axis - 1] == channels[layer.module]


@pytest.mark.slow
def test_size_and_statistics_are_its_own() -> None:
    assert own_image_size(settings("inception_v3")) == 299
    assert own_statistics(settings("vit_tiny_patch16_224")) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet18x",
            "model.name: must be a network of timm, got 'timm:resnet18x'. "
            "Did you mean timm:resnet18?",
        ),
        (
            "resnet18.a1_in2k",
            "model.name: must name weights that timm has for resnet18, got "
            "'timm:resnet18.a1_in2k'. Did you mean a1_in1k?",
        ),
    ],
)
def test_unknown_names_suggest_the_nearest(name: str, message: str) -> None:
    for call in (
        lambda: build_model(settings(name), 5, MEAN, STD, 0),
        lambda: own_image_size(settings(name)),
    ):
        with pytest.raises(ParameterError) as error:
            call()
        assert str(error.value) == message


def test_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError) as error:
        build_model(settings("resnet18"), 5, MEAN, STD, 0)
    assert str(error.value) == (
        "model.name: 'timm:resnet18' needs timm, which is not installed. "
        "Run pip install 'ablate-robustness[timm]'."
    )
