"""The distortion types that are drawn from: how often each, and how strongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ablate.data.dataset import send
from ablate.distortion import FAMILIES, load
from ablate.distortion.kind import Distortion
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import Images, PerImage
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.augment.ratios import Limits, lowest_and_highest, type_ratios
from ablate.study.callables import is_callable_name
from ablate.study.seeds import derive_seed


@dataclass(frozen=True)
class MixedType:
    """One distortion type of a mixture.

    Attributes:
        distortion: the distortion.
        ratio: probability of a draw, above 0; the ratios of a mixture sum to 1.
        limits: its strengths are uniform between these two, within [0, 1].
    """

    distortion: Distortion
    ratio: float
    limits: tuple[float, float]

    @property
    def name(self) -> str:
        return self.distortion.name

    def draw(self, images: Images, seed: int) -> Tensor:
        """Its randomness for the complete batch, on the device, independent of the other types."""
        generator = make_generator(derive_seed(seed, self.name), images.device)
        return self.distortion.draw(images.shape, generator)

    def distort_rows(
        self, rows: Int64[Tensor, " rows"], copy: Images, uniform: PerImage, seed: int
    ) -> None:
        """Distort these images of a batch in place; `uniform` sets their strengths."""
        if len(rows):
            strengths = between(self.limits, uniform[rows])
            draws = self.draw(copy, seed)[rows]
            copy[rows] = self.distortion.apply(copy[rows], strengths, draws)


def between(limits: tuple[float, float], uniform: PerImage) -> PerImage:
    """Strengths from the lowest to the highest, for uniform numbers in [0, 1)."""
    low, high = limits
    return uniform * (high - low) + low


Mixture = tuple[MixedType, ...]
"""At least one type, in the order of `FAMILIES`."""


def build_mixture(
    families: Sequence[str],
    mix: Mapping[str, float] | None = None,
    strength: float = 1.0,
    *,
    types: Sequence[str] | None = None,
    strengths: Mapping[str, Limits] | None = None,
    base: Path | None = None,
) -> Mixture:
    """The types with a ratio above 0, each with its strengths.

    Args:
        families, mix, types: see `type_ratios`.
        strength: the highest strength of types without an entry in `strengths`, in (0, 1]; the
            lowest is 0.
        strengths: by type, the highest strength in (0, 1], or the lowest and the highest.  Types
            that are not drawn are ignored, because a search selects types per trial.
        base: folder of the study file, for types of the user's own.

    Raises:
        ParameterError: as `type_ratios`, if a strength is out of its range, or if `strengths`
            names no type.
    """
    if not 0 < strength <= 1:
        raise ParameterError(
            f"augment.strength: must be above 0 and at most 1, got {strength:g}. "
            "1 is the strongest distortion."
        )
    ratios = type_ratios(families, mix, types)
    limits = {name: _read_limits(name, given) for name, given in (strengths or {}).items()}
    known = [kind for kinds in FAMILIES.values() for kind in kinds]
    for name in limits:
        if name not in known and not is_callable_name(name):
            raise ParameterError(
                f"augment.strengths: must name types of distortion, got {name!r}. "
                f"{did_you_mean(name, known)}"
            )
    return tuple(
        MixedType(load(name, base), ratio, limits.get(name, (0.0, strength)))
        for name, ratio in ratios.items()
    )


def _read_limits(name: str, given: Limits) -> tuple[float, float]:
    is_highest = isinstance(given, int | float)
    limits = lowest_and_highest(given)
    if len(limits) != 2 or not 0 <= limits[0] <= limits[1] <= 1 or limits[1] == 0:
        raise ParameterError(
            f"augment.strengths.{name}: must be the highest strength, above 0 and at most 1, or "
            f"the lowest and the highest, got {f'{given:g}' if is_highest else list(limits)}. "
            "Write 0.5 or [0.2, 0.5]."
        )
    return float(limits[0]), float(limits[1])


# -- The draws that the methods of combined augmentations share, each made from (seed, purpose)


def draw_on_cpu(batch: int, seed: int, *purpose: str) -> Float64[Tensor, " batch"]:
    """One uniform number in [0, 1) per image.

    Drawn on the CPU, because it determines how many images go through a distortion, and this must
    be known without waiting for the device.
    """
    generator = make_generator(derive_seed(seed, *purpose), "cpu")
    return torch.rand(batch, generator=generator, dtype=torch.float64)


def draw_strengths(images: Images, seed: int, *purpose: str) -> PerImage:
    """One uniform number in [0, 1) per image on the device, in fp32; sets the strengths.

    Args:
        images: the whole batch.
        seed: of this copy.
        purpose: the name of a type, where an image has a strength for each; else none.
    """
    generator = make_generator(derive_seed(seed, "strength", *purpose), images.device)
    return torch.rand(len(images), generator=generator, device=images.device)


def draw_types(batch: int, mixture: Mixture, seed: int) -> Int64[Tensor, " batch"]:
    """Number of the type in the mixture for each image, by the ratios; on the CPU."""
    ratios = (kind.ratio for kind in mixture)
    upper = torch.tensor([*accumulate(ratios)][:-1], dtype=torch.float64)
    return torch.bucketize(draw_on_cpu(batch, seed, "type"), upper, right=True)


def draw_clean(
    batch: int, clean_fraction: float, seed: int, *purpose: str
) -> Bool[Tensor, " batch"]:
    """Which images are left clean, each with probability `clean_fraction`; on the CPU."""
    if not clean_fraction:
        return torch.zeros(batch, dtype=torch.bool)
    return draw_on_cpu(batch, seed, "clean", *purpose) < clean_fraction


def rows_in_order(
    chosen: Bool[Tensor, "kinds batch"], device: torch.device
) -> tuple[Int64[Tensor, " rows"], list[int]]:
    """The rows of each of several masks on the CPU, ascending, mask after mask; and how many each
    has.  They go to the device in one transfer, without waiting."""
    return send(chosen.nonzero()[:, 1], device), chosen.sum(1).tolist()


def rows_where(
    chosen: Bool[Tensor, "kinds batch"], device: torch.device
) -> tuple[Int64[Tensor, " rows"], ...]:
    """`rows_in_order`, apart for each mask."""
    return torch.split(*rows_in_order(chosen, device))  # type: ignore[no-any-return, no-untyped-call]


def rows_by_number(
    numbers: Int64[Tensor, " batch"], count: int, device: torch.device
) -> tuple[Int64[Tensor, " rows"], ...]:
    """The rows that have each number from 0 to `count` - 1; see `rows_where`."""
    return rows_where(numbers == torch.arange(count)[:, None], device)
