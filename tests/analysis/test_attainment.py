"""What is attained over studies and over seeds: levels, empties, directions, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row

from ablate.analysis.attainment import AttainedSet, attainment_info, surfaces
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


def sets_of(*sets: list[tuple[float, float]]) -> list[AttainedSet]:
    return [
        AttainedSet(str(at), np.arange(len(values)), np.array(values, dtype=float).reshape(-1, 2))
        for at, values in enumerate(sets)
    ]


def corners(*sets: list[tuple[float, float]], objectives: Any = (UP, UP)) -> dict[str, Any]:
    found = surfaces(sets_of(*sets), objectives)
    return {one.name: (one.attained_by, sorted(map(tuple, one.corners.tolist()))) for one in found}


def test_best_median_and_worst_of_three() -> None:
    found = corners([(3, 1), (1, 3)], [(2, 2)], [(1, 1)])
    assert found == {
        "best": (1, [(1, 3), (2, 2), (3, 1)]),
        # Two of three reach (2, 1) and (1, 2): the first set's arms, cut by the second.
        "median": (2, [(1, 2), (2, 1)]),
        "worst": (3, [(1, 1)]),
    }


def test_a_minimised_objective() -> None:
    found = corners([(3, 10)], [(2, 5)], [(1, 20)], objectives=(UP, DOWN))
    assert found == {
        "best": (1, [(2, 5), (3, 10)]),
        "median": (2, [(2, 10)]),
        "worst": (3, [(1, 20)]),
    }


def test_two_sets_have_no_median_and_one_set_has_nothing() -> None:
    assert corners([(2, 1)], [(1, 2)]) == {"best": (1, [(1, 2), (2, 1)]), "worst": (2, [(1, 1)])}
    assert corners([(2, 1)], [(2, 1)]) == {"best": (1, [(2, 1)]), "worst": (2, [(2, 1)])}
    assert corners([(2, 1)]) == {}
    assert corners([], []) == {}


def test_an_empty_set_attains_nothing_and_counts() -> None:
    found = corners([(2, 2)], [], [(1, 1)], [])
    assert found == {"best": (1, [(2, 2)]), "median": (2, [(1, 1)]), "worst": (4, [])}


@pytest.mark.parametrize("count", [3, 6, 7, 11])
def test_levels_agree_with_the_definition(count: int) -> None:
    random = np.random.default_rng(count)
    sets = [random.integers(0, 20, (8, 2)).astype(float) for _ in range(count)]
    places = np.array([(x, y) for x in range(20) for y in range(20)], dtype=float)
    attained = sum(
        (one[None] >= places[:, None]).all(axis=2).any(axis=1).astype(int) for one in sets
    )
    for surface in surfaces(sets_of(*[one.tolist() for one in sets]), (UP, UP)):
        under = (surface.corners[None] >= places[:, None]).all(axis=2).any(axis=1)
        assert under.tolist() == (attained >= surface.attained_by).tolist()


def study(name: str, *values: tuple[float, float]) -> StudyRecord:
    return example_record([example_row(at, one) for at, one in enumerate(values)], name=name)


def ablation(*runs: tuple[int, Any], cells: str = "a") -> StudyRecord:
    """Runs as pair and values, by turns of these cells; None failed, "going on" runs."""
    rows = []
    for number, (pair, values) in enumerate(runs):
        state = {None: "FAIL", "going on": "RUNNING"}.get(values, "COMPLETE")
        made = example_row(number, values if state == "COMPLETE" else None, state=state)  # type: ignore[arg-type]
        rows.append(replace(made, pair=pair, cell=cells[number % len(cells)]))
    return replace(example_record(rows), design={"cells": []})


def test_over_studies() -> None:
    info = attainment_info([study("a", (0.9, 0.7), (math.nan, 0.9)), study("b", (0.8, 0.8))])
    assert info.over == "studies"
    assert [one.name for one in info.sets] == ["a", "b"]
    assert info.sets[0].values.tolist() == [[0.9, 0.7]]
    frame = info.frame()
    assert frame["mark"].tolist() == ["best", "best", "worst", "trial", "trial"]
    assert frame["attained_by"].tolist()[:3] == [1, 1, 2]
    assert frame["set"].tolist()[3:] == ["a", "b"]
    assert frame["number"].tolist()[3:] == [0, 0]
    assert frame.loc[2, ["val_clean_accuracy", "val_robust_accuracy"]].tolist() == [0.8, 0.7]


def test_of_arms() -> None:
    info = attainment_info(
        [
            ablation(
                *((0, (0.9, 0.7)), (0, (0.8, 0.8))),
                *((1, (0.8, 0.75)), (1, None)),
                *((2, (0.85, 0.6)), (2, "going on")),
                cells="ab",
            )
        ]
    )
    assert (info.over, info.arms, info.left_out) == ("arms", 2, 1)
    assert [(one.name, one.numbers.tolist()) for one in info.sets] == [("a", [0, 2, 4]), ("b", [1])]
    of_a, of_b = info.surfaces
    assert (of_a.arm, of_a.attained_by, of_a.sets) == ("a", 2, 3)
    # What two of three runs reach.
    assert sorted(map(tuple, of_a.corners.tolist())) == [(0.8, 0.7), (0.85, 0.6)]
    # One of two runs, the other of which failed.
    assert (of_b.arm, of_b.attained_by, of_b.corners.tolist()) == ("b", 1, [[0.8, 0.8]])
    assert set(info.frame()["set"]) == {"a", "b"}


def test_an_ablation_that_has_nothing_yet() -> None:
    info = attainment_info([ablation((0, "going on"), (1, "going on"))])
    assert (info.sets, info.surfaces, info.left_out, len(info.frame())) == ((), (), 2, 0)


THREE = [*((metric, "maximize") for metric in ("a", "b")), ("c", "minimize")]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            [example_record()],
            "needs several sets, got one search of one seed. Name several searches, or ablate "
            "confirm it and draw its confirmation.",
        ),
        ([ablation((0, (0.9, 0.7)))], "needs several seeds, got one. Give the ablation more."),
        (
            [example_record(objectives=THREE, reference_point=None)],
            "needs two objectives, got 3. Draw pareto.",
        ),
        (
            [example_record(), ablation((0, (0.9, 0.7)))],
            "of several studies needs searches, got an ablation. Draw it alone, by its arms.",
        ),
    ],
)
def test_what_can_never_be_drawn(records: list, said: str) -> None:
    with pytest.raises(NothingToDrawError) as caught:
        attainment_info(records)
    assert str(caught.value) == f"study example: figure attainment {said}"


def test_other_objectives_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"^studies in one figure must have the same obj"):
        attainment_info([example_record(), example_record(objectives=THREE, reference_point=None)])
