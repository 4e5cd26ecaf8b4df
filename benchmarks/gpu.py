"""Everything that has to be known of a GPU, in one command.

    python benchmarks/gpu.py                          # 8 minutes; again, until nothing is left
    python benchmarks/gpu.py --parts right fast       # these alone
    python benchmarks/gpu.py --device cpu --quick     # a minute: does all of it run?

It writes `gpu.json`, which is added to: what stands there with a result is not done again, what
ended in an error is. `whole` needs Ray and Optuna, and is left out where they are missing, and with
`--quick`; what the rest needs beside torch is in `docs/measurements.md`. Each measurement is a
process of its own.

    right    the 16 distortions and 19 corruptions against the CPU, with the same draws; accuracies
             of the shipped network on the corrupted digits; losses and gradients in fp32, bf16 and
             fp16 against fp32 on the CPU; a resumed training against an uninterrupted one; the
             same seed twice
    fast     steps and images a second of the FMA+CA step against the usual loop and bare
             cross-entropy on twice the images (see `finetune.py`), operations a step, the share of
             the time in which the device works, and peak memory
    packed   2, 4 and 8 trials on one device, in a process each, against one: trials an hour
    whole    `ablate launch cifar10_joint` with 8 trials, killed with SIGKILL and resumed (--data: a
             folder of images, where CIFAR-10 cannot be fetched); and a study whose first trial runs
             out of memory

Exit code 0: all done and right; 1: something is wrong; 2: it cannot run so; 3: time is up, run it
again; 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import datetime
import gc
import itertools
import json
import math
import multiprocessing
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from distortions import describe_hardware
from finetune import MOVED, load_images, make_ablate, make_bare, make_usual
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ablate import distortion
from ablate.data.dataset import Dataset, Split, channel_statistics
from ablate.data.load import load_dataset
from ablate.distortion.random import make_generator
from ablate.errors import AblateError, UsageError
from ablate.errors.device import is_out_of_memory
from ablate.files.cache import GivenUpError, cache_folder, locked, publish_file
from ablate.files.shown import count_text
from ablate.finetune.augment.augmentation import CombinedAugmentations
from ablate.finetune.forward import Forward
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss import blocks
from ablate.finetune.loss.objective import build_loss
from ablate.model.build import build_model
from ablate.model.environment import Environment, resolve_environment
from ablate.model.taps import layer_names
from ablate.model.trained import load_export
from ablate.model.weights.export_metadata import SHIPPED
from ablate.robustness import corruption
from ablate.study.provenance import source_digest, versions
from ablate.study.settings import (
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    FMASettings,
    LossSettings,
    ModelSettings,
    STSettings,
)

Values = dict[str, Any]

LEVELS, LEVEL_SHARE = 1, 1e-3
"""Grey levels by which a value of another device may differ, and the share of those that may differ
by more: next to a step of rounding, as in JPEG, or to a threshold, as in spatter."""

CELL = 0.002
"""By which an accuracy on corrupted images may differ."""

LOSS = {"fp32": 1e-4, "bf16": 0.03, "fp16": 0.01}
GRADIENT = {"fp32": 1e-3, "bf16": 0.15, "fp16": 0.05}
"""Relative error of the objective and of its gradient (norm over all weights), by precision."""

RESUMED, RESUMED_WAY = 0.02, 0.03
"""By which an accuracy of two runs of one trial may differ on a GPU, and their weights, as a share
of the way that training moved them; on a CPU no bit differs.  Rounding alone moves them apart by
.002 in fp32 and .016 in bf16, a wrong epoch after a resume by .045, a lost momentum by .10."""

AIM_USUAL, AIM_PACKED = 10.0, 2.5
PACKED = (1, 2, 4, 8)
CELL_SECONDS = 420
"""The longest that one measurement may take."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where and how thoroughly is measured."""

    device: str
    quick: bool
    data: Path | None = None

    def environment(self, precision: Any = "auto") -> Environment:
        cores = len(os.sched_getaffinity(0))
        if self.device == "cuda":
            return resolve_environment(precision, threads=cores, device="cuda")
        return resolve_environment(precision, threads=1 if self.quick else cores, device="cpu")

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


# -- right: as on the CPU ------------------------------------------------------------------


class DrawnOnCpu(TorchFunctionMode):
    """Random numbers with a generator are drawn on the CPU and sent: any device gets the same."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = make_generator(seed, "cpu")

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is None:
            return func(*args, **kwargs)
        kwargs["generator"] = self._generator
        if func is Tensor.random_:
            own, *limits = args
            drawn = torch.empty(own.shape, dtype=own.dtype).random_(*limits, **kwargs)
            return own.copy_(drawn)
        device = kwargs.pop("device", "cpu")
        return func(*args, **kwargs).to(device)


def digits() -> Dataset:
    return load_dataset(DatasetSettings(name="digits"), Path.cwd(), cache_folder())


def levels_apart(own: Tensor, reference: Tensor) -> float:
    """Share of the values that are more than `LEVELS` grey levels apart."""
    gap = (own.cpu().float() - reference.float()).abs()
    if reference.dtype != torch.uint8:
        gap = gap * 255
    return float((~(gap <= LEVELS)).float().mean())  # NaN too


def right_distortions(place: Place) -> Values:
    """The largest shares over two sizes, by type."""
    place.environment("fp32").apply()
    shares: dict[str, float] = {}
    for side in (32, 45) if place.quick else (32, 45, 224):
        images = torch.rand(16, 3, side, side, generator=make_generator(0, "cpu"))
        strength = torch.linspace(0, 1, 16)
        for name in [name for names in distortion.FAMILIES.values() for name in names]:
            kind = distortion.load(name)
            draws = kind.draw(images.shape, make_generator(1, "cpu"))
            reference = kind.apply(images, strength, draws)
            moved = (one.to(place.device) for one in (images, strength, draws))
            share = levels_apart(kind.apply(*moved), reference)
            shares[name] = max(shares.get(name, 0.0), share)
    return {"ok": max(shares.values()) <= LEVEL_SHARE, "apart": shares, "bound": LEVEL_SHARE}


def corrupted(name: str, images: Tensor, severity: int, device: str) -> Tensor:
    generator = make_generator(0, device)
    with DrawnOnCpu(1):
        return corruption.load(name)(images.to(device), severity, generator)


def right_corruptions(place: Place) -> Values:
    place.environment("fp32").apply()
    shares: dict[str, float] = {}
    for side in (32,) if place.quick else (32, 224):
        shape = (8, 3, side, side)
        generator = make_generator(0, "cpu")
        images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        images = (images.float().mean(1, keepdim=True) * 0.5 + images * 0.5).byte()
        for name in corruption.CORRUPTIONS:
            for severity in (3,) if place.quick else (1, 3, 5):
                reference = corrupted(name, images, severity, "cpu")
                share = levels_apart(corrupted(name, images, severity, place.device), reference)
                shares[name] = max(shares.get(name, 0.0), share)
    return {"ok": max(shares.values()) <= LEVEL_SHARE, "apart": shares, "bound": LEVEL_SHARE}


def right_cells(place: Place) -> Values:
    """Accuracy of the shipped network: everything on the device against everything on the CPU."""
    data = digits()
    test = data.test()
    images = torch.cat([data.train.resident().images, test.images])
    labels = torch.cat([data.train.labels, test.labels])
    if place.quick:
        images, labels = images[:20], labels[:20]
    network = load_export(SHIPPED["ablate:resnet8_digits"])
    gaps: dict[str, float] = {}
    place.environment("fp32").apply()

    def accuracy(name: str, severity: int, device: str) -> float:
        network.to(device)
        own = corrupted(name, images, severity, device)
        with torch.no_grad():
            answers = network(own).argmax(1).cpu()
        return float((answers == labels).float().mean())

    for name in corruption.CORRUPTIONS:
        for severity in (3,) if place.quick else corruption.SEVERITIES:
            there, here = (accuracy(name, severity, one) for one in (place.device, "cpu"))
            gaps[f"{name} {severity}"] = abs(there - here)
    largest = max(gaps.values())
    return {"ok": largest <= CELL, "n": len(images), "largest": largest, "bound": CELL}


def gradient(environment: Environment) -> tuple[float, Tensor]:
    """The objective with all terms, and its gradient over all weights, of one batch of digits."""
    train = digits().train.resident()
    rows = torch.arange(64)
    images, labels = train.images[rows].float() / 255, train.labels[rows]
    copies = CombinedAugmentations()(images, seed=0)
    device = environment.device
    model = load_export(SHIPPED["ablate:resnet8_digits"]).network.train().requires_grad_()
    model = copy.deepcopy(model).to(device)
    settings = LossSettings(
        terms="clean+da+st+fma", st=STSettings(anchor="clean"), fma=FMASettings(anchor="clean")
    )
    loss = build_loss(settings, layer_names(model))
    forward = Forward(model, loss, environment, "joint", {})
    inputs = images.to(device), [copies.to(device)], (1.0,), labels.to(device)
    forward(*inputs)  # only the first pass looks which weights are converted
    views = forward(*inputs)
    value = loss(views)
    scale = 2.0**10 if environment.precision == "fp16" else 1.0
    torch.autograd.backward(value * scale)
    grads = [
        one.grad.float().flatten() / scale for one in model.parameters() if one.grad is not None
    ]
    return float(value.detach()), torch.cat(grads).cpu()


def right_losses(place: Place) -> Values:
    reference = dataclasses.replace(place.environment("fp32"), device="cpu")
    reference.apply()
    value, slope = gradient(reference)
    found: Values = {"ok": True}
    for precision in ("fp32", "bf16", "fp16")[: 3 if place.device == "cuda" else 2]:
        environment = dataclasses.replace(place.environment("fp32"), precision=precision)
        environment.apply(same_bits=True)
        own, own_slope = gradient(environment)
        errors = abs(own - value) / value, float((own_slope - slope).norm() / slope.norm())
        bounds = LOSS[precision], GRADIENT[precision]
        numbers = (errors[0], bounds[0], errors[1], bounds[1])
        names = ("loss", "loss bound", "gradient", "gradient bound")
        found[precision] = dict(zip(names, numbers, strict=True))
        found["ok"] &= errors[0] <= bounds[0] and errors[1] <= bounds[1]
    return found


def trial(place: Place, precision: Any = "auto") -> tuple[Finetuning, Split]:
    data = digits()
    environment = place.environment(precision)
    environment.apply()
    model = load_export(SHIPPED["ablate:resnet8_digits"]).network.requires_grad_()
    run = Finetuning(
        copy.deepcopy(model),
        data.train.take(torch.arange(128)) if place.quick else data.train,
        FinetuneSettings(batch_size=64),
        budget=BudgetSettings(epochs=2),
        loss=build_loss(LossSettings(terms="clean+fma"), layer_names(model)),
        augment=CombinedAugmentations(),
        dataset_settings=DatasetSettings(name="digits", crop_padding=1),
        environment=environment,
    )
    return run, data.test()


def compared(place: Place, runs: Sequence[Finetuning], test: Split) -> Values:
    start = load_export(SHIPPED["ablate:resnet8_digits"]).network
    accuracies, weights = [], [torch.cat([one.detach().flatten() for one in start.parameters()])]
    for run in runs:
        images = test.images.to(place.device).float() / 255
        with torch.no_grad():
            answers = copy.deepcopy(run.model).eval()(images).argmax(1).cpu()
        accuracies.append(float((answers == test.labels).float().mean()))
        weights.append(torch.cat([one.detach().flatten().cpu() for one in run.model.parameters()]))
    apart = abs(accuracies[0] - accuracies[1])
    first, one, other = weights
    same = torch.equal(one, other)
    gap = float((one - other).norm() / (one - first).norm())
    ok = same if place.device == "cpu" else apart <= RESUMED and gap <= RESUMED_WAY
    found = {"ok": ok, "accuracy apart": apart, "weights apart": gap, "same bits": same}
    return found | ({} if place.device == "cpu" else {"bounds": f"{RESUMED}, {RESUMED_WAY}"})


def right_resume(place: Place) -> Values:
    """Two epochs, against one, its state through a file, and one in another object."""
    whole, test = trial(place)
    first, second = trial(place)[0], trial(place)[0]
    whole.run_epoch()
    whole.run_epoch()
    first.run_epoch()
    second.load_state(through_file(first.state(), place.device))
    second.run_epoch()
    return compared(place, [whole, second], test)


def through_file(state: Values, device: str) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.pt"
        torch.save(state, file)
        loaded: Values = torch.load(file, weights_only=True, map_location=device)
        return loaded


def right_seed(place: Place) -> Values:
    runs = [trial(place)[0] for _ in range(2)]
    for run in runs:
        run.run_epoch()
    return compared(place, runs, trial(place)[1])


# -- fast ----------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Counts what torch dispatches: every operation, and those that a GPU runs as kernels.

    Views, and memory that is only allocated, run nothing there.  An operation on lists
    (`_foreach`, `_fused`) counts once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all: Counter[str] = Counter()
        self.launched: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name
        self.all[name] += 1
        marks = [one.alias_info for one in func._schema.arguments]
        is_view = any(mark is not None and not mark.is_write for mark in marks)
        out = func(*args, **(kwargs or {}))
        is_empty = isinstance(out, Tensor) and out.numel() == 0
        if not (is_view or is_empty or name.startswith(_RUN_NOTHING)):
            self.launched[name] += 1
        return out


_RUN_NOTHING = (
    *("aten::empty", "aten::detach", "aten::_unsafe_view", "aten::promote_types"),
    *("aten::lift_fresh", "profiler::"),
)


@contextlib.contextmanager
def worked_on_whole() -> Iterator[None]:
    """Feature maps are worked on as on a GPU, all at once, on the CPU too."""
    size = blocks.CPU_BLOCK_ELEMENTS
    blocks.CPU_BLOCK_ELEMENTS = 2**62
    try:
        yield
    finally:
        blocks.CPU_BLOCK_ELEMENTS = size


def count_operations(
    batch_size: int = 128, device: str = "cpu", anchor: Any = "clean"
) -> Operations:
    """Of one step of FMA+CA with ResNet-20, as a GPU takes it: bf16, all of a map at once."""
    split = load_images(None, 3 * batch_size)
    model = build_model(
        ModelSettings(name="resnet20"), 10, *channel_statistics(split.images), seed=0
    )
    environment = Environment(device, "bf16", 1, torch.__version__, "")  # type: ignore[arg-type]
    run = Finetuning(
        model,
        split,
        FinetuneSettings(batch_size=batch_size),
        budget=BudgetSettings(epochs=1),
        loss=build_loss(
            LossSettings(terms="clean+fma", fma=FMASettings(anchor=anchor)), layer_names(model)
        ),
        augment=CombinedAugmentations(),
        dataset_settings=MOVED,
        environment=environment,
    )
    with worked_on_whole():
        run.run_epoch(pause=lambda: True)  # makes what is kept
        with Operations() as operations:
            run.run_epoch(pause=lambda: True)
    return operations


def fast_operations(place: Place) -> Values:
    operations = count_operations(16 if place.quick else 128, place.device)
    return {
        "ok": True,
        "operations": operations.all.total(),
        "launched": operations.launched.total(),
        "casts": operations.all["aten::_to_copy"],
        "by name": dict(operations.launched.most_common()),
    }


class Labelled(nn.Module):
    """A network of torchvision with named taps, as ablate's own have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        from torchvision.models import VisionTransformer, resnet50

        if name == "resnet50":
            self.body: nn.Module = resnet50()
            names = [f"layer{number}" for number in range(1, 5)]
        else:
            self.body = VisionTransformer(224, 16, 12, 6, 384, 1536)
            names = [f"encoder.layers.encoder_layer_{number}" for number in (2, 5, 8, 11)]
        self.taps = {f"stage{place}": f"body.{one}" for place, one in enumerate(names, start=1)}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images)
        return logits


def network(name: str, split: Split) -> nn.Module:
    if name == "resnet20":
        statistics = channel_statistics(split.images)
        return build_model(ModelSettings(name=name), 10, *statistics, seed=0)
    torch.manual_seed(0)
    return Labelled(name)


def fast_network(place: Place, name: str, side: int, batch_size: int) -> Values:
    """Rounds of some steps, the three loops in turn; a loop without enough memory has no number."""
    steps, rounds = (2, 2) if place.quick else (8, 7) if side == 32 else (4, 5)
    if place.device == "cuda" and not place.quick:
        # Enough batches for each of the usual loop's workers to make several of them.
        steps = 64 if side == 32 else 32 if batch_size == 128 else 8
    # 2,048 images of 224 px at once fit on no device.
    parts = max(1, batch_size * side**2 // (128 * 224**2))
    environment = place.environment()
    options = argparse.Namespace(
        batch_size=batch_size, steps=steps, rounds=rounds, data=None, accumulation_steps=parts,
        workers=0 if place.quick else len(os.sched_getaffinity(0)),
    )  # fmt: skip
    split = load_images(None, batch_size * steps, side)
    found: Values = {"ok": True, "steps": steps, "rounds": rounds, "accumulation": parts}
    found |= {"batch": batch_size, "side": side, "precision": environment.precision}
    makers = {"ablate": make_ablate, "usual": make_usual, "bare": make_bare}
    loops: dict[str, Callable[[], None]] = {}
    for kind, make in makers.items():
        try:
            loops[kind] = make(network(name, split), split, environment, options)
            loops[kind]()
            place.wait()
            if kind == "ablate":
                found |= busy(place, loops[kind], steps)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            loops.pop(kind, None)
            found[kind] = "out of memory"
        gc.collect()
        if place.device == "cuda":
            torch.cuda.empty_cache()
    seconds: dict[str, list[float]] = {kind: [] for kind in loops}
    for _ in range(rounds):
        for kind, run in loops.items():
            began = time.perf_counter()
            run()
            place.wait()
            seconds[kind].append((time.perf_counter() - began) / steps)
    for kind, times in seconds.items():
        found[kind] = {"steps a second": spread([1 / one for one in times])}
        found[kind]["images a second"] = batch_size / statistics.median(times)
        if kind != "ablate" and "ablate" in seconds:
            pairs = zip(times, seconds["ablate"], strict=True)
            found[f"against {kind}"] = spread([other / own for other, own in pairs])
    # In two steps a loader has no time to be quick.
    if side == 32 and not place.quick and "against usual" in found:
        found["aim"] = reached(found["against usual"][0], AIM_USUAL)
    return found


def reached(number: float, aim: float) -> str:
    return f"{aim:g} {'reached' if number >= aim else 'not reached'}"


def busy(place: Place, run: Callable[[], None], steps: int) -> Values:
    """Kernels a step, the share of time in which the device works, and peak memory."""
    if place.device != "cuda":
        return {}
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.reset_peak_memory_stats()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        run()
        torch.cuda.synchronize()
    events = profiled.events() or []
    kernels = [
        one
        for one in events
        if one.device_type == DeviceType.CUDA and not getattr(one, "is_user_annotation", False)
    ]
    # A profiled step is slower than others: the work of a step against the time of one that is not.
    work = sum(one.time_range.elapsed_us() for one in kernels) / 1e6
    began = time.perf_counter()
    run()
    torch.cuda.synchronize()
    wall = time.perf_counter() - began
    found: Values = {"peak bytes": torch.cuda.max_memory_allocated()}
    if not kernels:
        return found | {"profiler": "saw nothing of the device"}
    return found | {"launches a step": len(kernels) / steps, "share on the device": work / wall}


def spread(numbers: Sequence[float]) -> list[float]:
    """Median, smallest and largest."""
    return [statistics.median(numbers), min(numbers), max(numbers)]


# -- packed --------------------------------------------------------------------------------


def packed(place: Place) -> Values:
    """Trials of ResNet-20 side by side; an hour's number from the time of the slowest."""
    steps = 4 if place.quick else 200
    batch_size = 8 if place.quick else 128
    context = multiprocessing.get_context("spawn")
    hourly: dict[int, float] = {}
    for count in PACKED[: 2 if place.quick else None]:
        ready, start = context.Semaphore(0), context.Event()
        arguments = (place, steps, batch_size, ready, start)
        # Daemons end with this process, also where one of them has failed and the others wait.
        trials = [
            context.Process(target=one_trial, args=arguments, daemon=True) for _ in range(count)
        ]
        for one in trials:
            one.start()
        for _ in trials:
            while not ready.acquire(timeout=1):
                if any(one.exitcode for one in trials):
                    raise RuntimeError("a trial ended before it began")
        began = time.perf_counter()
        start.set()
        for one in trials:
            one.join()
            if one.exitcode:
                raise RuntimeError(f"a trial ended with {one.exitcode}")
        hourly[count] = count * 3600 / (time.perf_counter() - began)
    found: Values = {"ok": True, "steps": steps}
    for count, rate in hourly.items():
        found[f"{count} at once"] = {"trials an hour": rate, "against one": rate / hourly[1]}
    has_aim = 4 in hourly
    return found | ({"aim with 4": reached(hourly[4] / hourly[1], AIM_PACKED)} if has_aim else {})


def one_trial(place: Place, steps: int, batch_size: int, ready: Any, start: Any) -> None:
    split = load_images(None, batch_size * steps // 4)
    environment = dataclasses.replace(place.environment(), threads=1)
    options = argparse.Namespace(batch_size=batch_size, rounds=5, accumulation_steps=1)
    epoch = make_ablate(network("resnet20", split), split, environment, options)
    epoch()
    place.wait()
    ready.release()
    start.wait()
    for _ in range(4):
        epoch()
    place.wait()


# -- whole ---------------------------------------------------------------------------------

FULL = """\
from pathlib import Path

import torch


def train(context):
    mark = Path("FOLDER/first")
    if not mark.exists():
        mark.touch()
        torch.empty(2**46, dtype=torch.uint8, device="DEVICE")
    context.report(1, {"a": context.params["x"]})
"""
FULL_STUDY = """\
version: 1
name: full
trainable: full:train
finetune: {budget: {epochs: 1}}
space: {x: {float: [0.0, 1.0]}}
objectives: [{metric: a}]
search: {trials: 2, sampler: random}
run: {parallel: 1, max_failures: 0, max_failed_fraction: 0.5}
"""


def ablate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ablate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def whole_killed(place: Place) -> Values:
    """The study's rows after a SIGKILL of the driver amid them, and a resume."""
    name = "quickstart" if place.quick else "cifar10_joint"
    sets = ["--set", "search.trials=8"]
    if place.device == "cpu":
        sets += ["--set", "run.gpus_per_trial=0"]
    if place.data is not None:
        sets += ["--set", "dataset.name=image_folder", "--set", f"dataset.path={place.data}"]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = [sys.executable, "-m", "ablate", "launch", name, *sets]
        with (folder / "log").open("w") as log:
            driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 0.6 * CELL_SECONDS
        while time.monotonic() < deadline and driver.poll() is None:
            if sum(row["state"] == "COMPLETE" for row in rows_of(folder, name)) >= 2:
                break
            time.sleep(1)
        killed = driver.poll() is None
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        before = Counter(row["state"] for row in rows_of(folder, name))
        resumed = ablate(folder, "launch", name, *sets, "--resume")
        after = Counter(row["state"] for row in rows_of(folder, name))
        last = (resumed.stderr.strip().splitlines() or [""])[-1][:300]
    is_amid = killed and 0 < before["COMPLETE"] < 8
    ok = is_amid and resumed.returncode == 0 and after == {"COMPLETE": 8}
    said = "" if ok else last
    return {"ok": ok, "killed amid": dict(before), "resumed": dict(after), "said": said}


def whole_memory(place: Place) -> Values:
    """A row that is out of memory fails with its reason, and the next one runs."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        code = FULL.replace("DEVICE", place.device).replace("FOLDER", made)
        (folder / "full.py").write_text(code)
        (folder / "full.yaml").write_text(FULL_STUDY)
        ablate(folder, "launch", "full.yaml")
        rows = [
            (row["state"], str(row.get("failure_reason") or "")) for row in rows_of(folder, "full")
        ]
    failed = [reason for state, reason in rows if state == "FAIL"]
    states = Counter(state for state, _ in rows)
    ok = states == {"FAIL": 1, "COMPLETE": 1} and "memory" in failed[0]
    return {"ok": ok, "rows": dict(states), "reason": "".join(failed)[:200]}


def rows_of(folder: Path, name: str) -> list[Values]:
    listed = ablate(folder, "trials", f"runs/{name}", "--json")
    rows: list[Values] = json.loads(listed.stdout) if listed.returncode == 0 else []
    return rows


# -- The command ---------------------------------------------------------------------------

FAST = [("resnet20", 32), ("resnet50", 224), ("vit_s", 224)]


def measurements(place: Place) -> dict[str, Callable[[Place], Values]]:
    """By name, in the order in which they are made; the first word is the part."""
    made: dict[str, Callable[[Place], Values]] = {
        "right distortions": right_distortions,
        "right corruptions": right_corruptions,
        "right cells": right_cells,
        "right losses": right_losses,
        "right resume": right_resume,
        "right seed": right_seed,
        "fast operations": fast_operations,
    }
    for name, side in FAST[: 1 if place.quick else None]:
        quick_size = 16 if place.device == "cpu" else 128
        for batch_size in (quick_size,) if place.quick else (128, 1024):
            made[f"fast {name} {side} px, N = {batch_size}"] = _fast(name, side, batch_size)
    made |= {"packed": packed, "whole killed": whole_killed, "whole memory": whole_memory}
    return made


def _fast(name: str, side: int, batch_size: int) -> Callable[[Place], Values]:
    return lambda place: fast_network(place, name, side, batch_size)


def main() -> None:
    options = parse_options()
    place = Place(options.device, options.quick, options.data)
    known = measurements(place)
    if options.only:
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        print(json.dumps(known[options.only](place)))
        return
    at_once = threading.Event()
    at_once.set()
    try:
        with locked(options.output, stop=at_once):
            sys.exit(run(options, known))
    except GivenUpError:
        raise UsageError(
            f"{options.output}: must be written by one command at a time, got another that runs. "
            "Wait for it: two would slow each other."
        ) from None


def end_with(parent: int) -> None:
    """End this measurement, and all that it started, with the command that asked for it."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def run(options: argparse.Namespace, known: Sequence[str]) -> int:
    """Make what is missing; the exit code."""
    ends = time.monotonic() + 60 * options.minutes
    report = read_report(options)
    device = report["conditions"]["device"]
    print(f"{device}, up to {options.minutes:g} minutes, {options.output}", file=sys.stderr)
    left = 0
    for name in known:
        has_result = "error" not in report["results"].get(name, {"error": ""})
        if name.split()[0] not in options.parts or has_result:
            continue
        seconds = min(ends - time.monotonic(), CELL_SECONDS)
        if seconds < 20:
            left += 1
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        result = measure(name, options, seconds)
        if result is None:
            left += 1
            continue
        report["results"][name] = result
        publish_file(options.output, lambda file: file.write_text(json.dumps(report, indent=1)))
    print(table(report))
    wrong = [name for name, result in report["results"].items() if not result.get("ok")]
    if left:
        are_left = count_text(left, "measurement is", "measurements are")
        print(f"\n{are_left} left: run the same command again")
    return 1 if wrong else 3 if left else 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a GPU does right, and how fast.")
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parts = ["right", "fast", "packed", "whole"]
    parser.add_argument("--parts", nargs="+", choices=parts, help="default: all that can run")
    parser.add_argument("--device", choices=["cuda", "cpu"], default=default)
    parser.add_argument("--quick", action="store_true", help="small, fewer: whether it runs")
    parser.add_argument(
        "--data", type=Path, help="of `whole`, in place of CIFAR-10's: train/, test/"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="of this call")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one measurement, in this process
    options = parser.parse_args()
    has_search = all(find_spec(name) for name in ("ray", "optuna"))
    if options.parts is None:
        options.parts = parts if has_search and not options.quick else parts[:3]
    elif "whole" in options.parts and not has_search:
        raise UsageError(
            "--parts: whole needs Ray and Optuna, got Python without. Run pip install -e ."
        )
    resolve_environment(threads=1, device=options.device)  # refuses a GPU that is not there
    return options


def read_report(options: argparse.Namespace) -> Values:
    """The file so far, if it is of this device and this kind of run; else a new report."""
    conditions = {
        "device": describe_hardware(options.device),
        "driver": driver_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "ablate": versions(("ablate",))["ablate"],
        "sources": source_digest()[:12],
        "quick": options.quick,
    }
    if options.output.exists():
        with contextlib.suppress(ValueError, LookupError, TypeError):  # cut, or edited
            report: Values = json.loads(options.output.read_text())
            if report["conditions"] == conditions and isinstance(report["results"], dict):
                return report
        names = (options.output.with_suffix(f".{number}.json") for number in itertools.count(1))
        former = options.output.rename(next(name for name in names if not name.exists()))
        print(f"of other conditions, now {former.name}: {options.output}", file=sys.stderr)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"conditions": conditions, "date": today, "results": {}}


def driver_version() -> str:
    if shutil.which("nvidia-smi") is None:
        return "none"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [] if asked.returncode else asked.stdout.split()
    return lines[0] if lines else "none"


def measure(name: str, options: argparse.Namespace, seconds: float) -> Values | None:
    """One measurement in a process of its own, which may crash or take too long; None if it was
    given less than the longest time and did not end."""
    command = [sys.executable, __file__, "--only", name, "--device", options.device]
    command += ["--quick"] if options.quick else []
    command += ["--data", str(options.data.resolve())] if options.data else []
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None if seconds < CELL_SECONDS else {"error": f"no end in {seconds:.0f} s"}
    took = time.monotonic() - began
    lines = output.strip().splitlines()
    if process.returncode or not lines:
        said = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return {"error": said[:500]}
    result: Values = json.loads(lines[-1])
    return {**result, "seconds": took, "said": described(result)}


def table(report: Values) -> str:
    """What a person reads: the conditions, and a line for each measurement."""
    conditions = report["conditions"]
    named = ", ".join(f"{name} {value}" for name, value in conditions.items())
    lines = [f"{named}; {report['date']}", "", "| measurement | | result |", "|---|---|---|"]
    for name, result in report["results"].items():
        verdict = "error" if "error" in result else "ok" if result["ok"] else "WRONG"
        lines.append(f"| {name} | {verdict} | {result.get('said', result.get('error'))} |")
    return "\n".join(lines)


def described(result: Mapping[str, Any]) -> str:
    """The numbers of a result in one line: a spread as median [smallest, largest]."""
    parts = []
    for name, value in result.items():
        if name in ("ok", "by name"):
            continue
        if name == "apart":
            worst = max(value, key=value.get)
            parts.append(f"{len(value)} kinds, at most {value[worst]:.2g} ({worst})")
        elif isinstance(value, dict):
            parts.append(f"{name}: {described(value)}")
        else:
            parts.append(f"{name} {number(value)}")
    return "; ".join(parts)


def number(value: Any) -> str:
    if isinstance(value, list) and len(value) == 3 and all(isinstance(one, float) for one in value):
        middle, low, high = (number(one) for one in value)
        return f"{middle} [{low}, {high}]"
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) and value < 1000 else f"{value:,.0f}"
    return f"{value:,}" if type(value) is int else str(value)


if __name__ == "__main__":
    try:
        main()
    except (AblateError, OSError) as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
