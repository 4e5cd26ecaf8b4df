"""Files of a checkpoint folder as one blob: the same files give the same bytes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

_SCORES = "scores.json"
_FILES = "files"


def pack(folder: Path, scores: Mapping[str, float]) -> bytes:
    """A folder's files, without their times and owners, and what was reported with them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, _SCORES, json.dumps(scores, sort_keys=True).encode())
        for path in sorted(folder.rglob("*")):
            name = f"{_FILES}/{path.relative_to(folder).as_posix()}"
            _add(tar, name, None if path.is_dir() else path.read_bytes())
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> dict[str, float]:
    """Put the files of `pack` into an empty folder, and return what was reported with them."""
    scores: dict[str, float] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            if member.name == _SCORES:
                file = tar.extractfile(member)
                assert file is not None
                scores = json.loads(file.read())
                continue
            member.name = member.name.removeprefix(f"{_FILES}/")
            tar.extract(member, folder, filter="data")
    return scores


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """A file, or without content a folder."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.mode = 0o755 if content is None else 0o644
    info.size = len(content or b"")
    tar.addfile(info, io.BytesIO(content or b""))
