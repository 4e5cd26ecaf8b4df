"""Distances of predictions, one per file; importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ablate.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Form = Callable[[Tensor, Sequence[Tensor], Sequence[float]], Tensor]

FORMS = (
    "cross_entropy",
    "kl",
    "js",
)
"""What `loss.st.form` may name."""


def load_form(name: str) -> Form:
    """The function (anchor's logits, those of each copy, weight of each copy) -> mean distance.

    Raises:
        ParameterError: if there is no form of that name.
    """
    if name not in FORMS:
        raise ParameterError(
            f"loss.st.form: must be a registered form, got {name!r}. {did_you_mean(name, FORMS)}"
        )
    form: Form = getattr(import_module(f"ablate.finetune.loss.form.{name}"), f"{name}_form")
    return form
