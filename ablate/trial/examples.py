"""Example images on which two networks disagree.

They are illustrations, not results; the first suitable images are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
_ENOUGH = 4
"""Number of suitable images under one distortion after which the search stops."""


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

    def pixels(self, place: int) -> np.ndarray:
        """An image as uint8 `[height, width, 3]`."""
        return picture(self.split.images[place])


@dataclass(frozen=True)
class Example:
    """An image that one of two networks classifies correctly, under a distortion.

    Attributes:
        kind, severity: of the distortion.
        label, by_baseline, by_trial: names of the true class and of the networks' answers.
        clean, distorted: uint8 `[height, width, 3]`.
    """

    kind: str
    severity: int
    label: str
    by_baseline: str
    by_trial: str
    clean: np.ndarray
    distorted: np.ndarray


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


def find_examples(
    sample: Sample,
    baseline: nn.Module,
    trial: nn.Module,
    cells: Sequence[Cell],
    count: int,
    *,
    gained: bool,
) -> tuple[Example, ...]:
    """Images that one of two networks classifies correctly, spread over the distortions.

    Args:
        baseline, trial: on the CPU, in eval mode.
        cells: distortions to search, best first.
        count: largest number of examples, of different images if possible.
        gained: whether the trial is the correct one.
    """
    left = {cell: _fitting(sample, baseline, trial, cell, gained=gained) for cell in cells}
    found: list[Example] = []
    used: set[int] = set()
    while len(found) < count and any(left.values()):
        for (kind, severity), fitting in left.items():
            if fitting and len(found) < count:
                one = next((one for one in fitting if one.place not in used), fitting[0])
                fitting.remove(one)
                used.add(one.place)
                label = int(sample.split.labels[one.place])
                found.append(
                    Example(
                        kind=kind,
                        severity=severity,
                        label=sample.classes[label],
                        by_baseline=sample.classes[one.by_baseline],
                        by_trial=sample.classes[one.by_trial],
                        clean=sample.pixels(one.place),
                        distorted=one.distorted,
                    )
                )
    return tuple(found)


class _Fitting(NamedTuple):
    """A suitable image: its index in the sample, the networks' answers, and its pixels."""

    place: int
    by_baseline: int
    by_trial: int
    distorted: np.ndarray


def _fitting(
    sample: Sample, baseline: nn.Module, trial: nn.Module, cell: Cell, *, gained: bool
) -> list[_Fitting]:
    images, found = distorted(sample, cell), list[_Fitting]()
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        labels = sample.split.labels[start : start + _BATCH]
        answers = _classes(baseline, batch), _classes(trial, batch)
        wrong, right = answers if gained else answers[::-1]
        for at in torch.nonzero((right == labels) & (wrong != labels)).flatten().tolist():
            by_baseline, by_trial = (int(one[at]) for one in answers)
            found.append(_Fitting(start + at, by_baseline, by_trial, picture(batch[at])))
        if len(found) >= _ENOUGH:
            break
    return found


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


def _classes(model: nn.Module, images: ByteImages) -> torch.Tensor:
    floats = (images.float() / 255).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found: torch.Tensor = model(floats).argmax(dim=1)
    return found
