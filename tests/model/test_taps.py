"""Feature maps read while a network runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ablate import FeatureTaps
from ablate.errors import ParameterError
from ablate.model.build import build_model
from ablate.model.taps import layer_names, split_copies
from ablate.study.settings import ModelSettings


class Pairs(nn.Module):
    """A layer that gives two tensors, as attention layers do."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class Listed(nn.Module):
    """A layer of several resolutions."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.pairs = Pairs()
        self.listed = Listed()
        self.head = nn.Linear(6, 5)
        self.taps = {"stem": "first", "stage1": "block"}

    def forward(self, images: Tensor) -> Tensor:
        features, _ = self.pairs(self.block(self.first(images)))
        (features,) = self.listed(features)
        return self.head(features.mean((2, 3)))


@pytest.fixture
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network()


def test_outputs_come_under_the_names_asked_for(network: Network) -> None:
    images = torch.rand(2, 3, 8, 8)
    with FeatureTaps(network, ["stem", "block.0", "block"]) as taps:
        network(images)
        assert list(taps.features) == ["stem", "block.0", "block"]
        torch.testing.assert_close(taps.features["stem"], network.first(images))
        torch.testing.assert_close(taps.features["block"], taps.features["block.0"].relu())


def test_hooks_leave_with_the_context(network: Network) -> None:
    taps = FeatureTaps(network, ["stem"])
    network(torch.rand(2, 3, 8, 8))
    assert taps.features == {}
    with taps:
        network(torch.rand(3, 3, 8, 8))
    with pytest.raises(RuntimeError, match="channels"), taps:
        network(torch.rand(3, 2, 8, 8))
    network(torch.rand(4, 3, 8, 8))
    assert len(taps.features["stem"]) == 3
    assert not network.first._forward_hooks


@pytest.mark.parametrize("n", [1, 3])
def test_split_gives_a_part_a_copy(network: Network, n: int) -> None:
    images = [torch.rand(2, 3, 8, 8) for _ in range(n)]
    with FeatureTaps(network, ["stem", "stage1"]) as taps:
        network(torch.cat(images))
        parts = taps.split(n)
    assert len(parts) == n
    for part, one in zip(parts, images, strict=True):
        torch.testing.assert_close(part["stem"], network.first(one))


def test_an_average_goes_by_the_names_of_its_network(network: Network) -> None:
    average = AveragedModel(network)
    assert layer_names(average) == layer_names(network)
    with FeatureTaps(average, ["stage1", "block.0"]) as taps:
        average(torch.rand(2, 3, 8, 8))
    assert list(taps.features) == ["stage1", "block.0"]


ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.Mish)


@pytest.mark.parametrize("kind", [*ACTIVATIONS, nn.Tanh, nn.Sigmoid])
def test_before_is_what_the_last_activation_takes_in(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)  # of some weights, no activation lets a gradient through
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), kind(), nn.Conv2d(4, 4, 1), kind()))
    images = torch.rand(2, 3, 4, 4)
    with FeatureTaps(model, ["0"], "before") as taps:
        model(images)
    block = model[0]
    torch.testing.assert_close(taps.features["0"], block[2](block[1](block[0](images))))
    taps.features["0"].square().mean().backward()
    assert block[0].weight.grad.abs().max() > 0


def test_one_activation_used_twice_is_read_at_its_last_use() -> None:
    model = build_model(ModelSettings(name="resnet8"), 5, (0.5,) * 3, (0.5,) * 3, 0)
    images = torch.rand(4, 3, 8, 8)
    with FeatureTaps(model, ["stem", "stage2"], "before") as before:
        model(images)
    with FeatureTaps(model, ["stem", "stage2"]) as after:
        model(images)
    for layer, features in after.features.items():
        assert before.features[layer].min() < 0
        torch.testing.assert_close(before.features[layer].relu(), features)


@pytest.mark.parametrize(("layer", "kind"), [("stem", "Conv2d"), ("head", "Linear")])
def test_before_needs_an_activation_at_the_end(network: Network, layer: str, kind: str) -> None:
    with pytest.raises(ParameterError) as caught, FeatureTaps(network, [layer], "before"):
        network(torch.rand(2, 3, 8, 8))
    assert str(caught.value) == (
        f"layers: {layer} must end in an activation to be tapped before it, got {kind}, which does "
        "not. Tap it after, or tap the module before it."
    )


def test_only_before_and_after_are_known(network: Network) -> None:
    with pytest.raises(ParameterError) as caught:
        FeatureTaps(network, ["stem"], "during")
    assert str(caught.value) == (
        "activation: must be after or before, got 'during'. Use one of them."
    )


def test_activations_do_not_work_in_place_while_the_taps_are_open() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Dropout(0.0, inplace=True))
    images = torch.rand(2, 3, 4, 4)
    with FeatureTaps(model, ["0", "1"]) as taps:
        out = model(images)
        assert not any(module.inplace for module in model[1:])
    assert all(module.inplace for module in model[1:])
    torch.testing.assert_close(taps.features["0"], model[0](images))
    assert taps.features["0"].min() < 0
    torch.testing.assert_close(out, model(images))


class AddsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.block(images)
        out += images
        return out


@pytest.mark.parametrize(
    ("layer", "fix"),
    [("0.block.1", "Tap 0.block, which contains it."), ("0.block", "Tap 0, which contains it.")],
)
def test_a_map_that_the_network_changes_is_refused(layer: str, fix: str) -> None:
    model = nn.Sequential(AddsInPlace())
    with FeatureTaps(model, [layer]) as taps:
        model(torch.rand(2, 3, 4, 4))
    for read in (lambda: taps.features, taps.split):
        with pytest.raises(ParameterError) as caught:
            read()
        assert str(caught.value) == (
            f"layers: {layer} must keep its output to be tapped, got one that is later changed in "
            f"place. {fix}"
        )


def test_a_layer_that_does_not_run_has_no_map() -> None:
    """A `ModuleList` holds layers and is never called itself."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model[0].extra = nn.ModuleList([nn.ReLU()])
    with FeatureTaps(model, ["0", "0.extra"]) as taps:
        model(torch.rand(2, 3, 4, 4))
    assert list(taps.features) == ["0"]
    with pytest.raises(ParameterError) as caught:
        taps.split()
    assert str(caught.value) == (
        "layers: 0.extra must run in the forward pass to be tapped, got a pass without it. "
        "Tap a layer inside it, or another one."
    )


@pytest.mark.parametrize(
    ("layer", "fix"),
    [("stage2", "Did you mean stage1?"), ("nothing like it", "Known: stem, stage1.")],
)
def test_an_unknown_layer_suggests_the_nearest(network: Network, layer: str, fix: str) -> None:
    with pytest.raises(ParameterError) as caught:
        FeatureTaps(network, [layer])
    assert str(caught.value) == (
        f"layers: must be taps or module paths of Network, got {layer!r}. {fix}"
    )


def test_a_layer_must_give_a_tensor(network: Network) -> None:
    with (
        pytest.raises(ParameterError) as caught,
        FeatureTaps(network, ["listed"]),
    ):
        network(torch.rand(2, 3, 8, 8))
    assert str(caught.value) == (
        "layers: listed must return a tensor to be tapped, or a tuple that begins with one, got "
        "list. Tap a layer inside it."
    )


def test_of_a_tuple_the_first_is_the_map(network: Network) -> None:
    images = torch.rand(2, 3, 8, 8)
    with FeatureTaps(network, ["pairs", "block"]) as taps:
        network(images).sum().backward()
    assert torch.equal(taps.features["pairs"], taps.features["block"])
    assert taps.features["pairs"].requires_grad


@pytest.mark.parametrize("used", ["first", "second", "both"])
def test_split_has_the_gradient_of_chunk_in_the_maps_own_memory_format(used: str) -> None:
    batch = torch.rand(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)

    def gradient(split: Callable[[Tensor], tuple[Tensor, ...]]) -> Tensor:
        moving = batch.clone().requires_grad_()
        first, second = split(moving)
        value = (first**2).sum() * (used != "second") + (second**3).sum() * (used != "first")
        return torch.autograd.grad(value, moving)[0]

    own = gradient(lambda moving: split_copies(moving, 2))
    torch.testing.assert_close(own, gradient(lambda moving: moving.chunk(2)))
    assert own.is_contiguous(memory_format=torch.channels_last)
    alone = batch.clone().requires_grad_()
    split_copies(alone, 2)[1].square().sum().backward()
    assert alone.grad is not None
    unused, read = alone.grad.chunk(2)
    assert unused.abs().max() == 0 < read.abs().min()


@pytest.mark.parametrize("n", [2, 0])
def test_a_batch_that_does_not_fall_into_parts(n: int) -> None:
    with pytest.raises(ParameterError) as caught:
        split_copies(torch.rand(3, 2), n)
    assert str(caught.value) == (
        f"split: a batch must split into {n} equal parts, got 3 rows. Concatenate as many copies "
        "of every image."
    )
