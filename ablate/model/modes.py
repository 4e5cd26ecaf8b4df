"""The mode that a network is in: training, scoring, or training with frozen batch norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablate.errors import ParameterError


@contextmanager
def kept_mode(model: nn.Module) -> Iterator[None]:
    """Give every module back the mode that it had, whatever the block sets."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def freeze_batch_norm(model: nn.Module) -> None:
    """Let every batch norm use its running statistics and leave them as they are.

    Its scale and shift go on learning.  `model.train()` undoes it.

    Raises:
        ParameterError: if the network has none.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise ParameterError(
            f"finetune.batch_norm: frozen needs a network with batch norm, got "
            f"{type(model).__name__}, which has none. Write joint, which means nothing to it."
        )
    for norm in norms:
        norm.eval()
