"""Several distortion types in sequence on one image.

Source: reading (d) of combined augmentations (CA) [O].  Not to be confused with AugMix, whose
chains are mixed and whose operators are others.
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from ablate.distortion.shapes import Images
from ablate.finetune.augment.augmentation import Augmentation
from ablate.finetune.augment.mixture import (
    Mixture,
    draw_clean,
    draw_on_cpu,
    draw_strengths,
    drawn_copies,
    rows_by_number,
)
from ablate.study.settings import AugmentSettings


def distort_in_sequence(
    images: Images, seed: int, mixture: Mixture, depth: int, clean_fraction: float = 0.0
) -> Images:
    """Each image distorted by 1 to `depth` distinct types in turn, each at its own strength.

    Args:
        images: in [0, 1].
        seed: of this copy.
        mixture: the types; see `draw_sequences` for their ratios.
        depth: largest number of types per image, at least 1; limited to the number of types.
        clean_fraction: probability that an image is left clean, in [0, 1).
    """
    sequences = draw_sequences(len(images), mixture, depth, seed)
    sequences.masked_fill_(draw_clean(len(images), clean_fraction, seed)[:, None], -1)
    drawn = {
        number: (draw_strengths(images, seed, kind.name), kind.draw(images, seed))
        for number, kind in enumerate(mixture)
        if (sequences == number).any()
    }
    copy = images.clone()
    for step in sequences.unbind(1):
        by_type = rows_by_number(step, len(mixture), images.device)
        for number, (uniform, draws) in drawn.items():
            rows = by_type[number]
            if len(rows):
                copy[rows] = mixture[number].distort(copy[rows], uniform[rows], draws[rows])
    return copy


def draw_sequences(
    batch: int, mixture: Mixture, depth: int, seed: int
) -> Int64[Tensor, "batch steps"]:
    """Numbers of the types for each image in their order, then -1; on the CPU.

    Their number is uniform in 1 to `depth`.  They are drawn without replacement: each next one by
    the ratios of the remaining ones, as in successive draws from an urn.  This is done as a race:
    type k of an image arrives after an exponential time of rate ratio_k, and the first ones are
    taken.  Their order on the image is then drawn uniformly over all orders, because in the race
    frequent types come first.
    """
    steps = min(depth, len(mixture))
    number = 1 + (draw_on_cpu(batch, seed, "depth") * steps).long()
    arrivals = torch.stack(
        [
            -torch.log1p(-draw_on_cpu(batch, seed, "race", kind.name)) / kind.ratio
            for kind in mixture
        ],
        dim=1,
    )
    turns = torch.stack([draw_on_cpu(batch, seed, "turn", kind.name) for kind in mixture], dim=1)
    taken = arrivals.argsort(1).argsort(1) < number[:, None]
    sequences = turns.masked_fill_(~taken, 2.0).argsort(1)[:, :steps]
    return sequences.masked_fill_(torch.arange(steps) >= number[:, None], -1)


def build_method(settings: AugmentSettings) -> Augmentation:
    """`settings.copies` copies, each by `distort_in_sequence`."""
    return drawn_copies(settings, distort_in_sequence, depth=settings.depth)
