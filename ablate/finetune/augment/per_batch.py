"""One distortion type drawn for a whole batch, by the mix.

Source: reading (b) of combined augmentations (CA) [O].  Not to be confused with `per_sample`, where
each image of a batch has its own type.
"""

from __future__ import annotations

from functools import partial

from ablate.distortion.shapes import Images
from ablate.finetune.augment.augmentation import Augmentation, IndependentCopies
from ablate.finetune.augment.mixture import (
    Mixture,
    draw_clean,
    draw_strengths,
    draw_types,
    mixture_of,
    names_of,
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
    rows = rows_where(~draw_clean(len(images), clean_fraction, seed), images.device)
    if len(rows):
        uniform, draws = draw_strengths(images, seed), kind.draw(images, seed)
        copy[rows] = kind.distort(images[rows], uniform[rows], draws[rows])
    return copy


def build_method(settings: AugmentSettings) -> Augmentation:
    """`settings.copies` copies, each by `distort_per_batch` with its own type."""
    mixture = mixture_of(settings)
    make = partial(distort_per_batch, mixture=mixture, clean_fraction=settings.clean_fraction)
    return IndependentCopies(names_of(mixture), settings.copies, make)
