"""Estimates the cost of a trial from a few real batches."""

from __future__ import annotations

import copy
import io
import time
from dataclasses import dataclass

import torch
from torch import nn

from ablate.data.dataset import TrainingImages
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.baseline import new_network
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model.modes import adaptable_norms, kept_mode
from ablate.model.taps import layer_names
from ablate.robustness.score import score_images
from ablate.study.settings import BudgetSettings, Study
from ablate.trial.workbench import Workbench

_STEPS = 3
_IMAGES = 32
"""Images whose statistics the batch norm of random weights gets."""


@dataclass(frozen=True)
class TrainingEstimate:
    """The training cost of one configuration.

    Attributes:
        step_seconds: one training step, copies and loss included.
        train_seconds: of the whole budget.
        seen_images: of the training images, those that the budget reaches.
        state_bytes: of a training state on disk.
    """

    step_seconds: float
    train_seconds: float
    seen_images: int
    state_bytes: int


@dataclass(frozen=True)
class TrialEstimate(TrainingEstimate):
    """The cost of one trial of a study with the study's own settings.

    Attributes:
        train_images, validation_images: in the splits.
        score_seconds: of scoring after the training, at each alpha of `finetune.interpolation`.
        evaluation_bytes: of the cached corrupted validation images.
    """

    train_images: int
    validation_images: int
    score_seconds: float
    evaluation_bytes: int


def estimate_trial(bench: Workbench, start: nn.Module | None = None) -> TrialEstimate:
    """Train on a few real batches and score one pass, timed.

    Args:
        start: as for `estimate_training`.

    Raises:
        DataError: if the data set is missing or inconsistent.
        ParameterError: if the network cannot be built, or trained on images of this size.
    """
    study, dataset, environment = bench.study, bench.dataset, bench.environment
    environment.apply()
    bench.check_own_types()
    model = _start(bench, start)
    loss = build_loss(study.loss, layer_names(model))
    trained = estimate_training(bench, study, model)
    score_images(model, dataset.validation, environment)
    began = time.perf_counter()
    score_images(model, dataset.validation, environment)
    pass_seconds = time.perf_counter() - began
    corrupted = bench.evaluation_set
    images_scored = corrupted.byte_count // dataset.validation.images[0].numel()
    images_scored = round(images_scored * study.robustness.cells)
    networks = max(1, len(study.finetune.curve_alphas))
    return TrialEstimate(
        **vars(trained),
        train_images=len(bench.finetuning_images(study, loss)),
        validation_images=len(dataset.validation),
        score_seconds=networks * pass_seconds * (1 + images_scored / len(dataset.validation)),
        evaluation_bytes=corrupted.byte_count if corrupted.cache is not None else 0,
    )


def estimate_training(
    bench: Workbench, study: Study, start: nn.Module | None = None
) -> TrainingEstimate:
    """Train on a few real batches, timed.

    Args:
        bench: with the data and the network.
        study: with the values of a configuration.
        start: the network with the weights that a trial begins with, on the CPU; it is not
            changed.  None, where they are not at hand: random ones.

    Raises:
        ParameterError: if the network cannot be trained with these settings.
    """
    environment = bench.environment
    environment.apply()
    model = _start(bench, start)
    loss = build_loss(study.loss, layer_names(model))
    train = bench.finetuning_images(study, loss)
    batch = min(study.finetune.batch_size, len(train))
    steps = min(_STEPS, len(train) // batch)

    # Random weights may not bear the rate of trained ones, and the time is the same.
    settings = study.finetune.model_copy(update={"learning_rate": 1e-12})

    def begin(budget: BudgetSettings, images: TrainingImages) -> Finetuning:
        return Finetuning(
            copy.deepcopy(model),  # adapters would stay in it
            images,
            settings,
            budget=budget,
            loss=loss,
            augment=build_augmentation(study.augment, bench.base),
            dataset_settings=study.dataset,
            environment=environment,
            batch_norm=study.finetune.batch_norm,
        )

    whole = begin(study.finetune.budget, train).budget
    run = begin(BudgetSettings(epochs=2), train.take(torch.arange(steps * batch)))
    run.run_epoch()  # the first steps also set up kernels
    step_seconds = run.run_epoch().seconds / steps
    state = io.BytesIO()
    torch.save(run.state(), state)
    seconds = step_seconds * (whole.steps or 0) if whole.seconds is None else whole.seconds
    in_budget = whole.steps if whole.steps is not None else int(seconds / step_seconds)
    seen = min(in_budget * batch, len(train))
    return TrainingEstimate(step_seconds, seconds, seen, state.getbuffer().nbytes)


def _start(bench: Workbench, start: nn.Module | None) -> nn.Module:
    """The network to time, with weights whose feature maps are as large as trained ones: the batch
    norm of random weights has the statistics of a batch."""
    if start is not None:
        return start
    model = new_network(bench.dataset, bench.study.model, seed=0, base=bench.base)
    norms = adaptable_norms(model)
    if not norms:
        return model
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    images = bench.dataset.validation.images[:_IMAGES]
    with kept_mode(model), torch.no_grad():
        model.train()(images.float() / 255)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model
