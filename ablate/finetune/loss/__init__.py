"""The terms of the finetuning objective and their variants, as plain data: no torch is loaded."""

from __future__ import annotations

from functools import cache

from ablate.finetune.loss.distance import DISTANCES
from ablate.finetune.loss.form import FORMS

TERMS = (
    "clean",
    "da",
    "st",
    "fma",
)
"""Terms that `loss.terms` may join with +; each is the file of that name."""


@cache
def in_order(terms: str) -> str:
    """A set of terms joined by +, in the order of `TERMS`, then unknown ones: one name for it."""
    given = set(terms.split("+"))
    return "+".join([*(term for term in TERMS if term in given), *sorted(given - {*TERMS})])


__all__ = ["DISTANCES", "FORMS", "TERMS", "in_order"]
