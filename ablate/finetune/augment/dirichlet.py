"""Random shares that sum to 1, from a symmetric Dirichlet distribution.

The draws come from numpy's `RandomState`, since torch's distributions take no generator; its
stream is frozen for good, which that of numpy's `Generator` is not.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

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
