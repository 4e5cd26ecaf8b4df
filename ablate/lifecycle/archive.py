"""Reads an archive of `ablate archive`: its files, and its studies in a storage of their own.

Whoever made the file is unknown.  What is not as ablate writes it is refused in one line: first
members and digests, then types and ranges of all that is read (`ablate.ledger.portable`), then
scores and bits that do not fit each other.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ablate.ablation.cell import Design
from ablate.errors import StudyNotFoundError, UsageError, cut, error_text
from ablate.files.tar import read_tar
from ablate.ledger.ledger import Ledger
from ablate.ledger.portable import ROWS, STUDY, store_portable
from ablate.ledger.record import StudyRecord
from ablate.ledger.storage import sqlite_url
from ablate.robustness.bits import unpack_bits
from ablate.study.mixture import Mixtures
from ablate.study.scores import Scores

MANIFEST = "manifest.json"
VERSION = 1
"""Of the layout of an archive; a later one is refused."""
UNREADABLE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, RecursionError),
)
"""What reading rows raises that are not as ablate wrote them."""
Bits = Mapping[str, str]
"""Which images a network classified correctly, by split, packed as text."""


@dataclass(frozen=True)
class ArchiveFiles:
    """What an archive holds: its manifest, and the other files by name."""

    path: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def folders(self) -> list[str]:
        """Where its studies lie, the first one at "": "", "confirm/"."""
        return sorted(
            name.removesuffix(STUDY) for name in self.files if name.split("/")[-1] == STUDY
        )

    @property
    def changed(self) -> list[str]:
        """Files with another sha256 than the manifest's."""
        listed = self.manifest["files"]
        return [name for name in listed if sha256(self.files[name]) != listed[name]["sha256"]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_archive(path: Path, *, must_be_unchanged: bool = True) -> ArchiveFiles:
    """The files of an archive; nothing is written to the disk.

    Raises:
        UsageError: if it is no archive, of a later version, cut off or changed.
    """
    files = read_tar(path)
    try:
        manifest = json.loads(files.pop(MANIFEST, b""))
        version, listed = manifest["archive"], set(manifest["files"])
        is_archive = isinstance(version, int) and {STUDY, ROWS} <= listed
        is_archive &= all(isinstance(file["sha256"], str) for file in manifest["files"].values())
    except UNREADABLE:
        is_archive = False
    if not is_archive:
        raise UsageError(
            f"{path}: must be an archive of `ablate archive`, got a tar without its {MANIFEST}. "
            "Check the path."
        )
    if version > VERSION:
        raise UsageError(
            f"{path}: must be an archive of version {VERSION} or earlier, got version {version}, "
            f"of ablate {cut(str(manifest.get('ablate')))}. Install that version of ablate."
        )
    if other := sorted(listed ^ set(files)):
        there = "no" if other[0] in listed else "also"
        raise UsageError(
            f"{path}: must hold the files of its manifest, got {there} {cut(other[0])}: it is cut "
            "off, or was changed. Get the file again."
        )
    archive = ArchiveFiles(path, manifest, files)
    if must_be_unchanged and archive.changed:
        raise UsageError(
            f"{path}: each file must have the sha256 of the manifest, got another of "
            f"{archive.changed[0]}: it was changed. Get the file again; "
            f"`ablate verify {shlex.quote(str(path))}` says what differs."
        )
    return archive


def stored_archive(archive: ArchiveFiles) -> tuple[str, str]:
    """The studies of an archive in a storage of their own, which goes with this process.

    Returns:
        The storage's URL, and the name of the first study.

    Raises:
        UsageError: if the rows are not those of a study.
    """
    files, name = archive.files, cut(str(archive.manifest.get("study")))
    texts = ((at, files[at + STUDY], files.get(at + ROWS, b"")) for at in archive.folders)
    return _stored(str(archive.path), name, tuple(texts)), name


@cache
def _stored(path: str, first: str, texts: tuple[tuple[str, bytes, bytes], ...]) -> str:
    made = Path(tempfile.mkdtemp(prefix="ablate-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    url = sqlite_url(made / "study.db")
    for folder, study, rows in texts:
        try:
            name = store_portable(url, study, rows)
            expected = f"{first}~{folder[:-1]}" if folder else first
            if name != expected:
                raise ValueError(f"study {cut(name)}, and the manifest says {expected}")
            with closing(Ledger.open(url, name)) as ledger:
                _check_fit(ledger.read(), first, *ledger.outcomes())
        except StudyNotFoundError as error:
            raise UsageError(f"{path}: {error}") from error
        except UNREADABLE as error:
            raise UsageError(
                f"{path}: {folder}{STUDY} and {folder}{ROWS} must be a study of ablate, got "
                f"something else ({error_text(error)}). Get the file again."
            ) from error
    return url


class ScoredNetwork(NamedTuple):
    """A network that ablate scored; without bits: they are not kept."""

    name: str
    split: str
    scores: Scores
    bits: str | None


def scored_networks(
    record: StudyRecord, outcomes: Mapping[int, Bits], references: Mapping[str, Bits]
) -> Iterator[ScoredNetwork]:
    """Each network of a study that ablate scored, on each split.

    Args:
        outcomes, references: the bits of rows and references.
    """
    for row in record.complete:
        name, bits = f"trial {row.number}", outcomes.get(row.origin, {})
        for split, scores in (("val", row.scores), ("test", row.test_scores)):
            if isinstance(scores, Scores):
                yield ScoredNetwork(name, split, scores, bits.get(split))
        for key in bits:
            if row.path is not None and "@" in key and isinstance(row.scores, Scores):
                alpha = float(key.partition("@")[2])
                scores = row.path.scores(row.scores, alpha)
                yield ScoredNetwork(f"{name} at alpha {alpha:g}", "val", scores, bits[key])
    for one in (record.mixtures or Mixtures()).scored:
        if one.bits:  # which are kept of the front alone
            yield ScoredNetwork(one.mixture.name, "val", one.scores, one.bits)
    for split, by_name in (("val", record.references), ("test", record.test_references)):
        for name, scores in by_name.items():
            yield ScoredNetwork(name, split, scores, references.get(name, {}).get(split))


def _check_fit(
    record: StudyRecord, first: str, outcomes: Mapping[int, Bits], references: Mapping[str, Bits]
) -> None:
    """Raise a ValueError if parts of a study do not fit each other, or the archive's first one."""
    if record.name != first and not f"{record.parent}~".startswith(f"{first}~"):
        raise ValueError(f"{record.name} belongs to {record.parent}")
    if record.design is not None:
        cells = {cell.name: dict(cell.values) for cell in Design.from_json(record.design).cells}
        for row in record.rows:
            if row.pair is None or dict(row.params) != cells.get(row.cell or ""):
                raise ValueError(f"trial {row.number}: is of no cell of the design")
    complete = {row.number for row in record.complete}
    for one in (record.mixtures or Mixtures()).scored:
        if not one.trials or not complete.issuperset(one.trials):
            raise ValueError(f"{one.mixture.name}: must be of complete trials, got others")
        one.scores.metrics()  # which fails where a type of a family is missing
    layouts: dict[str, object] = {}
    for name, split, scores, bits in scored_networks(record, outcomes, references):
        if scores.exposure and scores.exposure.keys() != scores.accuracies.keys():
            raise ValueError(f"{name}: must have the exposure of each type, got that of others")
        severities = {kind: sorted(by_severity) for kind, by_severity in scores.accuracies.items()}
        sparse = scores.cell_share, scores.cell_seed
        images = scores.split, scores.n_images, scores.n_corrupted, sparse
        layout = images, severities, scores.families, bits is None
        if layouts.setdefault(split, layout) != layout or scores.split != split:
            raise ValueError(f"{name}: must have {split} scores and bits as the others have")
        scores.metrics()  # which fails where a type of a family is missing
        if not scores.cell_share > 0:
            raise ValueError(f"{name}: cell_share must be above 0, got {scores.cell_share}")
        if bits is not None:
            unpack_bits([bits], scores)
