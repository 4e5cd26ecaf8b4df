"""Accuracies of a network, on the images as they are and on their corrupted copies."""

from __future__ import annotations

import torch
from torch import nn

from ablate.distortion.shapes import ByteImages
from ablate.errors import NotFiniteError
from ablate.finetune.data.dataset import Split
from ablate.finetune.environment import Environment
from ablate.robustness.evaluation_set import EvaluationSet

_BATCH_SIZE = {"cpu": 256, "cuda": 2048}
"""By kind of device: on a CPU a larger batch takes more memory and is no faster."""


def score(
    model: nn.Module, split: Split, evaluation_set: EvaluationSet, environment: Environment
) -> tuple[float, dict[str, dict[str, float]]]:
    """Clean accuracy, and accuracy by type and severity, as fractions.

    Args:
        model: takes images in [0, 1]; moved to the environment's device. It is scored in eval
            mode and left in the mode it was in.
        split: the images as they are.
        evaluation_set: their corrupted copies, in the same order.
        environment: device and precision; the largest logit is sought in fp32.

    Returns:
        (clean accuracy, type -> severity as text -> accuracy).

    Raises:
        NotFiniteError: if a logit is NaN or infinite.
    """
    clean = predict_classes(model, split.images, environment) == split.labels
    corrupted = evaluation_set.images
    n_types, n_severities, n = corrupted.shape[:3]
    # One long row of images: the batches stay full however few images a severity has.
    predicted = predict_classes(model, corrupted.flatten(0, 2), environment)
    right = predicted.view(n_types, n_severities, n) == split.labels
    accuracies = right.double().mean(dim=2).tolist()
    by_type = {
        kind: dict(zip(map(str, evaluation_set.severities), row, strict=True))
        for kind, row in zip(evaluation_set.types, accuracies, strict=True)
    }
    return clean.double().mean().item(), by_type


def predict_classes(model: nn.Module, images: ByteImages, environment: Environment) -> torch.Tensor:
    """The most likely class of each image, the first one of equals.

    Returns:
        int64 `[n]`, on the CPU.

    Raises:
        NotFiniteError: if a logit is NaN or infinite.
    """
    was_training = model.training
    model.to(environment.device).eval()
    classes, finite = [], []
    batch_size = _BATCH_SIZE[environment.device]
    with torch.inference_mode(), environment.autocast():
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            floats = batch.to(environment.device).float() / 255
            logits = model(floats.contiguous(memory_format=torch.channels_last)).float()
            classes.append(logits.argmax(dim=1))
            finite.append(logits.isfinite().all())
    model.train(was_training)
    if not torch.stack(finite).all():
        raise NotFiniteError(
            "score: every logit must be finite, got NaN or infinity. The training has diverged: "
            "lower finetune.learning_rate."
        )
    return torch.cat(classes).cpu()
