"""Run a network on clean images and on their corrupted copies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from ablate.data.dataset import Split, draw_stratified
from ablate.distortion.shapes import ByteImages, Labels, Logits
from ablate.errors import NotFiniteError
from ablate.errors.device import within_memory
from ablate.model.environment import Environment
from ablate.model.modes import kept_mode
from ablate.robustness.adaptation import BATCH_SIZE, LEAST_IMAGES, adapted_batch_norm, shuffled
from ablate.robustness.bits import Cell, Outcomes, SetOutcomes


@runtime_checkable
class CorruptedImages(Protocol):
    """Corrupted copies of a split, for each type and severity."""

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Family -> its types, in the order of every table."""
        ...

    @property
    def severities(self) -> tuple[int, ...]:
        """Each from 1 to 5."""
        ...

    @property
    def labels(self) -> Labels:
        """Class of each image of a copy, int64 `[n]`; every copy has the same n in this order."""
        ...

    @property
    def identity(self) -> str:
        """Of the images' content, in hexadecimal: equal identities mean equal images."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """What has to be said beside every score, as that a texture is approximate."""
        ...

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """One copy in blocks of any size, in order, n images in total.

        Raises:
            DataError: if an image cannot be read.
        """
        ...


@dataclass(frozen=True)
class FewerImages:
    """Some images of each corrupted copy; every copy is still read as a whole.

    Attributes:
        whole: the copies.
        images: number of images of each, the same ones, balanced over classes; all if it has fewer.
        seed: seed of their selection.
    """

    whole: CorruptedImages
    images: int
    seed: int

    @cached_property
    def places(self) -> torch.Tensor:
        """Indices of the images in a copy, ascending."""
        return draw_stratified(self.whole.labels, self.images, self.seed)

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        return self.whole.families

    @property
    def severities(self) -> tuple[int, ...]:
        return self.whole.severities

    @property
    def labels(self) -> Labels:
        return self.whole.labels[self.places]

    @property
    def marks(self) -> tuple[str, ...]:
        return self.whole.marks

    @property
    def identity(self) -> str:
        """See `CorruptedImages`."""
        made_from = f"{self.whole.identity} {self.places.tolist()}"
        return hashlib.sha256(made_from.encode()).hexdigest()[:32]

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`."""
        start = 0
        for images in self.whole.blocks(kind, severity):
            stop = start + len(images)
            here = self.places[(self.places >= start) & (self.places < stop)]
            yield images[here - start]
            start = stop


_BATCH_SIZE = {"cpu": 256, "cuda": 2048}
"""By kind of device: on a CPU a larger batch needs more memory and is not faster."""
_SMALL_SIDE = 32
"""Image size in pixels for which those batch sizes are chosen."""
_SMALLEST_BATCH = {"cpu": 16, "cuda": 128}

_TOP = 5
_SHOWN = 3

Progress = Callable[[str, int, int], None]
"""Called before each copy is read, with its name, the number of finished copies and the total."""

DIVERGED = "The training diverged; lower finetune.learning_rate."


def score_images(
    model: nn.Module,
    split: Split,
    environment: Environment,
    *,
    batch_size: int | None = None,
) -> Outcomes:
    """The answers of a network on a split; arguments and errors as for `score_set`."""
    reader = _Reader(model, environment, "score", DIVERGED, batch_size)
    with kept_mode(model):
        model.to(environment.device).eval()
        return reader.read(iter([split.images]), split.labels, 1)[0]


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
    cells = [
        (kind, severity)
        for kinds in corrupted.families.values()
        for kind in kinds
        for severity in corrupted.severities
    ]
    if adapt_batch_norm is not None:
        batch_size = batch_size or BATCH_SIZE
    least = 1 if adapt_batch_norm is None else LEAST_IMAGES
    reader = _Reader(model, environment, where, fix, batch_size, least=least)
    with kept_mode(model):
        model.to(environment.device).eval()
        of_clean = None
        if adapt_batch_norm is not None:
            with adapted_batch_norm(model, adapt_batch_norm):
                if clean is not None:
                    of_clean = reader.read_shuffled(clean.images, clean.labels)
                alone = {
                    cell: reader.read_shuffled(
                        torch.cat(list(_blocks(corrupted, cells, progress, cell))),
                        corrupted.labels,
                        cell,
                    )
                    for cell in cells
                }
            return SetOutcomes(of_clean, alone)
        if clean is not None:
            of_clean = reader.read(iter([clean.images]), clean.labels, 1)[0]
        # One sequence of images: batches are full even if copies are small.
        row = _blocks(corrupted, cells, progress)
        found = reader.read(row, corrupted.labels, len(cells), cells)
    return SetOutcomes(of_clean, dict(zip(cells, found, strict=True)))


def _blocks(
    corrupted: CorruptedImages,
    cells: Sequence[Cell],
    progress: Progress | None,
    only: Cell | None = None,
) -> Iterator[ByteImages]:
    for done, (kind, severity) in enumerate(cells):
        if only not in (None, (kind, severity)):
            continue
        if progress is not None:
            progress(f"{kind} {severity}", done, len(cells))
        yield from corrupted.blocks(kind, severity)


class _Reader:
    """Passes images through a network, batch by batch."""

    def __init__(
        self,
        model: nn.Module,
        environment: Environment,
        where: str,
        fix: str,
        batch_size: int | None,
        *,
        least: int = 1,
    ) -> None:
        self._model = model
        self._environment = environment
        self._where, self._fix = where, fix
        self._batch_size, self._least = batch_size, least

    def read(
        self,
        blocks: Iterator[ByteImages],
        labels: Labels,
        copies: int,
        cells: Sequence[Cell] = (),
    ) -> list[Outcomes]:
        """Its answers for `copies` rows of images, each with these labels.

        Args:
            cells: type and severity of the copies, if they are corrupted.
        """
        n, device = len(labels), self._environment.device
        every = labels.to(device).repeat(copies)
        right, among, sure, finite = [], [], [], []
        start = 0
        memory = within_memory(
            f"{self._where}: a batch of images must fit into memory, ran out of memory. Give it "
            "more (run.gpus_per_trial, run.gpu_memory_fraction), or score a network in smaller "
            "batches (`ablate evaluate --batch-size`)."
        )
        batches = _batches(blocks, device, self._batch_size)
        if self._least > 1:
            batches = _with_rest(batches, self._least)
        # Not inference mode: a student that keeps something of this pass goes on learning.
        with memory, torch.no_grad(), self._environment.autocast():
            for batch in batches:
                floats = batch.to(device).float() / 255
                logits = self._model(floats.contiguous(memory_format=torch.channels_last)).float()
                said = every[start : start + len(batch)]
                start += len(batch)
                highest, classes = logits.max(dim=1)
                right.append(classes == said)
                sure.append((highest - logits.logsumexp(dim=1)).exp())
                finite.append(logits.isfinite().all(dim=1))
                if logits.shape[1] > _TOP:
                    among.append(_among_top(logits, said))
        assert start == len(every)
        self._check(_rows(finite, n), cells)
        correct, top5, confidence = _rows(right, n), _rows(among, n), _rows(sure, n)
        return [
            Outcomes(correct[row], top5[row] if among else None, confidence[row])
            for row in range(copies)
        ]

    def read_shuffled(self, images: ByteImages, labels: Labels, *cell: Cell) -> Outcomes:
        """Its answers for the images of one copy, in the copy's order."""
        order = shuffled(len(labels))
        (found,) = self.read(iter([images[order]]), labels[order], 1, cell)
        back = order.argsort().numpy()
        top5 = found.correct_top5
        return Outcomes(
            found.correct[back], None if top5 is None else top5[back], found.confidence[back]
        )

    def _check(self, finite: np.ndarray, cells: Sequence[Cell]) -> None:
        if finite.all():
            return
        names = [f"{kind} {severity}" for kind, severity in cells] or ["the images as they are"]
        bad = [name for name, row in zip(names, finite, strict=True) if not row.all()]
        more = f" and {len(bad) - _SHOWN} more copies" if len(bad) > _SHOWN else ""
        raise NotFiniteError(
            f"{self._where}: every logit must be finite, got NaN or infinity on "
            f"{', '.join(bad[:_SHOWN])}{more}. {self._fix}"
        )


def _among_top(logits: Logits, labels: Labels) -> torch.Tensor:
    return (logits.topk(_TOP, dim=1).indices == labels[:, None]).any(dim=1)


def _rows(parts: list[torch.Tensor], n: int) -> np.ndarray:
    """Parts as `[copy, n]`; empty if there are none."""
    joined = torch.cat(parts) if parts else torch.empty(0)
    found: np.ndarray = joined.view(-1, n).cpu().numpy() if n else joined.cpu().numpy()
    return found


def _batches(
    blocks: Iterable[ByteImages], device: str, batch_size: int | None
) -> Iterator[ByteImages]:
    """The same images in the same order, in full batches; the last batch has the rest."""
    waiting: list[ByteImages] = []
    count = 0
    for block in blocks:
        size = batch_size or _size_for(block, device)
        start = 0
        while count + len(block) - start >= size:
            stop = start + size - count
            part = block[start:stop]
            yield torch.cat([*waiting, part]) if waiting else part
            waiting, count, start = [], 0, stop
        if start < len(block):
            waiting.append(block[start:])
            count += len(block) - start
    if waiting:
        yield torch.cat(waiting)


def _with_rest(batches: Iterable[ByteImages], least: int) -> Iterator[ByteImages]:
    """The same batches, but a last one of fewer than `least` images joins the one before it."""
    before: ByteImages | None = None
    for batch in batches:
        if before is None or len(batch) >= least:
            if before is not None:
                yield before
            before = batch
        else:
            before = torch.cat([before, batch])
    if before is not None:
        yield before


def _size_for(images: ByteImages, device: str) -> int:
    """Images of twice the size need four times the memory."""
    share = (_SMALL_SIDE / math.sqrt(images.shape[2] * images.shape[3])) ** 2
    return max(_SMALLEST_BATCH[device], int(_BATCH_SIZE[device] * min(1.0, share)))
