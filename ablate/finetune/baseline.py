"""The baseline: the network that every trial finetunes, trained once and cached.

It is trained by the same loop as the trials, on the clean images alone, and never sees the
validation images.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ablate.finetune.cache import locked, publish_folder
from ablate.finetune.checkpoint import export_weights
from ablate.finetune.data.dataset import Dataset
from ablate.finetune.environment import Environment
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.model.build import build_model
from ablate.study.seeds import derive_seed
from ablate.study.settings import BaselineSettings, DatasetSettings, LossSettings, ModelSettings

_VERSION = 1
"""Counts the ways in which baselines were trained; part of the key."""

_WEIGHTS = "weights.safetensors"
_RECORD = "baseline.json"


@dataclass(frozen=True)
class Baseline:
    """Where a baseline's weights are.

    Attributes:
        path: the safetensors file.
        sha256: of that file.
        key: of everything that it was made from.
        train_seconds: wall time of its training, when it was trained.
    """

    path: Path
    sha256: str
    key: str
    train_seconds: float = field(compare=False)


def obtain_baseline(
    dataset: Dataset,
    dataset_settings: DatasetSettings,
    model_settings: ModelSettings,
    baseline_settings: BaselineSettings,
    *,
    environment: Environment,
    cache: Path,
) -> Baseline:
    """The baseline of these data, model and settings: from the cache, or trained now.

    Of several processes that ask at once, one trains and the others wait for it. A cached file
    that is not what was written is made again.

    Args:
        cache: folder that holds `baselines/`.

    Raises:
        UsageError: if the cache cannot be written.
        NotFiniteError: if the training diverges.
    """
    made_from = {
        "version": _VERSION,
        "train": dataset.train.digest,
        "classes": dataset.classes,
        "crop_padding": dataset_settings.crop_padding,
        "horizontal_flip": dataset_settings.horizontal_flip,
        "model": model_settings.model_dump(mode="json"),
        "baseline": baseline_settings.model_dump(mode="json"),
        "device": environment.device,
        "precision": environment.precision,
        "threads": environment.threads,
        "torch": environment.torch,
    }
    text = json.dumps(made_from, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    entry = cache / "baselines" / key
    with locked(entry):
        found = _find(entry, key)
        if found is not None:
            return found
        model, reports = train_baseline(
            dataset, dataset_settings, model_settings, baseline_settings, environment=environment
        )
        with publish_folder(entry) as temporary:
            export_weights(model, temporary / _WEIGHTS)
            sha256 = _digest(temporary / _WEIGHTS)
            curve = [asdict(epoch) for epoch in reports]
            record = {"sha256": sha256, "made_from": made_from, "curve": curve}
            (temporary / _RECORD).write_text(json.dumps(record, indent=1))
        return Baseline(entry / _WEIGHTS, sha256, key, _seconds(curve))


def train_baseline(
    dataset: Dataset,
    dataset_settings: DatasetSettings,
    model_settings: ModelSettings,
    baseline_settings: BaselineSettings,
    *,
    environment: Environment,
) -> tuple[nn.Module, list[EpochReport]]:
    """Train a network from new weights on the clean training images.

    Returns:
        (the network, what each epoch did).

    Raises:
        NotFiniteError: if the training diverges.
    """
    environment.apply()
    training = Finetuning(
        build_model(
            model_settings.name,
            len(dataset.classes),
            dataset.mean,
            dataset.std,
            seed=derive_seed(baseline_settings.seed, "weights"),
        ),
        dataset.train,
        baseline_settings,
        epochs=baseline_settings.epochs,
        loss=build_loss(LossSettings(terms="clean"), ()),
        augment=None,
        dataset_settings=dataset_settings,
        environment=environment,
    )
    reports = [training.run_epoch() for _ in range(baseline_settings.epochs)]
    return training.model, reports


def load_baseline(baseline: Baseline, dataset: Dataset, model_name: str) -> nn.Module:
    """A new network with the baseline's weights, on the CPU."""
    model = build_model(model_name, len(dataset.classes), dataset.mean, dataset.std, seed=0)
    weights: dict[str, torch.Tensor] = load_file(baseline.path)
    model.load_state_dict(weights)
    return model


def _find(entry: Path, key: str) -> Baseline | None:
    """What the cache holds, where its weights are those that were written."""
    try:
        record: dict[str, Any] = json.loads((entry / _RECORD).read_text())
        sha256 = _digest(entry / _WEIGHTS)
    except (OSError, ValueError):
        return None
    if sha256 != record["sha256"]:
        return None
    return Baseline(entry / _WEIGHTS, sha256, key, _seconds(record["curve"]))


def _seconds(curve: list[dict[str, Any]]) -> float:
    return math.fsum(epoch["seconds"] for epoch in curve)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
