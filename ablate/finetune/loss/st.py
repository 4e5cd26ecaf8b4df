"""Stability training: keep the prediction when the image is distorted.

Source: [S] Zheng et al. 2016, arXiv:1604.04326, sec. 3.2.  Differs: three forms, one or more
copies, a temperature, and a choice of what the prediction is held to, since the paper can be read
in more than one way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.distortion.shapes import Logits, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import FORMS
from ablate.finetune.loss.term import (
    TEACHERS,
    Term,
    Views,
    anchor_target,
    check_branch,
    weighted_sum,
    widen,
)
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings

CLAMP = 1e-7
"""The smallest probability in the mixture of `js`, so that its logarithm is finite."""


def stability_loss(
    clean_logits: Logits,
    *distorted_logits: Tensor,
    form: str = "cross_entropy",
    temperature: float = 1.0,
    copy_weights: Sequence[float] | None = None,
) -> Scalar:
    """Distance of the predictions on one or more copies from those on the clean images.

    Args:
        clean_logits: unnormalised.  A gradient flows into it unless the caller detaches it.
        distorted_logits: `[batch, classes]`, of the same images, distorted: one tensor per copy.
        form: one of `FORMS`.
        temperature: T > 0; logits are divided by T and the result is multiplied by T^2, so that the
            size of its gradient is kept ([S] Hinton et al. 2015, arXiv:1503.02531, sec. 2.1).
        copy_weights: weight of each copy, with sum 1; None: equal.  Not used by "js".

    Returns:
        Scalar in fp32, the mean over the batch, in nats at T = 1.

    Raises:
        ParameterError: if there is no copy, the shapes differ, or the form or the temperature is
            outside its domain.
    """
    measure = _find_form(form, temperature)
    if not distorted_logits:
        raise ParameterError(
            "loss.st: needs the logits of at least one distorted copy, got none. "
            "Pass them after the clean ones."
        )
    for copy in distorted_logits:
        if clean_logits.shape != copy.shape:
            raise ParameterError(
                "loss.st: clean and distorted logits must have one shape, "
                f"got {list(clean_logits.shape)} and {list(copy.shape)}. "
                "Pass one distorted copy per image."
            )
    if copy_weights is None:
        copy_weights = [1 / len(distorted_logits)] * len(distorted_logits)
    anchor, *copies = (widen(logits) / temperature for logits in (clean_logits, *distorted_logits))
    return measure(anchor, copies, copy_weights) * temperature**2


class StabilityLoss(nn.Module):
    """Stability training loss with a chosen form, anchor and temperature.

    Example:
        >>> import torch
        >>> clean, distorted = torch.randn(8, 10), torch.randn(8, 10)
        >>> ablate.StabilityLoss(form="js")(clean, distorted).item() > 0
        True
    """

    def __init__(
        self, form: str = "cross_entropy", anchor: str = "both", temperature: float = 1.0
    ) -> None:
        """Choose the variant.

        Args:
            form: the distance of predictions: "cross_entropy" (the paper's), "kl" or "js".
            anchor: "both": the gradient flows through every branch; "clean": the clean
                prediction is a target without gradient.  For a teacher pass its logits as the
                first argument, with "clean".
            temperature: see `stability_loss`.

        Raises:
            ParameterError: if the form, the anchor or the temperature is outside its domain.
        """
        super().__init__()
        _find_form(form, temperature)
        check_branch("loss.st.anchor", anchor)
        self.form = form
        self.anchor = anchor
        self.temperature = temperature

    def forward(self, clean_logits: Tensor, *distorted_logits: Tensor) -> Scalar:
        """The mean over the batch; all copies have equal weight.

        Args:
            clean_logits: `[batch, classes]`, unnormalised.
            distorted_logits: of the same images, distorted: one tensor a copy.

        Raises:
            ParameterError: if there is no copy or the shapes differ.
        """
        return stability_loss(
            anchor_target(clean_logits, self.anchor),
            *distorted_logits,
            form=self.form,
            temperature=self.temperature,
        )


def build_term(settings: LossSettings, _layers: LayerNames) -> Term:
    """The term `st` of the objective."""
    st = settings.st
    _find_form(st.form, st.temperature)
    teacher = st.anchor if st.anchor in TEACHERS else None

    def value(views: Views) -> Scalar:
        return stability_loss(
            anchor_target(views.of_anchor(st.anchor).logits, st.anchor),
            *(copy.logits for copy in views.copies),
            form=st.form,
            temperature=st.temperature,
            copy_weights=views.copy_weights,
        )

    return Term(
        "st",
        st.weight,
        value,
        needs_clean=teacher is None,
        needs_augmented=True,
        needs_labels=False,
        teacher=teacher,
    )


# -- Forms: distances of the copies' predictions from the anchor's -------------------------
#
# Each takes unnormalised logits in fp32 or fp64: the anchor's, those of one or more copies of the
# same images, and a weight of each copy.  It returns the mean over images and copies, in nats.


Form = Callable[[Tensor, Sequence[Tensor], Sequence[float]], Tensor]


def _find_form(name: str, temperature: float) -> Form:
    """The function of a form, for a temperature in its domain."""
    if name not in FORMS:
        raise ParameterError(
            f"loss.st.form: must be a registered form, got {name!r}. {did_you_mean(name, FORMS)}"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ParameterError(
            f"loss.st.temperature: must be finite and above 0, got {temperature:g}. "
            "1 leaves the logits as they are."
        )
    form: Form = globals()[f"{name}_form"]
    return form


def cross_entropy_form(
    anchor: Logits, copies: Sequence[Logits], copy_weights: Sequence[float]
) -> Scalar:
    """-sum_j p_j(anchor) log p_j(copy): the form of stability training ([S] as above).

    At least the mean entropy of the anchor's prediction, which is the value (not 0) if all
    predictions are equal.  Not to be confused with `kl`, which is this minus that entropy: their
    gradients are equal if the anchor has no gradient, and differ otherwise.
    """
    target = functional.softmax(anchor, dim=1)
    logs = (functional.log_softmax(copy, dim=1) for copy in copies)
    return weighted_sum(copy_weights, (-(target * log).sum(1).mean() for log in logs))


def kl_form(anchor: Logits, copies: Sequence[Logits], copy_weights: Sequence[float]) -> Scalar:
    """KL(p(anchor) || p(copy)), >= 0.

    Source: [S] the regulariser of TRADES, Zhang et al. 2019, arXiv:1901.08573, with the order of
    the two predictions in the authors' code; with the anchor `both` the gradient flows through
    both, as there.  Differs: the second image is an augmented copy and not an adversarial one.
    """
    target = functional.log_softmax(anchor, dim=1)
    logs = (functional.log_softmax(copy, dim=1) for copy in copies)
    gaps = (functional.kl_div(log, target, reduction="batchmean", log_target=True) for log in logs)
    return weighted_sum(copy_weights, gaps)


def js_form(anchor: Logits, copies: Sequence[Logits], _copy_weights: Sequence[float]) -> Scalar:
    """Jensen-Shannon divergence: the mean over anchor and copies, all of equal weight, of
    KL(p || M), M their mean prediction; in [0, log(copies + 1)].

    Source: [S] AugMix, Hendrycks et al. 2020, arXiv:1912.02781, sec. 3, with two copies and a
    mixture clamped at 1e-7.  Differs: any number of copies.
    """
    logs = [functional.log_softmax(logits, dim=1) for logits in (anchor, *copies)]
    mixture = torch.stack([log.exp() for log in logs]).mean(0).clamp(min=CLAMP).log()
    gaps = (functional.kl_div(mixture, log, reduction="batchmean", log_target=True) for log in logs)
    return weighted_sum([1.0] * len(logs), gaps) / len(logs)
