"""Image files: listed in their folders, and decoded, resized and cut into bytes.

Training, `ablate evaluate`, `ablate corrupt` and published corrupted copies all read files here.
"""

from __future__ import annotations

import math
import os
import random
import stat
import struct
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
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

# Of what it can read all the same: a large image, damaged EXIF.  Not around each file, since
# several threads decode.
warnings.filterwarnings("ignore", module=r"PIL\.")

THREADS = min(8, os.cpu_count() or 1)
"""That decode: decoding releases the interpreter's lock."""

Size = tuple[int, int]
"""Width and height in pixels."""


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
        return tuple(os.path.splitext(file.name)[0] for file in self.files)  # noqa: PTH122

    def take(self, rows: Tensor) -> Listing:
        """The files at these places, int64 `[n]`."""
        return replace(self, files=tuple(self.files[row] for row in rows.tolist()))

    def common_size(self, resize: int | None) -> Size | None:
        """The size of the first file, which all must have; None where they are resized.

        Raises:
            DataError: if it cannot be read.
        """
        return None if resize is not None else read_size(self.root / self.files[0].name)

    def check_classes(self) -> Listing:
        """Itself.

        Raises:
            DataError: if there are no classes, or a class has no image.
        """
        if not self.classes:
            raise DataError(
                f"{show_name(self.root)}: must have one folder for each class, got none. Add the "
                "images."
            )
        empty = set(range(len(self.classes))) - {file.label for file in self.files}
        if empty:
            raise DataError(
                f"{show_name(self.root / self.classes[min(empty)])}: must have at least one "
                f"image ({', '.join(sorted(ENDINGS))}), got none. Add some, or remove the folder."
            )
        return self


_FOLDER = "in folders of a class"


def walk_classes(root: Path) -> Listing:
    """The images in `root/CLASS/*`; there may be no class, and none of an image."""
    skipped = Counter[str]()
    with os.scandir(root) as entries:
        visible = [entry for entry in entries if entry.name[0] != "."]
    classes = tuple(sorted(entry.name for entry in visible if _is_folder(entry)))
    if len(visible) > len(classes):
        skipped["beside the class folders"] = len(visible) - len(classes)
    files: list[FileEntry] = []
    for label, name in enumerate(classes):
        files += _list_images(root, name, label, skipped)
    return Listing(root, classes, tuple(files), skipped)


def list_classes(root: Path) -> Listing:
    """The images in `root/CLASS/*`.

    Raises:
        DataError: if there are no classes, or a class has no image.
    """
    return walk_classes(root).check_classes()


def list_unlabeled(root: Path, *, deep: bool = True) -> Listing:
    """The images in a folder, without labels; there may be none.

    Args:
        deep: at any depth; otherwise those of the folder itself.
    """
    files: list[FileEntry] = []
    skipped = Counter[str]()
    for folder, below, _ in os.walk(root, followlinks=False):
        files += _list_images(root, os.path.relpath(folder, root), UNLABELED, skipped)
        below[:] = [name for name in below if deep and name[0] != "."]
    del skipped[_FOLDER]
    return Listing(root, (), tuple(sorted(files)), skipped)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):  # a link to itself
        return entry.is_dir()
    return False


def _list_images(root: Path, folder: str, label: int, skipped: Counter[str]) -> list[FileEntry]:
    prefix = "" if folder == "." else f"{folder}/"
    files: list[FileEntry] = []
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            ending = Path(entry.name).suffix.lower()
            if ending in ENDINGS:
                try:
                    status = entry.stat()
                    times = status.st_size, status.st_mtime_ns, status.st_ctime_ns
                except OSError:  # a link that leads nowhere: unreadable, as it turns out
                    times = 0, 0, 0
                files.append(FileEntry(f"{prefix}{entry.name}", label, *times))
            elif _is_folder(entry):
                skipped[_FOLDER] += 1
            else:
                skipped[ending or "without extension"] += 1
    return sorted(files)


# -- From a file to bytes ------------------------------------------------------------------

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", *_DEEP})
"""Of Pillow's images that have one channel."""
_SMALL = 64
"""Side in pixels up to which decoding costs less than opening the file."""
_BLOCK = 64
_AHEAD = 6
"""Largest number of blocks that are decoded ahead, because a network may be slower."""


@dataclass(frozen=True)
class Decoder:
    """Decodes the files of one split; small enough to be sent to another process.

    Attributes:
        root: the split's folder.
        names: paths below it, as bytes.
        image_size: side in pixels of what comes out; None: as stored.
        resize: shorter side in pixels before the middle is cut; None: fitted to `image_size`.
        crop_scale: least share of the area in a random crop; None: the middle.
        size: that every image must have; None: any.
    """

    root: str
    names: np.ndarray
    image_size: int | None
    resize: int | None = None
    crop_scale: float | None = None
    size: Size | None = None

    def __call__(self, row: int, seed: int | None = None) -> np.ndarray:
        """Decode the image of a row.

        Args:
            row: index in `names`.
            seed: of the random crop; None: centre crop.

        Returns:
            uint8 `[3, height, width]`.

        Raises:
            DataError: if the file is not a complete image, or has another size.
        """
        path = Path(self.root, os.fsdecode(self.names[row].item()))
        image = open_rgb(path)
        if self.size not in (None, image.size):
            (width, height), got = self.size, "x".join(map(str, image.size))
            raise DataError(
                f"{show_name(path)}: must be {width}x{height} like the first image, got {got}.",
                *size_fixes(self.image_size),
            )
        if self.image_size is None:
            return _to_bytes(image)
        if seed is not None and self.crop_scale is not None:
            box = draw_crop(*image.size, self.crop_scale, seed)
            side = (self.image_size, self.image_size)
            return _to_bytes(image.resize(side, Image.Resampling.BILINEAR, box=box))
        return fit_image(image, self.image_size, self.resize)

    def blocks(self, rows: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Images of these rows, of one size, uint8 `[k, 3, height, width]`, in order; None: all.

        They are decoded in threads, a few blocks ahead of the caller.
        """
        rows = range(len(self.names)) if rows is None else rows
        waiting: deque[Future[np.ndarray]] = deque()
        pool = ThreadPoolExecutor(max_workers=THREADS)
        try:
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                waiting.append(pool.submit(lambda rows: np.stack([*map(self, rows)]), block))
                if len(waiting) > max(_AHEAD, THREADS):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def size_fixes(image_size: int | None) -> tuple[str, str]:
    """What to do about images of several sizes, by the study's key and by a parameter."""
    if image_size is None:
        fix = "Make them one size, or give `image_size` and `resize`."
        return fix, fix
    choices = (
        f"as the network was trained ({image_size}: only the longer side is cut; "
        f"{round(image_size * 8 / 7)}: the usual centre crop), or make them one size."
    )
    return f"Set dataset.resize {choices}", f"Give `resize` {choices}"


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


def draw_crop(width: int, height: int, scale: float, seed: int) -> tuple[int, int, int, int]:
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
    aspects = 3 / 4, 4 / 3
    low, high = map(math.log, aspects)
    for _ in range(10):
        area = width * height * (scale + (1 - scale) * draw())
        aspect = math.exp(low + (high - low) * draw())
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left = int((width - wide + 1) * draw())
            top = int((height - tall + 1) * draw())
            return left, top, left + wide, top + tall
    wide, tall = min(width, round(height * aspects[1])), min(height, round(width / aspects[0]))
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall


def open_rgb(path: Path) -> Image.Image:
    """Open an image file as RGB with 8 bits per channel.

    Raises:
        DataError: if it is not a complete image.
    """
    with _opened(path) as file:
        if is_rotated(file):
            ImageOps.exif_transpose(file, in_place=True)
        return _to_8_bits(file).convert("RGB")


def read_size(path: Path) -> Size:
    """Width and height in pixels of an image file, upright.

    Raises:
        DataError: if it is none.
    """
    with _opened(path) as file:
        return _upright_size(file)


def is_rotated(image: Image.Image) -> bool:
    """Whether EXIF says that an image lies on its side or is mirrored; Pillow turns TIFF itself."""
    with suppress(*_UNREADABLE, struct.error, LookupError, TypeError):  # of damaged EXIF alone
        return image.format != "TIFF" and _orientation(image) in range(2, 9)
    return False


def _orientation(image: Image.Image) -> object:
    return image.getexif().get(ExifTags.Base.Orientation)


def _upright_size(image: Image.Image) -> Size:
    width, height = image.size
    lies = is_rotated(image) and _orientation(image) in range(5, 9)
    return (height, width) if lies else (width, height)


def is_grey(path: Path) -> bool:
    """Whether an image file has one channel, by its header; False for a file that is no image."""
    with suppress(DataError), _opened(path) as file:
        return file.mode in _GREY_MODES
    return False


class Examined(NamedTuple):
    """An image file: its size upright, whether it has one channel, whether EXIF turns it, and why
    it cannot be read; empty if it can."""

    size: Size = (0, 0)
    is_grey: bool = False
    is_rotated: bool = False
    unreadable: str = ""


def examine(path: Path) -> Examined:
    """Decode an image file to find out whether it is complete.

    A large JPEG is decoded at an eighth of its size, which reads all of its bytes in half the time.
    """
    try:
        with _opened(path) as file:
            size, is_grey = _upright_size(file), file.mode in _GREY_MODES
            rotated = is_rotated(file)
            if max(size) > _SMALL:
                file.draft("L", (1, 1))
            file.load()
            _to_8_bits(file)
            return Examined(size, is_grey, rotated)
    except DataError as error:
        return Examined(unreadable=_reason(path, error.__cause__))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode):  # opening it would block
            raise ValueError("a FIFO")
        if not status.st_size:
            raise ValueError("an empty file")
        with Image.open(path, formats=FORMATS) as file:
            yield file
    except _UNREADABLE as error:
        raise DataError(
            f"{show_name(path)}: must be a readable image, got {_reason(path, error)}. Replace or "
            "remove it."
        ) from error


def _reason(path: Path, error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        return "a broken link" if path.is_symlink() else "no such file"
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


def _to_bytes(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


# -- Images in memory ----------------------------------------------------------------------


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
    """`resize_images` of an array, 1,024 images at a time: as floats they take four times their
    bytes."""
    for start in range(0, len(images), 1024):
        # A copy, since an array may be read-only, which torch warns of.
        piece = torch.from_numpy(np.array(images[start : start + 1024], order="C"))
        yield resize_images(piece, image_size, resize).numpy()
