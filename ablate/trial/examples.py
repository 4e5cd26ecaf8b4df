"""Validation images of a study, distorted, and what its networks see in them.

They are illustrations, not results.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ablate.data.dataset import Split
from ablate.data.load import load_validation
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError
from ablate.model.build import build_model
from ablate.model.environment import resolve_environment
from ablate.model.weights.export_metadata import read_metadata
from ablate.robustness.bits import Cell
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.study.settings import Study
from ablate.trial.workbench import Workbench

_MOST_IMAGES, _FEWEST_IMAGES = 256, 32
_PIXELS = 256 * 64 * 64
"""Limit of pixels of all images together, which a CPU scores in seconds under a dozen
distortions."""
_BATCH = 64


@dataclass(frozen=True)
class Sample:
    """Validation images of a study.

    Attributes:
        classes: names, in the order of the labels.
        split: all images if they are few, else a stratified sample.
        bench: of the study.
    """

    classes: tuple[str, ...]
    split: Split
    bench: Workbench


def load_sample(study: Study, base: Path, cache: Path) -> Sample:
    """Load some of the validation images, at the network's input size.

    Args:
        base: folder for the study's relative paths; cache: folder of data.

    Raises:
        UsageError: if the data are missing or inconsistent; nothing is downloaded.
    """
    environment = resolve_environment("fp32", threads=torch.get_num_threads(), device="cpu")
    bench = Workbench(study, base, cache, environment)
    side = bench.image_size
    most = max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS // side**2))
    classes, split = load_validation(study.dataset, base, cache, count=most, image_size=side)
    return Sample(classes, split, bench)


def load_network(sample: Sample, study: Study, weights: Path, exported: Path) -> nn.Module:
    """Load a network with the weights of a file, on the CPU.

    Args:
        study: defines the network.
        exported: weights of a trial, which say how images are normalised.

    Raises:
        DataError: if the weights are damaged, or belong to another network.
    """
    said = read_metadata(exported)
    if said is None:
        raise DataError(f"{exported.name}: must be an export of a trial, got one without metadata.")
    settings = study.model.model_copy(update={"normalization": "dataset"})
    statistics = said.mean, said.std
    model = build_model(settings, len(sample.classes), *statistics, seed=0, base=sample.bench.base)
    try:
        model.load_state_dict(load_file(weights))
    except (RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{weights.name}: must contain the weights of {study.model.name}, got others. The data "
            "or the network have changed."
        ) from error
    return model.eval()


def distorted(sample: Sample, cell: Cell) -> ByteImages:
    """The sample under a type of the study's suite at a severity.

    If it has all validation images, and the study scores all, these are the scored bytes.
    """
    bench = sample.bench
    made = EvaluationSet(
        sample.split,
        bench.suite,
        (cell[1],),
        bench.study.robustness.seed,
        None,
        bench.frost_for(bench.suite),
    )
    return torch.cat(list(made.blocks(*cell)))


def picture(image: torch.Tensor) -> np.ndarray:
    """uint8 `[channel, height, width]` as `[height, width, 3]`; one channel is grey."""
    pixels: np.ndarray = image.permute(1, 2, 0).numpy()
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)


def answers(network: nn.Module, images: ByteImages) -> list[int]:
    """The class that a network sees in each image.

    Args:
        network: on the CPU, in eval mode.
    """
    found: list[int] = []
    for batch in torch.split(images, _BATCH):
        floats = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            found += network(floats).argmax(dim=1).tolist()
    return found
