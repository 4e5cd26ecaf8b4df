"""Files with more than 8 bits, names that do not fit on a line, and arrays of another size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from ablate.data.decode import examine, fit_image, open_rgb, read_size, resize_images
from ablate.data.load import load_dataset
from ablate.data.scan import scan_folder
from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.study.settings import DatasetSettings

DEEP = np.random.default_rng(0).integers(65536, size=(6, 6)).astype(np.uint16)
DEEP[0, :2] = 0, 65535


def bytes_of(file: Path) -> np.ndarray:
    pixels = fit_image(open_rgb(file), 6, None)
    assert (pixels == pixels[0]).all(), "grey"
    return pixels[0]


def save_pgm(file: Path, values: np.ndarray) -> None:
    height, width = values.shape
    file.write_bytes(f"P5 {width} {height} 65535\n".encode() + values.astype(">u2").tobytes())


def save_big_endian_tiff(file: Path, values: np.ndarray) -> None:
    Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes()).save(file)


def save(file: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(file)


@pytest.mark.parametrize(
    ("name", "write", "mode"),
    [
        ("image.png", save, "I;16"),
        ("image.tif", save, "I;16"),
        ("image_b.tif", save_big_endian_tiff, "I;16B"),
        ("image.pgm", save_pgm, "I"),
        ("image_32.tif", lambda file, values: save(file, values.astype(np.int32)), "I"),
    ],
)
@pytest.mark.parametrize("highest", [65535, 5000])
def test_16_bits_become_8(
    tmp_path: Path, name: str, write: Callable[[Path, np.ndarray], None], mode: str, highest: int
) -> None:
    values = np.minimum(DEEP, highest)
    write(tmp_path / name, values)
    with Image.open(tmp_path / name) as file:
        assert file.mode == mode
    expected = np.rint(values / 257).astype(np.uint8)
    assert np.array_equal(bytes_of(tmp_path / name), expected)


def test_more_than_16_bits(tmp_path: Path) -> None:
    file = tmp_path / "image.tif"
    save(file, DEEP.astype(np.int32) * 2)
    with pytest.raises(DataError) as error:
        fit_image(open_rgb(file), 6, None)
    assert str(error.value) == (
        f"{file}: must be a readable image, got a value of 131070, where 16 bits end at 65535. "
        "Replace or remove it."
    )


def test_a_file_for_which_pillow_would_start_a_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="got a file that is not an image"):
        open_rgb(file)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"),
        ("Käse und Brot.png", "Käse und Brot.png"),
        (Path("two\nlines/x.png"), r"'two\nlines/x.png'"),
        ("\x1b[31mred", r"'\x1b[31mred'"),
        (os.fsdecode(b"no\xffutf8"), r"'no\udcffutf8'"),
    ],
)
def test_names_stay_on_one_line(name: str | Path, shown: str) -> None:
    assert show_name(name) == shown


def test_a_message_about_names_with_line_breaks_is_one_line(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "d\nog"):
            (tmp_path / "two\nlines" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "two\nlines" / split / name / "i\nj.png")
    (tmp_path / "two\nlines/train/d\nog/k.png").write_bytes(b"no image")
    settings = DatasetSettings(name="image_folder", path="two\nlines")
    with pytest.raises(DataError) as error:
        load_dataset(settings, tmp_path, tmp_path / "cache", image_size=8)
    assert str(error.value).isprintable()
    assert r"two\nlines/train': must have readable images, got 1 of 3" in str(error.value)
    assert r"'d\nog/k.png' (a file that is not an image)" in str(error.value)


def test_arrays_are_brought_to_the_networks_size() -> None:
    images = torch.randint(256, (3, 3, 12, 12), dtype=torch.uint8)
    assert torch.equal(resize_images(images, 12), images)
    assert torch.equal(resize_images(images[:, :1], 12), images[:, :1].repeat(1, 3, 1, 1))
    wide = torch.zeros(1, 3, 10, 30, dtype=torch.uint8)
    wide[:, :, :, 10:20] = 200
    for middle in (resize_images(wide, 10), resize_images(wide, 10, resize=20)):
        assert middle.shape == (1, 3, 10, 10)
        assert middle.min() == 200
    board = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    board[:, :, ::2, ::2] = board[:, :, 1::2, 1::2] = 200
    smaller = resize_images(board, 8)[..., 1:-1, 1:-1].int()
    assert (smaller - 100).abs().max() <= 2  # an average


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(tmp_path: Path, name: str, orientation: int) -> None:
    """Each orientation of EXIF, against Pillow's own; a bright corner shows which way is up."""
    values = np.zeros((8, 16, 3), np.uint8)
    values[:4, :4] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    quality = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(values).save(tmp_path / name, exif=exif, **quality)
    with Image.open(tmp_path / name) as file:
        expected = ImageOps.exif_transpose(file)
    found = open_rgb(tmp_path / name)
    assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert found.size == read_size(tmp_path / name) == examine(tmp_path / name).size
    assert found.size == ((8, 16) if orientation >= 5 else (16, 8))
    assert examine(tmp_path / name).is_rotated == (orientation > 1 and name != "a.tif")


def test_damaged_exif_turns_nothing_and_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0II*\0"):
        Image.new("RGB", (16, 8)).save(file, exif=exif)
        code = f"import ablate.data.decode as d; print(d.examine(d.Path({str(file)!r})))"
        run = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        assert run.returncode == 0
        assert run.stderr == ""
        assert run.stdout.startswith("Examined(size=(16, 8), is_grey=False, is_rotated=False, unre")


def test_pillows_warnings_stay_inside(tmp_path: Path) -> None:
    big = tmp_path / "big.png"
    Image.new("1", (10_000, 9_000)).save(big)  # more pixels than Pillow takes without a warning
    code = f"import ablate.data.decode as d; print(d.examine(d.Path({str(big)!r})).unreadable)"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "\n", "")


def test_a_link_to_itself_is_one_file_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("x", "y.jpg"):
        (folder / name).symlink_to(folder / name)
    (tmp_path / "z").symlink_to(tmp_path / "z")
    scan = scan_folder(tmp_path)
    assert [one.reason for one in scan.unreadable] == ["Too many levels of symbolic links"]
    assert scan.splits[""].skipped == {"beside the class folders": 1, "without extension": 1}
