"""AugMix: chains of simple operators, mixed with each other and with the clean image.

Source: Hendrycks et al. 2020, arXiv:1912.02781, sec. 3; reimplemented for batches on the device.
Differs: see the operators.  Its Jensen-Shannon term is `loss.st` with two copies. Not to be
confused with `composed`, which applies this project's distortions, one chain per image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from ablate.data.dataset import send
from ablate.distortion import FAMILIES
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import Images
from ablate.finetune.augment.mixture import draw_clean
from ablate.finetune.augment.operators import DISJOINT, OPERATORS, OVERLAPS, apply_operators
from ablate.study.seeds import derive_seed
from ablate.study.settings import AugMixSettings

DRAWN_DEPTH = 3
"""The longest chain where the depth is drawn."""

LEAST_LEVEL = 0.01
"""The lowest level drawn, unless the severity is lower; 1 is the highest."""


class Chains(NamedTuple):
    """Operators of every chain of every image; on the CPU."""

    operators: Int64[Tensor, "steps chain_images"]
    levels: Float[Tensor, "steps chain_images"]
    signs: Float[Tensor, "steps chain_images"]


def augmix(
    images: Images, seed: int, settings: AugMixSettings, clean_fraction: float = 0.0
) -> Images:
    """Each image as (1 - m) * image + m * sum_k w_k * chain_k(image).

    w is drawn from Dirichlet(`dirichlet`) and m from Beta(`beta`, `beta`), both for each image.
    Computed in fp32 (fp64 for fp64 images), regardless of autocast.

    Args:
        images: in [0, 1].
        seed: of this copy.
        settings: chains, their depth, severity, operators and concentrations.
        clean_fraction: probability that an image is left clean, in [0, 1).
    """
    batch, device = len(images), images.device
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    chains = draw_chains(batch, settings, seed)
    shares = draw_shares(batch, settings.chains, settings.dirichlet, derive_seed(seed, "chains"))
    mixed = draw_shares(batch, 2, settings.beta, derive_seed(seed, "mixed"))[:, 0]
    mixed = mixed.masked_fill(draw_clean(batch, clean_fraction, seed), 0)
    # All numbers of the copy in one transfer, a column for each chain of each image.
    weights = torch.stack([shares.T.flatten(), mixed.repeat(settings.chains)])
    numbers = send(torch.cat([weights, chains.levels, chains.signs]), device).to(wide.dtype)
    weights, levels, signs = numbers.tensor_split([2, 2 + len(chains.levels)])
    shares, mixed = weights.view(2, settings.chains, batch)[:, :, :, None, None, None]
    with torch.autocast(device.type, enabled=False):
        # All chains are one batch, chain by chain: fewer, larger passes.
        ends = wide.repeat(settings.chains, 1, 1, 1)
        for step, operators in enumerate(chains.operators):
            ends = apply_operators(ends, operators, levels[step], signs[step])
        mixture = torch.zeros_like(wide)
        parts = ends.view(settings.chains, *wide.shape)
        for end, share in zip(parts, shares, strict=True):
            mixture.addcmul_(end, share)
        result = torch.lerp(wide, mixture, mixed[0]).clamp_(0, 1)
    return torch.empty_like(images).copy_(result)


def draw_chains(batch: int, settings: AugMixSettings, seed: int) -> Chains:
    """What each chain of each image does; a chain's draws are the same for any number of chains.

    Returns:
        One column for each chain and image, chain by chain.  `operators`: -1 past a chain's end.
        `levels`: uniform from `LEAST_LEVEL` to a tenth of the severity.  `signs`: 1 or -1.
    """
    names = DISJOINT if settings.operators == "disjoint" else OPERATORS
    steps, high = settings.depth or DRAWN_DEPTH, settings.severity / 10
    low = min(LEAST_LEVEL, high)
    parts = []
    for chain in range(settings.chains):
        generator = make_generator(derive_seed(seed, "chain", chain), "cpu")
        depth, which, level, coin = torch.rand(4, steps, batch, generator=generator)
        operators = (which * len(names)).long()
        if not settings.depth:
            ended = torch.arange(steps)[:, None] > (depth[0] * steps).floor()
            operators.masked_fill_(ended, -1)
        parts.append(Chains(operators, low + (high - low) * level, (coin < 0.5) * 2.0 - 1))
    return Chains(*(torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)))


def seen_types(settings: AugMixSettings) -> tuple[str, ...]:
    """The distortion types that the operators show to the network, in the order of `FAMILIES`."""
    shown = OVERLAPS.values() if settings.operators == "all" else ()
    return tuple(kind for kinds in FAMILIES.values() for kind in kinds if kind in shown)


# -- Random shares that sum to 1, from a symmetric Dirichlet distribution ------------------
#
# The draws come from numpy's `RandomState`, since torch's distributions take no generator; its
# stream is frozen for good, which that of numpy's `Generator` is not.


_LEAST = 1e-6  # here and below one part has everything, and the powers of the draws stay finite


def draw_shares(
    batch: int, parts: int, concentration: float, seed: int
) -> Float32[Tensor, "batch parts"]:
    """Shares of some parts for each image, >= 0 with sum 1; on the CPU.

    A share is a gamma variate over the sum of its row's.  The gammas are made as logarithms, by
    Gamma(a) = Gamma(a + 1) * U ** (1 / a), since for a small a all of a row would underflow to 0.

    Args:
        batch, parts: at least 0 and 1.  Two parts: the first is Beta(concentration,
            concentration).
        concentration: above 0; 1 is uniform over all shares, less favours one part of each row.
        seed: the same seed gives the same shares.

    Source: Marsaglia and Tsang 2000, sec. 6, for the step from a + 1 to a.
    """
    random = np.random.RandomState(seed % 2**32)
    shape = max(concentration, _LEAST)
    gamma = random.standard_gamma(shape + 1, (batch, parts))
    uniform = 1 - random.random_sample((batch, parts))  # never 0
    logarithms = torch.from_numpy(np.log(gamma) + np.log(uniform) / shape)
    return logarithms.softmax(1).float()
