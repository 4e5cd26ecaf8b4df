"""One corruption on images that are in memory: `ablate.corrupt`, and the tiles of a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.robustness.corruption.frost_photographs import FrostPhotographs, load_frost
from ablate.robustness.corruption.kind import check_batch
from ablate.robustness.corruption.kind import load as load_corruption
from ablate.robustness.evaluation_set import block_size, corrupt_block
from ablate.robustness.suites import Suite
from ablate.study.seeds import derive_seed

ImageBatch = TypeVar("ImageBatch", Tensor, np.ndarray)


def corrupt(
    images: ImageBatch,
    name: str,
    severity: int,
    *,
    seed: int = 0,
    frost_images: str | Path | None = None,
) -> ImageBatch:
    """Images under one of the benchmark's 19 corruptions.

    Bytes on the CPU become what `ablate corrupt` writes for images of one size, and what
    `ablate evaluate` scores where it takes them at that size.

    Args:
        images: a tensor `[n, channel, height, width]`, uint8 or floating point in [0, 1], or a
            NumPy array `[n, height, width, channel]` of uint8; 1 or 3 channels.
        name: as `gaussian_noise`; those of up to 96 pixels get the parameters of CIFAR-10-C,
            larger ones those of ImageNet-C.
        severity: from 1 to 5.
        seed: the same seed gives the same images.
        frost_images: folder with photographs for `frost`; None: a texture, approximate.

    Returns:
        New images like those that came in.

    Raises:
        ParameterError: if the name is unknown, or images or severity are of the wrong kind.
        DataError: if the photographs cannot be read.
    """
    frost = None if frost_images is None else load_frost(Path(frost_images))
    if isinstance(images, Tensor):
        return _corrupt_tensor(images, name, severity, seed, frost)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        got = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else type(images)
        raise ParameterError(
            f"{name}: images must be a tensor, or an array of uint8 [n, height, width, channel], "
            f"got {got}. Convert them."
        )
    planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    corrupted = _corrupt_tensor(planes, name, severity, seed, frost)
    return np.ascontiguousarray(corrupted.numpy().transpose(0, 2, 3, 1))


def corrupt_tiles(
    image: np.ndarray,
    suite: Suite,
    severities: Sequence[int],
    seed: int,
    frost: FrostPhotographs | None,
) -> dict[str, list[np.ndarray]]:
    """One image under every type of a suite.

    Args:
        image: uint8 `[height, width, 3]`.

    Returns:
        Type -> an image like it for each severity.
    """
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())[None]
    return {
        kind: [
            corrupt_block(planes, suite, kind, severity, seed=seed, start=0, frost=frost)[0]
            .permute(1, 2, 0)
            .numpy()
            for severity in severities
        ]
        for kind in suite.types
    }


def _corrupt_tensor(
    images: Tensor, name: str, severity: int, seed: int, frost: FrostPhotographs | None
) -> Tensor:
    apply = load_corruption(name)
    check_batch(name, images)
    size = block_size(images.shape[2], images.shape[3])
    parts = []
    for start in range(0, max(1, len(images)), size):
        place = derive_seed(seed, "evaluation", "corruption", name, severity, start)
        generator = make_generator(place, images.device)
        parts.append(apply(images[start : start + size], severity, generator, frost=frost))
    return torch.cat(parts)
