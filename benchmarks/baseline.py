"""Time to train a baseline on all cores of this machine, compared with the threads of one trial.

    python benchmarks/baseline.py --data FOLDER --rounds 5      # train/CLASS/* and test/CLASS/*

Both sides train the network of a study file on a part of its images, in turn within each round,
each in a separate process. Ratios are computed within a round, so that other load of the machine
affects both sides; printed are the median over the rounds, the smallest and the largest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from ablate.data.dataset import take_fraction
from ablate.data.load import load_dataset
from ablate.files.cache import cache_folder
from ablate.finetune.baseline import train_baseline
from ablate.lifecycle.place import place_of_file
from ablate.model.environment import resolve_environment
from ablate.study.provenance import usable_cores

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder; without it the study's own data set")
    parser.add_argument("--study", type=Path, default=ROOT / "studies" / "cifar10_joint.yaml")
    parser.add_argument("--fraction", type=float, default=0.2, help="of the training images")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sides = {"threads of a trial": 1, "all cores": usable_cores()}
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, threads in sides.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(threads, options, theirs)).start()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            took = pipe.recv()
            if number:  # the first round warms up
                seconds[name].append(took)
    for pipe in pipes.values():
        pipe.send(False)
    for name, found in seconds.items():
        print(f"{name} ({sides[name]}): {statistics.median(found):.1f} s {spread(found)}")
    alone, whole = seconds.values()
    ratios = [second / first for first, second in zip(alone, whole, strict=True)]
    print(
        f"all cores / threads of a trial: {statistics.median(ratios):.2f} {spread(ratios, 2)}, "
        f"n = {len(ratios)}"
    )


def spread(found: list[float], digits: int = 1) -> str:
    return f"[{min(found):.{digits}f}, {max(found):.{digits}f}]"


def serve(threads: int, options: argparse.Namespace, pipe: Connection) -> None:
    """Train one epoch per request."""
    overrides = ["baseline.epochs=1"]
    if options.data is not None:
        overrides += ["dataset.name=image_folder", "dataset.download=false"]
        overrides += [f"dataset.path={options.data.absolute()}"]
    study = place_of_file(options.study, overrides).study
    assert study is not None
    dataset = load_dataset(study.dataset, options.study.parent, cache_folder(), image_size=32)
    train = take_fraction(dataset.train, options.fraction, seed=0)
    part = replace(dataset, train=train)
    environment = resolve_environment(study.run.precision, threads=threads)
    while pipe.recv():
        began = time.perf_counter()
        train_baseline(part, study.dataset, study.model, study.baseline, environment=environment)
        pipe.send(time.perf_counter() - began)


if __name__ == "__main__":
    main()
