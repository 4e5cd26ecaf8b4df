"""The archive of a study: which files it has, and its rows in a storage that can be read.

`ablate.report.archive` writes one.  Everything in it is JSON, CSV, YAML, Markdown, HTML or plain
text; the studies that belong to the first (its confirmation, the searches of its arms) have their
files in a folder each.

Every reader of an archive comes through `read_archive` and `stored_archive`, `ablate verify` too:
members and digests, then names, then types and ranges of all that is read
(`ablate.ledger.portable`), then that rows, scores and bits fit each other.  What fails is one line.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ablate.ablation.cell import Design
from ablate.errors import StudyNotFoundError, UsageError, cut, error_text
from ablate.files.tar import read_tar
from ablate.ledger.ledger import Ledger
from ablate.ledger.portable import ROWS, STUDY, store_portable
from ablate.ledger.record import StudyRecord
from ablate.ledger.url import sqlite_url
from ablate.robustness.bits import unpack_bits
from ablate.study.scores import AnyScores, Scores

MANIFEST = "manifest.json"
VERSION = 1
"""Of the layout of an archive; a later one is refused."""
UNREADABLE = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, RecursionError),
)
"""What reading rows raises that are not as ablate wrote them."""


def manifest_of(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The first file of an archive: what it is, and the sha256 of each other file.

    Args:
        about: what else it says.
    """
    listed = {name: {"sha256": sha256(content)} for name, content in files.items()}
    data = {"archive": VERSION, **about, "files": listed}
    return f"{json.dumps(data, ensure_ascii=False, indent=1)}\n".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_archive(path: Path, *, checked: bool = True) -> dict[str, bytes]:
    """The files of an archive by name, the manifest too.

    Args:
        checked: refuse a file whose sha256 is not that of the manifest.

    Raises:
        UsageError: if it is no archive, of a later version, cut off or changed.
    """
    files = read_tar(path)
    manifest = read_manifest(path, files)
    listed = manifest["files"]
    if missing := sorted(set(listed) - set(files)):
        raise UsageError(
            f"{path}: must hold every file of its manifest, got none named {cut(missing[0])}: it "
            "is cut off, or was changed. Get the file again."
        )
    if unknown := sorted(set(files) - set(listed) - {MANIFEST}):
        raise UsageError(
            f"{path}: must hold the files of its manifest alone, got {cut(unknown[0])} too: it was "
            "changed. Get the file again."
        )
    changed = [name for name in listed if sha256(files[name]) != listed[name]["sha256"]]
    if checked and changed:
        raise UsageError(
            f"{path}: each file must have the sha256 of the manifest, got another of {changed[0]}: "
            "it was changed. Get the file again; "
            f"`ablate verify {shlex.quote(str(path))}` says what differs."
        )
    with suppress(*UNREADABLE):  # of which `stored_archive` says what it is
        named, name = manifest.get("study"), json.loads(files[STUDY])["name"]
        if named != name:
            raise UsageError(
                f"{path}: {STUDY} must be of the study of its {MANIFEST}, {cut(str(named))}, got "
                f"{cut(str(name))}: it was changed. Get the file again."
            )
    return files


def read_manifest(path: Path, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of an archive.

    Raises:
        UsageError: if there is none, or it is of a later version.
    """
    try:
        data = json.loads(files.get(MANIFEST, b""))
        version, listed = data["archive"], data["files"]
        is_one = isinstance(version, int) and all(
            isinstance(entry["sha256"], str) for entry in listed.values()
        )
    except UNREADABLE:
        is_one = False
    if not is_one or not {STUDY, ROWS} <= set(listed):
        raise UsageError(
            f"{path}: must be an archive of `ablate archive`, got a tar without its {MANIFEST}. "
            "Check the path."
        )
    if version > VERSION:
        raise UsageError(
            f"{path}: must be an archive of version {VERSION} or earlier, got version {version}, "
            f"of ablate {cut(str(data.get('ablate')))}. Install that version of ablate."
        )
    return dict(data)


def folders_of(files: Mapping[str, bytes]) -> list[str]:
    """Where the studies of an archive lie in it, the first one at "": "", "confirm/"."""
    found = [name.removesuffix(STUDY) for name in files if f"/{name}".endswith(f"/{STUDY}")]
    return sorted(found)


def stored_archive(path: Path, files: Mapping[str, bytes]) -> tuple[str, str]:
    """The studies of an archive in a storage of their own, which goes with this process.

    Args:
        path: for messages.

    Returns:
        The storage's URL, and the name of the first study.

    Raises:
        UsageError: if the rows are not those of a study.
    """
    texts = tuple(
        (folder, files[folder + STUDY], files.get(folder + ROWS, b""))
        for folder in folders_of(files)
    )
    return _stored(str(path), texts)


@cache
def _stored(path: str, texts: tuple[tuple[str, bytes, bytes], ...]) -> tuple[str, str]:
    made = Path(tempfile.mkdtemp(prefix="ablate-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    url, names = sqlite_url(made / "study.db"), []
    for folder, study, rows in texts:
        try:
            names.append(store_portable(url, study, rows))
            if names[-1] != names[0] + f"~{folder[:-1]}" * bool(folder):
                raise ValueError(f"study {names[-1]}")
            with closing(Ledger.open(url, names[-1])) as ledger:
                _check_fit(ledger.read(), names[0], *ledger.outcomes())
        except StudyNotFoundError as error:
            raise UsageError(f"{path}: {error}") from error
        except UNREADABLE as error:
            raise UsageError(
                f"{path}: {folder}{STUDY} and {folder}{ROWS} must be a study of ablate, got "
                f"something else ({error_text(error)}). Get the file again."
            ) from error
    return url, names[0]


def _check_fit(
    record: StudyRecord,
    first: str,
    outcomes: Mapping[int, Mapping[str, str]],
    references: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise a ValueError if parts of a study do not fit each other.

    Args:
        first: name of the first study of the archive.
        outcomes, references: the bits of rows and references.
    """
    if first not in {record.name, record.parent}:
        raise ValueError(f"{record.name} belongs to {record.parent}")
    if record.design is not None:
        cells = {cell.name: dict(cell.values) for cell in Design.from_json(record.design).cells}
        for row in record.rows:
            if row.pair is None or dict(row.params) != cells.get(row.cell or ""):
                raise ValueError(f"row {row.number}: is of no cell of the design")
    scored: dict[str, list[tuple[str, AnyScores, Mapping[str, str]]]] = {"val": [], "test": []}
    for row in record.complete:
        name, bits = f"row {row.number}", outcomes.get(row.origin, {})
        scored["val"] += [(name, one, bits) for one in [row.scores] if one]
        scored["test"] += [(name, one, bits) for one in [row.test_scores] if one]
    for split, named in (("val", record.references), ("test", record.test_references)):
        scored[split] += [(name, one, references.get(name, {})) for name, one in named.items()]
    for split, all_scores in scored.items():
        _check_scores(split, all_scores)


def _check_scores(
    split: str, all_scores: Sequence[tuple[str, AnyScores, Mapping[str, str]]]
) -> None:
    """Scores of one split have the same cells, and the bits that there are, as many as images."""
    first: Scores | None = None
    has_bits = any(split in bits for _, _, bits in all_scores)
    for name, scores, bits in all_scores:
        if not isinstance(scores, Scores):
            continue
        if scores.exposure and scores.exposure.keys() != scores.accuracies.keys():
            raise ValueError(f"{name}: must have the exposure of each type, got that of others")
        first = first or scores
        if (scores.split, _layout(scores)) != (split, _layout(first)):
            raise ValueError(f"{name}: its {split} scores are of other images than the others'")
        scores.metrics()  # which fails where a type of a family is missing
        if split in bits:
            unpack_bits([bits[split]], scores)
        elif has_bits:
            raise ValueError(f"{name}: must have bits as the others have, got none")


def _layout(scores: Scores) -> tuple[Any, ...]:
    cells = {kind: sorted(by_severity) for kind, by_severity in scores.accuracies.items()}
    return scores.n_images, scores.n_corrupted, cells, scores.families
