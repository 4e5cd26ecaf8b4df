"""Published data sets, as small files in the real formats, read and fetched by torchvision.

The files' md5 are part of torchvision's classes, so the tests give the readers subclasses that
hold the md5 of the small files; the code that checks, fetches and reads is torchvision's own.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from ablate.data.dataset import Source
from ablate.data.load import load_dataset
from ablate.data.published import DATASETS
from ablate.data.published import read as read_published
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings

RANDOM = np.random.default_rng(0)
COUNTS = {"train": 30, "test": 10}


class Small(NamedTuple):
    """A data set of 30 and 10 images.

    Attributes:
        files: below the folder.
        folder: with its files as they lie when they are there.
        images: by part, uint8 `[n, channel, height, width]`.
        labels: by part.
        site: folder with the files as they lie on a server.
    """

    files: tuple[str, ...]
    folder: Path
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    site: Path


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def make_parts(shape: tuple[int, ...], classes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    images = {
        part: RANDOM.integers(256, size=(count, *shape), dtype=np.uint8)
        for part, count in COUNTS.items()
    }
    return images, {part: np.arange(count) % classes for part, count in COUNTS.items()}


NAME = "cifar10"


def write_cifar(root: Path, address: str, patch: pytest.MonkeyPatch) -> Small:
    base: Any = CIFAR10
    images, labels = make_parts((3, 32, 32), 10)
    folder, site = root / "folder", root / "site"
    inner = folder / base.base_folder
    inner.mkdir(parents=True)
    site.mkdir()
    lists = {}
    for part, files in (("train", base.train_list), ("test", base.test_list)):
        rows = np.array_split(np.arange(COUNTS[part]), len(files))
        for (file, _), chosen in zip(files, rows, strict=True):
            entry = {
                "data": images[part][chosen].reshape(len(chosen), -1),
                "labels": labels[part][chosen].tolist(),
            }
            (inner / file).write_bytes(pickle.dumps(entry))
        lists[f"{part}_list"] = [[file, md5(inner / file)] for file, _ in files]
    names = [f"class {label}" for label in range(10)]
    meta = inner / base.meta["filename"]
    meta.write_bytes(pickle.dumps({base.meta["key"]: names}))
    with tarfile.open(site / base.filename, "w:gz") as archive:
        archive.add(inner, base.base_folder)
    small = type(
        base.__name__,
        (base,),
        {
            **lists,
            "meta": {**base.meta, "md5": md5(meta)},
            "url": f"{address}/{base.filename}",
            "tgz_md5": md5(site / base.filename),
        },
    )
    patch.setitem(DATASETS, NAME, small)
    lists_of = [*base.train_list, *base.test_list, (base.meta["filename"], "")]
    files = tuple(f"{base.base_folder}/{file}" for file, _ in lists_of)
    return Small(files, folder, images, labels, site)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """A data set, on disk and on a server of this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(_Quiet, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield write_cifar(tmp_path, f"http://127.0.0.1:{server.server_address[1]}", monkeypatch)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def read(small: Small, folder: Path, image_size: int | None = None, **settings: object) -> Source:
    side = small.images["train"].shape[-1]
    chosen = DatasetSettings.model_validate({"name": NAME, "path": str(folder), **settings})
    return read_published(chosen, Path(), folder.parent / "cache", image_size or side)


def check(source: Source, small: Small) -> None:
    for part, split in (("train", source.train.resident()), ("test", source.test())):
        expected = np.broadcast_to(small.images[part], split.images.shape)
        assert np.array_equal(split.images.numpy(), expected)
        assert split.labels.tolist() == small.labels[part].tolist()


def test_pixels_labels_and_classes(small: Small) -> None:
    source = read(small, small.folder)
    check(source, small)
    assert len(source.classes) == 10
    assert read(small, small.folder, 40).train.images.shape == (30, 3, 40, 40)


def test_files_are_fetched_and_stay(small: Small) -> None:
    folder = small.folder.parent / "own/new"
    check(read(small, folder, download=True), small)
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files - {f"{NAME}.lock"} == set(small.files)
    shutil.rmtree(small.site)
    check(read(small, folder, download=True), small)


def test_a_download_that_breaks_leaves_nothing(small: Small) -> None:
    last = sorted(small.site.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-10])
    folder = small.folder.parent / "new"
    with pytest.raises(DataError) as error:
        read(small, folder, download=True)
    assert str(error.value).startswith(f"dataset.download: {NAME} must be fetched, got ")
    assert str(error.value).endswith(
        f". Check the network and the disk, or put its files in {folder}."
    )
    assert "\n" not in str(error.value)
    assert {file.name for file in folder.iterdir()} <= {f"{NAME}.lock"}


def test_files_that_are_not_there(small: Small) -> None:
    gone = small.files[1]
    (small.folder / gone).unlink()
    with pytest.raises(DataError) as error:
        read(small, small.folder)
    assert str(error.value) == (
        f"dataset.path: {NAME} must be in {small.folder}, got no {gone}. Set "
        "dataset.download: true, or set dataset.path to its folder."
    )


def test_other_files_than_were_published(small: Small) -> None:
    file = small.folder / small.files[-1]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError) as error:
        read(small, small.folder).test()
    assert str(error.value) == (
        f"dataset.path: {NAME} must be the published files, got different ones in "
        f"{small.folder}. Remove them and set dataset.download: true."
    )


@pytest.mark.parametrize(
    ("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")]
)
def test_the_inner_folder_may_be_named(tmp_path: Path, name: str, folder: str) -> None:
    settings = DatasetSettings(name=name, path=f"data/{folder}")
    with pytest.raises(DataError, match=rf"must be in {tmp_path}/data, got no {folder}/"):
        load_dataset(settings, tmp_path, tmp_path / "cache")
