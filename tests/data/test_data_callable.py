"""A data set of the user's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ablate.data.dataset import Dataset
from ablate.data.load import load_dataset
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings

LABELS = np.arange(40) % 2
IMAGES = np.random.default_rng(0).integers(256, size=(40, 3, 16, 16), dtype=np.uint8)
GIVEN: dict[str, object] = {
    "train": (IMAGES, LABELS),
    "test": (IMAGES[:8], LABELS[:8]),
    "classes": ["cat", "dog"],
}


class Own(NamedTuple):
    train: object
    test: object
    classes: object


def given(image_size: int, path: Path | None) -> object:
    return GIVEN


def as_tuple(image_size: int, path: Path | None) -> object:
    return Own(**GIVEN)


def asked(image_size: int, path: Path | None) -> object:
    raise ValueError(f"asked for {image_size}\nand {path}")


def quits_later() -> object:
    raise SystemExit(5)


def narrow() -> object:
    return GIVEN


def load(folder: Path, function: str = "given", **settings: object) -> Dataset:
    chosen = DatasetSettings.model_validate(
        {"name": f"{__name__}:{function}", "validation": {"fraction": 0.2}, **settings}
    )
    return load_dataset(chosen, folder, folder / "cache", image_size=16)


def test_pixels_labels_and_classes(tmp_path: Path) -> None:
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert len(data.train) == 32
    assert len(data.validation) == 8
    assert np.array_equal(data.test().images.numpy(), IMAGES[:8])
    assert data.test().labels.dtype == torch.int64
    assert load(tmp_path, "as_tuple").digest == data.digest


def test_a_test_that_is_called_is_read_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GIVEN, "test", lambda: (IMAGES[:4].astype(float), LABELS[:4]))
    data = load(tmp_path)
    with pytest.raises(DataError, match=r"must give test with uint8 images .*, got float64"):
        data.test()


def test_a_validation_split_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(tmp_path)
    monkeypatch.setitem(GIVEN, "validation", (IMAGES[8:12], LABELS[8:12]))
    data = load(tmp_path)
    assert len(data.train) == 40
    assert np.array_equal(data.validation.images.numpy(), IMAGES[8:12])
    assert data.digest != before.digest
    monkeypatch.setitem(GIVEN, "train", (IMAGES, LABELS * 0))  # no dog: nothing is split off
    assert load(tmp_path).train.labels.unique().tolist() == [0]


WRONG = [
    ({"train": None}, "train, test and classes, got no train"),
    ({"classes": "ab"}, "classes as a sequence of names, got str"),
    ({"classes": ["cat", "cat"]}, "classes with different names, got 'cat' twice"),
    ({"train": IMAGES}, "train as a pair of images and labels, got uint8 [40, 3, 16, 16]"),
    (
        {"train": (IMAGES / 255, LABELS)},
        "train with uint8 images [n, 3 or 1, height, width], got float64 [40, 3, 16, 16]",
    ),
    ({"train": (IMAGES, LABELS / 1)}, "train with integer labels [n], got float64 [40]"),
    (
        {"train": (IMAGES, LABELS[:4])},
        "train with a label for each image, at least one, got 40 images and 4 labels",
    ),
    ({"train": (IMAGES, LABELS + 1)}, "train with labels from 0 to 1, got 2"),
    ({"train": (IMAGES, LABELS * 0)}, "train with images of every class, got none of 'dog'"),
]


@pytest.mark.parametrize(("values", "rule"), WRONG, ids=[rule for _, rule in WRONG])
def test_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], rule: str
) -> None:
    for key, value in values.items():
        monkeypatch.setitem(GIVEN, key, value)
    with pytest.raises(DataError) as error:
        load(tmp_path)
    assert str(error.value) == f"dataset.name: {__name__}:given must give {rule}. Correct it."


def test_not_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, "Path.home", name="time:localtime")
    assert "must give a data set when called with image_size and path" in str(error.value)
    with pytest.raises(DataError) as error:
        load(tmp_path, name="builtins:dict")
    assert str(error.value) == (
        "dataset.name: builtins:dict must give train, test and classes, got no train. Correct it."
    )


def test_a_callable_that_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, "asked", path="own/folder")
    assert str(error.value) == (
        f"dataset.name: {__name__}:asked must give a data set when called with image_size and "
        f"path, got ValueError: asked for 16 and {tmp_path}/own/folder. Correct it."
    )
    with pytest.raises(DataError, match=r"got TypeError: narrow\(\) got an unexpected keyword"):
        load(tmp_path, "narrow")


@pytest.mark.parametrize("key", ["train", "test"])
def test_a_part_that_ends_the_process_when_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setitem(GIVEN, key, quits_later)
    with pytest.raises(DataError) as error:
        load(tmp_path).test()
    assert str(error.value) == (
        f"dataset.name: {__name__}:given must give {key} when that is called, got "
        "SystemExit: 5. Correct it."
    )


def test_the_tutorial_s_own(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/tutorials/own_data.md").read_text()
    (block,) = re.findall(r"```python\n([^`]*stripes.*?)```", page, re.DOTALL)
    (tmp_path / "my_stripes.py").write_text(block)
    data = load(tmp_path, name="my_stripes:stripes")
    assert len(data.train) == 64
    assert len(data.test()) == 20
