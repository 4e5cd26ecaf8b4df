"""Which scores are those of a collapsed trial."""

from __future__ import annotations

import pytest

from ablate.analysis.drawn import fenced


def test_a_collapsed_trial_counts_as_standing_at_the_fence() -> None:
    values = [0.70, 0.72, 0.74, 0.76, 0.1]
    # Quartiles 0.70 and 0.74: the fence stands three times 0.04 below the lower one.
    assert fenced(values, maximize=True).tolist() == pytest.approx([0.70, 0.72, 0.74, 0.76, 0.58])
    assert fenced(values, maximize=False).tolist() == pytest.approx(values)
    assert fenced([1.0, 1.0, 1.0, 9.0], maximize=False).tolist() == [1, 1, 1, 9]
    assert len(fenced([], maximize=True)) == 0
