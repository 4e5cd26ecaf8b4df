"""The objective of a finetuning: the weighted sum of the terms that `loss.terms` names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType

from ablate.distortion.shapes import Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import TERMS
from ablate.finetune.loss.term import Term, Views, weighted_sum
from ablate.model.taps import LayerNames
from ablate.study.settings import LossSettings


class RobustLoss:
    """A sum of weighted terms.

    Attributes:
        terms: in the order of `loss.terms`.
        needs_clean: whether a term reads the student on the clean images.
        needs_augmented: whether a term reads augmented copies; if not, none need be made.
        needs_labels: whether a term reads labels.
        layers: whose feature maps the terms read; empty if none.
        activation: whether they are read after or before a layer's last activation.
        teachers: anchors whose networks see the clean images.
        teacher_decay: decay per step of the weight average of the anchor "ema".
        gradient_scaled: names of the terms whose weight is a ratio of gradient norms.
        min_images: smallest number of images that all terms can compare.
    """

    def __init__(self, terms: Sequence[Term], *, teacher_decay: float = 0.99) -> None:
        """Join terms, at least one.

        Raises:
            ParameterError: if some terms read feature maps after the activation and some before.
        """
        self.terms = tuple(terms)
        self.needs_clean = any(term.needs_clean for term in terms)
        self.needs_augmented = any(term.needs_augmented for term in terms)
        self.needs_labels = any(term.needs_labels for term in terms)
        self.layers = tuple(dict.fromkeys(layer for term in terms for layer in term.layers))
        readers = {term.activation: term.name for term in terms if term.layers}
        if len(readers) > 1:
            raise ParameterError(
                "loss: all terms must read feature maps in the same place, got "
                f"{' and '.join(f'{name} {place}' for place, name in sorted(readers.items()))} the "
                "activation. Use the same activation for all."
            )
        self.activation = next(iter(readers), "after")
        teachers = dict.fromkeys(term.teacher for term in terms)
        self.teachers = tuple(name for name in teachers if name is not None)
        self.teacher_decay = teacher_decay
        self.gradient_scaled = tuple(term.name for term in terms if term.scale == "gradient")
        self.min_images = max(term.min_images for term in terms)

    def check_batch(self, images: int) -> None:
        """Refuse a batch with fewer images than some term compares.

        Args:
            images: that go through the network at once, without their copies.

        Raises:
            ParameterError: if they are too few.
        """
        if images < self.min_images:
            raise ParameterError(
                f"finetune.batch_size: this objective compares images of a batch and needs "
                f"{self.min_images} at once, got {images}. Raise it, or lower accumulation_steps."
            )

    def values(self, views: Views) -> dict[str, Scalar]:
        """Name of each term -> its value over the batch, unweighted, in fp32, with its gradient."""
        return {term.name: term.value(views) for term in self.terms}

    def __call__(
        self,
        views: Views,
        factors: Mapping[str, float] = MappingProxyType({}),
        *,
        label_factor: Scalar | float = 1.0,
    ) -> Scalar:
        """The objective of a batch, in fp32, with its gradient.

        Args:
            views: outputs of the networks for the batch.
            factors: name of a term -> additional factor of its weight; default 1.
            label_factor: additional factor of the terms that read labels, where the batch is a
                part of a larger one; see `clean.label_factor`.
        """
        weights = (
            term.weight * factors.get(term.name, 1.0) * (label_factor if term.needs_labels else 1.0)
            for term in self.terms
        )
        return weighted_sum(weights, self.values(views).values())


def build_loss(settings: LossSettings, layers: LayerNames) -> RobustLoss:
    """The objective that the settings describe.

    Args:
        settings: the study's `loss` section, with the values of a trial filled in.
        layers: the network's taps and module paths.

    Raises:
        ParameterError: if a term, layer, distance or form is unknown, a term is repeated, the
            layer weights name other layers or are all zero, or every term's weight is zero.
    """
    terms: list[Term] = []
    for name, count in Counter(settings.term_names).items():
        if name not in TERMS:
            raise ParameterError(
                f"loss.terms: must be names joined by +, got {settings.terms!r} with {name!r}. "
                f"{did_you_mean(name, TERMS)}"
            )
        if count > 1:
            raise ParameterError(
                f"loss.terms: a term may be given once, got {settings.terms!r} with {name} twice. "
                f"Remove one and set loss.{name}.weight."
            )
        terms.append(import_module(f"ablate.finetune.loss.{name}").build_term(settings, layers))
    if not any(term.weight for term in terms):
        raise ParameterError(
            f"loss.terms: one weight must be above 0, got 0 for all of {settings.terms}. "
            f"Raise loss.{terms[0].name}.weight."
        )
    return RobustLoss(terms, teacher_decay=settings.teacher_decay)
