"""The spaces that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.space.dimension import CategoricalDimension, Dimension
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.read import parse_study
from ablate.vocabulary import names_for

FOLDER = Path(ablate.__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("**/*.yaml"))
HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\nspace: "


def test_they_are_there() -> None:
    assert {"joint.yaml", "fma.yaml", "st.yaml", "mix.yaml"} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_space_that_ships_is_right_and_says_what_it_is(file: Path) -> None:
    assert file.read_text().startswith("# ")
    names = names_for("resnet8")
    study = parse_study(HEAD + file.name, "s.yaml", names=lambda _: names, base=FOLDER)
    space = parse_space(study, names)
    assert len(space) > 1
    drawn: set[str] = set()
    for terms in _choices_of_terms(space):
        drawn |= set(space.draw(lambda dimension, terms=terms: _any(dimension, terms)).values)
    assert drawn == set(space.keys), "each parameter can come to be searched"


def _choices_of_terms(space: Space) -> tuple[str, ...]:
    domains = {parameter.key: parameter.domain for parameter in space.parameters}
    return domains["loss.terms"].examples() if "loss.terms" in domains else ("clean",)


def _any(dimension: Dimension, terms: str) -> Any:
    if dimension.name == "loss.terms":
        return terms
    return dimension.choices[-1] if isinstance(dimension, CategoricalDimension) else dimension.low
