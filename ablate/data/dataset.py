"""Data sets: images split for training, selection and the test.

Validation and test images are a `Split`, bytes in memory.  Training images can be placed on a
device and read in batches: a `Split`, or files that are decoded in each epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError
from ablate.errors.device import within_memory
from ablate.study.seeds import derive_seed
from ablate.study.settings import ValidationSettings


@runtime_checkable
class PlacedImages(Protocol):
    """Training images that yield batches on a device, and own their resources."""

    def batches(
        self, order: torch.Tensor, batch_size: int, *, seed: int
    ) -> Iterator[tuple[ByteImages, Labels]]:
        """Images and labels on the device, in order; the bytes depend only on order and seed.

        Args:
            order: indices of the images, int64 `[n]` on the CPU.
            batch_size: of every batch; an incomplete last batch is dropped.
            seed: of random crops, if any.

        Raises:
            DataError: if an image cannot be read.
        """
        ...


@runtime_checkable
class TrainingImages(Protocol):
    """Images to train on: labels, -1 without one, and digests as of a `Split`."""

    @property
    def labels(self) -> Labels: ...
    @property
    def digest(self) -> str: ...
    @property
    def contents(self) -> str | None:
        """Digest of files' bytes, which are not in `digest`; None: they are."""
        ...

    def __len__(self) -> int: ...
    def take(self, indices: torch.Tensor) -> TrainingImages:
        """The images at these places, int64 `[n]`."""
        ...

    def resident(self) -> Split:
        """All images decoded, without random crops."""
        ...

    def place(self, device: str) -> PlacedImages:
        """Make them ready to be read in batches on a device."""
        ...


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8 `[n, channel, height, width]`, on the CPU.
        labels: int64 `[n]`; -1 without a label.
        digest: of the content, in hexadecimal; equal digests mean equal images and labels.
    """

    images: ByteImages
    labels: Labels
    digest: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def contents(self) -> None:
        """None: the digest is of all bytes."""

    def take(self, indices: torch.Tensor) -> Split:
        """The images at these places, copied into memory."""
        return self.rows(indices).resident()

    def rows(self, indices: torch.Tensor) -> SplitRows:
        """The images at these places, which are not copied."""
        digest = hashlib.sha256(self.digest.encode() + indices.numpy().tobytes())
        return SplitRows(self, indices, self.labels[indices], digest.hexdigest())

    def resident(self) -> Split:
        """Itself."""
        return self

    def place(self, device: str) -> PlacedImages:
        """All bytes on the device at once; batches are made by indexing.

        Raises:
            OutOfMemoryError: if they do not fit.
        """
        with within_memory(
            f"dataset.loading: {len(self):,} images must fit into the memory of the device, ran "
            "out of memory. Write dataset.loading: streamed (an image_folder), or run fewer trials "
            "on a GPU (run.gpus_per_trial)."
        ):
            return _PlacedSplit(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class SplitRows:
    """Some images of a split, read where it has them: workers of a node share its file's pages.

    Attributes:
        rows: their places in the split, int64 `[n]`.
        labels, digest, contents: as of a `Split` of them.
    """

    split: Split
    rows: torch.Tensor
    labels: Labels
    digest: str
    contents: None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: torch.Tensor) -> SplitRows:
        """The images at these places."""
        digest = hashlib.sha256(self.digest.encode() + indices.numpy().tobytes())
        labels = self.labels[indices]
        return SplitRows(self.split, self.rows[indices], labels, digest.hexdigest())

    def resident(self) -> Split:
        """All of them, copied into memory."""
        return Split(self.split.images[self.rows], self.labels, self.digest)

    def place(self, device: str) -> PlacedImages:
        """As of a `Split`; on the CPU nothing is copied."""
        if device != "cpu":
            return self.resident().place(device)
        return _PlacedSplit(self.split.images, self.split.labels, self.rows)


@dataclass(frozen=True)
class _PlacedSplit:
    images: ByteImages
    labels: Labels
    rows: torch.Tensor | None = None

    def batches(
        self, order: torch.Tensor, batch_size: int, *, seed: int
    ) -> Iterator[tuple[ByteImages, Labels]]:
        """See `PlacedImages`; nothing is drawn here."""
        del seed
        order = send(order, self.images.device)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            places = order[start : start + batch_size]
            rows = places if self.rows is None else self.rows[places]
            yield self.images[rows], self.labels[rows]


def send(host: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Copy to a device without waiting for it: a GPU reads ordinary memory only while all waits.

    Args:
        host: on the CPU.

    Returns:
        On the device; `host` itself if that is the CPU.
    """
    if torch.device(device).type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


@dataclass(frozen=True)
class Source:
    """A data set as read, before the validation split.

    Attributes:
        classes: names, in the order of the labels.
        train: all training images.
        test: reads the test images when called.
        stored_size: height and width in pixels of the first image before it was resized.
        validation: validation images, if the data set has any.
        left_out: split -> number of files that cannot be read and are left out.
    """

    classes: tuple[str, ...]
    train: TrainingImages
    test: Callable[[], Split]
    stored_size: tuple[int, int]
    validation: Split | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dataset(Source):
    """A data set, ready to train on.

    Attributes:
        train: for training the baseline and, without `unlabeled`, for every finetuning.
        validation: for selection by the search; never used for training.
        test: as of a `Source`; a search never calls it.
        mean, std: per channel over the images in `train`, as fractions of 255; if those are
            streamed, over a fixed sample of 2,000.
        digest: of all training images before the split, and of a validation folder and unlabelled
            images, if any; in hexadecimal.
        contents: digest of streamed files; None: all images are resident.
        unlabeled: images without labels for finetuning, instead of `train`.
    """

    validation: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    contents: str | None = None
    unlabeled: TrainingImages | None = None


def digest_images(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 of the bytes of images and labels, read in pieces, so that a memory map is not loaded
    completely."""
    digest = hashlib.sha256(repr((images.shape, labels.shape)).encode())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, as fractions of 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(images: ByteImages, rows: torch.Tensor | None = None) -> Statistics:
    """Computed from the histogram of the bytes, which is exact and independent of the number of
    threads.  A channel that is constant has standard deviation 1.

    Args:
        rows: of these images alone.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for chunk in (torch.arange(len(images)) if rows is None else rows).split(1024):  # type: ignore[no-untyped-call]
        for channel in range(len(counts)):
            counts[channel] += torch.bincount(images[chunk, channel].flatten(), minlength=256)
    means, deviations = [], []
    for count in counts.double():
        shares = count / count.sum()
        mean = float(shares @ levels)
        variance = float(shares @ (levels - mean) ** 2)
        means.append(mean)
        deviations.append(variance**0.5 or 1.0)
    return Statistics(tuple(means), tuple(deviations))


# -- Stratified splits ----------------------------------------


def split_validation(
    source: Source, settings: ValidationSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the training and of the validation images, each in the source's order.

    Raises:
        DataError: if either would be without images of a class.
    """
    seed = derive_seed(settings.seed, "validation")
    train, validation = split_stratified(source.train.labels, settings.fraction, seed)
    for indices, has in ((train, "training"), (validation, "validation")):
        counts = torch.bincount(source.train.labels[indices], minlength=len(source.classes))
        empty = int(counts.argmin())
        if counts[empty] == 0:
            n = int((source.train.labels == empty).sum())
            raise DataError(
                f"dataset.validation.fraction: must leave each class in both splits, "
                f"got {settings.fraction:g} with {n} images of {source.classes[empty]!r}, none "
                f"for {has}. Change the fraction or add images."
            )
    return train, validation


def take_fraction(images: TrainingImages, fraction: float, seed: int) -> TrainingImages:
    """Take the same share of every class; with one seed, a smaller share is a subset of a larger
    one.

    Args:
        images: with or without labels; images without labels count as one class.
        fraction: above 0, up to 1, rounded to whole images, at least one, of each class; 1 gives
            `images`.
        seed: the same seed draws the same images.
    """
    if fraction == 1:
        return images
    seed = derive_seed(seed, "train_fraction")
    return take_rows(images, split_stratified(images.labels, fraction, seed)[1])


def take_rows(images: TrainingImages, indices: torch.Tensor) -> TrainingImages:
    """The images at these places, none of which is copied or decoded."""
    return images.rows(indices) if isinstance(images, Split) else images.take(indices)


def sample_stratified(labels: Labels, count: int, seed: int) -> torch.Tensor:
    """Indices of about `count` images, at least one of each class; all where there are fewer."""
    if len(labels) <= count:
        return torch.arange(len(labels))
    return split_stratified(labels, count / len(labels), seed)[1]


def draw_stratified(labels: Labels, count: int, seed: int) -> torch.Tensor:
    """Indices of `count` images, balanced over classes as far as possible; all if there are fewer.

    Args:
        labels: int64 `[n]`.
        count: at least 1.  If it is below the number of classes, some classes have none.
        seed: the same seed draws the same images.

    Returns:
        Ascending, int64.
    """
    if len(labels) <= count:
        return torch.arange(len(labels))
    random = np.random.RandomState(seed % 2**32)  # its stream is frozen for good
    classes = labels.numpy()
    order = random.permutation(len(classes))
    by_class = order[np.argsort(classes[order], kind="stable")]
    sizes = np.unique(classes, return_counts=True)[1]
    # Image i of a class of m stands at (i + u) / m on a line, of which every part then has the
    # same share of each class.
    places = np.concatenate([(np.arange(m) + random.random_sample()) / m for m in sizes])
    return torch.from_numpy(np.sort(by_class[np.argsort(places, kind="stable")[:count]]))


def split_stratified(
    labels: Labels, fraction: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices in two, with the same share of every class.

    Args:
        labels: int64 `[n]`.
        fraction: share of each class in the second part, rounded to whole images, at
            least one; with one seed, the second part of a smaller share is inside that of a
            larger one.
        seed: the same seed gives the same split.

    Returns:
        Indices of the first and the second part, ascending, int64.
    """
    # RandomState's stream is frozen for good, which Generator's is not.
    random = np.random.RandomState(seed % 2**32)
    classes = labels.numpy()
    second = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == label))
        second[members[: max(1, round(fraction * len(members)))]] = True
    return torch.from_numpy(np.flatnonzero(~second)), torch.from_numpy(np.flatnonzero(second))
