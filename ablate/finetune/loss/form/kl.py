"""Kullback-Leibler divergence of the copies' predictions from the anchor's.

Source: [S] the regulariser of TRADES, Zhang et al. 2019, arXiv:1901.08573, with the order of the
two predictions in the authors' code; with the anchor `both` the gradient flows through both, as
there.  Differs: the second image is an augmented copy and not an adversarial one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional

from ablate.distortion.shapes import Logits, Scalar
from ablate.finetune.loss.term import weighted_sum, widen


def kl_form(anchor: Logits, copies: Sequence[Logits], copy_weights: Sequence[float]) -> Scalar:
    """KL(p(anchor) || p(copy)), averaged over images and, by their weight, copies.

    Args:
        anchor: unnormalised.  A gradient flows into it unless the caller detaches it.
        copies: of the same images, one or more.
        copy_weights: one a copy.

    Returns:
        Scalar >= 0 in fp32, in nats: 0 if the predictions are equal.
    """
    target = functional.log_softmax(widen(anchor), dim=1)
    logs = (functional.log_softmax(widen(copy), dim=1) for copy in copies)
    gaps = (functional.kl_div(log, target, reduction="batchmean", log_target=True) for log in logs)
    return weighted_sum(copy_weights, gaps)
