"""Settings of a data set that do not go together, and images without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ablate
from ablate.data import DATASETS
from ablate.data.dataset import Dataset, Split, SplitRows
from ablate.data.image_folder import StreamedSplit
from ablate.data.load import load_dataset
from ablate.errors import DataError, StudyFileError
from ablate.study.settings import DatasetSettings


def load(folder: Path, image_size: int = 16, **settings: object) -> Dataset:
    chosen = DatasetSettings.model_validate({"name": "digits", **settings})
    return load_dataset(chosen, folder, folder / "cache", image_size=image_size)


@pytest.fixture
def unlabeled(tmp_path: Path) -> Path:
    """Seven white images at three depths, one hidden, and a file that is none."""
    root = tmp_path / "more"
    for name in ("a.png", "one/b.png", "one/c.png", "one/two/d.jpg", "z/e.png", "z/f.png", "g.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), "white").save(root / name)
    (root / ".trash").mkdir()
    Image.new("RGB", (9, 9)).save(root / ".trash/h.png")
    (root / "one/notes.txt").write_text("no image")
    return root


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"validation": {"path": "held"}},
            "dataset.validation.path: only image_folder has a folder of validation images, got "
            "'held' with digits. Use dataset.validation.fraction.",
        ),
        (
            {"loading": "streamed"},
            "dataset.loading: requires image files, got digits. Remove it, or set dataset.name to "
            "image_folder.",
        ),
        (
            {"crop_scale": 0.5},
            "dataset.crop_scale: needs images that are decoded in each epoch, got 0.5 with "
            "resident ones. Write loading: streamed.",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyFileError) as error:
        ablate.check(
            {
                "name": "mine",
                "dataset": {"name": "digits", **settings},
                "model": {"name": "resnet8"},
                "space": {"finetune.learning_rate": {"float": [0.1, 0.2]}},
            }
        )
    assert str(error.value) == message


def test_images_are_not_cut_out_of_smaller_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, resize=12)
    assert str(error.value) == (
        "dataset.resize: must be at least the image size 16, got 12. Raise it, or lower "
        "dataset.image_size."
    )


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_says_what_it_misses(tmp_path: Path, name: str) -> None:
    """`digits` misses nothing: it takes no path."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^(dataset\.path: |.*/empty: )") as error:
        load(tmp_path, name=name, path="empty")
    assert "\n" not in str(error.value)
    assert str(error.value).count(", got ") == 1


def test_images_without_labels_stand_beside_the_others(tmp_path: Path, unlabeled: Path) -> None:
    plain, data = load(tmp_path), load(tmp_path, unlabeled="more")
    assert plain.unlabeled is None
    assert isinstance(data.unlabeled, Split)
    assert data.unlabeled.labels.tolist() == [-1] * 7
    assert data.unlabeled.images.shape == (7, 3, 16, 16)
    assert (data.mean, data.std) == (plain.mean, plain.std)
    assert data.train.digest == plain.train.digest
    assert data.digest != plain.digest


def test_images_without_labels_are_streamed_where_loading_is(
    tmp_path: Path, unlabeled: Path
) -> None:
    resident = load(tmp_path, unlabeled="more")
    data = load(tmp_path, unlabeled="more", loading="streamed", loading_workers=0)
    assert isinstance(data.train, SplitRows)
    assert isinstance(data.unlabeled, StreamedSplit)
    (batch,) = data.unlabeled.place("cpu").batches(torch.arange(7), 7, seed=0)
    assert np.array_equal(batch[0], resident.unlabeled.images)
    assert batch[1].tolist() == [-1] * 7


@pytest.mark.parametrize(("there", "got"), [(True, "none"), (False, "no such folder")])
def test_no_images_without_labels(tmp_path: Path, there: bool, got: str) -> None:
    if there:
        (tmp_path / "more").mkdir()
    with pytest.raises(DataError) as error:
        load(tmp_path, unlabeled="more")
    assert str(error.value) == (
        f"{tmp_path}/more: must have images without labels, at any depth, got {got}. "
        "Correct dataset.unlabeled; relative paths start at the study file's folder."
    )
