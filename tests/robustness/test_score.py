"""Accuracies of a network whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ablate.errors import NotFiniteError
from ablate.finetune.data.dataset import Split
from ablate.finetune.environment import Environment
from ablate.finetune.model.build import build_model
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.score import predict_classes, score
from ablate.study.settings import ModelSettings


class Reader(nn.Module):
    """Says the class that the first pixel spells: grey level 10 * class."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spelt = images[:, 0, 0, 0].mul(25.5).round().long()
        return nn.functional.one_hot(spelt, 4).float()


def spell(classes: list[int]) -> torch.Tensor:
    images = torch.zeros(len(classes), 3, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(classes) * 10
    return images


def test_accuracies_are_the_shares_of_right_answers(environment: Environment) -> None:
    split = Split(spell([0, 1, 2, 0]), torch.tensor([0, 1, 2, 3]), "made here")
    cells = [[[0, 1, 2, 3], [0, 1, 0, 0]], [[1, 2, 3, 0], [3, 3, 3, 3]]]
    images = torch.stack([torch.stack([spell(cell) for cell in row]) for row in cells])
    evaluation_set = EvaluationSet(("blur", "noise"), (1, 4), images)
    clean_accuracy, accuracies = score(Reader(), split, evaluation_set, environment)
    assert clean_accuracy == 0.75
    assert accuracies == {"blur": {"1": 1.0, "4": 0.5}, "noise": {"1": 0.0, "4": 0.25}}


def test_many_batches_keep_their_order(environment: Environment) -> None:
    classes = [number % 4 for number in range(700)]
    assert predict_classes(Reader(), spell(classes), environment).tolist() == classes


@pytest.mark.parametrize("training", [True, False])
def test_it_scores_in_eval_mode_and_restores_the_mode(
    environment: Environment, split: Split, training: bool
) -> None:
    model = build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0).train(
        training
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = predict_classes(model, split.images, environment)
    alone = [predict_classes(model, image[None], environment) for image in split.images]
    assert torch.equal(first, torch.cat(alone))
    assert model.training is training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_output_that_is_not_finite_is_raised(
    environment: Environment, split: Split, value: float
) -> None:
    model = build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0)
    with torch.no_grad():
        model.classifier.bias[1] = value
    with pytest.raises(NotFiniteError) as error:
        predict_classes(model, split.images, environment)
    assert str(error.value) == (
        "score: every logit must be finite, got NaN or infinity. The training has diverged: "
        "lower finetune.learning_rate."
    )
    assert model.training
