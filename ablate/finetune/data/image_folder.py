"""A folder of images: train/CLASS/* and test/CLASS/*, decoded once and memory-mapped after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image, ImageOps

from ablate.errors import DataError
from ablate.finetune.cache import locked, publish_folder
from ablate.finetune.data.dataset import Source, Split, digest_images
from ablate.study.settings import DatasetSettings

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
"""Files with another ending are not looked at."""

_VERSION = 1
"""Counts the ways in which images were decoded and stored; part of the cache's key."""


@dataclass(frozen=True)
class Listing:
    """The image files of one split, in the order of its images.

    Attributes:
        root: the split's folder.
        classes: names of its subfolders, sorted.
        files: (path below the root, label, bytes, time of the last change in nanoseconds).
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[tuple[str, int, int, int], ...]

    def key(self, image_size: int) -> str:
        """Of the cache: changes with any file's name, size or time."""
        text = repr((_VERSION, image_size, self.classes, self.files))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def read(settings: DatasetSettings, base: Path, cache: Path) -> Source:
    """The folder's images at `settings.image_size`.

    Raises:
        DataError: if no path is given, it has no train/ and test/ with the same classes, a class
            has no image, or a training image cannot be read.
    """
    if settings.path is None:
        raise DataError(
            "dataset.path: image_folder needs a folder with train/ and test/, got none. Add it."
        )
    folder = Path(os.path.normpath(base / settings.path))
    train = list_images(folder, "train")
    test = list_images(folder, "test")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{folder}: train/ and test/ must have the same classes, got {', '.join(odd)} in only "
            "one of them. Add or remove their folders."
        )
    decode = partial(_decode_cached, image_size=settings.image_size, cache=cache)
    return Source(classes=train.classes, train=decode(train), test=lambda: decode(test))


def list_images(folder: Path, split: str) -> Listing:
    """The images of one split, without reading them.

    Raises:
        DataError: if the split's folder is missing, has no classes, or a class has no image.
    """
    root = folder / split
    if not root.is_dir():
        missing = f"no {split}/" if folder.is_dir() else "no such folder"
        raise DataError(
            f"{folder}: must have train/CLASS/* and test/CLASS/*, got {missing}. "
            "Correct dataset.path; it starts from the study file's folder."
        )
    with os.scandir(root) as entries:
        names = (entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
        classes = tuple(sorted(names))
    if not classes:
        raise DataError(f"{root}: must have one folder for each class, got none. Add the images.")
    files: list[tuple[str, int, int, int]] = []
    for label, name in enumerate(classes):
        with os.scandir(root / name) as entries:
            images = sorted(
                (f"{name}/{entry.name}", label, entry.stat().st_size, entry.stat().st_mtime_ns)
                for entry in entries
                if Path(entry.name).suffix.lower() in ENDINGS
                and entry.name[0] != "."
                and _is_there(root / name / entry.name)
            )
        if not images:
            raise DataError(
                f"{root / name}: must have at least one image ({', '.join(sorted(ENDINGS))}), "
                "got none. Add some, or remove the folder."
            )
        files += images
    return Listing(root, classes, tuple(files))


def decode_image(path: Path, image_size: int) -> np.ndarray:
    """One image file as RGB bytes; of another size, its shorter side is fitted and its middle cut.

    Returns:
        uint8 `[3, image_size, image_size]`.

    Raises:
        DataError: if it is not a whole image.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: must be a readable image, got {error}. Replace or remove it."
        ) from error
    if image.size != (image_size, image_size):
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _decode_cached(listing: Listing, *, image_size: int, cache: Path) -> Split:
    entry = cache / "data" / listing.key(image_size)
    if not entry.is_dir():
        with locked(entry):
            if not entry.is_dir():
                with publish_folder(entry) as temporary:
                    _decode_all(listing, image_size, temporary)
    # Copy on write: torch wants an array that can be written, and nothing writes it.
    images = np.load(entry / "images.npy", mmap_mode="c")
    labels = np.load(entry / "labels.npy")
    digest = (entry / "digest").read_text()
    return Split(torch.from_numpy(images), torch.from_numpy(labels), digest)


def _decode_all(listing: Listing, image_size: int, folder: Path) -> None:
    shape = (len(listing.files), 3, image_size, image_size)
    images = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    labels = np.array([label for _, label, _, _ in listing.files], dtype=np.int64)

    def decode(rows: Sequence[int]) -> None:
        for row in rows:
            images[row] = decode_image(listing.root / listing.files[row][0], image_size)

    # Threads, since decoding leaves the interpreter's lock; chunks, since an image is small.
    chunks = [range(start, min(start + 64, shape[0])) for start in range(0, shape[0], 64)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(decode, chunks))
    images.flush()
    np.save(folder / "labels.npy", labels)
    (folder / "digest").write_text(digest_images(images, labels))


def _is_there(file: Path) -> bool:
    """True, or an error that names the file: a link may lead nowhere."""
    if not file.exists():
        raise DataError(
            f"{file}: must be an image, got a link that leads nowhere. Mend or remove it."
        )
    return True
