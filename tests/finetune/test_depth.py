"""Layer-wise learning rates and frozen stages: what learns, how fast, and what stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import ResNet, VisionTransformer
from torchvision.models.resnet import BasicBlock

from ablate.errors import ParameterError
from ablate.finetune.depth import LearningParts, rate_factors
from ablate.finetune.loop import Finetuning
from ablate.finetune.optimizer import build_optimizer, set_learning_rate
from ablate.model.build import build_model
from ablate.model.flops import count_flops
from ablate.study.settings import ModelSettings, TrainingSettings
from tests.finetune.test_training_options import bits, finish, make_run

STAGES = ("stem", "stage1", "stage2", "stage3", "classifier")


def make_network() -> nn.Module:
    return build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0)


def test_factors_fall_by_one_power_for_each_tap_below_the_head() -> None:
    model = make_network()
    factors = rate_factors(model, 0.5)
    assert list(factors) == [name for name, _ in model.named_parameters()]
    for name, factor in factors.items():
        assert factor == 0.5 ** (4 - STAGES.index(name.partition(".")[0]))


def test_what_stands_before_a_tap_is_in_its_group() -> None:
    """The stem of torchvision's ResNet is tapped at its ReLU, which has no parameters."""
    with torch.device("meta"):
        model = ResNet(BasicBlock, [1, 1, 1, 1])
    model.taps = {"stem": "relu", **{f"stage{i}": f"layer{i}" for i in range(1, 5)}}  # type: ignore[assignment]
    factors = rate_factors(model, 0.1)
    expected = {"conv1": 5, "bn1": 5, "layer1": 4, "layer2": 3, "layer3": 2, "layer4": 1, "fc": 0}
    for name, factor in factors.items():
        assert factor == pytest.approx(0.1 ** expected[name.partition(".")[0]])
    LearningParts(model, TrainingSettings(frozen=("stem",)))
    frozen = {name for name, one in model.named_parameters() if not one.requires_grad}
    assert frozen == {"conv1.weight", "bn1.weight", "bn1.bias"}


def test_a_network_without_taps_is_divided_into_its_modules() -> None:
    """A class token is at the bottom; modules without parameters do not count."""
    with torch.device("meta"):
        model = VisionTransformer(32, 8, 1, 2, 12, 24)
    factors = rate_factors(model, 0.5)
    assert factors["class_token"] == factors["conv_proj.weight"] == 0.25
    assert {factors[name] for name in factors if name.startswith("encoder.")} == {0.5}
    assert factors["heads.head.weight"] == 1
    flat = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    rates = rate_factors(flat, 0.5)
    assert [rates[f"{i}.bias"] for i in (0, 2, 4)] == [0.25, 0.5, 1]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_steps_are_torchs_with_a_rate_for_each_group(name: str) -> None:
    settings = TrainingSettings.model_validate(
        {
            "optimizer": name,
            "weight_decay": 0.1,
            "schedule": "constant",
            "learning_rate": 0.02,
            "layer_decay": 0.5,
        }
    )
    models = [nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    groups: list[dict[str, Any]] = [
        {"params": [layer.weight, layer.bias][place : place + 1], "lr": rate, "weight_decay": decay}
        for layer, rate in ((models[1][0], 0.01), (models[1][2], 0.02))
        for place, decay in ((0, 0.1), (1, 0.0))
    ]
    plain: torch.optim.Optimizer = (
        torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        if name == "sgd"
        else torch.optim.AdamW(groups)
    )
    optimizer = build_optimizer(models[0], settings)
    for progress in (0.0, 0.3, 0.6):
        set_learning_rate(optimizer, settings, progress)
        for model, one in zip(models, (optimizer, plain), strict=True):
            one.zero_grad()
            model(torch.ones(4, 2)).square().sum().backward()
            one.step()
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs)


def changed(run: Finetuning, before: dict[str, torch.Tensor]) -> set[str]:
    after = bits(run._student)
    return {name for name in after if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize("option", [{}, {"ema_decay": 0.5, "gradient_clipping": 1.0}])
def test_frozen_stages_keep_weights_and_statistics(option: dict[str, Any]) -> None:
    run = make_run(frozen=["stem", "stage1.0.conv1", "stage2"], budget={"epochs": 1}, **option)
    before = bits(run._student)
    finish(run)
    moved = changed(run, before)
    still = ("stem.", "stage1.0.conv1.", "stage2.", "normalize.")
    assert moved == {name for name in before if not name.startswith(still)}
    assert {name for name in before if name.startswith(still)} >= {"stem.1.running_mean"}
    average = bits(run.model)
    assert all(torch.equal(average[name], before[name]) for name in set(before) - moved)


def test_frozen_stages_cost_less() -> None:
    """FLOPs are those of the passes that are made: no gradient goes below what learns."""
    frozen = make_run({"terms": "clean"}, frozen=["stem", "stage1", "stage2"], budget={"epochs": 1})
    finish(frozen)
    model = make_network()
    whole = count_flops(model, (3, 8, 8))
    LearningParts(model, TrainingSettings(frozen=("stem", "stage1", "stage2")))
    each = count_flops(model, (3, 8, 8))
    assert whole.forward == each.forward < each.training < 0.8 * whole.training
    assert frozen.work.train_flops == each.training * frozen.work.student_images
    budget = {"flops": each.training * 64}
    assert (
        make_run(
            {"terms": "clean"}, frozen=["stem", "stage1", "stage2"], budget=budget
        ).budget.steps
        == 4
    )


def test_what_a_network_keeps_from_learning_stays_so() -> None:
    model = make_network()
    model.get_submodule("stage3").requires_grad_(False)
    run = make_run(model=model, frozen=["stem"], budget={"epochs": 1})
    before = bits(model)
    finish(run)
    assert {name.partition(".")[0] for name in changed(run, before) if name.endswith("weight")} == {
        "stage1",
        "stage2",
        "classifier",
    }


@pytest.mark.parametrize(
    ("frozen", "loss", "message"),
    [
        (
            ["stage9"],
            {},
            "finetune.frozen: must be taps, module paths or patterns of parameters of the model, "
            "got 'stage9'. Did you "
            "mean stage3?",
        ),
        (
            ["stem", "stage1"],
            {"terms": "fma", "fma": {"layers": ["stem"]}},
            "finetune.frozen: a term must reach a layer that learns, got ['stem', 'stage1']. "
            "Remove one, or change loss.terms or loss.fma.layers.",
        ),
    ],
)
def test_what_cannot_learn_is_refused(
    frozen: Sequence[str], loss: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        make_run(loss, frozen=list(frozen)).run_epoch()
    assert str(caught.value) == message
