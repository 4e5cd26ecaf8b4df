"""Twelve arms of the method on CIFAR-10, at equal images through the network, one seed each.

    python benchmarks/arms.py --data FOLDER            # train/CLASS/* and test/CLASS/*
    python benchmarks/arms.py --data FOLDER --images 60000 --workers 2

Every arm finetunes the one baseline of `studies/cifar10_joint.yaml` (cached) and is scored on the
validation split.  The weights are plain ones and not tuned: what is shown is an illustration at
equal compute, no ranking.  `single` is one type, `combined` all types of three families.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from ablate.finetune.cache import cache_folder
from ablate.locate import place_of_file
from ablate.robustness.trial import TrialRun
from ablate.robustness.workbench import Workbench
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study

STUDY = Path(__file__).parents[1] / "studies" / "cifar10_joint.yaml"


def one_type(kind: str) -> dict[str, Any]:
    return {"augment.types": [kind]}


ARMS: dict[str, dict[str, Any]] = {
    "plain": {"loss.terms": "clean"},
    "da, single: gaussian_noise": {"loss.terms": "clean+da", **one_type("gaussian_noise")},
    "da, single: gaussian_blur": {"loss.terms": "clean+da", **one_type("gaussian_blur")},
    "da, single: brightness": {"loss.terms": "clean+da", **one_type("brightness")},
    "da, combined": {"loss.terms": "clean+da"},
    "st, single: gaussian_noise": {"loss.terms": "clean+st", **one_type("gaussian_noise")},
    "st, combined": {"loss.terms": "clean+st"},
    "fma, single: gaussian_noise": {
        "loss.terms": "clean+fma",
        "loss.fma.layers": ["stage3"],
        **one_type("gaussian_noise"),
    },
    "fma, combined: stage3": {"loss.terms": "clean+fma", "loss.fma.layers": ["stage3"]},
    "fma, combined: all taps": {"loss.terms": "clean+fma"},
    "fma+st, combined": {"loss.terms": "clean+st+fma", "loss.fma.layers": ["stage3"]},
    "AugMix with JS": {
        "loss.terms": "clean+st",
        "loss.st.form": "js",
        "loss.st.weight": 12.0,
        "augment.method": "augmix",
        "augment.copies": 2,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Arms of the method at equal images.")
    parser.add_argument("--data", type=Path, required=True, help="train/CLASS/* and test/CLASS/*")
    parser.add_argument("--images", type=int, default=90_000, help="through the student, each arm")
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    overrides = [
        "dataset.name=image_folder",
        "dataset.download=false",
        f"dataset.path={options.data.absolute()}",
        f"finetune.budget={{images: {options.images}}}",
        f"finetune.learning_rate={options.learning_rate}",
        "run.gpus_per_trial=0",
    ]
    study = place_of_file(STUDY, overrides).study
    assert study is not None
    began = time.perf_counter()
    prepared = Workbench.get(study, STUDY.parent, cache_folder()).prepare()
    environment = prepared.environment
    print(
        f"{study.model.name}, {options.data.name}, {len(ARMS)} arms of "
        f"{options.images} images, lr {options.learning_rate}, {environment.precision}, "
        f"{environment.threads} thread each; {platform.python_version()}, torch {torch.__version__}"
    )
    families = list(prepared.baseline_scores.families)
    print("| arm | clean | robust | " + " | ".join(families) + " | images | TFLOP | seconds |")
    print("|---|" + "---|" * (len(families) + 5))
    print(row("baseline", prepared.baseline_scores), flush=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.workers) as pool:
        jobs = [(study, name) for name in ARMS]
        for name, scores in zip(ARMS, pool.imap(run_arm, jobs, chunksize=1), strict=True):
            print(row(name, scores), flush=True)
    print(f"n = {prepared.baseline_scores.n_images}, {time.perf_counter() - began:.0f} s in all")


def run_arm(job: tuple[Study, str]) -> Scores:
    study, name = job
    bench = Workbench.get(study, STUDY.parent, cache_folder())
    run = TrialRun(bench, ARMS[name], Seeds(split=0, train=0, evaluation=0))
    while not run.done:
        run.run_epoch()
    return run.finish()


def row(name: str, scores: Scores) -> str:
    shown = [scores.clean_accuracy, scores.robust_accuracy]
    shown += [scores.family_accuracy(family) for family in scores.families]
    cells = [name, *(f"{100 * value:.1f}" for value in shown)]
    cells += [f"{scores.student_images:,}", f"{scores.train_flops / 1e12:.1f}"]
    return "| " + " | ".join([*cells, f"{scores.train_seconds:.0f}"]) + " |"


if __name__ == "__main__":
    main()
