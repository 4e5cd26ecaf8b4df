"""A pass with bundled conversions and counts has the bits of one under autocast alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from ablate.model.bundled import BundledPasses
from ablate.model.environment import Environment


class Odd(nn.Module):
    """Weights that are used in every way but the usual one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.norm, self.average = nn.BatchNorm2d(6), nn.BatchNorm2d(6, momentum=None)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.read = nn.Linear(6, 6)
        self.exact = nn.Linear(6, 6)
        self.bounded = parametrizations.weight_norm(nn.Linear(6, 6))
        self.embedding = nn.Embedding(4, 6)
        self.tied = nn.Linear(6, 4, bias=False)
        self.tied.weight = self.embedding.weight

    def forward(self, images: Tensor) -> Tensor:
        maps = self.average(self.norm(self.first(images)))
        maps = self.twice(functional.relu(self.twice(maps)))
        vectors = functional.linear(maps.mean((2, 3)), self.read.weight.square())
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = self.exact(vectors.float())
        logits: Tensor = self.tied(self.bounded(vectors) + self.embedding.weight.mean(0))
        return logits


def state_after(model: nn.Module, run: Any, passes: int = 3) -> dict[str, Tensor]:
    """Outputs, gradients and buffers after some steps."""
    found: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(passes):
        optimizer.zero_grad()
        images = torch.rand(5, 3, 8, 8, generator=generator)
        with run():
            logits = model(images)
        logits.float().square().sum().backward()
        optimizer.step()
        found[f"logits {step}"] = logits.detach()
    found |= {
        f"gradient {name}": p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    return found | {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("frozen", [(), ("first", "twice"), ("",)])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_bits_are_those_of_autocast(precision: Any, frozen: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    environment = Environment("cpu", precision, 1, torch.__version__, "made here")
    model = Odd()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) or name.startswith("tied"))
    model.tied.weight.requires_grad_()
    other = copy.deepcopy(model)
    names = {id(one) for one in model.parameters()}
    bundled = BundledPasses(model, environment)
    own, plain = state_after(model, bundled), state_after(other, environment.autocast)
    assert own.keys() == plain.keys()
    assert [name for name in own if not torch.equal(own[name], plain[name])] == []
    assert {id(one) for one in model.parameters()} == names
    if precision == "bf16":
        converted = {layer for layer, _ in bundled._weights or ()}
        assert converted == {model.first, model.twice}


def test_a_pass_that_fails_leaves_the_network_as_it_was() -> None:
    environment = Environment("cpu", "bf16", 1, torch.__version__, "made here")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    bundled = BundledPasses(model, environment)
    for _ in range(2):
        with bundled():
            model(torch.rand(2, 3, 3, 3))
    with pytest.raises(RuntimeError), bundled():
        model(torch.rand(2, 3, 5, 5))
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    assert isinstance(model[1].num_batches_tracked, Tensor)
    assert int(model[1].num_batches_tracked) == 3  # as torch counts it: the norm did run
