"""The draws that the methods of combined augmentations share, each made from (seed, purpose)."""

from __future__ import annotations

from itertools import accumulate

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ablate.distortion.random import make_generator
from ablate.distortion.shapes import Images, PerImage
from ablate.finetune.augment.mixture import Mixture
from ablate.study.seeds import derive_seed

OnCPU = Float64[Tensor, " batch"]
"""One uniform number in [0, 1) per image, on the CPU."""


def draw_on_cpu(batch: int, seed: int, *purpose: str) -> OnCPU:
    """One uniform number per image.

    What decides how many images go through a distortion is drawn on the CPU, so that the number
    is known without waiting for the device.
    """
    generator = make_generator(derive_seed(seed, *purpose), "cpu")
    return torch.rand(batch, generator=generator, dtype=torch.float64)


def draw_strengths(images: Images, seed: int, *type_name: str) -> PerImage:
    """One uniform number in [0, 1) per image on the device, in fp32; sets the strengths.

    Args:
        images: the whole batch.
        seed: of this copy.
        type_name: where an image has a strength for each type; none: one for whichever it gets.
    """
    generator = make_generator(derive_seed(seed, "strength", *type_name), images.device)
    return torch.rand(len(images), generator=generator, device=images.device)


def draw_types(batch: int, mixture: Mixture, seed: int) -> Int64[Tensor, " batch"]:
    """Number of the type in the mixture for each image, by the ratios; on the CPU."""
    ratios = (kind.ratio for kind in mixture)
    upper = torch.tensor([*accumulate(ratios)][:-1], dtype=torch.float64)
    return torch.bucketize(draw_on_cpu(batch, seed, "type"), upper, right=True)


def draw_clean(
    batch: int, clean_fraction: float, seed: int, *type_name: str
) -> Bool[Tensor, " batch"]:
    """Which images are left as they are, each with probability `clean_fraction`; on the CPU."""
    if not clean_fraction:
        return torch.zeros(batch, dtype=torch.bool)
    return draw_on_cpu(batch, seed, "clean", *type_name) < clean_fraction


def rows_where(chosen: Bool[Tensor, " batch"], device: torch.device) -> Int64[Tensor, " rows"]:
    """The rows of a mask on the CPU, sent to the device without waiting for it."""
    return chosen.nonzero().flatten().to(device, non_blocking=True)
