"""One forward pass of a step: clean images, their copies and the teachers become `Views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from ablate.distortion.shapes import Images, Labels
from ablate.finetune.environment import Environment
from ablate.finetune.loss.objective import RobustLoss
from ablate.finetune.loss.term import View, Views
from ablate.finetune.model.modes import freeze_batch_norm
from ablate.finetune.model.taps import FeatureTaps, split_copies

BatchNormMode = Literal["joint", "separate", "frozen"]


class Forward:
    """Runs what an objective reads, and nothing else.

    Args:
        model: the student, on its device.
        loss: says whether clean images, copies, layers and teachers are read.
        environment: precision, and whether the student is compiled.
        batch_norm: "joint": everything in one batch, so that batch norm sees all of it; "frozen":
            the same with the student's running statistics; "separate": clean images and each copy
            in a batch of its own.
        teachers: by anchor, networks of the student's kind; they see the clean images in eval
            mode, without gradient.

    Raises:
        ParameterError: if a layer does not exist, or "frozen" finds no batch norm.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: RobustLoss,
        environment: Environment,
        batch_norm: BatchNormMode,
        teachers: Mapping[str, nn.Module],
    ) -> None:
        self._model = model
        self._loss = loss
        self._environment = environment
        self._batch_norm = batch_norm
        self._teachers = teachers
        self._student = model
        if environment.compile:
            self._student = torch.compile(model, mode=environment.compile)  # type: ignore[assignment]
        self._taps(model)
        self.prepare()

    @property
    def reads_clean(self) -> bool:
        """Whether the clean images go through the student."""
        return self._loss.needs_clean or not self._loss.needs_augmented

    def prepare(self) -> None:
        """Put the student into training mode; call it before every epoch."""
        self._model.train()
        if self._batch_norm == "frozen":
            freeze_batch_norm(self._model)

    def __call__(
        self,
        images: Images,
        copies: Sequence[Images],
        copy_weights: Sequence[float],
        labels: Labels,
    ) -> Views:
        """What the networks make of a batch.

        Args:
            images: clean, in [0, 1].
            copies: augmented, each of all images; none where the objective reads none.
            copy_weights: how much each counts.
            labels: of the images.
        """
        teachers = {anchor: self._teach(anchor, images) for anchor in self._teachers}
        batches = [images, *copies] if self.reads_clean else list(copies)
        views = self._separately(batches) if self._is_separate else self._together(batches)
        clean = views.pop(0) if self.reads_clean else None
        return Views(labels, clean, tuple(views), tuple(copy_weights), teachers)

    @property
    def _is_separate(self) -> bool:
        return self._batch_norm == "separate"

    def _together(self, batches: Sequence[Images]) -> list[View]:
        with self._taps(self._model) as taps:
            logits = self._run(self._student, torch.cat(list(batches)))
            parts = split_copies(logits, len(batches))
            return [View(*both) for both in zip(parts, taps.split(len(batches)), strict=True)]

    def _separately(self, batches: Sequence[Images]) -> list[View]:
        views = []
        for batch in batches:
            with self._taps(self._model) as taps:
                logits = self._run(self._student, batch)
                views.append(View(logits, *taps.split(1)))
        return views

    def _teach(self, anchor: str, images: Images) -> View:
        teacher = self._teachers[anchor]
        with torch.no_grad(), self._taps(teacher) as taps:
            logits = self._run(teacher, images)
            return View(logits, *taps.split(1))

    def _taps(self, model: nn.Module) -> FeatureTaps:
        return FeatureTaps(model, self._loss.layers, self._loss.activation)

    def _run(self, model: nn.Module, images: Images) -> torch.Tensor:
        with self._environment.autocast():
            logits: torch.Tensor = model(images.contiguous(memory_format=torch.channels_last))
        return logits
