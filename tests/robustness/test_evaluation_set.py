"""Corrupted evaluation sets: made once, the same for everybody."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ablate import distortion
from ablate.data.dataset import Split, digest_images
from ablate.distortion.random import make_generator
from ablate.robustness.corruption import kind as code_version_module
from ablate.robustness.evaluation_set import EvaluationSet, corrupt_block
from ablate.robustness.suites import Suite, find_suite
from ablate.study.seeds import derive_seed

TYPES = ("gaussian_noise", "contrast")
SUITE = Suite(
    "two", {"noise": TYPES[:1], "photometric": TYPES[1:]}, "distortion", mean_over="families"
)


def obtain(
    split: Split,
    severities: tuple[int, ...],
    seed: int,
    cache: Path | None,
    suite: Suite = SUITE,
) -> EvaluationSet:
    return EvaluationSet(split, suite, severities, seed, cache)


def read(made: EvaluationSet, kind: str, severity: int) -> torch.Tensor:
    return torch.cat(list(made.blocks(kind, severity)))


def read_all(made: EvaluationSet) -> torch.Tensor:
    cells = [(kind, severity) for kind in made.suite.types for severity in made.severities]
    return torch.stack([read(made, *cell) for cell in cells])


def entries(cache: Path) -> list[Path]:
    return sorted((cache / "evaluation").glob("*/images.npy"))


def test_each_cell_is_its_distortion_at_a_fifth_of_the_severity(
    tmp_path: Path, split: Split
) -> None:
    made = obtain(split, (1, 3), 7, tmp_path)
    for kind in TYPES:
        for severity in (1, 3):
            generator = make_generator(derive_seed(7, "evaluation", kind, severity, 0), "cpu")
            strength = torch.full((20,), severity / 5)
            floats = distortion.load(kind)(split.images.float() / 255, strength, generator)
            assert torch.equal(read(made, kind, severity), (floats * 255).round().byte())


def test_a_corruption_goes_by_the_table_that_its_suite_names(split: Split) -> None:
    small, large = (
        Suite("one", {"digital": ("contrast",)}, "corruption", "types", scale)
        for scale in ("cifar", "imagenet")
    )
    (weak,), (strong,) = (
        obtain(split, (5,), 0, None, suite).blocks("contrast", 5) for suite in (small, large)
    )
    # Contrast of 0.15 and of 0.05.
    weakly, strongly = (copy.float().std(dim=(2, 3)).mean().item() for copy in (weak, strong))
    assert weakly == pytest.approx(3 * strongly, rel=0.2)  # bytes are cut


@pytest.mark.parametrize("suite", [SUITE, find_suite(["gaussian_noise", "contrast"])])
def test_what_is_made_when_read_has_the_bytes_of_what_is_kept(
    tmp_path: Path, split: Split, suite: Suite
) -> None:
    kept, made = (obtain(split, (2, 4), 3, cache, suite) for cache in (tmp_path, None))
    assert torch.equal(read_all(kept), read_all(made))
    assert torch.equal(read_all(made), read_all(made))  # a second reading too
    assert kept.identity == made.identity
    assert len(entries(tmp_path)) == 4


def test_what_changes_a_cell_makes_another(tmp_path: Path, split: Split) -> None:
    made = obtain(split, (1,), 0, tmp_path)
    others = [
        obtain(split, (2,), 0, tmp_path),
        obtain(split, (1,), 1, tmp_path),
        obtain(split.take(torch.arange(19)), (1,), 0, tmp_path),
        obtain(split, (1,), 0, tmp_path, find_suite(["gaussian_noise"])),
    ]
    identities = {made.identity}
    for number, other in enumerate([made, *others], start=1):
        read(other, "gaussian_noise", other.severities[0])
        identities.add(other.identity)
        assert len(entries(tmp_path)) == number == len(identities)


def test_every_block_and_severity_has_its_own_draws(tmp_path: Path) -> None:
    grey = torch.full((1024, 1, 8, 8), 128, dtype=torch.uint8)
    labels = torch.zeros(1024, dtype=torch.int64)
    split = Split(grey, labels, digest_images(grey.numpy(), labels.numpy()))
    images = read_all(obtain(split, (1, 2), 0, tmp_path))[:2]
    assert not torch.equal(images[0, :512], images[0, 512:])
    noise = images.float() - 128
    similarity = torch.corrcoef(noise.flatten(1))[0, 1]
    assert abs(similarity) < 0.05


def _obtain(split: Split, cache: Path) -> None:
    read_all(obtain(split, (1, 2, 3), 0, cache))


@pytest.mark.long
def test_two_processes_make_it_once(tmp_path: Path, split: Split) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_obtain, args=(split, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(entries(tmp_path)) == 6
    assert not list((tmp_path / "evaluation").glob(".*"))


def test_a_distortions_bytes_are_rounded_and_a_corruptions_cut() -> None:
    images = torch.full((1, 1, 8, 8), 100, dtype=torch.uint8)
    images[..., :4] = 101
    distorted, corrupted = (
        corrupt_block(images, "contrast", 1, suite, 0)
        for suite in (SUITE, find_suite(["contrast"]))
    )
    # About the mean of 100.5: 0.82 and 0.75 of half a level away.
    assert distorted.unique().tolist() == [100, 101]
    assert corrupted.unique().tolist() == [100]


@pytest.mark.slow
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """In a process of its own that may write files of 1 MB: as on a disk that has no more."""
    script = f"""
import resource, signal, torch
from pathlib import Path
from ablate.errors import InfrastructureError, UsageError
from ablate.data.dataset import Split
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.suites import find_suite
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
split = Split(torch.zeros(1000, 3, 32, 32, dtype=torch.uint8), torch.zeros(1000).long(), "zeros")
made = EvaluationSet(split, find_suite(["contrast"]), (1,), 0, Path({str(tmp_path)!r}))
try:
    list(made.blocks("contrast", 1))
except (InfrastructureError, UsageError) as error:
    print(error)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert not entries(tmp_path)
    assert not [left for left in (tmp_path / "evaluation").iterdir() if left.is_dir()]


def test_the_code_and_libraries_of_pixels_are_in_the_key() -> None:
    package = Path(code_version_module.__file__).parents[2]
    patterns = code_version_module._SOURCES
    named = {file.relative_to(package) for one in patterns for file in package.glob(one)}
    for source in ("robustness/evaluation_set.py", "robustness/corruption/kind.py"):
        assert Path(source) in named
    assert len(named) > 15
