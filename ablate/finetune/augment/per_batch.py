"""One distortion type drawn for a whole batch, by the mix.

Source: reading (b) of combined augmentations (CA) [O].  Not to be confused with `per_sample`, where
each image of a batch has its own type.
"""

from __future__ import annotations

from ablate.distortion.shapes import Images
from ablate.finetune.augment.augmentation import Augmentation
from ablate.finetune.augment.mixture import (
    Mixture,
    draw_clean,
    draw_strengths,
    draw_types,
    drawn_copies,
    rows_where,
)
from ablate.study.settings import AugmentSettings


def distort_per_batch(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> Images:
    """Distort all images by one type, each at its own strength.

    Args:
        images: in [0, 1].
        seed: of this copy.
        mixture: the types; their ratios are the probabilities.
        clean_fraction: probability that an image is left clean, in [0, 1); drawn per image, not per
            batch.
    """
    kind = mixture[int(draw_types(1, mixture, seed))]
    copy = images.clone()
    clean = draw_clean(len(images), clean_fraction, seed)
    (rows,) = rows_where(~clean[None], images.device)
    kind.distort_rows(rows, copy, draw_strengths(images, seed), seed)
    return copy


def build_method(settings: AugmentSettings) -> Augmentation:
    """`settings.copies` copies, each by `distort_per_batch` with its own type."""
    return drawn_copies(settings, distort_per_batch)
