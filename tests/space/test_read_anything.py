"""Whatever stands in a study file, it becomes a study or a StudyFileError, nothing else."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.study_file import parse_study
from ablate.space.domain import CategoricalDimension, Dimension
from ablate.space.parse import parse_space
from ablate.study.settings import Study

WRONG: list[Any] = [
    *[None, True, 0, -1, 1e400, 10**30, "", "x", "taps", "a+b", [], [1], ["noise"], {}, [[["a"]]]],
    *[{"a": 1}, ["noise", "noise"], {"float": [0, 1]}, {"subset": "taps"}, {"when": {}}],
    *[{"simplex": "augment.families"}, {"choice": [[1], {"a": 2}]}, {"parameters": {}}],
    *[{"in": [{}]}, {"contains": None}, {"when": {"loss.terms": {"contains": ["a"]}}}],
]
KEYS = ("unknown", "loss.st.weight", "when", "space", "log", "step", "int")


def paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from paths(node[key], (*path, key))


def spoil(data: dict[str, Any], rng: random.Random) -> None:
    """Replace, remove or add something, anywhere."""
    *above, last = rng.choice(list(paths(data)))
    node: Any = data
    for key in above:
        node = node[key]
    kind = rng.random()
    if kind < 0.6:
        node[last] = copy.deepcopy(rng.choice(WRONG))
    elif kind < 0.8:
        del node[last]
    elif isinstance(node, dict):
        node[rng.choice(KEYS)] = copy.deepcopy(rng.choice(WRONG))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_file_gives_another_exception(
    make_study: Callable[..., Study], whole_text: str, names: Mapping[str, Sequence[str]], seed: int
) -> None:
    whole_study = make_study(whole_text).model_dump(mode="json")
    rng = random.Random(seed)

    def ask(dimension: Dimension) -> Any:
        if isinstance(dimension, CategoricalDimension):
            return rng.choice(dimension.choices)
        return rng.choice([dimension.low, dimension.high])

    right = 0
    for _ in range(75):
        data = copy.deepcopy(whole_study)
        for _ in range(rng.choice([1, 1, 2, 4])):
            spoil(data, rng)
        text = json.dumps(data).replace("Infinity", ".inf")
        try:
            study = parse_study(text, "s.yaml", names=lambda _: names, base=Path())
        except StudyFileError:
            continue
        # What is let through can be drawn from, and each point of it is a study.
        params = parse_space(study, names).draw(ask)
        study.with_values(dict(params.values))
        parse_space(study, names).encode(params.values)
        right += 1
    assert 0 < right < 75
