"""A network of the user's own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ablate.errors import ParameterError
from ablate.model.build import (
    LayerInfo,
    build_model,
    check_image_size,
    describe_layers,
    own_image_size,
)
from ablate.model.taps import FeatureTaps
from ablate.study.callables import code_digest
from ablate.study.settings import ModelSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)
NET = """
from types import SimpleNamespace

import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, classes)
        self.taps = {"deep": "block"}

    def forward(self, images):
        return self.head(self.block(images).mean((2, 3)))

def plain(classes):
    return nn.Sequential(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def text(classes):
    return "a network"

def fails(classes):
    raise RuntimeError("no\\nluck")

def one_too_many(classes):
    return Net(classes + 1)

class InAttribute(Net):
    def forward(self, images):
        return SimpleNamespace(logits=super().forward(images), features=images)

class InEntry(Net):
    def forward(self, images):
        return {"features": images, "logits": super().forward(images)}

class WithAuxiliary(Net):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, -logits) if self.training else logits

class Always(Net):
    def forward(self, images):
        return (super().forward(images), images)

def grey(classes):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, classes))

class OwnDevice(Net):
    def forward(self, images):
        return super().forward(images + torch.zeros(1).to("cpu"))

def listed(classes):
    net = Net(classes)
    net.taps = ["block"]
    return net

class QuitsLater(Net):
    def forward(self, images):
        raise SystemExit(4)

class Deep(Net):
    def forward(self, images):
        if self.training:
            raise RuntimeError("boom\\nsecond line")
        return super().forward(images)

class Detached(Net):
    def forward(self, images):
        return super().forward(images).detach()

class NoParameter(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, images):
        return images.flatten(1)[:, :self.classes]

class Counting(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def forward(self, images):
        if self.training:
            self.seen += len(images)
            self.passes = self.passes + 1
        return super().forward(nn.functional.dropout(self.norm(images), 0.5, self.training))

def lazy(classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(classes))

def axis_of_none(classes):
    net = Net(classes)
    net.channel_axes = {"deep": 1, "deeper": 1}
    return net

class Grid(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.grid = None

    def forward(self, images):
        if self.grid is None:
            self.grid = torch.linspace(0.5, 1.5, images.shape[-1])
        return self.head((self.block(images) * self.grid).mean((2, 3)))

class Deep3d(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.depth = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, images):
        return super().forward(self.depth(images[:, None])[:, 0])

def wrong_path(classes):
    net = Net(classes)
    net.taps = {"deep": "block", "deeper": "block.7"}
    return net
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "own_nets.py").write_text(NET)
    return tmp_path


@pytest.fixture
def build(base: Path) -> Callable[..., torch.nn.Module]:
    def made(name: str, seed: int = 0) -> torch.nn.Module:
        settings = ModelSettings(name=f"own_nets:{name}")
        return build_model(settings, 5, MEAN, STD, seed, base=base)

    return made


Build = Callable[..., torch.nn.Module]


@pytest.mark.parametrize("name", ["Net", "plain"])
def test_it_takes_images_of_0_to_1(build: Build, name: str) -> None:
    """The data set's statistics, since nobody says what the network was made for."""
    model = build(name)
    images = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(model(images), model.forward((images - mean) / std))
    assert not [key for key in model.state_dict() if "image" in key]
    copied = copy.deepcopy(model)
    assert torch.equal(copied(images), model(images))
    if name == "plain":
        assert torch.equal(pickle.loads(pickle.dumps(model))(images), model(images))


def test_its_taps_are_aliases(build: Build, base: Path) -> None:
    with FeatureTaps(build("Net"), ["deep"], "before") as taps:
        build("Net")
    settings = ModelSettings(name="own_nets:Net")
    assert taps.features == {}
    assert describe_layers(settings, base=base) == [LayerInfo("deep", "block", (4, 32, 32), 1)]
    assert own_image_size(settings) is None


def test_a_network_that_needs_memory_to_run_is_described(base: Path) -> None:
    settings = ModelSettings(name="own_nets:OwnDevice")
    assert describe_layers(settings, 8, base=base) == [LayerInfo("deep", "block", (4, 8, 8), 1)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "text",
            "own_nets:text must return a torch.nn.Module, got str. Return a new network in each "
            "call.",
        ),
        (
            "fails",
            "own_nets:fails must return a network when called with classes=5, "
            "got RuntimeError: no luck. Fix it.",
        ),
        (
            "lazy",
            "own_nets:lazy must return a network whose weights have shapes, got 1.weight of a lazy "
            "layer. Give that layer its input size.",
        ),
        (
            "listed",
            "the attribute taps of own_nets:listed must be a dict of name -> module path of the "
            "network, got list. Use paths from named_modules().",
        ),
        (
            "wrong_path",
            "the attribute taps of own_nets:wrong_path must be a dict of name -> module path of "
            "the network, got 'deeper': 'block.7'. Use paths from named_modules().",
        ),
        (
            "axis_of_none",
            "the attribute channel_axes of own_nets:axis_of_none must be a dict of tap or module "
            "path -> axis of the channels, a whole number, got 'deeper': 1. Count the batch as "
            "axis 0.",
        ),
    ],
)
def test_what_is_no_network(build: Build, name: str, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        build(name)
    assert str(error.value) == f"model.name: {message}"


@pytest.mark.parametrize("name", ["InAttribute", "InEntry"])
def test_logits_are_taken_out_of_what_has_them(build: Build, name: str) -> None:
    images = torch.rand(2, 3, 8, 8)
    model = build(name)
    check_image_size(model, name, 8)
    assert torch.equal(model(images), build("Net")(images))


def test_auxiliary_logits_of_training_are_left_out(build: Build) -> None:
    images = torch.rand(2, 3, 8, 8)
    model = build("WithAuxiliary")
    check_image_size(model, "own_nets:WithAuxiliary", 8)
    assert torch.equal(model.train()(images), build("Net")(images))
    with pytest.raises(ParameterError, match="got tuple in eval mode"):
        build("Always").eval()(images)


def test_a_network_for_other_channels(build: Build) -> None:
    with pytest.raises(ParameterError) as error:
        check_image_size(build("grey"), "own_nets:grey", 8)
    assert str(error.value) == (
        "model.name: own_nets:grey must take images of 3 channels (grey ones have three that are "
        "equal), got a first convolution that takes 1. Put a convolution from 3 channels before "
        "it, or give it images[:, :1]."
    )


@pytest.mark.parametrize("mode", ["training", "eval"])
def test_what_comes_out_must_be_logits(build: Build, mode: str) -> None:
    with pytest.raises(ParameterError) as error:
        build("one_too_many").train(mode == "training")(torch.rand(2, 3, 8, 8))
    assert str(error.value) == (
        "model.name: own_nets:one_too_many must return logits of shape (images, classes) = (2, 5) "
        f"as one tensor, got shape (2, 6) in {mode} mode. Return only logits, or choose another "
        "network."
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Deep",
            "model.name: own_nets:Deep must run in training mode on 2 images of 8 x 8, got "
            "RuntimeError: boom second line. Fix it, or name another network.",
        ),
        (
            "Detached",
            "model.name: own_nets:Detached must return differentiable logits, got logits without a "
            "gradient in training mode. Remove detach() and no_grad().",
        ),
        (
            "NoParameter",
            "model.name: own_nets:NoParameter must have trainable weights, got NoParameter without "
            "a parameter that requires a gradient. Add one, or choose another network.",
        ),
        (
            "QuitsLater",
            "dataset.image_size: own_nets:QuitsLater must take images of 8 x 8, got SystemExit: 4. "
            "Leave it out to use the network's own size.",
        ),
    ],
)
def test_what_cannot_be_trained(build: Build, name: str, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        check_image_size(build(name), f"own_nets:{name}", 8)
    assert str(error.value) == message


def test_the_look_in_training_mode_changes_nothing(build: Build) -> None:
    model = build("Counting").eval()
    before = {key: value.clone() for key, value in model.named_buffers()}
    random = torch.get_rng_state()
    check_image_size(model, "own_nets:Counting", 8)
    after = dict(model.named_buffers())
    assert after.keys() == before.keys()
    assert len(after) > 5
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in model.modules())
    assert all(weight.grad is None for weight in model.parameters())
    model.train()(torch.zeros(2, 3, 8, 8))
    assert model.seen == 2
    assert model.passes == 1


@pytest.mark.parametrize("name", ["Grid", "Deep3d"])
def test_a_network_may_keep_a_tensor_and_have_weights_of_any_rank(build: Build, name: str) -> None:
    model = build(name)
    check_image_size(model, f"own_nets:{name}", 8)
    model.train()(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert model.block[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_its_code_is_told_apart(base: Path) -> None:
    one = code_digest("model.name", "own_nets:Net", base)
    assert one == code_digest("model.name", "own_nets:plain", base)
    (base / "own_nets.py").write_text(NET + "\n")
    assert code_digest("model.name", "own_nets:Net", base) != one
    assert code_digest("model.name", "builtins:len", base) == ""
