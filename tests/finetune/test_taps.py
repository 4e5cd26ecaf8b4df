"""Feature maps read while a network runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ablate import CombinedAugmentations, FeatureTaps, FMALoss, StabilityLoss
from ablate.errors import ParameterError
from ablate.finetune.model.taps import split_halves


class Pairs(nn.Module):
    """A layer that gives two tensors, as attention layers do."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.pairs = Pairs()
        self.head = nn.Linear(6, 5)
        self.taps = {"stem": "first", "stage1": "block"}

    def forward(self, images: Tensor) -> Tensor:
        features, _ = self.pairs(self.block(self.first(images)))
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


def test_the_latest_forward_counts(network: Network) -> None:
    with FeatureTaps(network, ["stage1"]) as taps:
        network(torch.rand(2, 3, 8, 8))
        network(torch.rand(4, 3, 8, 8))
        assert taps.features["stage1"].shape == (4, 6, 8, 8)


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


def test_gradient_reaches_the_network(network: Network) -> None:
    with FeatureTaps(network, ["stage1"]) as taps:
        network(torch.rand(2, 3, 8, 8))
        taps.features["stage1"].square().mean().backward()
    assert network.first.weight.grad is not None
    assert network.first.weight.grad.abs().max() > 0


def test_split_gives_both_halves(network: Network) -> None:
    clean, distorted = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    with FeatureTaps(network, ["stem", "stage1"]) as taps:
        network(torch.cat([clean, distorted]))
        first, second = taps.split()
    assert list(first) == list(second) == ["stem", "stage1"]
    torch.testing.assert_close(first["stem"], network.first(clean))
    torch.testing.assert_close(second["stem"], network.first(distorted))


@pytest.mark.parametrize("used", ["first", "second", "both"])
def test_split_has_the_gradient_of_chunk_in_the_maps_own_memory_format(used: str) -> None:
    batch = torch.rand(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)

    def gradient(split: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        moving = batch.clone().requires_grad_()
        first, second = split(moving)
        value = (first**2).sum() * (used != "second") + (second**3).sum() * (used != "first")
        return torch.autograd.grad(value, moving)[0]

    def one_half(moving: Tensor) -> Tensor:
        return (split_halves(moving)[used == "second"] ** 2).sum()

    own = gradient(split_halves)
    torch.testing.assert_close(own, gradient(lambda moving: moving.chunk(2)))
    assert own.is_contiguous(memory_format=torch.channels_last)
    alone = batch.clone().requires_grad_()
    one_half(alone).backward()
    assert alone.grad is not None
    used_rows, other_rows = alone.grad.chunk(2)[:: -1 if used == "second" else 1]
    assert used_rows.abs().min() > 0
    assert other_rows.abs().max() == 0


def test_an_odd_batch_has_no_halves() -> None:
    with pytest.raises(ParameterError) as caught:
        split_halves(torch.rand(3, 2))
    assert str(caught.value) == (
        "split: a batch of clean and augmented images must be even, got 3 rows. "
        "Concatenate one copy per image."
    )


BAD_LAYERS = [
    ("stage2", "Did you mean stage1?"),
    ("block.2", "Did you mean block.1?"),
    ("nothing like it", "Known: stem, stage1."),
    ("", "Known: stem, stage1."),
]


@pytest.mark.parametrize(("layer", "fix"), BAD_LAYERS)
def test_an_unknown_layer_suggests_the_nearest(network: Network, layer: str, fix: str) -> None:
    with pytest.raises(ParameterError) as caught:
        FeatureTaps(network, [layer])
    assert str(caught.value) == (
        f"layers: must be taps or module paths of Network, got {layer!r}. {fix}"
    )


def test_without_aliases_the_children_are_listed() -> None:
    with pytest.raises(ParameterError) as caught:
        FeatureTaps(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), ["stem"])
    assert str(caught.value) == (
        "layers: must be taps or module paths of Sequential, got 'stem'. Known: 0, 1."
    )


def test_a_layer_must_give_a_tensor(network: Network) -> None:
    with (
        pytest.raises(ParameterError) as caught,
        FeatureTaps(network, ["pairs"]),
    ):
        network(torch.rand(2, 3, 8, 8))
    assert str(caught.value) == (
        "layers: pairs must return a tensor to be tapped, got tuple. Tap a layer inside it."
    )


def test_a_loop_of_ones_own_brings_clean_and_distorted_closer(network: Network) -> None:
    images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32) % 5
    augment, fma, st = CombinedAugmentations(), FMALoss(), StabilityLoss(anchor="clean")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    values = []
    for _ in range(20):
        with FeatureTaps(network, ["stem", "stage1"]) as taps:
            logits = network(torch.cat([images, augment(images, seed=1)]))
        clean, distorted = logits.chunk(2)
        maps = fma(*taps.split())
        classified = nn.functional.cross_entropy(clean, labels)
        loss = classified + 10 * maps + 0.1 * st(clean, distorted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(maps.item())
    assert values[-1] < 0.9 * values[0]
