"""What is in a folder of images: classes and counts, files that cannot be read or are skipped."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from ablate.data.decode import (
    ENDINGS,
    THREADS,
    UNLABELED,
    Examined,
    Listing,
    examine,
    size_fixes,
    walk_classes,
)
from ablate.errors import DataError, UsageError
from ablate.files.cache import locked, publish_folder
from ablate.files.inventory import ABOUT, mark_used
from ablate.files.shown import few, show_name
from ablate.study.json_data import JsonData

SPLITS = ("train", "val", "test")
_UNEVEN = 2.0
"""Largest class over smallest, from which a report says so."""
_CHUNK = 256
_NAMED = 5
"""Largest number of files, sizes or classes that a line names."""

_VERSION = 1
"""Counts the ways in which files were examined; part of the key of a kept scan."""

Counts = Mapping[str, Mapping[str, int]]
Size = tuple[int, int]
_Key = TypeVar("_Key")


class Unreadable(NamedTuple):
    """A file that cannot be read: its path below the folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class SplitScan:
    """What is in one split.

    Attributes:
        root: its folder.
        counts: class -> image files that can be read; "" without classes.
        skipped: files that are not looked at: extension, or where they lie -> number.
        unreadable: all image files that cannot be read, truncated ones among them.
        sizes: (width, height) in pixels -> number of images; the most frequent first.
        examples: (width, height) -> the first file of that size.
        grey: number of images with one channel.
        decoded: number of files that were decoded; fewer than there are if a limit was set, and
            then `unreadable`, `sizes` and `grey` are of those alone.
    """

    root: Path
    counts: Mapping[str, int]
    skipped: Mapping[str, int]
    unreadable: tuple[Unreadable, ...]
    sizes: Mapping[Size, int]
    examples: Mapping[Size, str]
    grey: int
    decoded: int


@dataclass(frozen=True)
class FolderScan:
    """What is in a folder of images.

    Attributes:
        folder: that was scanned.
        splits: by name; one, "", of a folder with CLASS/* and no splits.
    """

    folder: Path
    splits: Mapping[str, SplitScan]

    @property
    def counts(self) -> Counts:
        """Split -> class -> image files that can be read."""
        return {name: split.counts for name, split in self.splits.items()}

    @property
    def images(self) -> int:
        """Number of images that can be read."""
        return sum(sum(of_class.values()) for of_class in self.counts.values())

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """All image files that cannot be read; their names begin at the folder."""
        return tuple(
            Unreadable(self._below(split, one.name), one.reason)
            for split in self.splits.values()
            for one in split.unreadable
        )

    @property
    def skipped(self) -> Mapping[str, int]:
        """As of a split."""
        return _sum(split.skipped for split in self.splits.values())

    @property
    def sizes(self) -> Mapping[Size, int]:
        """As of a split."""
        return _sum(split.sizes for split in self.splits.values())

    @property
    def grey(self) -> int:
        """As of a split."""
        return sum(split.grey for split in self.splits.values())

    @property
    def decoded(self) -> int:
        """As of a split."""
        return sum(split.decoded for split in self.splits.values())

    def _below(self, split: SplitScan, name: str) -> str:
        return os.path.relpath(split.root / name, self.folder)

    def summary(self) -> tuple[str, ...]:
        """A line per split: "train: 300 images of 3 classes (cat 150, dog 100, owl 50)"."""
        return tuple(_split_text(split, of_class) for split, of_class in self.counts.items())

    def findings(self) -> tuple[str, ...]:
        """What a user should know before training on it, one line each; none: nothing is odd."""
        problems = [f"{problem}. {fix}" for problem, fix in self._problems()]
        return (*problems, *self.notes())

    def notes(self, *, skip_unreadable: bool = False) -> tuple[str, ...]:
        """The findings that keep nobody from training on it; with `skip_unreadable`, files that
        cannot be read are among them."""
        left_out = []
        if skip_unreadable and self.unreadable:
            names = _names_text(self.unreadable)
            left_out.append(f"{self._unreadable_files} cannot be read and are left out: {names}")
        return (*left_out, *self._notes())

    def _problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, and how to mend it."""
        if self.unreadable:
            text = f"{self._unreadable_files} cannot be read: {_names_text(self.unreadable)}"
            yield text, "Replace or remove them, or set dataset.skip_unreadable: true"
        if len(self.sizes) > 1:
            yield f"images of several sizes: {_sizes_text(self.sizes)}", "Set dataset.resize"

    @property
    def _unreadable_files(self) -> str:
        return f"{len(self.unreadable):,} of {self.decoded:,} image files"

    def _notes(self) -> Iterator[str]:
        files = self.images + len(self.unreadable)
        if self.decoded < files:
            yield f"decoded {self.decoded:,} of {files:,} image files, evenly spread"
        if self.skipped:
            read = ", ".join(sorted(ENDINGS))
            yield f"skipped files: {_skipped_text(self.skipped)}. Read are {read}"
        if self.grey:
            count = "all" if self.grey == sum(self.sizes.values()) else f"{self.grey:,} of them"
            yield f"grey images: {count}; their channel is repeated three times"
        yield from _class_findings(self.counts)

    def refuse(self, *, skip_unreadable: bool, resize: int | None, image_size: int) -> None:
        """Refuse a folder that these settings cannot be used with.

        Args:
            skip_unreadable: files that cannot be read are left out.
            resize: as `dataset.resize`; None: the images of a split must have one size.
            image_size: of the network, in pixels.

        Raises:
            DataError: naming all that is wrong.
        """
        rules, found, fixes, options = list[str](), list[str](), list[str](), list[str]()
        if self.unreadable and not skip_unreadable:
            rules.append("readable images")
            names = _names_text(self.unreadable)
            found.append(f"{self._unreadable_files} that cannot be read: {names}")
            fix = "Replace or remove them, or"
            fixes.append(f"{fix} set dataset.skip_unreadable: true.")
            options.append(f"{fix} give --skip-unreadable.")
        mixed = [split for split in self.splits.values() if len(split.sizes) > 1]
        if mixed and resize is None:
            rules.append("images of one size")
            examples = {
                size: self._below(split, name)
                for split in reversed(mixed)
                for size, name in split.examples.items()
            }
            found.append(_sizes_text(_sum(split.sizes for split in mixed), examples))
            fix, option_fix = size_fixes(image_size)
            fixes.append(fix)
            options.append(option_fix)
        if found:
            raise DataError(
                f"{show_name(self.folder)}: must have {' and '.join(rules)}, got "
                f"{', and '.join(found)}.",
                " ".join(fixes),
                option_fix=" ".join(options),
            )


OnFile = Callable[[int, int], None]
"""Called now and then with the number of files done, and in total."""


def ignore_file(_done: int, _total: int) -> None:
    """Nobody watches."""


def scan_folder(
    folder: Path,
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile = ignore_file,
) -> FolderScan:
    """Look at every file of a folder of images.

    Args:
        folder: with train/CLASS/*, val/CLASS/*, test/CLASS/*, some of them, or CLASS/*.
        most: decode about this many image files, spread evenly; None: all of them, which is what
            finds every truncated one.
        cache: folder that holds `scans/`, where a whole scan is kept until a file changes, if it
            can be written; None: nothing is kept.
        on_file: as `OnFile`.

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
    return scan_listings(folder, listings, most=most, cache=cache, on_file=on_file)


def scan_listings(
    folder: Path,
    listings: Mapping[str, Listing],
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile = ignore_file,
) -> FolderScan:
    """As `scan_folder`, of files that were listed, by the name of their split."""
    counts = {name: len(listing.files) for name, listing in listings.items()}
    total = sum(counts.values())
    if most is not None and most < total:
        counts = {name: math.ceil(most * count / total) for name, count in counts.items()}
    splits, done = dict[str, SplitScan](), 0
    for name, listing in listings.items():
        counted = partial(_count_on, on_file, done, sum(counts.values()))
        splits[name] = scan_listing(listing, most=counts[name], cache=cache, on_file=counted)
        done += counts[name]
    return FolderScan(folder, splits)


def _count_on(on_file: OnFile, before: int, total: int, done: int, _of_split: int) -> None:
    on_file(before + done, total)


def scan_listing(
    listing: Listing,
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile = ignore_file,
) -> SplitScan:
    """As `scan_folder`, of one split."""
    kept = _Kept.read(listing, cache)
    if kept is None:
        total = len(listing.files)
        count = total if most is None else min(most, total)
        places = [at * total // count for at in range(count)]
        kept = _Kept.of(listing, places, on_file)
        if count == total:
            kept.write(listing, cache)
    bad = Counter(listing.files[row].label for row, _ in kept.unreadable)
    labels = Counter(file.label for file in listing.files)
    labels.subtract(bad)
    names = dict(enumerate(listing.classes)) or {UNLABELED: ""}
    return SplitScan(
        root=listing.root,
        counts={name: labels[label] for label, name in names.items()},
        skipped=dict(Counter(listing.skipped).most_common()),
        unreadable=tuple(
            Unreadable(listing.files[row].name, reason) for row, reason in kept.unreadable
        ),
        sizes={(width, height): count for width, height, count, _ in kept.sizes},
        examples={(width, height): listing.files[row].name for width, height, _, row in kept.sizes},
        grey=kept.grey,
        decoded=kept.decoded,
    )


def leave_out_unreadable(listing: Listing, cache: Path) -> tuple[Listing, SplitScan]:
    """The files of a split that can be read, and the scan that has told so.

    Raises:
        DataError: if there is none.
    """
    scan = scan_listing(listing, cache=cache)
    bad = {one.name for one in scan.unreadable}
    kept = tuple(file for file in listing.files if file.name not in bad)
    if not kept:
        raise DataError(
            f"{show_name(listing.root)}: must have readable images, got none among "
            f"{len(listing.files):,}. Replace them."
        )
    return replace(listing, files=kept), scan


def leave_out(
    listings: Mapping[str, Listing], cache: Path
) -> tuple[dict[str, Listing], dict[str, int]]:
    """As `leave_out_unreadable`, of several splits; with the number of files, where there are
    any."""
    kept, left_out = dict[str, Listing](), dict[str, int]()
    for name, listing in listings.items():
        kept[name], scan = leave_out_unreadable(listing, cache)
        if scan.unreadable:
            left_out[name] = len(scan.unreadable)
    return kept, left_out


@dataclass(frozen=True)
class _Kept(JsonData):
    """What was found by decoding the files of a listing; in the cache, if it was all of them.

    Attributes:
        what: the folder, for listing the cache.
        unreadable: row of the listing, and why.
        sizes: width, height, number of images, and row of the first, the most frequent first.
    """

    what: str
    unreadable: tuple[tuple[int, str], ...]
    sizes: tuple[tuple[int, int, int, int], ...]
    grey: int
    decoded: int

    @classmethod
    def of(cls, listing: Listing, rows: Sequence[int], on_file: OnFile) -> _Kept:
        paths = [listing.root / listing.files[row].name for row in rows]
        found = list(_examine_all(paths, on_file))
        pairs = list(zip(rows, found, strict=True))
        good = [(row, one) for row, one in pairs if not one.unreadable]
        first = {one.size: row for row, one in reversed(good)}
        sizes = Counter(one.size for _, one in good).most_common()
        return cls(
            what=show_name(listing.root),
            unreadable=tuple((row, one.unreadable) for row, one in pairs if one.unreadable),
            sizes=tuple((*size, count, first[size]) for size, count in sizes),
            grey=sum(one.is_grey for _, one in good),
            decoded=len(found),
        )

    @classmethod
    def read(cls, listing: Listing, cache: Path | None) -> _Kept | None:
        if cache is None:
            return None
        entry = _entry(listing, cache)
        try:
            kept = cls.from_json(json.loads((entry / ABOUT).read_text()))
        except (OSError, ValueError, TypeError, LookupError):
            return None  # none, or damaged: made again
        mark_used(entry)
        return kept

    def write(self, listing: Listing, cache: Path | None) -> None:
        if cache is None:
            return
        entry = _entry(listing, cache)
        with suppress(UsageError), locked(entry), publish_folder(entry) as temporary:
            (temporary / ABOUT).write_text(json.dumps(self.to_json()))


def _entry(listing: Listing, cache: Path) -> Path:
    made_from = repr((_VERSION, listing.classes, listing.files))
    return cache / "scans" / hashlib.sha256(made_from.encode()).hexdigest()[:32]


def _examine_all(files: Sequence[Path], on_file: OnFile) -> Iterator[Examined]:
    def examine_chunk(start: int) -> list[Examined]:
        return [examine(path) for path in files[start : start + _CHUNK]]

    done = 0
    # Threads, since decoding leaves the interpreter's lock; chunks, since an image is small.
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for chunk in pool.map(examine_chunk, range(0, len(files), _CHUNK)):
            yield from chunk
            done += len(chunk)
            on_file(done, len(files))


def _sum(counts: Iterable[Mapping[_Key, int]]) -> dict[_Key, int]:
    """The most frequent first."""
    return dict(sum(map(Counter, counts), Counter[_Key]()).most_common())


# -- As text ----------------------------------------------------------------------------


def _names_text(unreadable: Sequence[Unreadable]) -> str:
    """ "train/cat/1.jpg (a truncated image), ...": the first of them."""
    return few([f"{show_name(one.name)} ({one.reason})" for one in unreadable], _NAMED)


def _sizes_text(sizes: Mapping[Size, int], examples: Mapping[Size, str] | None = None) -> str:
    """ "500x375 (250), 375x500 (48) and 12 more"; with examples "500x375 (250, cat/1.jpg)"."""
    after = {size: f", {show_name(name)}" for size, name in (examples or {}).items()}
    texts = [
        f"{width}x{height} ({count:,}{after.get((width, height), '')})"
        for (width, height), count in sizes.items()
    ]
    return few(texts, _NAMED)


def _skipped_text(skipped: Mapping[str, int]) -> str:
    """ "3 .gif, 1 .txt"."""
    return few([f"{count:,} {kind}" for kind, count in skipped.items()], _NAMED)


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


def _class_findings(counts: Counts) -> Iterator[str]:
    labelled = {split: of_class for split, of_class in counts.items() if set(of_class) != {""}}
    known = set[str]().union(*labelled.values())
    for split, of_class in labelled.items():
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
