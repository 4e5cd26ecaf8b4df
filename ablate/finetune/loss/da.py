"""Data augmentation: cross-entropy on the augmented copies."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.finetune.loss.term import Pair, Term
from ablate.study.settings import LossSettings


def da_loss(augmented_logits: Logits, labels: Labels) -> Scalar:
    """Mean cross-entropy of the augmented copies, in nats and fp32."""
    return functional.cross_entropy(augmented_logits.float(), labels)


def build_term(settings: LossSettings, _taps: Sequence[str]) -> Term:
    """The term `da` of the objective."""

    def value(pair: Pair) -> Scalar:
        return da_loss(pair.require_augmented(), pair.labels)

    return Term("da", settings.da.weight, value, needs_augmented=True)
