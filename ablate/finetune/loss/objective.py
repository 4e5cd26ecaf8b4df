"""The objective of a finetuning: the weighted sum of the terms that `loss.terms` names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import import_module

from ablate.distortion.shapes import Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import TERMS
from ablate.finetune.loss.term import Pair, Term
from ablate.study.settings import LossSettings

__all__ = ["Pair", "RobustLoss", "build_loss"]


class RobustLoss:
    """A sum of weighted terms.

    Attributes:
        terms: in the order in which they were named.
        needs_augmented: whether a term reads augmented copies; if not, none need be made.
        layers: taps whose feature maps the terms read; empty if none.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self.needs_augmented = any(term.needs_augmented for term in self.terms)
        self.layers = tuple(dict.fromkeys(layer for term in self.terms for layer in term.layers))

    def __call__(self, pair: Pair) -> Scalar:
        """The objective of a batch, in fp32, with its gradient."""
        first, *others = (term.weight * term.value(pair) for term in self.terms)
        return sum(others, start=first)


def build_loss(settings: LossSettings, taps: Sequence[str]) -> RobustLoss:
    """The objective that the settings describe.

    Args:
        settings: the study's `loss` section, with the values of a trial filled in.
        taps: the layers whose feature maps the model offers.

    Raises:
        ParameterError: if a term, layer, distance or form is unknown, a term is repeated, the
            layer weights name other layers or are all zero, or every term's weight is zero.
    """
    names = settings.term_names
    for name in names:
        if name not in TERMS:
            raise ParameterError(
                f"loss.terms: must be names joined by +, got {settings.terms!r} with {name!r}. "
                f"{did_you_mean(name, TERMS)}"
            )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ParameterError(
            f"loss.terms: a term may stand once, got {settings.terms!r} with {repeated[0]} twice. "
            f"Remove one and set loss.{repeated[0]}.weight."
        )
    terms: list[Term] = []
    for name in names:
        terms.append(import_module(f"ablate.finetune.loss.{name}").build_term(settings, taps))
    if not any(term.weight for term in terms):
        raise ParameterError(
            f"loss.terms: one weight must be above 0, got 0 for all of {settings.terms}. "
            f"Raise loss.{names[0]}.weight."
        )
    return RobustLoss(terms)
