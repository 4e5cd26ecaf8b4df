"""What is in a folder of images: classes and counts, files that cannot be read or are skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ablate.data.decode import ENDINGS, THREADS, Examined, Listing, examine, walk_classes
from ablate.errors import DataError
from ablate.files.shown import few, show_name

SPLITS = ("train", "val", "test")
_UNEVEN = 2.0
"""Largest class over smallest, from which a report says so."""
_CHUNK = 256
_NAMED = 5
"""Largest number of files, sizes or classes that a line names."""

Counts = Mapping[str, Mapping[str, int]]


class Unreadable(NamedTuple):
    """A file that cannot be read: its path below the folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class FolderScan:
    """What is in a folder of images.

    Attributes:
        folder: that was scanned.
        counts: split -> class -> image files that can be read; one split, "", of a folder with
            CLASS/* and no splits.
        unreadable: all image files that cannot be read, truncated ones among them.
        skipped: files that are not looked at: extension, or where they lie -> number.
        sizes: (width, height) in pixels -> number of images; the most frequent first.
        grey: number of images with one channel.
        decoded: number of files that were decoded; fewer than there are if a limit was set, and
            then `unreadable`, `sizes` and `grey` are of those alone.
    """

    folder: Path
    counts: Counts
    unreadable: tuple[Unreadable, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    grey: int = 0
    decoded: int = 0

    @property
    def images(self) -> int:
        """Number of images that can be read."""
        return sum(sum(of_class.values()) for of_class in self.counts.values())

    def summary(self) -> tuple[str, ...]:
        """A line per split: "train: 300 images of 3 classes (cat 150, dog 100, owl 50)"."""
        return tuple(_split_text(split, of_class) for split, of_class in self.counts.items())

    def findings(self) -> tuple[str, ...]:
        """What a user should know before training on it, one line each; none: nothing is odd."""
        return tuple(self._findings())

    def _findings(self) -> Iterator[str]:
        files = self.images + len(self.unreadable)
        if self.decoded < files:
            yield f"decoded {self.decoded:,} of {files:,} image files, evenly spread"
        if self.unreadable:
            yield (
                f"{unreadable_text(self.unreadable, self.decoded)}. Replace or remove them, or set "
                "dataset.skip_unreadable: true"
            )
        if self.skipped:
            read = ", ".join(sorted(ENDINGS))
            yield f"skipped files: {skipped_text(self.skipped)}. Read are {read}"
        if len(self.sizes) > 1:
            yield f"images of several sizes: {sizes_text(self.sizes)}. Set dataset.resize"
        if self.grey:
            count = "all" if self.grey == sum(self.sizes.values()) else f"{self.grey:,} of them"
            yield f"grey images: {count}; their channel is repeated three times"
        yield from _class_findings(self.counts)


def scan_folder(
    folder: Path,
    *,
    most: int | None = None,
    on_file: Callable[[int, int], None] = lambda _done, _total: None,
) -> FolderScan:
    """Look at every file of a folder of images.

    Args:
        folder: with train/CLASS/*, val/CLASS/*, test/CLASS/*, some of them, or CLASS/*.
        most: decode no more than this many image files, spread evenly; None: all of them, which is
            what finds every truncated one.
        on_file: called with the number of files done, and in total, now and then.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must be a folder of images, got no such folder. "
            "Correct the path."
        )
    there = [split for split in SPLITS if (folder / split).is_dir()]
    listings = {split: walk_classes(folder / split) for split in there or [""]}
    return scan_listings(folder, listings, most=most, on_file=on_file)


def scan_listings(
    folder: Path,
    listings: Mapping[str, Listing],
    *,
    most: int | None = None,
    on_file: Callable[[int, int], None] = lambda _done, _total: None,
) -> FolderScan:
    """As `scan_folder`, of files that were listed, by the name of their split."""
    files = [
        (split, label, listing.root / name)
        for split, listing in listings.items()
        for name, label, *_ in listing.files
    ]
    total = len(files)
    chosen = files
    if most is not None and most < total:
        chosen = [files[place * total // most] for place in range(most)]
    found = list(_examine_all([path for _, _, path in chosen], on_file))
    bad = [(file, one) for file, one in zip(chosen, found, strict=True) if one.unreadable]
    unreadable = Counter((split, label) for (split, label, _), _ in bad)
    counts = {split: _counts(listing, split, unreadable) for split, listing in listings.items()}
    good = [one for one in found if not one.unreadable]
    skipped = sum((Counter(listing.skipped) for listing in listings.values()), Counter[str]())
    return FolderScan(
        folder=folder,
        counts=counts,
        unreadable=tuple(
            Unreadable(_below(path, folder), one.unreadable) for (*_, path), one in bad
        ),
        skipped=dict(skipped.most_common()),
        sizes=dict(Counter(one.size for one in good).most_common()),
        grey=sum(one.is_grey for one in good),
        decoded=len(chosen),
    )


def _examine_all(files: Sequence[Path], on_file: Callable[[int, int], None]) -> Iterator[Examined]:
    def examine_chunk(start: int) -> list[Examined]:
        return [examine(path) for path in files[start : start + _CHUNK]]

    done = 0
    # Threads, since decoding leaves the interpreter's lock; chunks, since an image is small.
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for chunk in pool.map(examine_chunk, range(0, len(files), _CHUNK)):
            yield from chunk
            done += len(chunk)
            on_file(done, len(files))


def _counts(
    listing: Listing, split: str, unreadable: Mapping[tuple[str, int], int]
) -> dict[str, int]:
    labels = Counter(label for _, label, *_ in listing.files)
    return {
        name: labels[label] - unreadable.get((split, label), 0)
        for label, name in enumerate(listing.classes)
    }


def _below(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


# -- As text ----------------------------------------------------------------------------


def unreadable_text(unreadable: Sequence[Unreadable], files: int) -> str:
    """ "2 of 300 image files cannot be read: train/cat/1.jpg (a truncated image), ..."."""
    names = [f"{show_name(one.name)} ({one.reason})" for one in unreadable]
    return f"{len(unreadable):,} of {files:,} image files cannot be read: {few(names, _NAMED)}"


def sizes_text(sizes: Mapping[tuple[int, int], int]) -> str:
    """ "500x375 (250 images), 375x500 (48) and 12 more"."""
    return few([f"{width}x{height} ({n:,})" for (width, height), n in sizes.items()], _NAMED)


def skipped_text(skipped: Mapping[str, int]) -> str:
    """ "3 .gif, 1 .txt"."""
    return few([f"{count:,} {kind}" for kind, count in skipped.items()], _NAMED)


def _split_text(split: str, of_class: Mapping[str, int]) -> str:
    total, classes = sum(of_class.values()), len(of_class)
    if classes <= _NAMED:
        each = ", ".join(f"{show_name(name)} {count:,}" for name, count in of_class.items())
    else:
        each = f"{min(of_class.values()):,} to {max(of_class.values()):,} of each"
    start = f"{split}: " if split else ""
    plural = "class" if classes == 1 else "classes"
    return f"{start}{total:,} images of {classes:,} {plural}{f' ({each})' if each else ''}"


def _class_findings(counts: Counts) -> Iterator[str]:
    known = set[str]().union(*counts.values())
    for split, of_class in counts.items():
        place = f"{split}/" if split else "the folder"
        if missing := sorted(known - set(of_class)):
            yield f"classes without a folder in {place}: {few(missing, _NAMED)}"
        if empty := [name for name, count in of_class.items() if not count]:
            yield f"classes without an image in {place}: {few(empty, _NAMED)}"
        there = sorted((count, name) for name, count in of_class.items() if count)
        if there and there[-1][0] >= _UNEVEN * there[0][0]:
            (least, smallest), (largest, frequent) = there[0], there[-1]
            share = largest / sum(count for count, _ in there)
            yield (
                f"uneven classes in {place}: {show_name(smallest)} {least:,} to "
                f"{show_name(frequent)} {largest:,} images; a network that always answers "
                f"{show_name(frequent)} is right on {100 * share:.1f} %"
            )
