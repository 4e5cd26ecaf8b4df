"""A folder of images: train/CLASS/* with test/CLASS/*, val/CLASS/* or both.

Training images are decoded once, or streamed: decoded and cropped in each epoch by worker
processes.  The bytes of a streamed batch depend only on its rows and the epoch's seed, so that
neither the number of workers nor their speed shows in a result.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import reduction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ablate.data.dataset import Source, Split, TrainingImages, send
from ablate.data.decode import (
    THREADS,
    Decoder,
    Listing,
    list_classes,
    list_unlabeled,
    read_size,
)
from ablate.data.scan import leave_out_unreadable
from ablate.data.stored import decoded_split
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError, InfrastructureError
from ablate.errors.masking import without_secrets
from ablate.files.shown import show_name
from ablate.study.provenance import usable_cores
from ablate.study.seeds import derive_seed
from ablate.study.settings import DatasetSettings, path_from

UNLABELED_PART = "unlabeled"
"""Name of the images below `dataset.unlabeled` among the splits."""

_RELATIVE = "relative paths start at the study file's folder."


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """Read the folder's images at `image_size`.

    With only train/ and val/, val/ is the test set, as for ImageNet; with all three it is the
    validation split, unless `validation.path` names another folder.

    Raises:
        DataError: as `list_parts`, or if an image cannot be read, or, without `resize`, not all
            have one size.
        UsageError: if the cache cannot be written.
    """
    parts, left_out = list_parts(settings, base), dict[str, int]()
    for name, listing in parts.items():
        parts[name], count = readable(settings, listing, cache)
        parts[name].check_classes()
        left_out |= {name: count} if count else {}
    train, test, *others = parts.values()

    def decode(listing: Listing) -> Split:
        return decoded_split(listing, image_size, settings.resize, cache)

    return Source(
        classes=train.classes,
        train=training_images(settings, train, image_size, cache),
        test=lambda: decode(test),
        stored_size=read_size(train.root / train.files[0].name)[::-1],
        validation=decode(others[0]) if others else None,
        left_out=left_out,
    )


def list_parts(settings: DatasetSettings, base: Path) -> dict[str, Listing]:
    """The files of the training and test images, and of a validation folder if there is one, in
    this order; by their place below the folder.

    Raises:
        DataError: if no path is given, it has no such folders with the same classes, or a class
            has no image.
    """
    if settings.path is None:
        raise DataError(
            "dataset.path: image_folder needs a folder with train/ and test/ or val/, got none. "
            "Add it."
        )
    folder = path_from(base, settings.path)
    has_test, has_val = (folder / "test").is_dir(), (folder / "val").is_dir()
    held_out = "val" if has_val and not has_test else "test"
    for part in ("train", held_out):
        if not (folder / part).is_dir():
            missing = f"no {part}/" if folder.is_dir() else "no such folder"
            raise DataError(
                f"{show_name(folder)}: must have train/CLASS/* and test/CLASS/* or val/CLASS/*, "
                f"got {missing}. Correct dataset.path; {_RELATIVE}"
            )
    train, where = list_classes(folder / "train"), show_name(folder)
    rules = {folder / held_out: f"{where}: train/ and {held_out}/ must have the same classes"}
    validation = folder / "val" if has_test and has_val else None
    if settings.validation.path is not None:
        validation = path_from(base, settings.validation.path)
        if not validation.is_dir():
            raise DataError(
                f"{show_name(validation)}: must have CLASS/*, got no such folder. "
                f"Correct dataset.validation.path; {_RELATIVE}"
            )
    if validation is not None:
        of_train = show_name(folder / "train")
        rules[validation] = f"{show_name(validation)}: must have the classes of {of_train}"
    parts = {"train": train}
    for root, rule in rules.items():
        other = parts[os.path.relpath(root, folder)] = list_classes(root)
        if odd := sorted(set(train.classes) ^ set(other.classes)):
            raise DataError(
                f"{rule}, got {', '.join(map(show_name, odd))} in only one of them. "
                "Add or remove their folders."
            )
    return parts


def list_unlabeled_part(settings: DatasetSettings, base: Path) -> Listing | None:
    """The files below `settings.unlabeled`, at any depth; None if it is not set.

    Raises:
        DataError: if the folder is missing or holds no image.
    """
    if settings.unlabeled is None:
        return None
    root = path_from(base, settings.unlabeled)
    listing = list_unlabeled(root)
    if not listing.files:
        got = "none" if root.is_dir() else "no such folder"
        raise DataError(
            f"{show_name(root)}: must have images without labels, at any depth, got {got}. "
            f"Correct dataset.unlabeled; {_RELATIVE}"
        )
    return listing


def readable(settings: DatasetSettings, listing: Listing, cache: Path) -> tuple[Listing, int]:
    """The files without those that the settings leave out, and their number."""
    if not settings.skip_unreadable:
        return listing, 0
    kept, unreadable = leave_out_unreadable(listing, cache)
    return kept, len(unreadable)


def training_images(
    settings: DatasetSettings, listing: Listing, image_size: int, cache: Path
) -> TrainingImages:
    """Files as the settings would have them: decoded once, or streamed."""
    if settings.loading != "streamed":
        return decoded_split(listing, image_size, settings.resize, cache)
    return StreamedSplit(
        listing=listing,
        image_size=image_size,
        resize=settings.resize,
        crop_scale=settings.crop_scale,
        workers=settings.loading_workers,
        cache=cache,
    )


_VERSION = 2
"""Counts the ways in which streamed images were made; part of the digest."""

_SAMPLED = 1024
"""Files whose bytes are read to notice that one was replaced; more would delay each start."""

Batch = tuple[list[int], int, int]
"""Rows, the epoch's seed, and the slot for the images: what a worker is sent."""

Decoded = int | np.ndarray | str
"""Its result: the slot; or uint8 `[n, 3, image_size, image_size]` without slots; or an error."""

_AHEAD = 2
"""Batches that each worker has made or is making before they are asked for."""


@dataclass(frozen=True)
class StreamedSplit:
    """Image files and their classes.

    Attributes:
        listing: the files.
        image_size: side in pixels.
        resize: shorter side in pixels before the middle is cut; none: all files have one size.
        crop_scale: least share of the area in a random crop; none: the middle is cut.
        workers: processes that decode; 0: the one that trains.
        cache: folder for what `resident` decodes.
    """

    listing: Listing
    image_size: int
    resize: int | None
    crop_scale: float | None
    workers: int
    cache: Path

    def __len__(self) -> int:
        return len(self.listing.files)

    @cached_property
    def labels(self) -> Labels:
        return self.listing.labels

    @cached_property
    def digest(self) -> str:
        """Of names, labels, file sizes and how files become images; not of the files' bytes,
        which would all have to be read."""
        files = [(file.name, file.label, file.size) for file in self.listing.files]
        made_from = (_VERSION, self.image_size, self.resize, self.crop_scale, files)
        return hashlib.sha256(repr(made_from).encode()).hexdigest()

    @cached_property
    def contents(self) -> str:
        """Of the bytes of up to 1,024 of the files, evenly spread.

        Raises:
            DataError: if one of them cannot be read.
        """
        files = self.listing.files
        count = min(len(files), _SAMPLED)
        sampled = [files[place * len(files) // count] for place in range(count)]
        with ThreadPoolExecutor(max_workers=THREADS) as pool:
            digests = pool.map(lambda file: _digest_file(self.listing.root / file.name), sampled)
            return hashlib.sha256("".join(digests).encode()).hexdigest()

    def take(self, indices: torch.Tensor) -> StreamedSplit:
        """The files at these places."""
        return replace(self, listing=self.listing.take(indices))

    def resident(self) -> Split:
        """All of them decoded into the cache, the middle cut.

        Raises:
            DataError: if one cannot be read, or, without `resize`, not all have one size.
            UsageError: if the cache cannot be written.
        """
        return decoded_split(self.listing, self.image_size, self.resize, self.cache)

    def place(self, device: str) -> PlacedStream:
        """Ready to be read; the workers start with the first batch and end with the object.

        Raises:
            DataError: if the first file cannot be read.
        """
        files, resize = self.listing, self.resize
        decoder = Decoder(
            str(files.root),
            files.names,
            self.image_size,
            resize,
            self.crop_scale,
            size=files.common_size(resize),
        )
        # More processes than cores would only wait for each other; the result is the same.
        return PlacedStream(decoder, self.labels, device, min(self.workers, usable_cores()))


def _digest_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{show_name(path)}: must be a readable image, got {error.strerror}. Replace or "
            "remove it."
        ) from error


class PlacedStream:
    """Image files that yield batches on a device; one pass at a time.

    Args:
        decoder: of the files.
        labels: int64 `[n]`, on the CPU.
        device: where batches go.
        workers: number of processes that decode ahead; 0: none.
    """

    def __init__(self, decoder: Decoder, labels: Labels, device: str, workers: int) -> None:
        self._device, self._labels, self._workers = device, labels, workers
        self._plan: list[Batch] = []  # of the next pass; changed while the workers stay
        self._batches = _Batches(decoder)
        self._loader: DataLoader[Decoded] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._plan,
            collate_fn=_keep,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            persistent_workers=workers > 0,
            # A fork would copy the locks of this process's threads in their current state.
            multiprocessing_context="spawn" if workers else None,
            # The loader draws a seed for its workers at each pass: not from the global generator.
            generator=torch.Generator(),
        )

    def batches(
        self, order: torch.Tensor, batch_size: int, *, seed: int
    ) -> Iterator[tuple[ByteImages, Labels]]:
        """See `PlacedImages`.

        Raises:
            DataError: if an image cannot be read.
            InfrastructureError: if a worker died.
        """
        starts = range(0, len(order) - batch_size + 1, batch_size)
        rows = order.tolist()
        # Those made ahead, and the one that is read meanwhile.
        count = _AHEAD * self._workers + 1
        if self._workers and self._batches.slots is None:  # its workers start in this pass
            self._batches.slots = _Slots.of(count, batch_size, self._batches.image_size)
        self._plan[:] = [
            (rows[start : start + batch_size], seed, number % count)
            for number, start in enumerate(starts)
        ]
        for start, decoded in zip(starts, self._decoded(), strict=True):
            labels = self._labels[order[start : start + batch_size]]
            yield send(self._read(decoded, batch_size), self._device), send(labels, self._device)

    def _read(self, decoded: Decoded, batch_size: int) -> ByteImages:
        """A batch that no worker writes to."""
        if isinstance(decoded, str):
            raise DataError(decoded)
        if isinstance(decoded, np.ndarray):
            return torch.from_numpy(decoded)
        assert self._batches.slots is not None
        images = torch.from_numpy(self._batches.slots.images[decoded][:batch_size])
        return images.clone() if self._device == "cpu" else images.pin_memory()

    def _decoded(self) -> Iterator[Decoded]:
        try:
            with without_secrets():  # its workers start here
                batches = iter(self._loader)
            # What its reader raises does not come by here.
            yield from batches
        except RuntimeError as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise InfrastructureError(
                f"dataset.loading_workers: each must stay alive, got {reason!r}. "
                "Lower it or free memory, and resume."
            ) from error


class _Batches(Dataset[Decoded]):
    """Decodes a batch, in a worker; a message in its place where an image cannot be read."""

    def __init__(self, decoder: Decoder) -> None:
        assert decoder.image_size is not None
        self._decoder = decoder
        self.image_size = decoder.image_size
        self.slots: _Slots | None = None

    def __getitem__(self, batch: Batch) -> Decoded:
        rows, seed, slot = batch
        images = None if self.slots is None else self.slots.images[slot]
        if images is None or len(images) < len(rows):  # which are more than in the first pass
            slot, images = -1, np.empty((len(rows), 3, *[self.image_size] * 2), dtype=np.uint8)
        try:
            for place, row in enumerate(rows):
                images[place] = self._decoder(row, derive_seed(seed, "crop", row))
        except DataError as error:
            # A raised error would come out as many lines, those of the worker's stack among them.
            return str(error)
        return images if slot < 0 else slot


def _keep(decoded: Any) -> Any:
    """The loader would make a tensor of it."""
    return decoded


class _Slots:
    """Memory in which the workers leave batches, so that no byte goes through a pipe.

    Not torch's shared tensors: a spawned process that has shared one may abort as it ends (torch
    2.13).  The memory is a file without a name, which is gone with the last process that has it,
    however that ends; and it is taken at once, since none that is left later would be a bus error.

    Attributes:
        images: uint8 `[slot, batch, 3, image_size, image_size]`.
    """

    def __init__(self, file: int, shape: tuple[int, ...]) -> None:
        self._file = os.fdopen(file, "r+b", buffering=0)
        memory = mmap.mmap(file, math.prod(shape))
        self.images = np.frombuffer(memory, np.uint8).reshape(shape)

    @classmethod
    def of(cls, count: int, batch_size: int, image_size: int) -> _Slots | None:
        """So many slots; None where the system has no such memory, or not enough."""
        if not hasattr(os, "memfd_create"):
            return None
        shape = (count, batch_size, 3, image_size, image_size)
        file = os.memfd_create("ablate-batches")
        try:
            os.posix_fallocate(file, 0, math.prod(shape))
        except OSError:
            os.close(file)
            return None
        return cls(file, shape)

    def __reduce__(self) -> Any:
        """For a process that is spawned."""
        return _open_slots, (reduction.DupFd(self._file.fileno()), self.images.shape)


def _open_slots(file: Any, shape: tuple[int, ...]) -> _Slots:
    return _Slots(file.detach(), shape)
