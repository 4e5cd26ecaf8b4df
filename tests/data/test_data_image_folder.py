"""Folders of image files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.data.dataset import Dataset
from ablate.data.decode import fit_image, open_rgb
from ablate.data.load import load_dataset
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings, ValidationSettings

CLASSES = ("cat", "dog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`images/{train,test}/{cat,dog}/*.png`, 10 and 4 of each, 12x12 noise."""
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for name in CLASSES:
            place = tmp_path / "images" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(256, size=(12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number:03}.png")
    return tmp_path


def load(
    folder: Path,
    image_size: int = 12,
    path: str | None = "images",
    validation: str | None = None,
    **settings: object,
) -> Dataset:
    chosen = DatasetSettings(
        name="image_folder",
        path=path,
        validation=ValidationSettings(fraction=0.2, path=validation),
        **settings,
    )
    return load_dataset(chosen, folder, folder / "cache", image_size=image_size)


def refused(folder: Path, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        load(folder, **settings)
    return str(error.value).replace(str(folder), "")


def test_pixels_labels_and_classes(folder: Path) -> None:
    data = load(folder)
    assert data.classes == CLASSES
    assert torch.bincount(data.train.labels).tolist() == [8, 8]
    assert torch.bincount(data.validation.labels).tolist() == [2, 2]
    test = data.test()
    assert test.labels.tolist() == [0] * 4 + [1] * 4
    with Image.open(folder / "images/test/dog/002.png") as file:
        expected = np.asarray(file).transpose(2, 0, 1)
    assert np.array_equal(test.images[6].numpy(), expected)


def test_second_opening_reads_the_cache(folder: Path) -> None:
    first = load(folder)
    first.test()
    (entry, _) = (folder / "cache/data").glob("*/images.npy")
    written = entry.stat().st_mtime_ns
    again = load(folder)
    assert entry.stat().st_mtime_ns == written
    assert again.digest == first.digest
    assert torch.equal(again.train.resident().images, first.train.resident().images)


def test_digest_is_of_the_content_and_not_of_the_place(folder: Path) -> None:
    first = load(folder)
    shutil.copytree(folder / "images", folder / "moved")
    assert load(folder, path="moved").digest == first.digest


def test_test_images_are_read_only_when_asked_for(folder: Path) -> None:
    (folder / "images/test/cat/000.png").write_bytes(b"no image")
    data = load(folder)
    with pytest.raises(DataError, match=r"/test: must have readable images, .* cat/000\.png \("):
        data.test()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_mode_becomes_rgb(folder: Path, mode: str) -> None:
    file = folder / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (12, 12)).save(file)
    assert fit_image(open_rgb(file), 12, None).shape == (3, 12, 12)


def test_no_path(folder: Path) -> None:
    with pytest.raises(DataError) as error:
        load(folder, path=None)
    assert str(error.value) == (
        "dataset.path: image_folder needs a folder with train/ and test/ or val/, got none. Add it."
    )


def test_folder_missing(folder: Path) -> None:
    shutil.rmtree(folder / "images")
    assert refused(folder) == (
        "/images: must have train/CLASS/* and test/CLASS/* or val/CLASS/*, got no such folder. "
        "Correct dataset.path; relative paths start at the study file's folder."
    )


def test_class_without_images(folder: Path) -> None:
    (folder / "images/train/bird").mkdir()
    message = refused(folder)
    assert message.startswith("/images/train/bird: must have at least one image (.bmp, .jpeg, ")
    assert message.endswith(", got none. Add some, or remove the folder.")


def test_val_beside_test_is_the_validation_split(folder: Path) -> None:
    before = load(folder)
    shutil.copytree(folder / "images/test", folder / "images/val")
    Image.new("RGB", (12, 12), "red").save(folder / "images/val/cat/000.png")
    data = load(folder)
    assert len(data.train) == 20
    assert len(data.validation) == 8
    assert data.validation.images[0, 0].min() == 255
    assert data.test().digest == before.test().digest
    assert data.digest != before.digest


def test_a_validation_folder_goes_before_val(folder: Path) -> None:
    shutil.copytree(folder / "images/train", folder / "images/val")
    shutil.copytree(folder / "images/test", folder / "held")
    assert len(load(folder).validation) == 20
    assert len(load(folder, validation="held").validation) == 8


def test_a_validation_folder_with_other_classes(folder: Path) -> None:
    shutil.copytree(folder / "images/test/cat", folder / "held/cat")
    assert refused(folder, validation="held") == (
        "/held: must have the classes of /images/train, got dog in only one of them. "
        "Add or remove their folders."
    )


def test_mixed_sizes(folder: Path) -> None:
    Image.new("RGB", (50, 37)).save(folder / "images/train/dog/004.png")
    assert refused(folder) == (
        "/images/train: must have images of one size, got 12x12 (19, cat/000.png), 50x37 "
        "(1, dog/004.png). Set dataset.resize as the network was trained (12: only the longer side "
        "is cut; 14: the usual centre crop), or make them one size."
    )
    assert not list((folder / "cache/data").glob("*/"))
    assert load(folder, resize=14).train.resident().images.shape == (16, 3, 12, 12)


def test_a_resize_fits_the_shorter_side_and_cuts_the_middle(folder: Path) -> None:
    tall = Image.new("RGB", (20, 60), "blue")
    tall.paste("red", (5, 25, 15, 35))
    tall.save(folder / "tall.png")
    pixels = fit_image(open_rgb(folder / "tall.png"), 10, 20)
    assert pixels.shape == (3, 10, 10)
    assert (pixels[0] == 255).all()
    assert (pixels[2] == 0).all()
    half = fit_image(open_rgb(folder / "tall.png"), 8, 10)
    assert (half[0, 2:6, 2:6] == 255).all()
    assert (half[2, 0] == 255).all()
