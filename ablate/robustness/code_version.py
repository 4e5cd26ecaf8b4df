"""A digest of the code that makes corrupted images, for the keys of stored copies."""

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
"""Their codecs, filters and draws are part of the pixels."""


@cache
def code_version() -> str:
    """A digest of the source files that pixels come out of, and of the libraries' versions.

    A changed comment changes it too: sets are made again for nothing then, and never taken for
    what they are not.
    """
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for file in sorted(_PACKAGE.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            digest.update(file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {version(library)}\0".encode())
    return digest.hexdigest()[:16]
