"""A digest of the code that generates corrupted images, for the keys of stored copies."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_SOURCES = (
    *("distortion/*.py", "robustness/corruption/*.py"),
    *("robustness/evaluation_set.py", "study/seeds.py"),
)
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow")
"""Their codecs, filters and random draws affect the pixels."""


@cache
def code_version() -> str:
    """A digest of the source files that produce pixels, and of the versions of libraries.

    A changed comment changes it too: then sets are regenerated needlessly, but a set is never
    mistaken for another one.
    """
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for file in sorted(_PACKAGE.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            digest.update(file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()[:16]
