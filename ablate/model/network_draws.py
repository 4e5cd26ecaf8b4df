"""What a network draws itself (dropout, stochastic depth), from torch's global generators.

They are seeded before each step, so that such a network too has the bits of a run that was never
stopped, and given back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_generators(device: str) -> Iterator[None]:
    """Give torch's global generators back, whatever the block does with them."""
    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def seed_generators(seed: int, device: str) -> None:
    """Seed the generators that a network on this device draws from.

    Args:
        seed: in [0, 2**63).
    """
    torch.default_generator.manual_seed(seed)
    if device == "cuda":
        torch.cuda.manual_seed(seed)
