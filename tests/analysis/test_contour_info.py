"""The smoothed field: what it is of, where it is blank, what it explains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row

from ablate.analysis.contour import contour_info
from ablate.errors import NothingToDrawError, ParameterError

SPACE = {
    "a": {"float": [0.0, 1.0]},
    "b": {"float": [0.01, 1.0], "log": True},
    "kind": {"choice": ["u", "v"]},
}


def record(values: Any, *, count: int = 64, **settings: Any) -> Any:
    """A grid over a and b; `values` takes both."""
    side = round(count**0.5)
    rows = []
    for at in range(side * side):
        a, b = (at % side) / (side - 1), 10 ** (-2 + 2 * (at // side) / (side - 1))
        params = {"a": a, "b": b, "kind": "uv"[at % 2]}
        rows.append(example_row(at, (0.9, values(a, b)), params=params))
    settings = {"space": SPACE, "trainable": "loops:train", **settings}
    return example_record(rows, references={}, reference_point=None, **settings)


def test_a_plane_is_found_again() -> None:
    info = contour_info(record(lambda a, _: 0.6 + 0.2 * a), params=("a", "b"))
    assert (info.x[0], info.x[-1], info.y[0], info.y[-1]) == pytest.approx((0, 1, -2, 0))
    middle = info.field[len(info.y) // 2]
    assert middle[len(info.x) // 2] == pytest.approx(0.7, abs=0.01)
    assert middle[5] < middle[20] < middle[-5]
    assert info.explained > 0.9
    assert (info.low, info.high) == pytest.approx((0.6, 0.8))
    assert info.drawn == tuple(range(64))


def test_noise_explains_nothing() -> None:
    random = np.random.default_rng(0)
    info = contour_info(record(lambda *_: 0.7 + 0.1 * random.normal()), params=("a", "b"))
    assert info.explained < 0.1


def of_line(share: float) -> dict[str, float]:
    return {"a": share, "b": 10 ** (-2 + 1.5 * share)}


def test_the_field_is_blank_where_no_trial_is_near() -> None:
    rows = [example_row(at, (0.9, 0.6 + 0.02 * at), params=of_line(0.02 * at)) for at in range(10)]
    info = contour_info(
        example_record(rows, space=SPACE, trainable="loops:train"), params=("a", "b")
    )
    field = np.array(info.field)
    assert np.isfinite(field[0, 0])
    assert np.isnan(field[-1, -1])


def test_names_are_not_smoothed_into_each_other() -> None:
    of_kind = record(lambda a, b: 0.0, count=36)
    rows = [
        example_row(row.number, (0.9, {"u": 0.6, "v": 0.8}[row.params["kind"]]), params=row.params)
        for row in of_kind.rows
    ]
    info = contour_info(
        example_record(rows, space=SPACE, trainable="loops:train"), params=("kind", "a")
    )
    assert info.x == (0.0, 1.0)
    field = np.array(info.field)
    np.testing.assert_allclose(field[:, 0][np.isfinite(field[:, 0])], 0.6)
    np.testing.assert_allclose(field[:, 1][np.isfinite(field[:, 1])], 0.8)
    assert info.explained == pytest.approx(1.0)


def test_numbers_come_before_names_and_what_tells_most_first() -> None:
    info = contour_info(record(lambda a, b: a))
    assert {column.key for column in info.columns} == {"a", "b"}


def test_a_pair_that_no_trial_has_together_is_not_taken() -> None:
    space = {"p": {"float": [0, 1]}, "q": {"float": [0, 1]}, "r": {"float": [0, 1]}}
    rows = [
        example_row(
            at, (0.9, 0.5 + 0.01 * at), params={"pq"[at % 2]: at / 20, "r": (7 * at % 20) / 20}
        )
        for at in range(20)
    ]
    info = contour_info(example_record(rows, space=space, trainable="loops:train"))
    assert "r" in {column.key for column in info.columns}
    assert len(info.drawn) == 10
    assert len(info.frame()) == 10


def test_a_collapsed_trial_does_not_take_the_colours() -> None:
    found = record(lambda a, b: 0.6 + 0.2 * a if (a, b) != (0.0, 0.01) else 0.0)
    info = contour_info(found, params=("a", "b"))
    assert info.low > 0.1
    minimised = record(
        lambda a, b: 0.6 + 0.2 * a if (a, b) != (0.0, 0.01) else 1e6,
        objectives=[("x", "maximize"), ("loss", "minimize")],
    )
    assert contour_info(minimised, params=("a", "b")).high < 2


def test_too_few_trials_have_no_field() -> None:
    info = contour_info(record(lambda *_: 0.7, count=4))
    assert (info.x, info.field, len(info.drawn)) == ((), (), 4)
    assert math.isnan(info.explained)


def test_equal_scores_give_a_flat_field_and_explain_nothing() -> None:
    info = contour_info(record(lambda *_: 0.7, count=9))
    assert math.isnan(info.explained)
    field = np.array(info.field)
    np.testing.assert_allclose(field[np.isfinite(field)], 0.7)


def test_two_parameters_are_needed() -> None:
    rows = [example_row(0, (0.9, 0.7), params={"a": 1.0})]
    with pytest.raises(NothingToDrawError, match=r"figure contour needs 2 parameters, got a\."):
        contour_info(example_record(rows))
    with pytest.raises(
        ParameterError, match=r"figure contour takes 2 of them, got 3: a, b, kind\."
    ):
        contour_info(record(lambda a, b: a), params=("a", "b", "kind"))
