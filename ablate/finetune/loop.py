"""The training loop of the baseline, the plain finetune and every trial.

Every random generator is derived from (seed, purpose, epoch, step), so a resumed run has the same
bits as an uninterrupted one, and two runs with one seed see the same images in the same order,
regardless of other settings.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import torch
from torch import nn

from ablate.data.dataset import TrainingImages
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Images, Labels
from ablate.errors import NotFiniteError, ParameterError
from ablate.errors.device import within_memory
from ablate.finetune.augment.augmentation import Augmentation
from ablate.finetune.budget import Budget, Work
from ablate.finetune.depth import LearningParts
from ablate.finetune.forward import BatchNormMode, Forward, flip_images, shift_images
from ablate.finetune.lora import add_adapters, merged
from ablate.finetune.loss.clean import label_factor
from ablate.finetune.loss.objective import RobustLoss
from ablate.finetune.loss.term import scaled
from ablate.finetune.optimizer import (
    RunningAverage,
    balance_gradients,
    build_optimizer,
    set_learning_rate,
)
from ablate.model.environment import Environment
from ablate.model.flops import ImageFlops, count_flops
from ablate.model.modes import drawing_modules, kept_mode, own_generators, seed_generators
from ablate.study.seeds import derive_seed
from ablate.study.settings import (
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    TrainingSettings,
)

_CHECKED_STEPS = 50
"""Steps between two checks of the loss, because each check makes a GPU wait."""


@dataclass(frozen=True)
class EpochReport:
    """The report of an epoch.

    Attributes:
        epoch: epochs done, including this one.
        epochs: of the complete budget; None if it is limited by time.
        train_loss: mean of the objective over the steps.
        seconds: wall time.
        images: number of images in forward and backward passes of the network, including copies.
    """

    epoch: int
    epochs: int | None
    train_loss: float
    seconds: float
    images: int


class Finetuning:
    """A network in training.

    Args:
        model: takes images in [0, 1]; moved to the device and changed in place.
        train: images to train on; what does not fill a batch is left out of an epoch, other
            images each time.
        settings: batch size, optimiser, schedule, seed, which parts of the network learn, and how
            fast.
        budget: when it ends; the schedule spans it.
        loss: the objective.
        augment: makes the augmented copies; needed where the loss reads them.
        dataset_settings: how training images are shifted and mirrored.
        environment: device, precision and compilation.
        batch_norm: see `Forward`.

    Attributes:
        epoch: epochs done.
        step: steps done in the epoch under way; 0 between two epochs.
        epoch_seconds: wall time of these steps.
        train_seconds: wall time of the steps so far.

    Raises:
        ParameterError: if the objective does not fit the network or the batch size.
    """

    def __init__(
        self,
        model: nn.Module,
        train: TrainingImages,
        settings: TrainingSettings,
        *,
        budget: BudgetSettings,
        loss: RobustLoss,
        augment: Augmentation | None,
        dataset_settings: DatasetSettings,
        environment: Environment,
        batch_norm: BatchNormMode = "joint",
    ) -> None:
        device = environment.device
        self.epoch = 0
        self.epoch_seconds = 0.0
        self.train_seconds = 0.0
        self._steps = 0
        self._losses: list[float] = []
        self._under_way: Iterator[tuple[int, ByteImages, Labels]] | None = None
        self._section = "finetune" if isinstance(settings, FinetuneSettings) else "baseline"
        self._probe_fraction = settings.probe_fraction
        probe_rate = settings.probe_learning_rate or settings.learning_rate
        self._probe_settings = settings.model_copy(update={"learning_rate": probe_rate})
        self._student = model.to(device)
        if device != "cpu" and all(weight.ndim != 5 for weight in model.parameters()):
            # As the images are; else a GPU rearranges each filter in each pass, and its gradient.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._probe_steps = 0
        self._probing: bool | None = None
        self._has_adapters = settings.lora.rank > 0
        if self._has_adapters:
            seed = derive_seed(settings.seed, "adapters")
            add_adapters(self._student, settings.lora, seed, self._section)
        self._learning = LearningParts(self._student, settings, self._section)
        self._train = train
        self._placed = train.place(device)
        self._settings = settings
        self._loss = loss
        self._augment = augment if loss.needs_augmented else None
        self._dataset_settings = dataset_settings
        self._environment = environment
        self._batch_size = min(settings.batch_size, len(train))
        self._accumulation_steps = min(settings.accumulation_steps, self._batch_size)
        loss.check_batch(self._batch_size // self._accumulation_steps)
        self._teachers: dict[str, nn.Module] = {}
        copied = merged if self._has_adapters else copy.deepcopy
        for anchor in loss.teachers:
            self._teachers[anchor] = (
                RunningAverage(self._student, loss.teacher_decay)
                if anchor == "ema"
                else copied(self._student).eval().requires_grad_(False)
            )
        still: Sequence[nn.Module] = ()
        if self._section == "finetune":
            black = torch.zeros(2, *self._image_shape, device=device)
            still = drawing_modules(self._student, black)
        self._forward = Forward(
            self._student, loss, environment, batch_norm, self._teachers, still=still
        )
        self._factors: dict[str, float] = {}
        self._optimizer = build_optimizer(
            self._student, settings, may_skip_steps=environment.precision == "fp16"
        )
        self._scaler = torch.amp.GradScaler(device, enabled=environment.precision == "fp16")
        decay = settings.ema_decay
        self._average = None if decay is None else RunningAverage(self._student, decay)
        self.budget = Budget.of(
            budget,
            epoch_steps=len(train) // self._batch_size,
            step_images=self._batch_size * self._views_per_image,
            step_flops=self._mean_step_flops,
        )

    @property
    def model(self) -> nn.Module:
        """The current network: the average of its weights, if there is one; with adapters a copy,
        in whose weights they are."""
        network = self._student if self._average is None else self._average.module
        return merged(network) if self._has_adapters else network

    @property
    def step(self) -> int:
        return len(self._losses)

    @property
    def done(self) -> bool:
        """Whether the budget is spent and its last epoch reported."""
        return not self.step and self.budget.progress(self._steps, self.train_seconds) >= 1

    @property
    def work(self) -> Work:
        """What the epochs done took."""
        return self._work_of(self._steps, self._probe_steps)

    @property
    def final_work(self) -> Work | None:
        """What the whole budget takes; None if the clock ends it."""
        if (steps := self.budget.steps) is None:
            return None
        points = (self.budget.progress(step, 0.0) for step in range(steps))
        return self._work_of(steps, sum(progress < self._probe_fraction for progress in points))

    def _work_of(self, steps: int, probe_steps: int) -> Work:
        every, probing = self._image_flops
        images = steps * self._batch_size
        flops = (steps - probe_steps) * self._step_flops(every.training)
        flops += probe_steps * self._step_flops(probing.training)
        return Work(images * self._views_per_image, images * len(self._teachers), flops)

    def _mean_step_flops(self) -> int:
        """Floating point operations of a step, in the mean over probing and finetuning."""
        every, probing = self._image_flops
        share = self._probe_fraction
        return self._step_flops(round(share * probing.training + (1 - share) * every.training))

    def _step_flops(self, training: int) -> int:
        """Of student and teachers in a step, where training on an image costs so many."""
        teachers = self._image_flops[0].forward * len(self._teachers)
        return self._batch_size * (training * self._views_per_image + teachers)

    @cached_property
    def _image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self._train.take(torch.arange(1)).resident().images.shape[1:]
        return channels, height, width

    @cached_property
    def _image_flops(self) -> tuple[ImageFlops, ImageFlops]:
        """Where all parts learn, and where the last layer is probed; counted once, if asked for."""
        shape = self._image_shape
        with kept_mode(self._student):
            self._learning.set_learning(probing=self._probe_fraction > 0)
            probing = count_flops(self._student, shape)
            self._learning.set_learning()  # as it was: another training of this network may follow
            every = count_flops(self._student, shape) if self._probe_fraction else probing
        self._probing = None
        return every, probing

    @property
    def _views_per_image(self) -> int:
        """How often an image goes through the student in a step."""
        copies = 0 if self._augment is None else len(self._augment.copy_weights)
        return copies + self._forward.reads_clean

    @overload
    def run_epoch(self) -> EpochReport: ...
    @overload
    def run_epoch(self, pause: Callable[[], bool] | None) -> EpochReport | None: ...

    def run_epoch(self, pause: Callable[[], bool] | None = None) -> EpochReport | None:
        """Train on every image once, or on fewer if the budget ends.

        Args:
            pause: called after every step except an epoch's last; returns whether to stop there.
                The next call continues with the following step.

        Returns:
            The report of the epoch; None if it was paused.

        Raises:
            NotFiniteError: if the loss of a step is NaN or infinite; found within 50 steps.
            OutOfMemoryError: naming the batch size.
            ParameterError: if batch norm gets a single value per channel.
        """
        began = time.perf_counter()
        self._probing = None
        unread: list[torch.Tensor] = []
        steps, device = self._epoch_steps, self._environment.device
        pass_images = self._batch_size * self._views_per_image // self._accumulation_steps
        paused = False
        self._under_way = self._under_way or self._batches(self.step, steps)
        failures = explained_failures(self._section, self._batch_size, pass_images)
        with failures, own_generators(device):
            for step, images, labels in self._under_way:
                elapsed = self.train_seconds + time.perf_counter() - began
                seed_generators(self._seed("network", step), device)
                unread.append(self._step(step, images, labels, elapsed))
                if len(unread) == _CHECKED_STEPS:
                    self._read(unread)
                elapsed = self.train_seconds + time.perf_counter() - began
                if step + 1 == steps or self.budget.progress(self._steps + step + 1, elapsed) >= 1:
                    break
                paused = pause is not None and pause()
                if paused:
                    break
            self._read(unread)
        seconds = time.perf_counter() - began
        self.train_seconds += seconds
        self.epoch_seconds += seconds
        return None if paused else self._end_epoch()

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to continue: tensors and plain data."""
        return {
            "epoch": self.epoch,
            "steps": self._steps,
            "losses": self._losses,
            "epoch_seconds": self.epoch_seconds,
            "train_seconds": self.train_seconds,
            "factors": self._factors,
            "probe_steps": self._probe_steps,
            "model": self._student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "averages": {name: module.state_dict() for name, module in self._followers().items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a run with the same settings."""
        self._student.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        for name, module in self._followers().items():
            module.load_state_dict(state["averages"][name])
        self.epoch = int(state["epoch"])
        self._losses = list(state["losses"])
        self.epoch_seconds = float(state["epoch_seconds"])
        self._under_way = None
        self.train_seconds = float(state["train_seconds"])
        self._steps = int(state["steps"])
        self._factors = dict(state["factors"])
        self._probe_steps = int(state["probe_steps"])

    @property
    def _epoch_steps(self) -> int:
        whole, steps = self.budget.epoch_steps, self.budget.steps
        return whole if steps is None else min(whole, max(1, steps - self._steps))

    def _followers(self) -> dict[str, nn.Module]:
        """The networks that follow the student, and so belong to the state."""
        found = {name: module for name, module in self._teachers.items() if name == "ema"}
        return found if self._average is None else {**found, "weights": self._average}

    def _end_epoch(self) -> EpochReport:
        losses, self._losses = self._losses, []
        seconds, self.epoch_seconds = self.epoch_seconds, 0.0
        self._under_way = None
        self.epoch += 1
        self._steps += len(losses)
        return EpochReport(
            epoch=self.epoch,
            epochs=self.budget.epochs,
            train_loss=math.fsum(losses) / len(losses),
            seconds=seconds,
            images=len(losses) * self._batch_size * self._views_per_image,
        )

    def _batches(self, first: int, steps: int) -> Iterator[tuple[int, ByteImages, Labels]]:
        """Steps from `first` to the epoch's last, each with its images and labels."""
        generator = make_generator(self._seed("order"), "cpu")
        order = torch.randperm(len(self._train), generator=generator)
        order = order[first * self._batch_size : steps * self._batch_size]
        batches = self._placed.batches(order, self._batch_size, seed=self._seed("crop"))
        padding, device = self._dataset_settings.crop_padding, self._environment.device
        for step, (stored, labels) in enumerate(batches, start=first):
            images = stored
            if padding:
                generator = make_generator(self._seed("shift", step), device)
                images = shift_images(images, padding, generator)
            if self._dataset_settings.horizontal_flip:
                images = flip_images(images, make_generator(self._seed("flip", step), device))
            yield step, images, labels

    def _step(self, step: int, batch: ByteImages, labels: Labels, elapsed: float) -> torch.Tensor:
        progress = self.budget.progress(self._steps + step, elapsed)
        share = self._probe_fraction
        probing = progress < share
        if probing is not self._probing:
            self._forward.prepare()
            self._learning.set_learning(probing=probing)
            self._probing = probing
        has_only_probed = 0 < self._probe_steps == self._steps + step
        if has_only_probed and not probing:
            self._optimizer.state.clear()  # finetuning starts anew, with no momentum of one layer
        self._probe_steps += probing
        # Probing and finetuning have a whole schedule each.
        schedule_progress = progress / share if probing else (progress - share) / (1 - share)
        scheduled = self._probe_settings if probing else self._settings
        set_learning_rate(self._optimizer, scheduled, schedule_progress)
        images = batch / 255
        copies: tuple[Images, ...] = ()
        if self._augment is not None:
            copies = self._augment.copies(images, seed=self._seed("augment", step))
        self._optimizer.zero_grad()
        loss = self._backward(images, copies, labels)
        clipping = self._settings.gradient_clipping
        if clipping is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._student.parameters(), clipping)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        for follower in self._followers().values():
            follower.update_parameters(self._student)  # type: ignore[operator]
        return loss

    def _backward(self, images: Images, copies: Sequence[Images], labels: Labels) -> torch.Tensor:
        """The gradient of a step, chunk by chunk; the objective, without gradient."""
        weights = () if self._augment is None else self._augment.copy_weights
        parts: list[torch.Tensor] = []
        chunks = self._accumulation_steps
        ends = [len(images) * number // chunks for number in range(chunks + 1)]
        for rows in map(slice, ends, ends[1:]):
            chunk = images[rows]
            views = self._forward(chunk, [copy[rows] for copy in copies], weights, labels[rows])
            if self._loss.gradient_scaled and not self._factors and not self._probing:
                scale = self._scaler.get_scale()
                self._factors = balance_gradients(
                    self._loss, views, self._student, loss_scale=scale
                )
            factor = 1.0 if chunks == 1 else label_factor(labels, rows)
            loss = self._loss(views, self._factors, label_factor=factor)
            if not loss.requires_grad:
                raise self._learning.unreached(probing=bool(self._probing))
            loss = scaled(loss, len(chunk) / len(images))
            torch.autograd.backward(self._scaler.scale(loss))  # `Tensor.backward` has no types
            parts.append(loss.detach())
        return sum(parts[1:], start=parts[0])

    def _read(self, unread: list[torch.Tensor]) -> None:
        """Read the losses of the last steps."""
        values: list[float] = torch.stack(unread).tolist() if unread else []
        unread.clear()
        for value in values:
            self._losses.append(value)
            if not math.isfinite(value):
                is_first = len(self._losses) == 1 and not self._steps
                fix = "Lower the learning rate or the terms' weights."
                if is_first:
                    fix = "No step was taken: check the weights, the layers and the distance."
                raise NotFiniteError(
                    f"epoch {self.epoch + 1}, step {self.step} of {self._epoch_steps}: the loss "
                    f"must be finite, got {value}. {fix}"
                )

    def _seed(self, purpose: str, *step: int) -> int:
        return derive_seed(self._settings.seed, purpose, self.epoch, *step)


@contextmanager
def explained_failures(section: str, batch_size: int, pass_images: int) -> Iterator[None]:
    """Turn what torch raises for want of memory, or of values to normalise, into one line about a
    section of the study, baseline or finetune: clean images a step, and images that go through the
    network at once, with copies."""
    rule = (
        f"{section}.batch_size: a step must fit into memory, ran out of memory with batch size "
        f"{batch_size}, {pass_images} images at once. Raise {section}.accumulation_steps, lower "
        f"{section}.batch_size or dataset.image_size, or raise run.gpu_memory_fraction."
    )
    try:
        with within_memory(rule):
            yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        split_less = f"lower {section}.accumulation_steps"
        fix = f"or {split_less}."
        if section == "finetune":
            fix = f"{split_less}, or write finetune.batch_norm: frozen."
        raise ParameterError(
            f"{section}.batch_size: batch norm needs more than one value per channel, got "
            f"{batch_size} for images this small. Raise it, {fix}"
        ) from error
