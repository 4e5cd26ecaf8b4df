"""Stratified splits: every class keeps its share."""

from __future__ import annotations

import numpy as np
import torch

from ablate.data.dataset import Source, TrainingImages
from ablate.distortion.shapes import Labels
from ablate.errors import DataError
from ablate.study.seeds import derive_seed
from ablate.study.settings import ValidationSettings


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
    """The same share of every class; with one seed, a smaller share is inside a larger one.

    Args:
        images: with labels or without; images without are one class.
        fraction: above 0, up to 1, rounded to whole images, at least one, of each class; 1 gives
            `images`.
        seed: the same seed draws the same images.
    """
    if fraction == 1:
        return images
    seed = derive_seed(seed, "train_fraction")
    return images.take(split_stratified(images.labels, fraction, seed)[1])


def sample_stratified(labels: Labels, count: int, seed: int) -> torch.Tensor:
    """Indices of about `count` images, at least one of each class; all where there are fewer."""
    if len(labels) <= count:
        return torch.arange(len(labels))
    return split_stratified(labels, count / len(labels), seed)[1]


def draw_stratified(labels: Labels, count: int, seed: int) -> torch.Tensor:
    """Indices of `count` images, of every class alike as far as that goes; all where there are
    fewer.

    Args:
        labels: int64 `[n]`.
        count: at least 1. Below one a class, some classes have none.
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
