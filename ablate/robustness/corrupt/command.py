"""`ablate corrupt`: a corrupted copy of a folder or a data set, or a contact sheet of one image.

For images in memory use `ablate.corrupt`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ablate.data import NAMED
from ablate.errors import ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder, writing
from ablate.files.shown import bytes_text, show_name
from ablate.model.environment import resolve_environment
from ablate.robustness.corrupt.files import (
    MANIFEST,
    ImageFormat,
    Layout,
    is_unfinished,
    write_corrupted,
)
from ablate.robustness.corrupt.source import SourceImages, read_folder, read_named
from ablate.robustness.corruption.frost_photographs import load_frost
from ablate.robustness.evaluation.argument_checks import named_by_options, read_severities
from ablate.robustness.evaluation_set import Recipe
from ablate.robustness.suites import ANY, find_suite, restrict
from ablate.study.callables import is_callable_name
from ablate.study.provenance import usable_cores, versions

_PACKAGES = ("ablate", "torch", "numpy", "pillow")
_MOST_WORKERS = 8


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

    Args:
        source: a name of a data set, or a folder with CLASS/*, test/CLASS/*, val/CLASS/*, or
            images without classes.
        output: folder that does not exist, or is empty.
        data: folder of a named data set's files.
        recipe: the corruptions to apply.
        layout: None: "npy" for data sets, "images" for folders.
        image_size, resize: for folders; None: each image at its own size.
        workers: threads; None: one for each core, up to 8.
        progress: called with the number of written images and the total.
        say: called with notes about the images, one line each.

    Returns:
        The manifest.

    Raises:
        UsageError: if the output is not empty, or the disk has no room for its arrays (the size of
            image files is not known in advance).
        DataError: if images are missing, unreadable, or of several sizes for one array.
    """
    _check_empty(output)
    threads = workers or min(_MOST_WORKERS, usable_cores())
    with named_by_options():
        images = _read(
            source,
            data,
            image_size=image_size,
            resize=resize,
            skip_unreadable=skip_unreadable,
            workers=threads,
        )
    for note in images.notes:
        say(note)
    chosen: Layout = layout or ("images" if images.is_folder else "npy")
    resolve_environment("fp32", threads=threads, device="cpu").apply()  # keeps freed memory
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    if chosen == "npy":
        _check_room(output, images, recipe)
    return write_corrupted(
        images,
        recipe,
        output,
        layout=chosen,
        image_format=image_format,
        workers=threads,
        made_with=versions(_PACKAGES),
        progress=progress,
    )


def make_recipe(
    suite: str | None,
    types: Sequence[str] | None,
    severities: Sequence[int],
    seed: int,
    frost_images: Path | None,
) -> Recipe:
    """Check the options of a command and make the recipe.

    Args:
        suite: name; None: all types, or those of `types`.
        types: types of the suite; None: all.
        frost_images: folder of photographs, read if frost is among the types.

    Raises:
        ParameterError: if a name is unknown or a severity is not from 1 to 5.
        DataError: if the photographs cannot be read.
    """
    wanted = read_severities(severities)
    with named_by_options():
        if suite is None and types is not None:
            chosen = find_suite(restrict(ANY, types).types)
        else:
            chosen = find_suite("all" if suite is None else suite)
            chosen = chosen if types is None else restrict(chosen, types)
    frost = None
    if frost_images is not None and "frost" in chosen.types:
        frost = load_frost(frost_images)
    return Recipe(chosen, wanted, seed, frost)


def _check_empty(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: must be a new folder, got a file. Name another.")
    if output.is_dir() and any(output.iterdir()):
        state = "a copy" if (output / MANIFEST).exists() else "files without a manifest"
        if is_unfinished(output):
            state = "an incomplete copy"
        raise UsageError(
            f"{output}: must be a new or an empty folder, got {state} in it. Remove it, or choose "
            "another folder."
        )


def _read(
    source: str,
    data: Path | None,
    *,
    image_size: int | None,
    resize: int | None,
    skip_unreadable: bool,
    workers: int,
) -> SourceImages:
    if source in NAMED or is_callable_name(source):
        if resize is not None:
            raise ParameterError(
                f"--resize: applies only to folders of image files, got it with {source}. Leave it "
                "out."
            )
        return read_named(source, data, image_size, cache_folder())
    if data is not None:
        raise ParameterError(
            f"--data: is the folder of a named data set, got it with {source!r}. "
            f"{did_you_mean(source, NAMED)}"
        )
    folder = Path(source)
    if not folder.exists():
        raise UsageError(
            f"SOURCE: must be an existing folder or the name of a data set, got {source!r}. "
            f"{did_you_mean(source, NAMED)}"
        )
    if folder.is_file():
        raise UsageError(
            f"SOURCE: must be a folder or a data set, got the file {show_name(folder)}. "
            "For a contact sheet of one image give --sheet FILE.png instead of OUTPUT."
        )
    return read_folder(folder, image_size, resize, skip_unreadable=skip_unreadable, workers=workers)


def _check_room(output: Path, images: SourceImages, recipe: Recipe) -> None:
    copies = len(recipe.suite.types) * len(recipe.severities)
    needed = copies * sum(3 * height * width for height, width in images.sizes)
    free = shutil.disk_usage(output).free
    if needed > free:
        raise UsageError(
            f"{output}: must have room for arrays of {bytes_text(needed)}, got {bytes_text(free)}. "
            "Choose another folder, fewer types or fewer severities."
        )
