"""Images to evaluate on: named data sets, folders in each layout, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.data.evaluated import (
    EvaluatedImages,
    ImageRequest,
    load_evaluated,
    usual_resize,
)
from ablate.errors import AblateError, DataError, ParameterError

WHOLE = ImageRequest(image_size=16)


def write(root: Path, sizes: dict[str, list[tuple[int, int]]], *, grey: bool = False) -> Path:
    """Noise of these sizes, a folder a class."""
    random = np.random.default_rng(0)
    for name, ones in sizes.items():
        (root / name).mkdir(parents=True)
        for index, (width, height) in enumerate(ones):
            shape = (height, width) if grey else (height, width, 3)
            pixels = random.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 16 x 16: 3 and 2 images, in val/; one each in train/."""
    square = (16, 16)
    write(tmp_path / "birds" / "val", {"crow": [square] * 3, "owl": [square] * 2})
    write(tmp_path / "birds" / "train", {"crow": [square], "owl": [square]})
    return tmp_path / "birds"


def load(
    dataset: object, tmp_path: Path, request: ImageRequest = WHOLE, data: Path | None = None
) -> EvaluatedImages:
    return load_evaluated(str(dataset), data, request, tmp_path / "cache")


def refusal(
    dataset: object,
    tmp_path: Path,
    request: ImageRequest = WHOLE,
    data: Path | None = None,
    kind: type[AblateError] = DataError,
) -> str:
    with pytest.raises(kind) as error:
        load(dataset, tmp_path, request, data)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(tmp_path), "TMP")


def test_a_folder_in_each_layout(folder: Path, tmp_path: Path) -> None:
    found = load(folder, tmp_path)
    assert (found.name, found.part, found.classes) == ("birds", "val", ("crow", "owl"))
    assert found.split.images.shape == (5, 3, 16, 16)
    assert found.split.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.notes == ("files: shorter side 16 pixels",)
    direct = load(folder / "val", tmp_path)
    assert (direct.name, direct.part) == ("val", "")
    assert direct.split.digest == found.split.digest
    by_name = load("image_folder", tmp_path, data=folder)
    assert by_name.split.digest == found.split.digest
    write(folder / "test", {"crow": [(16, 16)]})
    assert load(folder, tmp_path).part == "test"
    assert load(folder, tmp_path, ImageRequest(image_size=16, part="val")).part == "val"


def test_the_middle_is_cut_as_evaluations_do(tmp_path: Path) -> None:
    assert [usual_resize(side) for side in (32, 96, 224, 299)] == [32, 96, 256, 342]
    mixed = write(tmp_path / "mixed", {"crow": [(40, 30), (30, 40)], "owl": [(50, 50)]})
    found = load(mixed, tmp_path, ImageRequest(image_size=16, resize=20, resize_is_asked=True))
    assert found.split.images.shape == (3, 3, 16, 16)
    assert found.notes == ("files: shorter side 20 pixels, centre crop 16 x 16",)
    large = load(mixed, tmp_path, ImageRequest(image_size=112))
    assert large.notes == ("files: shorter side 128 pixels, centre crop 112 x 112",)
    trained = load(mixed, tmp_path, ImageRequest(image_size=112, as_trained=True))
    assert trained.notes == ("files: shorter side 112 pixels",)
    whole = load(mixed, tmp_path)
    assert whole.notes == ("files: shorter side 16 pixels",)


def test_small_files_are_corrupted_at_their_size(folder: Path, tmp_path: Path) -> None:
    own = load(folder, tmp_path).split.digest
    habit = ImageRequest(image_size=224, resize=256)
    for request in (ImageRequest(image_size=224), habit, ImageRequest()):
        found = load(folder, tmp_path, request)
        assert (found.split.digest, found.split.images.shape[-1]) == (own, 16)
    asked = ImageRequest(image_size=24, resize=28, resize_is_asked=True)
    assert load(folder, tmp_path, asked).split.images.shape[-1] == 24
    trained = ImageRequest(image_size=24, as_trained=True)
    assert load(folder, tmp_path, trained).split.images.shape[-1] == 24


def test_a_sample_is_of_every_class_and_always_the_same(folder: Path, tmp_path: Path) -> None:
    request = ImageRequest(image_size=16, count=2)
    one, again = load(folder, tmp_path, request), load(folder, tmp_path / "other", request)
    assert one.split.digest == again.split.digest
    assert one.split.labels.tolist() == [0, 1]
    assert one.notes[0] == "2 of 5 images, balanced over classes"
    assert len(load(folder, tmp_path, ImageRequest(image_size=16, count=1)).split) == 1
    assert len(load(folder, tmp_path, ImageRequest(image_size=16, count=9)).split) == 5
    digits = load("digits", tmp_path, ImageRequest(image_size=8, count=20))
    assert torch.bincount(digits.split.labels, minlength=10).tolist() == [2] * 10
    assert digits.notes[0] == "20 of 359 images, balanced over classes"


def test_named_data_sets_keep_their_own_size(tmp_path: Path) -> None:
    digits = load("digits", tmp_path, ImageRequest(image_size=12))
    assert (digits.name, digits.part) == ("digits", "test")
    assert digits.split.images.shape == (359, 3, 12, 12)
    assert digits.notes == (
        "digits: enlarged from 8 x 8 to 12 x 12 before corruption",
        "digits is grey; its channel is repeated three times",
    )
    assert len(load("digits", tmp_path, ImageRequest(image_size=8)).notes) == 1
    assert load("digits", tmp_path, ImageRequest()).split.images.shape[-1] == 32
    mean, std = digits.training_statistics()
    assert (len(mean), len(std)) == (3, 3)
    assert mean[0] == pytest.approx(0.3, abs=0.1)


def test_arrays_of_the_users_own_are_corrupted_at_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_sizes.py").write_text(
        "import numpy as np\n"
        "def of(*shape):\n"
        "    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, *shape), dtype=np.uint8)\n"
        "    pair = (pixels, np.array([0, 1]))\n"
        "    return {'train': pair, 'test': pair, 'classes': ['a', 'b']}\n"
        "def square(image_size, path): return of(12, 12)\n"
        "def wide(image_size, path): return of(12, 20)\n"
    )
    monkeypatch.chdir(tmp_path)

    def shape(name: str, request: ImageRequest) -> tuple[int, ...]:
        return tuple(load(f"own_sizes:{name}", tmp_path, request).split.images.shape[2:])

    assert shape("square", ImageRequest(image_size=24)) == (12, 12)
    assert shape("square", ImageRequest()) == (12, 12)
    assert shape("square", ImageRequest(image_size=8)) == (8, 8)
    assert shape("square", ImageRequest(image_size=24, as_trained=True)) == (24, 24)
    assert shape("wide", ImageRequest(image_size=24)) == (24, 24)


def test_one_channel_for_a_network_that_takes_one(folder: Path, tmp_path: Path) -> None:
    digits = load("digits", tmp_path, ImageRequest(image_size=8, channels=1))
    three = load("digits", tmp_path, ImageRequest(image_size=8))
    assert torch.equal(digits.split.images, three.split.images[:, :1])
    assert digits.notes == ("the network takes one channel",)
    assert digits.split.digest != three.split.digest
    birds = load(folder, tmp_path, ImageRequest(image_size=16, channels=1))
    colour = load(folder, tmp_path).split.images.double()
    luma = colour[:, 0] * 0.299 + colour[:, 1] * 0.587 + colour[:, 2] * 0.114
    assert (birds.split.images[:, 0] - luma).abs().max() < 0.51
    assert birds.notes[-1] == "the network takes one channel: the images are converted to luma"


def test_files_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    for name in ("crow/0.png", "owl/1.png"):
        (folder / "val" / name).write_bytes(b"no image")
    assert refusal(folder, tmp_path) == (
        "TMP/birds/val: must have readable images, got 2 of 5 image files that cannot be read: "
        "crow/0.png (a file that is not an image), owl/1.png (a file that is not an image). "
        "Replace or remove them, or set dataset.skip_unreadable: true."
    )
    found = load(folder, tmp_path, ImageRequest(image_size=16, skip_unreadable=True))
    assert found.split.labels.tolist() == [0, 0, 1]
    assert found.notes[0] == "left out as unreadable: 2 of 5 images (crow/0.png, owl/1.png)"


def test_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    assert refusal("cifar01", tmp_path) == (
        "`dataset`: must be a known data set, package.module:callable or an existing folder, got "
        "'cifar01'. Did you mean cifar10?"
    )
    assert refusal("no/where", tmp_path).endswith("got 'no/where'. Correct the path.")
    test = ImageRequest(image_size=16, part="test")
    assert refusal(folder, tmp_path, test) == (
        "TMP/birds: must have test/CLASS/*, got no test/. Correct `dataset` or `split`."
    )
    assert refusal("digits", tmp_path, ImageRequest(part="val")) == (
        "`split`: digits has no validation images, got val. Leave it out, or choose a folder."
    )
    assert refusal(folder, tmp_path, data=tmp_path) == (
        "`data`: applies only to a named data set, got it with the folder TMP/birds. Leave it out."
    )
    (folder / "val").rename(tmp_path / "moved")
    assert refusal(folder, tmp_path) == (
        "TMP/birds: must have test/ or val/ next to train/, got neither. Choose the folder with "
        "the images to evaluate on."
    )


def test_what_contradicts_itself(folder: Path, tmp_path: Path) -> None:
    large = write(tmp_path / "large", {"crow": [(120, 120)], "owl": [(120, 120)]})
    assert refusal(large, tmp_path, ImageRequest(), kind=ParameterError) == (
        "`image_size`: must be set for the images in TMP/large, got a network with unknown input "
        "size. Give its input size in pixels."
    )
    small = ImageRequest(image_size=16, resize=12, resize_is_asked=True)
    assert refusal(folder, tmp_path, small, kind=ParameterError) == (
        "`resize`: must be at least the image size 16, got 12. Raise it."
    )
    assert refusal("digits", tmp_path, small, kind=ParameterError) == (
        "`resize`: applies only to folders of image files, got it with digits, whose images are "
        "resized without cropping. Leave it out."
    )
    with pytest.raises(ParameterError) as error:
        load(folder, tmp_path).training_statistics()
    assert str(error.value) == (
        "`normalization`: dataset needs a data set with known training images, got birds. Give "
        "`mean` and `std`."
    )
