"""Images per second of the FMA+CA training step, compared with a usual loop and with the minimum.

    python benchmarks/finetune.py                   # random images of CIFAR's shape
    python benchmarks/finetune.py --data FOLDER     # a folder with train/CLASS/* and test/CLASS/*

Counted are clean images: a step of N sends N clean images and their N augmented copies through
the network. Compared, in turn within each round, each in a separate process, are

    ablate   the loop of this package: one concatenated forward, distortions in batch
    usual    a typical loop: DataLoader with workers that read each image (from its file, with
             --data), torchvision v2 transforms image by image, two forwards, fp32; the same network
             and objective
    bare     2N resident images, forward and backward, only cross-entropy, no augmentation, in the
             precision of `ablate`: the minimum for any loop with two copies
    compiled with --compiled: `ablate` with the forward pass compiled (`run.compile: default`)

A ratio is taken within a round, so that what else the machine does hits both sides; given are the
median over the rounds, the smallest and the largest.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from distortions import describe_hardware
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ablate.data.dataset import Split, channel_statistics
from ablate.data.load import load_dataset
from ablate.files.cache import cache_folder
from ablate.finetune.augment.augmentation import CombinedAugmentations
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model import MODELS
from ablate.model.build import build_model
from ablate.model.environment import Environment, resolve_environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    FMASettings,
    LossSettings,
    ModelSettings,
)

Round = Callable[[], None]

MOVED = DatasetSettings(name="digits", crop_padding=4, horizontal_flip=True)
"""Both loops that train shift by 4 pixels and mirror, as everybody does on such images."""


def main() -> None:
    options = parse_options()
    environment = resolve_environment(threads=options.threads)
    context = multiprocessing.get_context("spawn")
    loops: dict[str, Connection] = {}
    for name in ("ablate", "usual", "bare", "compiled")[: 3 + options.compiled]:
        loops[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, environment, options, theirs)).start()
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(options.rounds + 1):
        for name, loop in loops.items():
            loop.send(True)
            took = loop.recv()
            if number:  # the first round warms up
                seconds[name].append(took)
    for loop in loops.values():
        loop.send(False)
    show(seconds, environment, options)


def parse_options() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Images per second of the FMA+CA step.")
    parser.add_argument("--data", type=Path, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--model", choices=MODELS, default="resnet20")
    parser.add_argument("--batch-size", type=int, default=128, help="clean images a step (N)")
    parser.add_argument("--steps", type=int, default=8, help="steps a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=cores, help="of torch")
    parser.add_argument("--workers", type=int, default=cores, help="of the usual DataLoader")
    parser.add_argument("--accumulation-steps", type=int, default=1, help="of `ablate` alone")
    parser.add_argument("--compiled", action="store_true", help="also with compiled steps")
    return parser.parse_args()


def serve(
    name: str, environment: Environment, options: argparse.Namespace, orders: Connection
) -> None:
    """Run one loop, one round per request, and return its seconds."""
    torch.set_num_threads(options.threads)
    split = load_images(options.data, options.batch_size * options.steps)
    classes = int(split.labels.max()) + 1
    settings = ModelSettings(name=options.model)
    model = build_model(settings, classes, *channel_statistics(split.images), seed=0)
    if name == "compiled":
        environment = dataclasses.replace(environment, compile="default")
    make = {"usual": make_usual, "bare": make_bare}.get(name, make_ablate)
    run = make(model, split, environment, options)
    while orders.recv():
        began = time.perf_counter()
        run()
        orders.send(time.perf_counter() - began)


def load_images(folder: Path | None, count: int, side: int = 32) -> Split:
    if folder is None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 10, "random")
    settings = DatasetSettings(name="image_folder", path=str(folder))
    train = load_dataset(settings, Path.cwd(), cache_folder()).train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    return train.take(order[:count])


def make_ablate(
    model: nn.Module, split: Split, environment: Environment, options: argparse.Namespace
) -> Round:
    environment.apply()
    loss = LossSettings(terms="clean+fma", fma=FMASettings(anchor="clean"))  # as in `usual`
    run = Finetuning(
        model,
        split,
        FinetuneSettings(
            batch_size=options.batch_size, accumulation_steps=options.accumulation_steps
        ),
        budget=BudgetSettings(epochs=options.rounds + 3),
        loss=build_loss(loss, layer_names(model)),
        augment=CombinedAugmentations(),
        dataset_settings=MOVED,
        environment=environment,
    )

    def epoch() -> None:
        run.run_epoch()

    return epoch


class Pairs(TorchDataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """An image, its copy under one transform drawn at random, and its class.

    Args:
        images: gives (PIL image, class), as the data sets of torchvision do.
        rows: of those that are used.
        side: of the images, in pixels.
    """

    def __init__(self, images: Any, rows: Sequence[int], side: int = 32) -> None:
        self.images = images
        self.rows = rows
        from torchvision.transforms import v2  # two seconds, see distortions.py

        self.move = v2.Compose(
            [
                v2.ToImage(),
                v2.RandomCrop(side, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )
        self.distort = v2.RandomChoice(
            [
                v2.GaussianNoise(sigma=0.15),
                v2.GaussianBlur(kernel_size=9, sigma=(0.1, 2.0)),
                v2.ColorJitter(brightness=0.5, contrast=0.9, saturation=0.9),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image, label = self.images[self.rows[place]]
        moved = self.move(image)
        return moved, self.distort(moved), label


class InMemory:
    """Arrays as (PIL image, class): what torchvision's CIFAR10 does."""

    def __init__(self, split: Split) -> None:
        self.pixels = split.images.permute(0, 2, 3, 1).numpy()
        self.labels = split.labels.tolist()

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[row]), self.labels[row]


def make_usual(
    model: nn.Module, split: Split, environment: Environment, options: argparse.Namespace
) -> Round:
    device = environment.device
    model = model.to(device, memory_format=torch.contiguous_format).train()
    if options.data is None:
        pairs = Pairs(InMemory(split), range(len(split)), split.images.shape[-1])
    else:
        from torchvision.datasets import ImageFolder

        files = ImageFolder(str(options.data / "train"))
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
        pairs = Pairs(files, order[: len(split)].tolist())
    loader = DataLoader(
        pairs,
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        pin_memory=device == "cuda",
    )
    maps: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            maps[name] = output

        return hook

    for name, path in layer_names(model).taps.items():
        model.get_submodule(path).register_forward_hook(keep(name))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)

    def epoch() -> None:
        for images, augmented, labels in loader:
            logits = model(images.to(device, non_blocking=True))
            clean = {name: features.detach().flatten(1) for name, features in maps.items()}
            model(augmented.to(device, non_blocking=True))
            loss = functional.cross_entropy(logits, labels.to(device, non_blocking=True))
            for name, target in clean.items():
                difference = (maps[name].flatten(1) - target).square().sum(1)
                loss = loss + (difference / target.square().sum(1)).mean() / len(clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()

    return epoch


def make_bare(
    model: nn.Module, split: Split, environment: Environment, options: argparse.Namespace
) -> Round:
    environment.apply()
    device = environment.device
    model = model.to(device).train()
    images = (split.images.float() / 255).to(device, memory_format=torch.channels_last)
    labels = split.labels.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True
    )

    def epoch() -> None:
        for _ in range(options.steps):
            rows = torch.randint(len(labels), (2 * options.batch_size,), device=device)
            with environment.autocast():
                logits = model(images[rows])
            loss = functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss.item()

    return epoch


def show(
    seconds: dict[str, list[float]], environment: Environment, options: argparse.Namespace
) -> None:
    count = options.batch_size * options.steps
    print(
        f"{options.model}, N = {options.batch_size}, {environment.precision}, "
        f"{options.data or 'random images'}, {options.threads} threads, {options.workers} workers"
    )
    print(
        f"{describe_hardware(environment.device)}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {version('torchvision')}"
    )
    print(f"median [smallest, largest] of {options.rounds} rounds of {options.steps} steps\n")
    for name, times in seconds.items():
        rates = [count / one for one in times]
        print(
            f"{name:14} {statistics.median(rates):8.0f} [{min(rates):.0f}, {max(rates):.0f}] img/s"
        )
    for name in list(seconds)[1:]:
        pairs = zip(seconds[name], seconds["ablate"], strict=True)
        ratios = [other / own for other, own in pairs]
        print(
            f"ablate / {name:8} {statistics.median(ratios):8.2f} "
            f"[{min(ratios):.2f}, {max(ratios):.2f}]"
        )


if __name__ == "__main__":
    main()
