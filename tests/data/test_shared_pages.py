"""Workers of a node read training images from the pages of one file, and copy none."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_here
from PIL import Image

from ablate.data.dataset import Split, SplitRows, channel_statistics, take_fraction
from ablate.data.load import load_dataset
from ablate.study.settings import DatasetSettings

SIDE, COUNT = 256, 300


def test_rows_of_a_split_are_a_split_of_these_rows() -> None:
    images = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8)
    split = Split(images, torch.arange(40) % 4, "digest")
    first, then = torch.arange(39, 0, -2), torch.tensor([3, 1, 7])
    rows, taken = split.rows(first).take(then), split.take(first).take(then)
    assert isinstance(rows, SplitRows)
    assert (rows.digest, rows.contents, len(rows)) == (taken.digest, None, 3)
    assert torch.equal(rows.resident().images, taken.images)
    assert channel_statistics(images, first) == channel_statistics(images[first])
    order = torch.tensor([2, 0, 1])
    for one, other in zip(
        rows.place("cpu").batches(order, 2, seed=0),
        taken.place("cpu").batches(order, 2, seed=0),
        strict=True,
    ):
        assert all(map(torch.equal, one, other))
    assert isinstance(take_fraction(split, 0.5, 0), SplitRows)


def _anonymous_bytes() -> int:
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line
    )
    return 1024 * int(line.split()[1])


def _train(folder: Path, cache: Path, said: multiprocessing.Queue[int]) -> None:
    torch.set_num_threads(1)
    settings = DatasetSettings.model_validate({"name": "image_folder", "path": str(folder)})
    before = _anonymous_bytes()
    train = load_dataset(settings, folder, cache, image_size=SIDE).train
    placed = take_fraction(train, 0.9, 0).place("cpu")
    for images, _ in placed.batches(torch.randperm(len(train) * 9 // 10), 8, seed=0):
        images.sum()
    said.put(_anonymous_bytes() - before)


@pytest.mark.slow
def test_a_worker_has_no_copy_of_its_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", COUNT), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
                file = tmp_path / "photos" / split / name / f"{number}.bmp"
                Image.fromarray(pixels).save(file)
    size = 3 * SIDE**2 * 2 * COUNT
    spawn = multiprocessing.get_context("spawn")
    grown = []
    for _ in range(2):  # the first one decodes the images
        said: multiprocessing.Queue[int] = spawn.Queue()
        process = spawn.Process(target=_train, args=(tmp_path / "photos", tmp_path / "cache", said))
        process.start()
        grown.append(said.get(timeout=200))
        process.join()
    assert grown[1] < size / 2, f"{grown[1]:,} bytes of {size:,}"


@pytest.mark.parametrize(("pages", "is_large"), [(220, True), (230, False)])
def test_check_advises_to_stream_what_fills_half_of_the_memory(
    work: Path, monkeypatch: pytest.MonkeyPatch, pages: int, is_large: bool
) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (work / "photos" / split / name).mkdir(parents=True)
            for number in range(5):
                image = Image.new("RGB", (64, 64), (number, 2, 3))
                image.save(work / "photos" / split / name / f"{number}.png")
    (work / "mine.yaml").write_text(
        "version: 1\nname: mine\nmodel: {name: resnet8}\nspace: {finetune.learning_rate: {float: "
        "[0.1, 0.2]}}\ndataset: {name: image_folder, path: photos, image_size: 64}\n"
    )
    sizes = {"SC_PHYS_PAGES": pages, "SC_PAGE_SIZE": 3276}  # 30 images are 368,640 bytes
    monkeypatch.setattr("ablate.data.scan.os.sysconf", sizes.get)
    said = run_here("check", "mine.yaml", cwd=work)
    assert said.returncode == 0, said.stderr
    note = (
        "note: dataset.loading: 30 images of 64 x 64 are 0.0 GiB, more than half of this machine's "
        "memory of 0 GiB. Write loading: streamed"
    )
    assert (note in said.stdout) == is_large
