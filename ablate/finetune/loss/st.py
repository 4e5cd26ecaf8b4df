"""Stability training: keep the prediction when the image is distorted.

Source: Zheng et al. 2016, arXiv:1604.04326, sec. 3.2, the cross-entropy form.  Differs: whether a
gradient flows through the clean branch can be chosen, since the paper can be read either way.
Not to be confused with TRADES, whose distance is a KL divergence to an adversarial image.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from ablate.distortion.shapes import Logits, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import FORMS
from ablate.finetune.loss.anchor import check_anchor, hold_anchor
from ablate.finetune.loss.term import Pair, Term
from ablate.study.settings import LossSettings


def stability_loss(clean_logits: Logits, distorted_logits: Logits) -> Scalar:
    """Cross-entropy of the prediction on the distorted image against that on the clean one.

    -sum_j p_j(x) log p_j(x'), averaged over the batch, in fp32 whatever autocast says.

    Args:
        clean_logits: of x, unnormalised.  A gradient flows into it unless the caller detaches it.
        distorted_logits: of x', the same images distorted.

    Returns:
        Scalar, in nats, at least the mean entropy of the clean prediction: where both
        predictions are the same it is that entropy and not 0.
    """
    target = functional.softmax(clean_logits.float(), dim=1)
    return -(target * functional.log_softmax(distorted_logits.float(), dim=1)).sum(1).mean()


class StabilityLoss(nn.Module):
    """`stability_loss` with a chosen form and anchor."""

    def __init__(self, form: str = "cross_entropy", anchor: str = "both") -> None:
        """Choose the variant.

        Args:
            form: the distance of two predictions; "cross_entropy" is the paper's.
            anchor: "both": the gradient flows through both branches; "clean": the clean
                prediction is a target without gradient.

        Raises:
            ParameterError: if the form or the anchor is unknown.
        """
        super().__init__()
        if form not in FORMS:
            raise ParameterError(
                f"loss.st.form: must be a registered form, got {form!r}. "
                f"{did_you_mean(form, FORMS)}"
            )
        check_anchor("loss.st.anchor", anchor)
        self.form = form
        self.anchor = anchor

    def forward(self, clean_logits: Tensor, distorted_logits: Tensor) -> Scalar:
        """The mean over the batch.

        Args:
            clean_logits: `[batch, classes]`, unnormalised.
            distorted_logits: of the same images, distorted.

        Raises:
            ParameterError: if the shapes differ.
        """
        if clean_logits.shape != distorted_logits.shape:
            raise ParameterError(
                "loss.st: clean and distorted logits must have one shape, "
                f"got {list(clean_logits.shape)} and {list(distorted_logits.shape)}. "
                "Pass one distorted copy per image."
            )
        return stability_loss(hold_anchor(clean_logits, self.anchor), distorted_logits)


def build_term(settings: LossSettings, _taps: Sequence[str]) -> Term:
    """The term `st` of the objective."""
    loss = StabilityLoss(settings.st.form, settings.st.anchor)

    def value(pair: Pair) -> Scalar:
        stability: Tensor = loss(pair.clean_logits, pair.require_augmented())
        return stability

    return Term("st", settings.st.weight, value, needs_augmented=True)
