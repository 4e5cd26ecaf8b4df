"""The baseline: the network that every trial finetunes, trained once and cached.

It is trained by the same loop as the trials, on clean images only, and never on validation images:
from random weights, or from a backbone's, whose new head is probed first.  Or its weights are
external, and the study states whether they were trained on those.  An interrupted training is
continued: its state is stored next to its cache entry until it has finished.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import nn

from ablate.data.dataset import Dataset
from ablate.errors import DataError
from ablate.files.cache import (
    DamagedError,
    locked,
    mark_used,
    publish_file,
    publish_folder,
    say_made_again,
    state_file,
)
from ablate.finetune.baseline_record import RECORD, WEIGHTS, read_record, sha256_of
from ablate.finetune.budget import SaveInterval
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model import is_external, is_own_code
from ablate.model.build import build_model, check_image_size
from ablate.model.environment import Environment
from ablate.model.modes import adaptable_norms
from ablate.model.taps import LayerNames
from ablate.model.weights.export_metadata import (
    ExportMetadata,
    export_weights,
    put_weights,
    read_metadata,
)
from ablate.model.weights.external_checkpoint import (
    find_backbone,
    find_checkpoint,
    load_backbone,
    load_external,
)
from ablate.study.callables import code_digest
from ablate.study.fingerprint import delete_at
from ablate.study.keys import value_at
from ablate.study.seeds import derive_seed
from ablate.study.settings import (
    ADDED_KEYS,
    BaselineSettings,
    BudgetSettings,
    DatasetSettings,
    LossSettings,
    ModelSettings,
)

_VERSION = 1
"""Counts the ways in which baselines were trained; part of the key."""


@dataclass(frozen=True)
class Baseline:
    """The weights of a baseline in the cache.

    Attributes:
        path, sha256: of the safetensors file; key: of everything that determines it.
        train_seconds: wall time of its training; 0 for a checkpoint.
        backbone: identity of the weights that its training began with, by its settings.
    """

    path: Path
    sha256: str
    key: str
    train_seconds: float = field(compare=False)
    backbone: str | None = field(default=None, compare=False)


def obtain_baseline(
    dataset: Dataset,
    dataset_settings: DatasetSettings,
    model_settings: ModelSettings,
    baseline_settings: BaselineSettings,
    *,
    environment: Environment,
    cache: Path,
    base: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpoint_seconds: float = 300.0,
) -> Baseline:
    """Get the baseline of these data, model and settings from the cache, or train it, or read it
    from `baseline.checkpoint`.

    If several processes need it at once, one makes it and the others wait.  A damaged one is made
    again, with a report.

    Args:
        cache: folder that holds `baselines/`.
        base: folder of the study file, for a relative checkpoint and a custom network.
        environment: its number of threads is part of the key: with another one the same training
            ends with other bits, and a baseline that is made again must be the same.
        on_epoch: called after each epoch of a training.
        checkpoint_seconds: between two training states; see `SaveInterval`.

    Raises:
        UsageError: if the cache cannot be written.
        ParameterError: if the network cannot be built, or does not accept images of this size.
        DataError: if the checkpoint is missing, damaged or of another network.
        NotFiniteError: if the training diverges.
    """
    checkpoint, backbone = baseline_settings.checkpoint, None
    exported: ExportMetadata | None = None
    made_from: dict[str, Any] = {
        "version": _VERSION,
        "classes": dataset.classes,
        "model": _without_added("model", model_settings.model_dump(mode="json")),
    }
    name = model_settings.name
    if is_own_code(name):
        made_from["code"] = code_digest("model.name", name, base)
    if checkpoint is None:
        made_from |= _training_inputs(dataset, dataset_settings, baseline_settings, environment)
        if (begun := baseline_settings.backbone) is not None:
            source = find_backbone(model_settings, begun, base)
            backbone, exported = source.identity, _exported(source.path, model_settings)
            if is_own_code(begun):  # which may read anything
                _, backbone = first_network(dataset, model_settings, baseline_settings, base)
            if exported is not None:
                exported = replace(exported, classes=dataset.classes)
            made_from["backbone"] = backbone
    else:
        # Its weights may carry the data's statistics, and are read, not trained.
        source = find_checkpoint(model_settings, checkpoint, base)
        exported = _exported(source.path, model_settings)
        made_from |= {
            "checkpoint": source.identity,
            "mean": dataset.mean if exported is None else exported.mean,
            "std": dataset.std if exported is None else exported.std,
        }
    text = json.dumps(made_from, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    entry = cache / "baselines" / key
    with locked(entry):
        found = _find(entry)
        if found is not None:
            mark_used(entry)
            return replace(found, backbone=backbone)
        if entry.is_dir():
            say_made_again("the baseline was")
        reports, loaded = list[EpochReport](), ""
        if checkpoint is None:
            if backbone is not None:  # noted: a name may mean other weights tomorrow
                _, loaded = first_network(dataset, model_settings, baseline_settings, base)
            model, reports = train_baseline(
                dataset,
                dataset_settings,
                model_settings,
                baseline_settings,
                environment=environment,
                base=base,
                on_epoch=on_epoch,
                states=TrainingStates(state_file(entry), checkpoint_seconds),
            )
        else:
            model = new_network(dataset, model_settings, seed=0, base=base, exported=exported)
            load_external(model, model_settings, checkpoint, base)
        with publish_folder(entry) as temporary:
            export_weights(model, temporary / WEIGHTS, exported)
            sha256 = sha256_of(temporary / WEIGHTS)
            curve = [asdict(epoch) for epoch in reports]
            record = {"sha256": sha256, "made_from": made_from, "curve": curve}
            record["backbone_sha256"] = loaded
            (temporary / RECORD).write_text(json.dumps(record, indent=1))
        with suppress(OSError):
            state_file(entry).unlink(missing_ok=True)
        seconds = math.fsum(report.seconds for report in reports)
        return Baseline(entry / WEIGHTS, sha256, key, seconds, backbone)


def _training_inputs(
    dataset: Dataset,
    dataset_settings: DatasetSettings,
    baseline_settings: BaselineSettings,
    environment: Environment,
) -> dict[str, Any]:
    """What determines the bits of a training, besides the network, its code and the weights that it
    begins with."""
    settings = baseline_settings.model_dump(mode="json", exclude={"expected_accuracy", "backbone"})
    settings = _without_added("baseline", settings)
    inputs: dict[str, Any] = {
        "train": dataset.train.digest,
        "image_shape": list(dataset.validation.images.shape[1:]),
        "crop_scale": dataset_settings.crop_scale,
        "crop_padding": dataset_settings.crop_padding,
        "horizontal_flip": dataset_settings.horizontal_flip,
        "baseline": settings,
        "device": environment.device,
        "precision": environment.precision,
        "threads": environment.threads,
        "torch": environment.torch,
    }
    if environment.compile:
        inputs["compile"] = environment.compile
    if dataset.contents is not None:
        inputs["contents"] = dataset.contents
    return inputs


def _without_added(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The same, in place, without keys at their defaults that came later: the baselines that came
    before them are still these."""
    for key, value in ADDED_KEYS.items():
        if key.startswith(f"{section}.") and value_at({section: settings}, key) == value:
            delete_at({section: settings}, key)
    return settings


def kept_baseline(cache: Path, sha256: str) -> Baseline | None:
    """The cached baseline with this digest, if its weights are still there and intact.

    Args:
        cache: folder that holds `baselines/`.
        sha256: of the file, from a study's head.
    """
    for entry in sorted((cache / "baselines").glob("*/")):
        if (found := _find(entry, sha256)) is not None:
            mark_used(entry)
            return found
    return None


class TrainingStates:
    """The file of the state of a baseline's training until it is done, written every so many
    seconds; see `SaveInterval`."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._interval = SaveInterval(seconds)

    def is_due(self) -> bool:
        return self._interval.is_due()

    def save(self, training: Finetuning, reports: list[EpochReport]) -> None:
        """Replace what is there.

        Raises:
            UsageError: if the cache cannot be written.
            InfrastructureError: if the disk is full or broken.
        """
        with self._interval.writing():  # making the state costs training time too
            buffer = io.BytesIO()
            torch.save(
                {"training": training.state(), "curve": [asdict(report) for report in reports]},
                buffer,
            )
            content = buffer.getvalue()
            digest = hashlib.sha256(content).hexdigest().encode()
            publish_file(self._path, lambda temporary: temporary.write_bytes(digest + content))

    def restore(self, training: Finetuning) -> list[EpochReport]:
        """Continue from the stored state; missing or damaged files are ignored.

        Returns:
            Reports of the epochs done.
        """
        try:
            content = self._path.read_bytes()
        except OSError:
            return []
        digest, content = content[:64], content[64:]
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return []
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        training.load_state(state["training"])
        return [EpochReport(**entry) for entry in state["curve"]]


def train_baseline(
    dataset: Dataset,
    dataset_settings: DatasetSettings,
    model_settings: ModelSettings,
    baseline_settings: BaselineSettings,
    *,
    environment: Environment,
    base: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    states: TrainingStates | None = None,
) -> tuple[nn.Module, list[EpochReport]]:
    """Train a network from random weights, or a backbone's, on the clean training images.

    Args:
        base: folder of the study file, for a custom network.
        on_epoch: called after each epoch.
        states: stored states for continuing an interrupted training; None: start again.

    Returns:
        (the network, the reports of the epochs).

    Raises:
        ParameterError: if the network cannot be built, or does not take images of this size.
        DataError: if the backbone does not fit.
        NotFiniteError: if the training diverges.
    """
    environment.apply(same_bits=True)  # other bits, made again, would end a running study
    model, _ = first_network(dataset, model_settings, baseline_settings, base)
    # The head was probed on the features of these statistics; those of few images are others.
    keeps_statistics = baseline_settings.backbone is not None and adaptable_norms(model)
    training = Finetuning(
        model,
        dataset.train,
        baseline_settings,
        budget=BudgetSettings(epochs=baseline_settings.epochs),
        loss=build_loss(LossSettings(terms="clean"), LayerNames()),
        augment=None,
        dataset_settings=dataset_settings,
        environment=environment,
        batch_norm="frozen" if keeps_statistics else "joint",
    )
    reports = [] if states is None else states.restore(training)
    while not training.done:
        report = training.run_epoch(None if states is None else states.is_due)
        if report is not None:
            reports.append(report)
            if on_epoch is not None:
                on_epoch(report)
        if states is not None and states.is_due() and not training.done:
            states.save(training, reports)
    return training.model, reports


def first_network(
    dataset: Dataset,
    model_settings: ModelSettings,
    baseline_settings: BaselineSettings,
    base: Path | None,
) -> tuple[nn.Module, str]:
    """The network that the training of a baseline begins with.

    Returns:
        (the network, sha256 of the weights that its backbone gave it, if any).

    Raises:
        DataError: if the backbone is missing, damaged or of another network; else as `new_network`.
    """
    backbone, exported = baseline_settings.backbone, None
    if backbone is not None:
        exported = _exported(find_backbone(model_settings, backbone, base).path, model_settings)
    seed = derive_seed(baseline_settings.seed, "weights")
    model = new_network(dataset, model_settings, seed=seed, base=base, exported=exported)
    if backbone is None:
        return model, ""
    return model, load_backbone(model, model_settings, backbone, base)


def load_baseline(
    baseline: Baseline,
    dataset: Dataset,
    model_settings: ModelSettings,
    *,
    base: Path | None = None,
) -> nn.Module:
    """A new network with the baseline's weights, on the CPU.

    Args:
        baseline: of this data set and model.
        base: folder of the study file, for a custom network.

    Raises:
        DamagedError: if the weights are missing or damaged.
    """
    exported = _exported(baseline.path, model_settings)
    model = new_network(dataset, model_settings, seed=0, base=base, exported=exported, checks=False)
    put_weights(model, load(read_weights(baseline)))
    mark_used(baseline.path.parent)
    return model


def new_network(
    dataset: Dataset,
    model_settings: ModelSettings,
    *,
    seed: int,
    base: Path | None,
    exported: ExportMetadata | None = None,
    checks: bool = True,
) -> nn.Module:
    """A new network for these images.

    Args:
        exported: of the weights that it will have, whose normalisation is then its own.
        checks: whether it is tried out on images of their size; a baseline's was, as it was made.
    """
    statistics = dataset.mean, dataset.std
    if exported is not None:
        statistics = exported.mean, exported.std
        its_own = {"normalization": "dataset", "channels": exported.channels, "value_range": 1}
        model_settings = model_settings.model_copy(update=its_own)
    model = build_model(model_settings, len(dataset.classes), *statistics, seed=seed, base=base)
    if checks and is_external(model_settings.name):
        _, channels, _, side = dataset.validation.images.shape
        check_image_size(model, model_settings.name, side, channels)
    return model


def _exported(weights: Path | None, model_settings: ModelSettings) -> ExportMetadata | None:
    """What an export says of how its network is fed, where the weights alone do not."""
    if weights is None or weights.suffix != ".safetensors":
        return None
    with suppress(DataError):  # a damaged file is named where its weights are read
        found = read_metadata(weights)
        is_told = found is None or found.channels == model_settings.channels
        return None if is_told and not is_external(model_settings.name) else found
    return None


def read_weights(baseline: Baseline) -> bytes:
    """The file's content.  What is checked is what is loaded: it may change at any time.

    Raises:
        DamagedError: if the weights are missing or damaged.
    """
    try:
        content = baseline.path.read_bytes()
        if hashlib.sha256(content).hexdigest() == baseline.sha256:
            return content
        got = "other bytes"
    except OSError as error:
        got = error.strerror or str(error)
    raise DamagedError(
        f"{baseline.path}: must contain the baseline's weights as written, got {got}. Resume; it "
        "is then retrained."
    )


def _find(entry: Path, sha256: str | None = None) -> Baseline | None:
    """The cached baseline, if its weights are intact and, where given, have this digest."""
    record = read_record(entry, sha256)
    if record is None:
        return None
    return Baseline(entry / WEIGHTS, record.sha256, entry.name, record.train_seconds)
