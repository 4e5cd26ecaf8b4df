"""A study on a folder with bad files: all are named at once, or left out and counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import ablate
from ablate.analysis.caveats import result_marks
from ablate.cli.main import main
from ablate.data.load import load_dataset, scan_files
from ablate.errors import DataError, FingerprintError
from ablate.study.settings import DatasetSettings, ValidationSettings

Write = Callable[..., Path]


@pytest.fixture
def images(image_folder: Path, work: Path) -> Path:
    """A copy of the folder with three bad files, a `.gif`, and fewer images of a class."""
    copy = Path(shutil.copytree(image_folder, work / "images"))
    cut = copy / "train/left/3.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (copy / "train/right/5.png").write_bytes(b"no image")
    (copy / "test/middle/1.png").write_bytes(b"")
    Image.new("L", (16, 16)).save(copy / "train/left/moving.gif")
    for number in range(10, 30):
        (copy / f"train/middle/{number}.png").unlink()
    return copy


def study_on(write: Write, name: str, **dataset: object) -> Path:
    data = {"name": "image_folder", "path": "images", "image_size": 16, **dataset}
    return write(name, dataset=data, search={"trials": 1, "sampler": "random"})


BAD = (
    "images: must have readable images, got 3 of 82 image files that cannot be read: "
    "train/left/3.png (a truncated image), train/right/5.png (a file that is not an image), "
    "test/middle/1.png (an empty file). Replace or remove them, or set "
    "dataset.skip_unreadable: true."
)


def check(file: Path, *overrides: str) -> str:
    sets = [part for one in overrides for part in ("--set", one)]
    result = CliRunner().invoke(main, ["check", str(file), *sets])
    return result.output + ("" if result.exception is None else str(result.exception))


def test_check_dry_run_and_launch_name_all_bad_files(write_study: Write, images: Path) -> None:
    file = study_on(write_study, "bad")
    assert BAD in check(file)
    for run in (ablate.dry_run, ablate.launch):
        with pytest.raises(DataError) as error:
            run(file, executor="inline")
        assert BAD in str(error.value)


def test_check_tells_what_is_there_and_what_is_missing(
    write_study: Write, images: Path, work: Path
) -> None:
    file = study_on(write_study, "told", skip_unreadable=True)
    text = check(file)
    assert f"{file}: train: 68 images of 3 classes (left 29, middle 10, right 29)\n" in text
    assert f"{file}: test: 11 images of 3 classes (left 4, middle 3, right 4)\n" in text
    assert "note: 3 of 82 image files cannot be read and are left out: train/left/3.png (" in text
    assert "note: skipped files: 1 .gif. Read are .bmp, " in text
    assert "note: uneven classes in train/: middle 10 to right 29 images; a network that " in text
    given = ("baseline.checkpoint=x.safetensors", "baseline.saw_validation=false")
    for normalization in ("auto", "imagenet"):
        text = check(file, *given, f"model.normalization={normalization}")
        assert "baseline.checkpoint: must be a readable file, torchvision:WEIGHTS or timm:" in text
    shutil.rmtree(images)
    assert f"note: dataset.path does not exist yet: {images}\n" in check(file)


@pytest.mark.slow
def test_bad_files_are_left_out_and_counted(write_study: Write, images: Path, work: Path) -> None:
    file = study_on(write_study, "without", skip_unreadable=True)
    record = ablate.launch(file, executor="inline")
    assert record.environment["left_out"] == {"train": 2, "test": 1}
    (mark,) = (mark for mark in result_marks(record) if "left out" in mark)
    assert mark == "image files that cannot be read are left out: 2 in train, 1 in test"
    # A file that is bad now was part of the data.
    (images / "train/left/4.png").write_bytes(b"no image")
    with pytest.raises(FingerprintError, match="got other data"):
        ablate.resume(file, add=1, executor="inline")


def test_the_rest_is_as_if_they_were_not_there(images: Path, work: Path) -> None:
    settings = DatasetSettings(
        name="image_folder",
        path="images",
        image_size=16,
        loading="streamed",
        skip_unreadable=True,
        validation=ValidationSettings(fraction=0.2),
    )
    left_out = load_dataset(settings, work, work / "cache", image_size=16)
    for name in ("train/left/3.png", "train/right/5.png", "test/middle/1.png"):
        (images / name).unlink()
    clean = load_dataset(settings, work, work / "cache", image_size=16)
    assert left_out.left_out == {"train": 2, "test": 1}
    assert clean.left_out == {}
    assert (left_out.digest, left_out.contents) == (
        clean.digest,
        clean.contents,
    )
    assert left_out.test().digest == clean.test().digest


def test_images_without_labels(images: Path, work: Path) -> None:
    settings = DatasetSettings(name="digits", unlabeled="images/train", image_size=8)
    with pytest.raises(DataError, match=r"images/train: must have readable images, got 2 of 70 "):
        load_dataset(settings, work, work / "cache", image_size=8)
    without = settings.model_copy(update={"skip_unreadable": True})
    data = load_dataset(without, work, work / "cache", image_size=8)
    assert data.unlabeled is not None
    assert len(data.unlabeled) == 68
    assert data.left_out == {"unlabeled": 2}
    scan = scan_files(settings, work)
    assert scan is not None
    assert scan.summary() == ("unlabeled: 68 images without classes",)
