"""Run a network on clean images and on their corrupted copies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product, starmap
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablate.data.dataset import Split, draw_stratified
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import NotFiniteError, ParameterError
from ablate.errors.device import within_memory
from ablate.model.environment import Environment
from ablate.model.modes import adaptable_norms, kept_mode
from ablate.robustness.bits import Cell, Outcomes, SetOutcomes


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
        return _at(places, whole.blocks(kind, severity))

    made_from = f"{whole.identity} {places.tolist()}"
    return ReadImages(
        families=whole.families,
        severities=whole.severities,
        labels=whole.labels[places],
        identity=hashlib.sha256(made_from.encode()).hexdigest()[:32],
        marks=whole.marks,
        read=read,
    )


def _at(places: Tensor, blocks: Iterable[ByteImages]) -> Iterator[ByteImages]:
    """The images of a copy at these places, ascending."""
    start = 0
    for block in blocks:
        here = places[(places >= start) & (places < start + len(block))]
        yield block[here - start]
        start += len(block)


_BATCH_SIZE = {"cpu": 256, "cuda": 2048}
"""By kind of device: on a CPU a larger batch needs more memory and is not faster."""
_SMALL_SIDE = 32
"""Image size in pixels for which those batch sizes are chosen."""
_SMALLEST_BATCH = {"cpu": 16, "cuda": 128}

BATCH_SIZE = 256
"""Images that adapted statistics are estimated from, on any device; the last batch of a copy has
fewer."""

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
    clean = score_set(model, split, None, environment, batch_size=batch_size).clean
    assert clean is not None
    return clean


def score_set(
    model: nn.Module,
    clean: Split | None,
    corrupted: CorruptedImages | None,
    environment: Environment,
    *,
    where: str = "score",
    fix: str = DIVERGED,
    batch_size: int | None = None,
    adapt_batch_norm: int | None = None,
    progress: Progress | None = None,
    scored: Mapping[Cell, np.ndarray] | None = None,
) -> SetOutcomes:
    """The answers of a network on a split and on its corrupted copies.

    Args:
        model: takes images in [0, 1]; moved to the environment's device. It is scored in eval mode;
            afterwards each module has its previous mode.
        clean: the clean images; None: they are not scored.
        corrupted: their copies, with their own labels; None: none are scored.
        environment: device and precision; the largest logit is determined in fp32.
        where, fix: for the message if a logit is not finite.
        batch_size: None: what suits the device and the images' size.
        adapt_batch_norm: N of `adapted_batch_norm`: every batch, by default of 256 images, is of
            one copy, which is held in memory; None: the network's own statistics.
        progress: is told of each copy.
        scored: indices of the images of each copy that pass through the network, in the order of
            the answers; None: all.

    Raises:
        NotFiniteError: if a logit is NaN or infinite; the message names the copies.
        OutOfMemoryError: if a batch does not fit into memory.
        DataError: if an image cannot be read.
        ParameterError: if batch norm cannot be adapted.
    """
    cells: list[Cell] = []
    if corrupted is not None:
        kinds = [kind for kinds in corrupted.families.values() for kind in kinds]
        cells, labels = list(product(kinds, corrupted.severities)), [corrupted.labels]
        labels *= len(cells)
    if scored is not None:
        ascending = [torch.from_numpy(np.sort(scored[cell])) for cell in cells]
        labels = [all_of[some] for all_of, some in zip(labels, ascending, strict=True)]
    names = [f"{kind} {severity}" for kind, severity in cells]

    def read(first: int, stop: int) -> Iterator[ByteImages]:
        for done in range(first, stop):
            if progress is not None:
                progress(names[done], done, len(cells))
            assert corrupted is not None
            copy = corrupted.blocks(*cells[done])
            yield from copy if scored is None else _at(ascending[done], copy)

    def answers(
        names: list[str], labels: list[Labels], blocks: Iterator[ByteImages]
    ) -> Iterator[Outcomes]:
        # Of one image there may be one value per channel, which has no variance to adapt to.
        size, least = (batch_size, 1) if adapt_batch_norm is None else (batch_size or BATCH_SIZE, 2)
        batches = _batches(blocks, environment.device, size, least)
        ends = np.cumsum([len(one) for one in labels])[:-1]
        finite, right, among, sure, label = (
            np.split(column, ends)
            for column in _pass_through(model, environment, torch.cat(labels), batches, where)
        )
        bad = [name for name, row in zip(names, finite, strict=True) if not row.all()]
        if bad:
            more = f" and {len(bad) - _SHOWN} more copies" if len(bad) > _SHOWN else ""
            raise NotFiniteError(
                f"{where}: every logit must be finite, got NaN or infinity on "
                f"{', '.join(bad[:_SHOWN])}{more}. {fix}"
            )
        top5 = among if any(map(len, among)) else [None] * len(names)
        return starmap(Outcomes, zip(right, top5, sure, label, strict=True))

    def shuffled(name: str, labels: Labels, images: ByteImages) -> Outcomes:
        """Of one copy, shown in another order, which is always the same."""
        order = torch.randperm(len(labels), generator=make_generator(0, "cpu"))
        (found,) = answers([name], [labels[order]], iter([images[order]]))
        return found.take(order.argsort().numpy())

    of_clean: Outcomes | None = None
    with ExitStack() as stack:
        stack.enter_context(kept_mode(model))
        model.to(environment.device).eval()
        if adapt_batch_norm is None:
            if clean is not None:
                (of_clean,) = answers([_CLEAN], [clean.labels], iter([clean.images]))
            # One sequence of images: batches are full even if copies are small.
            found = list(answers(names, labels, read(0, len(cells)))) if cells else []
        else:
            stack.enter_context(adapted_batch_norm(model, adapt_batch_norm))
            if clean is not None:
                of_clean = shuffled(_CLEAN, clean.labels, clean.images)
            found = [
                shuffled(name, labels[place], torch.cat([*read(place, place + 1)]))
                for place, name in enumerate(names)
            ]
    if scored is not None:
        orders = (np.searchsorted(np.sort(scored[cell]), scored[cell]) for cell in cells)
        found = [one.take(order) for one, order in zip(found, orders, strict=True)]
    return SetOutcomes(of_clean, dict(zip(cells, found, strict=True)))


def _pass_through(
    model: nn.Module,
    environment: Environment,
    labels: Labels,
    batches: Iterator[ByteImages],
    where: str,
) -> Iterator[np.ndarray]:
    """For each image: whether the logits are finite; whether the label is the most likely class,
    and among the five (nothing for five classes or fewer); the probability of that class, and the
    logarithm of that of the label."""
    every = labels.to(environment.device)
    finite, right, among, sure, label = [], [], [], [], []
    start = 0
    memory = within_memory(
        f"{where}: a batch of images must fit into memory, ran out of memory. Give it more "
        "(run.gpus_per_trial, run.gpu_memory_fraction), or score a network in smaller batches "
        "(`ablate evaluate --batch-size`)."
    )
    # Not inference mode: a student that keeps something of this pass goes on learning.
    with memory, torch.no_grad(), environment.autocast():
        for batch in batches:
            floats = batch.to(environment.device).float() / 255
            logits = model(floats.contiguous(memory_format=torch.channels_last)).float()
            classes_of = every[start : start + len(batch)]
            start += len(batch)
            highest, classes = logits.max(dim=1)
            right.append(classes == classes_of)
            total = logits.logsumexp(dim=1)
            sure.append((highest - total).exp())
            label.append(logits.gather(1, classes_of[:, None])[:, 0] - total)
            finite.append(logits.isfinite().all(dim=1))
            if logits.shape[1] > _TOP:
                top = logits.topk(_TOP, dim=1).indices
                among.append((top == classes_of[:, None]).any(dim=1))

    for parts in (finite, right, among, sure, label):
        yield torch.cat(parts).cpu().numpy() if parts else np.empty(0, dtype=np.bool_)


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


# -- Batch-norm statistics adapted to the images that are scored, without labels -----------
#
# Source: [S] Schneider et al. 2020, arXiv:2006.16971: the statistics of each batch are mixed with
# those of training, which count as N images.  Differs: images are shuffled within their copy, so
# that the order of the classes in a folder does not matter, with the same order for every copy.


@contextmanager
def adapted_batch_norm(model: nn.Module, pseudo_images: int) -> Iterator[None]:
    """Let each batch norm in eval mode use (N source + n batch) / (N + n) of mean and variance.

    Args:
        model: its statistics are the same afterwards.
        pseudo_images: N >= 0, how many images the network's own statistics count as; 0: those of
            the batch alone.  n is the number of images in the batch.

    Raises:
        ParameterError: if the network has no batch norm with statistics, or, in the forward pass,
            if a batch has one value per channel.
    """
    norms = adaptable_norms(model)
    if not norms:
        raise ParameterError(
            "`adapt_batch_norm`: needs a network with batch norm, got "
            f"{type(model).__name__}, in which none is found. Leave it out."
        )
    with ExitStack() as stack:
        for norm in norms:
            stack.enter_context(_adapted(norm, pseudo_images))
        yield


@contextmanager
def _adapted(norm: _BatchNorm, pseudo_images: int) -> Iterator[None]:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None

    # In front of the module, since subclasses, as timm's, do more than normalise.
    def mix(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        batch: Tensor = inputs[0]
        share = pseudo_images / (pseudo_images + len(batch))
        if batch.numel() == batch.shape[1]:
            raise ParameterError(
                "`batch_size`: adapted batch norm needs more than one value per channel, got a "
                "batch of one image. Choose another size."
            )
        others = [axis for axis in range(batch.ndim) if axis != 1]
        # Unbiased, as running statistics are.
        own_variance, own_mean = torch.var_mean(batch.float(), dim=others)
        norm.running_mean = share * mean + (1 - share) * own_mean
        norm.running_var = share * variance + (1 - share) * own_variance

    handle = norm.register_forward_pre_hook(mix)
    try:
        yield
    finally:
        handle.remove()
        norm.running_mean, norm.running_var = mean, variance
