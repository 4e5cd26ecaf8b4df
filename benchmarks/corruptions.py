"""Time per corrupted image, compared with `corrupt-tta` and a NumPy reference, on one core.

    python benchmarks/corruptions.py --data FOLDER
    python -m pip install --target PEERS --no-deps corrupt-tta opencv-python-headless \\
        scikit-image lazy-loader                                     # for its column only
    PYTHONPATH=PEERS python benchmarks/corruptions.py --data FOLDER
    PYTHONPATH=PEERS python benchmarks/corruptions.py --data FOLDER --side 224

Compared, in turn within each round (with rotating order), all starting from bytes, are

    ablate        `load(TYPE)(images, severity, generator)`: a batch, its checks and draws included
    corrupt-tta   `corrupt(image, severity, TYPE)`, one image after another.  It uses the parameters
                  of ImageNet-C at every size, a different spatter (a blurred mask of mud, no
                  edges), motion blur as one filter of OpenCV, and its own photographs of frost
    reference     tests/robustness/reference, one image after another: the benchmark's formulas in
                  NumPy, SciPy and Pillow; where the benchmark's own code calls OpenCV or
                  ImageMagick, NumPy does it, and glass blur is the benchmark's own loop

Every call goes through severities 1 to 5; printed are microseconds per image and severity, the mean
of the five. torch, OpenCV and the BLAS each have one thread. The table of parameters is that of
CIFAR-10-C up to a side of 96 pixels, else of ImageNet-C; `--scale imagenet` takes the one that
corrupt-tta has at a side of 32 too.

Ratios are computed within a round, so that other load of the machine affects both sides; printed
are the median over the rounds, the smallest and the largest. Above 1 ablate is faster. A sum is
over the types' times in a round, and its ratio that of two such sums.

`--data` is a folder of images, with or without folders of classes; without it the images are
ablate's digits, enlarged. `--frost-images` is a folder of photographs of frost; without it
noise is used instead, which costs the same. The last line is for the texture that ablate generates
without photographs.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is loaded

import argparse
import importlib.metadata
import platform
import statistics
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL
import scipy
import torch
from distortions import Call, describe_hardware, describe_ratio, measure
from image_source import read_images

from ablate.distortion.random import make_generator
from ablate.model.environment import resolve_environment
from ablate.robustness.corruption import CORRUPTIONS, SEVERITIES, load, scale_for
from ablate.robustness.corruption.frost import FrostPhotographs, load_frost

sys.path.append(str(Path(__file__).parents[1] / "tests" / "robustness"))
import reference

SIDES = ("ablate", "corrupt-tta", "reference")


def main() -> None:
    options = parse_options()
    resolve_environment("fp32", threads=1, device="cpu").apply()
    peer = find_spec("corrupt_tta") is not None and not options.no_peer
    if peer:
        import cv2

        cv2.setNumThreads(1)
    images = read_images(options.data, options.batch_size, options.side)
    frost = read_frost(options)
    show_conditions(options, peer)
    print(
        "| type | ablate, us | corrupt-tta, us | ratio | reference, us | ratio |\n"
        "|---|---|---|---|---|---|"
    )
    taken: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    for kind in options.types or CORRUPTIONS:
        calls = {"ablate": batched(kind, images, options, frost)}
        if peer:
            calls["corrupt-tta"] = by_corrupt_tta(kind, images[: options.each])
        calls["reference"] = by_reference(kind, images[: options.each], options, frost)
        seconds = dict(zip(calls, measure(list(calls.values()), options), strict=True))
        for side, rounds in seconds.items():
            count = len(images) if side == "ablate" else options.each
            taken[side].append([took / count / len(SEVERITIES) for took in rounds])
        show_row(f"`{kind}`", {side: taken[side][-1] for side in seconds})
    sums = {
        side: [sum(of_round) for of_round in zip(*rounds, strict=True)]
        for side, rounds in taken.items()
        if rounds
    }
    show_row(f"sum of the {len(taken['ablate'])}", sums)
    if "frost" in (options.types or CORRUPTIONS):
        took = measure([batched("frost", images, options, None)], options)[0]
        each = [seconds / len(images) / len(SEVERITIES) for seconds in took]
        show_row("`frost`, no photographs", {"ablate": each})


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Microseconds per corrupted image.")
    parser.add_argument("types", nargs="*", help="default: all 19")
    parser.add_argument("--data", type=Path, help="folder of images; default: digits, enlarged")
    parser.add_argument("--frost-images", type=Path)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--scale", choices=("cifar", "imagenet"), help="default: by the side")
    parser.add_argument("--batch-size", type=int, help="ours; default: 512, or 16 above 96 pixels")
    parser.add_argument("--each", type=int, help="images one by one; default: 16, or 2")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--no-peer", action="store_true", help="leave corrupt-tta out")
    options = parser.parse_args()
    large = options.side > 96
    options.batch_size = options.batch_size or (16 if large else 512)
    options.each = min(options.each or (2 if large else 16), options.batch_size)
    options.device = "cpu"
    options.scale = options.scale or scale_for(options.side)
    return options


def read_frost(options: argparse.Namespace) -> FrostPhotographs:
    if options.frost_images is not None:
        return load_frost(options.frost_images)
    generator = make_generator(0, "cpu")
    noise = torch.randint(256, (5, 3, 500, 700), generator=generator, dtype=torch.uint8)
    return FrostPhotographs(tuple(noise), "noise")


def batched(
    kind: str,
    images: np.ndarray,
    options: argparse.Namespace,
    frost: FrostPhotographs | None,
) -> Call:
    corruption = load(kind)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    generator = make_generator(0, "cpu")

    def call() -> None:
        for severity in SEVERITIES:
            corruption(batch, severity, generator, scale=options.scale, frost=frost)

    return call


def by_corrupt_tta(kind: str, images: np.ndarray) -> Call:
    from corrupt_tta import corrupt

    def call() -> None:
        for severity in SEVERITIES:
            for image in images:
                corrupt(image, severity=severity, corruption_name=kind)

    return call


def by_reference(
    kind: str, images: np.ndarray, options: argparse.Namespace, frost: FrostPhotographs
) -> Call:
    random = np.random.default_rng(0)
    photographs = [photograph.permute(1, 2, 0).numpy() for photograph in frost.photographs]

    def call() -> None:
        for severity in SEVERITIES:
            for image in images:
                reference.corrupt(
                    image, kind, severity, random, scale=options.scale, frost=photographs
                )

    return call


def show_row(name: str, seconds: dict[str, list[float]]) -> None:
    cells = [name, f"{statistics.median(seconds['ablate']) * 1e6:,.1f}"]
    for side in SIDES[1:]:
        if side in seconds:
            cells.append(f"{statistics.median(seconds[side]) * 1e6:,.0f}")
            cells.append(describe_ratio(seconds[side], seconds["ablate"]))
        else:
            cells += ["-", "-"]
    print(f"| {' | '.join(cells)} |", flush=True)


def show_conditions(options: argparse.Namespace, peer: bool) -> None:
    names = ("corrupt_tta", "opencv-python-headless", "scikit-image") if peer else ()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(
        f"{options.side} x {options.side}, uint8, parameters of {options.scale}; "
        f"batch of {options.batch_size}, {options.each} images one by one; 1 thread, "
        f"{options.rounds} rounds: median, ratios [smallest, largest]\n"
        f"{describe_hardware('cpu')}; Python {platform.python_version()}, torch "
        f"{torch.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"Pillow {PIL.__version__}, {versions or 'corrupt-tta is not installed'}\n"
    )


if __name__ == "__main__":
    main()
