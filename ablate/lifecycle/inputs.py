"""What a study file names on the disk, as `ablate check` tells it: files that are missing, and what
its images are like.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ablate.files.cache import cache_folder
from ablate.files.shown import show_name
from ablate.model import is_external
from ablate.study.settings import Study, path_from

DECODED_BY_CHECK = 1000
"""Number of image files up to which all of them are decoded, in seconds; of more, a sample of about
as many."""


def missing_inputs(study: Study, base: Path) -> Iterator[str]:
    """Folders and files that the study names and that are not there, one line each."""
    dataset, checkpoint = study.dataset.path, study.baseline.checkpoint
    if dataset is not None and not (folder := path_from(base, dataset).resolve()).is_dir():
        yield f"dataset.path does not exist yet: {show_name(folder)}"
    if checkpoint is not None and not is_external(checkpoint):
        file = path_from(base, checkpoint).resolve()
        if not file.is_file():
            yield f"baseline.checkpoint does not exist yet: {show_name(file)}"


def image_lines(study: Study, base: Path) -> tuple[list[str], list[str]]:
    """What is in the study's image files: classes and counts, and notes; nothing if they are
    missing, or there are no such files.

    Raises:
        DataError: naming what a launch would refuse: classes, unreadable files, mixed sizes.
    """
    settings = study.dataset
    named = [path for path in (settings.path, settings.unlabeled) if path is not None]
    if not named or not all(path_from(base, path).is_dir() for path in named):
        return [], []
    from ablate.data.load import scan_files  # which loads torch

    scan = scan_files(settings, base, most=DECODED_BY_CHECK, cache=cache_folder())
    if scan is None:
        return [], []
    scan.refuse(
        skip_unreadable=settings.skip_unreadable,
        resize=settings.resize,
        image_size=settings.image_size or 32,
    )
    return list(scan.summary()), list(scan.notes())
