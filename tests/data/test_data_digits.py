"""The embedded digits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ablate.data.dataset import Dataset
from ablate.data.digits import read_scans, upsample_digits
from ablate.data.load import load_dataset
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings, ValidationSettings

DIGEST = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def load(folder: Path, seed: int = 0, image_size: int = 8, **settings: object) -> Dataset:
    validation = ValidationSettings(fraction=0.2, seed=seed)
    chosen = DatasetSettings.model_validate(
        {"name": "digits", "validation": validation, **settings}
    )
    return load_dataset(chosen, folder, folder / "cache", image_size=image_size)


def test_they_are_those_that_scikit_learn_has() -> None:
    scans, labels = read_scans()
    content = scans.astype(np.uint8).tobytes() + labels.numpy().astype(np.uint8).tobytes()
    assert hashlib.sha256(content).hexdigest() == DIGEST


def test_sizes_shapes_and_types(tmp_path: Path) -> None:
    data = load(tmp_path)
    test = data.test()
    assert len(data.train) + len(data.validation) + len(test) == 1797
    assert len(test) == 359
    assert len(data.validation) == 287
    for split in (data.train.resident(), data.validation, test):
        assert split.images.shape == (len(split), 3, 8, 8)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == torch.int64
        assert torch.bincount(split.labels, minlength=10).min() > 0
    assert data.classes == tuple("0123456789")
    images = [split.images for split in (data.train.resident(), data.validation, test)]
    assert len({image.numpy().tobytes() for image in torch.cat(images)}) == 1797, "in one split"


def test_another_seed_selects_on_other_images_and_keeps_the_test(tmp_path: Path) -> None:
    one, other = load(tmp_path), load(tmp_path, seed=1)
    assert one.validation.digest == load(tmp_path).validation.digest
    assert one.validation.digest != other.validation.digest
    assert one.digest == other.digest
    assert torch.equal(one.test().images, other.test().images)


def test_a_resize_cuts_the_middle(tmp_path: Path) -> None:
    whole, cut = load(tmp_path, image_size=12), load(tmp_path, image_size=8, resize=12)
    assert torch.equal(cut.test().images, whole.test().images[:, :, 2:10, 2:10])


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
