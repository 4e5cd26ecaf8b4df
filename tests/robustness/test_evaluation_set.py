"""Corrupted evaluation sets: made once, the same for everybody."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from ablate import distortion
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.finetune.data.dataset import Split, digest_images
from ablate.robustness.evaluation_set import corrupt_images, obtain_evaluation_set
from ablate.study.seeds import derive_seed

TYPES = ("gaussian_noise", "contrast")


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "evaluation").glob("*/images.npy"))


def test_axes_are_type_severity_and_image(tmp_path: Path, split: Split) -> None:
    made = obtain_evaluation_set(split, TYPES, (1, 5), 0, tmp_path)
    assert (made.types, made.severities) == (TYPES, (1, 5))
    assert made.images.dtype == torch.uint8
    assert made.images.shape == (2, 2, 20, 3, 8, 8)


def test_each_cell_is_its_distortion_at_a_fifth_of_the_severity(
    tmp_path: Path, split: Split
) -> None:
    made = obtain_evaluation_set(split, TYPES, (1, 3), 7, tmp_path)
    for row, kind in enumerate(TYPES):
        for column, severity in enumerate((1, 3)):
            generator = make_generator(derive_seed(7, "evaluation", kind, severity, 0), "cpu")
            strength = torch.full((20,), severity / 5)
            floats = distortion.load(kind)(split.images.float() / 255, strength, generator)
            expected = (floats * 255).round().byte()
            assert torch.equal(made.images[row, column], expected)


def test_higher_severity_is_further_away(tmp_path: Path, split: Split) -> None:
    made = obtain_evaluation_set(split, TYPES, (1, 3, 5), 0, tmp_path)
    away = (made.images.float() - split.images.float()).abs().mean(dim=(2, 3, 4, 5))
    assert (away.diff(dim=1) > 0).all()


def test_the_second_time_it_is_read(tmp_path: Path, split: Split) -> None:
    first = obtain_evaluation_set(split, TYPES, (1,), 0, tmp_path)
    (file,) = entries(tmp_path)
    written = file.stat().st_mtime_ns
    again = obtain_evaluation_set(split, TYPES, (1,), 0, tmp_path)
    assert torch.equal(again.images, first.images)
    assert entries(tmp_path) == [file]
    assert file.stat().st_mtime_ns == written


def test_what_changes_it_makes_another(tmp_path: Path, split: Split) -> None:
    other = split.take(torch.arange(19))
    obtain_evaluation_set(split, TYPES, (1,), 0, tmp_path)
    obtain_evaluation_set(split, TYPES, (2,), 0, tmp_path)
    obtain_evaluation_set(split, TYPES[:1], (1,), 0, tmp_path)
    obtain_evaluation_set(split, TYPES, (1,), 1, tmp_path)
    obtain_evaluation_set(other, TYPES, (1,), 0, tmp_path)
    assert len(entries(tmp_path)) == 5


def test_draws_follow_the_seed(tmp_path: Path, split: Split) -> None:
    one, same, other = (
        obtain_evaluation_set(split, TYPES[:1], (3,), seed, tmp_path / str(place)).images
        for place, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_every_chunk_and_severity_has_its_own_draws(tmp_path: Path) -> None:
    grey = torch.full((1024, 1, 8, 8), 128, dtype=torch.uint8)
    labels = torch.zeros(1024, dtype=torch.int64)
    split = Split(grey, labels, digest_images(grey.numpy(), labels.numpy()))
    (images,) = obtain_evaluation_set(split, TYPES[:1], (1, 2), 0, tmp_path).images
    assert not torch.equal(images[0, :512], images[0, 512:])
    noise = images.float() - 128
    similarity = torch.corrcoef(noise.flatten(1))[0, 1]
    assert abs(similarity) < 0.05


def test_a_damaged_entry_is_made_again(tmp_path: Path, split: Split) -> None:
    first = obtain_evaluation_set(split, TYPES, (1,), 0, tmp_path).images.clone()
    (file,) = entries(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    again = obtain_evaluation_set(split, TYPES, (1,), 0, tmp_path)
    assert torch.equal(again.images, first)


def _obtain(split: Split, cache: Path) -> None:
    obtain_evaluation_set(split, TYPES, (1, 2, 3), 0, cache)


def test_two_processes_make_it_once(tmp_path: Path, split: Split) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_obtain, args=(split, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(entries(tmp_path)) == 1


def test_bytes_are_rounded() -> None:
    images = torch.full((1, 1, 8, 8), 100, dtype=torch.uint8)
    corrupted = corrupt_images(images, "contrast", 5, seed=0)
    assert corrupted.unique().tolist() == [100]


def test_unknown_type(tmp_path: Path, split: Split) -> None:
    with pytest.raises(ParameterError, match="Did you mean contrast"):
        obtain_evaluation_set(split, ("contrasts",), (1,), 0, tmp_path)
    assert not entries(tmp_path)
