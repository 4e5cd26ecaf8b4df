"""Data augmentation: cross-entropy on the augmented copies."""

from __future__ import annotations

from ablate.distortion.shapes import Labels, Scalar
from ablate.finetune.loss.clean import clean_loss
from ablate.finetune.loss.term import Term, Views
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings


def copies_loss(views: Views, labels: Labels) -> Scalar:
    """Mean cross-entropy of the copies of labelled images, the weighted mean over the copies."""
    return views.mean_over_copies(lambda copy: clean_loss(copy.logits, labels))


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
