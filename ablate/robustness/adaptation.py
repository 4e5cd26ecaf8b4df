"""Batch-norm statistics adapted to the images that are scored, at test time and without labels.

Source: [S] Schneider et al. 2020, arXiv:2006.16971: the statistics of each batch are mixed with
those of training, which count as N images.  Differs: images are shuffled within their copy, so that
the order of the classes in a folder does not matter, with the same order for every copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.model.modes import adaptable_norms

BATCH_SIZE = 256
"""Images that statistics are estimated from, on any device; the last batch of a copy has fewer."""


@contextmanager
def adapted_batch_norm(model: nn.Module, pseudo_images: int) -> Iterator[None]:
    """Let each batch norm in eval mode use (N source + n batch) / (N + n) of mean and variance.

    Args:
        model: its statistics are the same afterwards.
        pseudo_images: N >= 0, how many images the network's own statistics count as; 0: those of
            the batch alone.  n is the number of images in the batch.

    Raises:
        ParameterError: if the network has no batch norm with statistics, or, in the forward pass,
            if a batch has one value per channel.
    """
    norms = adaptable_norms(model)
    if not norms:
        raise ParameterError(
            "`adapt_batch_norm`: needs a network with batch norm, got "
            f"{type(model).__name__}, in which none is found. Leave it out."
        )
    with ExitStack() as stack:
        for norm in norms:
            stack.enter_context(_adapted(norm, pseudo_images))
        yield


@contextmanager
def _adapted(norm: _BatchNorm, pseudo_images: int) -> Iterator[None]:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None

    # In front of the module, since subclasses, as timm's, do more than normalise.
    def mix(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        batch: Tensor = inputs[0]
        share = pseudo_images / (pseudo_images + len(batch))
        if batch.numel() == batch.shape[1]:
            raise ParameterError(
                "`batch_size`: adapted batch norm needs more than one value per channel, got a "
                "batch of one image. Choose another size."
            )
        others = [axis for axis in range(batch.ndim) if axis != 1]
        # Unbiased, as running statistics are.
        own_variance, own_mean = torch.var_mean(batch.float(), dim=others)
        norm.running_mean = share * mean + (1 - share) * own_mean
        norm.running_var = share * variance + (1 - share) * own_variance

    handle = norm.register_forward_pre_hook(mix)
    try:
        yield
    finally:
        handle.remove()
        norm.running_mean, norm.running_var = mean, variance


def shuffled(count: int) -> Tensor:
    """The order in which the images of a copy are scored: int64 `[count]`, always the same."""
    return torch.randperm(count, generator=make_generator(0, "cpu"))
