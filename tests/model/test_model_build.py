"""One contract over every own network, and the layers that it names."""

from __future__ import annotations

import pytest
import torch

from ablate.errors import ParameterError
from ablate.model import MODELS, TAPS, build, is_external, taps_of
from ablate.model.build import LayerInfo, describe_layers, own_image_size
from ablate.model.normalization import IMAGENET
from ablate.model.taps import layer_names
from ablate.study.settings import ModelSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)


def build_model(
    name: str,
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
    **settings: str,
) -> torch.nn.Module:
    model = ModelSettings.model_validate({"name": name, **settings})
    return build.build_model(model, classes, mean, std, seed)


@pytest.fixture(
    scope="module",
    params=[
        name if name in ("resnet8", "wrn-16-2") else pytest.param(name, marks=pytest.mark.slow)
        for name in MODELS
    ],
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(name: str) -> torch.nn.Module:
    """Each of them once, as the largest takes long to build."""
    return build_model(name, 10, MEAN, STD, seed=0)


@pytest.fixture
def model(network: torch.nn.Module) -> torch.nn.Module:
    """In training mode, without gradients."""
    network.zero_grad()
    return network.train()


def test_taps_are_listed_as_the_model_has_them(name: str, model: torch.nn.Module) -> None:
    names = layer_names(model)
    assert tuple(names.taps) == TAPS == taps_of(name)
    assert set(names.taps.values()) <= set(names.modules)
    assert not is_external(name)


def test_images_of_any_size_become_logits(model: torch.nn.Module) -> None:
    for side in (8, 9, 16):
        assert model(torch.rand(2, 3, side, side)).shape == (2, 10)


def test_weights_follow_the_seed_and_leave_the_random_state(
    name: str, model: torch.nn.Module
) -> None:
    state = torch.random.get_rng_state()
    same, other = (build_model(name, n, MEAN, STD, seed=seed) for n, seed in ((10, 0), (7, 2)))
    assert torch.equal(torch.random.get_rng_state(), state)
    for weight, again in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(weight, again)
    assert not torch.equal(next(model.parameters()), next(other.parameters()))
    assert other(torch.rand(2, 3, 8, 8)).shape == (2, 7)


def test_normalisation_is_part_of_the_network(name: str, model: torch.nn.Module) -> None:
    plain = build_model(name, 10, (0.0,) * 3, (1.0,) * 3, seed=0).eval()
    images = torch.rand(4, 3, 16, 16)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    plain.load_state_dict(
        {key: one for key, one in model.state_dict().items() if "normalize" not in key},
        strict=False,
    )
    assert torch.allclose(model.eval()(images), plain((images - mean) / std), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "mean", "std"),
    [
        ("auto", MEAN, STD),
        ("dataset", MEAN, STD),
        ("imagenet", *IMAGENET),
        ("none", (0.0,) * 3, (1.0,) * 3),
    ],
)
def test_normalisation_is_the_one_asked_for(
    choice: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    state = build_model("resnet8", 10, MEAN, STD, seed=0, normalization=choice).state_dict()
    assert torch.equal(state["normalize.mean"].flatten(), torch.tensor(mean))
    assert torch.equal(state["normalize.std"].flatten(), torch.tensor(std))


def test_imagenets_statistics_are_of_three_channels() -> None:
    with pytest.raises(ParameterError) as error:
        build_model("resnet8", 10, (0.5,), (0.2,), seed=0, normalization="imagenet")
    assert str(error.value) == (
        "model: resnet8 with normalization imagenet needs images of 3 channels, got 1. Use "
        "normalization: dataset and a network with that many channels."
    )


def test_weights_of_a_seed_stay_what_they_were() -> None:
    """Cached baselines and seeds of old studies mean the same networks."""
    sums = {
        name: float(
            sum(
                weight.detach().double().abs().sum()
                for weight in build_model(name, 10, MEAN, STD, 7).parameters()
            )
        )
        for name in ("resnet8", "resnet20")
    }
    assert sums == pytest.approx(
        {"resnet8": 4769.402876358552, "resnet20": 15461.632424580275}, rel=1e-9
    )


def test_layers_are_described_with_their_shapes() -> None:
    model = ModelSettings(name="resnet8")
    assert own_image_size(model) == 32
    assert (
        describe_layers(model)
        == describe_layers(model, 32)
        == [
            LayerInfo("stem", "stem", (16, 32, 32), 1),
            LayerInfo("stage1", "stage1", (16, 32, 32), 1),
            LayerInfo("stage2", "stage2", (32, 16, 16), 1),
            LayerInfo("stage3", "stage3", (64, 8, 8), 1),
        ]
    )


def test_unknown_network_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as error:
        build_model("resnet80", 10, MEAN, STD, seed=0)
    assert str(error.value) == (
        "model.name: must be a known network, got 'resnet80'. Did you mean resnet8?"
    )
