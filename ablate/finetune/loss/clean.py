"""Cross-entropy on the clean images: plain finetuning."""

from __future__ import annotations

from torch.nn import functional

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.finetune.loss.term import Term, widen
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


def label_factor(labels: Labels, rows: slice) -> Scalar:
    """Share of labelled images in the part over that in the batch.  A part's loss times this and
    times the part's share of the images sums to the loss of the whole batch.

    Args:
        labels: of the whole batch.
        rows: of the part.

    Returns:
        Scalar, exactly 1 where all images have a label; a GPU is not waited for.
    """
    known = labels != NO_LABEL
    part = known[rows]
    return part.sum() * len(known) / (known.sum().clamp_min(1) * len(part))


def build_term(settings: LossSettings, _layers: LayerNames) -> Term:
    """The term `clean` of the objective."""
    return Term(
        "clean",
        settings.clean.weight,
        lambda views: clean_loss(views.of_anchor("clean").logits, views.labels),
        needs_clean=True,
        needs_augmented=False,
        needs_labels=True,
    )
