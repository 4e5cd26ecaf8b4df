"""The layout of ImageNet-C: TYPE/SEVERITY/CLASS/*, one file per image, decoded when read."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ablate.data.decode import (
    FORMATS,
    GREY_MODES,
    THREADS,
    Listing,
    fit_image,
    list_classes,
    open_rgb,
    stem,
    unreadable_rows,
)
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError
from ablate.files.regular import MOST_READ_BYTES, read_regular
from ablate.files.shown import few, show_name
from ablate.robustness.bits import Cell
from ablate.robustness.corruption import SEVERITIES
from ablate.robustness.official.arrays import Opening, spread

# -- The files of one copy in the layout of ImageNet-C: listed, hashed and checked -


class CopyFiles(NamedTuple):
    """The files of one type at one severity.

    Attributes:
        root: its folder.
        names: paths below it, as bytes: an array is smaller than that many strings.
        digest: digest of names, sizes and the bytes of some files.
        looked_at: number of those files; grey: number of grey ones among them.
    """

    root: Path
    names: np.ndarray
    digest: str
    looked_at: int
    grey: int


def read_copy(listing: Listing) -> CopyFiles:
    """List all files, and check 64 of them, spread over the copy.

    Raises:
        DataError: if one of those cannot be opened.
    """
    names = listing.names
    digest = hashlib.sha256(names.tobytes())
    digest.update(np.array([file.size for file in listing.files]).tobytes())
    sampled = spread(len(names))
    grey = 0
    for row in sampled:
        content = _read_bytes(listing.root / file_name(names[row]))
        digest.update(content)
        grey += _is_grey(content)
    return CopyFiles(listing.root, names, digest.hexdigest(), len(sampled), grey)


def _is_grey(content: bytes) -> bool:
    """Read from the header; a file that is not an image is reported when decoded."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.mode in GREY_MODES
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def unreadable_files(
    folder: Path, copies: Sequence[CopyFiles], rows: torch.Tensor
) -> DataError | None:
    """The error for unreadable files; None if all are readable.

    Args:
        folder: that was named.
        rows: indices of the images used of each copy, int64 `[n]`.
    """
    files = [copy.root / file_name(name) for copy in copies for name in copy.names[rows.numpy()]]
    bad = [
        str(files[row].relative_to(folder))
        for row in unreadable_rows(len(files), lambda row: open_rgb(files[row]))
    ]
    if not bad:
        return None
    return DataError(
        f"{show_name(folder)}: must contain readable images, got {len(bad)} of {len(files)} "
        f"checked files unreadable ({few(bad, 5)}). Unpack or write them again."
    )


def _read_bytes(file: Path) -> bytes:
    try:
        return read_regular(file, MOST_READ_BYTES)
    except OSError as error:
        raise DataError(
            f"{show_name(file)}: must be a readable file, got {error.strerror}. "
            "Unpack it again, or change its owner."
        ) from error


def file_name(name: bytes) -> str:
    """A path below a copy, as listed."""
    return os.fsdecode(bytes(name))


_NUMBER = re.compile(r"\d+(\.\d+)?")
_SEVERITY = re.compile(r"[1-5]")

_BLOCK = 64
_AHEAD = 6
"""Largest number of blocks that are decoded ahead, because a network may be slower."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OfficialFolders(Opening):
    """Image files; every copy has the same classes and names.  See `CorruptedImages`.

    Attributes:
        folder: that was named.
        copies: files of each cell.
        classes: names of the class folders, sorted.
        labels: labels of the images used, int64 `[n]`.
        rows: indices of those in a copy, ascending.
        size: width and height in pixels of all images; None: any, because `resize` is given.
    """

    folder: Path
    copies: Mapping[Cell, CopyFiles] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    labels: Labels = field(repr=False)
    rows: torch.Tensor = field(repr=False)
    size: tuple[int, int] | None

    @property
    def identity(self) -> str:
        """Digest of types, severities, names and sizes of all files, and the bytes of 64 of each
        copy.

        It describes the stored files, independent of the size at which they are read, so that
        networks of different input sizes can be compared.
        """
        digest = hashlib.sha256(self.rows.numpy().tobytes())
        for (kind, severity), copy in self.copies.items():
            digest.update(f"{kind} {severity} {copy.digest}".encode())
        return digest.hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """CLASS/NAME without extension, of the images used."""
        first = next(iter(self.copies.values()))
        return tuple(stem(file_name(name)) for name in first.names[self.rows.numpy()])

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how the files were read, one line each."""
        grey = sum(copy.grey for copy in self.copies.values())
        looked_at = sum(copy.looked_at for copy in self.copies.values())
        if not grey:
            return ()
        count = f"{grey} of {looked_at} checked files"
        return (f"{count} are grey; their channel is repeated three times",)

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`; files are decoded in threads."""
        try:
            yield from self._blocks(kind, severity)
        except DataError as error:
            raise self._refusal(kind, severity, error) from error

    def _blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        copy = self.copies[kind, severity]
        names = copy.names[self.rows.numpy()]
        waiting: deque[Future[torch.Tensor]] = deque()
        # Threads, because decoding releases the interpreter's lock.
        pool = ThreadPoolExecutor(max_workers=THREADS)
        try:
            for start in range(0, len(names), _BLOCK):
                waiting.append(pool.submit(self._decode, copy.root, names[start : start + _BLOCK]))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _refusal(self, kind: str, severity: int, error: DataError) -> DataError:
        """The error for all unreadable files, from this copy on; earlier ones were read."""
        cells = list(self.copies)
        cells = cells[cells.index((kind, severity)) :]
        copies = [self.copies[cell] for cell in cells]
        return unreadable_files(self.folder, copies, self.rows) or error

    def _decode(self, root: Path, names: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([self._read(root / file_name(name)) for name in names]))

    def _read(self, file: Path) -> np.ndarray:
        image = open_rgb(file)
        if self.size is not None and image.size != self.size:
            raise DataError(
                f"{show_name(file)}: must be {self.size[0]}x{self.size[1]} like the others, got "
                f"{image.size[0]}x{image.size[1]}. Replace it, or give an image size with resize."
            )
        if self.image_size is None:
            return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
        return fit_image(image, self.image_size, self.resize)


def list_folders(folder: Path) -> dict[str, dict[int, Path]]:
    """Type -> severity -> its folder; types may be one level down, in folders of families.

    Severities are named 1 to 5, or by any five numbers in ascending order, as in parts of
    ImageNet-C-bar.

    Raises:
        DataError: if a type exists twice, or its severities have other names.
    """
    found: dict[str, Path] = {}
    for one in _folders(folder):
        below = [one] if _is_type(one) else [path for path in _folders(one) if _is_type(path)]
        for path in below:
            if path.name in found:
                raise DataError(
                    f"{show_name(folder)}: must have each type once, got {show_name(path)} and "
                    f"{show_name(found[path.name])}. Remove one."
                )
            found[path.name] = path
    return {kind: _list_severities(found[kind]) for kind in sorted(found)}


def open_folders(
    folder: Path,
    cells: Mapping[Cell, Path],
    opening: Opening,
    *,
    classes: Sequence[str] | None,
) -> OfficialFolders:
    """Open folders whose copies have the same images.

    Args:
        cells: folder of each type at each severity.

    Raises:
        DataError: if a copy has other classes or names, or the first image is unreadable (all
            unreadable files are named).
    """
    first = list_classes(next(iter(cells.values())))
    _check_classes(folder, first.classes, classes)

    def list_copy(root: Path) -> CopyFiles:
        listing = first if root == first.root else list_classes(root)
        _check_alike(first, listing)
        return read_copy(listing)

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        copies = dict(zip(cells, pool.map(list_copy, cells.values()), strict=True))
    labels = first.labels
    rows = opening.draw_rows(labels)
    size = None
    if opening.image_size is None or opening.resize is None:
        try:
            size = open_rgb(first.root / first.files[int(rows[0])][0]).size
        except DataError as error:
            raise unreadable_files(folder, list(copies.values()), rows) or error from error
    return OfficialFolders(
        **vars(opening),
        folder=folder,
        copies=copies,
        classes=first.classes,
        labels=labels[rows],
        rows=rows,
        size=size,
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _is_type(folder: Path) -> bool:
    if _NUMBER.fullmatch(folder.name):  # a severity, if the folder of a type was given
        return False
    return any(_NUMBER.fullmatch(path.name) for path in _folders(folder))


def _list_severities(folder: Path) -> dict[int, Path]:
    paths = [path for path in _folders(folder) if _NUMBER.fullmatch(path.name)]
    if all(_SEVERITY.fullmatch(path.name) for path in paths):
        return {int(path.name): path for path in paths}
    paths.sort(key=lambda path: float(path.name))
    numbers = {float(path.name) for path in paths}
    if not len(numbers) == len(paths) == len(SEVERITIES):
        raise DataError(
            f"{show_name(folder)}: must have severities named 1 to 5, or five numbers, got "
            f"{', '.join(path.name for path in paths)}. Add, remove or rename their folders."
        )
    return dict(enumerate(paths, start=1))


def _check_classes(folder: Path, found: Sequence[str], classes: Sequence[str] | None) -> None:
    if classes is None or list(found) == list(classes):
        return
    if len(found) != len(classes):
        raise DataError(
            f"{show_name(folder)}: must have the network's {len(classes)} classes, got "
            f"{len(found)} class folders. Evaluate a network for these classes."
        )
    odd = sorted(set(found) ^ set(classes))
    if not odd:
        raise DataError(
            f"{show_name(folder)}: must have the network's classes in their order, got class "
            "folders in another order; folders are read in order of their names. Rename them, or "
            "evaluate a network whose classes are sorted."
        )
    raise DataError(
        f"{show_name(folder)}: must have the network's classes, got {few(odd)} in only one of "
        "them. Rename the folders, or evaluate a network for these classes."
    )


def _check_alike(first: Listing, other: Listing) -> None:
    """Check that a copy has the images of the first one."""
    if first.classes != other.classes:
        odd = sorted(set(first.classes) ^ set(other.classes))
        raise DataError(
            f"{show_name(other.root)}: must have the classes of {show_name(first.root)}, got "
            f"{few(odd)} in only one of them. Unpack both again."
        )
    ours, theirs = first.stems, other.stems
    if ours != theirs:
        odd = sorted(set(ours) ^ set(theirs))
        got = (
            f"{few(odd)} in only one of them"
            if odd
            else "the same images in another order, or one of them twice"
        )
        raise DataError(
            f"{show_name(other.root)}: must have the images of {show_name(first.root)}, got {got}. "
            "Unpack both again."
        )
