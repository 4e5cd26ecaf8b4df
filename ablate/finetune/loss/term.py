"""What the terms of the objective have in common: what they see and what they ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ablate.distortion.shapes import FeatureMap, Labels, Logits, Scalar
from ablate.errors import ParameterError


class Pair(NamedTuple):
    """What a network made of the clean images and of their augmented copies.

    Attributes:
        clean_logits: of the images as they are.
        augmented_logits: of the copies, row by row; None where no term asked for them.
        labels: the class of each image.
        clean_features: tap -> feature map, for the taps in `RobustLoss.layers`.
        augmented_features: the same of the copies.
    """

    clean_logits: Logits
    augmented_logits: Logits | None
    labels: Labels
    clean_features: dict[str, FeatureMap]
    augmented_features: dict[str, FeatureMap]

    def require_augmented(self) -> Logits:
        """The logits of the copies.

        Raises:
            ParameterError: if the batch has none.
        """
        if self.augmented_logits is None:
            raise ParameterError(
                "pair: a term reads the augmented copies, got augmented_logits=None. "
                "Run them through the network where RobustLoss.needs_augmented is true."
            )
        return self.augmented_logits


@dataclass(frozen=True)
class Term:
    """One term of the objective.

    Attributes:
        name: as in `TERMS`.
        weight: what its value is multiplied with, >= 0.
        value: the mean over the batch, unweighted.
        needs_augmented: whether it reads the augmented copies.
        layers: taps whose feature maps it reads.
    """

    name: str
    weight: float
    value: Callable[[Pair], Scalar]
    needs_augmented: bool
    layers: tuple[str, ...] = ()
