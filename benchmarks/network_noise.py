"""What dropout and stochastic depth do to finetuning with FMA and ST, and what to do with them.

    python benchmarks/network_noise.py --seeds 5

A small vision transformer (dropout 0.1) and a small Swin (stochastic depth 0.2) are each trained
on the digits once, and finetuned from there over paired seeds with three objectives, three ways:

    drawn     the student runs in training mode, its teacher in eval mode
    shared    the same, and clean images and copies draw the same masks
    off       what draws is off in the student too, as in every finetuning of ablate

Printed are the accuracies on validation images, clean and corrupted, in percent: mean and standard
deviation over seeds of "drawn", and of the others the mean of paired differences from it, with its
95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from scipy.stats import t as student
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

import ablate
from ablate.distortion.shapes import Images
from ablate.finetune import loop
from ablate.finetune.forward import Forward
from ablate.finetune.loss.term import View

WAYS = ("drawn", "shared", "off")
TERMS = ("clean+da", "clean+st", "clean+fma")
Accuracies = Mapping[str, list[tuple[float, float]]]
"""Objective -> clean and corrupted accuracy of each seed."""


def vit(classes: int) -> nn.Module:
    return VisionTransformer(32, 8, 3, 3, 48, 96, dropout=0.1, num_classes=classes)


def swin(classes: int) -> nn.Module:
    return SwinTransformer(
        [4, 4], 24, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.2, num_classes=classes
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Noise of the network in FMA and ST.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000, help="of a finetuning")
    parser.add_argument("--baseline-epochs", type=int, default=60)
    options = parser.parse_args()
    print("| network | objective | way | clean | corrupted |\n" + "|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vit", "swin"):
            found = {way: finetuned(name, way, Path(folder), options) for way in WAYS}
            for terms in TERMS:
                for way in WAYS:
                    shown = shown_cells(found["drawn"][terms], found[way][terms], way)
                    print(f"| {name} | {terms} | {way} | {' | '.join(shown)} |", flush=True)


def finetuned(name: str, way: str, folder: Path, options: argparse.Namespace) -> Accuracies:
    learning = {"optimizer": "adamw", "batch_size": 64}
    study: dict[str, Any] = {
        "version": 1,
        "name": f"{name}_{way}",
        "storage": f"sqlite:///{folder}/noise.db",
        "dataset": {"name": "digits", "validation": {"fraction": 0.25}},
        "model": {"name": f"network_noise:{name}"},
        "baseline": {"epochs": options.baseline_epochs, "learning_rate": 0.002, **learning},
        "finetune": {"budget": {"images": options.images}, "learning_rate": 0.001, **learning},
        "robustness": {"suite": "families_grey", "severities": [1, 3, 5]},
        "ablation": {
            "design": "arms",
            "arms": {terms: {"loss.terms": terms} for terms in TERMS},
            "seeds": options.seeds,
        },
    }
    with network_noise(way):
        record = ablate.launch(study, executor="inline", progress=False)
    found: dict[str, list[tuple[float, float]]] = {terms: [] for terms in TERMS}
    for row in record.rows:
        assert row.scores is not None
        assert row.cell is not None
        found[row.cell].append((row.scores.clean_accuracy, row.scores.robust_accuracy))
    return found


@contextmanager
def network_noise(way: str) -> Iterator[None]:
    """Finetune in this way while the block runs."""
    views_of = Forward._views

    def views_of_same_masks(
        self: Forward, model: nn.Module, batches: Sequence[Images]
    ) -> list[View]:
        state, views = torch.get_rng_state(), []
        for batch in batches:
            torch.set_rng_state(state)
            views += views_of(self, model, [batch])
        return views

    with ExitStack() as stack:
        if way != "off":
            stack.enter_context(mock.patch.object(loop, "drawing_modules", return_value=[]))
        if way == "shared":
            stack.enter_context(mock.patch.object(Forward, "_views", views_of_same_masks))
        yield


def shown_cells(
    drawn: Sequence[tuple[float, float]], found: Sequence[tuple[float, float]], way: str
) -> list[str]:
    """Clean and corrupted: mean and deviation, or the difference with its interval."""
    cells = []
    for before, after in zip(zip(*drawn, strict=True), zip(*found, strict=True), strict=True):
        values = [100 * value for value in after]
        if way != "drawn":
            values = [value - 100 * old for value, old in zip(values, before, strict=True)]
        mean, spread = statistics.mean(values), statistics.stdev(values)
        half = float(student.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5
        cells.append(
            f"{mean:.2f} (sd {spread:.2f})"
            if way == "drawn"
            else f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"
        )
    return cells


if __name__ == "__main__":
    main()
