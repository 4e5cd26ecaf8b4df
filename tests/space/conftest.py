"""Spaces from text, over names that are fixed, so that messages are too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.study_file import parse_study
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.settings import Study

NAMES: Mapping[str, Sequence[str]] = {
    "dataset.name": ("digits",),
    "model.name": ("resnet8", "resnet20"),
    "loss.terms": ("clean", "da", "st", "fma"),
    "loss.st.form": ("cross_entropy",),
    "loss.fma.distance": ("relative", "mse", "cosine"),
    "loss.fma.layers": ("stem", "stage1", "stage2", "stage3"),
    "augment.families": ("noise", "blur", "photometric"),
    "augment.types": ("gaussian_noise", "hue", "jpeg"),
}
HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"

# Every kind of domain, with conditions on two levels.
WHOLE = """
loss.terms: {choice: [clean+da, clean+st, clean+fma, clean+st+fma]}
fma:
  when: {loss.terms: {contains: fma}}
  parameters:
    loss.fma.weight: {float: [0.01, 30], log: true}
    loss.fma.layers: {subset: taps}
    loss.fma.layer_weights: {simplex: loss.fma.layers}
    loss.fma.distance: {choice: [relative, mse]}
    relative:
      when: {loss.fma.distance: relative}
      parameters: {loss.fma.anchor: {choice: [clean, both]}}
loss.st.weight: {float: [0.5, 2], step: 0.25, when: {loss.terms: {in: [clean+st, clean+st+fma]}}}
augment.mix: {simplex: augment.families}
augment.families: {subset: [noise, blur, photometric]}
finetune.batch_size: {int: [16, 256], log: true}
finetune.budget.epochs: {int: [1, 7], step: 2}
baseline.learning_rate: {choice: [0.1, 0.01]}
"""


def indented(space: str) -> str:
    return "".join(f"  {line}\n" for line in space.strip().splitlines())


def study_with(space: str, study: str = "") -> Study:
    text = f"{HEAD}{study}space:\n{indented(space)}"
    return parse_study(text, "s.yaml", names=lambda _: NAMES, base=Path())


def space_of(space: str, study: str = "") -> Space:
    return parse_space(study_with(space, study), NAMES)


@pytest.fixture(scope="session")
def whole() -> Space:
    return space_of(WHOLE)


@pytest.fixture
def whole_text() -> str:
    return WHOLE


@pytest.fixture
def make_space() -> Callable[..., Space]:
    return space_of


@pytest.fixture
def make_study() -> Callable[..., Study]:
    return study_with


@pytest.fixture
def names() -> Mapping[str, Sequence[str]]:
    return NAMES


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Every problem of a space, without the file; its first line is line 1, column 1."""

    def of(space: str, study: str = "") -> list[str]:
        above = len(f"{HEAD}{study}".splitlines()) + 1
        try:
            study_with(space, study)
        except StudyFileError as error:
            return [f"{problem.line - above}: {problem.message}" for problem in error.problems]
        return []

    return of
