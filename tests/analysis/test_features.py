"""Resolved parameters as columns of numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ablate.analysis.features import find_params, trial_features
from ablate.errors import ParameterError

SPACE = {
    "lr": {"float": [0.001, 0.1], "log": True},
    "mixed": {
        "when": {"lr": 1},
        "parameters": {
            "types": {"choice": [["a"], ["a", "b"]]},
            "wd": {"int": [1, 9], "log": True},
        },
    },
}


def columns(*params: dict[str, Any], space: Any = SPACE) -> dict[str, tuple[str, list[float]]]:
    found = (feature for feature in trial_features(params, space) if feature.varies)
    return {
        ".".join(filter(None, (one.key, one.part))): (one.kind, one.values.tolist())
        for one in found
    }


def test_each_kind_of_value_has_its_columns() -> None:
    found = columns(
        {"lr": 0.01, "s": 1, "on": True, "layers": ["x"], "mix": {"p": 1.0}, "k": "b"},
        {"lr": 0.1, "s": 2.5, "on": False, "layers": ["x", "y"], "mix": {"q": 1.0}, "k": "a"},
    )
    assert found == {
        "k": ("choice", [1, 0]),
        "layers.y": ("flag", [0, 1]),  # x is in both: it tells nothing
        "lr": ("log", [-2, -1]),
        "mix.p": ("number", [1, 0]),
        "mix.q": ("number", [0, 1]),
        "on": ("flag", [1, 0]),
        "s": ("number", [1, 2.5]),
    }


def test_a_number_has_the_range_of_its_space_and_a_choice_its_choices() -> None:
    space = {
        "lr": {"float": [0.001, 0.1], "log": True},
        "batch": {"int": [8, 500], "log": True},
        "depth": {"int": [1, 9], "step": 2},
        "drop": {"float": [0, 0.5], "step": 0.125},
        "copies": {"int": [1, 8]},
        "strength": {"float": [0, 1]},
        "kind": {"choice": ["b", None, "a"]},
    }
    params = [
        {"lr": 0.01, "batch": 9, "depth": 3, "drop": 0.25, "kind": "a", "other": 1.0}
        | {"copies": 1, "strength": 0.1},
        {"lr": 0.02, "batch": 99, "depth": 5, "drop": 0.5, "kind": "b", "other": 2.0}
        | {"copies": 8, "strength": 0.9},
    ]
    found = {one.name: one for one in trial_features(params, space)}
    ranges = {name: (one.ends, one.places) for name, one in found.items()}
    assert ranges == {
        "lr": ((-3.0, -1.0), None),
        "batch": ((math.log10(8), math.log10(500)), 10),
        "depth": ((1.0, 9.0), 5),
        "drop": ((0.0, 0.5), 5),
        "copies": ((1.0, 8.0), 8),
        "strength": ((0.0, 1.0), None),
        "kind": (None, None),
        "other": (None, None),
    }
    assert found["kind"].choices == ("b", "None", "a")
    assert found["kind"].values.tolist() == [2, 0]


KEYS = ("loss.fma.weight", "loss.st.weight", "augment.mix.noise", "augment.mix.blur", "rate")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("param.rate", ["rate"]),
        ("fma.weight", ["loss.fma.weight"]),
        ("mix", ["augment.mix.noise", "augment.mix.blur"]),
        ("mix.noise", ["augment.mix.noise"]),
    ],
)
def test_a_parameter_may_be_named_by_its_end(name: str, keys: list[str]) -> None:
    assert find_params([name, name], KEYS) == keys


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weight", "must be one parameter, got weight, which is short for loss.fma.weight, "
                   "loss.st.weight. Write more of the key."),
        ("rat", "must be parameters of the study, got rat. Did you mean rate?"),
        ("", "must be parameters of the study, got nothing. Known: "),
    ],
)  # fmt: skip
def test_a_name_that_means_no_parameter_is_refused(name: str, said: str) -> None:
    with pytest.raises(ParameterError) as error:
        find_params([name], KEYS)
    assert str(error.value).startswith(f"`params`: {said}")
