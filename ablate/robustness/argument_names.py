"""Keys of a study in a message, spelled as the options of `ablate evaluate`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ablate.errors import StudyFileError, UsageError

# Longer ones first; what a study file sets, a command line gives.
_SPELT = {
    "Set dataset.download: true, or set dataset.path to its folder.": "Set --data to its folder.",
    "Remove them and set dataset.download: true.": "Download them again.",
    "Give its path relative to the study file.": "Correct the path.",
    "; relative paths start at the study file's folder": "",
    "Set baseline.checkpoint: FILE, or leave it out.": "Give --checkpoint FILE.",
    "set baseline.checkpoint: FILE": "give --checkpoint FILE",
    "baseline.checkpoint": "--checkpoint",
    "Name its network in model.name": "Name its network as MODEL",
    "needs model.name: ": "needs MODEL ",
    "model.name": "MODEL",
    "Remove it, or set dataset.name to image_folder.": "Leave it out.",
    "dataset.path": "--data",
    "dataset.name": "--dataset",
    "dataset.image_size": "--image-size",
    "Set dataset.resize: ": "Give --resize ",
    "dataset.resize": "--resize",
    "run.precision: fp16 needs": "--precision: fp16 needs",
    "robustness.suite": "--suite",
}


@contextmanager
def spelt_as_options() -> Iterator[None]:
    """The block's wrong use, named by the options that a command has."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        for key, option in _SPELT.items():
            text = text.replace(key, option)
        text = re.sub(r"(?<!-)\btypes: must", "--types: must", text)
        text = re.sub(r"(--suite: .*) Write \[(\w+)\]\.", r"\1 Give --types \2.", text)
        if text == str(error) or isinstance(error, StudyFileError):
            raise
        raise type(error)(text) from error
