"""Images that were replaced, and classes that were renamed, since a study was started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.ledger.record import Head
from ablate.lifecycle.changes import changes_since
from ablate.space.space import Space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.settings import Study
from ablate.trial.task import Prepared
from ablate.trial.workbench import Workbench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`data/{train,test}/{cat,dog}/*.bmp`: 8 x 8 noise, all files of one size."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 2)):
        for name in ("cat", "dog"):
            place = tmp_path / "data" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(256, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.bmp")
    return tmp_path


def prepare(folder: Path, loading: str, data: str = "data") -> tuple[Study, Prepared, Workbench]:
    study = Study.model_validate(
        {
            "version": 1,
            "name": "changed",
            "dataset": {
                "name": "image_folder",
                "path": data,
                "image_size": 8,
                "loading": loading,
                "loading_workers": 0,
                "validation": {"fraction": 0.25},
            },
            "model": {"name": "resnet8"},
            "baseline": {"epochs": 1, "batch_size": 8},
            "robustness": {"severities": [1], "suite": ["gaussian_noise"]},
        }
    )
    bench = Workbench.get(study, folder, folder / "cache", fresh=True)
    return study, bench.prepare(), bench


def begun(folder: Path, loading: str) -> Head:
    """A study as it is stored when it starts."""
    study, prepared, _ = prepare(folder, loading)
    space = Space().to_json()
    sections = study_fingerprint(study, Space(), prepared.data_digest, (), prepared.of_files)
    return Head(
        identity="1",
        study=study,
        text="",
        space=space,
        base=str(folder),
        fingerprint=sections,
        baseline_sha256=prepared.baseline_sha256,
        environment=prepared.environment,
    )


def replace_image(folder: Path) -> None:
    """By another one, of the same size and the same time."""
    other, file = (folder / "data/train" / name for name in ("dog/3.bmp", "cat/5.bmp"))
    status = file.stat()
    assert other.stat().st_size == status.st_size
    shutil.copyfile(other, file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_mtime_ns == status.st_mtime_ns


def rename_class(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / "data" / split / "cat").rename(folder / "data" / split / "civet")


FOUND: Mapping[tuple[str, Callable[[Path], None]], list[str]] = {
    ("resident", replace_image): ["data"],
    ("resident", rename_class): ["names of classes"],
    ("streamed", replace_image): ["contents of image files"],
}


@pytest.mark.parametrize(("loading", "change"), FOUND)
def test_a_change_is_noticed(folder: Path, loading: str, change: Callable[[Path], None]) -> None:
    head = begun(folder, loading)
    change(folder)
    assert changes_since(head, prepare(folder, loading)[1])[0] == FOUND[loading, change]


def test_a_copy_is_the_same(folder: Path) -> None:
    head = begun(folder, "streamed")
    shutil.copytree(folder / "data", folder / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(folder / "data")
    copied = prepare(folder, "streamed", "copy")[1]
    assert changes_since(head, copied) == ([], [])
