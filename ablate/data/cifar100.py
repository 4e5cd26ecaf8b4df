"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes, 10,000 to test on.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; read by
torchvision from the python version's files.  The classes are the fine ones.
"""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import CIFAR100

from ablate.data.cifar10 import published_cifar, step_out
from ablate.data.dataset import Source
from ablate.data.published import read_published
from ablate.study.settings import DatasetSettings


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """CIFAR-100 at `image_size`; see `read_published`."""
    settings = step_out(settings, CIFAR100.base_folder)
    return read_published(published_cifar("cifar100", CIFAR100), settings, base, cache, image_size)
