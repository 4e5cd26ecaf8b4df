"""The precision that losses are computed in, whatever the network computes in."""

from __future__ import annotations

import torch
from torch import Tensor


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """fp32, or fp64 for an fp64 tensor."""
    return torch.promote_types(tensor.dtype, torch.float32)


def widen(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or in fp64 if it is fp64; the same one where nothing changes."""
    return tensor.to(wide_dtype(tensor))


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products keep the tensor's own precision."""
    return torch.autocast(tensor.device.type, enabled=False)
