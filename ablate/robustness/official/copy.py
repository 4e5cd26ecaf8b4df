"""The files of one copy in the layout of ImageNet-C: listed, hashed, and looked through."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ablate.data.decode import open_rgb
from ablate.data.listing import Listing
from ablate.errors import DataError
from ablate.files.shown import show_name

THREADS = min(8, os.cpu_count() or 1)

_SAMPLED = 64
_SHOWN = 5
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class CopyFiles(NamedTuple):
    """The files of one type at one severity.

    Attributes:
        root: its folder.
        names: paths below it, as bytes: an array is smaller than as many strings.
        digest: of names, sizes and some files' bytes.
        looked_at: how many those are; grey: how many of them.
    """

    root: Path
    names: np.ndarray
    digest: str
    looked_at: int
    grey: int


def read_copy(listing: Listing) -> CopyFiles:
    """Names of all files, and what 64 of them say, spread over the copy.

    Raises:
        DataError: if one of those cannot be opened.
    """
    names = np.array([os.fsencode(name) for name, *_ in listing.files])
    digest = hashlib.sha256(names.tobytes())
    digest.update(np.array([size for _, _, size, _ in listing.files]).tobytes())
    sampled = np.linspace(0, len(names) - 1, min(len(names), _SAMPLED)).round().astype(int)
    grey = 0
    for row in sampled:
        content = _read_bytes(listing.root / file_name(names[row]))
        digest.update(content)
        grey += _is_grey(content)
    return CopyFiles(listing.root, names, digest.hexdigest(), len(sampled), grey)


def _is_grey(content: bytes) -> bool:
    """By its header; what is no image is said where it is decoded."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.mode in _GREY_MODES
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def unreadable_files(
    folder: Path, copies: Sequence[CopyFiles], rows: torch.Tensor
) -> DataError | None:
    """What to raise for the files that cannot be read; None: all can.

    Args:
        folder: that was named.
        rows: places of the images that are taken of each copy, int64 `[n]`.
    """
    files = [copy.root / file_name(name) for copy in copies for name in copy.names[rows.numpy()]]

    def fails(file: Path) -> bool:
        try:
            open_rgb(file)
        except DataError:
            return True
        return False

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        found = list(pool.map(fails, files))
    bad = [
        str(file.relative_to(folder)) for file, failed in zip(files, found, strict=True) if failed
    ]
    if not bad:
        return None
    return DataError(
        f"{show_name(folder)}: must have images that can be read, got {len(bad)} of {len(files)} "
        f"looked through that cannot ({few(bad, _SHOWN)}). Unpack or write them again."
    )


def stem(name: str) -> str:
    """A path below a copy without its ending."""
    return os.path.splitext(name)[0]  # noqa: PTH122


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{show_name(file)}: must be a file that can be read, got {error.strerror}. "
            "Unpack it again, or change its owner."
        ) from error


def file_name(name: bytes) -> str:
    """A path below a copy, as it was listed."""
    return os.fsdecode(bytes(name))


def few(names: Sequence[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(show_name, names[:shown])) + more
