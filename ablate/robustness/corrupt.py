"""`ablate corrupt`: a corrupted copy of a folder or a data set; and `ablate.corrupt`, in memory.

If all images have one size, the bytes are those that `ablate evaluate` scores with the same suite
and seed.  If smaller square files are enlarged (`image_size`), they differ, because `evaluate`
corrupts those at their own size.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError, ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder, publish_file, writing
from ablate.files.shown import bytes_text, few, show_name
from ablate.model.environment import resolve_environment
from ablate.robustness.arguments import named_by_parameters, read_severities
from ablate.robustness.bits import Cell
from ablate.robustness.corruption import APPROXIMATE_FROST, SEVERITIES, scale_for
from ablate.robustness.corruption import load as load_corruption
from ablate.robustness.corruption.frost_photographs import FrostPhotographs, load_frost
from ablate.robustness.corruption.kind import SMALLEST_SIDE, check_batch, code_version
from ablate.robustness.evaluation_set import Recipe, block_size
from ablate.robustness.suites import select
from ablate.study.callables import is_callable_name
from ablate.study.provenance import usable_cores, versions
from ablate.study.seeds import derive_seed

ImageBatch = TypeVar("ImageBatch", Tensor, np.ndarray)
Layout = Literal["npy", "images"]
ImageFormat = Literal["png", "jpeg"]
Save = Callable[[Cell, Sequence[int], np.ndarray], None]
"""Writes the images of these rows in a cell, uint8 `[k, height, width, 3]`; several threads write
different parts at the same time."""

_PACKAGES = ("ablate", "torch", "numpy", "pillow")
_MOST_WORKERS = 8
_MANIFEST = "manifest.json"
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
    """Apply one of the benchmark's 19 corruptions to a batch of images.

    Bytes on the CPU give the same images as `ablate corrupt` (if all images have one size), and
    the same as `ablate evaluate` scores at that size.

    Args:
        images: a tensor `[n, channel, height, width]`, uint8 or floating point in [0, 1], or a
            NumPy array `[n, height, width, channel]` of uint8; 1 or 3 channels.
        name: for example `gaussian_noise`.  Images of up to 96 pixels get the parameters of
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
    frost = None if frost_images is None else load_frost(Path(frost_images))
    if isinstance(images, Tensor):
        return _corrupt_tensor(images, name, severity, seed, frost)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else type(images)
        raise ParameterError(
            f"{name}: images must be a tensor, or an array of uint8 [n, height, width, channel], "
            f"got {got}. Convert them."
        )
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    corrupted = _corrupt_tensor(planes, name, severity, seed, frost)
    return np.ascontiguousarray(corrupted.numpy().transpose(0, 2, 3, 1))


def _corrupt_tensor(
    images: Tensor, name: str, severity: int, seed: int, frost: FrostPhotographs | None
) -> Tensor:
    apply = load_corruption(name)
    check_batch(name, images)
    size = block_size(images.shape[2], images.shape[3])
    parts = []
    for start in range(0, max(1, len(images)), size):
        block_seed = derive_seed(seed, "evaluation", "corruption", name, severity, start)
        generator = make_generator(block_seed, images.device)
        parts.append(apply(images[start : start + size], severity, generator, frost=frost))
    return torch.cat(parts)


def corrupt_tiles(image: np.ndarray, recipe: Recipe) -> dict[str, list[np.ndarray]]:
    """Type -> the image at each severity; images are uint8 `[height, width, 3]`."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())[None]
    return {
        kind: [
            recipe.corrupt(planes, kind, severity, start=0)[0].permute(1, 2, 0).numpy()
            for severity in recipe.severities
        ]
        for kind in recipe.suite.types
    }


# -- The command ---------------------------------------------------------------------------


def make_recipe(
    suite: str | None,
    types: Sequence[str] | None,
    severities: Sequence[int],
    seed: int,
    frost_images: Path | None,
) -> Recipe:
    """Check the arguments of a command and make the recipe.

    Args:
        suite: name; None: all types, or those of `types`.
        types: types of the suite; None: all.
        frost_images: folder of photographs, read if frost is among the types.

    Raises:
        ParameterError: if a name is unknown or a severity is not from 1 to 5.
        DataError: if the photographs cannot be read.
    """
    with named_by_parameters():
        chosen = select(suite, types, usual="all")
    wanted = read_severities(severities)
    folder = frost_images if "frost" in chosen.types else None
    return Recipe(chosen, wanted, seed, None if folder is None else load_frost(folder))


def corrupt_files(
    source: str,
    output: Path,
    *,
    data: Path | None = None,
    recipe: Recipe,
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
            images without classes.
        output: folder that does not exist, or is empty.
        data: folder of a named data set's files.
        recipe: the corruptions to apply.
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
        UsageError: if the output is not empty or cannot be written, or the disk has no room for its
            arrays (the size of image files is not known in advance).
        DataError: if images are missing, unreadable, or of several sizes for one array.
        InfrastructureError: if the disk is full or broken.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(
            f"{output}: must be a new or an empty folder, got "
            f"{'files in it' if output.is_dir() else 'a file'}. Remove it, or name another folder."
        )
    threads = workers or min(_MOST_WORKERS, usable_cores())
    is_named = source in NAMED or is_callable_name(source)
    with named_by_parameters():
        if is_named:
            if resize is not None:
                raise ParameterError(
                    f"`resize`: applies only to folders of image files, got it with {source}. "
                    "Leave it out."
                )
            images = _read_named(source, data, image_size)
        else:
            folder = _check_folder(source, data)
            images = _read_folder(folder, image_size, resize, skip=skip_unreadable, workers=threads)
    for note in images.notes:
        say(note)
    layout = layout or ("npy" if is_named else "images")
    sizes = images.by_size()
    if layout == "npy":
        _check_one_size(images, sizes)
    resolve_environment("fp32", threads=threads, device="cpu").apply()  # keeps freed memory
    manifest = _manifest(images, recipe, layout, image_format)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if layout == "npy":
        copies = len(recipe.suite.types) * len(recipe.severities)
        needed = copies * sum(3 * height * width for height, width in images.sizes)
        free = shutil.disk_usage(output).free
        if needed > free:
            raise UsageError(
                f"{output}: must have room for arrays of {bytes_text(needed)}, got "
                f"{bytes_text(free)}. Choose another folder, fewer types or fewer severities."
            )
    _write_manifest(output, {"finished": False, **manifest})
    with writing(output), ExitStack() as stack:
        if layout == "npy":
            save = stack.enter_context(_array_writer(output, images, recipe))
        else:
            save = _file_writer(output, images.names, image_format)
        pool = stack.enter_context(_one_core_each(threads))
        _write_copies(images, recipe, pool, save, progress)
    manifest = {"finished": True, **manifest}
    _write_manifest(output, manifest)
    return manifest


def _check_one_size(images: _SourceImages, sizes: Mapping[tuple[int, int], list[int]]) -> None:
    if len(sizes) > 1:
        examples = [
            f"{width} x {height} ({show_name(images.names[rows[0]])})"
            for (height, width), rows in list(sizes.items())[:2]
        ]
        raise DataError(
            f"{show_name(images.name)}: must have images of one size to be arrays, got "
            f"{' and '.join(examples)}. Give `image_size`, or `layout='images'`."
        )


def _check_folder(source: str, data: Path | None) -> Path:
    near, folder = did_you_mean(source, NAMED), Path(source)
    if data is not None:
        raise ParameterError(
            f"`data`: is the folder of a named data set, got it with {source!r}. {near}"
        )
    if folder.is_file():
        raise UsageError(
            f"`source`: must be a folder or a data set, got the file {show_name(folder)}. "
            "For a contact sheet of one image give `sheet=FILE.png` instead of `output`."
        )
    if not folder.exists():
        raise UsageError(
            f"`source`: must be an existing folder or the name of a data set, got {source!r}. "
            f"{near}"
        )
    return folder


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

    def by_size(self) -> dict[tuple[int, int], list[int]]:
        """Rows of the images of each size, in order."""
        groups: dict[tuple[int, int], list[int]] = {}
        for row, size in enumerate(self.sizes):
            groups.setdefault(size, []).append(row)
        return groups


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


def _read_named(name: str, path: Path | None, image_size: int | None) -> _SourceImages:
    """The test images of a data set, as `ablate evaluate` reads them."""
    found = load_evaluated(name, path, ImageRequest(image_size=image_size), cache_folder())
    images, labels = found.split.images, found.split.labels.tolist()
    folders = class_folders(found.classes)
    digits = len(str(len(labels) - 1))

    def load(rows: Sequence[int]) -> ByteImages:
        chosen = images[list(rows)]
        return chosen.expand(-1, 3, -1, -1).contiguous() if chosen.shape[1] == 1 else chosen

    return _SourceImages(
        name=name,
        names=tuple(f"{folders[label]}/{row:0{digits}}" for row, label in enumerate(labels)),
        sizes=((images.shape[2], images.shape[3]),) * len(labels),
        labels=tuple(labels),
        classes=found.classes,
        folders=folders,
        digest=found.split.digest,
        load=load,
        notes=found.notes,
    )


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
    names = _name_outputs(listing)
    if image_size is None and resize is not None:
        raise DataError(
            f"`resize`: sets the shorter side before the centre crop, got {resize} without "
            "`image_size`. Give both."
        )
    if image_size is not None:
        if resize is None:  # smaller square files keep their size in `ablate evaluate`, not here
            first = read_size(listing.root / listing.files[0].name)
            is_fitting = first == (image_size, image_size)
            resize = image_size if is_fitting else usual_resize(image_size)
        if resize < image_size:
            raise DataError(
                f"`resize`: must be at least the image size {image_size}, got {resize}. Raise it."
            )
        notes.append(files_note(image_size, resize))
    decoder = Decoder(str(listing.root), listing.names, image_size, resize)

    def examine(row: int) -> tuple[tuple[int, int], bytes]:
        pixels = decoder(row)
        return pixels.shape[1:], hashlib.sha256(pixels.data).digest()

    with ThreadPoolExecutor(max_workers=workers) as pool:
        sizes, digests = zip(*pool.map(examine, range(len(names))), strict=True)
    small = [
        file.name
        for file, size in zip(listing.files, sizes, strict=True)
        if min(size) < SMALLEST_SIDE
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


def _name_outputs(listing: Listing) -> tuple[str, ...]:
    names = listing.stems
    first = dict[str, str]()
    for name, file in zip(names, listing.files, strict=True):
        if (other := first.setdefault(name, file.name)) != file.name:
            raise DataError(
                f"{show_name(listing.root)}: must have file names that differ before the "
                f"extension, got {show_name(other)} and {show_name(file.name)}. Rename one."
            )
    return names


# -- The files that are written ------------------------------------------------------------


def _write_copies(
    images: _SourceImages,
    recipe: Recipe,
    pool: ThreadPoolExecutor,
    save: Save,
    progress: Callable[[int, int], None],
) -> None:
    cells = list(product(recipe.suite.types, recipe.severities))
    done, total = 0, len(images.names) * len(cells)
    progress(done, total)
    for size, rows_of_size in images.by_size().items():
        count = block_size(*size)  # of images that share a generator
        for start in range(0, len(rows_of_size), count):
            rows = rows_of_size[start : start + count]
            block = images.load(rows)

            def write(
                cell: Cell,
                block: ByteImages = block,
                rows: Sequence[int] = rows,
                start: int = start,
            ) -> None:
                corrupted = recipe.corrupt(block, *cell, start=start)
                save(cell, rows, corrupted.permute(0, 2, 3, 1).contiguous().numpy())

            for _ in pool.map(write, cells):
                done += len(rows)
                progress(done, total)


@contextmanager
def _array_writer(output: Path, images: _SourceImages, recipe: Recipe) -> Iterator[Save]:
    """`TYPE.npy` and `labels.npy`, like the official files of CIFAR-10-C."""
    count, severities = len(images.names), recipe.severities
    shape = (len(severities) * count, *images.sizes[0], 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with ExitStack() as stack:
        files = {}
        for kind in recipe.suite.types:
            file = stack.enter_context((output / f"{kind}.npy").open("wb+"))
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            files[kind] = file.fileno(), file.tell()
        if images.labels is not None:
            labels = np.tile(np.array(images.labels, dtype=np.int64), len(severities))
            np.save(output / "labels.npy", labels)

        def save(cell: Cell, rows: Sequence[int], pixels: np.ndarray) -> None:
            # Written directly, not through a memory map: a full disk is then an error, not a
            # signal.
            kind, severity = cell
            number, start = files[kind]
            place = start + (severities.index(severity) * count + rows[0]) * pixels[0].nbytes
            data = pixels.tobytes()
            while data:
                written = os.pwrite(number, data, place)
                data, place = data[written:], place + written

        yield save


def _file_writer(output: Path, names: Sequence[str], image_format: ImageFormat) -> Save:
    """`TYPE/SEVERITY/CLASS/NAME.png`, like ImageNet-C, which uses JPEG."""
    is_jpeg = image_format == "jpeg"
    options: dict[str, Any] = (
        {"quality": _JPEG_QUALITY, "subsampling": 0} if is_jpeg else {"compress_level": 4}
    )
    made = set[Path]()

    def save(cell: Cell, rows: Sequence[int], pixels: np.ndarray) -> None:
        kind, severity = cell
        for row, image in zip(rows, pixels, strict=True):
            file = output / kind / str(severity) / f"{names[row]}.{image_format}"
            if file.parent not in made:
                file.parent.mkdir(parents=True, exist_ok=True)
                made.add(file.parent)
            Image.fromarray(image).save(file, **options)

    return save


@contextmanager
def _one_core_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute on one core; waiting work is dropped if the block fails."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _manifest(
    images: _SourceImages, recipe: Recipe, layout: Layout, image_format: ImageFormat
) -> dict[str, Any]:
    suite, severities, count = recipe.suite, recipe.severities, len(images.names)
    if layout == "npy":
        form: dict[str, Any] = {
            "format": "npy",
            "shape": (len(severities) * count, *images.sizes[0], 3),
            "rows": f"{count} for each severity, in order of severity",
            "labels": None if images.labels is None else "labels.npy",
        }
    else:
        form = {"format": image_format, "files": "TYPE/SEVERITY/NAME"}
        if image_format == "jpeg":
            form |= {"quality": _JPEG_QUALITY, "subsampling": "4:4:4"}
    manifest: dict[str, Any] = {
        **versions(_PACKAGES),
        "code_version": code_version(suite.types),
        "source": {
            "name": images.name,
            "images": count,
            "digest": images.digest,
            "classes": list(images.classes),
            "folders": dict(zip(images.classes, images.folders, strict=True)),
            "left_out": list(images.left_out),
            "notes": list(images.notes),
        },
        "suite": suite.name,
        "types": list(suite.types),
        "severities": list(severities),
        "seed": recipe.seed,
        "layout": {"kind": layout, **form},
        "licences": _LICENCES,
    }
    if suite.made_by == "distortion":
        strengths = [severity / len(SEVERITIES) for severity in severities]
        return {**manifest, "parameters": dict.fromkeys(suite.types, strengths)}
    tables = {kind: load_corruption(kind).tables for kind in suite.types}
    scales = dict.fromkeys(suite.scale or scale_for(min(size)) for size in images.by_size())
    manifest["parameters"] = {
        scale: {
            kind: [list(table[scale][severity - 1]) for severity in severities]
            for kind, table in tables.items()
        }
        for scale in scales
    }
    if "frost" in suite.types:
        frost = recipe.frost
        manifest["frost"] = (
            APPROXIMATE_FROST
            if frost is None
            else {"photographs": len(frost.photographs), "digest": frost.digest}
        )
    return manifest


def _write_manifest(output: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2) + "\n"
    publish_file(output / _MANIFEST, lambda file: file.write_text(text, encoding="utf-8"))
