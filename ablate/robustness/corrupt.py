"""`ablate corrupt`: a corrupted copy of a folder or a data set; and `ablate.corrupt`, in memory.

If all images have one size, the bytes are those that `ablate evaluate` scores with the same suite
and seed.  If smaller square files are enlarged (`image_size`), they differ, because `evaluate`
corrupts those at their own size.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ablate.data import NAMED
from ablate.data.decode import Decoder, Listing, list_classes, list_unlabeled, read_size
from ablate.data.evaluated import ImageRequest, files_note, load_evaluated, usual_resize
from ablate.data.scan import leave_out_unreadable, scan_listings
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError, ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder, publish_file, writing
from ablate.files.shown import bytes_text, few, show_name
from ablate.model.environment import resolve_environment
from ablate.robustness import corruption
from ablate.robustness.arguments import check_whole, named_by_parameters, read_severities
from ablate.robustness.bits import Cell
from ablate.robustness.corruption.frost import FrostPhotographs, load_frost
from ablate.robustness.corruption.kind import SMALLEST_SIDE, check_batch, code_version
from ablate.robustness.evaluation_set import (
    block_size,
    check_own_types,
    corrupt_block,
    one_core_each,
)
from ablate.robustness.suites import Suite, find_suite, select
from ablate.study.callables import is_callable_name
from ablate.study.provenance import usable_cores, versions
from ablate.study.settings import LARGEST_IMAGE, LARGEST_RESIZE

ImageBatch = TypeVar("ImageBatch", Tensor, np.ndarray)
Layout = Literal["npy", "images"]
ImageFormat = Literal["png", "jpeg"]

_PACKAGES = ("ablate", "torch", "numpy", "pillow")
_MOST_WORKERS = 8
_JPEG_QUALITY = 95
_LICENCES = (
    "The images keep the licence of their source, and the frost photographs keep theirs. Both "
    "apply if you share these copies."
)


def corrupt(
    images: ImageBatch,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    frost_images: str | Path | None = None,
) -> ImageBatch:
    """Apply one of the benchmark's 19 corruptions, or your own, to a batch of images.

    Bytes on the CPU give the same images as `ablate corrupt` (if all images have one size), and
    the same as `ablate evaluate` scores at that size.

    Args:
        images: a tensor `[n, channel, height, width]`, uint8 or floating point in [0, 1], or a
            NumPy array `[n, height, width, channel]` of uint8; 1 or 3 channels.
        name: for example `gaussian_noise`, or a function of your own, `package.module:function`
            (`ablate.distortion.own`).  Images of up to 96 pixels get the parameters of
            CIFAR-10-C, larger ones those of ImageNet-C.
        severity: from 1 to 5.
        seed: the same seed gives the same images.
        frost_images: folder with photographs for `frost`; None: a generated texture.

    Returns:
        New images of the same type and shape.

    Raises:
        ParameterError: if the name is unknown, or images or severity are invalid.
        DataError: if the photographs cannot be read.

    Example:
        >>> import torch
        >>> images = torch.rand(4, 3, 32, 32)
        >>> snowed = ablate.corrupt(images, "snow", 3, seed=0)
        >>> snowed.shape == images.shape, torch.equal(snowed, images)
        (True, False)
    """
    corruption.load(name, Path())  # whose name is checked first
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4:
        planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        corrupted = corrupt(planes, name, severity, seed=seed, frost_images=frost_images)
        return np.ascontiguousarray(corrupted.numpy().transpose(0, 2, 3, 1))
    if not isinstance(images, Tensor):
        got = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else type(images)
        raise ParameterError(
            f"{name}: images must be a tensor, or an array of uint8 [n, height, width, channel], "
            f"got {got}. Convert them."
        )
    check_batch(name, images)
    frost = None if frost_images is None else load_frost(Path(frost_images))
    suite, size = find_suite([name], Path()), block_size(images.shape[2], images.shape[3])
    return torch.cat(
        [
            corrupt_block(
                images[start : start + size], name, severity, suite, seed, start=start, frost=frost
            )
            for start in range(0, max(1, len(images)), size)
        ]
    )


# -- The command ---------------------------------------------------------------------------


def corrupt_files(
    source: str,
    output: Path,
    *,
    data: Path | None = None,
    suite: str | None = None,
    types: Sequence[str] | None = None,
    severities: Sequence[int] = corruption.SEVERITIES,
    seed: int = 0,
    frost_images: Path | None = None,
    layout: Layout | None = None,
    image_format: ImageFormat = "png",
    image_size: int | None = None,
    resize: int | None = None,
    skip_unreadable: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write a corrupted copy of a data set's test images, or of a folder.

    Until all are written, the manifest says that the copy is incomplete.

    Args:
        source: a name of a data set, or a folder with CLASS/*, test/CLASS/*, val/CLASS/*, or
            images without classes; data: folder of a named data set's files.
        output: folder that does not exist, or is empty.
        suite, types: None, both: all corruptions.
        layout: "npy": `TYPE.npy`, uint8 `[severities * n, height, width, 3]`, severity after
            severity, with `labels.npy`; "images": `TYPE/SEVERITY/CLASS/NAME.png`; None: "npy" for
            data sets, "images" for folders.
        image_format: of single images; JPEG is of quality 95, without chroma subsampling.
        image_size, resize: for folders; None: each image at its own size.
        workers: threads, which do not affect the bytes; None: one for each core, up to 8.
        progress: called with the number of written images and the total.
        say: called with notes about the images, one line each.

    Returns:
        The manifest.

    Raises:
        UsageError: if an argument is invalid, the output is not empty or cannot be written, or the
            disk has no room for its arrays (the size of image files is not known in advance).
        DataError: if images are missing, unreadable, or of several sizes for one array.
        InfrastructureError: if the disk is full or broken.
    """
    check_whole("image_size", image_size, 8, LARGEST_IMAGE)
    check_whole("resize", resize, 8, LARGEST_RESIZE)
    threads = workers or min(_MOST_WORKERS, usable_cores())
    is_named = source in NAMED or is_callable_name(source)
    with named_by_parameters():
        chosen, severities = select(suite, types, usual="all"), read_severities(severities)
        frost = load_frost(frost_images) if frost_images and "frost" in chosen.types else None
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            got = "files in it" if output.is_dir() else "a file"
            raise UsageError(
                f"{output}: must be a new or an empty folder, got {got}. Remove it, or name "
                "another folder."
            )
        if is_named:
            images = _read_named(source, data, image_size, resize)
        else:
            folder = _check_folder(source, data)
            images = _read_folder(folder, image_size, resize, skip=skip_unreadable, workers=threads)
        check_own_types(chosen, images.load([0]))
    for note in images.notes:
        say(note)
    resolve_environment("fp32", threads=threads, device="cpu").apply()  # keeps freed memory
    writer: _ArrayWriter | _FileWriter = _FileWriter(output, images, image_format)
    if (layout or ("npy" if is_named else "images")) == "npy":
        writer = _ArrayWriter(output, images, severities)
    manifest = {
        **versions(_PACKAGES),
        "code_version": code_version(),
        "source": images.about(),
        "suite": chosen.name,
        "types": list(chosen.types),
        "severities": list(severities),
        "seed": seed,
        "layout": writer.about(),
        "licences": _LICENCES,
        **_describe_parameters(chosen, severities, images.sizes, frost),
    }

    def write(start: int, rows: list[int], block: ByteImages, cell: Cell) -> None:
        made = corrupt_block(block, *cell, chosen, seed, start=start, frost=frost)
        writer.save(cell, rows, made.permute(0, 2, 3, 1).contiguous().numpy())

    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
        writer.begin(chosen.types)
        _write_manifest(output, {"finished": False, **manifest})
        cells = list(product(chosen.types, severities))
        done, total = 0, len(images.names) * len(cells)
        progress(done, total)
        with one_core_each(threads) as pool:
            for start, rows in images.blocks():
                for _ in pool.map(partial(write, start, rows, images.load(rows)), cells):
                    done += len(rows)
                    progress(done, total)
        manifest = {"finished": True, **manifest}
        _write_manifest(output, manifest)
    return manifest


# -- The images to corrupt -----------------------------------------------------------------


@dataclass(frozen=True)
class _SourceImages:
    """The images of a data set or a folder.

    Attributes:
        names: name of each image, without extension: FOLDER/NAME, or NAME if there are no classes.
        sizes: height and width of each image when it is corrupted, in pixels.
        labels: class of each image; None if there are no classes.
        folders: of each class.
        digest: of names and pixels, in hexadecimal.
        load: reads the images of these rows, which all have one size.
        left_out: files that cannot be read.
    """

    name: str
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    digest: str
    load: Callable[[Sequence[int]], ByteImages]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def blocks(self) -> Iterator[tuple[int, list[int]]]:
        """The rows of images that share a generator, and the first one's place among those of its
        size."""
        rows_of_size: dict[tuple[int, int], list[int]] = {}
        for row, size in enumerate(self.sizes):
            rows_of_size.setdefault(size, []).append(row)
        for size, rows in rows_of_size.items():
            for start in range(0, len(rows), block_size(*size)):
                yield start, rows[start : start + block_size(*size)]

    def about(self) -> dict[str, Any]:
        """What the manifest says of them."""
        return {
            "name": self.name,
            "images": len(self.names),
            "digest": self.digest,
            "classes": list(self.classes),
            "folders": dict(zip(self.classes, self.folders, strict=True)),
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }


def class_folders(classes: Sequence[str]) -> tuple[str, ...]:
    """A folder name for each class; sorted by these names, the classes keep their order.

    Characters other than letters, digits and " ._-" become "_", and leading dots and spaces are
    removed.  If that makes two names equal or changes the order, each name starts with the class's
    number.
    """
    # 60 characters: 240 bytes, of the 255 that file systems take.
    names = [re.sub(r"[^\w .-]", "_", name).lstrip(". ")[:60].rstrip() for name in classes]
    alike = len({name.casefold() for name in names}) < len(names)
    if alike or not all(names) or names != sorted(names):
        digits = len(str(len(names) - 1))
        names = [f"{row:0{digits}}-{name}".rstrip("-") for row, name in enumerate(names)]
    return tuple(names)


def _read_named(
    name: str, path: Path | None, image_size: int | None, resize: int | None
) -> _SourceImages:
    """The test images of a data set, as `ablate evaluate` reads them."""
    if resize is not None:
        raise ParameterError(
            f"`resize`: applies only to folders of image files, got it with {name}. Leave it out."
        )
    found = load_evaluated(name, path, ImageRequest(image_size=image_size), cache_folder())
    images, labels = found.split.images, found.split.labels.tolist()
    folders, digits = class_folders(found.classes), len(str(len(labels) - 1))
    return _SourceImages(
        name=name,
        names=tuple(f"{folders[label]}/{row:0{digits}}" for row, label in enumerate(labels)),
        sizes=((images.shape[2], images.shape[3]),) * len(labels),
        labels=tuple(labels),
        classes=found.classes,
        folders=folders,
        digest=found.split.digest,
        load=lambda rows: images[list(rows)].expand(-1, 3, -1, -1).contiguous(),
        notes=found.notes,
    )


def _check_folder(source: str, data: Path | None) -> Path:
    near, folder = did_you_mean(source, NAMED), Path(source)
    if data is not None:
        raise ParameterError(
            f"`data`: is the folder of a named data set, got it with {source!r}. {near}"
        )
    if folder.is_file():
        raise UsageError(
            f"`source`: must be a folder or a data set, got the file {show_name(folder)}. Name its "
            "folder."
        )
    if not folder.exists():
        raise UsageError(
            f"`source`: must be an existing folder or the name of a data set, got {source!r}. "
            f"{near}"
        )
    return folder


def _read_folder(
    folder: Path, image_size: int | None, resize: int | None, *, skip: bool, workers: int
) -> _SourceImages:
    """The images of a folder: CLASS/*, test/CLASS/*, val/CLASS/*, or files without classes.

    Every file is decoded here, so that what is wrong is found before anything is written, and again
    when it is corrupted.
    """
    listing = _list_files(folder)
    scan = scan_listings(listing.root, {"": listing}, cache=cache_folder())
    scan.refuse(skip_unreadable=skip, resize=1, image_size=1)
    listing, left_out = leave_out_unreadable(listing, cache_folder())
    notes = [*scan.notes(skip_unreadable=skip)]
    names, first = listing.stems, dict[str, str]()
    for name, file in zip(names, listing.files, strict=True):
        if (other := first.setdefault(name, file.name)) != file.name:
            raise DataError(
                f"{show_name(listing.root)}: must have file names that differ before the "
                f"extension, got {show_name(other)} and {show_name(file.name)}. Rename one."
            )
    if image_size is not None:
        if resize is None:  # smaller square files keep their size in `ablate evaluate`, not here
            is_fitting = read_size(listing.root / listing.files[0].name) == (image_size,) * 2
            resize = image_size if is_fitting else usual_resize(image_size)
        if resize < image_size:
            raise DataError(
                f"`resize`: must be at least the image size {image_size}, got {resize}. Raise it."
            )
        notes.append(files_note(image_size, resize))
    elif resize is not None:
        raise DataError(
            f"`resize`: sets the shorter side before the centre crop, got {resize} without "
            "`image_size`. Give both."
        )
    decoder = Decoder(str(listing.root), listing.names, image_size, resize)

    def examine(row: int) -> tuple[tuple[int, int], bytes]:
        pixels = decoder(row)
        return pixels.shape[1:], hashlib.sha256(pixels.data).digest()

    with ThreadPoolExecutor(max_workers=workers) as pool:
        sizes, digests = zip(*pool.map(examine, range(len(names))), strict=True)
    small = [
        name for name, size in zip(first.values(), sizes, strict=True) if min(size) < SMALLEST_SIDE
    ]
    if small:
        raise DataError(
            f"{show_name(listing.root)}: must have images with sides of {SMALLEST_SIDE} pixels or "
            f"more, got {len(small)} smaller ({few(small, 5)}). Enlarge them, or give `image_size`."
        )
    digest = hashlib.sha256()
    for name, size, pixels in zip(names, sizes, digests, strict=True):
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape") + pixels)
    return _SourceImages(
        name=folder.resolve().name,
        names=names,
        sizes=sizes,
        labels=tuple(listing.labels.tolist()) if listing.classes else None,
        classes=listing.classes,
        folders=listing.classes,
        digest=digest.hexdigest(),
        load=lambda rows: torch.from_numpy(np.concatenate([*decoder.blocks(rows)])),
        notes=tuple(notes),
        left_out=left_out,
    )


def _list_files(folder: Path) -> Listing:
    for part in ("test", "val"):
        if (folder / part).is_dir():
            return list_classes(folder / part)
    flat = list_unlabeled(folder, deep=False)
    below = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if flat.files and not any(list_unlabeled(path, deep=False).files for path in below):
        return flat
    return list_classes(folder)


# -- The files that are written ------------------------------------------------------------


class _ArrayWriter:
    """`TYPE.npy` and `labels.npy`, like the official files of CIFAR-10-C."""

    def __init__(self, output: Path, images: _SourceImages, severities: Sequence[int]) -> None:
        sizes = list(dict.fromkeys(images.sizes))
        if len(sizes) > 1:
            examples = [
                f"{size[1]} x {size[0]} ({show_name(images.names[images.sizes.index(size)])})"
                for size in sizes[:2]
            ]
            raise DataError(
                f"{show_name(images.name)}: must have images of one size to be arrays, got "
                f"{' and '.join(examples)}. Give `image_size`, or `layout='images'`."
            )
        self._output, self._severities = output, severities
        self._count, self._labels = len(images.names), images.labels
        self._shape = (len(severities) * self._count, *sizes[0], 3)

    def about(self) -> dict[str, Any]:
        return {
            "kind": "npy",
            "format": "npy",
            "shape": self._shape,
            "rows": f"{self._count} for each severity, in order of severity",
            "labels": None if self._labels is None else "labels.npy",
        }

    def begin(self, types: Sequence[str]) -> None:
        needed, free = len(types) * math.prod(self._shape), shutil.disk_usage(self._output).free
        if needed > free:
            raise UsageError(
                f"{self._output}: must have room for arrays of {bytes_text(needed)}, got "
                f"{bytes_text(free)}. Choose another folder, fewer types or fewer severities."
            )
        for kind in types:
            with (self._output / f"{kind}.npy").open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
                np.lib.format.write_array_header_1_0(file, header)
                self._start = file.tell()
        if self._labels is not None:
            labels = np.array(self._labels, dtype=np.int64)
            np.save(self._output / "labels.npy", np.tile(labels, len(self._severities)))

    def save(self, cell: Cell, rows: Sequence[int], pixels: np.ndarray) -> None:
        """Write images of these rows, uint8 `[k, height, width, 3]`; in any thread.

        Not through a memory map: a full disk is then an error, not a signal.
        """
        kind, severity = cell
        row = self._severities.index(severity) * self._count + rows[0]
        with (self._output / f"{kind}.npy").open("r+b") as file:
            file.seek(self._start + row * pixels[0].nbytes)
            file.write(pixels.tobytes())


class _FileWriter:
    """`TYPE/SEVERITY/CLASS/NAME.png`, like ImageNet-C, which uses JPEG."""

    def __init__(self, output: Path, images: _SourceImages, image_format: ImageFormat) -> None:
        self._output, self._names, self._format = output, images.names, image_format
        self._options: dict[str, Any] = {"compress_level": 4}
        if image_format == "jpeg":
            self._options = {"quality": _JPEG_QUALITY, "subsampling": "4:4:4"}

    def about(self) -> dict[str, Any]:
        about = {"kind": "images", "format": self._format, "files": "TYPE/SEVERITY/NAME"}
        return about if self._format == "png" else {**about, **self._options}

    def begin(self, types: Sequence[str]) -> None: ...

    def save(self, cell: Cell, rows: Sequence[int], pixels: np.ndarray) -> None:
        kind, severity = cell
        for row, image in zip(rows, pixels, strict=True):
            file = self._output / kind / str(severity) / f"{self._names[row]}.{self._format}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file, **self._options)


def _describe_parameters(
    suite: Suite,
    severities: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    frost: FrostPhotographs | None,
) -> dict[str, Any]:
    if suite.made_by == "distortion":
        strengths = [severity / len(corruption.SEVERITIES) for severity in severities]
        return {"parameters": dict.fromkeys(suite.types, strengths)}
    sides = dict.fromkeys(min(size) for size in sizes)
    scales = dict.fromkeys(suite.scale or corruption.scale_for(side) for side in sides)
    tables = {kind: corruption.load(kind, suite.base).tables for kind in suite.types}
    parameters = {
        scale: {
            kind: [list(table[scale][severity - 1]) for severity in severities]
            for kind, table in tables.items()
        }
        for scale in scales
    }
    if "frost" not in suite.types:
        return {"parameters": parameters}
    photographs = frost and {"photographs": len(frost.photographs), "digest": frost.digest}
    return {"parameters": parameters, "frost": photographs or corruption.APPROXIMATE_FROST}


def _write_manifest(output: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2) + "\n"
    publish_file(output / "manifest.json", lambda file: file.write_text(text, encoding="utf-8"))
