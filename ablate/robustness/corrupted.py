"""What every source of corrupted images looks like: stored, official, or made when read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

from ablate.distortion.shapes import ByteImages, Labels


@runtime_checkable
class CorruptedImages(Protocol):
    """Copies of a split under each type at each severity."""

    @property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Family -> its types, in the order of every table."""
        ...

    @property
    def severities(self) -> tuple[int, ...]:
        """Each from 1 to 5."""
        ...

    @property
    def labels(self) -> Labels:
        """Class of each image of a copy, int64 `[n]`; every copy has the same n in this order."""
        ...

    @property
    def identity(self) -> str:
        """Of the images' content, in hexadecimal: equal identities mean equal images."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """What has to be said beside every score, as that a texture is approximate."""
        ...

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """One copy in blocks of any size, in order, n images in all.

        Raises:
            DataError: if an image cannot be read.
        """
        ...
