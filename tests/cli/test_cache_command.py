"""`ablate cache`, on a cache that the package itself has filled."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run_here

from ablate.data.dataset import Split
from ablate.data.stored import Pixels, stored_split
from ablate.files.cache import cache_folder, list_cache, locked, remove
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.suites import Suite

TWO = Suite("two", {"photometric": ("contrast", "brightness")}, "distortion", "families")


def make_split(folder: Path) -> Split:
    def read() -> Pixels:
        pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)
        return Pixels(np.arange(6) % 2, [pixels])

    return stored_split(folder, "cats", read, what="/pictures/cats")


def read_set(folder: Path) -> torch.Tensor:
    """Every copy of an evaluation set, made where the cache lacks it."""
    made = EvaluationSet(make_split(folder), TWO, (1, 5), 0, folder)
    cells = [(kind, severity) for kind in TWO.types for severity in made.severities]
    return torch.cat([block for cell in cells for block in made.blocks(*cell)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a split, four copies of it in one evaluation set, and a baseline."""
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    read_set(cache_folder())
    baseline = cache_folder() / "baselines" / f"{1:032x}"
    baseline.mkdir(parents=True)
    (baseline / "baseline.json").write_text("{}")
    return cache_folder()


def rows(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run_here("cache", *arguments, "--json").stdout)
    return found


def test_it_lists_what_is_there(folder: Path) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "archive").write_bytes(bytes(5000))
    text = run_here("cache").stdout
    lines = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.split()[1:]}
    assert f"{folder}: " in text
    assert (lines["evaluation"], lines["data"], lines["baseline"]) == ("4", "1", "1")
    assert "downloaded data sets" in text
    assert "5.0 kB" in text
    assert "evaluation sets: at most 50 GB (ABLATE_CACHE_GB)" in text
    found = rows()
    assert [row["kind"] for row in found] == ["evaluation"] * 4 + ["data", "baseline"]
    for row in found:
        files = Path(row["path"]).iterdir()
        assert row["bytes"] == sum(file.stat().st_size for file in files)
        assert row["last_used"].startswith("20")
        assert (row["left"], row["removed"]) == (False, False)


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "none"))
    assert f"{tmp_path}/none: 0 B" in run_here("cache").stdout
    assert rows("--remove", "all") == []
    assert not (tmp_path / "none").exists()


def test_it_removes_what_is_unused_or_all(folder: Path) -> None:
    assert rows("--remove", "unused") == []
    old, *_, busy = sorted(path for path in (folder / "evaluation").iterdir() if path.is_dir())
    then = time.time() - 31 * 86400
    os.utime(old, (then, then))
    assert [row["path"] for row in rows("--remove", "unused")] == [str(old)]
    (folder / "evaluation" / "mine.txt").write_text("mine")
    with locked(busy):
        text = run_here("cache", "--remove", "all").stdout
    assert f"removed from {folder}: " in text
    assert [row["path"] for row in rows("--remove", "all")] == [str(busy)]
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {"mine.txt", "bound.lock"}
    assert len(make_split(folder)) == 6


def _read_again_and_again(folder: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    first = read_set(folder)
    while time.monotonic() < end:
        assert torch.equal(read_set(folder), first)


@pytest.mark.long
def test_readers_go_on_while_the_cache_is_cleared(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=_read_again_and_again, args=(folder, 1.0)) for _ in range(2)]
    for reader in readers:
        reader.start()
    removed = 0
    while any(reader.is_alive() for reader in readers):
        removed += sum(map(remove, list_cache(folder, "evaluation") + list_cache(folder, "data")))
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    assert removed > 3  # more than once over
