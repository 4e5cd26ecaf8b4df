"""`scale: gradient`: state a term's weight as a ratio of gradient norms.

Source: own reading [O].  The idea, that terms are weighed by what they do to the weights and not by
their values, is that of gradient normalisation (Chen et al. 2018, arXiv:1711.02257), done once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablate.distortion.shapes import Scalar
from ablate.errors import ParameterError
from ablate.finetune.loss.objective import RobustLoss
from ablate.finetune.loss.term import Views


def balance_gradients(loss: RobustLoss, views: Views, model: nn.Module) -> dict[str, float]:
    """Factors that give each `scale: gradient` term the gradient norm of the other terms.

    Times its weight, such a term then begins with `weight` times the others' gradient norm.

    Args:
        loss: with at least one such term.
        views: of the first batch; their graph is kept.
        model: whose gradient is measured.

    Returns:
        Name of the term -> factor.

    Raises:
        ParameterError: if the other terms, or the term itself, have no gradient.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    values = loss.values(views)
    weights = {term.name: term.weight for term in loss.terms}
    others = [
        weights[name] * value for name, value in values.items() if name not in loss.gradient_scaled
    ]
    reference = _norm(sum(others, start=others[0] * 0), parameters) if others else 0.0
    factors = {}
    for name in loss.gradient_scaled:
        own = _norm(values[name], parameters)
        if not (reference > 0 and own > 0 and math.isfinite(reference / own)):
            raise ParameterError(
                f"loss.{name}.scale: gradient needs a gradient of this term and of the others, got "
                f"norms {own:g} and {reference:g}. Add a term with a weight above 0, or write "
                "scale: value."
            )
        factors[name] = reference / own
    return factors


def _norm(value: Scalar, parameters: Sequence[Tensor]) -> float:
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    norms = [torch.linalg.vector_norm(one.float()) for one in gradients if one is not None]
    return float(torch.stack(norms).square().sum().sqrt())
