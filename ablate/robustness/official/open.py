"""Corrupted images as their authors publish them, in either of the two layouts.

    CIFAR-10-C, CIFAR-100-C, CIFAR-10-C-bar           TYPE.npy and labels.npy
    ImageNet-C, Tiny-ImageNet-C, ImageNet-C-bar       TYPE/SEVERITY/CLASS/*.JPEG

What `ablate corrupt` writes has the same layouts, and its manifest is read beside them.

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261; -bar: Mintun et al. 2021,
arXiv:2102.11273.  The files come from a folder that the user names, and keep their licence:
CIFAR-10-C, CIFAR-100-C, ImageNet-C and Tiny-ImageNet-C are on zenodo.org, where each says its
licence (a mirror states CC BY 4.0 for CIFAR-10-C); the code of the -bar sets is at
github.com/facebookresearch/augmentation-corruption.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.files.shown import few, show_name
from ablate.robustness import corruption
from ablate.robustness.official.arrays import list_arrays, open_arrays
from ablate.robustness.official.folders import list_folders, open_folders
from ablate.robustness.score import CorruptedImages
from ablate.robustness.suites import find_suite

OFFICIAL = "official files"
"""The mark of scores on files that were published."""

WRITTEN = "files written by ablate corrupt"
"""The mark of scores on files that have a manifest of `ablate corrupt`."""

DISTORTIONS = "training distortions, not the benchmark's corruptions"
"""The mark of such files where a suite of training distortions made them."""

OTHER = "other"
"""Family of what is not among the nineteen, as the -bar corruptions."""

_LAYOUTS = "TYPE.npy with labels.npy, or TYPE/SEVERITY/CLASS/*.JPEG"


def open_official(
    folder: Path,
    *,
    types: Sequence[str] | None = None,
    severities: Sequence[int] = corruption.SEVERITIES,
    image_size: int | None = None,
    resize: int | None = None,
    classes: Sequence[str] | None = None,
    n: int | None = None,
) -> CorruptedImages:
    """Official files, ready to be read block by block; the layout is found by what is there.

    Args:
        folder: that holds the types, or, of folders, the families that hold them.
        types: which; None: all that are there, the nineteen in the order of every table, then the
            others by name.
        severities: which, each from 1 to 5.
        image_size: side in pixels of the images; None: as they are stored.
        resize: shorter side in pixels that they are brought to before the middle is cut.
        classes: of the network. Names of class folders must be these; labels in a file must be
            below their number. None: nothing is compared.
        n: images of each copy: so many, balanced over classes, the same images of every type, those
            that `draw_stratified` draws with seed 0. None: all.

    Raises:
        ParameterError: if `types` or `severities` is empty, `n` is below 1, or `resize` is below
            `image_size` or without it.
        DataError: if the folder has neither layout, a type or severity is missing, or the files
            do not fit each other or the classes.
    """
    if types is not None and not types:
        raise ParameterError("types: must name at least one corruption, got none. Add one.")
    if not severities:
        raise ParameterError("severities: must name at least one from 1 to 5, got none. Add one.")
    if n is not None and n < 1:
        raise ParameterError(f"n: must be at least 1, got {n}. Correct it.")
    if resize is not None and resize < (image_size or math.inf):
        raise ParameterError(
            f"resize: must be at least image_size, got {resize} with {image_size or 'none'}. "
            "Correct it; the image is resized first and cropped after."
        )
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must have {_LAYOUTS}, got no such folder. Correct the path."
        )
    manifest = _read_manifest(folder)
    arrays = list_arrays(folder)
    if types is None and manifest is None:
        _check_whole(folder, arrays or list_folders(folder))
    if arrays:
        families = _choose(folder, arrays, types)
        written = corruption.SEVERITIES if manifest is None else _severities(folder, manifest)
        _check_severities(folder, severities, written)
        return open_arrays(
            folder,
            {kind: arrays[kind] for kinds in families.values() for kind in kinds},
            families,
            written=written,
            severities=tuple(severities),
            image_size=image_size,
            resize=resize,
            n_classes=None if classes is None else len(classes),
            n=n,
            marks=_marks(manifest, families),
        )
    trees = list_folders(folder)
    if not trees:
        there = few(sorted(path.name for path in folder.iterdir()), 6) or "an empty folder"
        raise DataError(
            f"{show_name(folder)}: must have {_LAYOUTS}, got {there}. "
            "Unpack the files there, or name the folder that holds the types."
        )
    families = _choose(folder, trees, types)
    chosen = [kind for kinds in families.values() for kind in kinds]
    for kind in chosen:
        root = next(iter(trees[kind].values())).parent
        _check_severities(root, severities, tuple(trees[kind]))
    return open_folders(
        folder,
        {(kind, severity): trees[kind][severity] for kind in chosen for severity in severities},
        families,
        severities=tuple(severities),
        image_size=image_size,
        resize=resize,
        classes=_class_folders(manifest, classes),
        n=n,
        marks=_marks(manifest, families),
    )


def _check_whole(folder: Path, there: Collection[str]) -> None:
    """Refuse most of the benchmark's fifteen without the rest: a download that broke off would
    get a mean that nobody else has."""
    missing = [kind for kind in corruption.BENCHMARK if kind not in there]
    if missing and 2 * len(missing) < len(corruption.BENCHMARK):
        raise DataError(
            f"{show_name(folder)}: must have the benchmark's {len(corruption.BENCHMARK)}, got them "
            f"without {', '.join(missing)}. Add the files, or name the types to score."
        )


def _class_folders(
    manifest: Mapping[str, Any] | None, classes: Sequence[str] | None
) -> Sequence[str] | None:
    """The folders of these classes: their names, but where `ablate corrupt` gave them others."""
    source = (manifest or {}).get("source")
    given = source.get("folders") if isinstance(source, dict) else None
    if classes is None or not isinstance(given, dict):
        return classes
    return [str(given.get(name, name)) for name in classes]


def _choose(
    folder: Path, there: Collection[str], types: Sequence[str] | None
) -> dict[str, tuple[str, ...]]:
    """Family -> its types, of those that are wanted and there."""
    wanted = list(there) if types is None else list(types)
    missing = [kind for kind in dict.fromkeys(wanted) if kind not in there]
    if missing:
        fix = did_you_mean(missing[0], sorted(there))
        if missing[0] in corruption.CORRUPTIONS or not fix.startswith("Did you mean"):
            fix = "Add the files, or choose types that exist."
        raise DataError(
            f"{show_name(folder)}: must have {', '.join(map(show_name, missing))}, got only "
            f"{', '.join(map(show_name, sorted(there)))}. {fix}"
        )
    families = {
        family: tuple(kind for kind in kinds if kind in wanted)
        for family, kinds in corruption.FAMILIES.items()
    }
    families[OTHER] = tuple(sorted(set(wanted) - set(corruption.CORRUPTIONS)))
    return {family: kinds for family, kinds in families.items() if kinds}


def _check_severities(where: Path, wanted: Sequence[int], there: Sequence[int]) -> None:
    missing = [str(severity) for severity in wanted if severity not in there]
    if missing:
        raise DataError(
            f"{show_name(where)}: must have severity {', '.join(missing)}, got "
            f"{', '.join(map(str, sorted(there)))}. Choose severities that exist."
        )


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{show_name(file)}: must be a file written by ablate corrupt, got "
            f"{' '.join(str(error).split())}. Write the files again, or remove it."
        ) from error
    if not isinstance(manifest, dict):
        raise DataError(
            f"{show_name(file)}: must be a file written by ablate corrupt, got a "
            f"{type(manifest).__name__}. Write the files again, or remove it."
        )
    if manifest.get("finished") is False:
        raise DataError(
            f"{show_name(folder)}: must be finished, got an incomplete copy. "
            "Remove it and write it again."
        )
    return manifest


def _severities(folder: Path, manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """Those whose blocks the arrays have, in their order."""
    found = manifest.get("severities", corruption.SEVERITIES)
    if (
        not isinstance(found, list | tuple)
        or not found
        or not all(severity in corruption.SEVERITIES for severity in found)
        or len(set(found)) < len(found)
    ):
        raise DataError(
            f"{show_name(folder / 'manifest.json')}: severities must be distinct and from 1 to 5, "
            f"got {found!r}. Write the files again."
        )
    return tuple(int(severity) for severity in found)


def _marks(
    manifest: Mapping[str, Any] | None, families: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if manifest is None:
        return (OFFICIAL,)
    marks = [WRITTEN]
    with suppress(ParameterError):
        if find_suite(str(manifest.get("suite"))).made_by == "distortion":
            marks.append(DISTORTIONS)
    frost = manifest.get("frost")
    if "frost" in families.get("weather", ()) and isinstance(frost, str):  # no photographs
        marks.append(frost)
    return tuple(marks)
