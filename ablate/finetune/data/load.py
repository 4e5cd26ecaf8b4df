"""Load a data set by its settings and split validation images off its training images."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ablate.errors import DataError, did_you_mean
from ablate.finetune.data import DATASETS
from ablate.finetune.data.dataset import Dataset, Source, channel_statistics
from ablate.finetune.data.split import split_validation
from ablate.study.settings import DatasetSettings


def load_dataset(settings: DatasetSettings, base: Path, cache: Path) -> Dataset:
    """The data set that the settings describe; the test images are not read.

    Args:
        settings: the study's `dataset` section.
        base: folder that a relative `path` starts from.
        cache: folder for decoded images.

    Raises:
        DataError: if it is unknown, missing, empty or inconsistent, or if the validation split
            takes all or none of the images of a class.
        UsageError: if the cache cannot be written.
    """
    if settings.name not in DATASETS:
        raise DataError(
            f"dataset.name: must be a known data set, got {settings.name!r}. "
            f"{did_you_mean(settings.name, DATASETS)}"
        )
    read = import_module(f"ablate.finetune.data.{settings.name}").read
    source: Source = read(settings, base, cache)
    train, validation = split_validation(source, settings.validation)
    kept = source.train.take(train)
    mean, std = channel_statistics(kept.images)
    return Dataset(
        train=kept,
        validation=source.train.take(validation),
        test=source.test,
        classes=source.classes,
        mean=mean,
        std=std,
        digest=source.train.digest,
    )
