"""Data augmentation: cross-entropy on the augmented copies."""

from __future__ import annotations

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.finetune.loss.clean import clean_loss
from ablate.finetune.loss.term import Term, Views, weighted_sum
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings


def da_loss(augmented_logits: Logits, labels: Labels) -> Scalar:
    """Mean cross-entropy of one copy of each labelled image, in nats and fp32.

    Args:
        augmented_logits: unnormalised, of the augmented copies.
        labels: of the images; images with -1 do not count.

    Returns:
        Scalar >= 0; 0 if no image has a label.
    """
    return clean_loss(augmented_logits, labels)


def copies_loss(views: Views, labels: Labels) -> Scalar:
    """`da_loss` of a batch, the weighted mean over the copies."""
    losses = (da_loss(copy.logits, labels) for copy in views.require_copies())
    return weighted_sum(views.copy_weights, losses)


def build_term(settings: LossSettings, _layers: LayerNames) -> Term:
    """The term `da` of the objective: the weighted mean over the copies."""

    return Term(
        "da",
        settings.da.weight,
        lambda views: copies_loss(views, views.labels),
        needs_clean=False,
        needs_augmented=True,
        needs_labels=True,
    )
