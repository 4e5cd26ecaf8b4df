"""Files with more than 8 bits, names that do not fit on a line, and arrays of another size."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.data.decode import fit_image, open_rgb, resize_images
from ablate.data.load import load_dataset
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
