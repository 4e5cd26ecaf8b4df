"""Images per second of each distortion, compared with kornia and with torchvision per image.

    python benchmarks/distortions.py
    python -m pip install --target KORNIA kornia kornia_rs --no-deps    # for kornia's column only
    PYTHONPATH=KORNIA python benchmarks/distortions.py

One call distorts a batch (256 x 3 x 32 x 32, fp32, resident), each image with its own strength,
drawn uniformly from 0 to 1. Compared, in turn within each round (with rotating order), are

    ablate        `load(TYPE)(images, strength, generator)`: its checks and its draws included
    kornia        the nearest operator, in batch, with one parameter per image; if it takes one for
                  the whole batch the table says so, and it gets the strongest. Its parameters are
                  computed from the strengths, and signs and angles drawn, within the call, as ours
    torchvision   the v2 function on one image after another, each with its own parameter, stacked

The process is configured like a training process of this package: the C library keeps freed memory.
Otherwise the memory of every batch would be returned to the system and allocated again, which takes
longer than most distortions. This helps every side.

A ratio is taken within a round, so that what else the machine does hits both sides; given are the
median over the rounds, the smallest and the largest. Above 1 ablate is faster.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate.distortion import FAMILIES, load
from ablate.distortion.random import make_generator
from ablate.model.environment import resolve_environment

Call = Callable[[], object]
Peers = dict[str, tuple[str, Call]]
"""Type -> what the other library calls it, and the call."""

SIGMA_PIXELS = 1 / 16
KERNEL_SIGMAS = 3  # the peers cut the Gaussian here, as is usual; ours is not cut


def main() -> None:
    options = parse_options()
    resolve_environment("fp32", threads=options.threads, device=options.device).apply()
    generator = make_generator(0, options.device)
    shape = (options.batch_size, 3, options.side, options.side)
    images = torch.rand(shape, generator=generator, device=options.device)
    strength = torch.rand(len(images), generator=generator, device=options.device)
    kornia = kornia_peers(images, strength) if find_spec("kornia") else {}
    torchvision_peers = image_by_image(images, strength)
    show_conditions(options)
    print(
        "| type | ablate img/s | kornia's nearest | img/s | ratio "
        "| torchvision, per image | img/s | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind in options.types or [kind for kinds in FAMILIES.values() for kind in kinds]:
        distortion = load(kind)
        peers = [kornia.get(kind), torchvision_peers.get(kind)]
        calls = [lambda: distortion(images, strength, generator)]  # noqa: B023
        seconds = measure(calls + [peer[1] for peer in peers if peer], options)
        cells = [f"`{kind}`", f"{len(images) / statistics.median(seconds[0]):,.0f}"]
        others = iter(seconds[1:])
        for peer in peers:
            if peer is None:
                cells += ["-", "-", "-"]
                continue
            theirs = next(others)
            cells += [peer[0], f"{len(images) / statistics.median(theirs):,.0f}"]
            cells.append(describe_ratio(theirs, seconds[0]))
        print(f"| {' | '.join(cells)} |", flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second of each distortion.")
    parser.add_argument("types", nargs="*", help="default: every type")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser.parse_args()


def measure(calls: list[Call], options: argparse.Namespace) -> list[list[float]]:
    """Seconds of each call in each round."""
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(options.rounds + 2):
        # Each side goes first in its turn: who follows the loop over images finds a cold cache.
        turn = number % len(calls)
        pairs = list(zip(calls, seconds, strict=True))
        for call, took in pairs[turn:] + pairs[:turn]:
            synchronize(options.device)
            began = time.perf_counter()
            call()
            synchronize(options.device)
            if number > 1:  # two rounds warm up
                took.append(time.perf_counter() - began)
    return seconds


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def kornia_peers(images: Tensor, strength: Tensor) -> Peers:
    """Kornia's operators, with parameters that make the distortion as strong as ours."""
    from kornia import augmentation, enhance, filters

    side, batch, device = images.shape[-1], len(images), images.device
    size = gaussian_kernel(side)
    length = 2 * math.ceil(5 / 32 * side) + 1
    noise = augmentation.RandomGaussianNoise(std=0.3, p=1)
    salt = augmentation.RandomSaltAndPepperNoise(amount=(0.0, 0.3), salt_vs_pepper=0.5, p=1)

    def signed() -> Tensor:
        return torch.where(torch.rand(batch, device=device) < 0.5, -strength, strength)

    def blur() -> Tensor:
        sigma = (SIGMA_PIXELS * side * strength).clamp_min(1e-3)
        return filters.gaussian_blur2d(images, (size, size), sigma[:, None].expand(-1, 2))

    def move() -> Tensor:
        degrees = 180 * torch.rand(batch, device=device)
        even = torch.zeros_like(degrees)
        return filters.motion_blur(images, length, degrees, even, border_type="reflect")

    def contrast() -> Tensor:
        return enhance.adjust_contrast_with_mean_subtraction(images, 1 - 0.9 * strength)

    def saturate() -> Tensor:
        change = signed()
        kept = 1 + torch.where(change > 0, 2 * change, change)
        return enhance.adjust_saturation_with_gray_subtraction(images, kept)

    return {
        "gaussian_noise": ("RandomGaussianNoise, one sigma", lambda: noise(images)),
        "salt_and_pepper": ("RandomSaltAndPepperNoise", lambda: salt(images)),
        "gaussian_blur": ("gaussian_blur2d", blur),
        "motion_blur": ("motion_blur, one length", move),
        "brightness": (
            "adjust_brightness",
            lambda: enhance.adjust_brightness(images, signed() / 2),
        ),
        "contrast": ("adjust_contrast_with_mean_subtraction", contrast),
        "saturation": ("adjust_saturation_with_gray_subtraction", saturate),
        "hue": ("adjust_hue", lambda: enhance.adjust_hue(images, 2 * math.pi / 3 * signed())),
        "gamma": ("adjust_gamma", lambda: enhance.adjust_gamma(images, 3 ** signed())),
        "jpeg": (
            "jpeg_codec_differentiable",
            lambda: enhance.jpeg_codec_differentiable(images, 100 - 80 * strength),
        ),
    }


def image_by_image(images: Tensor, strength: Tensor) -> Peers:
    """Torchvision's operators; its JPEG works on bytes of the CPU, so images are copied there and
    back."""
    # Two seconds to import, which gpu.py need not wait for in each of its processes.
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as v2

    side = images.shape[-1]
    size = gaussian_kernel(side)
    rows = list(images)

    def each(function: Callable[[Tensor, Any], Tensor], parameters: Iterable[Any]) -> Call:
        settings = list(parameters)
        return lambda: torch.stack([function(*pair) for pair in zip(rows, settings, strict=True)])

    def compress(image: Tensor, quality: int) -> Tensor:
        pixels = v2.to_dtype(image, torch.uint8, scale=True).cpu()
        return v2.to_dtype(v2.jpeg(pixels, quality), torch.float32, scale=True).to(image.device)

    def pixelate(image: Tensor, small: int) -> Tensor:
        cells = v2.resize(image, [small, small], InterpolationMode.BILINEAR, antialias=True)
        return v2.resize(cells, [side, side], InterpolationMode.NEAREST)

    values = strength.tolist()
    return {
        "gaussian_noise": (
            "gaussian_noise",
            each(lambda image, sigma: v2.gaussian_noise(image, 0.0, sigma), values),
        ),
        "gaussian_blur": (
            "gaussian_blur",
            each(
                lambda image, sigma: v2.gaussian_blur(image, [size, size], [sigma, sigma]),
                [max(SIGMA_PIXELS * side * value, 1e-3) for value in values],
            ),
        ),
        "brightness": (
            "adjust_brightness",
            each(v2.adjust_brightness, [1 + value / 2 for value in values]),
        ),
        "contrast": (
            "adjust_contrast",
            each(v2.adjust_contrast, [1 - 0.9 * value for value in values]),
        ),
        "saturation": (
            "adjust_saturation",
            each(v2.adjust_saturation, [1 + 2 * value for value in values]),
        ),
        "hue": ("adjust_hue", each(v2.adjust_hue, [value / 3 for value in values])),
        "gamma": ("adjust_gamma", each(v2.adjust_gamma, [3**value for value in values])),
        "jpeg": ("jpeg, by bytes", each(compress, [round(100 - 80 * value) for value in values])),
        "pixelate": (
            "resize twice",
            each(pixelate, [round(side / (1 + side / 16 * value)) for value in values]),
        ),
    }


def gaussian_kernel(side: int) -> int:
    return 2 * math.ceil(KERNEL_SIGMAS * SIGMA_PIXELS * side) + 1


def describe_ratio(theirs: list[float], ours: list[float]) -> str:
    ratios = [other / own for other, own in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"


def show_conditions(options: argparse.Namespace) -> None:
    if find_spec("kornia"):
        kornia = f"kornia {version('kornia')}"
    else:
        kornia = "kornia is not installed: its columns stay empty"
    print(
        f"{options.batch_size} x 3 x {options.side} x {options.side}, fp32, "
        f"{options.threads} threads, {options.rounds} rounds: median, ratios [smallest, largest]\n"
        f"{describe_hardware(options.device)}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {version('torchvision')}, {kornia}\n"
    )


def describe_hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else 'CPU'}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    main()
