"""The optimiser of a network: SGD with Nesterov momentum, or AdamW.

Source: Sutskever et al. 2013 for Nesterov momentum; Loshchilov and Hutter 2019, arXiv:1711.05101
for AdamW.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ablate.study.settings import TrainingSettings


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser that the settings name; weight decay on matrices and filters alone.

    Norms and biases are left out of weight decay, since there it moves the network's scale and
    does not regularise it.

    Args:
        model: all of its parameters are optimised.
        settings: optimiser, learning rate (per step), weight decay and, for `sgd`, momentum; a
            momentum of 0 is plain SGD.  `adamw` keeps torch's betas, 0.9 and 0.999.
    """
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1]},
        {
            "params": [parameter for parameter in parameters if parameter.ndim <= 1],
            "weight_decay": 0,
        },
    ]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(
        groups,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=decay,
        nesterov=settings.momentum > 0,
        fused=True,
    )
