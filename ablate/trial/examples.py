"""Validation images of a study, distorted, and what the baseline and a trial see in them:
illustrations, not results."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from ablate.data.load import load_validation
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError
from ablate.finetune.baseline import kept_baseline
from ablate.finetune.interpolation import move_towards
from ablate.ledger.record import RowRecord
from ablate.model.environment import resolve_environment
from ablate.model.trained import load_export
from ablate.model.weights.export_metadata import put_weights
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.study.callables import is_callable_name
from ablate.study.settings import Study
from ablate.trial.workbench import Workbench

_MOST_IMAGES, _FEWEST_IMAGES = 256, 32
_PIXELS = 256 * 64 * 64
"""Limit of pixels of all images together, which a CPU scores in seconds under a dozen
distortions."""
_BATCH = 64
_MOST_KINDS = 6
CLEAN = "clean"
"""The kind of an image that is not distorted."""


@dataclass(frozen=True)
class Compared:
    """A sample of a study's validation images, and what two networks see in it.

    Attributes:
        classes: names, in the order of the labels.
        labels: of the images.
        severity: of the distortions: the middle one that the study scores.
        images: kind -> its copies, uint8 `[image, channel, height, width]`; `CLEAN` first, then
            the user's own, then one distortion of each family in turn, at most `_MOST_KINDS`.
        before, after: kind -> the class that the baseline and the trial see in each copy.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    severity: int
    images: dict[str, ByteImages]
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]

    def picture(self, kind: str, place: int) -> np.ndarray:
        """An image as uint8 `[height, width, 3]`; one channel is grey."""
        pixels: np.ndarray = self.images[kind][place].permute(1, 2, 0).numpy()
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def compare(
    study: Study, row: RowRecord, weights: Path, baseline_sha256: str, *, base: Path, cache: Path
) -> Compared:
    """Let the baseline and a trial classify all validation images if they are few, else a
    stratified sample, clean and distorted, on the CPU.

    If all are scored, the copies are the bytes that the study scores.

    Args:
        row: of the trial; weights: its export.
        base: folder for the study's relative paths; cache: folder of data and baselines.

    Raises:
        DataError: if weights are missing, damaged, or belong to another network, or the trial has
            a baseline of its own.
        UsageError: if the data are missing or inconsistent; nothing is downloaded.
    """
    finetuned = study.with_values(dict(row.params))
    update = {"train_fraction": study.dataset.train_fraction}
    is_same = finetuned.dataset.model_copy(update=update) == study.dataset
    sections = ("model", "baseline", "robustness")
    if not (
        is_same
        and all(getattr(finetuned, section) == getattr(study, section) for section in sections)
    ):
        raise DataError(f"trial {row.number}: must have the study's baseline, got its own.")
    kept = kept_baseline(cache, baseline_sha256)
    if kept is None:
        raise DataError(f"{cache}: must hold the baseline's weights, got none.")
    environment = resolve_environment("fp32", threads=torch.get_num_threads(), device="cpu")
    bench = Workbench(study, base, cache, environment)
    side = bench.image_size
    most = max(_FEWEST_IMAGES, min(_MOST_IMAGES, _PIXELS // side**2))
    classes, split = load_validation(study.dataset, base, cache, count=most, image_size=side)
    exported = load_export(weights, base)
    if exported.provenance.model != study.model.name:
        raise DataError(f"{weights.name}: must be of {study.model.name}, got another network.")
    before, after = deepcopy(exported.network), exported.network
    put_weights(before, load_file(kept.path))
    if row.path is not None and row.path.alpha != 1:
        move_towards(after, before, row.path.alpha)

    suite, seed = bench.suite, study.robustness.seed
    turns = [kind for turn in zip_longest(*suite.families.values()) for kind in turn if kind]
    turns.sort(key=is_callable_name, reverse=True)
    severities = sorted(study.robustness.severities)
    severity = severities[len(severities) // 2]
    copies = EvaluationSet(split, suite, (severity,), seed, None, bench.frost_for(suite))
    images = {CLEAN: split.images}
    for kind in turns[:_MOST_KINDS]:
        images[kind] = torch.cat(list(copies.blocks(kind, severity)))
    return Compared(
        classes,
        split.labels.numpy(),
        severity,
        images,
        {kind: _answers(before, of_kind) for kind, of_kind in images.items()},
        {kind: _answers(after, of_kind) for kind, of_kind in images.items()},
    )


def _answers(network: nn.Module, images: ByteImages) -> np.ndarray:
    found = []
    for batch in torch.split(images, _BATCH):
        floats = (batch.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            found.append(network(floats).argmax(dim=1))
    return torch.cat(found).numpy()
