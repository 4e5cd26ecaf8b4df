"""The embedded digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ablate.data.dataset import Dataset
from ablate.data.digits import read_scans, upsample_digits
from ablate.data.load import load_dataset
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings, ValidationSettings


def load(folder: Path, seed: int = 0, image_size: int = 32, **settings: object) -> Dataset:
    validation = ValidationSettings(fraction=0.2, seed=seed)
    chosen = DatasetSettings.model_validate(
        {"name": "digits", "validation": validation, **settings}
    )
    return load_dataset(chosen, folder, folder / "cache", image_size=image_size)


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_sizes_shapes_and_types(tmp_path: Path) -> None:
    data = load(tmp_path)
    test = data.test()
    assert len(data.train) + len(data.validation) + len(test) == 1797
    assert len(test) == 359
    assert len(data.validation) == 287
    for split in (data.train, data.validation, test):
        assert split.images.shape == (len(split), 3, 32, 32)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels, minlength=10).min() > 0
    assert data.classes == tuple("0123456789")


def test_they_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    scans, labels = read_scans()
    expected = load_digits()
    assert np.array_equal(scans, expected.images)
    assert np.array_equal(labels.numpy(), expected.target)


def test_no_image_is_in_two_splits(tmp_path: Path) -> None:
    data = load(tmp_path)
    train, validation, test = (
        rows(images) for images in (data.train.images, data.validation.images, data.test().images)
    )
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_another_seed_selects_on_other_images_and_keeps_the_test(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path, seed=1)
    assert one.validation.digest == load(tmp_path).validation.digest
    assert one.validation.digest != other.validation.digest
    assert one.digest == other.digest
    assert torch.equal(one.test().images, other.test().images)


def test_statistics_are_those_of_the_training_split(tmp_path: Path) -> None:
    data = load(tmp_path)
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    assert data.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist())


def test_other_image_size(tmp_path: Path) -> None:
    assert load(tmp_path, image_size=16).train.images.shape[1:] == (3, 16, 16)


def test_a_resize_cuts_the_middle(tmp_path: Path) -> None:
    whole, cut = load(tmp_path, image_size=40), load(tmp_path, image_size=32, resize=40)
    assert torch.equal(cut.test().images, whole.test().images[:, :, 4:36, 4:36])


def test_scans_keep_their_ink() -> None:
    scans = np.zeros((1, 8, 8))
    scans[0, :, 4:] = 16
    images = upsample_digits(scans, 32)
    assert images[0, :, :, :14].max() == 0
    assert images[0, :, :, 18:].min() == 255
    assert torch.equal(images[:, 0], images[:, 2])


def test_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, path="somewhere")
    assert str(error.value) == (
        "dataset.path: digits is embedded and takes none, got 'somewhere'. Remove it, or set "
        "dataset.name to image_folder."
    )


def test_unknown_data_set_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, name="digit")
    assert str(error.value) == (
        "dataset.name: must be a known data set, got 'digit'. Did you mean digits?"
    )
