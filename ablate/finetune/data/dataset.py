"""What a data set is: images in memory as bytes, split for training, selection and the test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ablate.distortion.shapes import ByteImages, Labels


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8 `[n, channel, height, width]`, on the CPU.
        labels: int64 `[n]`.
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


@dataclass(frozen=True)
class Source:
    """A data set as its file reads it, before the validation split.

    Attributes:
        classes: names, in the order of the labels.
        train: all training images.
        test: reads the test images when it is called.
    """

    classes: tuple[str, ...]
    train: Split
    test: Callable[[], Split]


@dataclass(frozen=True)
class Dataset:
    """A data set, ready to train on.

    Attributes:
        train: what the baseline and every finetuning trains on.
        validation: what the search selects on; no training sees it.
        test: reads the test images when it is called; a search never does.
        classes: names, in the order of the labels.
        mean, std: per channel over the images in `train`, as fractions of 255.
        digest: of all training images before the split, in hexadecimal.
    """

    train: Split
    validation: Split
    test: Callable[[], Split]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str


def digest_images(images: np.ndarray, labels: np.ndarray) -> str:
    """sha256 of the bytes of images and labels, read in pieces so that a memory map stays one."""
    digest = hashlib.sha256(repr((images.shape, labels.shape)).encode())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()


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
