"""What is shown first, and which scores are those of a collapsed trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ablate.analysis.drawn import fenced
from ablate.analysis.parameters import ParameterColumn, association, parameter_column


def of(values: list[Any], domain: dict[str, Any] | None = None) -> ParameterColumn:
    rows = [{} if value is None else {"x": value} for value in values]
    return parameter_column("x", "x", rows, domain or {})


def test_association_by_hand() -> None:
    ranks = np.array([1.0, 2.0, 3.0, 4.0])
    # Groups {1, 2} and {3, 4}: within 1 over 2, in all 5 over 3: 1 - 0.5 / (5 / 3).
    assert association(of(["a", "a", "b", "b"]), ranks) == pytest.approx(0.7)
    assert association(of([0.1, 0.2, 5.0, 7.0]), ranks) == pytest.approx(0.7)
    assert association(of(["a", "b", "b", "a"]), ranks) == 0
    # Half of the trials have it.
    eight = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    assert association(of(["a", "a", "b", "b", *[None] * 4]), eight) == pytest.approx(0.35)


@pytest.mark.parametrize("values", [["a"] * 4, ["a", "b", "c", "d"], [1.0] * 4, [None] * 4])
def test_what_has_no_groups_sorts_nothing(values: list) -> None:
    assert association(of(values), np.arange(4.0)) == 0


def test_a_collapsed_trial_counts_as_standing_at_the_fence() -> None:
    values = [0.70, 0.72, 0.74, 0.76, 0.1]
    # Quartiles 0.70 and 0.74: the fence stands three times 0.04 below the lower one.
    assert fenced(values, maximize=True).tolist() == pytest.approx([0.70, 0.72, 0.74, 0.76, 0.58])
    assert fenced(values, maximize=False).tolist() == pytest.approx(values)
    assert fenced([1.0, 1.0, 1.0, 9.0], maximize=False).tolist() == [1, 1, 1, 9]
    assert len(fenced([], maximize=True)) == 0
