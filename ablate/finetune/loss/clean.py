"""Cross-entropy on the clean images: plain finetuning."""

from __future__ import annotations

from collections.abc import Sequence

from torch.nn import functional

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.finetune.loss.term import Pair, Term
from ablate.study.settings import LossSettings


def clean_loss(clean_logits: Logits, labels: Labels) -> Scalar:
    """Mean cross-entropy of the clean images, in nats and fp32."""
    return functional.cross_entropy(clean_logits.float(), labels)


def build_term(settings: LossSettings, _taps: Sequence[str]) -> Term:
    """The term `clean` of the objective."""

    def value(pair: Pair) -> Scalar:
        return clean_loss(pair.clean_logits, pair.labels)

    return Term("clean", settings.clean.weight, value, needs_augmented=False)
