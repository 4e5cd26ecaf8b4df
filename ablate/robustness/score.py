"""Run a network on clean images and on their corrupted copies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from ablate.data.dataset import Split, draw_stratified
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import NotFiniteError
from ablate.errors.device import within_memory
from ablate.model.environment import Environment
from ablate.model.modes import kept_mode
from ablate.robustness.adaptation import BATCH_SIZE, adapted_batch_norm, shuffled
from ablate.robustness.bits import Outcomes, SetOutcomes


@runtime_checkable
class CorruptedImages(Protocol):
    """Corrupted copies of a split, for each type and severity.

    Attributes:
        families: family -> its types, in the order of every table.
        severities: each from 1 to 5.
        labels: class of each image of a copy, int64 `[n]`; every copy has the same n in this order.
        identity: of the images' content, in hexadecimal: equal identities mean equal images.
        marks: what has to be said beside every score, as that a texture is approximate.
    """

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def severities(self) -> tuple[int, ...]: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def identity(self) -> str: ...
    @property
    def marks(self) -> tuple[str, ...]: ...
    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """One copy in blocks of any size, in order, n images in total.

        Raises:
            DataError: if an image cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadImages:
    """`CorruptedImages` that a function reads; `read` does what `blocks` does."""

    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    labels: Labels = field(repr=False)
    identity: str
    marks: tuple[str, ...]
    read: Callable[[str, int], Iterator[ByteImages]] = field(repr=False)

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`."""
        return self.read(kind, severity)


def fewer_images(whole: CorruptedImages, images: int, seed: int) -> ReadImages:
    """Some images of each corrupted copy, of which every one is still read as a whole.

    Args:
        images: number of images of each, the same ones, balanced over classes; all if it has fewer.
        seed: seed of their selection.
    """
    places = draw_stratified(whole.labels, images, seed)

    def read(kind: str, severity: int) -> Iterator[ByteImages]:
        start = 0
        for block in whole.blocks(kind, severity):
            here = places[(places >= start) & (places < start + len(block))]
            yield block[here - start]
            start += len(block)

    made_from = f"{whole.identity} {places.tolist()}"
    return ReadImages(
        families=whole.families,
        severities=whole.severities,
        labels=whole.labels[places],
        identity=hashlib.sha256(made_from.encode()).hexdigest()[:32],
        marks=whole.marks,
        read=read,
    )


_BATCH_SIZE = {"cpu": 256, "cuda": 2048}
"""By kind of device: on a CPU a larger batch needs more memory and is not faster."""
_SMALL_SIDE = 32
"""Image size in pixels for which those batch sizes are chosen."""
_SMALLEST_BATCH = {"cpu": 16, "cuda": 128}

_TOP = 5
_SHOWN = 3
_CLEAN = "the images as they are"

Progress = Callable[[str, int, int], None]
"""Called before each copy is read, with its name, the number of finished copies and the total."""

DIVERGED = "The training diverged; lower finetune.learning_rate."


def score_images(
    model: nn.Module, split: Split, environment: Environment, *, batch_size: int | None = None
) -> Outcomes:
    """The answers of a network on a split; arguments and errors as for `score_set`."""
    with _scoring(model, environment, None):
        blocks, answers = iter([split.images]), _Answers(model, environment, batch_size)
        return answers.of([_CLEAN], split.labels, blocks)[0]


def score_set(
    model: nn.Module,
    clean: Split | None,
    corrupted: CorruptedImages,
    environment: Environment,
    *,
    where: str = "score",
    fix: str = DIVERGED,
    batch_size: int | None = None,
    adapt_batch_norm: int | None = None,
    progress: Progress | None = None,
) -> SetOutcomes:
    """The answers of a network on a split and on its corrupted copies.

    Args:
        model: takes images in [0, 1]; moved to the environment's device. It is scored in eval mode;
            afterwards each module has its previous mode.
        clean: the clean images; None: they are not scored.
        corrupted: their copies, with their own labels.
        environment: device and precision; the largest logit is determined in fp32.
        where, fix: for the message if a logit is not finite.
        batch_size: None: what suits the device and the images' size.
        adapt_batch_norm: N of `adapted_batch_norm`: every batch, by default of 256 images, is of
            one copy, which is held in memory; None: the network's own statistics.
        progress: is told of each copy.

    Raises:
        NotFiniteError: if a logit is NaN or infinite; the message names the copies.
        OutOfMemoryError: if a batch does not fit into memory.
        DataError: if an image cannot be read.
        ParameterError: if batch norm cannot be adapted.
    """
    kinds = [kind for kinds in corrupted.families.values() for kind in kinds]
    cells = [(kind, severity) for kind in kinds for severity in corrupted.severities]
    names = [f"{kind} {severity}" for kind, severity in cells]

    def blocks(first: int, stop: int) -> Iterator[ByteImages]:
        for done in range(first, stop):
            if progress is not None:
                progress(names[done], done, len(cells))
            yield from corrupted.blocks(*cells[done])

    of_clean: Outcomes | None = None
    with _scoring(model, environment, adapt_batch_norm):
        if adapt_batch_norm is None:
            answers = _Answers(model, environment, batch_size, where, fix)
            if clean is not None:
                (of_clean,) = answers.of([_CLEAN], clean.labels, iter([clean.images]))
            # One sequence of images: batches are full even if copies are small.
            found = answers.of(names, corrupted.labels, blocks(0, len(cells)))
        else:
            answers = _Answers(model, environment, batch_size or BATCH_SIZE, where, fix, least=2)
            # Of one image there may be one value per channel, which has no variance.
            if clean is not None:
                of_clean = answers.of_shuffled(_CLEAN, clean.labels, clean.images)
            found = [
                answers.of_shuffled(name, corrupted.labels, torch.cat([*blocks(at, at + 1)]))
                for at, name in enumerate(names)
            ]
    return SetOutcomes(of_clean, dict(zip(cells, found, strict=True)))


def _scoring(model: nn.Module, environment: Environment, adapt: int | None) -> ExitStack:
    """The network on its device in eval mode, its batch norm adapted if that is asked for."""
    with ExitStack() as stack:
        stack.enter_context(kept_mode(model))
        model.to(environment.device).eval()
        if adapt is not None:
            stack.enter_context(adapted_batch_norm(model, adapt))
        return stack.pop_all()


@dataclass(frozen=True)
class _Answers:
    """Passes images through a network, batch by batch.

    Attributes:
        least: a last batch of fewer images joins the one before it.
    """

    model: nn.Module
    environment: Environment
    batch_size: int | None
    where: str = "score"
    fix: str = DIVERGED
    least: int = 1

    def of(
        self, names: Sequence[str], labels: Labels, blocks: Iterator[ByteImages]
    ) -> list[Outcomes]:
        """Its answers for the copies of these names, each with these labels."""
        n, device = len(labels), self.environment.device
        every = labels.to(device).repeat(len(names))
        right, among, sure, finite = [], [], [], []
        start = 0
        memory = within_memory(
            f"{self.where}: a batch of images must fit into memory, ran out of memory. Give it "
            "more (run.gpus_per_trial, run.gpu_memory_fraction), or score a network in smaller "
            "batches (`ablate evaluate --batch-size`)."
        )
        # Not inference mode: a student that keeps something of this pass goes on learning.
        with memory, torch.no_grad(), self.environment.autocast():
            for batch in _batches(blocks, device, self.batch_size, self.least):
                floats = batch.to(device).float() / 255
                logits = self.model(floats.contiguous(memory_format=torch.channels_last)).float()
                classes_of = every[start : start + len(batch)]
                start += len(batch)
                highest, classes = logits.max(dim=1)
                right.append(classes == classes_of)
                sure.append((highest - logits.logsumexp(dim=1)).exp())
                finite.append(logits.isfinite().all(dim=1))
                if logits.shape[1] > _TOP:
                    top = logits.topk(_TOP, dim=1).indices
                    among.append((top == classes_of[:, None]).any(dim=1))

        def rows(parts: list[torch.Tensor]) -> np.ndarray:
            array: np.ndarray = torch.cat(parts).view(len(names), n).cpu().numpy()
            return array

        self._check(names, rows(finite))
        correct, confidence = rows(right), rows(sure)
        top5 = rows(among) if among else [None] * len(names)
        return [Outcomes(*answers) for answers in zip(correct, top5, confidence, strict=True)]

    def of_shuffled(self, name: str, labels: Labels, images: ByteImages) -> Outcomes:
        """Its answers for the images of one copy, shown in another order."""
        order = shuffled(len(labels))
        (answers,) = self.of([name], labels[order], iter([images[order]]))
        back = order.argsort().numpy()
        top5 = answers.correct_top5
        return Outcomes(
            answers.correct[back], None if top5 is None else top5[back], answers.confidence[back]
        )

    def _check(self, names: Sequence[str], finite: np.ndarray) -> None:
        bad = [name for name, row in zip(names, finite, strict=True) if not row.all()]
        if bad:
            more = f" and {len(bad) - _SHOWN} more copies" if len(bad) > _SHOWN else ""
            raise NotFiniteError(
                f"{self.where}: every logit must be finite, got NaN or infinity on "
                f"{', '.join(bad[:_SHOWN])}{more}. {self.fix}"
            )


def _batches(
    blocks: Iterable[ByteImages], device: str, batch_size: int | None, least: int
) -> Iterator[ByteImages]:
    """The same images in the same order, in full batches; the last batch has the rest, which joins
    the one before if it has fewer than `least` images."""
    waiting: list[ByteImages] = []
    count, after = 0, least if least > 1 else 0
    for block in blocks:
        size = batch_size or _size_for(block, device)
        start = 0
        while count + len(block) - start >= size + after:
            stop = start + size - count
            part = block[start:stop]
            yield torch.cat([*waiting, part]) if waiting else part
            waiting, count, start = [], 0, stop
        if start < len(block):
            waiting.append(block[start:])
            count += len(block) - start
    if waiting:
        yield torch.cat(waiting)


def _size_for(images: ByteImages, device: str) -> int:
    """Images of twice the size need four times the memory."""
    share = (_SMALL_SIDE / math.sqrt(images.shape[2] * images.shape[3])) ** 2
    return max(_SMALLEST_BATCH[device], int(_BATCH_SIZE[device] * min(1.0, share)))
