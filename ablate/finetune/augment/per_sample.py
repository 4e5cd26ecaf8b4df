"""One distortion type drawn for each image, by the mix.

Source: reading (a) of combined augmentations (CA) [O]; the idea of CA is Kapoor et al. 2020,
arXiv:2012.01386 [P].  One type is single augmentation.
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


def distort_per_sample(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> Images:
    """Each image distorted by one type, at a strength of its own.

    Every draw is made from (seed, purpose): image i of a batch gets the same uniform number for
    its type, the same one for its strength and, for each type, the same noise, whatever the mix
    is.  Two settings that send an image to one type therefore make the same pixels.

    Args:
        images: in [0, 1].
        seed: of this copy.
        mixture: the types; their ratios are the probabilities.
        clean_fraction: probability that an image is left as it is, in [0, 1).
    """
    drawn = draw_types(len(images), mixture, seed)
    drawn.masked_fill_(draw_clean(len(images), clean_fraction, seed), -1)
    uniform = draw_strengths(images, seed)
    copy = images.clone()
    for number, kind in enumerate(mixture):
        rows = rows_where(drawn == number, images.device)
        if len(rows):
            draws = kind.draw(images, seed)
            copy[rows] = kind.distort(images[rows], uniform[rows], draws[rows])
    return copy


def build_method(settings: AugmentSettings) -> Augmentation:
    """`settings.copies` copies, each by `distort_per_sample`."""
    mixture = mixture_of(settings)
    make = partial(distort_per_sample, mixture=mixture, clean_fraction=settings.clean_fraction)
    return IndependentCopies(names_of(mixture), settings.copies, make)
