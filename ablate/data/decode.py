"""Image files: listed in their folders, and decoded, resized and cut into bytes."""

from __future__ import annotations

import hashlib
import math
import os
import random
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError
from ablate.files.shown import show_name

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
"""Files with other extensions are skipped."""
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
"""That are read, whatever the extension.  For others Pillow may start a program: Ghostscript for
EPS."""

UNLABELED = -1
"""The label of an image that has none."""


class FileEntry(NamedTuple):
    """A file of a listing.

    Attributes:
        name: path below the root.
        label: of its class.
        size: in bytes.
        modified, changed: times in nanoseconds, of the content and of the file.  A replaced file
            may keep the first (`cp -p`), never the second.
    """

    name: str
    label: int
    size: int
    modified: int
    changed: int


def stem(name: str) -> str:
    """A path without its extension."""
    return os.path.splitext(name)[0]  # noqa: PTH122


@dataclass(frozen=True)
class Listing:
    """The image files of one split, in the order of its images.

    Attributes:
        root: the split's folder.
        classes: names of its subfolders, sorted; none for images without labels.
        skipped: number of files that are not read, by extension; those whose names begin with a
            dot are not counted.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[FileEntry, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def labels(self) -> Labels:
        """int64 `[n]`; -1 if there is none."""
        return torch.tensor([file.label for file in self.files], dtype=torch.int64)

    @property
    def names(self) -> np.ndarray:
        """Paths below the root, as bytes: an array is smaller than that many strings."""
        return np.array([os.fsencode(file.name) for file in self.files])

    @property
    def stems(self) -> tuple[str, ...]:
        """Paths below the root without extension."""
        return tuple(stem(file.name) for file in self.files)


def list_classes(root: Path) -> Listing:
    """The images in `root/CLASS/*`.

    Raises:
        DataError: if there are no classes, or a class has no image.
    """
    listing = walk_classes(root)
    if not listing.classes:
        raise DataError(
            f"{show_name(root)}: must have one folder for each class, got none. Add the images."
        )
    refuse_empty_class(listing)
    return listing


def refuse_empty_class(listing: Listing) -> None:
    """Refuse a listing of which a class has no image.

    Raises:
        DataError: naming the first of them.
    """
    empty = set(range(len(listing.classes))) - {file.label for file in listing.files}
    if empty:
        raise DataError(
            f"{show_name(listing.root / listing.classes[min(empty)])}: must have at least one "
            f"image ({', '.join(sorted(ENDINGS))}), got none. Add some, or remove the folder."
        )


def walk_classes(root: Path) -> Listing:
    """As `list_classes`; there may be no class, and none of an image."""
    skipped = Counter[str]()
    with os.scandir(root) as entries:
        visible = [entry for entry in entries if entry.name[0] != "."]
    classes = tuple(sorted(entry.name for entry in visible if entry.is_dir()))
    if len(visible) > len(classes):
        skipped["beside the class folders"] = len(visible) - len(classes)
    files: list[FileEntry] = []
    for label, name in enumerate(classes):
        files += _list_images(root, name, label, skipped)
    return Listing(root, classes, tuple(files), skipped)


def list_flat(root: Path) -> Listing:
    """The images in a folder itself, without labels; there may be none."""
    skipped = Counter[str]()
    return Listing(root, (), tuple(_list_images(root, ".", UNLABELED, skipped)), skipped)


def list_tree(root: Path) -> Listing:
    """List the images in a folder at any depth, without labels.

    Raises:
        DataError: if the folder is missing or holds no image.
    """
    files: list[FileEntry] = []
    skipped = Counter[str]()
    for folder, below, _ in os.walk(root, followlinks=False):
        below[:] = [name for name in below if name[0] != "."]
        files += _list_images(root, os.path.relpath(folder, root), UNLABELED, skipped)
    del skipped[_FOLDER]  # which are read
    if not files:
        got = "none" if root.is_dir() else "no such folder"
        raise DataError(
            f"{show_name(root)}: must have images without labels, at any depth, got {got}. "
            "Correct dataset.unlabeled; relative paths start at the study file's folder."
        )
    return Listing(root, (), tuple(sorted(files)), skipped)


_FOLDER = "in folders of a class"


def _list_images(root: Path, name: str, label: int, skipped: Counter[str]) -> list[FileEntry]:
    prefix = "" if name == "." else f"{name}/"
    found: list[FileEntry] = []
    with os.scandir(root / name) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            ending = Path(entry.name).suffix.lower()
            if ending in ENDINGS:
                found.append(FileEntry(f"{prefix}{entry.name}", label, *_size_and_times(entry)))
            elif entry.is_dir():
                skipped[_FOLDER] += 1
            else:
                skipped[ending or "without extension"] += 1
    return sorted(found)


def _size_and_times(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere: reported with what else cannot be read
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Of Pillow's images that have one channel."""
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_ASPECTS = (3 / 4, 4 / 3)
_TRIES = 10
_SMALL = 64
"""Side in pixels up to which decoding costs less than opening the file."""

THREADS = min(8, os.cpu_count() or 1)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Decoder:
    """Decodes the files of one split; small enough to be sent to another process.

    Attributes:
        root: the split's folder.
        names: paths below it, as bytes: an array is smaller than as many strings.
        image_size: side in pixels of what comes out.
        resize: shorter side in pixels before the middle is cut; none: all files have one size.
        crop_scale: least share of the area in a random crop; none: the middle.
        first: name and size of the file whose size all must have; none with `resize`.
    """

    root: str
    names: np.ndarray
    image_size: int
    resize: int | None
    crop_scale: float | None
    first: tuple[str, tuple[int, int]] | None

    @classmethod
    def of(
        cls, listing: Listing, image_size: int, resize: int | None, crop_scale: float | None = None
    ) -> Decoder:
        """A decoder of these files.

        Raises:
            DataError: if the first cannot be read.
        """
        first = None
        if resize is None:
            name = listing.files[0].name
            first = (name, read_size(listing.root / name))
        return cls(str(listing.root), listing.names, image_size, resize, crop_scale, first)

    def __call__(self, row: int, seed: int | None = None) -> np.ndarray:
        """Decode the image of a row.

        Args:
            row: index in `names`.
            seed: of the random crop; None: centre crop.

        Returns:
            uint8 `[3, image_size, image_size]`.

        Raises:
            DataError: if the file is not a complete image, or not of the first one's size.
        """
        name = os.fsdecode(self.names[row].item())
        image = open_rgb(Path(self.root, name))
        if self.first is not None and image.size != self.first[1]:
            fix, option_fix = size_fixes(self.image_size)
            raise DataError(
                f"{show_name(self.root)}: must have images of one size, got {_show(self.first[1])} "
                f"({show_name(self.first[0])}) and {_show(image.size)} ({show_name(name)}).",
                fix,
                option_fix=option_fix,
            )
        if seed is not None and self.crop_scale is not None:
            box = draw_crop(*image.size, self.crop_scale, seed)
            return _to_bytes(_resize(image, self.image_size, box))
        return fit_image(image, self.image_size, self.resize)


def size_fixes(image_size: int) -> tuple[str, str]:
    """What to do about images of several sizes, by the study's key and by an option."""
    choices = (
        f"as the network was trained ({image_size}: only the longer side is cut; "
        f"{round(image_size * 8 / 7)}: the usual centre crop), or make them one size."
    )
    return f"Set dataset.resize {choices}", f"Give --resize {choices}"


def fit_image(image: Image.Image, image_size: int, resize: int | None) -> np.ndarray:
    """An RGB image as bytes of `image_size`, bilinear.

    Args:
        resize: shorter side in pixels before the centre crop; None: resized to `image_size`,
            cropping only if it is not square.

    Returns:
        uint8 `[3, image_size, image_size]`.
    """
    if resize is not None:
        scale = resize / min(image.size)
        width, height = (max(resize, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - image_size) // 2, (height - image_size) // 2
        image = image.crop((left, top, left + image_size, top + image_size))
    elif image.size != (image_size, image_size):
        image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
    return _to_bytes(image)


def draw_crop(width: int, height: int, scale: float, seed: int) -> Box:
    """Draw a random crop of an image, to be resized to a square.

    Args:
        width, height: of the image, in pixels.
        scale: least share of the area, above 0, up to 1.
        seed: the same seed draws the same box.

    Returns:
        Left, top, right, bottom. Its area is uniform from `scale` to 1 of the image's, its aspect
        from 3/4 to 4/3, uniform in the logarithm. If ten draws do not fit, the largest centre crop
        of such an aspect.

    Source: Szegedy et al. 2014, arXiv:1409.4842, sec. 6. [S]
    """
    # Its `random()` is the one stream that Python promises never to change.
    draw = random.Random(seed).random
    low, high = (math.log(aspect) for aspect in _ASPECTS)
    for _ in range(_TRIES):
        area = width * height * (scale + (1 - scale) * draw())
        aspect = math.exp(low + (high - low) * draw())
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left = int((width - wide + 1) * draw())
            top = int((height - tall + 1) * draw())
            return left, top, left + wide, top + tall
    wide = min(width, round(height * _ASPECTS[1]))
    tall = min(height, round(width / _ASPECTS[0]))
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall


def open_rgb(path: Path) -> Image.Image:
    """Open an image file as RGB with 8 bits per channel.

    Raises:
        DataError: if it is not a complete image.
    """
    try:
        with _open(path) as file:
            return _to_8_bits(file).convert("RGB")
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


class Examined(NamedTuple):
    """An image file as it was found.

    Attributes:
        size: width and height in pixels.
        is_grey: whether it has one channel.
        unreadable: why it cannot be read; empty if it can.
    """

    size: tuple[int, int] = (0, 0)
    is_grey: bool = False
    unreadable: str = ""


def examine(path: Path) -> Examined:
    """Decode an image file to find out whether it is complete.

    A large JPEG is decoded at an eighth of its size, which reads all of its bytes in half the time.
    """
    try:
        with _open(path) as file:
            size, is_grey = file.size, file.mode in GREY_MODES
            if max(size) > _SMALL:
                file.draft("L", (1, 1))
            file.load()
            _to_8_bits(file)
            return Examined(size, is_grey)
    except _UNREADABLE as error:
        return Examined(unreadable=_reason(error))


def unreadable_rows(count: int, read: Callable[[int], object]) -> list[int]:
    """Of so many images, those whose reading raises a `DataError`."""

    def fails(row: int) -> bool:
        try:
            read(row)
        except DataError:
            return True
        return False

    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        found = list(pool.map(fails, range(count)))
    return [row for row, failed in enumerate(found) if failed]


def read_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image file.

    Raises:
        DataError: if it is none.
    """
    try:
        with _open(path) as file:
            return file.size
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> Image.Image:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ValueError("a broken link" if path.is_symlink() else "no such file") from error
    if stat.S_ISFIFO(found.st_mode):  # opening it would block
        raise ValueError("a FIFO")
    if not found.st_size:
        raise ValueError("an empty file")
    return Image.open(path, formats=FORMATS)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{show_name(path)}: must be a readable image, got {_reason(error)}. Replace or remove it."
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, UnidentifiedImageError):
        return "a file that is not an image"
    if "truncated" in text.lower():
        return "a truncated image"
    return getattr(error, "strerror", None) or text


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Convert a grey image of 16 bits to 8, because PIL's own conversion clips values above 255 to
    white.

    Other images are not changed.  Files of 32 bits do not define their range: values up to 255 are
    taken as 8 bits, else as 16 bits.
    """
    if image.mode not in _DEEP and image.mode != "I":
        return image
    values = np.asarray(image).astype(np.int64)
    # PIL gives 16-bit PGM in mode I, and older releases of it 16-bit PNG.
    deep = image.mode in _DEEP or image.format in ("PNG", "PPM")
    highest = int(values.max())
    if not deep and highest <= 255:
        return image
    if highest > 65535:
        raise ValueError(f"a value of {highest}, where 16 bits end at 65535")
    return Image.fromarray(((values.clip(0) + 128) // 257).astype(np.uint8))


def _resize(image: Image.Image, side: int, box: Box) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _to_bytes(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _show(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


_CHUNK = 1024
"""Images at a time: as floats they take four times their bytes."""


def resize_images(
    images: ByteImages, image_size: int, resize: int | None = None
) -> UInt8[Tensor, "batch 3 side side"]:
    """Resize images to another size with three channels, bilinear with antialiasing.

    Args:
        images: uint8 `[n, 1 or 3, height, width]`; a grey channel is repeated.
        image_size: side in pixels.
        resize: shorter side in pixels before the centre crop; None: `image_size`.

    Returns:
        uint8 `[n, 3, image_size, image_size]`; the same bytes if the size is unchanged.
    """
    height, width = images.shape[-2:]
    scale = (resize or image_size) / min(height, width)
    size = (round(height * scale), round(width * scale))
    if size != (height, width):
        floats = functional.interpolate(
            images.float(), size=size, mode="bilinear", antialias=True, align_corners=False
        )
        images = floats.round().clamp(0, 255).to(torch.uint8)
    top, left = ((side - image_size) // 2 for side in size)
    images = images[..., top : top + image_size, left : left + image_size]
    return images.expand(-1, 3, -1, -1)


def resize_chunks(
    images: np.ndarray, image_size: int, resize: int | None = None
) -> Iterator[np.ndarray]:
    """`resize_images` of an array, piece by piece."""
    for start in range(0, len(images), _CHUNK):
        # A copy, since an array may be read-only, which torch warns of.
        piece = torch.from_numpy(np.array(images[start : start + _CHUNK], order="C"))
        yield resize_images(piece, image_size, resize).numpy()
