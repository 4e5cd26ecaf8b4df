"""Stability training: keep the prediction when the image is distorted.

Source: [S] Zheng et al. 2016, arXiv:1604.04326, sec. 3.2.  Differs: three forms, one or more
copies, a temperature, and a choice of what the prediction is held to, since the paper can be read
in more than one way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ablate.distortion.shapes import Logits, Scalar
from ablate.errors import ParameterError
from ablate.finetune.loss.form import load_form
from ablate.finetune.loss.term import (
    ANCHORS,
    Term,
    Views,
    anchor_view,
    check_anchor,
    check_teacher,
    hold_anchor,
    teacher_of,
    widen,
)
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings


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
    measure = load_form(form)
    _check_temperature(temperature)
    _check_logits(clean_logits, distorted_logits)
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
        load_form(form)
        check_anchor("loss.st.anchor", anchor)
        _check_temperature(temperature)
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
            hold_anchor(clean_logits, self.anchor),
            *distorted_logits,
            form=self.form,
            temperature=self.temperature,
        )


def build_term(settings: LossSettings, _layers: LayerNames) -> Term:
    """The term `st` of the objective."""
    st = settings.st
    load_form(st.form)
    check_anchor("loss.st.anchor", st.anchor, ANCHORS)
    teacher = teacher_of(st.anchor)

    def value(views: Views) -> Scalar:
        copies = [copy.logits for copy in views.require_copies()]
        anchor = anchor_view(views, st.anchor).logits
        if teacher is not None:
            check_teacher("loss.st.anchor", "the teacher's logits", anchor, copies[0])
        return stability_loss(
            hold_anchor(anchor, st.anchor),
            *copies,
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


def _check_temperature(temperature: float) -> None:
    if not (math.isfinite(temperature) and temperature > 0):
        raise ParameterError(
            f"loss.st.temperature: must be finite and above 0, got {temperature:g}. "
            "1 leaves the logits as they are."
        )


def _check_logits(clean: Tensor, copies: Sequence[Tensor]) -> None:
    if not copies:
        raise ParameterError(
            "loss.st: needs the logits of at least one distorted copy, got none. "
            "Pass them after the clean ones."
        )
    for copy in copies:
        if clean.shape != copy.shape:
            raise ParameterError(
                "loss.st: clean and distorted logits must have one shape, "
                f"got {list(clean.shape)} and {list(copy.shape)}. "
                "Pass one distorted copy per image."
            )
