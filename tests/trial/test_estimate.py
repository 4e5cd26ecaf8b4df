"""What a trial will cost, and the networks that cannot be trained at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ablate.errors import ParameterError
from ablate.model.environment import Environment
from ablate.study.settings import Study
from ablate.trial.estimate import estimate_training, estimate_trial
from ablate.trial.workbench import Workbench

NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.head = nn.Linear(4, classes)

    def forward(self, images):
        return self.head(self.conv(images).mean((2, 3)))

class Deep(Net):
    def forward(self, images):
        if self.training:
            raise RuntimeError("boom\\nsecond line")
        return super().forward(images)

def grey(classes):
    return Net(classes, channels=1)
"""


def bench(folder: Path, environment: Environment, model: str, image_size: int = 16) -> Workbench:
    (folder / "estimated_nets.py").write_text(NETS)
    study = Study.model_validate(
        {
            "version": 1,
            "name": "estimate",
            "dataset": {"name": "digits", "image_size": image_size},
            "model": {"name": model},
            "loss": {"terms": "clean"},
            "robustness": {"severities": [1]},
            "finetune": {"batch_size": 4, "budget": {"epochs": 2}},
        }
    )
    return Workbench(study, folder, folder / "cache", environment)


def test_a_trial_of_a_network_from_elsewhere(tmp_path: Path, environment: Environment) -> None:
    found = estimate_trial(bench(tmp_path, environment, "estimated_nets:Net"))
    assert found.train_images > found.validation_images > 0
    assert found.train_seconds > found.step_seconds > 0
    assert found.state_bytes > 0
    assert found.train_images - 4 < found.seen_images <= found.train_images


def test_a_budget_of_fewer_images_than_there_are(tmp_path: Path, environment: Environment) -> None:
    made = bench(tmp_path, environment, "resnet8")
    study = made.study.with_values({"finetune.budget": {"images": 40}})
    assert estimate_training(made, study).seen_images == 40


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5"])
def test_maps_of_random_weights_are_as_large_as_trained_ones(
    tmp_path: Path, environment: Environment, name: str
) -> None:
    """A fixed anchor with untrained batch norm has maps of 2e-5, and `relative` explodes."""
    made = bench(tmp_path, environment, f"torchvision:{name}", 32)
    values = {
        "loss.terms": "clean+da+fma",
        "loss.fma.anchor": "pretrained",
        "finetune.batch_size": 16,
    }
    study = made.study.with_values(values)
    assert estimate_training(made, study).step_seconds > 0


def test_the_given_weights_are_timed(tmp_path: Path, environment: Environment) -> None:
    made = bench(tmp_path, environment, "estimated_nets:Net")
    given = made.build_baseline()
    images: list[torch.Tensor] = []
    given.register_forward_pre_hook(lambda network, _: images.append(network.conv.weight.clone()))
    before = given.conv.weight.clone()
    estimate_trial(made, given)
    assert torch.equal(images[0], before)
    assert torch.equal(given.conv.weight, before)


@pytest.mark.parametrize(
    ("model", "start", "end"),
    [
        (
            "estimated_nets:grey",
            "model.name: estimated_nets:grey must take images of 3 channels (grey ones have three ",
            " Put a convolution from 3 channels before it, or give it images[:, :1].",
        ),
        (
            "estimated_nets:Deep",
            "model.name: estimated_nets:Deep must run in training mode on 2 images of 8 x 8, got ",
            "RuntimeError: boom second line. Fix it, or name another network.",
        ),
    ],
)
def test_a_network_that_these_images_do_not_fit(
    tmp_path: Path, environment: Environment, model: str, start: str, end: str
) -> None:
    with pytest.raises(ParameterError) as error:
        estimate_trial(bench(tmp_path, environment, model, 8))
    text = str(error.value)
    assert text.startswith(start)
    assert text.endswith(end)
    assert "\n" not in text
