"""Optimisers: the steps that they take, and what weight decay leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ablate.finetune.optimizer import build_optimizer
from ablate.study.settings import TrainingSettings


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)


def make_model() -> Small:
    torch.manual_seed(0)
    return Small()


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One step on a loss whose gradient is another one for each value."""
    optimizer.zero_grad()
    loss = sum((parameter - 1).pow(4).sum() for parameter in model.parameters())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_have_no_weight_decay(name: str) -> None:
    model = make_model()
    settings = TrainingSettings.model_validate({"optimizer": name, "weight_decay": 0.1})
    optimizer = build_optimizer(model, settings)
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(decay) == len(list(model.parameters()))
    for parameter_name, parameter in model.named_parameters():
        filters = parameter_name in ("filters.weight", "head.weight")
        assert decay[id(parameter)] == (0.1 if filters else 0)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_takes_torchs_own_steps(name: str) -> None:
    settings = TrainingSettings.model_validate(
        {"optimizer": name, "learning_rate": 0.02, "weight_decay": 0.1, "momentum": 0.8}
    )
    model, reference = make_model(), make_model()
    groups = [
        {"params": [p for p in reference.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in reference.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    plain: torch.optim.Optimizer = (
        torch.optim.SGD(groups, lr=0.02, momentum=0.8, nesterov=True)
        if name == "sgd"
        else torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.999))
    )
    optimizer = build_optimizer(model, settings)
    for _ in range(4):
        step(model, optimizer)
        step(reference, plain)
    for ours, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)


def test_nesterov_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    settings = TrainingSettings(learning_rate=0.5, momentum=0.5, weight_decay=0.0)
    optimizer = build_optimizer(model, settings)
    for expected in (1 - 0.5 * 1.5, 1 - 0.5 * 1.5 - 0.5 * 1.75):
        optimizer.zero_grad()
        model.weight.sum().backward()
        optimizer.step()
        assert model.weight.item() == pytest.approx(expected)


def test_no_momentum_is_plain_sgd() -> None:
    model = nn.Linear(1, 1, bias=False)
    settings = TrainingSettings(momentum=0.0, weight_decay=0.0, learning_rate=0.5)
    optimizer = build_optimizer(model, settings)
    before = model.weight.detach().clone()
    model.weight.sum().backward()
    optimizer.step()
    assert torch.allclose(model.weight, before - 0.5)


def test_the_first_step_of_adamw_by_hand() -> None:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 2.0)
    settings = TrainingSettings(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    step(model, build_optimizer(model, settings))
    # Adam's first step has the learning rate's length; decay takes lr * decay of the weight.
    assert model.weight.item() == pytest.approx(2 - 0.1 * 0.5 * 2 - 0.1)
    assert model.bias.item() == pytest.approx(2 - 0.1)
