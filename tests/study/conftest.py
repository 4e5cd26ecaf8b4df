"""Names as the packages to the right would give them, fixed so that messages are too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.study_file import parse_study

NAMES: Mapping[str, Sequence[str]] = {
    "dataset.name": ("digits", "image_folder"),
    "model.name": ("resnet8", "resnet20"),
    "loss.terms": ("clean", "da", "st", "fma"),
    "loss.st.form": ("cross_entropy",),
    "loss.fma.distance": ("relative", "mse", "cosine"),
    "loss.fma.layers": ("stem", "stage1", "stage2", "stage3"),
    "augment.families": ("noise", "blur", "photometric"),
    "augment.types": ("gaussian_noise", "hue", "jpeg"),
    "search.sampler": ("auto", "tpe", "random", "nsga2", "gp", "qmc"),
    "robustness.suite": ("families",),
    "objectives.metric": (
        "val_clean_accuracy",
        "val_robust_accuracy",
        "val_accuracy.gaussian_noise.2",
        "train_seconds",
    ),
}
HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"


def without_columns(error: StudyFileError) -> list[str]:
    """The problems, one line each, with the line of each in its file."""
    return re.sub(r":(\d+):\d+: ", r":\1: ", str(error)).splitlines()


@pytest.fixture(scope="session")
def names() -> Mapping[str, Sequence[str]]:
    return NAMES


@pytest.fixture
def head() -> str:
    """The four lines that every study needs; what a test adds begins on line 5."""
    return HEAD


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[str]]:
    """Every problem of a text, one line each; empty where there is none."""

    def of(text: str, *overrides: str, must_search: bool = False) -> list[str]:
        given = {"base": tmp_path, "must_search": must_search}
        try:
            parse_study(text, "s.yaml", overrides, names=lambda _: NAMES, **given)
        except StudyFileError as error:
            return without_columns(error)
        return []

    return of
