"""A custom data set: `package.module:callable`, whose result is checked.

The callable gets two keywords, `image_size` (int) and `path` (a Path, or None), and returns a
mapping or NamedTuple; docs/tutorials/own_data.md describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.data.dataset import Source, Split, digest_images
from ablate.data.decode import resize_chunks
from ablate.errors import DataError, error_text
from ablate.study.callables import import_callable
from ablate.study.settings import DatasetSettings, path_from


def read(
    settings: DatasetSettings, base: Path, _cache: Path, image_size: int, *, keep_up_to: int = 0
) -> Source:
    """What the callable gives, at `image_size`.

    Args:
        keep_up_to: side in pixels up to which square images keep their size.

    Raises:
        ParameterError: if it cannot be imported.
        DataError: if it raises, or gives something else than a data set.
    """
    name = settings.name
    make = import_callable("dataset.name", name, base)
    path = None if settings.path is None else path_from(base, settings.path)
    rule = "a data set when called with image_size and path"
    given = _call(name, rule, lambda: make(image_size=image_size, path=path))
    values = given._asdict() if hasattr(given, "_asdict") else given
    if not isinstance(values, Mapping):
        raise _wrong(name, "a mapping or NamedTuple of train, test and classes", _kind(given))
    missing = [key for key in ("train", "test", "classes") if values.get(key) is None]
    if missing:
        raise _wrong(name, "train, test and classes", f"no {missing[0]}")
    classes = _check_classes(name, values["classes"])
    sizes = list[tuple[int, int]]()

    def part(key: str) -> Split:
        value = values[key]
        if callable(value):
            value = _call(name, f"{key} when that is called", value)
        images, labels = _check_pair(name, key, value, classes)
        height, width = images.shape[-2:]
        sizes.append((height, width))
        side = width if height == width <= keep_up_to else image_size
        pixels = np.concatenate(list(resize_chunks(images, side, settings.resize)))
        return Split(
            torch.from_numpy(pixels), torch.from_numpy(labels), digest_images(pixels, labels)
        )

    train = part("train")
    has_validation = values.get("validation") is not None
    counts = torch.bincount(train.labels, minlength=len(classes))
    if not has_validation and int(counts.min()) == 0:  # a split takes some of each
        empty = classes[int(counts.argmin())]
        raise _wrong(name, "train with images of every class", f"none of {empty!r}")
    return Source(
        classes=classes,
        train=train,
        test=lambda: part("test"),
        stored_size=sizes[0],
        validation=part("validation") if has_validation else None,
    )


def _call(name: str, rule: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise _wrong(name, rule, error_text(error)) from error


def _check_classes(name: str, classes: Any) -> tuple[str, ...]:
    is_sequence = isinstance(classes, Sequence) and not isinstance(classes, str)
    if not is_sequence or not all(isinstance(class_name, str) for class_name in classes):
        raise _wrong(name, "classes as a sequence of names", _kind(classes))
    if len(set(classes)) < len(classes):
        twice = next(class_name for class_name in classes if classes.count(class_name) > 1)
        raise _wrong(name, "classes with different names", f"{twice!r} twice")
    return tuple(classes)


def _check_pair(
    name: str, key: str, value: Any, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise _wrong(name, f"{key} as a pair of images and labels", _kind(value))
    images, labels = (
        part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else np.asarray(part)
        for part in value
    )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        rule = f"{key} with uint8 images [n, 3 or 1, height, width]"
        raise _wrong(name, rule, _kind(images))
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise _wrong(name, f"{key} with integer labels [n]", _kind(labels))
    if len(images) != len(labels) or not len(labels):
        got = f"{len(images)} images and {len(labels)} labels"
        raise _wrong(name, f"{key} with a label for each image, at least one", got)
    wrong = labels[(labels < 0) | (labels >= len(classes))]
    if len(wrong):
        raise _wrong(name, f"{key} with labels from 0 to {len(classes) - 1}", str(wrong[0]))
    return images, labels.astype(np.int64)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def _wrong(name: str, expected: str, got: str) -> DataError:
    return DataError(f"dataset.name: {name} must give {expected}, got {got}. Correct it.")
