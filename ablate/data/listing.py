"""Lists the image files of a folder, without reading them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ablate.errors import DataError
from ablate.files.shown import show_name

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
"""Files with other extensions are ignored."""

UNLABELED = -1
"""The label of an image that has none."""

FileEntry = tuple[str, int, int, int]


@dataclass(frozen=True)
class Listing:
    """The image files of one split, in the order of its images.

    Attributes:
        root: the split's folder.
        classes: names of its subfolders, sorted; none for images without labels.
        files: (path below the root, label, bytes, time of the last change in nanoseconds).
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[FileEntry, ...]


def list_classes(root: Path) -> Listing:
    """The images in `root/CLASS/*`.

    Raises:
        DataError: if there are no classes, or a class has no image.
    """
    with os.scandir(root) as entries:
        names = (entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
        classes = tuple(sorted(names))
    if not classes:
        raise DataError(
            f"{show_name(root)}: must have one folder for each class, got none. Add the images."
        )
    files: list[FileEntry] = []
    for label, name in enumerate(classes):
        images = _list_images(root, name, label)
        if not images:
            raise DataError(
                f"{show_name(root / name)}: must have at least one image "
                f"({', '.join(sorted(ENDINGS))}), got none. Add some, or remove the folder."
            )
        files += images
    return Listing(root, classes, tuple(files))


def list_flat(root: Path) -> Listing:
    """The images in a folder itself, without labels; there may be none."""
    return Listing(root, (), tuple(_list_images(root, ".", UNLABELED)))


def list_tree(root: Path) -> Listing:
    """List the images in a folder at any depth, without labels.

    Raises:
        DataError: if the folder is missing or holds no image.
    """
    files: list[FileEntry] = []
    for folder, below, _ in os.walk(root, followlinks=False):
        below[:] = [name for name in below if name[0] != "."]
        files += _list_images(root, os.path.relpath(folder, root), UNLABELED)
    if not files:
        got = "none" if root.is_dir() else "no such folder"
        raise DataError(
            f"{show_name(root)}: must have images without labels, at any depth, got {got}. "
            "Correct dataset.unlabeled; relative paths start at the study file's folder."
        )
    return Listing(root, (), tuple(sorted(files)))


def _list_images(root: Path, name: str, label: int) -> list[FileEntry]:
    prefix = "" if name == "." else f"{name}/"
    found: list[FileEntry] = []
    with os.scandir(root / name) as entries:
        for entry in entries:
            if Path(entry.name).suffix.lower() in ENDINGS and entry.name[0] != ".":
                status = _stat(Path(entry.path))
                found.append((f"{prefix}{entry.name}", label, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _stat(file: Path) -> os.stat_result:
    """Of the file itself, or an error that names it: a link may lead nowhere."""
    try:
        found = file.stat()
    except FileNotFoundError as error:
        raise DataError(
            f"{show_name(file)}: must be an image, got a broken link. Fix or remove it."
        ) from error
    if stat.S_ISFIFO(found.st_mode):  # opening it would block
        raise DataError(f"{show_name(file)}: must be an image, got a FIFO. Remove it.")
    return found
