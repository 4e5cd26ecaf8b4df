"""Files of a checkpoint folder as one blob: the same files give the same bytes."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ablate.errors import ParameterError

_SCORES = "scores.json"
_FILES = "files"


_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


def pack(folder: Path, scores: Mapping[str, float], where: str) -> bytes:
    """A folder's files, without their times and owners, and what was reported with them.

    Args:
        where: whose folder it is, for messages.

    Raises:
        ParameterError: for what is no file, folder or link within the folder; nothing like it is
            opened, which might wait without end.
    """
    found = [(path, path.relative_to(folder).as_posix()) for path in _walk(folder)]
    for path, name in found:
        wrong = _wrong(path, folder)
        if wrong:
            rule = "checkpoint_folder must hold plain files and folders"
            raise ParameterError(f"{where}: {rule}, got {wrong}: {name}. Put it elsewhere.")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, _SCORES, json.dumps(scores, sort_keys=True).encode())
        for path, name in found:
            if path.is_symlink():
                _link(tar, f"{_FILES}/{name}", path)
            else:
                _add(tar, f"{_FILES}/{name}", None if path.is_dir() else path.read_bytes())
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


def _walk(folder: Path) -> Iterator[Path]:
    """All that lies below a folder, in a fixed order; links are not followed."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _wrong(path: Path, folder: Path) -> str:
    """What it is, where it is nothing that can be packed."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return "a link that leads nowhere"
        return "" if target.is_relative_to(folder.resolve()) else "a link out of the folder"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def _link(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.SYMTYPE, 0o777
    info.linkname = os.path.relpath(path.resolve(), path.parent.resolve())
    tar.addfile(info)


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """A file, or without content a folder."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.mode = 0o755 if content is None else 0o644
    info.size = len(content or b"")
    tar.addfile(info, io.BytesIO(content or b""))
