"""Optimisers: the steps that they take, and what weight decay leaves alone."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib import import_module

import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

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


class Attending(nn.Module):
    """What transformers have besides matrices, by the names that they give it."""

    def __init__(self) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 5, 4))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.attention_biases = nn.Parameter(torch.zeros(2, 9))
        self.logit_scale = nn.Parameter(torch.zeros(2, 1, 1))
        self.position_embeddings = nn.Embedding(5, 4)
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.word_embeddings = nn.Embedding(5, 4)
        self.mlp_tokens = nn.Linear(5, 5)
        self.pos_proj = nn.Linear(4, 4)
        self.in_proj_weight = nn.Parameter(torch.zeros(12, 4))
        self.layer_scale = nn.Parameter(torch.ones(4, 1, 1))


def decayed_matrices(model: nn.Module) -> list[str]:
    groups = build_optimizer(model, TrainingSettings(weight_decay=0.1)).param_groups
    decayed = {id(one) for group in groups if group["weight_decay"] for one in group["params"]}
    return [name for name, one in model.named_parameters() if id(one) in decayed]


def test_position_embeddings_and_tokens_have_no_weight_decay() -> None:
    assert decayed_matrices(Attending()) == [
        "in_proj_weight",
        "layer_scale",
        "word_embeddings.weight",
        "mlp_tokens.weight",
        "pos_proj.weight",
    ]


def test_a_network_says_what_has_no_weight_decay() -> None:
    model = Attending()
    model.no_weight_decay = lambda: {"in_proj_weight", "mlp_*"}  # type: ignore[assignment]
    assert decayed_matrices(model) == ["layer_scale", "word_embeddings.weight", "pos_proj.weight"]


def test_transformers_of_torchvision() -> None:
    with torch.device("meta"):
        vit = VisionTransformer(32, 8, 1, 2, 12, 24)
        swin = SwinTransformer([2, 2], 8, [1, 1], [1, 2], [4, 4])
    for model, left in (
        (vit, ["class_token", "encoder.pos_embedding"]),
        (swin, [f"features.{i}.0.attn.relative_position_bias_table" for i in (1, 3)]),
    ):
        matrices = [name for name, one in model.named_parameters() if one.ndim > 1]
        assert sorted({*matrices} - {*decayed_matrices(model)}) == left


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swinv2_tiny_window8_256", "levit_128s"])
def test_transformers_of_timm_are_decayed_as_timm_does_it(name: str) -> None:
    with torch.device("meta"):
        model = import_module("timm").create_model(name)
    _, decayed = import_module("timm.optim").param_groups_weight_decay(
        model, 0.1, no_weight_decay_list=model.no_weight_decay()
    )
    names = {id(one): name for name, one in model.named_parameters()}
    assert decayed_matrices(model) == [names[id(one)] for one in decayed["params"]]


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


def test_a_first_step_that_is_left_out_leaves_no_momentum() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(model, TrainingSettings(momentum=0.5), may_skip_steps=True)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model.weight.sum() * math.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(model.weight, before)
    assert not any("momentum_buffer" in state for state in optimizer.state.values())


@pytest.mark.slow
def test_a_training_loads_no_compiler() -> None:
    """It takes as long to load as torch, in each process that trains."""
    code = (
        "import sys, torch\n"
        "from ablate.finetune.optimizer import build_optimizer\n"
        "from ablate.model.flops import count_flops\n"
        "from ablate.study.settings import TrainingSettings\n"
        "model = torch.nn.Conv2d(3, 2, 3)\n"
        "for name in ('sgd', 'adamw'):\n"
        "    optimizer = build_optimizer(model, TrainingSettings(optimizer=name))\n"
        "    model(torch.ones(1, 3, 4, 4)).sum().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "assert count_flops(model, (3, 4, 4)).forward == 2 * 2 * 2 * 2 * 27\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "False\n"
