"""Augmented copies of a batch: the readings of combined augmentations (CA), and AugMix.

Source: the idea of CA is Kapoor et al. 2020, arXiv:2012.01386 [P]; the four readings are ours [O].
One type is single augmentation.

Every draw depends only on (seed, purpose): image i of a batch gets the same uniform number for its
type and its strength and, for each type, the same noise, regardless of the mix.  So two settings
that select the same type for an image produce the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ablate.distortion.kind import check_images
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError
from ablate.finetune.augment.augmix import augmix, seen_types
from ablate.finetune.augment.mixture import (
    Mixture,
    between,
    build_mixture,
    draw_clean,
    draw_on_cpu,
    draw_strengths,
    draw_types,
    rows_by_number,
    rows_in_order,
    rows_where,
)
from ablate.finetune.augment.ratios import Limits
from ablate.study.seeds import derive_seed
from ablate.study.settings import AugmentSettings


@dataclass(frozen=True)
class Augmentation:
    """Makes augmented copies of a batch.

    Attributes:
        types: the distortion types that the network sees, in the order of `FAMILIES`.
        copy_weights: how much each copy counts in a mean over copies, summing to 1; there are as
            many copies as weights.
        make: (images, seed) -> the copies.
    """

    types: tuple[str, ...]
    copy_weights: tuple[float, ...]
    make: Callable[[Images, int], tuple[Images, ...]]

    def copies(self, images: Tensor, *, seed: int) -> tuple[Images, ...]:
        """Make the copies of a batch; row i of each is image i.

        Args:
            images: floating point in [0, 1], `[batch, channel, height, width]`, 1 or 3 channels.
            seed: of this batch; the same seed gives the same copies on a CPU.

        Returns:
            New images of the same shape, dtype, device and memory format, in [0, 1].

        Raises:
            ParameterError: if the images are not such a batch.
        """
        check_images("augment", images)
        return self.make(images, seed)


def build_augmentation(settings: AugmentSettings, base: Path | None = None) -> Augmentation:
    """Build the augmentation of `settings.method`.

    Settings that the method does not use are ignored, because a search over methods has the
    settings of all: only `composed` uses `depth`, `all` has a copy per type whatever `copies` says,
    and `augmix` uses its own section, `clean_fraction` and `copies`.

    Args:
        base: folder of the study file, for types of the user's own.

    Raises:
        ParameterError: if the settings are inconsistent; see `build_mixture`.
    """
    clean = settings.clean_fraction
    if settings.method == "augmix":
        by_chains = partial(augmix, settings=settings.augmix, clean_fraction=clean)
        return _independent(seen_types(settings.augmix), settings.copies, by_chains)
    mixture = build_mixture(
        settings.families,
        settings.mix,
        settings.strength,
        types=settings.types,
        strengths=settings.strengths,
        base=base,
    )
    types = tuple(kind.name for kind in mixture)
    if settings.method == "all":
        ratios = tuple(kind.ratio for kind in mixture)
        by_all = partial(distort_by_all, mixture=mixture, clean_fraction=clean)
        return Augmentation(types, ratios, by_all)
    methods: dict[str, Callable[..., Images]] = {
        "per_sample": distort_per_sample,
        "per_batch": distort_per_batch,
        "composed": partial(distort_in_sequence, depth=settings.depth),
    }
    distort = partial(methods[settings.method], mixture=mixture, clean_fraction=clean)
    return _independent(types, settings.copies, distort)


def _independent(
    types: tuple[str, ...], count: int, distort: Callable[[Images, int], Images]
) -> Augmentation:
    make = partial(_draw_copies, count=count, distort=distort)
    return Augmentation(types, (1 / count,) * count, make)


def _draw_copies(
    images: Images, seed: int, *, count: int, distort: Callable[[Images, int], Images]
) -> tuple[Images, ...]:
    """Copies of the same kind, each drawn independently; the first are the same for any count."""
    seeds = [seed, *(derive_seed(seed, "copy", number) for number in range(1, count))]
    return tuple(distort(images, of_copy) for of_copy in seeds)


# -- The readings of combined augmentations [O]: who gets which type ------------------------
#
# Each takes images in [0, 1], the seed of a copy, the mixture, whose ratios are the probabilities,
# and the probability that an image is left clean, in [0, 1).


def distort_per_sample(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> Images:
    """Reading (a): each image by one type, at its own strength."""
    drawn = draw_types(len(images), mixture, seed)
    drawn.masked_fill_(draw_clean(len(images), clean_fraction, seed), -1)
    # Images are taken out once, in the order of their types, and put back once.
    of_type = drawn == torch.arange(len(mixture))[:, None]
    rows, counts = rows_in_order(of_type, images.device)
    uniform = draw_strengths(images, seed)[rows]
    by_limits = {
        limits: torch.split(between(limits, uniform), counts)
        for limits in {kind.limits for kind in mixture}
    }
    places, parts = torch.split(rows, counts), torch.split(images[rows], counts)
    distorted = [images[:0]]
    for number, kind in enumerate(mixture):
        if counts[number]:
            strengths = by_limits[kind.limits][number]
            draws = kind.draw(images, seed)[places[number]]
            distorted.append(kind.distortion.apply(parts[number], strengths, draws))
    copy = images.clone()
    copy[rows] = torch.cat(distorted)
    return copy


def distort_per_batch(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> Images:
    """Reading (b): all images by one type, each at its own strength; clean ones are drawn per
    image, not per batch."""
    kind = mixture[int(draw_types(1, mixture, seed))]
    copy = images.clone()
    clean = draw_clean(len(images), clean_fraction, seed)
    (rows,) = rows_where(~clean[None], images.device)
    kind.distort_rows(rows, copy, draw_strengths(images, seed), seed)
    return copy


def distort_by_all(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> tuple[Images, ...]:
    """Reading (c): one copy of the batch for each type, in the mixture's order; K types are K + 1
    forward passes, and the ratios weigh the copies.

    An image's copies share the uniform number of their strength, so that the copy of a type has the
    same pixels as in `per_sample` if that type is drawn.  Clean images are drawn separately for
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


def distort_in_sequence(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0, *, depth: int
) -> Images:
    """Reading (d): each image by 1 to `depth` distinct types in turn, each at its own strength.

    Not to be confused with AugMix, whose chains are mixed and whose operators are others.

    Args:
        depth: largest number of types per image, at least 1; limited to the number of types.
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
                kind = mixture[number]
                strengths = between(kind.limits, uniform[rows])
                copy[rows] = kind.distortion.apply(copy[rows], strengths, draws[rows])
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


_DEFAULT_FAMILIES = AugmentSettings().families


class CombinedAugmentations(Augmentation):
    """Distorts each image of a batch by one type, drawn by the mix, with a random strength.

    For your own training loop; `build_augmentation` has all methods.

    Attributes:
        types: the distortion types with a ratio above 0 (which the network has *seen*).
        copy_weights: (1.0,).

    Example:
        >>> import torch
        >>> mix = {"noise": 2.0, "blur": 1.0}
        >>> augment = ablate.CombinedAugmentations(["noise", "blur"], mix=mix)
        >>> images = torch.rand(8, 3, 32, 32)
        >>> copies = augment(images, seed=0)
        >>> copies.shape, torch.equal(copies, augment(images, seed=0))
        (torch.Size([8, 3, 32, 32]), True)
    """

    def __init__(
        self,
        families: Sequence[str] = _DEFAULT_FAMILIES,
        mix: Mapping[str, float] | None = None,
        strength: float = 1.0,
        *,
        types: Sequence[str] | None = None,
        strengths: Mapping[str, Limits] | None = None,
        clean_fraction: float = 0.0,
    ) -> None:
        """Choose the distortions.

        Args:
            families, mix, types: see `type_ratios`.  One type is single augmentation.
            strength: each image's strength is uniform in [0, strength]; in (0, 1].
            strengths: by type, the highest strength instead of `strength`, or the lowest and the
                highest.
            clean_fraction: fraction of images left clean, in [0, 1).

        Raises:
            ParameterError: as `build_mixture`, or if the clean fraction is outside [0, 1).
        """
        if not 0 <= clean_fraction < 1:
            raise ParameterError(
                f"augment.clean_fraction: must be at least 0 and below 1, got {clean_fraction:g}. "
                "0 distorts every image."
            )
        mixture = build_mixture(families, mix, strength, types=types, strengths=strengths)
        distort = partial(distort_per_sample, mixture=mixture, clean_fraction=clean_fraction)
        make = partial(_draw_copies, count=1, distort=distort)
        super().__init__(tuple(kind.name for kind in mixture), (1.0,), make)

    def __call__(self, images: Tensor, *, seed: int) -> Images:
        """The one augmented copy of a batch; arguments, errors as `copies`."""
        (copy,) = self.copies(images, seed=seed)
        return copy
