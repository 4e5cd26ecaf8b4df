"""Jensen-Shannon divergence of the anchor's prediction and those of all copies at once.

Source: [S] AugMix, Hendrycks et al. 2020, arXiv:1912.02781, sec. 3, with two copies and a mixture
clamped at 1e-7.  Differs: any number of copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ablate.distortion.shapes import Logits, Scalar
from ablate.finetune.loss.term import widen

CLAMP = 1e-7
"""The smallest probability in the mixture, so that its logarithm is finite."""


def js_form(anchor: Logits, copies: Sequence[Logits], _copy_weights: Sequence[float]) -> Scalar:
    """Mean over anchor and copies of KL(p || M), M their mean prediction, averaged over images.

    Args:
        anchor: unnormalised.  A gradient flows into it unless the caller detaches it.
        copies: of the same images, one or more.
        _copy_weights: not used: anchor and copies have equal weight, as in AugMix.

    Returns:
        Scalar in fp32, in nats: 0 if the predictions are equal, at most log(copies + 1).
    """
    logs = [functional.log_softmax(widen(logits), dim=1) for logits in (anchor, *copies)]
    mixture = torch.stack([log.exp() for log in logs]).mean(0).clamp(min=CLAMP).log()
    first, *others = (
        functional.kl_div(mixture, log, reduction="batchmean", log_target=True) for log in logs
    )
    return sum(others, start=first) / len(logs)
