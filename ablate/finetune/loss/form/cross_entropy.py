"""Cross-entropy of two predictions: the form of stability training.

Source: [S] Zheng et al. 2016, arXiv:1604.04326, sec. 3.2.  Differs: the mean over several copies.
Not to be confused with `kl`, which is this minus the entropy of the anchor's prediction: their
gradients are equal if the anchor has no gradient, and differ otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional

from ablate.distortion.shapes import Logits, Scalar
from ablate.finetune.loss.term import weighted_sum, widen


def cross_entropy_form(
    anchor: Logits, copies: Sequence[Logits], copy_weights: Sequence[float]
) -> Scalar:
    """-sum_j p_j(anchor) log p_j(copy), averaged over images and, by their weight, copies.

    Args:
        anchor: unnormalised.  A gradient flows into it unless the caller detaches it.
        copies: of the same images, one or more.
        copy_weights: one a copy.

    Returns:
        Scalar in fp32, in nats, at least the mean entropy of the anchor's prediction, which is the
        value (not 0) if all predictions are equal.
    """
    target = functional.softmax(widen(anchor), dim=1)
    logs = (functional.log_softmax(widen(copy), dim=1) for copy in copies)
    return weighted_sum(copy_weights, (-(target * log).sum(1).mean() for log in logs))
