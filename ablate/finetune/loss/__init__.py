"""The terms of the finetuning objective and their variants, as plain data: no torch is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

TERMS = (
    "clean",
    "da",
    "st",
    "fma",
)
"""Terms that `loss.terms` may join with +; each is the file of that name."""

FORMS = ("cross_entropy", "kl", "js")
"""What `loss.st.form` may name; each is a function NAME_form in `st.py`."""


class Distance(NamedTuple):
    """What FMA must know of a distance of two feature maps, besides its formula.

    Attributes:
        gradient_scale: the constant that FMA multiplies it by.  With it, weight 1 gives a gradient
            (norm over all parameters) about as large as that of the cross-entropy on the augmented
            copies, on the last tap.  It is the geometric mean over trained baselines that
            `benchmarks/calibration.py` measures; docs/reference/losses.md has the table.
        reads_channels: whether it tells the channel axis of a map from the others.
        min_images: the fewest images that it can compare.
    """

    gradient_scale: float = 1.0
    reads_channels: bool = False
    min_images: int = 1


DISTANCES = {
    "relative": Distance(12),
    "mse": Distance(3.8),
    "l1": Distance(15),
    "cosine": Distance(28),
    "cosine_per_position": Distance(28, reads_channels=True),
    "unit": Distance(14, reads_channels=True),
    "attention": Distance(1300, reads_channels=True),
    "pooled": Distance(7.3, reads_channels=True),
    "cka": Distance(12, min_images=3),
    "invariance": Distance(18, min_images=2),
}
"""What `loss.fma.distance` may name; each is a function NAME_distance in `distances.py`."""


SCHEMES: Mapping[str, Callable[[int], float]] = {
    "uniform": lambda _place: 1.0,
    "linear": lambda place: place + 1.0,
    "geometric": lambda place: 2.0**place,
}
"""What `loss.fma.layer_weights` may name: the weight of a layer by its place in depth, from 0 [O]:
equal; 1, 2, 3, ...; 1, 2, 4, ...: deeper layers count more."""


@cache
def in_order(terms: str) -> str:
    """A set of terms joined by +, in the order of `TERMS`, then unknown ones: one name for it."""
    given = set(terms.split("+"))
    return "+".join([*(term for term in TERMS if term in given), *sorted(given - {*TERMS})])
