"""Write corrupted copies of images: arrays in the official layout, or image files.

If all images have one size, the bytes are those that `ablate evaluate` scores with the same suite
and seed.  If smaller square files are enlarged (`--image-size`), they differ, because `evaluate`
corrupts those at their own size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError
from ablate.files.cache import publish_file, writing
from ablate.files.regular import MOST_READ_BYTES, read_regular
from ablate.files.shown import show_name
from ablate.robustness import corruption
from ablate.robustness.corrupt.source import Size, SourceImages
from ablate.robustness.corruption import SEVERITIES, Scale, scale_for
from ablate.robustness.corruption import load as load_corruption
from ablate.robustness.corruption.kind import code_version
from ablate.robustness.evaluation_set import Recipe, block_size

Layout = Literal["npy", "images"]
ImageFormat = Literal["png", "jpeg"]

MANIFEST = "manifest.json"
JPEG_QUALITY = 95

_LICENCES = (
    "The images keep the licence of their source, and the frost photographs keep theirs. Both "
    "apply if you share these copies."
)


def write_corrupted(
    source: SourceImages,
    recipe: Recipe,
    output: Path,
    *,
    layout: Layout,
    image_format: ImageFormat = "png",
    workers: int = 1,
    made_with: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Write every copy.  Until all are written, the manifest says that they are incomplete.

    Args:
        output: an empty folder that exists.
        layout: "npy": `TYPE.npy`, uint8 `[severities * n, height, width, 3]`, severity after
            severity, with `labels.npy`; "images": `TYPE/SEVERITY/CLASS/NAME.png`.
        image_format: of single images; JPEG is of quality 95, without chroma subsampling.
        workers: number of threads; it does not affect the bytes.
        made_with: package -> version, for the manifest.
        progress: called with the number of written images and the total.

    Returns:
        The manifest.

    Raises:
        DataError: if images of several sizes would go into one array.
        UsageError: if `output` cannot be written.
        InfrastructureError: if its disk is full or broken.
    """
    sizes = source.by_size()
    if layout == "npy":
        _check_one_size(source, sizes)
    writer: _Writer = (
        _Arrays(output, source, recipe)
        if layout == "npy"
        else _ImageFiles(output, source, image_format)
    )
    cells = [(kind, severity) for kind in recipe.suite.types for severity in recipe.severities]
    done, total = 0, len(source) * len(cells)
    manifest = _manifest(source, recipe, layout, writer.layout, made_with)
    _write_manifest(output, {"finished": False, **manifest})
    progress(done, total)
    with writing(output), writer, _pool(workers) as pool:
        for rows, start in _blocks(sizes):
            images = source.load(rows)

            def make(
                cell: tuple[str, int], images: ByteImages = images, start: int = start
            ) -> _Copy:
                kind, severity = cell
                corrupted = recipe.corrupt(images, kind, severity, start=start)
                return _Copy(kind, severity, corrupted.permute(0, 2, 3, 1).contiguous().numpy())

            def put(cell: tuple[str, int], rows: Sequence[int] = rows) -> int:
                writer.write(make(cell), rows)
                return len(rows)

            for count in pool.map(put, cells):
                done += count
                progress(done, total)
    manifest = {"finished": True, **manifest}
    _write_manifest(output, manifest)
    return manifest


def is_unfinished(output: Path) -> bool:
    """Whether a folder has an incomplete copy."""
    try:
        manifest = json.loads(read_regular(output / MANIFEST, MOST_READ_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("finished") is False


class _Copy(NamedTuple):
    """A block of images corrupted by one type at one severity: uint8 `[k, height, width, 3]`."""

    kind: str
    severity: int
    pixels: np.ndarray


class _Writer(Protocol):
    """Writes copies; several threads write different parts at the same time."""

    @property
    def layout(self) -> Mapping[str, Any]: ...
    def write(self, copy: _Copy, rows: Sequence[int]) -> None: ...
    def __enter__(self) -> _Writer: ...
    def __exit__(self, *_: object) -> None: ...


class _Arrays:
    """`TYPE.npy` and `labels.npy`, like the official files of CIFAR-10-C."""

    def __init__(self, output: Path, source: SourceImages, recipe: Recipe) -> None:
        self._output = output
        self._source = source
        self._severities = recipe.severities
        self._types = recipe.suite.types
        self._shape = (len(recipe.severities) * len(source), *source.sizes[0], 3)
        self._files: dict[str, tuple[BinaryIO, int]] = {}

    @property
    def layout(self) -> Mapping[str, Any]:
        rows = f"{len(self._source)} for each severity, in order of severity"
        labels = None if self._source.labels is None else "labels.npy"
        return {"format": "npy", "shape": self._shape, "rows": rows, "labels": labels}

    def __enter__(self) -> _Arrays:
        header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
        for kind in self._types:
            file = (self._output / f"{kind}.npy").open("wb+")
            np.lib.format.write_array_header_1_0(file, header)
            file.flush()
            self._files[kind] = (file, file.tell())
        if self._source.labels is not None:
            labels = np.tile(np.array(self._source.labels, dtype=np.int64), len(self._severities))
            np.save(self._output / "labels.npy", labels)
        return self

    def write(self, copy: _Copy, rows: Sequence[int]) -> None:
        # Written directly, not through a memory map: a full disk is then an error, not a signal.
        file, start = self._files[copy.kind]
        block = self._severities.index(copy.severity) * len(self._source)
        image_bytes = copy.pixels[0].nbytes
        place = start + (block + rows[0]) * image_bytes
        data = copy.pixels.tobytes()
        while data:
            written = os.pwrite(file.fileno(), data, place)
            data, place = data[written:], place + written

    def __exit__(self, *_: object) -> None:
        for file, _start in self._files.values():
            file.close()


class _ImageFiles:
    """`TYPE/SEVERITY/CLASS/NAME.png`, like ImageNet-C, which uses JPEG."""

    def __init__(self, output: Path, source: SourceImages, image_format: ImageFormat) -> None:
        self._output = output
        self._names = source.names
        self._format = image_format
        self._made: set[Path] = set()

    @property
    def layout(self) -> Mapping[str, Any]:
        form = {"format": self._format, "files": "TYPE/SEVERITY/NAME"}
        if self._format == "jpeg":
            return {**form, "quality": JPEG_QUALITY, "subsampling": "4:4:4"}
        return form

    def __enter__(self) -> _ImageFiles:
        return self

    def write(self, copy: _Copy, rows: Sequence[int]) -> None:
        root = self._output / copy.kind / str(copy.severity)
        for row, pixels in zip(rows, copy.pixels, strict=True):
            file = root / f"{self._names[row]}.{self._format}"
            if file.parent not in self._made:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(file.parent)
            image = Image.fromarray(pixels)
            if self._format == "jpeg":
                image.save(file, quality=JPEG_QUALITY, subsampling=0)
            else:
                image.save(file, compress_level=4)

    def __exit__(self, *_: object) -> None:
        pass


def _check_one_size(source: SourceImages, sizes: Mapping[Size, Sequence[int]]) -> None:
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise DataError(
            f"{show_name(source.name)}: must have images of one size to be arrays, got "
            f"{one[1]} x {one[0]} ({show_name(source.names[first[0]])}) and {other[1]} x "
            f"{other[0]} ({show_name(source.names[second[0]])}). Give --image-size, or write "
            "--format images."
        )


def _blocks(sizes: Mapping[Size, Sequence[int]]) -> Iterator[tuple[Sequence[int], int]]:
    """Rows of images that share a generator, and the index of the first among those of its size."""
    for size, rows in sizes.items():
        count = block_size(*size)
        for start in range(0, len(rows), count):
            yield rows[start : start + count], start


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
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
    source: SourceImages,
    recipe: Recipe,
    layout: Layout,
    form: Mapping[str, Any],
    made_with: Mapping[str, str],
) -> dict[str, Any]:
    suite = recipe.suite
    scales = {suite.scale or scale_for(min(size)): None for size in source.by_size()}
    manifest: dict[str, Any] = {
        **made_with,
        "code_version": code_version(suite.types),
        "source": {
            "name": source.name,
            "images": len(source),
            "digest": source.digest,
            "classes": list(source.classes),
            "folders": dict(zip(source.classes, source.folders, strict=True)),
            "left_out": list(source.left_out),
            "notes": list(source.notes),
        },
        "suite": suite.name,
        "types": list(suite.types),
        "severities": list(recipe.severities),
        "seed": recipe.seed,
        "layout": {"kind": layout, **form},
        "licences": _LICENCES,
    }
    if suite.made_by == "distortion":
        strengths = [severity / len(SEVERITIES) for severity in recipe.severities]
        manifest["parameters"] = dict.fromkeys(suite.types, strengths)
        return manifest
    manifest["parameters"] = {
        scale: {kind: _rows_of(kind, scale, recipe.severities) for kind in suite.types}
        for scale in scales
    }
    if "frost" in suite.types:
        frost = recipe.frost
        manifest["frost"] = (
            corruption.APPROXIMATE_FROST
            if frost is None
            else {"photographs": len(frost.photographs), "digest": frost.digest}
        )
    return manifest


def _rows_of(kind: str, scale: Scale, severities: Sequence[int]) -> list[list[float]]:
    table = load_corruption(kind).tables[scale]
    return [list(table[severity - 1]) for severity in severities]


def _write_manifest(output: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2) + "\n"
    publish_file(output / MANIFEST, lambda file: file.write_text(text, encoding="utf-8"))
