"""The images to corrupt and write: of a named data set or of a folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ablate.data.decode import (
    FORMATS,
    GREY_MODES,
    Listing,
    fit_image,
    list_classes,
    list_flat,
    open_rgb,
)
from ablate.data.evaluated import ImageRequest, load_evaluated, usual_resize
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError, ParameterError
from ablate.files.shown import few, show_name
from ablate.robustness.corruption import load as load_corruption
from ablate.robustness.corruption.frost_photographs import FrostPhotographs, load_frost
from ablate.robustness.corruption.kind import SMALLEST_SIDE, check_batch
from ablate.robustness.evaluation_set import Recipe, block_size
from ablate.study.seeds import derive_seed

_NOT_IN_FOLDERS = re.compile(r"[^\w .-]")
_LONGEST_FOLDER = 60  # characters: 240 bytes, of the 255 that file systems take

Size = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True)
class SourceImages:
    """Images with their names.

    Attributes:
        name: name of the data set or the folder.
        names: name of each image, without extension: FOLDER/NAME, or NAME if there are no classes.
        sizes: size of each image when it is corrupted.
        labels: class of each image; None if there are no classes.
        classes: names, in the order of the labels.
        folders: of each class.
        digest: of names and pixels, in hexadecimal.
        load: reads the images of these rows, which all have one size.
        notes: notes on how they were read, one line each.
        left_out: files that cannot be read.
        is_folder: whether the source is a folder.
    """

    name: str
    names: tuple[str, ...]
    sizes: tuple[Size, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    digest: str
    load: Callable[[Sequence[int]], ByteImages]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    is_folder: bool

    def __len__(self) -> int:
        return len(self.names)

    def by_size(self) -> dict[Size, list[int]]:
        """Rows of the images of each size, in order."""
        groups: dict[Size, list[int]] = {}
        for row, size in enumerate(self.sizes):
            groups.setdefault(size, []).append(row)
        return groups


def class_folders(classes: Sequence[str]) -> tuple[str, ...]:
    """A folder name for each class; sorted by these names, the classes keep their order.

    Characters other than letters, digits and " ._-" become "_", and leading dots and spaces are
    removed.  If that makes two names equal or changes the order, each name starts with the class's
    number.
    """
    names = [
        _NOT_IN_FOLDERS.sub("_", name).lstrip(". ")[:_LONGEST_FOLDER].rstrip() for name in classes
    ]
    alike = len({name.casefold() for name in names}) < len(names)
    if alike or not all(names) or names != sorted(names):
        digits = len(str(len(names) - 1))
        names = [f"{row:0{digits}}-{name}".rstrip("-") for row, name in enumerate(names)]
    return tuple(names)


def read_named(name: str, path: Path | None, image_size: int | None, cache: Path) -> SourceImages:
    """Read the test images of a data set, as `ablate evaluate` does.

    Args:
        path: where its files are.
        image_size: side in pixels, for a data set without a fixed size.
        cache: folder for decoded images.

    Raises:
        DataError: if it is unknown, missing or inconsistent.
        UsageError: if the cache cannot be written.
    """
    found = load_evaluated(name, path, ImageRequest(image_size=image_size), cache)
    images, labels = found.split.images, found.split.labels.tolist()
    folders = class_folders(found.classes)
    digits = len(str(len(labels) - 1))

    def load(rows: Sequence[int]) -> ByteImages:
        chosen = images[list(rows)]
        return chosen.expand(-1, 3, -1, -1).contiguous() if chosen.shape[1] == 1 else chosen

    return SourceImages(
        name=name,
        names=tuple(f"{folders[label]}/{row:0{digits}}" for row, label in enumerate(labels)),
        sizes=((images.shape[2], images.shape[3]),) * len(labels),
        labels=tuple(labels),
        classes=found.classes,
        folders=folders,
        digest=found.split.digest,
        load=load,
        notes=found.notes,
        left_out=(),
        is_folder=False,
    )


class _Found(NamedTuple):
    """The properties of an image file."""

    size: Size
    grey: bool
    digest: bytes


def read_folder(
    folder: Path, image_size: int | None, resize: int | None, *, skip_unreadable: bool, workers: int
) -> SourceImages:
    """Read the images of a folder: CLASS/*, test/CLASS/*, val/CLASS/*, or files without classes.

    Every file is decoded once here,
    so that unreadable files are found before anything is written, and again when it is corrupted.

    Args:
        image_size: side in pixels of the centre crop; None: images are not cropped.
        resize: shorter side in pixels before the crop; None: as for `ablate evaluate`.
        skip_unreadable: leave out files that cannot be read.
        workers: threads.

    Raises:
        DataError: if there is no image, one is unreadable or too small, or two have the same name.
    """
    listing, beside = _list(folder)
    files = [listing.root / name for name, *_ in listing.files]
    resize = _choose_resize(files[0], image_size, resize)

    def decode(file: Path) -> np.ndarray:
        image = open_rgb(file)
        if image_size is None:
            return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
        return fit_image(image, image_size, resize)

    def examine(file: Path) -> _Found | None:
        try:
            pixels = decode(file)
            with Image.open(file, formats=FORMATS) as opened:
                grey = opened.mode in GREY_MODES
        except DataError:
            return None
        digest = hashlib.sha256(pixels.data).digest()
        return _Found((pixels.shape[1], pixels.shape[2]), grey, digest)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        found = list(pool.map(examine, files))
    left_out = _check_readable(listing, found, skip_unreadable=skip_unreadable)
    kept = [row for row, one in enumerate(found) if one is not None]
    seen = [one for one in found if one is not None]
    _check_sizes(listing, kept, seen)
    entries = [listing.files[row] for row in kept]
    names = _name_outputs(listing, [name for name, *_ in entries])
    labels = tuple(label for _, label, *_ in entries) if listing.classes else None

    def load(rows: Sequence[int]) -> ByteImages:
        return torch.from_numpy(np.stack([decode(files[kept[row]]) for row in rows]))

    return SourceImages(
        name=folder.resolve().name,
        names=names,
        sizes=tuple(one.size for one in seen),
        labels=labels,
        classes=listing.classes,
        folders=listing.classes,
        digest=_digest(names, seen),
        load=load,
        notes=_notes(seen, left_out, beside, image_size, resize),
        left_out=left_out,
        is_folder=True,
    )


def _list(folder: Path) -> tuple[Listing, int]:
    """The images, and the number of other images next to the class folders."""
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must be a folder of images or a data set's name, got no such "
            "folder. Correct SOURCE."
        )
    parts = [folder / part for part in ("test", "val") if (folder / part).is_dir()]
    root = parts[0] if parts else folder
    flat = list_flat(root)
    if not parts and flat.files and not _has_classes(root):
        return flat, 0
    return list_classes(root), len(flat.files)


def _has_classes(root: Path) -> bool:
    with os.scandir(root) as entries:
        below = [Path(entry) for entry in entries if entry.is_dir() and entry.name[0] != "."]
    return any(list_flat(one).files for one in below)


def _choose_resize(first: Path, image_size: int | None, resize: int | None) -> int | None:
    """As in `ablate evaluate`, except for smaller square files, whose size is kept there."""
    if image_size is None:
        if resize is not None:
            raise DataError(
                f"--resize: sets the shorter side before the centre crop, got {resize} without "
                "--image-size. Give both."
            )
        return None
    if resize is None:
        try:
            if open_rgb(first).size == (image_size, image_size):
                return image_size
        except DataError:
            pass  # reported with all other unreadable files
        return usual_resize(image_size)
    if resize < image_size:
        raise DataError(
            f"--resize: must be at least the image size {image_size}, got {resize}. Raise it."
        )
    return resize


def _check_readable(
    listing: Listing, found: Sequence[_Found | None], *, skip_unreadable: bool
) -> tuple[str, ...]:
    bad = tuple(listing.files[row][0] for row, one in enumerate(found) if one is None)
    if bad and (not skip_unreadable or len(bad) == len(found)):
        raise DataError(
            f"{show_name(listing.root)}: must contain readable images, got {len(bad)} of "
            f"{len(found)} unreadable ({few(bad, 5)}). Replace them"
            f"{'.' if skip_unreadable else ', or give --skip-unreadable.'}"
        )
    return bad


def _check_sizes(listing: Listing, kept: Sequence[int], seen: Sequence[_Found]) -> None:
    small = [
        listing.files[row][0]
        for row, one in zip(kept, seen, strict=True)
        if min(one.size) < SMALLEST_SIDE
    ]
    if small:
        raise DataError(
            f"{show_name(listing.root)}: must have images with sides of {SMALLEST_SIDE} pixels or "
            f"more, got {len(small)} smaller ({few(small, 5)}). Enlarge them, or give --image-size."
        )


def _name_outputs(listing: Listing, files: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(Path(name).with_suffix("")) for name in files)
    if len(set(names)) < len(names):
        first = {name: files[row] for row, name in reversed(list(enumerate(names)))}
        row = next(row for row, name in enumerate(names) if first[name] != files[row])
        raise DataError(
            f"{show_name(listing.root)}: must have file names that differ before the extension, "
            "got "
            f"{show_name(first[names[row]])} and {show_name(files[row])}. Rename one."
        )
    return names


def _digest(names: Sequence[str], seen: Sequence[_Found]) -> str:
    digest = hashlib.sha256()
    for name, one in zip(names, seen, strict=True):
        digest.update(f"{name}\0{one.size}\0".encode("utf-8", "surrogateescape"))
        digest.update(one.digest)
    return digest.hexdigest()


def _notes(
    seen: Sequence[_Found],
    left_out: Sequence[str],
    beside: int,
    image_size: int | None,
    resize: int | None,
) -> tuple[str, ...]:
    notes = []
    if beside:
        count = "1 image" if beside == 1 else f"{beside} images"
        verb = "is" if beside == 1 else "are"
        notes.append(f"{count} beside the class folders {verb} left out")
    grey = sum(one.grey for one in seen)
    if grey:
        notes.append(
            f"{grey} of {len(seen)} images are grey; their channel is repeated three times"
        )
    if left_out:
        total = len(seen) + len(left_out)
        notes.append(f"left out as unreadable: {len(left_out)} of {total} ({few(left_out, 5)})")
    if image_size is not None:
        cut = f", centre crop {image_size} x {image_size}" if resize != image_size else ""
        notes.append(f"files: shorter side {resize} pixels{cut}")
    return tuple(notes)


# -- One corruption on images that are in memory: `ablate.corrupt`, and the tiles of a sheet


ImageBatch = TypeVar("ImageBatch", Tensor, np.ndarray)


def corrupt(
    images: ImageBatch,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    frost_images: str | Path | None = None,
) -> ImageBatch:
    """Apply one of the benchmark's 19 corruptions to a batch of images.

    Bytes on the CPU give the same images as `ablate corrupt` (if all images have one size), and
    the same as `ablate evaluate` scores at that size.

    Args:
        images: a tensor `[n, channel, height, width]`, uint8 or floating point in [0, 1], or a
            NumPy array `[n, height, width, channel]` of uint8; 1 or 3 channels.
        name: for example `gaussian_noise`.  Images of up to 96 pixels get the parameters of
            CIFAR-10-C, larger ones those of ImageNet-C.
        severity: from 1 to 5.
        seed: the same seed gives the same images.
        frost_images: folder with photographs for `frost`; None: a generated texture.

    Returns:
        New images of the same type and shape.

    Raises:
        ParameterError: if the name is unknown, or images or severity are invalid.
        DataError: if the photographs cannot be read.

    Example:
        >>> import torch
        >>> images = torch.rand(4, 3, 32, 32)
        >>> snowed = ablate.corrupt(images, "snow", 3, seed=0)
        >>> snowed.shape == images.shape, torch.equal(snowed, images)
        (True, False)
    """
    frost = None if frost_images is None else load_frost(Path(frost_images))
    if isinstance(images, Tensor):
        return _corrupt_tensor(images, name, severity, seed, frost)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else type(images)
        raise ParameterError(
            f"{name}: images must be a tensor, or an array of uint8 [n, height, width, channel], "
            f"got {got}. Convert them."
        )
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    corrupted = _corrupt_tensor(planes, name, severity, seed, frost)
    return np.ascontiguousarray(corrupted.numpy().transpose(0, 2, 3, 1))


def corrupt_tiles(image: np.ndarray, recipe: Recipe) -> dict[str, list[np.ndarray]]:
    """Type -> the image at each severity; images are uint8 `[height, width, 3]`."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())[None]
    return {
        kind: [
            recipe.corrupt(planes, kind, severity, start=0)[0].permute(1, 2, 0).numpy()
            for severity in recipe.severities
        ]
        for kind in recipe.suite.types
    }


def _corrupt_tensor(
    images: Tensor, name: str, severity: int, seed: int, frost: FrostPhotographs | None
) -> Tensor:
    apply = load_corruption(name)
    check_batch(name, images)
    size = block_size(images.shape[2], images.shape[3])
    parts = []
    for start in range(0, max(1, len(images)), size):
        place = derive_seed(seed, "evaluation", "corruption", name, severity, start)
        generator = make_generator(place, images.device)
        parts.append(apply(images[start : start + size], severity, generator, frost=frost))
    return torch.cat(parts)
