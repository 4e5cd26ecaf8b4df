"""Cost of scoring under all 19 corruptions, compared with the network's forward passes.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --images 1000 --rounds 1 --data FOLDER

A ResNet-20 with random weights is scored on the images under 19 types at 5 severities, type by
type, with three measurements per type and round:

    first     `score_set` with an empty cache: it generates, writes and scores the images
    cached    the same again, from the cache
    forward   only the network, over the same number of images, resident on the device as floats, in
              the same batches, precision and threads, without using its logits

`forward` holds its images in the network's own memory format and reads the same ones for every
severity, which is the best that a manual loop could do. The last two alternate in order.

Ratios are computed within a type; printed are that of the sums over the types, the smallest and the
largest. "cached / forward" is relative speed: 1 is as fast as forward passes alone.

Memory, in a separate process: the largest anonymous memory (RssAnon of Linux, sampled) during a
complete run, minus its value after building the network, so that the images are included; once with
an empty cache and once from the cache. Memory maps of the cache are not anonymous.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from distortions import describe_hardware, synchronize
from image_source import read_images
from torch import nn

from ablate.data.dataset import Split, digest_images
from ablate.model.build import build_model
from ablate.model.environment import Environment, resolve_environment
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.score import score_set
from ablate.robustness.suites import find_suite
from ablate.study.settings import ModelSettings

CLASSES = 10
SEVERITIES = (1, 2, 3, 4, 5)
SAMPLED_EVERY_SECONDS = 0.01


def main() -> None:
    options = parse_options()
    show_conditions(options)
    if not options.no_speed:
        show_speed(options)
    if not options.no_memory:
        show_memory(options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Scoring beside forward passes alone.")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--types", nargs="*", help="default: all 19")
    parser.add_argument("--data", type=Path, help="folder of images; default: digits, enlarged")
    parser.add_argument("--batch-size", type=int, help="default: 256, on a GPU 2048")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    options.batch_size = options.batch_size or {"cpu": 256, "cuda": 2048}[options.device]
    options.types = options.types or list(find_suite("all").types)
    return options


def make_environment(options: argparse.Namespace) -> Environment:
    environment = resolve_environment(
        options.precision, threads=options.threads, device=options.device
    )
    environment.apply()
    return environment


def make_model(environment: Environment) -> nn.Module:
    half = (0.5, 0.5, 0.5)
    model = build_model(ModelSettings(name="resnet20"), CLASSES, half, half, seed=0)
    return model.to(environment.device).eval()


def make_split(options: argparse.Namespace) -> Split:
    images = read_images(options.data, options.images, 32).transpose(0, 3, 1, 2).copy()
    labels = torch.arange(options.images) % CLASSES
    return Split(torch.from_numpy(images), labels, digest_images(images, labels.numpy()))


def show_speed(options: argparse.Namespace) -> None:
    environment = make_environment(options)
    model, split = make_model(environment), make_split(options)
    size = min(options.batch_size, options.images)
    resident = split.images.to(environment.device).float() / 255
    resident = resident[: options.images // size * size]
    batches = [
        batch.contiguous(memory_format=torch.channels_last) for batch in resident.split(size)
    ]
    del resident
    # The copies make one row for `score_set`, so only its last batch is not full.
    full, rest = divmod(options.images * len(SEVERITIES), size)
    shown = [batches[number % len(batches)] for number in range(full)]
    if rest:
        shown.append(batches[0][:rest])

    def forward() -> None:
        with torch.inference_mode(), environment.autocast():
            for batch in shown:
                model(batch)

    first: list[float] = []
    cached: list[float] = []
    alone: list[float] = []
    forward()  # warms up
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for place, kind in enumerate(options.types):
                made = EvaluationSet(split, find_suite([kind]), SEVERITIES, 0, Path(folder))

                def score(made: EvaluationSet = made) -> None:
                    score_set(model, None, made, environment, batch_size=options.batch_size)

                first.append(take_time(score, options.device))
                turns: list[tuple[Callable[[], None], list[float]]] = [
                    (score, cached),
                    (forward, alone),
                ]
                for call, took in turns if (number + place) % 2 else turns[::-1]:
                    took.append(take_time(call, options.device))
                print(
                    f"{kind}: first {first[-1]:.2f} s, cached {cached[-1]:.2f} s, "
                    f"forward {alone[-1]:.2f} s",
                    flush=True,
                )
    count = options.images * len(SEVERITIES)
    print(
        f"\nforward {count / statistics.median(alone):,.0f} img/s\n"
        f"speed of cached / forward: {describe(alone, cached)}\n"
        f"time of first / cached:    {describe(first, cached)}"
    )


def take_time(call: Callable[[], None], device: str) -> float:
    synchronize(device)
    began = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - began


def describe(upper: list[float], lower: list[float]) -> str:
    ratios = [one / other for one, other in zip(upper, lower, strict=True)]
    total = sum(upper) / sum(lower)
    return f"{total:.3f} [{min(ratios):.3f}, {max(ratios):.3f}], n = {len(ratios)}"


def show_memory(options: argparse.Namespace) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, Any] = pool.apply(measure_memory, (options,))
    print(
        f"anonymous memory: {found['model']:,.0f} MB with the network; above that at most "
        f"{found['first']:,.0f} MB in a first run, {found['cached']:,.0f} MB from the cache"
    )


def measure_memory(options: argparse.Namespace) -> dict[str, float]:
    """In MB of 10^6 bytes."""
    environment = make_environment(options)
    model = make_model(environment)
    with torch.inference_mode():
        model(torch.zeros(1, 3, 32, 32, device=environment.device))
    found = {"model": read_anonymous()}
    split = make_split(options)
    with tempfile.TemporaryDirectory() as folder:
        made = EvaluationSet(split, find_suite(options.types), SEVERITIES, 0, Path(folder))
        for name in ("first", "cached"):
            with Peak() as peak:
                score_set(model, None, made, environment, batch_size=options.batch_size)
            found[name] = peak.largest - found["model"]
    return found


class Peak:
    """The largest anonymous memory of this process within a block, sampled by a thread."""

    def __enter__(self) -> Peak:
        self.largest = read_anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._over.wait(SAMPLED_EVERY_SECONDS):
            self.largest = max(self.largest, read_anonymous())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def read_anonymous() -> float:
    """In MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit("/proc/self/status has no RssAnon: use --no-memory.")


def show_conditions(options: argparse.Namespace) -> None:
    print(
        f"ResNet-20, {options.images} images x {len(options.types)} types x "
        f"{len(SEVERITIES)} severities, 32 x 32, batches of {options.batch_size}, "
        f"{make_environment(options).precision}, {options.threads} threads, "
        f"{options.rounds} rounds\n"
        f"{describe_hardware(options.device)}; Python {platform.python_version()}, "
        f"torch {torch.__version__}\n",
        flush=True,
    )


if __name__ == "__main__":
    main()
