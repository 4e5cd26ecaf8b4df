"""What a data set is: images split for training, selection and the test.

Validation and test images are a `Split`, bytes in memory.  Training images are anything that can
be placed on a device and read in batches: a `Split`, or files that are decoded anew each epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from ablate.distortion.shapes import ByteImages, Labels


@runtime_checkable
class PlacedImages(Protocol):
    """Training images that give batches on a device; what they hold ends with them."""

    def batches(
        self, order: torch.Tensor, batch_size: int, *, seed: int
    ) -> Iterator[tuple[ByteImages, Labels]]:
        """Images and labels on the device, in order; the bytes follow from order and seed alone.

        Args:
            order: places of the images, int64 `[n]` on the CPU.
            batch_size: of every batch; what does not fill one is left out.
            seed: of the crops, where images are cropped at random.

        Raises:
            DataError: if an image cannot be read.
        """
        ...


@runtime_checkable
class TrainingImages(Protocol):
    """Images to train on."""

    @property
    def labels(self) -> Labels:
        """Class of each image on the CPU; -1 where there is none."""
        ...

    @property
    def digest(self) -> str:
        """In hexadecimal; equal digests mean equal images and labels."""
        ...

    def __len__(self) -> int: ...

    def take(self, indices: torch.Tensor) -> TrainingImages:
        """The images at these places, int64 `[n]`."""
        ...

    def resident(self) -> Split:
        """All of them decoded, as they are when nothing is drawn."""
        ...

    def place(self, device: str) -> PlacedImages:
        """Make them ready to be read in batches on a device."""
        ...


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8 `[n, channel, height, width]`, on the CPU.
        labels: int64 `[n]`; -1 where there is none.
        digest: of the content, in hexadecimal; equal digests mean equal images and labels.
    """

    images: ByteImages
    labels: Labels
    digest: str

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: torch.Tensor) -> Split:
        """The images at these places, copied into memory."""
        place = hashlib.sha256(self.digest.encode())
        place.update(indices.numpy().tobytes())
        return Split(self.images[indices], self.labels[indices], place.hexdigest())

    def resident(self) -> Split:
        """Itself."""
        return self

    def place(self, device: str) -> PlacedSplit:
        """All bytes on the device at once."""
        return PlacedSplit(self.images.to(device), self.labels.to(device))


class PlacedSplit:
    """Images that are whole on their device, where batches are indexed.

    Args:
        images: uint8 `[n, channel, height, width]`.
        labels: int64 `[n]`, on the same device.
    """

    def __init__(self, images: ByteImages, labels: Labels) -> None:
        self._images = images
        self._labels = labels

    def batches(
        self,
        order: torch.Tensor,
        batch_size: int,
        *,
        seed: int,  # noqa: ARG002
    ) -> Iterator[tuple[ByteImages, Labels]]:
        """See `PlacedImages`; nothing is drawn here."""
        order = order.to(self._images.device)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            yield self._images[rows], self._labels[rows]


@dataclass(frozen=True)
class Source:
    """A data set as its file reads it, before the validation split.

    Attributes:
        classes: names, in the order of the labels.
        train: all training images.
        test: reads the test images when it is called.
        validation: where the data set has such images of its own.
    """

    classes: tuple[str, ...]
    train: TrainingImages
    test: Callable[[], Split]
    validation: Split | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set, ready to train on.

    Attributes:
        train: what the baseline is trained on and, but for `unlabeled`, every finetuning.
        validation: what the search selects on; no training sees it.
        test: reads the test images when it is called; a search never does.
        classes: names, in the order of the labels.
        mean, std: per channel over the images in `train`, as fractions of 255; where those are
            streamed, over 2,000 of them, the same ones each time.
        digest: of all training images before the split, and of a validation folder and the
            unlabelled images where there are any; in hexadecimal.
        unlabeled: what is finetuned on instead of `train`, without labels.
    """

    train: TrainingImages
    validation: Split
    test: Callable[[], Split]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    unlabeled: TrainingImages | None = None


def digest_images(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 of the bytes of images and labels, read in pieces so that a memory map stays one."""
    digest = hashlib.sha256(repr((images.shape, labels.shape)).encode())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, as fractions of 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(images: ByteImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, as fractions of 255.

    They come from the histogram of the bytes, which is exact and does not depend on the number
    of threads. A channel that is constant has standard deviation 1.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].flatten(), minlength=256).double()
        shares = counts / counts.sum()
        mean = float(shares @ levels)
        variance = float(shares @ (levels - mean) ** 2)
        means.append(mean)
        deviations.append(variance**0.5 or 1.0)
    return tuple(means), tuple(deviations)
