"""Distances of two feature maps, by the names in `DISTANCES`.

Each takes the map of the clean images and that of the same images distorted, of one shape: first
axis the image and, for those that read channels, second axis the channel.  A gradient flows into
each map unless the caller detaches it.  Each returns the mean over the batch in fp32 (in fp64 for
fp64 maps), regardless of autocast; 0 for equal maps.

[S] is standard and read in public source, [O] is our own reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.blocks import (
    gram_matrix,
    per_image,
    scatter,
    squared_error,
    squared_errors,
)
from ablate.finetune.loss.term import wide_dtype

EPSILON = 1e-6
"""Added to the squared norm in `relative`, so that a clean map of zeros does not divide by zero."""


def load_distance(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function (clean feature map, distorted feature map) -> mean distance over the batch.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    if name not in DISTANCES:
        raise ParameterError(
            f"loss.fma.distance: must be a registered distance, got {name!r}. "
            f"{did_you_mean(name, tuple(DISTANCES))}"
        )
    distance: Callable[[Tensor, Tensor], Tensor] = globals()[f"{name}_distance"]
    return distance


def direction(vectors: Tensor, axes: Sequence[int]) -> Tensor:
    """Vectors over these axes, in fp32 or fp64, scaled to length 1; a vector of zeros is not
    changed, and its gradient is finite."""
    length = torch.linalg.vector_norm(vectors, dim=tuple(axes), keepdim=True)
    unit: Tensor = vectors / length.where(length > 0, 1.0)
    return unit


def direction_gap(first: Tensor, second: Tensor, axes: Sequence[int]) -> Tensor:
    """1 - cos of the angle between two vectors over these axes, in [0, 2]; 1 between a vector of
    zeros and any other, 0 between two of zeros.

    Computed as half the squared chord, which is precise for similar vectors.
    """
    over = tuple(axes)
    gap: Tensor = (direction(first, over) - direction(second, over)).square().sum(over) / 2
    # The chord from a vector of zeros has length 1, half of the required value.
    zero = [torch.linalg.vector_norm(one.detach(), dim=over) == 0 for one in (first, second)]
    gap += (zero[0] != zero[1]) / 2
    return gap


def relative_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """||F - F'||^2 / (stopgrad ||F||^2 + eps) [O]: free of scale, the default of FMA.

    Not to be confused with `mse`, which shrinks with the activations.

    Returns:
        1 if a distorted map is all zeros.  For a clean map of all zeros it is the squared error
        over eps, which is large.
    """
    return relative_distances([clean], [distorted])[0]


def relative_distances(
    clean: Sequence[Tensor], distorted: Sequence[Tensor]
) -> Float[Tensor, " layers"]:
    """`relative_distance` of several layers: what is one number an image is computed for all at
    once, since it is the default."""
    errors = squared_errors(clean, distorted)
    norms = torch.empty_like(errors)
    for norm, features in zip(norms, clean, strict=True):
        axes = tuple(range(1, features.ndim))
        torch.linalg.vector_norm(features.detach(), dim=axes, dtype=wide_dtype(features), out=norm)
    return (errors / norms.square_().add_(EPSILON)).mean(1)


def mse_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean of (F - F')^2, in squared units of the activations; lowered by shrinking them."""
    return squared_error(clean, distorted).mean() / math.prod(clean.shape[1:])


def l1_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean of |F - F'|, in units of the activations; lowered by shrinking them.  [S]

    It weighs a few large differences less than `mse` does.
    """
    axes = tuple(range(1, clean.ndim))
    return per_image(lambda one, other: (one - other).abs().mean(axes), clean, distorted).mean()


def cosine_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <F, F'> / (||F|| ||F'||), each image's map as one vector: free of scale.  [S]

    Returns:
        In [0, 2].  A map of zeros has no direction: its distance is 1 from any other map, and 0
        from another map of zeros.
    """
    axes = range(1, clean.ndim)
    return per_image(lambda one, other: direction_gap(one, other, axes), clean, distorted).mean()


def cosine_per_position_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over positions of 1 - <f, f'> / (||f|| ||f'||), f the channels at one position.  [S]

    Not to be confused with `cosine`, where positions with large activations weigh more; a map with
    two axes is one position, which gives it.

    Returns:
        In [0, 2]; positions of zeros as maps of zeros in `cosine`.
    """

    def gap(one: Tensor, other: Tensor) -> Tensor:
        return direction_gap(one, other, [1]).reshape(len(one), -1).mean(1)

    return per_image(gap, clean, distorted).mean()


def unit_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over positions of ||f / ||f|| - f' / ||f'|| ||^2, f the channels at one position.

    Source: [S] LPIPS, Zhang et al. 2018, arXiv:1801.03924, eq. 1, with all channel weights 1.
    Differs: a vector of zeros stays one, with no constant in the denominator.

    Returns:
        In [0, 4]: twice `cosine_per_position`, but the distance of a position of zeros is 1 from
        any other.
    """

    def chord(one: Tensor, other: Tensor) -> Tensor:
        squares = (direction(one, [1]) - direction(other, [1])).square().sum(1)
        return squares.reshape(len(squares), -1).mean(1)

    return per_image(chord, clean, distorted).mean()


def attention_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean (A - A')^2 over positions, A = a / ||a|| and a = mean_c F^2: where a layer is active.

    A map with a single position would have the constant attention 1 and no gradient, so its
    channels are treated as positions [O].

    Source: [S] Zagoruyko and Komodakis 2017, arXiv:1612.03928, sec. 3.1, activation-based attention
    with p = 2; the mean square of their code, where the paper writes a norm.

    Returns:
        In [0, 2 / positions].  A map of zeros has the attention 0 everywhere.
    """

    def attention(features: Tensor) -> Tensor:
        energy = features.square()
        if math.prod(features.shape[2:]) > 1:
            energy = energy.mean(1)
        return direction(energy.flatten(1), [1])

    def difference(one: Tensor, other: Tensor) -> Tensor:
        return (attention(one) - attention(other)).square().mean(1)

    return per_image(difference, clean, distorted).mean()


def pooled_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean over channels of (mean over positions of F - F')^2; what moves in the image is free. [S]

    In squared units of the activations, and lowered by shrinking them.  A map with two axes is
    already pooled, which gives `mse`.
    """

    def difference(one: Tensor, other: Tensor) -> Tensor:
        gap = one - other
        pooled = gap if gap.ndim == 2 else gap.mean(tuple(range(2, gap.ndim)))
        return pooled.square().mean(1)

    return per_image(difference, clean, distorted).mean()


def cka_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <K, K'> / (||K|| ||K'||), K the products of all pairs of images' centred features.

    1 - linear CKA: compares the similarities between a batch's images with those between its
    copies.  It is free of scale and of any rotation of the features, so equal similarities are
    enough: the maps themselves may differ.  With few images and many features CKA is near 1 for any
    two maps (the estimate is biased): larger batches tell more.  Two centred images are opposite to
    each other, so any two maps of them have distance 0: it needs 3.

    Source: [S] Kornblith et al. 2019, arXiv:1905.00414, sec. 3, linear kernel.  Differs: between
    two branches of one network, as a loss.

    Returns:
        In [0, 1].  A branch that is constant in the batch has distance 1 from one that varies, and
        0 from another constant one.
    """
    return direction_gap(gram_matrix(clean), gram_matrix(distorted), [0, 1])


def invariance_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean ||F - F'||^2 of an image and its copy over that of all pairs in the batch.

    The batch contains clean and distorted maps; all pairs of two different maps count in the
    denominator, including the pair of an image and its copy; and the quotient is differentiated
    [O].  So it is reduced by moving an image and its copy together and by keeping images apart, but
    not by shrinking the activations.  With one image the own pair is the only one, and the quotient
    is 1 whatever the maps are: it needs 2.

    Source: Hernandez-Garcia et al. 2019, arXiv:1906.04547 for the quotient.

    Returns:
        In [0, 2 * batch - 1]: about 1 if a copy is as far from its image as any other.
    """
    pairs = 2 * len(clean) - 1
    # All squared distances of n points sum to n times the squared distances from their mean.
    everyone = 2 * scatter(clean, distorted) / pairs
    return squared_error(clean, distorted).mean() / everyone.where(everyone > 0, 1.0)
