"""Interpolated batch-norm statistics against re-estimated ones, on the networks of a curve.

Between baseline and finetuned weights, batch norm needs statistics: interpolated ones, as
`finetune.interpolation` has them, or ones that are estimated again from the whole training set.
A way of estimating has to pass a null test: at alpha 0 it must give the baseline's own accuracies
within 0.1 points.

    python benchmarks/interpolation.py                      # digits
    python benchmarks/interpolation.py --data FOLDER        # CIFAR-10, train/CLASS/*, test/CLASS/*
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from ablate.distortion.shapes import Images, Labels
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.interpolation import interpolate_weights
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model.modes import batch_norms
from ablate.model.taps import layer_names
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial.robustness import TrialRun
from ablate.trial.workbench import Workbench

NULL = 0.1
"""Points that a way may differ from the baseline at alpha 0."""
WAYS = {
    "training": "the training's own crops, clean images and copies in its batches",
    "clean": "the training's own crops, clean images only",
    "still": "clean images as they are, in batches of the training's size",
}
"""How the whole training set is seen again, once."""


def digits() -> dict[str, Any]:
    return {
        "dataset": {"name": "digits", "validation": {"fraction": 0.5}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 10},
        "finetune": {"budget": {"epochs": 4}, "learning_rate": 0.03},
    }


def cifar(folder: Path, fraction: float) -> dict[str, Any]:
    return {
        "dataset": {
            "name": "image_folder",
            "path": str(folder.resolve()),
            "crop_padding": 4,
            "horizontal_flip": True,
            "validation": {"fraction": 0.1},
            "train_fraction": fraction,
        },
        "model": {"name": "resnet20"},
        "baseline": {"epochs": 8, "batch_size": 128},
        "finetune": {"budget": {"epochs": 1}, "batch_size": 128, "learning_rate": 0.03},
        "robustness": {"images": 1000},
    }


class Passes(Finetuning):
    """The images of a training as it sees them, through a network that is not trained."""

    def _backward(self, images: Images, copies: Sequence[Images], labels: Labels) -> torch.Tensor:
        weights = () if self._augment is None else self._augment.copy_weights
        with torch.no_grad():
            self._forward(images, copies, weights, labels)
        return torch.zeros(())


def estimate_again(bench: Workbench, model: nn.Module, values: dict[str, Any], way: str) -> None:
    """Put the statistics of the whole training set into a network, without training it."""
    if way == "still":
        values = {**values, "dataset.crop_padding": 0, "dataset.horizontal_flip": False}
    if way != "training":
        values = {**values, "loss.terms": "clean"}
    whole = {"finetune.budget.epochs": 1, "dataset.train_fraction": 1.0}
    study = bench.study.with_values({**values, **whole})
    loss = build_loss(study.loss, layer_names(model))
    before = {name: one.clone() for name, one in model.named_parameters()}
    for norm in batch_norms(model):
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    Passes(
        model,
        bench.finetuning_images(study, loss),
        study.finetune,
        budget=study.finetune.budget,
        loss=loss,
        augment=build_augmentation(study.augment) if loss.needs_augmented else None,
        dataset_settings=study.dataset,
        environment=bench.environment,
    ).run_epoch()
    assert all(torch.equal(one, before[name]) for name, one in model.named_parameters())


def between(
    bench: Workbench, finetuned: dict[str, torch.Tensor], alpha: float, way: str, values: Any
) -> tuple[float, float]:
    """Clean and robust accuracy of a network of the curve, in percent."""
    model = bench.build_baseline()
    model.load_state_dict(interpolate_weights(model.state_dict(), finetuned, alpha))
    if way != "interpolated":
        estimate_again(bench, model, values, way)
    scores = bench.score(model).scores
    return 100 * scores.clean_accuracy, 100 * scores.robust_accuracy


def measure(bench: Workbench, terms: str, seeds: int, alphas: list[float]) -> None:
    """The null test of each way, then those that pass it beside interpolated statistics."""
    baseline = bench.build_baseline().state_dict()
    chosen: list[dict[str, Any]] = [
        {"loss.terms": terms, "finetune.seed": seed} for seed in range(seeds)
    ]
    zero = between(bench, baseline, 0, "interpolated", chosen[0])
    passed = ["interpolated"]
    for way in WAYS:
        found = [between(bench, baseline, 0, way, values) for values in chosen]
        off = np.array(found) - zero
        is_null = bool((np.abs(off) <= NULL).all())
        texts = [f"{one.mean():+.2f} [{one.min():+.2f}, {one.max():+.2f}]" for one in off.T]
        said = "passes" if is_null else "does not pass"
        print(f"{terms}, {way}: {said} the null test: {' / '.join(texts)}", flush=True)
        if is_null:
            passed.append(way)
    tables: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for values in chosen:
        run = TrialRun(bench, values, Seeds(0, int(values["finetune.seed"]), 0))
        while not run.done:
            run.run_epoch()
        finetuned = {name: one.clone() for name, one in run.model.state_dict().items()}
        for way in passed:
            for alpha in alphas:
                found = [between(bench, finetuned, alpha, way, values)]
                tables.setdefault((way, alpha), []).extend(found)
    for (way, alpha), rows in tables.items():
        columns = np.array(rows).T
        texts = [f"{one.mean():6.2f} [{one.min():.2f}, {one.max():.2f}]" for one in columns]
        print(f"{terms}, {way:>12}, alpha {alpha:4.2f}: {' / '.join(texts)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="Folder of CIFAR-10's images; none: digits.")
    parser.add_argument("--fraction", type=float, default=0.3, help="Of the images to finetune on.")
    parser.add_argument("--seeds", type=int, default=3)
    alphas = [0.25, 0.5, 0.75, 1.0]
    parser.add_argument("--alphas", type=float, nargs="+", default=alphas)
    parser.add_argument("--terms", nargs="+", default=["clean+da", "clean+fma"])
    parser.add_argument("--cache", type=Path, help="Kept between calls; none: a new one.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = digits() if given.data is None else cifar(given.data, given.fraction)
    with tempfile.TemporaryDirectory() as made:
        study = Study.model_validate({"version": 1, "name": "statistics", **settings})
        bench = Workbench.get(study, Path(), given.cache or Path(made))
        baseline = bench.score_baseline().scores
        clean, robust = 100 * baseline.clean_accuracy, 100 * baseline.robust_accuracy
        print(
            f"{study.dataset.name}, {study.model.name}, {bench.environment.precision}: baseline "
            f"{clean:.2f} / {robust:.2f}, n = {baseline.n_images}, {baseline.n_corrupted} of them "
            "corrupted"
        )
        for way, text in WAYS.items():
            print(f"{way}: {text}")
        print(f"clean / robust in points: mean and range of {given.seeds} seeds", flush=True)
        for terms in given.terms:
            measure(bench, terms, given.seeds, given.alphas)


if __name__ == "__main__":
    main()
