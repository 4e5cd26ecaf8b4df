"""One distortion type drawn for each image, by the mix.

Source: reading (a) of combined augmentations (CA) [O]; the idea of CA is Kapoor et al. 2020,
arXiv:2012.01386 [P].  One type is single augmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ablate.distortion.kind import check_images
from ablate.distortion.shapes import Images
from ablate.errors import ParameterError
from ablate.finetune.augment.augmentation import Augmentation
from ablate.finetune.augment.mixture import (
    Limits,
    Mixture,
    build_mixture,
    draw_clean,
    draw_strengths,
    draw_types,
    drawn_copies,
    names_of,
    rows_by_number,
)
from ablate.study.settings import AugmentSettings


def distort_per_sample(
    images: Images, seed: int, mixture: Mixture, clean_fraction: float = 0.0
) -> Images:
    """Distort each image by one type, at its own strength.

    Every draw depends only on (seed, purpose): image i of a batch gets the same uniform number for
    its type and its strength and, for each type, the same noise, regardless of the mix.  So two
    settings that select the same type for an image produce the same pixels.

    Args:
        images: in [0, 1].
        seed: of this copy.
        mixture: the types; their ratios are the probabilities.
        clean_fraction: probability that an image is left as it is, in [0, 1).
    """
    drawn = draw_types(len(images), mixture, seed)
    drawn.masked_fill_(draw_clean(len(images), clean_fraction, seed), -1)
    uniform = draw_strengths(images, seed)
    copy = images.clone()
    for kind, rows in zip(mixture, rows_by_number(drawn, len(mixture), images.device), strict=True):
        kind.distort_rows(rows, copy, uniform, seed)
    return copy


def build_method(settings: AugmentSettings) -> Augmentation:
    """`settings.copies` copies, each by `distort_per_sample`."""
    return drawn_copies(settings, distort_per_sample)


_DEFAULT_FAMILIES = AugmentSettings().families


class CombinedAugmentations:
    """Distorts each image of a batch by one type, drawn by the mix, with a random strength.

    For your own training loop; `build_augmentation` has all methods.

    Attributes:
        types: the distortion types with a ratio above 0 (which the network has *seen*).
        copy_weights: (1.0,).

    Example:
        >>> import torch
        >>> mix = {"noise": 2.0, "blur": 1.0}
        >>> augment = ablate.CombinedAugmentations(["noise", "blur"], mix=mix)
        >>> images = torch.rand(8, 3, 32, 32)
        >>> copies = augment(images, seed=0)
        >>> copies.shape, torch.equal(copies, augment(images, seed=0))
        (torch.Size([8, 3, 32, 32]), True)
    """

    copy_weights = (1.0,)

    def __init__(
        self,
        families: Sequence[str] = _DEFAULT_FAMILIES,
        mix: Mapping[str, float] | None = None,
        strength: float = 1.0,
        *,
        types: Sequence[str] | None = None,
        strengths: Mapping[str, Limits] | None = None,
        clean_fraction: float = 0.0,
    ) -> None:
        """Choose the distortions.

        Args:
            families, mix, types: see `type_ratios`.  One type is single augmentation.
            strength: each image's strength is uniform in [0, strength]; in (0, 1].
            strengths: by type, the highest strength instead of `strength`, or the lowest and the
                highest.
            clean_fraction: fraction of images left clean, in [0, 1).

        Raises:
            ParameterError: as `build_mixture`, or if the clean fraction is outside [0, 1).
        """
        if not 0 <= clean_fraction < 1:
            raise ParameterError(
                f"augment.clean_fraction: must be at least 0 and below 1, got {clean_fraction:g}. "
                "0 distorts every image."
            )
        self._mixture = build_mixture(families, mix, strength, types=types, strengths=strengths)
        self._clean_fraction = clean_fraction
        self.types = names_of(self._mixture)

    def __call__(self, images: Tensor, *, seed: int) -> Images:
        """The augmented copy of a batch.

        Args:
            images: floating point in [0, 1], `[batch, channel, height, width]`, 1 or 3 channels.
            seed: of this batch; the same seed gives the same copy on a CPU.

        Returns:
            New images of the same shape, dtype, device and memory format.

        Raises:
            ParameterError: if the images are no such batch.
        """
        check_images("augment", images)
        return distort_per_sample(images, seed, self._mixture, self._clean_fraction)

    def copies(self, images: Tensor, *, seed: int) -> tuple[Images, ...]:
        """The one copy; see `Augmentation.copies`."""
        return (self(images, seed=seed),)
