"""The sections of a study file, one file a subject, and what they have in common.

`ablate.study.settings` names them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ablate.study.document import show


def total_of(ratios: Mapping[str, float]) -> float:
    """Sum of ratios; infinity if it is beyond the largest float."""
    try:
        return math.fsum(ratios.values())
    except OverflowError:
        return math.inf


def _with_a_sum(ratios: dict[str, float]) -> dict[str, float]:
    if not any(ratios.values()):
        raise ValueError(f"needs a ratio above 0, got {show(ratios)}. Raise one.")
    if total_of(ratios) == math.inf:
        raise ValueError(f"ratios must have a finite sum, got {show(ratios)}. Lower them.")
    return ratios


Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Ratios = Annotated[dict[str, Weight], AfterValidator(_with_a_sum)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, lt=LARGEST_SEED + 1)]
Names = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Settings(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )
