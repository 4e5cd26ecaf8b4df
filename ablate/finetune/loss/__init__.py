"""The terms of the finetuning objective and their variants, as plain data: no torch is loaded."""

from __future__ import annotations

from ablate.finetune.loss.distance import DISTANCES

TERMS = ("clean", "da", "st", "fma")
"""Terms that `loss.terms` may join with +; each is the file of that name."""

FORMS = ("cross_entropy",)
"""Distances of two predictions that `loss.st.form` may name."""

__all__ = ["DISTANCES", "FORMS", "TERMS"]
