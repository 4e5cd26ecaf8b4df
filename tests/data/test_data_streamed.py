"""Training images that are decoded again: the same bytes in every process."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from claimed_device import Claimed, Watch
from PIL import Image

from ablate.data.dataset import Dataset, PlacedImages
from ablate.data.decode import draw_crop
from ablate.data.load import load_dataset
from ablate.errors import DataError, InfrastructureError
from ablate.study.settings import DatasetSettings, ValidationSettings

ORDER = torch.tensor([7, 2, 11, 3, 0, 9, 5, 1, 14, 8, 4])
PASSES = ((ORDER, 0), (ORDER, 1), (ORDER.flip(0), 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`{train,test}/{cat,dog}/*.png`, 10 and 2 of each, of many sizes."""
    root = tmp_path_factory.mktemp("streamed")
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 2)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (20 + 3 * number, 26 - number, 3)
                pixels = random.integers(256, size=shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def load(folder: Path, cache: Path, **settings: object) -> Dataset:
    chosen = DatasetSettings.model_validate(
        {
            "name": "image_folder",
            "path": str(folder),
            "loading": "streamed",
            "loading_workers": 0,
            "resize": 18,
            "validation": ValidationSettings(fraction=0.2),
            **settings,
        }
    )
    return load_dataset(chosen, Path(), cache, image_size=16)


def passes(placed: PlacedImages) -> Iterator[str]:
    """A digest of each of three passes."""
    for order, seed in PASSES:
        digest = hashlib.sha256()
        for images, labels in placed.batches(order, 4, seed=seed):
            assert images.shape == (4, 3, 16, 16)
            digest.update(images.numpy().tobytes())
            digest.update(labels.numpy().tobytes())
        yield digest.hexdigest()


@pytest.mark.slow
def test_workers_show_in_nothing_and_end_with_the_object(folder: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    alone = list(passes(load(folder, tmp_path, crop_scale=0.3).train.place("cpu")))
    assert len(set(alone)) == 3
    data = load(folder, tmp_path, crop_scale=0.3, loading_workers=2)
    placed = data.train.place("cpu")
    assert not multiprocessing.active_children()
    # A pass that is left early, then whole ones.
    next(placed.batches(ORDER, 4, seed=5))
    assert len(multiprocessing.active_children()) == 2
    assert list(passes(placed)) == alone
    # What is held stays, and larger batches than the first ones come through the pipe.
    held, larger = ([one for one, _ in placed.batches(ORDER, size, seed=0)] for size in (1, 5))
    assert torch.equal(torch.cat(held)[:10], torch.cat(larger))
    del placed
    assert not multiprocessing.active_children()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_is_sent_without_waiting(folder: Path, tmp_path: Path) -> None:
    data = load(folder, tmp_path)
    with Watch() as watch:
        batches = list(data.train.place("cuda").batches(ORDER, 4, seed=0))
        assert watch.log == ["sent"] * 4
    assert all(isinstance(part, Claimed) for batch in batches for part in batch)
    usual = list(data.train.place("cpu").batches(ORDER, 4, seed=0))
    assert all(
        torch.equal(one[0].held, other[0]) for one, other in zip(batches, usual, strict=True)
    )


def test_without_crops_they_are_what_a_resident_split_holds(folder: Path, tmp_path: Path) -> None:
    streamed = load(folder, tmp_path)
    resident = load(folder, tmp_path, loading="resident")
    assert len(streamed.train) == len(resident.train) == 16
    assert streamed.train.labels.tolist() == resident.train.labels.tolist()
    pairs = [(data.train.place("cpu").batches(ORDER, 5, seed=3)) for data in (streamed, resident)]
    for one, other in zip(*pairs, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert torch.equal(streamed.validation.images, resident.validation.images)
    assert torch.equal(streamed.validation.labels, resident.validation.labels)
    assert streamed.test().digest == resident.test().digest
    assert (streamed.mean, streamed.std) == (resident.mean, resident.std)


def test_digest_follows_names_sizes_and_the_way_to_pixels(folder: Path, tmp_path: Path) -> None:
    first = load(folder, tmp_path)
    assert load(folder, tmp_path, loading_workers=2).digest == first.digest
    others = [
        load(folder, tmp_path, crop_scale=0.5),
        load(folder, tmp_path, resize=20),
        load(folder, tmp_path, validation=ValidationSettings(fraction=0.3)),
    ]
    digests = {first.train.digest, *(data.train.digest for data in others)}
    assert len(digests) == 4


def test_a_crop_is_a_part_of_its_image(folder: Path) -> None:
    boxes = [draw_crop(60, 40, 0.2, seed) for seed in range(300)]
    assert draw_crop(60, 40, 0.2, 7) == boxes[7]
    assert len(set(boxes)) > 290
    shares = []
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 60
        assert 0 <= top < bottom <= 40
        assert 0.7 < (right - left) / (bottom - top) < 1.43
        shares.append((right - left) * (bottom - top) / 2400)
    assert min(shares) > 0.19
    assert min(shares) < 0.25
    assert max(shares) > 0.7


def test_a_crop_that_fits_nowhere_is_the_middle() -> None:
    assert draw_crop(100, 10, 1.0, 0) == (43, 0, 56, 10)
    assert draw_crop(10, 100, 1.0, 0) == (0, 43, 10, 56)
    assert draw_crop(1, 1, 1.0, 0) == (0, 0, 1, 1)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_that_cannot_be_read_is_named(folder: Path, tmp_path: Path, workers: int) -> None:
    data = load(folder, tmp_path, loading_workers=workers)
    placed = data.train.place("cpu")
    name, *_ = data.train.listing.files[11]
    file = folder / "train" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    try:
        with pytest.raises(DataError) as error:
            list(placed.batches(ORDER, 3, seed=0))
    finally:
        file.write_bytes(whole)
    assert str(error.value).startswith(f"{file}: must be a readable image, got ")
    assert "\n" not in str(error.value)
    assert len(list(placed.batches(ORDER, 3, seed=0))) == 3


@pytest.mark.long
def test_a_worker_that_died_is_no_fault_of_the_data(folder: Path, tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())  # of a test before, as they end
    placed = load(folder, tmp_path, loading_workers=1).train.place("cpu")
    next(placed.batches(ORDER, 2, seed=0))
    (worker,) = set(multiprocessing.active_children()) - others
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(InfrastructureError) as error:
        list(placed.batches(ORDER, 2, seed=0))
    message = str(error.value)
    assert message.startswith("dataset.loading_workers: each must stay alive, got 'DataLoader ")
    assert message.endswith("'. Lower it or free memory, and resume.")
