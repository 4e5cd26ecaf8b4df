"""Non-inferiority: is what must not be lost kept, up to a margin that was declared before?

Source: Piaggio et al. 2012, JAMA 308, 2594 (CONSORT for non-inferiority).
Not to be confused with a difference that is not significant, which few seeds give for nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ablate.ablation.intervals import Estimate, as_differences
from ablate.ablation.permutation import sign_flip_test
from ablate.errors import ParameterError

_ALPHA = 0.05


@dataclass(frozen=True)
class NonInferiority:
    """Whether a loss of the margin or more is ruled out.

    Attributes:
        margin: in the metric's own unit.
        kept: True where the interval's lower bound is above -margin; False says "not shown", not
            "lost". None of too few seeds: where even the least one-sided p, 1 / 2^K, would not be
            below .05.
        p: of the hypothesis that the mean is -margin, one-sided, over seeds on these images; NaN
            of no seed.
        low: the interval's lower bound.
    """

    margin: float
    kept: bool | None
    p: float
    low: float


def noninferiority(differences: np.ndarray, margin: float, estimate: Estimate) -> NonInferiority:
    """Compare the lower bound of a mean difference with a margin.

    The bound decides, so with a 95 % interval the error of a false "kept" is 2.5 %. The p value
    takes the images as given and stands beside it: where the interval is over seeds and images,
    the two may differ.

    Args:
        differences: `[K]`, one a seed, positive where nothing is lost: signs of metrics that are
            minimised are turned before.
        margin: above 0, the most that may be lost.
        estimate: of the same differences.

    Raises:
        ParameterError: if the margin is not positive and finite, the estimate is of another number
            of seeds, the shape is another, or a difference is not finite.
    """
    if not 0 < margin < math.inf:
        raise ParameterError(
            f"margin: must be above 0 and finite, got {margin}. Give the most that may be lost."
        )
    seeds = as_differences(differences, "K")
    if len(seeds) != estimate.n:
        raise ParameterError(
            f"estimate: must be of the same {len(seeds)} seeds, got one of {estimate.n}. Estimate "
            "it of these differences."
        )
    test = sign_flip_test(seeds, shift=margin, alternative="greater")
    has_enough = test.least_p < _ALPHA and not math.isnan(estimate.low)
    kept = estimate.low > -margin if has_enough else None
    return NonInferiority(margin, kept, test.p, estimate.low)
