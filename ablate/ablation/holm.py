"""Holm's adjustment: p values of several tests, so that one false claim in all is as rare as asked.

Source: Holm 1979, Scandinavian Journal of Statistics 6, 65.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.errors import ParameterError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: those below alpha may be claimed together at alpha, however they depend.

    Args:
        p_values: from 0 to 1; NaN where there was no test, which is not counted as one.

    Returns:
        In the order given: each at least as large as it was, at most 1, and in the order of size
        that they had; NaN stays NaN; empty of none.

    Raises:
        ParameterError: if a value is not from 0 to 1.
    """
    odd = [p for p in p_values if not (math.isnan(p) or 0 <= p <= 1)]
    if odd:
        raise ParameterError(f"p_values: must be from 0 to 1, got {odd[0]}. Give unadjusted ones.")
    tested = [place for place, p in enumerate(p_values) if not math.isnan(p)]
    tested.sort(key=lambda place: p_values[place])
    adjusted = [math.nan] * len(p_values)
    most = 0.0
    for rank, place in enumerate(tested):
        most = max(most, min(1.0, (len(tested) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted
