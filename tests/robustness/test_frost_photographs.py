"""Photographs of frost, from a folder of the user's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.errors import DataError
from ablate.robustness.corruption.frost import load_frost


def save(folder: Path, name: str, level: int, size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, (level, level + 1, level + 2)).save(folder / name)


def test_the_first_five_by_name(tmp_path: Path) -> None:
    for number in (3, 1, 6, 2, 5, 4):
        save(tmp_path / "frost", f"frost{number}.png", 10 * number)
    (tmp_path / "frost" / "licence.txt").write_text("whose they are")
    (tmp_path / "frost" / ".hidden.png").write_text("no image")
    found = load_frost(tmp_path / "frost")
    assert [int(photograph[0, 0, 0]) for photograph in found.photographs] == [10, 20, 30, 40, 50]
    assert found.photographs[0].shape == (3, 30, 40)
    assert found.photographs[0][:, 0, 0].tolist() == [10, 11, 12]  # red first


def test_the_digest_is_of_what_is_drawn(tmp_path: Path) -> None:
    for number in range(1, 7):
        save(tmp_path / "frost", f"frost{number}.png", 10 * number)
    first = load_frost(tmp_path / "frost").digest
    assert load_frost(tmp_path / "frost").digest == first
    save(tmp_path / "frost", "frost6.png", 200)
    assert load_frost(tmp_path / "frost").digest == first
    save(tmp_path / "frost", "frost5.png", 200)
    second = load_frost(tmp_path / "frost").digest
    assert second != first
    save(tmp_path / "frost", "frost5.png", 200, size=(30, 40))  # the same bytes in another shape
    assert load_frost(tmp_path / "frost").digest != second


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"away: must be a folder of frost photographs.*no such folder"
    ):
        load_frost(tmp_path / "away")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: must contain frost photographs .*got none\. Add"):
        load_frost(tmp_path / "empty")
    (tmp_path / "torn").mkdir()
    np.save(tmp_path / "torn" / "x.npy", np.zeros(3))
    (tmp_path / "torn" / "x.npy").rename(tmp_path / "torn" / "frost1.png")
    with pytest.raises(DataError, match=r"frost1.png: must be a readable image, got"):
        load_frost(tmp_path / "torn")
