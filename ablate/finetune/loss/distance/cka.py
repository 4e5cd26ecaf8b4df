"""1 - linear CKA: compares the similarities between a batch's images with those between its copies.

Source: [S] Kornblith et al. 2019, arXiv:1905.00414, sec. 3, linear kernel.  Differs: between two
branches of one network, as a loss.  It is free of scale and of any rotation of the features, so
equal similarities are enough: the maps themselves may differ.  With few images and many features
CKA is near 1 for any two maps (the estimate is biased): larger batches tell more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import as_rows, column_blocks, from_rows, memory_order
from ablate.finetune.loss.distance.direction import direction_gap
from ablate.finetune.loss.term import wide_dtype, without_autocast

MIN_IMAGES = 3
"""Two centred images are opposite to each other, so any two maps of them have distance 0."""

GRADIENT_SCALE = 12
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def cka_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """1 - <K, K'> / (||K|| ||K'||), K the products of all pairs of images' centred features.

    Args:
        clean: first axis the image, at least 3; all other axes are features.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 1] in fp32.  A branch that is constant in the batch has distance 1 from one
        that varies, and 0 from another constant one.
    """
    grams = [gram_matrix(features) for features in (clean, distorted)]
    return direction_gap(grams[0], grams[1], [0, 1])


def gram_matrix(features: FeatureMap) -> Tensor:
    """Inner products of the images' features, each feature centred over the batch.

    Returns:
        `[batch, batch]` in fp32 (fp64 for fp64 maps).  Centred before the product: activations
        after a ReLU have large means, in which the differences would be lost.
    """
    gram: Tensor = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return gram


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = as_rows(features, memory_order(features))
        gram = rows.new_zeros(len(rows), len(rows), dtype=wide_dtype(rows))
        with without_autocast(rows):
            for columns in column_blocks(rows):
                centred = _centred(rows[:, columns])
                gram.addmm_(centred, centred.T)
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        order = memory_order(features)
        rows = as_rows(features, order)
        # Centring the result is the derivative of centring the features.
        both = slope + slope.T
        both = both - both.mean(0)
        grad = torch.empty_like(rows)
        with without_autocast(rows):
            for columns in column_blocks(rows):
                grad[:, columns] = both @ _centred(rows[:, columns])
        return from_rows(grad, features, order)


def _centred(rows: Tensor) -> Tensor:
    wide = rows.to(wide_dtype(rows), copy=True)
    return wide.sub_(wide.mean(0))
