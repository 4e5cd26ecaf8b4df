"""The terms of the finetuning objective and their variants, as plain data: no torch is loaded."""

from __future__ import annotations

from ablate.finetune.loss.distance import DISTANCES
from ablate.finetune.loss.form import FORMS

TERMS = (
    "clean",
    "da",
    "st",
    "fma",
)
"""Terms that `loss.terms` may join with +; each is the file of that name."""

__all__ = ["DISTANCES", "FORMS", "TERMS"]
