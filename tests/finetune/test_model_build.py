"""One contract over every network, and the layers that it names."""

from __future__ import annotations

import pytest
import torch

from ablate.errors import ParameterError
from ablate.finetune.model import MODELS, TAPS, build
from ablate.finetune.model.build import LayerInfo, build_model, describe_layers, model_taps

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_listed_is_built() -> None:
    assert set(build._BUILDERS) == set(MODELS)


def test_taps_are_listed_as_the_model_has_them(name: str) -> None:
    model = build_model(name, 10, MEAN, STD, seed=0)
    assert tuple(model_taps(model)) == TAPS[name]
    modules = dict(model.named_modules())
    assert all(path in modules for path in model_taps(model).values())


def test_images_of_any_size_become_logits(name: str) -> None:
    model = build_model(name, 7, MEAN, STD, seed=0)
    for side in (8, 32, 33):
        assert model(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_weights_follow_the_seed_and_leave_the_random_state(name: str) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (build_model(name, 10, MEAN, STD, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for key, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[key])
    assert not torch.equal(one.stem[0].weight, other.stem[0].weight)


def test_normalisation_is_part_of_the_network(name: str) -> None:
    plain = build_model(name, 10, (0.0,) * 3, (1.0,) * 3, seed=0).eval()
    model = build_model(name, 10, MEAN, STD, seed=0).eval()
    images = torch.rand(4, 3, 16, 16)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    assert torch.allclose(model(images), plain((images - mean) / std), atol=1e-5)
    assert torch.equal(model.state_dict()["normalize.mean"].flatten(), torch.tensor(MEAN))


def test_every_weight_gets_a_gradient(name: str) -> None:
    model = build_model(name, 10, MEAN, STD, seed=0)
    model(torch.rand(4, 3, 16, 16)).square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_signal_keeps_its_size_through_the_stages() -> None:
    model = build_model("resnet20", 10, MEAN, STD, seed=0)
    logits = model(torch.rand(64, 3, 32, 32))
    assert 0.1 < logits.std() < 10


@pytest.mark.parametrize(("name", "layers"), [("resnet8", 8), ("resnet20", 20)])
def test_depth_is_in_the_name(name: str, layers: int) -> None:
    model = build_model(name, 10, MEAN, STD, seed=0)
    deep = [
        path
        for path, module in model.named_modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) and "shortcut" not in path
    ]
    assert len(deep) == layers


def test_layers_are_described_with_their_shapes() -> None:
    assert describe_layers("resnet8", image_size=32) == [
        LayerInfo("stem", "stem", (16, 32, 32)),
        LayerInfo("stage1", "stage1", (16, 32, 32)),
        LayerInfo("stage2", "stage2", (32, 16, 16)),
        LayerInfo("stage3", "stage3", (64, 8, 8)),
    ]


def test_taps_are_not_changed_by_the_layers_after_them(name: str) -> None:
    model = build_model(name, 10, MEAN, STD, seed=0)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_module: object, _inputs: object, output: torch.Tensor) -> None:
        seen.append((output, output.detach().clone()))

    for module in model.modules():
        module.register_forward_hook(keep)
    model(torch.rand(2, 3, 16, 16))
    assert len(seen) > 20
    assert all(torch.equal(output, copy) for output, copy in seen)


def test_unknown_network_suggests_the_nearest() -> None:
    with pytest.raises(ParameterError) as error:
        build_model("resnet80", 10, MEAN, STD, seed=0)
    assert str(error.value) == (
        "model.name: must be a known network, got 'resnet80'. Did you mean resnet8?"
    )
