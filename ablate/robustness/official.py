"""Corrupted images as published by their authors, in either of two layouts.

    CIFAR-10-C, CIFAR-100-C, CIFAR-10-C-bar           TYPE.npy and labels.npy
    ImageNet-C, Tiny-ImageNet-C, ImageNet-C-bar       TYPE/SEVERITY/CLASS/*.JPEG

`ablate corrupt` writes the same layouts; its manifest is read too.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261; -bar: Mintun et al. 2021,
arXiv:2102.11273.  The files come from a folder that the user names, and keep their licence:
CIFAR-10-C, CIFAR-100-C, ImageNet-C and Tiny-ImageNet-C are on zenodo.org, where each says its
licence (a mirror states CC BY 4.0 for CIFAR-10-C); the code of the -bar sets is at
github.com/facebookresearch/augmentation-corruption.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ablate.data.dataset import draw_stratified
from ablate.data.decode import (
    THREADS,
    Decoder,
    Listing,
    is_grey,
    list_classes,
    resize_images,
)
from ablate.distortion.shapes import ByteImages, Labels
from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.files.regular import MOST_READ_BYTES, check_regular, read_regular
from ablate.files.shown import few, show_name
from ablate.robustness import corruption
from ablate.robustness.bits import Cell
from ablate.robustness.score import ReadImages
from ablate.robustness.suites import find_suite, only_types

OFFICIAL = "official files"
"""The mark of scores on published files."""

WRITTEN = "files written by ablate corrupt"
"""The mark of scores on files with a manifest of `ablate corrupt`."""

DISTORTIONS = "training distortions, not the benchmark's corruptions"
"""The mark of copies that a suite of training distortions made."""

_LAYOUTS = "TYPE.npy with labels.npy, or TYPE/SEVERITY/CLASS/*.JPEG"
_SAMPLED = 64
"""Images of a copy whose bytes are in its identity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OfficialImages(ReadImages):
    """Corrupted copies in files, of either layout; see `CorruptedImages`.

    Their identity is a digest of the stored files, whatever the size at which they are read, so
    that networks with different input sizes can be compared.  A hash of every byte would take
    longer than scoring a small network: of each copy it has the bytes of 64 images, beside types,
    severities, sizes, and labels or names.

    Attributes:
        rows: indices of the images used in a copy, ascending.
        classes, names: of folders of files: of the classes, and CLASS/NAME without extension of
            each image used; None: unknown.
        notes: how the files were read, one line each.
    """

    rows: torch.Tensor = field(repr=False)
    classes: tuple[str, ...] | None = field(default=None, repr=False)
    names: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


def open_official(
    folder: Path,
    *,
    types: Sequence[str] | None = None,
    severities: Sequence[int] = corruption.SEVERITIES,
    image_size: int | None = None,
    resize: int | None = None,
    classes: Sequence[str] | None = None,
    n: int | None = None,
) -> OfficialImages:
    """Open official files for reading block by block; the layout is detected.

    Args:
        folder: contains the types, or folders of families that contain them.
        types: names; None: all that exist, the nineteen in the order of all tables, then the others
            by name.
        severities: each from 1 to 5.
        image_size, resize: side in pixels of the centre crop, and the shorter side before it; None,
            both: as stored.
        classes: classes of the network.  Class folders must have these names; labels in a file must
            be below their number.  None: not checked.
        n: number of images per copy, balanced over classes and the same for every type, drawn by
            `draw_stratified` with seed 0.  None: all.

    Raises:
        ParameterError: if `types` is empty.
        DataError: if the folder has neither layout, a type or severity is missing, or the files
            do not fit each other or the classes.
    """
    if types is not None and not types:
        raise ParameterError("`types`: must name at least one corruption, got none. Add one.")
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must have {_LAYOUTS}, got no such folder. Correct the path."
        )
    manifest = _read_manifest(folder)
    arrays = {
        file.stem: file
        for file in sorted(folder.glob("*.npy"))
        if file.stem != "labels" and file.name[0] != "."
    }
    trees = {} if arrays else _list_folders(folder)
    there: Mapping[str, object] = arrays or trees
    if not there:
        got = few(sorted(path.name for path in folder.iterdir()), 6) or "an empty folder"
        raise DataError(
            f"{show_name(folder)}: must have {_LAYOUTS}, got {got}. "
            "Unpack the files there, or name the folder that holds the types."
        )
    families = _choose_types(folder, there, types, is_published=not manifest)
    kinds = [kind for kinds in families.values() for kind in kinds]
    form = _Form(families, tuple(severities), _marks(manifest, families), image_size, resize, n)
    if arrays:
        written = tuple(manifest.get("severities", corruption.SEVERITIES))
        _check_severities(folder, severities, written)
        n_classes = None if classes is None else len(classes)
        return _open_arrays(
            folder, {kind: arrays[kind] for kind in kinds}, written, n_classes, form
        )
    for kind in kinds:
        _check_severities(next(iter(trees[kind].values())).parent, severities, tuple(trees[kind]))
    roots = {(kind, severity): trees[kind][severity] for kind in kinds for severity in severities}
    renamed = manifest.get("folders", {})
    expected = None if classes is None else [str(renamed.get(name, name)) for name in classes]
    return _open_folders(folder, roots, expected, form)


class _Form(NamedTuple):
    """Which images are read, and how."""

    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    marks: tuple[str, ...]
    image_size: int | None
    resize: int | None
    n: int | None

    def draw_rows(self, labels: Labels) -> torch.Tensor:
        """The rows of the images used, ascending."""
        return draw_stratified(labels, len(labels) if self.n is None else self.n, seed=0)


def _choose_types(
    folder: Path, there: Collection[str], types: Sequence[str] | None, *, is_published: bool
) -> dict[str, tuple[str, ...]]:
    """Family -> its types, of those that are requested and exist."""
    wanted = list(there) if types is None else list(types)
    missing = [kind for kind in corruption.BENCHMARK if kind not in there]
    # An incomplete download would give a mean that is not comparable.
    if types is None and is_published and missing and 2 * len(missing) < len(corruption.BENCHMARK):
        raise DataError(
            f"{show_name(folder)}: must have the benchmark's {len(corruption.BENCHMARK)}, got them "
            f"without {', '.join(missing)}. Add the files, or name the types to score."
        )
    missing = [kind for kind in dict.fromkeys(wanted) if kind not in there]
    if missing:
        fix = did_you_mean(missing[0], sorted(there))
        if missing[0] in corruption.CORRUPTIONS or not fix.startswith("Did you mean"):
            fix = "Add the files, or choose types that exist."
        raise DataError(
            f"{show_name(folder)}: must have {', '.join(map(show_name, missing))}, got only "
            f"{', '.join(map(show_name, sorted(there)))}. {fix}"
        )
    others = sorted(set(wanted) - set(corruption.CORRUPTIONS))
    return only_types({**corruption.FAMILIES, corruption.OTHER: others}, wanted)


def _check_severities(where: Path, wanted: Sequence[int], there: Sequence[int]) -> None:
    missing = [str(severity) for severity in wanted if severity not in there]
    if missing:
        raise DataError(
            f"{show_name(where)}: must have severity {', '.join(missing)}, got "
            f"{', '.join(map(str, sorted(there)))}. Choose severities that exist."
        )


def _spread(count: int) -> np.ndarray:
    """Indices of at most 64 of `count`, including the first and the last."""
    return np.linspace(0, count - 1, min(count, _SAMPLED)).round().astype(np.int64)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """What `ablate corrupt` wrote beside its files, with the folder of each class; empty of
    published ones."""
    file = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(read_regular(file, MOST_READ_BYTES))
        severities = list(manifest.get("severities", corruption.SEVERITIES))
        if not severities or not set(severities) <= set(corruption.SEVERITIES):
            raise ValueError(f"severities {severities}")
        manifest["folders"] = dict(manifest.get("source", {}).get("folders", {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{show_name(file)}: must be a file written by ablate corrupt, got "
            f"{' '.join(str(error).split())}. Write the files again, or remove it."
        ) from error
    if manifest.get("finished") is False:
        raise DataError(
            f"{show_name(folder)}: must be finished, got an incomplete copy. "
            "Remove it and write it again."
        )
    return manifest


def _marks(manifest: Mapping[str, Any], families: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if not manifest:
        return (OFFICIAL,)
    marks = [WRITTEN]
    with suppress(ParameterError):
        if find_suite(str(manifest.get("suite"))).made_by == "distortion":
            marks.append(DISTORTIONS)
    frost = manifest.get("frost")
    if "frost" in families.get("weather", ()) and isinstance(frost, str):  # no photographs
        marks.append(frost)
    return tuple(marks)


# -- The layout of CIFAR-10-C: one array per corruption, with one block per severity -------
#
# The arrays are memory-mapped and copied block by block, never read completely.

_BLOCK = 2048


def _open_arrays(
    folder: Path,
    files: Mapping[str, Path],
    written: tuple[int, ...],
    n_classes: int | None,
    form: _Form,
) -> OfficialImages:
    """Open arrays `[severities * stored, height, width, 3]`, uint8.

    Args:
        files: type -> its array.
        written: severities of the arrays, in the order of their blocks.
        n_classes: that labels must be below; None: any.
    """
    arrays = {kind: map_array(file) for kind, file in files.items()}
    stored = _check_shapes(files, arrays, len(written))
    labels = _read_labels(folder, stored, written, n_classes)
    rows = form.draw_rows(labels)

    def places_of(severity: int) -> np.ndarray:
        return rows.numpy() + written.index(severity) * stored

    def read(kind: str, severity: int) -> Iterator[ByteImages]:
        places = places_of(severity)
        for start in range(0, len(places), _BLOCK):
            copied = map_array(files[kind])[places[start : start + _BLOCK]]
            images = torch.from_numpy(copied).permute(0, 3, 1, 2).contiguous()
            if form.image_size is not None:
                images = resize_images(images, form.image_size, form.resize)
            yield images

    digest = hashlib.sha256(labels[rows].numpy().tobytes() + rows.numpy().tobytes())
    sample = _spread(len(rows))
    for kind, array in arrays.items():
        for severity in form.severities:
            digest.update(f"{kind} {severity} {array.shape[1:]}".encode())
            digest.update(array[places_of(severity)[sample]].tobytes())
    return OfficialImages(
        families=form.families,
        severities=form.severities,
        labels=labels[rows],
        identity=digest.hexdigest(),
        marks=form.marks,
        read=read,
        rows=rows,
    )


def map_array(file: Path) -> np.ndarray:
    """An array of a file, mapped.

    Raises:
        DataError: if it is missing or not a complete array.
    """
    try:
        check_regular(file)
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):  # an archive of several under this ending
            raise ValueError("an archive")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{show_name(file)}: must be a complete array (.npy), got "
            f"{' '.join(str(error).split())}. Fetch or write it again."
        ) from error
    return array


def _check_shapes(files: Mapping[str, Path], arrays: Mapping[str, np.ndarray], blocks: int) -> int:
    """The number of images in a block; all arrays must have one shape."""
    # If shapes differ, the most frequent one is correct; of equally frequent ones, the first.
    usual = Counter(array.shape for array in arrays.values()).most_common(1)[0][0]
    like = next(files[kind].name for kind, array in arrays.items() if array.shape == usual)
    for kind, array in arrays.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            rule, fix = "uint8 [rows, height, width, 3]", "Use files in the layout of CIFAR-10-C."
            got = f"{array.dtype} {list(array.shape)}"
            raise DataError(f"{show_name(files[kind])}: must be {rule}, got {got}. {fix}")
        if len(array) == 0 or len(array) % blocks:
            raise DataError(
                f"{show_name(files[kind])}: must have {blocks} blocks of images, one for each "
                f"severity, got {len(array)} rows. Fetch or write it again."
            )
        if array.shape != usual:
            raise DataError(
                f"{show_name(files[kind])}: must be {list(usual)} as {show_name(like)}, got "
                f"{list(array.shape)}. Fetch or write it again."
            )
    return int(usual[0]) // blocks


def _read_labels(
    folder: Path, stored: int, written: Sequence[int], n_classes: int | None
) -> Labels:
    """Labels of one block."""
    file, blocks = folder / "labels.npy", len(written)
    if not file.is_file():
        raise DataError(
            f"{show_name(folder)}: must have {file.name} next to the images, got none. It is "
            "published with them; add it."
        )
    labels = map_array(file)
    if labels.dtype.kind not in "iu" or labels.shape not in ((stored,), (blocks * stored,)):
        raise DataError(
            f"{show_name(file)}: must be integers [{blocks * stored}] or [{stored}], for {blocks} "
            f"severities of {stored} images, got {labels.dtype} {list(labels.shape)}. "
            "Use the file that belongs to these images."
        )
    by_severity = labels.astype(np.int64).reshape(-1, stored)
    for block, image in np.argwhere(by_severity != by_severity[0])[:1]:
        raise DataError(
            f"{show_name(file)}: must have the same labels for every severity, got a different "
            f"one at severity {written[block]}, image {image}. Fetch or write it again."
        )
    low, high = by_severity[0].min(), by_severity[0].max()
    if low < 0 or (n_classes is not None and high >= n_classes):
        rule = "from 0" if n_classes is None else f"from 0 to {n_classes - 1}"
        raise DataError(
            f"{show_name(file)}: labels must be {rule}, got {low if low < 0 else high}. "
            "Evaluate a network trained on the classes of these images."
        )
    return torch.from_numpy(by_severity[0].copy())


# -- The layout of ImageNet-C: TYPE/SEVERITY/CLASS/*, one file per image, decoded when read


class _CopyFiles(NamedTuple):
    """The files of one type at one severity.

    Attributes:
        names: paths below its folder, as bytes: an array is smaller than that many strings.
        digest: of names, sizes and the bytes of some files.
        checked, grey: number of those files, and of grey ones among them.
    """

    names: np.ndarray
    digest: str
    checked: int
    grey: int


def _open_folders(
    folder: Path, roots: Mapping[Cell, Path], classes: Sequence[str] | None, form: _Form
) -> OfficialImages:
    """Open folders of image files; every copy must have the same classes and names.

    Args:
        roots: folder of each type at each severity.
        classes: names that the class folders must have; None: any.
    """
    first = list_classes(next(iter(roots.values())))
    if classes is not None and list(first.classes) != list(classes):
        got = _difference(first.classes, classes) or "class folders in another order"
        if len(first.classes) != len(classes):
            got = f"{len(first.classes)} class folders for {len(classes)}"
        raise DataError(
            f"{show_name(folder)}: must have the network's classes in their order, that of their "
            f"names, got {got}. Rename the folders, or evaluate a network for these classes."
        )
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        copies = pool.map(lambda root: _read_copy(first, root), roots.values())
        files = dict(zip(roots, copies, strict=True))
    rows = form.draw_rows(first.labels)
    used = first.take(rows)

    def read(kind: str, severity: int) -> Iterator[ByteImages]:
        # Without a resize, all must have the size of the first.
        size = used.common_size(form.resize)
        root, names = str(roots[kind, severity]), files[kind, severity].names[rows.numpy()]
        decoder = Decoder(root, names, form.image_size, form.resize, size=size)
        yield from map(torch.from_numpy, decoder.blocks())

    digest = hashlib.sha256(rows.numpy().tobytes())
    for (kind, severity), copy in files.items():
        digest.update(f"{kind} {severity} {copy.digest}".encode())
    checked = sum(copy.checked for copy in files.values())
    grey = sum(copy.grey for copy in files.values())
    note = f"{grey} of {checked} checked files are grey; their channel is repeated three times"
    return OfficialImages(
        families=form.families,
        severities=form.severities,
        labels=used.labels,
        identity=digest.hexdigest(),
        marks=form.marks,
        read=read,
        rows=rows,
        classes=first.classes,
        names=used.stems,
        notes=(note,) if grey else (),
    )


def _difference(names: Sequence[str], others: Sequence[str]) -> str:
    """Which names are in only one of two lists; empty if none is."""
    odd = sorted(set(names) ^ set(others))
    return f"{few(odd)} in only one of them" if odd else ""


_NUMBER = r"\d+(\.\d+)?"


def _list_folders(folder: Path) -> dict[str, dict[int, Path]]:
    """Type -> severity -> its folder; types may be one level down, in folders of families."""

    def below(parent: Path) -> list[Path]:
        return sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] != ".")

    def numbered(parent: Path) -> list[Path]:
        return [path for path in below(parent) if re.fullmatch(_NUMBER, path.name)]

    found: dict[str, dict[int, Path]] = {}
    for outer in below(folder):
        for kind in [outer] if numbered(outer) else below(outer):
            # A number is a severity, if the folder of a type was given.
            if re.fullmatch(_NUMBER, kind.name) or not (severities := numbered(kind)):
                continue
            if kind.name in found:
                other = next(iter(found[kind.name].values())).parent
                raise DataError(
                    f"{show_name(folder)}: must have each type once, got {show_name(kind)} and "
                    f"{show_name(other)}. Remove one."
                )
            found[kind.name] = _list_severities(kind, severities)
    return dict(sorted(found.items()))


def _list_severities(kind: Path, paths: list[Path]) -> dict[int, Path]:
    """Severities are named 1 to 5, or by any five numbers in ascending order, as in parts of
    ImageNet-C-bar."""
    if all(re.fullmatch("[1-5]", path.name) for path in paths):
        return {int(path.name): path for path in paths}
    by_number = {float(path.name): path for path in paths}
    if not len(by_number) == len(paths) == len(corruption.SEVERITIES):
        names = sorted((path.name for path in paths), key=float)
        raise DataError(
            f"{show_name(kind)}: must have severities named 1 to 5, or five numbers, got "
            f"{', '.join(names)}. Add, remove or rename their folders."
        )
    return {severity: by_number[n] for severity, n in enumerate(sorted(by_number), start=1)}


def _read_copy(first: Listing, root: Path) -> _CopyFiles:
    """List the files of a copy, compare them with the first, and read 64 of them.

    Raises:
        DataError: if it has other classes or names, or one of those cannot be opened.
    """
    listing = first if root == first.root else list_classes(root)
    for what, theirs, ours in (
        ("classes", first.classes, listing.classes),
        ("images", first.stems, listing.stems),
    ):
        if theirs != ours:
            same = "the same images in another order, or one of them twice"
            raise DataError(
                f"{show_name(root)}: must have the {what} of {show_name(first.root)}, got "
                f"{_difference(theirs, ours) or same}. Unpack both again."
            )
    names = listing.names
    digest = hashlib.sha256(names.tobytes())
    digest.update(np.array([file.size for file in listing.files]).tobytes())
    sampled = [root / listing.files[row].name for row in _spread(len(names))]
    for file in sampled:
        try:
            digest.update(read_regular(file, MOST_READ_BYTES))
        except OSError as error:
            raise DataError(
                f"{show_name(file)}: must be a readable file, got {error.strerror}. "
                "Unpack it again, or change its owner."
            ) from error
    return _CopyFiles(names, digest.hexdigest(), len(sampled), sum(map(is_grey, sampled)))
