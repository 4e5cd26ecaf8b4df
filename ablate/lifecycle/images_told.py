"""What is in the image files that a study file names, as `ablate check` tells it."""

from __future__ import annotations

from pathlib import Path

from ablate.files.cache import cache_folder
from ablate.files.shown import show_name
from ablate.study.settings import Study, path_from

DECODED_BY_CHECK = 1000
"""Number of image files up to which all of them are decoded, in seconds; of more, a sample of about
as many."""


def image_lines(study: Study, base: Path) -> tuple[list[str], list[str]]:
    """What is in the study's image files: classes and counts, and notes; of missing folders, a note
    alone.

    Raises:
        DataError: naming what a launch would refuse: classes, unreadable files, mixed sizes.
    """
    settings = study.dataset
    named = {"path": settings.path, "unlabeled": settings.unlabeled}
    folders = {
        f"dataset.{key}": path_from(base, path).resolve()
        for key, path in named.items()
        if path is not None
    }
    missing = [key for key in folders if not folders[key].is_dir()]
    if missing or not (settings.name == "image_folder" or settings.unlabeled):
        return [], [f"{key} does not exist yet: {show_name(folders[key])}" for key in missing]
    from ablate.data.load import scan_files  # which loads torch

    scan = scan_files(settings, base, most=DECODED_BY_CHECK, cache=cache_folder())
    if scan is None:
        return [], []
    scan.refuse(
        skip_unreadable=settings.skip_unreadable,
        resize=settings.resize,
        image_size=settings.image_size or 32,
    )
    return list(scan.summary()), list(scan.notes(skip_unreadable=settings.skip_unreadable))
