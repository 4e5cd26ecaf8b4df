"""A small real study and a network that takes no training."""

from __future__ import annotations

import pytest
import torch

from ablate.data.dataset import Split, digest_images
from ablate.model.environment import Environment, resolve_environment


@pytest.fixture
def environment() -> Environment:
    made = resolve_environment("fp32", threads=1, device="cpu")
    made.apply()
    return made


@pytest.fixture
def split() -> Split:
    """20 images of 8x8 noise, 4 classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(20) % 4
    return Split(images, labels, digest_images(images.numpy(), labels.numpy()))
