"""A corrupted copy on the disk: its bytes, and a CRC-32 of each block, checked at every read.

It is read into memory, not mapped: what is checked is what is used, and a file that is cut short
meanwhile is damage, not a bus error.  Processes still share its pages in the system's cache.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.lib.format import write_array_header_1_0

from ablate.distortion.shapes import ByteImages
from ablate.files.inventory import ABOUT, mark_used

FILE = "images.npy"
_CHECKSUMS = "crc32"


class DamagedCopyError(Exception):
    """A copy is missing, or does not hold what was written."""


@dataclass(frozen=True)
class KeptCopy:
    """A copy in the cache, which need not be there.

    Attributes:
        entry: its folder.
        shape: of its images, `[n, channel, height, width]`.
        block: images of a block; the last one has the rest.
        made_from: everything that decides its bytes.
    """

    entry: Path
    shape: tuple[int, ...]
    block: int
    made_from: Mapping[str, Any]

    def write(self, folder: Path, blocks: Iterable[ByteImages], identity: str) -> None:
        """Write it into a folder.

        Args:
            blocks: of `block` images each.
            identity: of the set that it is of, for a list of the cache.
        """
        checksums = []
        # Not through a map: on a full disk that would be a bus error, without a word.
        with (folder / FILE).open("wb") as file:
            file.write(self._header)
            for images in blocks:
                content = images.contiguous().numpy().tobytes()
                checksums.append(zlib.crc32(content))
                file.write(content)
        about = {"set": identity, **self.made_from, _CHECKSUMS: checksums}
        (folder / ABOUT).write_text(json.dumps(about))

    def read(self, start: int = 0) -> Iterator[ByteImages]:
        """Its blocks from this one on, each found to be what was written.

        Raises:
            DamagedCopyError: at the first that is not, or if the copy is not there.
        """
        try:
            with (self.entry / FILE).open("rb") as file:
                checksums = self._checksums()
                if file.read(len(self._header)) != self._header:
                    raise DamagedCopyError
                mark_used(self.entry)
                size = self._image_bytes
                file.seek(start * self.block * size, io.SEEK_CUR)
                for place in range(start, len(checksums)):
                    count = min(self.block, self.shape[0] - place * self.block)
                    images = torch.empty((count, *self.shape[1:]), dtype=torch.uint8)
                    content = images.numpy().data.cast("B")
                    if file.readinto(content) != count * size:
                        raise DamagedCopyError
                    if zlib.crc32(content) != checksums[place]:
                        raise DamagedCopyError
                    yield images
        except OSError as error:
            raise DamagedCopyError from error

    def state(self) -> Literal["missing", "damaged", "whole"]:
        """What is there, every block checked."""
        try:
            for _ in self.read():
                pass
        except DamagedCopyError:
            return "damaged" if self.is_there else "missing"
        return "whole"

    @property
    def is_there(self) -> bool:
        """Whether there is something in its place, whole or not."""
        with suppress(OSError):
            return self.entry.is_symlink() or self.entry.exists()
        return True

    def _checksums(self) -> list[int]:
        """Of the blocks, as they were written."""
        try:
            about = json.loads((self.entry / ABOUT).read_text())
        except (ValueError, RecursionError) as error:
            raise DamagedCopyError from error
        found = about.get(_CHECKSUMS) if isinstance(about, dict) else None
        blocks = -(-self.shape[0] // self.block)
        if not isinstance(found, list) or len(found) != blocks:
            raise DamagedCopyError
        made_from = json.loads(json.dumps(self.made_from))
        if any(about.get(key) != value for key, value in made_from.items()):
            raise DamagedCopyError  # of another copy
        return found

    @cached_property
    def _header(self) -> bytes:
        header = io.BytesIO()
        about = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        write_array_header_1_0(header, about)
        return header.getvalue()

    @cached_property
    def _image_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.shape[3]
