"""Which axis of a feature map is the channel: found in a network, or said by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlock

from ablate import FeatureTaps, FMALoss
from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES


class Tokens(nn.Module):
    """Patches as (batch, token, channel), as a vision transformer has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images).flatten(2).transpose(1, 2)


class Move(nn.Module):
    """(batch, channel, height, width) as (batch, height, width, channel)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1)


class Beside(nn.Module):
    """Two maps side by side: no module in it has as many channels as its output."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.one(features), self.other(features)], 1)


class Excitation(nn.Module):
    """Squeeze and excitation, with linear layers that read vectors."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, squeezed), nn.Linear(squeezed, width)

    def forward(self, features: Tensor) -> Tensor:
        scale = self.up(self.down(features.mean((2, 3))).relu()).sigmoid()
        return features * scale[:, :, None, None]


def convolutional() -> nn.Module:
    """Of images of 16 x 16; its squeezed vectors are as long as its maps are wide."""
    block = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    last = nn.Sequential(nn.Conv2d(12, 8, 1), nn.ReLU())
    return nn.Sequential(block, Beside(), Excitation(12, 16), last, Beside())


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True)
    return nn.Sequential(Tokens(12), nn.Dropout(0.0), layer, nn.LayerNorm(12), nn.Linear(12, 5))


def windows() -> nn.Module:
    """As Swin has them."""
    mlp = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))
    patches = nn.Sequential(nn.Conv2d(3, 12, 4, 4), Move(), nn.LayerNorm(12))
    return nn.Sequential(patches, nn.Sequential(nn.LayerNorm(12), mlp), nn.Dropout(0.0))


FOUND: list[tuple[Callable[[], nn.Module], str, int, int]] = [
    (convolutional, "0.2", 1, 8),
    (convolutional, "1", 1, 12),
    (convolutional, "2", 1, 12),
    (convolutional, "4", 1, 12),
    (transformer, "0.patches", 1, 12),
    (transformer, "1", 2, 12),
    (transformer, "2", 2, 12),
    (transformer, "4", 2, 5),
    (windows, "0.0", 1, 12),
    (windows, "0.1", 3, 12),
    (windows, "1.1", 3, 12),
    (windows, "2", 3, 12),
]


def read(model: nn.Module, layer: str, side: int = 16) -> tuple[FeatureTaps, Tensor]:
    """The taps after a pass, and what the layer itself returned."""
    returned: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *both: returned.append(both[2]))
    with FeatureTaps(model.train(), [layer]) as taps:
        model(torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)))
    hook.remove()
    return taps, returned[0]


@pytest.mark.parametrize(("make", "layer", "axis", "channels"), FOUND)
def test_the_axis_is_found(
    make: Callable[[], nn.Module], layer: str, axis: int, channels: int
) -> None:
    taps, returned = read(make(), layer)
    features = taps.features[layer]
    assert not taps.features.unplaced
    assert features.shape[1] == returned.shape[axis] == channels
    assert torch.equal(features, returned.movedim(axis, 1))
    if axis == 1:
        assert features is returned


def test_a_block_that_moves_the_channels_and_back_is_known_where_both_axes_fit() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), CNBlock(8, 1.0, 0.0))
    taps, returned = read(model, "1", side=8)
    assert returned.shape == (2, 8, 8, 8)
    assert taps.features["1"] is returned


def ambiguous() -> nn.Module:
    """A map of 4 x 4 x 4, with a module for either axis."""
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 4, 4), Move(), nn.LayerNorm(4)))


def unheard_of() -> nn.Module:
    """Tokens that come from no module with a known number of channels."""
    return nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Flatten(2))


@pytest.mark.parametrize("make", [ambiguous, unheard_of])
@pytest.mark.parametrize("distance", DISTANCES)
def test_an_unknown_axis_is_refused_where_channels_are_read(
    make: Callable[[], nn.Module], distance: str
) -> None:
    model = make()
    layer = "0" if make is ambiguous else "1"
    images = torch.rand(6, 3, 16, 16)
    with FeatureTaps(model, [layer]) as taps:
        model(images)
    maps = taps.split()
    assert maps[0].unplaced == {layer}
    if not DISTANCES[distance].reads_channels:
        assert FMALoss(distance)(*maps) > 0
        return
    with pytest.raises(ParameterError) as caught:
        FMALoss(distance)(*maps)
    assert str(caught.value) == (
        f"loss.fma.distance: {distance} needs the channel axis of {layer}, which is not known, got "
        f"a map {list(maps[0][layer].shape)}. Give the network a dict channel_axes, "
        f"{{{layer!r}: axis}}, or choose one of relative, mse, l1, cosine, cka, invariance."
    )


@pytest.mark.parametrize("axis", [3, -1, 1])
@pytest.mark.parametrize("name", ["early", "0"])
def test_the_network_says_the_axis(name: str, axis: int) -> None:
    model = ambiguous()
    model.taps = {"early": "0"}
    model.channel_axes = {name: axis}
    with FeatureTaps(model, ["early"]) as taps:
        output = model(torch.rand(4, 3, 16, 16))
    clean, distorted = taps.split()
    assert torch.equal(clean["early"], output[:2].movedim(axis, 1))
    assert FMALoss("unit")(clean, distorted) > 0


@pytest.mark.parametrize("axis", [0, 4, -4])
def test_an_axis_that_the_map_does_not_have(axis: int) -> None:
    model = ambiguous()
    model.channel_axes = {"0": axis}
    taps, _ = read(model, "0")
    with pytest.raises(ParameterError) as caught:
        taps.split()
    assert str(caught.value) == (
        "channel_axes.0: must be an axis of the feature map after the batch, got "
        f"{axis} for [2, 4, 4, 4]. Count the batch as axis 0, or from the end, -1."
    )
