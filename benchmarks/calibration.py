"""How large each FMA distance's gradient is, beside that of the cross-entropy on the copies.

    python benchmarks/calibration.py --cifar10 FOLDER --imagenet FOLDER --checkpoint FILE.pth
    python benchmarks/calibration.py --batches 2          # the digits alone, in under a minute

Each distance has a constant in `DISTANCES` of `ablate/finetune/loss/__init__.py`, so that
`loss.fma.weight: 1` gives a gradient as large as that of `da` (cross-entropy on the augmented
copies) at a baseline that has been trained. This measures them. A gradient's size is its norm over
all parameters of the network. FMA reads the last tap, with anchor `clean`; the augmentation is the
default one; batch norm sees clean images and copies in one batch; fp32.

The baselines:

    digits     ResNet-8 of `studies/quickstart.yaml`, trained here
    vit        a small vision transformer (`small_vit`) on the same images, trained here
    cifar10    ResNet-20 of `studies/cifar10_joint.yaml`, trained here; FOLDER has train/CLASS/* and
               test/CLASS/*
    imagenet   EfficientNet-Lite0 of timm at 224 pixels with pretrained weights, a file whose
               tensors are matched by order; FOLDER has CLASS/*, one folder per class of ImageNet

A ratio is taken batch by batch. Printed are the geometric means over batches and baselines (seeds),
with the smallest and the largest batch. The constant is the geometric mean of the convolutional
networks; its spread is the factor between it and the one that is farthest from it. The transformer
is measured beside them.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchvision.models import VisionTransformer

from ablate.data.evaluated import ImageRequest, load_evaluated
from ablate.distortion.random import make_generator
from ablate.distortion.shapes import ByteImages, Labels
from ablate.files.cache import cache_folder
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.forward import Forward, flip_images, shift_images
from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import Term, Views
from ablate.finetune.optimizer import gradient_norm
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.model.environment import Environment, resolve_environment
from ablate.model.taps import layer_names
from ablate.model.weights.external_checkpoint import load_external
from ablate.study.seeds import derive_seed
from ablate.study.settings import (
    AugmentSettings,
    FMASettings,
    LossSettings,
    ModelSettings,
)
from ablate.trial.workbench import Workbench

ROOT = Path(__file__).parents[1]
OTHERS = ("clean", "st")
"""Terms that are shown for comparison."""


@dataclass(frozen=True)
class Setting:
    """A baseline and images to finetune it on.

    Attributes:
        name: of the data.
        model: the baseline.
        images: uint8; labels: of them.
        shift: padding in pixels and whether images are mirrored, as in the study.
    """

    name: str
    model: nn.Module
    images: ByteImages
    labels: Labels
    shift: tuple[int, bool]
    batch_size: int
    about: str

    def batches(self, count: int, seed: int) -> Iterator[tuple[ByteImages, Labels, int]]:
        """Random batches, each with the seed of its copies."""
        for number in range(count):
            one = derive_seed(seed, self.name, number)
            generator = make_generator(one, "cpu")
            rows = torch.randperm(len(self.images), generator=generator)[: self.batch_size]
            images = self.images[rows]
            padding, mirrored = self.shift
            if padding:
                images = shift_images(images, padding, generator)
            if mirrored:
                images = flip_images(images, generator)
            yield images, self.labels[rows], one


def main() -> None:
    options = parse_options()
    environment = resolve_environment("fp32", threads=options.threads, device="cpu")
    environment.apply()
    print(
        f"fp32, {options.threads} threads; {environment.device_name}, Python "
        f"{platform.python_version()}, torch {torch.__version__}\n"
    )
    constants: dict[str, dict[str, list[float]]] = {name: {} for name in DISTANCES}
    for name in ("digits", "vit", "cifar10", "imagenet"):
        if options.only not in name or getattr(options, name, "") is None:
            continue
        began = time.perf_counter()
        norms: dict[str, list[float]] = {}
        about = ""
        for seed in range(1 if name == "imagenet" else options.seeds):
            setting = make_setting(name, seed, environment, options)
            about = setting.about
            for number, batch in enumerate(setting.batches(options.batches, seed)):
                for term, norm in measure(setting, batch, environment).items():
                    norms.setdefault(term, []).append(norm)
                if options.verbose:
                    print(f"  {name}, seed {seed}, batch {number}", flush=True)
        show_setting(name, about, norms)
        print(f"({time.perf_counter() - began:.0f} s)\n", flush=True)
        for distance in DISTANCES:
            pairs = zip(norms["da"], norms[distance], strict=True)
            scale = DISTANCES[distance].gradient_scale
            constants[distance][name] = [scale * da / own for da, own in pairs]
    show_constants(constants)


def parse_options() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Gradient norms of the terms at a baseline.")
    parser.add_argument("--cifar10", type=Path, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--imagenet", type=Path, help="folder with CLASS/*")
    parser.add_argument("--checkpoint", type=Path, help="weights of EfficientNet-Lite0")
    parser.add_argument("--seeds", type=int, default=3, help="baselines that are trained")
    parser.add_argument("--epochs", type=int, default=12, help="of a baseline on CIFAR-10")
    parser.add_argument("--vit-epochs", type=int, default=40, help="of a vision transformer")
    parser.add_argument("--precision", default="fp32", help="that baselines are trained in")
    parser.add_argument("--only", default="", help="settings whose name contains this")
    parser.add_argument("--batches", type=int, default=10, help="batches per baseline")
    parser.add_argument("--imagenet-batch", type=int, default=32, help="clean images in a batch")
    parser.add_argument("--threads", type=int, default=cores, help="of torch")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def make_setting(
    name: str, seed: int, environment: Environment, options: argparse.Namespace
) -> Setting:
    if name == "imagenet":
        return make_imagenet(options)
    file = ROOT / "studies" / ("cifar10_joint.yaml" if name == "cifar10" else "quickstart.yaml")
    overrides = ["baseline.checkpoint=null", "baseline.saw_validation=null"]
    overrides += [f"baseline.seed={seed}"]
    if name == "vit":
        overrides += ["model.name=calibration:small_vit", f"baseline.epochs={options.vit_epochs}"]
        overrides += ["baseline.optimizer=adamw", "baseline.learning_rate=0.002"]
        overrides += ["baseline.weight_decay=0.05", "baseline.warmup_fraction=0.1"]
    if name == "cifar10":
        overrides += ["dataset.name=image_folder", "dataset.download=false"]
        overrides += [f"dataset.path={options.cifar10.absolute()}"]
        overrides += [f"baseline.epochs={options.epochs}"]
        overrides += ["dataset.validation.fraction=0.04"]  # the baselines of benchmarks/defaults.py
    study = place_of_file(file, overrides).study
    assert study is not None
    trained_in = resolve_environment(options.precision, threads=options.threads, device="cpu")
    bench = Workbench(study, file.parent, cache_folder(), trained_in)
    train, validation = bench.dataset.train.resident(), bench.dataset.validation
    model = bench.build_baseline()
    environment.apply()
    fits = f"{accuracy(model, train.images[:2000], train.labels[:2000]):.1%} of training images"
    known = f"{accuracy(model, validation.images, validation.labels):.1%} of validation images"
    return Setting(
        name,
        model,
        train.images,
        train.labels,
        (study.dataset.crop_padding, study.dataset.horizontal_flip),
        study.finetune.batch_size,
        f"{study.model.name}, {study.baseline.epochs} epochs on {len(train)} images; the last "
        f"baseline classifies {fits} and {known} correctly",
    )


def small_vit(classes: int) -> nn.Module:
    """A vision transformer for images of 32 x 32: 16 patches, 6 blocks, 64 channels, 4 heads."""
    net: nn.Module = VisionTransformer(32, 8, 6, 4, 64, 128, num_classes=classes)
    prefix = "encoder.layers.encoder_layer_"
    net.taps = {f"stage{i + 1}": f"{prefix}{i}" for i in range(6)}  # type: ignore[assignment]
    return net


def make_imagenet(options: argparse.Namespace) -> Setting:
    settings = ModelSettings(name="timm:tf_efficientnet_lite0")
    request = ImageRequest(image_size=224, resize=256, resize_is_asked=True)
    found = load_evaluated(str(options.imagenet), None, request, cache_folder()).split
    model = build_model(settings, 1000, [0.5] * 3, [0.5] * 3, seed=0)
    load_external(model, settings, str(options.checkpoint), Path.cwd(), by_order=True)
    known = accuracy(model, found.images, found.labels)
    return Setting(
        "imagenet",
        model,
        found.images,
        found.labels,
        (0, True),
        options.imagenet_batch,
        f"{settings.name}, pretrained; it classifies {known:.1%} of {len(found)} images correctly",
    )


def accuracy(model: nn.Module, images: ByteImages, labels: Labels) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for rows in torch.arange(len(images)).split(100):
            right += int((model(images[rows].float() / 255).argmax(1) == labels[rows]).sum())
    return right / len(images)


def measure(
    setting: Setting, batch: tuple[ByteImages, Labels, int], environment: Environment
) -> dict[str, float]:
    """Gradient norm of each term at weight 1, and of FMA at each distance, on one batch."""
    images, labels, seed = batch
    names = layer_names(setting.model)
    last = tuple(names.taps)[-1]
    terms: dict[str, Term] = {}
    for distance in DISTANCES:
        fma = FMASettings(distance=distance, layers=(last,), anchor="clean")
        loss = build_loss(LossSettings(terms="clean+da+st+fma", fma=fma), names)
        terms |= {distance if one.name == "fma" else one.name: one for one in loss.terms}
    augment = build_augmentation(AugmentSettings())
    forward = Forward(setting.model, loss, environment, "joint", {})
    pixels = images.float() / 255
    copies = augment.copies(pixels, seed=seed)
    views: Views = forward(pixels, copies, augment.copy_weights, labels)
    parameters = list(setting.model.parameters())
    return {name: gradient_norm(term.value(views), parameters) for name, term in terms.items()}


def show_setting(name: str, about: str, norms: dict[str, list[float]]) -> None:
    count = len(norms["da"])
    print(f"**{name}**: {about}; n = {count} batches\n")
    print("| term | gradient norm at weight 1 | that of `da` over it |")
    print("|---|---|---|")
    for term in ("da", *OTHERS, *DISTANCES):
        ratios = [da / own for da, own in zip(norms["da"], norms[term], strict=True)]
        shown = f"`{term}`" if term in DISTANCES else f"term `{term}`"
        print(f"| {shown} | {spread(norms[term])} | {spread(ratios)} |")
    print()


def show_constants(constants: dict[str, dict[str, list[float]]]) -> None:
    names = list(next(iter(constants.values())))
    heads = " | ".join(names)
    print(f"| distance | {heads} | geometric mean | farthest setting | in its file |")
    print("|---" * (len(names) + 4) + "|")
    for distance, settings in constants.items():
        found = {name: statistics.geometric_mean(one) for name, one in settings.items()}
        cells = " | ".join(f"{one:.3g}" for one in found.values())
        means = [one for name, one in found.items() if name != "vit"] or list(found.values())
        mean = statistics.geometric_mean(means)
        farthest = max(math.exp(abs(math.log(one / mean))) for one in means)
        kept = DISTANCES[distance].gradient_scale
        print(f"| `{distance}` | {cells} | {mean:.3g} | x {farthest:.2f} | {kept:g} |")


def spread(found: list[float]) -> str:
    return f"{statistics.geometric_mean(found):.3g} [{min(found):.3g}, {max(found):.3g}]"


if __name__ == "__main__":
    main()
