"""The spaces that ship."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.space.domain import CategoricalDimension, Dimension
from ablate.space.parse import parse_space
from ablate.space.space import Space

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
    for fixed in _combinations(space):
        drawn |= set(space.draw(lambda dimension, fixed=fixed: _any(dimension, fixed)).values)
    assert drawn == set(space.keys), "each parameter can come to be searched"


def _combinations(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the choices on which something depends."""
    asked = {condition.key for parameter in space.parameters for condition in parameter.when}
    domains = {one.key: one.domain for one in space.parameters if one.key in asked}
    for values in itertools.product(*(domain.examples() for domain in domains.values())):
        yield dict(zip(domains, values, strict=True))


def _any(dimension: Dimension, fixed: dict[str, Any]) -> Any:
    if dimension.name in fixed:
        return fixed[dimension.name]
    return dimension.choices[-1] if isinstance(dimension, CategoricalDimension) else dimension.low
