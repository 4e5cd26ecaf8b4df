"""What is said of a network whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from ablate.data.dataset import Split
from ablate.errors import NotFiniteError
from ablate.errors.device import OutOfMemoryError
from ablate.model.build import build_model
from ablate.model.environment import Environment
from ablate.robustness.score import score_images, score_set
from ablate.study.settings import ModelSettings


class Reader(nn.Module):
    """Says the class that the first pixel spells: grey level 10 * class."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spelt = images[:, 0, 0, 0].mul(25.5).round().long()
        return nn.functional.one_hot(spelt, self.classes).float()


def spell(classes: list[int]) -> torch.Tensor:
    images = torch.zeros(len(classes), 3, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(classes) * 10
    return images


def split_of(classes: list[int], labels: list[int] | None = None) -> Split:
    return Split(spell(classes), torch.tensor(labels or classes), "made here")


@dataclass(frozen=True)
class Copies:
    """Corrupted copies that a test spells out, in blocks of a size of its own."""

    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    labels: torch.Tensor
    images: Mapping[tuple[str, int], torch.Tensor]
    block: int = 3
    identity: str = "made here"
    marks: tuple[str, ...] = ()

    def blocks(self, kind: str, severity: int) -> Iterator[torch.Tensor]:
        yield from self.images[kind, severity].split(self.block)


COPIES = Copies(
    {"blur": ("defocus",), "noise": ("white",)},
    (1, 4),
    torch.tensor([0, 1, 2, 3]),
    {
        ("defocus", 1): spell([0, 1, 2, 3]),
        ("defocus", 4): spell([0, 1, 0, 0]),
        ("white", 1): spell([1, 2, 3, 0]),
        ("white", 4): spell([3, 3, 3, 3]),
    },
)


@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_each_image_is_right_or_wrong_whatever_the_batches(
    environment: Environment, batch_size: int | None
) -> None:
    clean = split_of([0, 1, 2, 0], [0, 1, 2, 3])
    found = score_set(Reader(), clean, COPIES, environment, batch_size=batch_size)
    assert found.clean is not None
    assert found.clean.correct.tolist() == [True, True, True, False]
    assert found.clean.accuracy == 0.75
    correct = {cell: outcomes.correct.tolist() for cell, outcomes in found.cells.items()}
    assert correct == {
        ("defocus", 1): [True, True, True, True],
        ("defocus", 4): [True, True, False, False],
        ("white", 1): [False, False, False, False],
        ("white", 4): [False, False, False, True],
    }
    assert list(correct) == list(COPIES.images)


def test_confidence_is_the_probability_of_the_answer(environment: Environment) -> None:
    found = score_images(Reader(), split_of([0, 1]), environment)
    assert found.confidence.dtype == np.float32
    # Logits are 1 and three times 0.
    assert found.confidence == pytest.approx([math.e / (math.e + 3)] * 2)


def test_the_label_is_among_the_five_most_likely(environment: Environment) -> None:
    class Ranks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return -torch.arange(8.0).expand(len(images), 8)

    found = score_images(Ranks(), split_of([0] * 8, list(range(8))), environment)
    assert found.correct.tolist() == [True] + [False] * 7
    assert found.correct_top5 is not None
    assert found.correct_top5.tolist() == [True] * 5 + [False] * 3


def test_it_scores_in_eval_mode_and_restores_the_mode(
    environment: Environment, split: Split
) -> None:
    model = build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    together = score_images(model, split, environment)
    alone = score_images(model, split, environment, batch_size=1)
    assert together.correct.tolist() == alone.correct.tolist()
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


class Hungry(nn.Module):
    """A network that needs more memory than there is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.new_empty(2**60)


def test_memory_that_runs_out_says_what_helps(environment: Environment, split: Split) -> None:
    with pytest.raises(OutOfMemoryError, match=r"^score: a batch of images must fit into memory"):
        score_images(Hungry(), split, environment)


def test_an_output_that_is_not_finite_is_raised(environment: Environment, split: Split) -> None:
    class Diverged(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 4), math.inf)

    with pytest.raises(NotFiniteError) as error:
        score_images(Diverged(), split, environment)
    assert str(error.value) == (
        "score: every logit must be finite, got NaN or infinity on the images as they are. The "
        "training diverged; lower finetune.learning_rate."
    )


def test_the_copies_with_such_an_output_are_named(environment: Environment) -> None:
    class Dark(Reader):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) / (images[:, 0, 0, :1] < 0.1)

    with pytest.raises(NotFiniteError) as error:
        score_set(Dark(), None, COPIES, environment, where="evaluate", fix="Use fp32.")
    assert str(error.value) == (
        "evaluate: every logit must be finite, got NaN or infinity on defocus 1, white 1, white "
        "4. Use fp32."
    )
