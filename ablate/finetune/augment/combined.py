"""Combined augmentations (CA): one finetuning against several distortion types at once.

Source: Kapoor et al. 2020, arXiv:2012.01386 [P] for the idea; that the type is drawn for each image
(`per_sample`) and its strength uniformly is our own interpretation [O].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from ablate.distortion import FAMILIES, load
from ablate.distortion.kind import check_images
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import Images, Strengths
from ablate.errors import ParameterError, did_you_mean
from ablate.study.seeds import derive_seed


def type_ratios(families: Sequence[str], mix: Mapping[str, float] | None) -> dict[str, float]:
    """How often each distortion type is drawn.

    Args:
        families: the families to draw from; their order does not matter.
        mix: ratio by family, >= 0, scaled to sum 1; a family that it leaves out has ratio 0, and
            so must one that is not in `families`.  None: every family the same.

    Returns:
        Type -> ratio above 0, summing to 1, in the order of `FAMILIES`.  The types of a family
        share its ratio equally.

    Raises:
        ParameterError: if a family is unknown or repeated, there is none, a ratio is negative or
            not finite, all are 0, or a family outside `families` has one above 0.
    """
    _check_families(families)
    ratios = dict.fromkeys(families, 1.0) if mix is None else dict(mix)
    _check_mix(ratios, families)
    total = sum(ratios.values())
    return {
        kind: ratios[family] / total / len(types)
        for family, types in FAMILIES.items()
        if ratios.get(family)
        for kind in types
    }


class CombinedAugmentations:
    """Distorts each image of a batch by one type, drawn by the mix, at a strength of its own.

    Every draw is made from (seed, purpose): image i of a batch gets the same uniform number for
    its type, the same strength and, for each type, the same noise, whatever the mix is.  Two
    settings that send an image to one type therefore make the same pixels.

    Attributes:
        types: the distortion types with a ratio above 0 (what the network has *seen*).
    """

    def __init__(
        self,
        families: Sequence[str] = tuple(FAMILIES),
        mix: Mapping[str, float] | None = None,
        strength: float = 1.0,
    ) -> None:
        """Choose the distortions.

        Args:
            families, mix: see `type_ratios`.  One family with one type is single augmentation.
            strength: each image's strength is uniform in [0, strength]; in (0, 1].

        Raises:
            ParameterError: as `type_ratios`, or if the strength is outside (0, 1].
        """
        if not 0 < strength <= 1:
            raise ParameterError(
                f"augment.strength: must be above 0 and at most 1, got {strength:g}. "
                "1 is the strongest distortion."
            )
        ratios = type_ratios(families, mix)
        self.types = tuple(ratios)
        self._upper = torch.tensor([*accumulate(ratios.values())][:-1], dtype=torch.float64)
        self._distortions = [load(kind) for kind in ratios]
        self._strength = strength

    def __call__(self, images: Tensor, *, seed: int) -> Images:
        """The augmented copy of a batch.

        Args:
            images: floating point in [0, 1], `[batch, channel, height, width]`, 1 or 3 channels.
            seed: of this batch; the same seed gives the same copy on a CPU.

        Returns:
            New images of the same shape, dtype, device and memory format.

        Raises:
            ParameterError: if the images are no such batch.
        """
        check_images("augment", images)
        device = images.device
        # Types are drawn on the CPU, so that how many images each gets is known without asking
        # the device.
        drawn = self._draw_types(len(images), seed)
        strengths = self._draw_strengths(images, seed)
        copy = torch.empty_like(images)
        for number, distortion in enumerate(self._distortions):
            rows = (drawn == number).nonzero().flatten()
            if len(rows):
                rows = rows.to(device, non_blocking=True)
                generator = make_generator(derive_seed(seed, distortion.name), device)
                draws = distortion.draw(images.shape, generator)
                copy[rows] = distortion.apply(images[rows], strengths[rows], draws[rows])
        return copy

    def _draw_types(self, batch: int, seed: int) -> Tensor:
        generator = make_generator(derive_seed(seed, "type"), "cpu")
        uniform = torch.rand(batch, generator=generator, dtype=torch.float64)
        return torch.bucketize(uniform, self._upper, right=True)

    def _draw_strengths(self, images: Tensor, seed: int) -> Strengths:
        generator = make_generator(derive_seed(seed, "strength"), images.device)
        uniform = torch.rand(len(images), generator=generator, device=images.device)
        return uniform * self._strength


def _check_families(families: Sequence[str]) -> None:
    known = tuple(FAMILIES)
    if not families:
        raise ParameterError(
            f"augment.families: needs at least one family, got none. Known: {', '.join(known)}."
        )
    for number, family in enumerate(families):
        if family not in FAMILIES:
            raise ParameterError(
                f"augment.families: must be families of distortion, got {family!r}. "
                f"{did_you_mean(family, known)}"
            )
        if family in families[:number]:
            raise ParameterError(
                f"augment.families: a family may stand once, got {family} twice. "
                "Raise its ratio in augment.mix."
            )


def _check_mix(mix: Mapping[str, float], families: Sequence[str]) -> None:
    for family, ratio in mix.items():
        if family not in FAMILIES:
            raise ParameterError(
                f"augment.mix: must name families of distortion, got {family!r}. "
                f"{did_you_mean(family, tuple(FAMILIES))}"
            )
        if not (math.isfinite(ratio) and ratio >= 0):
            raise ParameterError(
                f"augment.mix.{family}: must be finite and at least 0, got {ratio:g}. "
                "0 leaves the family out."
            )
        if ratio and family not in families:
            raise ParameterError(
                f"augment.mix.{family}: must be 0 for a family outside augment.families, "
                f"got {ratio:g}. Add {family} to augment.families."
            )
    if not any(mix.values()):
        raise ParameterError(
            f"augment.mix: one ratio must be above 0, got {dict(mix)}. "
            "Leave mix out for equal ratios."
        )
