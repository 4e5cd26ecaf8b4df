"""An exponential moving average (EMA) of a network's weights, step by step.

Source: Polyak and Juditsky 1992 for averaging; the exponential form as in Tarvainen and Valpola
2017, arXiv:1703.01780, whose mean teacher the anchor `ema` is.
"""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_weights(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that follows it: after each step `update_parameters(model)`.

    Args:
        model: copied as it stands; the copy is in eval mode and has no gradient.
        decay: share of the average that a step keeps, in (0, 1).  Statistics of batch norm are
            averaged too, so that the copy is whole.
    """
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    # Torch's first update copies: it is made now, so that the average begins before any step.
    average.update_parameters(model)
    return average.eval().requires_grad_(False)
