"""What is in a folder of images: classes and counts, files that cannot be read or are skipped."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from ablate.data.decode import (
    ENDINGS,
    THREADS,
    UNLABELED,
    Examined,
    FileEntry,
    Listing,
    Size,
    examine,
    size_fixes,
    walk_classes,
)
from ablate.errors import DataError, UsageError
from ablate.files.cache import ABOUT, locked, mark_used, publish_folder
from ablate.files.shown import count_text, few, show_name, shown_if
from ablate.study.json_data import JsonData

_SPLITS = ("train", "val", "test")
UNEVEN = 2.0
"""Largest class over smallest, from which a report says so."""
VERY_UNEVEN = 3.0
"""The same, above which it says what to compare by."""
_NAMED = 5
"""Largest number of files, sizes or classes that a line names."""
_CHUNK = 256
"""Files that a thread examines at a time, since an image is small."""
_VERSION = 3
"""Counts the ways in which files were examined; part of the key of a kept scan."""

Counts = Mapping[str, Mapping[str, int]]
_Key = TypeVar("_Key")

OnFile = Callable[[int, int], None]
"""Called now and then with the number of files done, and in total."""


class Unreadable(NamedTuple):
    """A file that cannot be read: its path below the folder, and why."""

    name: str
    reason: str


class SizeCount(NamedTuple):
    """A size in pixels, how many images have it, and the first of them."""

    width: int
    height: int
    images: int
    example: str


@dataclass(frozen=True)
class SplitScan(JsonData):
    """What is in one split.

    Attributes:
        what: its folder, as shown.
        counts: class -> image files that can be read; "" without classes.
        skipped: files that are not looked at: extension, or where they lie -> number.
        unreadable: all image files that cannot be read, truncated ones among them.
        sizes: the most frequent first.
        grey: number of images with one channel; rotated: of those that EXIF turns upright.
        decoded: number of files that were decoded; fewer than there are if a limit was set, and
            then `unreadable`, `sizes`, `grey` and `rotated` are of those alone.
    """

    what: str
    counts: Mapping[str, int]
    skipped: Mapping[str, int]
    unreadable: tuple[Unreadable, ...]
    sizes: tuple[SizeCount, ...]
    grey: int
    rotated: int
    decoded: int


def too_large(count: int, side: int) -> str:
    """Why so many decoded images of `side` pixels should be streamed; empty if they need not be.

    Workers of a node share them, so that they are in its memory once.
    """
    size = 3 * side**2 * count
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 2 * size <= memory:
        return ""
    return (
        f"{count:,} images of {side} x {side} are {size / 2**30:.1f} GiB, more than half of this "
        f"machine's memory of {memory / 2**30:.0f} GiB"
    )


@dataclass(frozen=True)
class FolderScan:
    """What is in a folder of images.

    Attributes:
        folder: that was scanned.
        splits: by its path below the folder; one, "", of a folder with CLASS/* and no splits.
    """

    folder: Path
    splits: Mapping[str, SplitScan]

    @property
    def counts(self) -> Counts:
        """Split -> class -> image files that can be read."""
        return {name: split.counts for name, split in self.splits.items()}

    @cached_property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """All image files that cannot be read; their names begin at the folder."""
        return tuple(
            Unreadable(f"{name}/{file.name}" if name else file.name, file.reason)
            for name, split in self.splits.items()
            for file in split.unreadable
        )

    @cached_property
    def sizes(self) -> Mapping[Size, int]:
        """Width and height -> number of images; the most frequent first."""
        return _sizes(self.splits.values())

    @property
    def grey(self) -> int:
        """Number of images with one channel."""
        return sum(split.grey for split in self.splits.values())

    @property
    def decoded(self) -> int:
        """Number of files that were decoded."""
        return sum(split.decoded for split in self.splits.values())

    def summary(self) -> tuple[str, ...]:
        """A line per split: "train: 300 images of 3 classes (cat 150, dog 100, owl 50)"."""
        return tuple(_split_text(split, of_class) for split, of_class in self.counts.items())

    def notes(self, *, skip_unreadable: bool = False, advises: bool = False) -> tuple[str, ...]:
        """What a user should know before training on it, one line each; none: nothing is odd.

        Args:
            skip_unreadable: whether files that cannot be read are left out, and noted.
            advises: whether very uneven classes come with the metrics to take.
        """
        notes = []
        if skip_unreadable and self.unreadable:
            notes.append(f"{self._count} cannot be read and are left out: {self._names}")
        images = sum(sum(of_class.values()) for of_class in self.counts.values())
        if self.decoded < (files := images + len(self.unreadable)):
            notes.append(f"decoded {self.decoded:,} of {files:,} image files, evenly spread")
        if skipped := _sum(split.skipped for split in self.splits.values()):
            kinds = few([f"{count:,} {kind}" for kind, count in skipped.items()], _NAMED)
            notes.append(f"skipped files: {kinds}. Read are {', '.join(sorted(ENDINGS))}")
        if self.grey:
            count = "all" if self.grey == sum(self.sizes.values()) else f"{self.grey:,} of them"
            notes.append(f"grey images: {count}; their channel is repeated three times")
        if rotated := sum(split.rotated for split in self.splits.values()):
            notes.append(f"turned upright, as EXIF says: {count_text(rotated, 'image')}")
        return (*notes, *_class_notes(self.counts, advises=advises))

    @property
    def _count(self) -> str:
        return f"{len(self.unreadable):,} of {self.decoded:,} image files"

    @property
    def _names(self) -> str:
        return few([f"{show_name(file.name)} ({file.reason})" for file in self.unreadable], _NAMED)

    def refuse(self, *, skip_unreadable: bool | None, resize: int | None, image_size: int) -> None:
        """Refuse a folder that these settings cannot be used with.

        Args:
            skip_unreadable: files that cannot be read are left out; None: they cannot be.
            resize: as `dataset.resize`; None: the images of a split must have one size.
            image_size: of the network, in pixels.

        Raises:
            DataError: naming all that is wrong.
        """
        wrong = list[tuple[str, str, tuple[str, str]]]()
        if self.unreadable and not skip_unreadable:
            got = f"{self._count} that cannot be read: {self._names}"
            ways = ("set dataset.skip_unreadable: true.", "give `skip_unreadable=True`.")
            fix = "Replace or remove them, or"
            wrong.append(("readable images", got, (f"{fix} {ways[0]}", f"{fix} {ways[1]}")))
            if skip_unreadable is None:
                wrong = [("readable images", got, ("Replace them.", "Replace them."))]
        mixed = {name: split for name, split in self.splits.items() if len(split.sizes) > 1}
        if mixed and resize is None:
            examples = {
                size[:2]: f"{name}/{size.example}" if name else size.example
                for name, split in reversed(mixed.items())
                for size in split.sizes
            }
            sizes = [
                f"{width}x{height} ({count:,}, {show_name(examples[width, height])})"
                for (width, height), count in _sizes(mixed.values()).items()
            ]
            wrong.append(("images of one size", few(sizes, _NAMED), size_fixes(image_size)))
        if wrong:
            rules, found, fixes = zip(*wrong, strict=True)
            raise DataError(
                f"{show_name(self.folder)}: must have {' and '.join(rules)}, got "
                f"{', and '.join(found)}.",
                " ".join(fix for fix, _ in fixes),
                parameter_fix=" ".join(fix for _, fix in fixes),
            )


def scan_folder(folder: Path, *, most: int | None = None) -> FolderScan:
    """Look at every file of a folder of images.

    Args:
        folder: with train/CLASS/*, val/CLASS/*, test/CLASS/*, some of them, or CLASS/*.
        most: as for `scan_listings`.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must be a folder of images, got no such folder. "
            "Correct the path."
        )
    there = [split for split in _SPLITS if (folder / split).is_dir()]
    listings = {split: walk_classes(folder / split) for split in there or [""]}
    return scan_listings(folder, listings, most=most)


def scan_listings(
    folder: Path,
    listings: Mapping[str, Listing],
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile | None = None,
) -> FolderScan:
    """Look at the files of several splits.

    Args:
        listings: by the path of their split below the folder.
        most: decode about this many image files, spread evenly; None: all of them, which is what
            finds every truncated one.
        cache: folder that holds `scans/`, where a whole scan is kept until a file changes, if it
            can be written; None: nothing is kept.
        on_file: as `OnFile`.
    """
    counts = {name: len(listing.files) for name, listing in listings.items()}
    total = sum(counts.values())
    if most is not None and most < total:
        counts = {name: math.ceil(most * count / total) for name, count in counts.items()}
    splits, done = dict[str, SplitScan](), 0
    for name, listing in listings.items():

        def count_on(of_split: int, before: int = done) -> None:
            if on_file is not None:
                on_file(before + of_split, sum(counts.values()))

        splits[name] = scan_listing(listing, counts[name], cache, count_on)
        done += counts[name]
    return FolderScan(folder, splits)


def scan_listing(
    listing: Listing,
    most: int | None = None,
    cache: Path | None = None,
    on_file: Callable[[int], None] = lambda _done: None,
) -> SplitScan:
    """As `scan_listings`, of one split; `on_file` gets the number of files done."""
    made_from = repr((_VERSION, str(listing.root), listing.classes, listing.files, listing.skipped))
    key = hashlib.sha256(made_from.encode()).hexdigest()[:32]
    entry = None if cache is None else cache / "scans" / key
    if entry is not None:
        with suppress(OSError, ValueError, TypeError, LookupError):  # none, or damaged: made again
            kept = SplitScan.from_text((entry / ABOUT).read_text())
            mark_used(entry)
            return kept
    total = len(listing.files)
    count = total if most is None else min(most, total)
    scan = _examine(listing, [at * total // count for at in range(count)], on_file)
    if entry is not None and count == total:
        # A name that is not UTF-8 cannot be kept.
        with suppress(UsageError, ValueError):
            text = scan.to_text()
            with locked(entry), publish_folder(entry) as temporary:
                (temporary / ABOUT).write_text(text)
    return scan


def _examine(listing: Listing, rows: Sequence[int], on_file: Callable[[int], None]) -> SplitScan:
    files = [listing.files[row] for row in rows]
    labels = Counter(file.label for file in listing.files)
    unreadable, sizes = list[Unreadable](), Counter[Size]()
    examples, grey, rotated = dict[Size, str](), 0, 0

    def examine_chunk(start: int) -> list[tuple[FileEntry, Examined]]:
        chunk = files[start : start + _CHUNK]
        return [(file, examine(listing.root / file.name)) for file in chunk]

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        starts = range(0, len(files), _CHUNK)
        for start, chunk in zip(starts, pool.map(examine_chunk, starts), strict=True):
            for file, image in chunk:
                if image.unreadable:
                    unreadable.append(Unreadable(file.name, image.unreadable))
                    labels[file.label] -= 1
                else:
                    sizes[image.size] += 1
                    examples.setdefault(image.size, file.name)
                    grey += image.is_grey
                    rotated += image.is_rotated
            on_file(start + len(chunk))
    names = dict(enumerate(listing.classes)) or {UNLABELED: ""}
    return SplitScan(
        what=show_name(listing.root),
        counts={name: labels[label] for label, name in names.items()},
        skipped=dict(Counter(listing.skipped).most_common()),
        unreadable=tuple(unreadable),
        sizes=tuple(SizeCount(*size, n, examples[size]) for size, n in sizes.most_common()),
        grey=grey,
        rotated=rotated,
        decoded=len(files),
    )


def leave_out_unreadable(listing: Listing, cache: Path) -> tuple[Listing, tuple[str, ...]]:
    """The files of a split that can be read, and the names of those that cannot.

    Raises:
        DataError: if none can be read.
    """
    unreadable = {file.name for file in scan_listing(listing, cache=cache).unreadable}
    kept = tuple(file for file in listing.files if file.name not in unreadable)
    if not kept:
        raise DataError(
            f"{show_name(listing.root)}: must have readable images, got none among "
            f"{len(listing.files):,}. Replace them."
        )
    names = tuple(file.name for file in listing.files if file.name in unreadable)
    return replace(listing, files=kept), names


def _sizes(splits: Iterable[SplitScan]) -> dict[Size, int]:
    return _sum({size[:2]: size.images for size in split.sizes} for split in splits)


def _sum(counts: Iterable[Mapping[_Key, int]]) -> dict[_Key, int]:
    """The most frequent first."""
    return dict(sum(map(Counter, counts), Counter[_Key]()).most_common())


def _split_text(split: str, of_class: Mapping[str, int]) -> str:
    total, classes = sum(of_class.values()), len(of_class)
    start = f"{split}: " if split else ""
    if set(of_class) <= {""}:
        return f"{start}{total:,} images without classes"
    least, most = min(of_class.values()), max(of_class.values())
    if classes <= _NAMED:
        each = ", ".join(f"{show_name(name)} {count:,}" for name, count in of_class.items())
    else:
        each = f"{least:,} {f'to {most:,} ' if most > least else ''}of each"
    return (
        f"{start}{total:,} images of {classes:,} {'class' if classes == 1 else 'classes'} ({each})"
    )


def _class_notes(counts: Counts, *, advises: bool) -> Iterator[str]:
    labelled = {split: of_class for split, of_class in counts.items() if set(of_class) != {""}}
    known = set[str]().union(*labelled.values())
    for split, of_class in labelled.items():
        where = f"{split}/" if split else "the folder"
        if missing := sorted(known - set(of_class)):
            yield f"classes without a folder in {where}: {few(missing, _NAMED)}"
        if empty := [name for name, count in of_class.items() if not count]:
            yield f"classes without an image in {where}: {few(empty, _NAMED)}"
        there = sorted((count, name) for name, count in of_class.items() if count)
        if there and there[-1][0] >= UNEVEN * there[0][0]:
            (least, smallest), (largest, frequent) = there[0], there[-1]
            share = largest / sum(count for count, _ in there)
            is_advised = advises and split != "test" and largest > VERY_UNEVEN * least
            metrics = "val_balanced_accuracy and val_robust_balanced_accuracy"
            advice = f"; accuracy tells mostly of {show_name(frequent)}: take {metrics}"
            yield (
                f"uneven classes in {where}: {show_name(smallest)} {least:,} to "
                f"{show_name(frequent)} {largest:,} images; a network that always answers "
                f"{show_name(frequent)} is right on {100 * share:.1f} %"
                + shown_if(is_advised, advice)
            )
