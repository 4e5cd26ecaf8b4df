"""The archive of a study: which files it has, and its rows in a storage that can be read.

`ablate.report.archive` writes one.  Everything in it is JSON, CSV, YAML, Markdown, HTML or plain
text; the studies that belong to the first (its confirmation, the searches of its arms) have their
files in a folder each.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from ablate.errors import StudyNotFoundError, UsageError, cut, error_text
from ablate.files.tar import read_tar
from ablate.ledger.ledger import Ledger
from ablate.ledger.portable import ROWS, STUDY, store_portable
from ablate.ledger.url import sqlite_url

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
    listed = read_manifest(path, files)["files"]
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
                ledger.read()
        except StudyNotFoundError as error:
            raise UsageError(f"{path}: {error}") from error
        except UNREADABLE as error:
            raise UsageError(
                f"{path}: {folder}{STUDY} and {folder}{ROWS} must be a study of ablate, got "
                f"something else ({error_text(error)}). Get the file again."
            ) from error
    return url, names[0]
