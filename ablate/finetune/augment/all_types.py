"""A copy of each image for every distortion type; the mix weighs the copies.

Source: reading (c) of combined augmentations (CA) [O]: K types are K + 1 forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.distortion.kind import check_images
from ablate.distortion.shapes import Images
from ablate.finetune.augment.augmentation import Augmentation
from ablate.finetune.augment.mixture import (
    Mixture,
    draw_clean,
    draw_strengths,
    mixture_of,
    names_of,
    rows_where,
)
from ablate.study.settings import AugmentSettings


def distort_by_all(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> tuple[Images, ...]:
    """One copy of the batch for each type, in the mixture's order.

    An image's copies share the uniform number of their strength, so that the copy of a type has the
    same pixels as in `per_sample` if that type is drawn.

    Args:
        images: in [0, 1].
        seed: of this batch.
        mixture: the types; their ratios are ignored.
        clean_fraction: probability that an image is left clean, in [0, 1); drawn separately for
            each type, otherwise all copies of an image would be clean at once.
    """
    uniform = draw_strengths(images, seed)
    clean = [draw_clean(len(images), clean_fraction, seed, kind.name) for kind in mixture]
    copies = []
    for kind, rows in zip(mixture, rows_where(~torch.stack(clean), images.device), strict=True):
        copy = images.clone()
        kind.distort_rows(rows, copy, uniform, seed)
        copies.append(copy)
    return tuple(copies)


@dataclass(frozen=True)
class AllTypes:
    """See `distort_by_all`; a copy counts by its type's ratio."""

    mixture: Mixture
    clean_fraction: float = 0.0

    @property
    def types(self) -> tuple[str, ...]:
        return names_of(self.mixture)

    @property
    def copy_weights(self) -> tuple[float, ...]:
        return tuple(kind.ratio for kind in self.mixture)

    def copies(self, images: Tensor, *, seed: int) -> tuple[Images, ...]:
        """See `Augmentation.copies`."""
        check_images("augment", images)
        return distort_by_all(images, seed, self.mixture, self.clean_fraction)


def build_method(settings: AugmentSettings) -> Augmentation:
    """A copy per type; `copies` is passed over, since a search over methods may set it."""
    return AllTypes(mixture_of(settings), settings.clean_fraction)
