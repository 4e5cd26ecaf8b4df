"""What makes the augmented copies of a batch, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

from torch import Tensor

from ablate.distortion.kind import check_images
from ablate.distortion.shapes import Images
from ablate.finetune.augment import METHODS
from ablate.study.seeds import derive_seed
from ablate.study.settings import AugmentSettings


@runtime_checkable
class Augmentation(Protocol):
    """Makes augmented copies of a batch.

    Attributes:
        types: the distortion types that the network sees, in the order of `FAMILIES`.
        copy_weights: how much each copy counts in a mean over copies, summing to 1; there are as
            many copies as weights.
    """

    @property
    def types(self) -> tuple[str, ...]: ...

    @property
    def copy_weights(self) -> tuple[float, ...]: ...

    def copies(self, images: Tensor, *, seed: int) -> tuple[Images, ...]:
        """Make the copies of a batch; row i of each is image i.

        Args:
            images: floating point in [0, 1], `[batch, channel, height, width]`, 1 or 3 channels.
            seed: of this batch; the same seed gives the same copies on a CPU.

        Returns:
            New images of the same shape, dtype, device and memory format, in [0, 1].

        Raises:
            ParameterError: if the images are not such a batch.
        """
        ...


@dataclass(frozen=True)
class IndependentCopies:
    """Copies of the same kind and weight, each drawn independently.

    Attributes:
        types: see `Augmentation`.
        count: number of copies, at least 1.
        make: (images, seed) -> one copy.
    """

    types: tuple[str, ...]
    count: int
    make: Callable[[Images, int], Images]

    @property
    def copy_weights(self) -> tuple[float, ...]:
        return (1 / self.count,) * self.count

    def copies(self, images: Tensor, *, seed: int) -> tuple[Images, ...]:
        """See `Augmentation.copies`; the first copies are the same for any count."""
        check_images("augment", images)
        return tuple(self.make(images, copy_seed(seed, number)) for number in range(self.count))


def copy_seed(seed: int, number: int) -> int:
    """The seed of a batch's copy: that of the batch for the first, numbered from 0."""
    return derive_seed(seed, "copy", number) if number else seed


# -- The augmentation that a study's settings describe -------------------------------------


def build_augmentation(settings: AugmentSettings) -> Augmentation:
    """Build the augmentation of `settings.method`.

    Settings that the method does not use are ignored, because a search over methods has the
    settings of all: only `composed` uses `depth`, and `augmix` uses its own section,
    `clean_fraction` and `copies`.

    Raises:
        ParameterError: if the settings are inconsistent; see `build_mixture` and the methods.
    """
    module = import_module(f"ablate.finetune.augment.{METHODS[settings.method]}")
    augmentation: Augmentation = module.build_method(settings)
    return augmentation
