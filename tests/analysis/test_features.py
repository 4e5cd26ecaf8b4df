"""Resolved parameters as columns of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ablate.analysis.features import varying_features

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
    found = varying_features(params, space)
    return {feature.name: (feature.kind, feature.values.tolist()) for feature in found}


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


def test_a_choice_of_lists_is_one_parameter_and_a_block_is_opened() -> None:
    found = columns({"types": ["a"], "wd": 1}, {"types": ["a", "b"], "wd": 10})
    assert found == {"types": ("choice", [0, 1]), "wd": ("log", [0, 1])}


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
    found = {one.name: one for one in varying_features(params, space)}
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


def test_what_a_condition_left_out_is_not_a_number() -> None:
    found = columns({"w": 1.0}, {}, {"w": math.inf}, {"w": 3.0}, space={})
    kind, values = found["w"]
    assert kind == "number"
    assert np.isnan(values).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    "params", [[], [{}], [{"a": 1}], [{"a": 1}, {"a": 1}, {}], [{"a": "x"}, {"a": "x"}]]
)
def test_what_does_not_vary_is_no_feature(params: list[dict[str, Any]]) -> None:
    assert columns(*params) == {}


def test_a_space_that_is_a_file_name_says_nothing() -> None:
    assert columns({"lr": 0.01}, {"lr": 0.1}, space="joint.yaml")["lr"][0] == "number"
