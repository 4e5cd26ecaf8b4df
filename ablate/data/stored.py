"""Decoded images in the cache: written once, memory-mapped by every process after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap

from ablate.data.dataset import Split, digest_images
from ablate.data.decode import Decoder, Listing
from ablate.data.scan import scan_listings
from ablate.errors import DataError, InfrastructureError
from ablate.files.cache import ABOUT, is_whole, locked, mark_used, publish_folder, say_made_again
from ablate.files.shown import show_name

_VERSION = 3
"""Counts the ways in which images were decoded and stored; part of the cache's key."""


class Pixels(NamedTuple):
    """Images that are yet to be stored.

    Attributes:
        labels: int64 `[n]`.
        chunks: uint8 `[k, channel, image_size, image_size]`, n images in all, in order.
    """

    labels: np.ndarray
    chunks: Iterable[np.ndarray]


def stored_split(cache: Path, made_from: object, read: Callable[[], Pixels], *, what: str) -> Split:
    """Get the images of `read`, from the cache if they are there and intact.

    Their digest is checked once per process.

    Args:
        cache: folder that holds `data/`.
        made_from: everything that determines the bytes; its `repr` makes the key.
        read: called if they are not cached; an error leaves nothing behind.
        what: description for listing the cache.

    Raises:
        UsageError: if the cache cannot be written.
    """
    key = hashlib.sha256(repr((_VERSION, made_from)).encode()).hexdigest()[:32]
    entry = cache / "data" / key
    if (split := _open(entry)) is not None:
        return split
    with locked(entry):
        if (split := _open(entry)) is not None:
            return split
        if entry.is_dir():
            say_made_again(f"images of {what} were")
        with publish_folder(entry) as temporary:
            _write(read(), temporary)
            (temporary / ABOUT).write_text(json.dumps({"what": what}))
        if (split := _open(entry)) is not None:
            return split
    raise InfrastructureError(
        f"{entry}: must contain the bytes that were written, got other bytes directly after "
        "writing. Check the disk and the memory, set ABLATE_CACHE to another disk, and resume."
    )


def decoded_split(listing: Listing, image_size: int, resize: int | None, cache: Path) -> Split:
    """The images of a listing, decoded once and again after any file's name, size or time changed.

    Raises:
        DataError: if one cannot be read, or, without `resize`, not all have one size.
        UsageError: if the cache cannot be written.
    """

    def read() -> Pixels:
        size = listing.common_size(resize)
        decoder = Decoder(str(listing.root), listing.names, image_size, resize, size=size)
        return Pixels(listing.labels.numpy(), decoder.blocks())

    made_from = (image_size, resize, listing.classes, listing.files)
    try:
        return stored_split(cache, made_from, read, what=show_name(listing.root))
    except DataError:  # of the first bad file: all of them are named at once
        scan = scan_listings(listing.root, {"": listing}, cache=cache)
        scan.refuse(skip_unreadable=False, resize=resize, image_size=image_size)
        raise


def _open(entry: Path) -> Split | None:
    """The stored images, or None if they are missing or damaged."""
    files = entry / "images.npy", entry / "labels.npy", entry / "digest"
    try:
        # Copy on write: torch wants an array that can be written, and nothing writes it.
        images = np.load(files[0], mmap_mode="c")
        labels = np.load(files[1])
        digest = files[2].read_text()
        if (images.dtype, labels.dtype, images.ndim) != (np.uint8, np.int64, 4):
            return None
        if not is_whole(files, digest, lambda: digest_images(images, labels)):
            return None
    except Exception:  # damage can make numpy fail anywhere: an EOFError, a TokenError
        return None
    mark_used(entry)
    return Split(torch.from_numpy(images), torch.from_numpy(labels), digest)


def _write(pixels: Pixels, folder: Path) -> None:
    images: np.memmap | None = None
    start = 0
    for chunk in pixels.chunks:
        if images is None:
            shape = (len(pixels.labels), *chunk.shape[1:])
            images = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        images[start : start + len(chunk)] = chunk
        start += len(chunk)
    assert images is not None
    images.flush()
    np.save(folder / "labels.npy", pixels.labels)
    (folder / "digest").write_text(digest_images(images, pixels.labels))
