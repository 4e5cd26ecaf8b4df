"""Cost of each variant of FMA and ST, and of each batch-norm mode, in a training step.

    python benchmarks/losses.py
    python benchmarks/losses.py --only distance --rounds 21

The base step is two-copy cross-entropy, `clean+da`: N images and N copies in one batch through
ResNet-20, forward, backward, SGD. FMA reads all four taps, ST the logits. The copies are mirrored
images, which cost almost nothing, and training images are not shifted, so that fractions are
relative to the network's work; with real distortions all fractions are smaller.

Seconds: all variants run in one process and alternate in every round; fractions are computed within
a round, so that other load of the machine affects both sides. Printed are the median over the
rounds, the smallest and the largest. Memory: peak of a process (VmHWM of Linux, or torch's
allocation on a GPU), each variant in a separate process, minus that of `clean+da`; the median over
the runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

from ablate.data.dataset import Split
from ablate.distortion.shapes import Images
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss import DISTANCES, FORMS
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import ANCHORS
from ablate.model.build import build_model
from ablate.model.environment import Environment, resolve_environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    LossSettings,
    ModelSettings,
)

STEP = "clean+da"

# Name -> sections `loss` and `finetune`.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    STEP: ({"terms": STEP}, {}),
    **{
        f"fma, distance {distance}": (
            {"terms": f"{STEP}+fma", "fma": {"distance": distance, "anchor": "clean"}},
            {},
        )
        for distance in DISTANCES
    },
    **{
        f"fma, anchor {anchor}": ({"terms": f"{STEP}+fma", "fma": {"anchor": anchor}}, {})
        for anchor in ANCHORS
    },
    **{f"st, form {form}": ({"terms": f"{STEP}+st", "st": {"form": form}}, {}) for form in FORMS},
    **{
        f"batch norm {mode}": ({"terms": STEP}, {"batch_norm": mode})
        for mode in ("separate", "frozen")
    },
}


class Mirrored:
    """An augmentation that costs almost nothing: one mirrored copy."""

    types: tuple[str, ...] = ()
    copy_weights: tuple[float, ...] = (1.0,)

    def copies(self, images: Images, *, seed: int) -> tuple[Images, ...]:  # noqa: ARG002
        return (images.flip(3),)


def main() -> None:
    options = parse_options()
    environment = resolve_environment(threads=options.threads)
    shares, milliseconds = measure_seconds(environment, options)
    memory = {name: measure_memory(name, options) for name in chosen(options)}
    print(
        f"{options.model}, N = {options.batch_size} of 32 x 32, {environment.precision}, "
        f"{options.threads} threads; {environment.device_name}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(
        f"median [smallest, largest] of {options.rounds} rounds of {options.steps} steps; memory: "
        f"median of {options.memory_runs} runs\n"
    )
    print("| variant | ms a step | adds | peak memory adds |")
    print("|---|---|---|---|")
    for name in chosen(options):
        share = [100 * (one - 1) for one in shares[name]]
        added = f"{statistics.median(share):+.1f} % [{min(share):+.1f}, {max(share):+.1f}]"
        extra = f"{(memory[name] - memory[STEP]) / 2**20:+.0f} MiB"
        if name == STEP:
            added, extra = "", f"{memory[STEP] / 2**20:.0f} MiB in all"
        print(f"| {name} | {statistics.median(milliseconds[name]):.1f} | {added} | {extra} |")


def parse_options() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="What each loss adds to a training step.")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=64, help="clean images a step (N)")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--memory-runs", type=int, default=3)
    parser.add_argument("--only", default="", help="variants whose name holds this text")
    parser.add_argument("--threads", type=int, default=min(2, cores), help="of torch")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[str]:
    return [name for name in VARIANTS if name == STEP or options.only in name]


def make_run(name: str, environment: Environment, options: argparse.Namespace) -> Finetuning:
    """A finetuning whose epoch is a round."""
    environment.apply()
    count = options.batch_size * options.steps
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    model = build_model(ModelSettings(name=options.model), 10, [0.5] * 3, [0.25] * 3, seed=0)
    loss, finetune = VARIANTS[name]
    settings = FinetuneSettings(batch_size=options.batch_size, **finetune)
    return Finetuning(
        model,
        Split(images, torch.arange(count) % 10, "random"),
        settings,
        budget=BudgetSettings(epochs=options.rounds + 1),
        loss=build_loss(LossSettings.model_validate(loss), layer_names(model)),
        augment=Mirrored(),
        dataset_settings=DatasetSettings(name="digits", crop_padding=0, horizontal_flip=False),
        environment=environment,
        batch_norm=settings.batch_norm,
    )


def measure_seconds(
    environment: Environment, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """For each variant and round, its time over that of the step, and its milliseconds a step."""
    runs = {name: make_run(name, environment, options) for name in chosen(options)}
    shares: dict[str, list[float]] = {name: [] for name in runs}
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):
        took = {name: run.run_epoch().seconds for name, run in runs.items()}
        if number == 0:  # the first round warms up
            continue
        for name, seconds in took.items():
            shares[name].append(seconds / took[STEP])
            milliseconds[name].append(1000 * seconds / options.steps)
    return shares, milliseconds


def measure_memory(name: str, options: argparse.Namespace) -> float:
    """Bytes at the peak of a process that takes a round of steps, the median over the runs."""
    context = multiprocessing.get_context("spawn")
    peaks = []
    for _ in range(options.memory_runs):
        with context.Pool(1) as pool:
            peaks.append(pool.apply(peak_of, (name, options)))
    return statistics.median(peaks)


def peak_of(name: str, options: argparse.Namespace) -> int:
    environment = resolve_environment(threads=options.threads)
    make_run(name, environment, options).run_epoch()
    if environment.device == "cuda":
        return torch.cuda.max_memory_allocated()
    # Not getrusage: its maximum survives exec, and so would be the parent's.
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
