"""A baseline from one node's cache to another's: trained once, the same bits everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ablate.errors import FingerprintError
from ablate.files.cache import locked, publish_folder
from ablate.files.damage import say_made_again
from ablate.finetune.baseline_record import WEIGHTS, read_record


@dataclass(frozen=True)
class BaselineFiles:
    """An entry of the cache: its name there, and its files' contents by name."""

    name: str
    files: Mapping[str, bytes]


def read_baseline(entry: Path) -> BaselineFiles:
    """The files of a baseline that is in this node's cache."""
    files = {file.name: file.read_bytes() for file in sorted(entry.iterdir()) if file.is_file()}
    return BaselineFiles(entry.name, files)


def receive_baseline(cache: Path, baseline: BaselineFiles) -> None:
    """Put a baseline into this node's cache; one that is there already, and whole, stays.

    Args:
        cache: folder that holds `baselines/`.

    Raises:
        FingerprintError: if the cache has one of the same settings with other bits, which another
            study may be using.
        UsageError: if the cache cannot be written.
    """
    entry = cache / "baselines" / baseline.name
    with locked(entry):
        there = read_record(entry)
        if there is not None:
            if there.sha256 != hashlib.sha256(baseline.files[WEIGHTS]).hexdigest():
                raise FingerprintError(
                    f"{entry}: the baseline must be the one that the first node made, got one of "
                    "the same settings with other bits. Remove the folder where no study uses it."
                )
            return
        if entry.is_dir():
            say_made_again("the baseline was")
        with publish_folder(entry) as temporary:
            for name, content in baseline.files.items():
                (temporary / name).write_bytes(content)
