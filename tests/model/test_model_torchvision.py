"""Networks of torchvision: a table that needs no torch, and the networks themselves."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model

from ablate.errors import DataError, ParameterError
from ablate.model import has_batch_norm, is_external, taps_of
from ablate.model.build import (
    LayerInfo,
    build_model,
    build_skeleton,
    check_image_size,
    describe_layers,
    own_image_size,
)
from ablate.model.inspect import has_adaptable_norm, inspect_layers, torchvision_names
from ablate.model.normalization import IMAGENET
from ablate.model.torchvision import find_weights
from ablate.study.settings import ModelSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)
FAMILIES = ("resnet18", "efficientnet_b0", "convnext_tiny", "mobilenet_v2", "mobilenet_v3_small")
LARGE = ("convnext_tiny", "efficientnet_b0", "mobilenet_v2", "resnet18")
NAMED = [name for name in torchvision_names() if taps_of(name)]
SEVERAL = ("densenet", "swin", "efficientnet", "convnext", "vit")
SMALLEST = (
    *("densenet121", "regnet_x_400mf", "regnet_y_400mf", "swin_t", "swin_v2_t", "vit_b_16"),
    *("efficientnet_b0", "efficientnet_v2_s", "convnext_tiny"),
)
LARGER = [
    name
    for name in NAMED
    if name.startswith(tuple(f"torchvision:{family}" for family in (*SEVERAL, "regnet")))
    and name.removeprefix("torchvision:") not in SMALLEST
]
"""They have the modules of the smallest in other numbers and widths; RegNets need gigabytes."""

AUXILIARY = ("torchvision:googlenet", "torchvision:inception_v3")


def settings(name: str, **others: str) -> ModelSettings:
    return ModelSettings.model_validate({"name": f"torchvision:{name}", **others})


def build(name: str, seed: int = 0, **others: str) -> torch.nn.Module:
    return build_model(settings(name, **others), 7, MEAN, STD, seed)


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in FAMILIES
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_table_has_every_network_of_the_families() -> None:
    assert len(NAMED) == 58
    assert all(is_external(name) for name in NAMED)
    assert taps_of("torchvision:resnet80") is not None, "its name alone is read"
    assert taps_of("torchvision:squeezenet1_1") is None
    assert taps_of("timm:resnet18") is None
    assert taps_of("nets:resnet18") is None


@pytest.mark.parametrize(
    "name",
    [
        name
        if name.removeprefix("torchvision:") in set(FAMILIES) - set(LARGE)
        else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(set(NAMED) - set(LARGER))
    ],
)
def test_the_table_is_what_the_network_has(name: str) -> None:
    names = inspect_layers(name)
    assert tuple(names.taps) == taps_of(name)
    assert has_adaptable_norm(name) == has_batch_norm(name)
    places = [names.modules.index(path) for path in names.taps.values()]
    assert places == sorted(places)


def test_keys_and_paths_are_the_original_networks(name: str) -> None:
    with torch.device("meta"):
        original = get_model(name, weights=None, num_classes=10)
    model = build_skeleton(settings(name))
    assert list(model.state_dict()) == list(original.state_dict())
    assert [path for path, _ in model.named_modules()] == [
        path for path, _ in original.named_modules()
    ]


@pytest.mark.parametrize(
    ("choice", "mean", "std"),
    [
        ("auto", *IMAGENET),
        ("dataset", MEAN, STD),
    ],
)
def test_images_are_normalised_inside(
    choice: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    model = build("mobilenet_v3_small", normalization=choice).eval()
    original = get_model("mobilenet_v3_small", weights=None, num_classes=7).eval()
    original.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 32, 32)
    shift, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))
    with torch.inference_mode():
        torch.testing.assert_close(model(images), original((images - shift) / scale))


@pytest.mark.parametrize(("name", "size"), [("efficientnet_b1", 240), ("vit_h_14", 224)])
def test_its_own_image_size(name: str, size: int) -> None:
    assert own_image_size(settings(name)) == size


def test_what_the_table_lacks_is_found() -> None:
    assert describe_layers(settings("squeezenet1_1"), 64) == [
        LayerInfo("stage1", "features.1", (64, 31, 31), 1),
        LayerInfo("stage2", "features.4", (128, 15, 15), 1),
        LayerInfo("stage3", "features.7", (256, 7, 7), 1),
        LayerInfo("stage4", "features", (512, 3, 3), 1),
    ]


def test_a_network_that_cannot_be_built_without_memory_is_described_all_the_same() -> None:
    """RegNet reads its widths from a tensor while it is built."""
    assert describe_layers(settings("regnet_y_400mf"), 32)[0] == LayerInfo(
        "stem", "stem", (32, 16, 16), 1
    )


@pytest.mark.slow
def test_a_size_that_the_network_does_not_take() -> None:
    for call in (
        lambda: describe_layers(settings("vit_b_16"), 32),
        lambda: check_image_size(build_skeleton(settings("vit_b_16")), "torchvision:vit_b_16", 32),
    ):
        with pytest.raises(ParameterError) as error:
            call()
        assert str(error.value) == (
            "dataset.image_size: torchvision:vit_b_16 must take images of 32 x 32, got "
            "AssertionError: Wrong image height! Expected 224 but got 32. Leave it out to use the "
            "network's own size."
        )


@pytest.mark.parametrize("call", [build, lambda name: own_image_size(settings(name))])
def test_unknown_network_suggests_the_nearest(call: object) -> None:
    with pytest.raises(ParameterError) as error:
        call("resnet19")  # type: ignore[operator]
    assert str(error.value) == (
        "model.name: must be a classification network of torchvision, got 'torchvision:resnet19'. "
        "Did you mean torchvision:resnet18?"
    )


@pytest.mark.parametrize("full", AUXILIARY)
def test_auxiliary_logits_are_left_out(full: str) -> None:
    name = full.partition(":")[2]
    with torch.device("meta"):
        model = build(name).train()
        assert model(torch.rand(2, 3, 299, 299)).shape == (2, 7)
    with pytest.raises(DataError) as error:
        find_weights(name, "DEFAULT")
    assert str(error.value) == (
        f"baseline.checkpoint: must not be torchvision's weights of {name}, got "
        "'torchvision:DEFAULT', whose network also scales its images itself (transform_input). "
        "Name a function of your own that builds it, and a file."
    )
