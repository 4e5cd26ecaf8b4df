"""The training loop: of the baseline, of the plain finetune and of every trial.

Images stay on the device as bytes. Every draw's generator is made from (seed, purpose, epoch,
step), so a resumed run has the bits of one that was never stopped, and two runs with one seed see
the same images in the same order, whatever else they use.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Images, Labels, Scalar
from ablate.errors import AblateError
from ablate.finetune.augment.combined import CombinedAugmentations
from ablate.finetune.data.dataset import Split
from ablate.finetune.environment import Environment
from ablate.finetune.loss.objective import Pair, RobustLoss
from ablate.finetune.model.taps import FeatureTaps, split_halves
from ablate.finetune.shift import flip_images, shift_images
from ablate.study.seeds import derive_seed
from ablate.study.settings import DatasetSettings, TrainingSettings

_CHECKED_STEPS = 50
"""Steps between two looks at the loss, since each look makes a GPU wait."""


class NotFiniteError(AblateError):
    """A loss or an output is NaN or infinite: the training has diverged."""


@dataclass(frozen=True)
class EpochReport:
    """What an epoch did.

    Attributes:
        epoch: epochs done, this one included.
        train_loss: mean of the objective over the steps.
        seconds: wall time.
        images: images that went forward and backward through the network, copies included.
    """

    epoch: int
    train_loss: float
    seconds: float
    images: int


class Finetuning:
    """A network in training: SGD with Nesterov momentum, the learning rate falls to 0 as a cosine.

    Args:
        model: takes images in [0, 1]; moved to the device and changed in place.
        train: images to train on; what does not fill a batch is left out of an epoch, other
            images each time.
        settings: batch size, learning rate, momentum, weight decay and seed.
        epochs: the whole budget, which the cosine spans.
        loss: the objective.
        augment: makes the augmented copies; needed where the loss reads them.
        dataset_settings: how training images are shifted and mirrored.
        environment: device and precision.

    Attributes:
        epoch: epochs done.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        settings: TrainingSettings,
        *,
        epochs: int,
        loss: RobustLoss,
        augment: CombinedAugmentations | None,
        dataset_settings: DatasetSettings,
        environment: Environment,
    ) -> None:
        device = environment.device
        self.model = _to_device(model, device)
        self.epoch = 0
        self._images = train.images.to(device)
        self._labels = train.labels.to(device)
        self._settings = settings
        self._epochs = epochs
        self._loss = loss
        self._augment = augment if loss.needs_augmented else None
        self._dataset_settings = dataset_settings
        self._environment = environment
        self._batch_size = min(settings.batch_size, len(train))
        self._steps = len(train) // self._batch_size
        self._optimizer = build_optimizer(self.model, settings)

    @property
    def student_images(self) -> int:
        """Images that went forward and backward so far, copies included."""
        return self.epoch * self._epoch_images

    @property
    def _epoch_images(self) -> int:
        copies = 1 if self._augment is None else 2
        return self._steps * self._batch_size * copies

    def run_epoch(self) -> EpochReport:
        """Train on every image once.

        Raises:
            NotFiniteError: if the loss of a step is NaN or infinite; found within 50 steps.
        """
        began = time.perf_counter()
        self.model.train()
        losses: list[float] = []
        unread: list[torch.Tensor] = []
        for step, (images, labels) in enumerate(self._batches()):
            unread.append(self._step(step, images, labels))
            if len(unread) == _CHECKED_STEPS or step + 1 == self._steps:
                losses += self._read(unread, first_step=len(losses))
                unread.clear()
        self.epoch += 1
        return EpochReport(
            epoch=self.epoch,
            train_loss=math.fsum(losses) / len(losses),
            seconds=time.perf_counter() - began,
            images=self._epoch_images,
        )

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on: tensors and plain data."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a run with the same settings."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.epoch = int(state["epoch"])

    def _batches(self) -> Iterator[tuple[ByteImages, Labels]]:
        generator = make_generator(self._seed("order"), "cpu")
        order = torch.randperm(len(self._labels), generator=generator).to(self._images.device)
        for step in range(self._steps):
            rows = order[step * self._batch_size : (step + 1) * self._batch_size]
            yield self._move(self._images[rows], step), self._labels[rows]

    def _move(self, images: ByteImages, step: int) -> ByteImages:
        padding = self._dataset_settings.crop_padding
        if padding:
            images = shift_images(images, padding, self._generator("shift", step))
        if self._dataset_settings.horizontal_flip:
            images = flip_images(images, self._generator("flip", step))
        return images

    def _step(self, step: int, batch: ByteImages, labels: Labels) -> torch.Tensor:
        progress = (self.epoch * self._steps + step) / (self._epochs * self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        images = batch.float() / 255
        if self._augment is None:
            pair = self._forward_clean(images, labels)
        else:
            augmented = self._augment(images, seed=self._seed("augment", step))
            pair = self._forward_both(images, augmented, labels)
        loss = self._loss(pair)
        self._optimizer.zero_grad()
        _backward(loss)
        self._optimizer.step()
        return loss.detach()

    def _forward_clean(self, images: Images, labels: Labels) -> Pair:
        with self._environment.autocast():
            logits = self.model(images.contiguous(memory_format=torch.channels_last))
        return Pair(logits, None, labels, {}, {})

    def _forward_both(self, images: Images, augmented: Images, labels: Labels) -> Pair:
        both = torch.cat([images, augmented]).contiguous(memory_format=torch.channels_last)
        with FeatureTaps(self.model, self._loss.layers) as taps:
            with self._environment.autocast():
                logits = self.model(both)
            return Pair(*split_halves(logits), labels, *taps.split())

    def _read(self, losses: list[torch.Tensor], *, first_step: int) -> list[float]:
        values: list[float] = torch.stack(losses).tolist()
        for step, value in enumerate(values, start=first_step):
            if not math.isfinite(value):
                raise NotFiniteError(
                    f"epoch {self.epoch + 1}, step {step + 1} of {self._steps}: the loss must be "
                    f"finite, got {value}. Lower the learning rate or the terms' weights."
                )
        return values

    def _seed(self, purpose: str, *step: int) -> int:
        return derive_seed(self._settings.seed, purpose, self.epoch, *step)

    def _generator(self, purpose: str, step: int) -> torch.Generator:
        return make_generator(self._seed(purpose, step), self._images.device)


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay on matrices and filters alone.

    Norms and biases are left out of weight decay, since there it moves the network's scale and
    does not regularise it.
    """
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
        {
            "params": [parameter for parameter in parameters if parameter.ndim <= 1],
            "weight_decay": 0,
        },
    ]
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
        fused=True,
    )


def _backward(loss: Scalar) -> None:
    # `Tensor.backward` has no types.
    torch.autograd.backward(loss)


def _to_device(model: nn.Module, device: str) -> nn.Module:
    return model.to(device)
