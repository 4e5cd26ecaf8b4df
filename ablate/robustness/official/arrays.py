"""The layout of CIFAR-10-C: one array per corruption, with one block per severity.

The arrays are memory-mapped and copied block by block, never read completely.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ablate.data.dataset import draw_stratified
from ablate.data.decode import resize_images
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError
from ablate.files.regular import check_regular
from ablate.files.shown import show_name

_LABELS = "labels"
_BLOCK = 2048
_SAMPLED = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Opening:
    """How official files are read, of either layout; see `open_official`.

    Attributes:
        image_size, resize: as `resize_images` has them; no `image_size`: as they are stored.
    """

    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    image_size: int | None
    resize: int | None
    n: int | None
    marks: tuple[str, ...]

    def draw_rows(self, labels: Labels) -> torch.Tensor:
        """The rows of the images used, ascending."""
        if self.n is None:
            return torch.arange(len(labels))
        return draw_stratified(labels, self.n, seed=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class OfficialArrays(Opening):
    """Arrays `[severities * stored, height, width, 3]`, uint8; see `CorruptedImages`.

    Attributes:
        files: type -> its array.
        written: severities of the arrays, in the order of their blocks.
        labels: labels of the images used, int64 `[n]`.
        rows: indices of those in a block of `stored` images, ascending.
        stored: images of a block.
    """

    files: Mapping[str, Path]
    written: tuple[int, ...]
    labels: Labels = field(repr=False)
    rows: torch.Tensor = field(repr=False)
    stored: int

    @cached_property
    def identity(self) -> str:
        """Digest of types, severities, shapes, labels, and 64 images of each block.

        It describes the stored bytes, independent of the size at which they are read, so that
        networks with different input sizes can be compared. A hash of every byte would take longer
        than scoring a small network.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        digest.update(self.rows.numpy().tobytes())
        sample = spread(len(self.rows))
        for kind, file in self.files.items():
            array = map_array(file)
            for severity in self.severities:
                digest.update(f"{kind} {severity} {array.shape[1:]}".encode())
                digest.update(array[self._places(severity)[sample]].tobytes())
        return digest.hexdigest()

    def blocks(self, kind: str, severity: int) -> Iterator[ByteImages]:
        """See `CorruptedImages`.

        Raises:
            DataError: if the array no longer exists.
        """
        array = map_array(self.files[kind])
        places = self._places(severity)
        for start in range(0, len(places), _BLOCK):
            chosen = places[start : start + _BLOCK]
            if chosen[-1] - chosen[0] == len(chosen) - 1:
                copied = np.array(array[chosen[0] : chosen[-1] + 1])
            else:
                copied = array[chosen]
            images = torch.from_numpy(copied).permute(0, 3, 1, 2).contiguous()
            if self.image_size is not None:
                images = resize_images(images, self.image_size, self.resize)
            yield images

    def _places(self, severity: int) -> np.ndarray:
        return self.rows.numpy() + self.written.index(severity) * self.stored


def list_arrays(folder: Path) -> dict[str, Path]:
    """Type -> its array, by name; empty if there are none."""
    files = sorted(folder.glob("*.npy"))
    return {file.stem: file for file in files if file.stem != _LABELS and file.name[0] != "."}


def open_arrays(
    folder: Path,
    files: Mapping[str, Path],
    opening: Opening,
    *,
    written: tuple[int, ...],
    n_classes: int | None,
) -> OfficialArrays:
    """Open arrays and check that they fit each other and their labels.

    Args:
        files: type -> its array, in the order of the families.
        written: severities of the arrays' blocks.
        n_classes: that labels must be below; None: any.

    Raises:
        DataError: if one is not such an array, or they do not fit together.
    """
    shapes = {kind: _check_images(file, len(written)) for kind, file in files.items()}
    # If shapes differ, the most frequent one is correct; of equally frequent ones, the first.
    usual = Counter(shapes.values()).most_common(1)[0][0]
    like = next(files[kind].name for kind, shape in shapes.items() if shape == usual)
    for kind, shape in shapes.items():
        if shape != usual:
            raise DataError(
                f"{show_name(files[kind])}: must be {list(usual)} as {show_name(like)}, got "
                f"{list(shape)}. Fetch or write it again."
            )
    stored = usual[0] // len(written)
    labels = _read_labels(folder, stored, written, n_classes)
    rows = opening.draw_rows(labels)
    return OfficialArrays(
        **vars(opening),
        files=files,
        written=written,
        labels=labels[rows],
        rows=rows,
        stored=stored,
    )


def map_array(file: Path) -> np.ndarray:
    """An array of a file, mapped.

    Raises:
        DataError: if it is missing or not a complete array.
    """
    try:
        check_regular(file)
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{show_name(file)}: must be a complete array (.npy), got "
            f"{' '.join(str(error).split())}. Fetch or write it again."
        ) from error
    if not isinstance(array, np.ndarray):  # an archive of several under this ending
        raise DataError(
            f"{show_name(file)}: must be a complete array (.npy), got an archive. "
            "Fetch or write it again."
        )
    return array


def _check_images(file: Path, blocks: int) -> tuple[int, ...]:
    array = map_array(file)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise DataError(
            f"{show_name(file)}: must be uint8 [rows, height, width, 3], got {array.dtype} "
            f"{list(array.shape)}. Use files in the layout of CIFAR-10-C."
        )
    if len(array) == 0 or len(array) % blocks:
        raise DataError(
            f"{show_name(file)}: must have {blocks} blocks of images, one for each severity, "
            f"got {len(array)} rows. Fetch or write it again."
        )
    return array.shape


def _read_labels(
    folder: Path, stored: int, written: Sequence[int], n_classes: int | None
) -> torch.Tensor:
    """Labels of one block, int64 `[stored]`."""
    file, blocks = folder / f"{_LABELS}.npy", len(written)
    if not file.is_file():
        raise DataError(
            f"{show_name(folder)}: must have {file.name} next to the images, got none. It is "
            "published with them; add it."
        )
    labels = np.array(map_array(file))
    if labels.dtype.kind not in "iu" or labels.shape not in ((stored,), (blocks * stored,)):
        raise DataError(
            f"{show_name(file)}: must be integers [{blocks * stored}] or [{stored}], for {blocks} "
            f"severities of {stored} images, got {labels.dtype} {list(labels.shape)}. "
            "Use the file that belongs to these images."
        )
    labels = labels.astype(np.int64)
    for block, severity in enumerate(written[: len(labels) // stored]):
        odd = np.flatnonzero(labels[block * stored :][:stored] != labels[:stored])
        if len(odd):
            raise DataError(
                f"{show_name(file)}: must have the same labels for every severity, got a different "
                f"one at severity {severity}, image {odd[0]}. Fetch or write it again."
            )
    labels = labels[:stored]
    if labels.min() < 0 or (n_classes is not None and labels.max() >= n_classes):
        odd_one = labels.min() if labels.min() < 0 else labels.max()
        rule = "from 0" if n_classes is None else f"from 0 to {n_classes - 1}"
        raise DataError(
            f"{show_name(file)}: labels must be {rule}, got {odd_one}. "
            "Evaluate a network trained on the classes of these images."
        )
    return torch.from_numpy(labels)


def spread(count: int) -> np.ndarray:
    """Indices of at most 64 of `count`, including the first and the last."""
    return np.linspace(0, count - 1, min(count, _SAMPLED)).round().astype(np.int64)
