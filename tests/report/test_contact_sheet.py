"""Contact sheets, as pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablate.errors import ParameterError
from ablate.report.images.contact_sheet import (
    SheetInfo,
    SheetRow,
    check_sheet_name,
    draw_sheet,
    sheet_info,
)
from ablate.robustness.corrupt.command import make_recipe


def plain(level: int, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.full((*size, 3), level, dtype=np.uint8)


@pytest.fixture
def info() -> SheetInfo:
    """Two families, three rows, two severities; every tile of one level."""
    rows = (
        SheetRow("noise", "gaussian_noise", ("0.04", "0.1"), (plain(10), plain(20))),
        SheetRow("weather", "frost", ("1, 0.2", "0.75, 0.45"), (plain(30), plain(40)), "painted"),
        SheetRow("weather", "snow", ("0.1, 0.2, 1, 0.6, 8, 3, 0.95",) * 2, (plain(50), plain(60))),
    )
    return SheetInfo("horse & <co>.png", plain(200), (1, 5), rows, ("seed 0",))


@pytest.mark.slow
def test_the_info_of_an_image() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (32, 40, 3), dtype=np.uint8)
    info = sheet_info("x", pixels, make_recipe(None, None, (1, 3, 5), 0, None))
    assert len(info.rows) == 19
    assert [row.family for row in info.rows].count("noise") == 4
    by_name = {row.name: row for row in info.rows}
    assert by_name["gaussian_noise"].parameters == ("0.04", "0.08", "0.1")
    assert by_name["frost"].mark == "procedural texture, approximate"
    assert by_name["snow"].mark == ""
    for row in info.rows:
        assert [tile.shape for tile in row.tiles] == [(32, 40, 3)] * 3
    assert "40 x 32 pixels" in info.notes[0]
    assert "CIFAR-10-C" in info.notes[1]


def test_large_images_have_the_other_table() -> None:
    recipe = make_recipe(None, ("contrast", "brightness"), (1,), 0, None)
    info = sheet_info("x", plain(100, (120, 130)), recipe)
    assert [row.parameters for row in info.rows] == [("0.1",), ("0.4",)]
    assert "ImageNet-C" in info.notes[1]


def test_distortions_have_strengths() -> None:
    recipe = make_recipe("families", None, (2,), 0, None)
    info = sheet_info("x", plain(100), recipe)
    assert {row.parameters for row in info.rows} == {("strength 0.4",)}
    assert len(info.notes) == 1


def test_the_picture_shows_every_tile_threefold(info: SheetInfo) -> None:
    sheet = np.asarray(draw_sheet(info))
    for level in (10, 20, 30, 40, 50, 60):
        assert (sheet == level).all(axis=2).sum() >= 96 * 96
    assert (sheet == 200).all(axis=2).sum() >= 3 * 96 * 96  # the original in every row
    assert (sheet[-8:] == 255).all()  # nothing is cut off below
    assert (sheet[:, -8:] == 255).all()


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((32, 32), (96, 96)),
        ((64, 64), (128, 128)),
        ((224, 224), (224, 224)),
        ((600, 300), (256, 128)),
    ],
)
def test_tiles_are_large_enough_to_be_looked_at(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    row = SheetRow("noise", "gaussian_noise", ("0.04",), (plain(10, size),))
    sheet = np.asarray(draw_sheet(SheetInfo("x", plain(200, size), (1,), (row,), ())))
    rows, columns = np.nonzero((sheet == 10).all(axis=2))
    found = (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    assert found == shown


def test_labels_and_titles_fit_however_small_the_image_is(info: SheetInfo) -> None:
    narrow = plain(10, (256, 8))
    row = SheetRow("noise", "gaussian_noise", ("0.04",) * 5, (narrow,) * 5)
    one = SheetInfo("x", narrow, (1, 2, 3, 4, 5), (row,), ())
    sheet = draw_sheet(one)
    labels = np.asarray(sheet)[50:90, 200:].min(axis=(0, 2)) < 250
    words = np.split(np.flatnonzero(labels), np.flatnonzero(np.diff(np.flatnonzero(labels)) > 7))
    assert len(words) == 6  # with a gap between each two
    long = draw_sheet(replace(one, title="a very long name " * 20 + "x" * 300))
    assert long.width == sheet.width
    assert long.height > sheet.height + 100
    assert (np.asarray(long)[:, -8:] == 255).all()


def test_letters_without_a_picture_are_escaped() -> None:
    tile = plain(10)
    row = SheetRow("noise", "gaussian_noise", ("0.04",), (tile,))
    cat, escaped = (
        np.asarray(draw_sheet(SheetInfo(title, tile, (1,), (row,), ())))
        for title in ("\u732b.png", "\\u732b.png")
    )
    assert np.array_equal(cat, escaped)


def test_names(tmp_path: Path) -> None:
    check_sheet_name(tmp_path / "sheet.PNG")
    with pytest.raises(ParameterError, match=r"must end with .png, got .html. Name it sheet.png"):
        check_sheet_name(tmp_path / "sheet.html")
    with pytest.raises(ParameterError, match=r"got no ending. Name it sheet.png"):
        check_sheet_name(tmp_path / "sheet")
