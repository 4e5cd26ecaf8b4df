"""Files in one plain tar: written with the same bytes each time, read without unpacking anything.

A foreign tar can name files outside of its folder, links and devices.  Nothing here writes what it
reads: members stay in memory, and whatever is no plain file below one folder is refused.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ablate.errors import UsageError, cut
from ablate.files.cache import publish_file
from ablate.files.regular import MOST_READ_BYTES, read_regular

ARCHIVE = ".tar"
"""The ending of an archive's name."""
_UNSAFE = re.compile(r"[\x00-\x1f\\:]")
_DAMAGED = (tarfile.TarError, ValueError, EOFError, OSError, OverflowError, RecursionError)
"""What `tarfile` raises of files that no tar program wrote."""


def write_tar(path: Path, folder: str, files: Mapping[str, bytes]) -> None:
    """Write files below one folder of a tar, completely or not at all.

    The same files give the same bytes: owners, rights and times are fixed, and the order is given.

    Args:
        folder: the name of the folder in the tar.
        files: by path below it, with `/`.

    Raises:
        UsageError: if the folder of `path` cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o644, 0
            tar.addfile(member, io.BytesIO(content))
    publish_file(path, lambda temporary: temporary.write_bytes(packed.getvalue()))


def read_tar(path: Path) -> dict[str, bytes]:
    """The files of a tar by their path below its one folder; nothing is written to a disk.

    Raises:
        UsageError: if there is no such file, it is no uncompressed tar, it is cut off, or a member
            is not a plain file below one folder.
    """
    try:
        content = read_regular(path, MOST_READ_BYTES)
    except OSError as error:
        raise UsageError(
            f"{path}: must be a file that can be read, got: {error.strerror}. Check the path."
        ) from None
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                name = _name_below(path, member, files)
                extracted = tar.extractfile(member)
                assert extracted is not None
                files[name] = extracted.read()
                if len(files[name]) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
    except _DAMAGED as error:
        raise UsageError(
            f"{path}: must be a whole, uncompressed tar, got: {cut(str(error)) or 'another file'}. "
            "Get the file again, or unpack it with gunzip or unxz first."
        ) from error
    return files


def _name_below(path: Path, member: tarfile.TarInfo, files: Mapping[str, bytes]) -> str:
    """The name of a member without the folder at its start."""
    folder, *below = PurePosixPath(member.name).parts or ("",)
    name = "/".join(below)
    is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
    is_safe = folder not in ("/", "..") and ".." not in below and not _UNSAFE.search(member.name)
    if not (is_plain and is_safe and below) or name in files:
        got = "" if is_plain else ", which is no plain file"
        raise UsageError(
            f"{path}: must hold plain files below one folder, each once, got "
            f"{cut(ascii(member.name))}{got}. It was not made by `ablate archive`; nothing of it "
            "was unpacked."
        )
    return name
