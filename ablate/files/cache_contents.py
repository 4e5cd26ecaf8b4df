"""What `ablate cache list` shows and `ablate cache clear` removes, as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.files.inventory import (
    KINDS,
    Entry,
    Kind,
    Leftover,
    evaluation_bound,
    holds_others,
    list_entries,
    list_leftovers,
    remove_entry,
    remove_leftover,
    size_of,
)
from ablate.files.shown import show_name

_DAY_SECONDS = 86400.0
_NAMED = 3


@dataclass(frozen=True)
class CacheLine:
    """Cache entries that belong together.

    Attributes:
        what: description.
        paths: of the entries; of an evaluation set, one per corruption and severity.
        size: of their files, in bytes.
        used: when the last of them was opened, as a time stamp.
    """

    kind: Kind
    what: str
    paths: tuple[Path, ...]
    size: int
    used: float


@dataclass(frozen=True)
class CacheInfo:
    """The contents of the cache.

    Attributes:
        folder: may not exist.
        lines: kind by kind, the most recently used first.
        leftovers: files of killed processes, removed by `ablate cache clear`.
        fetched: bytes of downloaded data sets, which are not removed.
        bound: of the evaluation sets, in bytes.
        now: time of reading, as a time stamp.
    """

    folder: Path
    lines: tuple[CacheLine, ...]
    leftovers: tuple[Leftover, ...]
    fetched: int
    bound: float
    now: float

    @property
    def size(self) -> int:
        """Total size in bytes."""
        listed = [*(line.size for line in self.lines), *(left.size for left in self.leftovers)]
        return sum(listed) + self.fetched


@dataclass(frozen=True)
class Clearing:
    """The entries to delete.

    Attributes:
        busy: entries that are kept because another process is writing them, or that cannot be
            removed; set by `clear`.
        others: entries that are kept because they contain other files.
    """

    entries: tuple[Entry, ...]
    leftovers: tuple[Leftover, ...]
    busy: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()

    @property
    def things(self) -> list[Entry | Leftover]:
        return [*self.entries, *self.leftovers]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(one.size for one in self.things)


def cache_info(cache: Path, now: float) -> CacheInfo:
    """Look at the cache.

    Args:
        now: as a time stamp.

    Raises:
        UsageError: if `ABLATE_CACHE_GB` is not a number from 0.
    """
    data = list_entries(cache, "data")
    names = {digest: entry for entry in data if (digest := _digest(entry)) is not None}
    lines = [
        *_evaluation_lines(list_entries(cache, "evaluation"), names),
        *(_line([entry], describe_data(entry)) for entry in data),
        *(_line([entry], describe_scan(entry)) for entry in list_entries(cache, "scan")),
        *(_line([entry], describe_baseline(entry)) for entry in list_entries(cache, "baseline")),
    ]
    fetched = cache / "torchvision"
    return CacheInfo(
        folder=cache,
        lines=tuple(lines),
        leftovers=tuple(left for kind in KINDS for left in list_leftovers(cache, kind, now)),
        fetched=size_of(fetched) if fetched.is_dir() else 0,
        bound=evaluation_bound(),
        now=now,
    )


def plan_clearing(
    cache: Path, kinds: Sequence[Kind], now: float, older_than_days: float = 0.0
) -> Clearing:
    """What there is of these kinds that was not used for some days, and what was left of any."""
    before = now - older_than_days * _DAY_SECONDS
    wanted = [
        entry
        for kind in kinds
        for entry in list_entries(cache, kind)
        if older_than_days == 0 or entry.used <= before
    ]
    others = {entry.path for entry in wanted if holds_others(entry.path)}
    return Clearing(
        tuple(entry for entry in wanted if entry.path not in others),
        tuple(left for kind in kinds for left in list_leftovers(cache, kind, now)),
        others=tuple(sorted(others)),
    )


def clear(plan: Clearing) -> Clearing:
    """Delete the entries of a plan.

    Returns:
        The deleted and the kept entries.
    """
    gone = replace(
        plan,
        entries=tuple(entry for entry in plan.entries if remove_entry(entry.path)),
        leftovers=tuple(left for left in plan.leftovers if remove_leftover(left)),
    )
    stay = {one.path for one in plan.things} - {one.path for one in gone.things}
    return replace(gone, busy=tuple(sorted(stay)))


def describe_data(entry: Entry) -> str:
    """ "cifar10, test: 10,000 images, 32x32": of decoded images."""
    what = entry.about.get("what")
    images = _images(_shape(entry.path / "images.npy"))
    return f"{show_name(what)}: {images}" if isinstance(what, str) else images


def describe_scan(entry: Entry) -> str:
    """ "/pictures/train: 1,000 files examined": of image files that were decoded to test them."""
    what, files = entry.about.get("what"), entry.about.get("decoded")
    count = f"{files:,} files examined" if isinstance(files, int) else "files examined"
    return f"{show_name(what)}: {count}" if isinstance(what, str) else count


def describe_baseline(entry: Entry) -> str:
    """ "resnet20, 10 classes, 12 epochs": of a baseline's record."""
    made_from = _mapping(entry.about.get("made_from"))
    name = _mapping(made_from.get("model")).get("name")
    parts = [show_name(name) if isinstance(name, str) else "a network"]
    classes = made_from.get("classes")
    if isinstance(classes, list):
        parts.append(f"{len(classes)} {'class' if len(classes) == 1 else 'classes'}")
    epochs = _mapping(made_from.get("baseline")).get("epochs")
    if isinstance(epochs, int):
        parts.append(f"{epochs} {'epoch' if epochs == 1 else 'epochs'}")
    elif "checkpoint" in made_from:
        parts.append("from a checkpoint")
    return ", ".join(parts)


def describe_evaluation_set(entries: Sequence[Entry], data: Mapping[str, Entry]) -> str:
    """ "cifar10, test: 10,000 images, 32x32; 15 corruptions x 5 severities, seed 0".

    Args:
        entries: the copies of one set.
        data: digest -> the images that have it.
    """
    about = entries[0].about
    if "set" not in about:
        return "images of an earlier version"
    digest = str(about.get("data", ""))
    of = data.get(digest)
    said = of.about.get("what") if of is not None else None
    name = show_name(said if isinstance(said, str) else f"data {digest[:8]}")
    images = _images(about.get("shape"))
    kinds = _distinct(entries, "type")
    what = "corruption" if about.get("made_by") == "corruption" else "distortion"
    shown = ", ".join(kinds) if len(kinds) <= _NAMED else f"{len(kinds)} {what}s"
    severities = ", ".join(_distinct(entries, "severity"))
    some = "severity" if len(severities) == 1 else "severities"
    seed = f"seed {show_name(str(about.get('seed', '?')))}"
    return f"{name}: {images}; {shown}, {some} {severities}, {seed}"


def _evaluation_lines(entries: Sequence[Entry], data: Mapping[str, Entry]) -> list[CacheLine]:
    sets: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        sets[str(entry.about.get("set", ""))].append(entry)
    return [_line(cells, describe_evaluation_set(cells, data)) for cells in sets.values()]


def _line(entries: Sequence[Entry], what: str) -> CacheLine:
    return CacheLine(
        kind=entries[0].kind,
        what=what,
        paths=tuple(entry.path for entry in entries),
        size=sum(entry.size for entry in entries),
        used=max(entry.used for entry in entries),
    )


def _distinct(entries: Sequence[Entry], key: str) -> list[str]:
    return sorted({show_name(str(entry.about.get(key))) for entry in entries})


def _images(shape: object) -> str:
    """ "10,000 images, 32x32"; of what is not the shape of images, "images"."""
    if not isinstance(shape, list | tuple) or len(shape) != 4:
        return "images"
    if any(type(side) is not int for side in shape):
        return "images"
    n, _, height, width = shape
    return f"{n:,} {'image' if n == 1 else 'images'}, {width}x{height}"


def _shape(file: Path) -> tuple[int, ...] | None:
    """Of an array, by the head of its file."""
    import numpy as np

    try:
        found = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found.shape if isinstance(found, np.ndarray) else None


def _digest(entry: Entry) -> str | None:
    try:
        return (entry.path / "digest").read_text()
    except (OSError, ValueError):
        return None


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
