"""What a scan of a folder of images finds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.data.decode import examine, open_rgb, walk_classes
from ablate.data.scan import FolderScan, Unreadable, scan_folder, scan_listings
from ablate.errors import DataError


def write(folder: Path, count: int, size: tuple[int, int] = (12, 12), ending: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(256, size=(*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three uneven classes, bad files, a .gif, two sizes."""
    for split, cats in (("train", 9), ("test", 4)):
        write(tmp_path / split / "cat", cats)
        write(tmp_path / split / "dog", 4)
        write(tmp_path / split / "owl", 3, (80, 60), "jpg")
    cut = tmp_path / "train/owl/1.jpg"
    cut.write_bytes(cut.read_bytes()[:-900])
    (tmp_path / "train/dog/2.png").write_bytes(b"no image")
    (tmp_path / "test/cat/0.png").write_bytes(b"")
    (tmp_path / "test/cat/link.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "test/dog/pipe.png")
    Image.new("L", (12, 12)).save(tmp_path / "test/dog/moving.gif")
    Image.new("L", (12, 12)).save(tmp_path / "train/dog/grey.png")
    (tmp_path / "train/dog/below").mkdir()
    (tmp_path / "train/names.csv").write_text("")
    (tmp_path / "train/dog/.hidden").write_text("")
    return tmp_path


def test_everything_is_found_at_once(folder: Path) -> None:
    scan = scan_folder(folder)
    assert scan.counts == {
        "train": {"cat": 9, "dog": 4, "owl": 2},
        "test": {"cat": 3, "dog": 4, "owl": 3},
    }
    assert scan.unreadable == (
        Unreadable("train/dog/2.png", "a file that is not an image"),
        Unreadable("train/owl/1.jpg", "a truncated image"),
        Unreadable("test/cat/0.png", "an empty file"),
        Unreadable("test/cat/link.png", "a broken link"),
        Unreadable("test/dog/pipe.png", "a FIFO"),
    )
    assert scan.sizes == {(12, 12): 20, (80, 60): 5}
    assert (scan.decoded, scan.grey) == (30, 1)
    assert scan.summary() == (
        "train: 15 images of 3 classes (cat 9, dog 4, owl 2)",
        "test: 10 images of 3 classes (cat 3, dog 4, owl 3)",
    )
    left_out, *notes = scan.notes(skip_unreadable=True)
    assert left_out.startswith(
        "5 of 30 image files cannot be read and are left out: train/dog/2.png (a file that is not"
    )
    assert (
        tuple(notes)
        == scan.notes()
        == (
            "skipped files: 1 beside the class folders, 1 in folders of a class, 1 .gif. Read are "
            ".bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp",
            "grey images: 1 of them; their channel is repeated three times",
            "uneven classes in train/: owl 2 to cat 9 images; a network that always answers cat is "
            "right on 60.0 %",
        )
    )


def test_very_uneven_classes_come_with_the_metrics_to_take(folder: Path) -> None:
    (note,) = (note for note in scan_folder(folder).notes(advises=True) if "uneven" in note)
    assert note.endswith(
        "is right on 60.0 %; accuracy tells mostly of cat: take val_balanced_accuracy and "
        "val_robust_balanced_accuracy"
    )


def test_a_refusal_names_everything(folder: Path) -> None:
    scan = scan_folder(folder)
    with pytest.raises(DataError) as error:
        scan.refuse(skip_unreadable=False, resize=None, image_size=32)
    text = str(error.value).replace(str(folder), "IMAGES")
    assert text.startswith(
        "IMAGES: must have readable images and images of one size, got 5 of 30 image files that "
        "cannot be read: train/dog/2.png (a file that is not an image), train/owl/1.jpg"
    )
    assert text.endswith("; 37: the usual centre crop), or make them one size.")
    assert ", and 12x12 (20, train/cat/0.png), 80x60 (5, train/owl/0.jpg)." in error.value.args[0]
    parameters = error.value.named_by({"dataset.path": "`data`"}).args[0]
    assert "or give `skip_unreadable=True`. Give `resize` as the network was trained" in parameters
    with pytest.raises(DataError, match=r"got 12x12 \(20, train/cat/0.png\)"):
        scan.refuse(skip_unreadable=True, resize=None, image_size=32)
    with pytest.raises(DataError, match=r"\(a FIFO\)\. Replace them\.$"):
        scan.refuse(skip_unreadable=None, resize=37, image_size=32)
    scan.refuse(skip_unreadable=True, resize=37, image_size=32)


def test_classes_of_one_split_only_and_without_images(tmp_path: Path) -> None:
    write(tmp_path / "train/cat", 2)
    (tmp_path / "train/dog").mkdir()
    write(tmp_path / "test/cat", 1)
    assert scan_folder(tmp_path).notes() == (
        "classes without an image in train/: dog",
        "classes without a folder in test/: dog",
    )
    assert scan_folder(tmp_path / "test").summary() == ("1 images of 1 class (cat 1)",)


def test_a_limit_decodes_a_spread_sample_and_says_so(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "images" / name, 10)
    done: list[tuple[int, int]] = []

    def scan(most: int | None, **kept: Path) -> FolderScan:
        listings = {"": walk_classes(tmp_path / "images")}
        return scan_listings(
            tmp_path / "images", listings, most=most, on_file=lambda *at: done.append(at), **kept
        )

    some, cache = scan(4), {"cache": tmp_path / "cache"}
    assert (some.decoded, some.sizes) == (4, {(12, 12): 4})
    assert some.notes() == ("decoded 4 of 20 image files, evenly spread",)
    assert done == [(4, 4)]
    assert scan(4, **cache).decoded == 4
    whole = scan(None, **cache)
    assert whole.decoded == 20
    assert scan(4, **cache) == whole, "it was kept"
    (tmp_path / "images/cat/3.png").write_bytes(b"no image")
    assert scan(None, **cache).unreadable[0].name == "cat/3.png"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp"])
def test_a_cut_file_is_found_wherever_decoding_would_fail(tmp_path: Path, ending: str) -> None:
    write(tmp_path, 1, (90, 70), ending)
    file = tmp_path / f"0.{ending}"
    whole = file.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError):
            open_rgb(file)
        assert examine(file).unreadable
    file.write_bytes(whole)
    assert examine(file).size == open_rgb(file).size == (90, 70)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder of images, got no such folder"):
        scan_folder(tmp_path / "none")
