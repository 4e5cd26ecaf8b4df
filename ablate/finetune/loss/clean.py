"""Cross-entropy on the clean images: plain finetuning."""

from __future__ import annotations

from torch.nn import functional

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.finetune.loss.term import Term, Views, widen
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings

NO_LABEL = -1
"""The label of an image that has none."""


def clean_loss(clean_logits: Logits, labels: Labels) -> Scalar:
    """Mean cross-entropy of the clean images that have a label, in nats and fp32.

    Args:
        clean_logits: unnormalised.
        labels: -1 where an image has none: it does not count.

    Returns:
        Scalar >= 0; 0 where no image has a label.
    """
    total = functional.cross_entropy(
        widen(clean_logits), labels, ignore_index=NO_LABEL, reduction="sum"
    )
    return total / (labels != NO_LABEL).sum().clamp_min(1)


def build_term(settings: LossSettings, _layers: LayerNames) -> Term:
    """The term `clean` of the objective."""

    def value(views: Views) -> Scalar:
        return clean_loss(views.require_clean().logits, views.labels)

    return Term(
        "clean",
        settings.clean.weight,
        value,
        needs_clean=True,
        needs_augmented=False,
        needs_labels=True,
    )
