"""Budgets, batch norm, teachers, averages, accumulation: what the loop can be told."""

from __future__ import annotations

import io
import itertools
import math
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablate.data.dataset import Split
from ablate.errors import ParameterError
from ablate.errors.device import OutOfMemoryError
from ablate.finetune import loop
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.loop import Finetuning, explained_failures
from ablate.finetune.loss import TERMS
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import View, Views
from ablate.finetune.optimizer import RunningAverage, balance_gradients, gradient_norm
from ablate.model.build import build_model
from ablate.model.environment import resolve_environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    AugmentSettings,
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    LossSettings,
    ModelSettings,
)

SPLIT_SIZE, BATCH = 40, 16
"""Two steps an epoch."""


def make_split() -> Split:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SPLIT_SIZE) % 4
    noise = torch.randint(80, (SPLIT_SIZE, 3, 8, 8), generator=generator)
    return Split((noise + 50 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, "made here")


def make_run(
    loss: dict[str, Any] | None = None,
    *,
    budget: dict[str, Any] | None = None,
    augment: dict[str, Any] | None = None,
    model: nn.Module | None = None,
    compile_mode: Any = False,
    batch_norm: Any = "joint",
    split: Split | None = None,
    **settings: Any,
) -> Finetuning:
    environment = resolve_environment("fp32", threads=1, device="cpu", compile_mode=compile_mode)
    environment.apply()
    model = model or build_model(ModelSettings(name="resnet8"), 4, (0.5,) * 3, (0.3,) * 3, seed=0)
    return Finetuning(
        model,
        split or make_split(),
        FinetuneSettings.model_validate({"batch_size": BATCH, "learning_rate": 0.005, **settings}),
        budget=BudgetSettings.model_validate(budget or {"epochs": 3}),
        loss=build_loss(LossSettings.model_validate(loss or {}), layer_names(model)),
        augment=build_augmentation(AugmentSettings.model_validate(augment or {})),
        dataset_settings=DatasetSettings(name="digits"),
        environment=environment,
        batch_norm=batch_norm,
    )


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def finish(run: Finetuning) -> dict[str, torch.Tensor]:
    while not run.done:
        run.run_epoch()
    return bits(run.model)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


# Budgets


@pytest.mark.parametrize(
    ("terms", "augment", "per_image"),
    [("clean", {}, 1), ("da", {}, 1), ("clean+fma", {}, 2), ("clean+st", {"copies": 3}, 4)],
)
def test_a_budget_of_images_is_what_goes_through_the_student(
    terms: str, augment: dict[str, Any], per_image: int
) -> None:
    run = make_run({"terms": terms}, budget={"images": 96}, augment=augment)
    finish(run)
    steps = round(96 / (BATCH * per_image))
    assert run.work.student_images == steps * BATCH * per_image
    assert run.epoch == math.ceil(steps / 2)


def test_a_budget_in_the_middle_of_an_epoch_ends_there() -> None:
    run = make_run({"terms": "clean"}, budget={"images": 3 * BATCH})
    reports = [run.run_epoch(), run.run_epoch()]
    assert [report.images for report in reports] == [2 * BATCH, BATCH]
    assert run.done


def test_a_budget_of_seconds_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0.0, 0.01)  # each time that it is read
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    run = make_run({"terms": "clean"}, budget={"seconds": 0.5})
    assert run.run_epoch().epochs is None
    finish(run)
    assert 0.5 <= run.train_seconds < 0.6
    assert run.epoch > 1


@pytest.mark.parametrize(
    ("budget", "steps"), [({"epochs": None}, 4 * 2), ({"images": 1}, 1), ({"flops": 1}, 1)]
)
def test_without_a_unit_it_is_four_epochs_and_a_small_one_is_a_step(
    budget: dict[str, Any], steps: int
) -> None:
    assert make_run({"terms": "clean"}, budget=budget).budget.steps == steps


# What is said of a run: resumed is uninterrupted, whatever it keeps

VARIANTS: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": "adamw", "learning_rate": 1e-3},
    "one_cycle": {"schedule": "one_cycle"},
    "warm-up": {"schedule": "constant", "warmup_fraction": 0.3},
    "clipping": {"gradient_clipping": 0.1},
    "average": {"ema_decay": 0.8},
    "accumulation": {"accumulation_steps": 3},
    "separate": {"batch_norm": "separate"},
    "frozen": {"batch_norm": "frozen"},
    "anchor clean": {"loss": {"fma": {"anchor": "clean"}}},
    "ema": {"loss": {"fma": {"anchor": "ema"}}},
    "two teachers": {
        "loss": {
            "terms": "clean+st+fma",
            "st": {"anchor": "pretrained"},
            "fma": {"anchor": "ema", "activation": "before"},
        }
    },
    "gradient": {"loss": {"fma": {"scale": "gradient", "weight": 0.5}}},
    "js": {"loss": {"terms": "clean+st", "st": {"form": "js"}}, "augment": {"copies": 2}},
    "all": {"augment": {"method": "all"}},
    "augmix": {"augment": {"method": "augmix"}},
    "images": {"budget": {"images": 100}},
    "layer decay": {"layer_decay": 0.5},
    "probing": {"probe_fraction": 0.5, "loss": {"fma": {"scale": "gradient"}}},
    "frozen stages": {"frozen": ["stem", "stage1"]},
}


@pytest.fixture(scope="module")
def plain_bits() -> dict[str, torch.Tensor]:
    """Of a run without any option."""
    return finish(make_run())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_is_uninterrupted_and_another_run_than_the_plain_one(
    variant: str, plain_bits: dict[str, torch.Tensor]
) -> None:
    options = VARIANTS[variant]
    whole = make_run(**options)
    expected = finish(whole)
    assert not same(expected, plain_bits)
    run = make_run(**options)
    run.run_epoch()
    later = make_run(**options)
    later.load_state(through_a_file(run.state()))
    assert same(finish(later), expected)
    assert later.work.student_images == whole.work.student_images
    assert later.work.teacher_images == whole.work.teacher_images


# Batch norm


def record_sizes(run: Finetuning) -> list[int]:
    sizes: list[int] = []
    run._student.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


@pytest.mark.parametrize(
    ("batch_norm", "expected"), [("joint", [48]), ("separate", [16] * 3), ("frozen", [48])]
)
def test_who_shares_a_batch(batch_norm: str, expected: list[int]) -> None:
    run = make_run({"terms": "clean+st"}, augment={"copies": 2}, batch_norm=batch_norm)
    sizes = record_sizes(run)
    run.run_epoch()
    assert sizes == expected * 2


def test_frozen_statistics_stay_and_the_rest_learns() -> None:
    run = make_run(batch_norm="frozen")
    before = bits(run.model)
    finish(run)
    after = bits(run.model)
    statistics = [name for name in after if "running" in name or "tracked" in name]
    assert statistics
    for name in after:
        fixed = name in statistics or name.startswith("normalize")
        assert torch.equal(before[name], after[name]) == fixed, name


def test_frozen_needs_batch_norm() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(ParameterError) as error:
        make_run({"terms": "clean"}, model=model, batch_norm="frozen")
    assert str(error.value) == (
        "finetune.batch_norm: frozen needs a network with batch norm, got Sequential, which has "
        "none. Write joint, which has no effect on it."
    )


# Teachers and averages


def test_the_pretrained_teacher_stays_what_it_was() -> None:
    run = make_run({"fma": {"anchor": "pretrained"}}, learning_rate=0.1)
    before = bits(run._student)
    finish(run)
    assert same(bits(run._teachers["pretrained"]), before)
    assert run.work.teacher_images == 3 * 2 * BATCH
    assert run.work.student_images == 2 * run.work.teacher_images


def follow(run: Finetuning, average: Callable[[], nn.Module], decay: float) -> None:
    """Check an average against its definition, after each epoch of one step."""
    name = "classifier.weight"
    expected = run._student.state_dict()[name].clone()
    for _ in range(3):
        weights: list[torch.Tensor] = []
        handle = run._optimizer.register_step_post_hook(
            lambda *_, seen=weights: seen.append(run._student.state_dict()[name].clone())
        )
        run.run_epoch()
        handle.remove()
        for one in weights:
            expected = decay * expected + (1 - decay) * one
        torch.testing.assert_close(average().state_dict()[name], expected)


def test_the_ema_teacher_is_an_average() -> None:
    run = make_run({"fma": {"anchor": "ema"}, "teacher_decay": 0.7}, learning_rate=0.005)
    follow(run, lambda: run._teachers["ema"].module, 0.7)


def test_the_average_of_the_weights_is_the_model() -> None:
    run = make_run(ema_decay=0.6, learning_rate=0.1)
    follow(run, lambda: run.model, 0.6)
    assert not same(bits(run.model), bits(run._student))


def test_an_average_has_the_bits_of_torch_s() -> None:
    model = make_run()._student
    ours = RunningAverage(model, 0.9)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    torchs.update_parameters(model)
    for step in range(3):
        for value in model.state_dict().values():
            value.add_(step)
        ours.update_parameters(model)
        torchs.update_parameters(model)
    found, expected = bits(ours), bits(torchs)
    assert list(found) == list(expected)
    for name, counted in model.state_dict().items():
        if not counted.is_floating_point():  # torch averages counts too, and rounds them down
            assert expected[f"module.{name}"] < counted
            expected[f"module.{name}"] = counted
    assert same(found, expected)


class Caching(nn.Linear):
    """Keeps what it computes of its weights until it is trained, as timm's levit does."""

    kept: torch.Tensor | None = None

    def train(self, mode: bool = True) -> Caching:
        super().train(mode)
        self.kept = None if mode else self.kept
        return self

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.training or self.kept is None:
            self.kept = 2 * self.weight
        return functional.linear(features, self.kept)


def test_an_average_forgets_what_it_has_computed_of_older_weights() -> None:
    model, features = Caching(3, 2), torch.rand(4, 3)
    average = RunningAverage(model, 0.5)
    average(features)
    model.weight.data += 1
    average.update_parameters(model)
    assert not average.module.training
    expected = functional.linear(features, 2 * average.module.weight)
    assert torch.equal(average(features), expected)


# Optimisation


@pytest.mark.parametrize("labelled", [1, 3])
def test_accumulation_is_the_gradient_of_the_batch_without_batch_norm(labelled: int) -> None:
    """A part with few labels counts less in `clean` and `da`, and as much in `st`."""
    split = make_split()
    labels = split.labels.where(torch.arange(SPLIT_SIZE) % labelled == 0, -1)
    if labelled > 1:
        labels[:20] = -1
    split = Split(split.images, labels, "made here")

    def train(parts: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
        return finish(
            make_run({"terms": "clean+da+st"}, model=model, split=split, accumulation_steps=parts)
        )

    whole = train(1)
    for parts in (5, 99):
        for name, tensor in train(parts).items():
            torch.testing.assert_close(tensor, whole[name], rtol=1e-4, atol=1e-5)


def test_clipping_bounds_the_step() -> None:
    run = make_run(gradient_clipping=1e-3, momentum=0.0, weight_decay=0.0, learning_rate=1.0)
    before = [parameter.detach().clone() for parameter in run._student.parameters()]
    run.run_epoch()
    moved = [(p - q).norm() for p, q in zip(run._student.parameters(), before, strict=True)]
    assert 0 < torch.stack(moved).norm() <= 2e-3 * 1.001


def gradient_views(loss: dict[str, Any], labels: torch.Tensor | None = None) -> tuple[Any, Views]:
    """A run before its first step, and what its network makes of a batch and a copy of it."""
    run = make_run(loss)
    split = make_split()
    images = split.images[:BATCH].float() / 255
    copies = build_augmentation(AugmentSettings()).copies(images, seed=1)
    given = split.labels[:BATCH] if labels is None else labels
    return run, run._forward(images, copies, (1.0,), given)


def norm_of(value: torch.Tensor, model: nn.Module) -> float:
    grads = torch.autograd.grad(
        value, list(model.parameters()), retain_graph=True, allow_unused=True
    )
    return math.sqrt(sum(float(grad.square().sum()) for grad in grads if grad is not None))


@pytest.mark.parametrize("terms", ["fma", "clean+fma", "clean+da+st+fma"])
def test_a_weight_as_a_ratio_of_gradients(terms: str) -> None:
    """The factor gives the term the gradient norm of the copies' cross-entropy, also without it."""
    settings = {"terms": terms, "st": {"weight": 3.0}, "da": {"weight": 5.0}}
    run, views = gradient_views({**settings, "fma": {"scale": "gradient", "weight": 9.0}})
    factors = balance_gradients(run._loss, views, run._student)
    own = factors["fma"] * run._loss.values(views)["fma"]
    on_copies = functional.cross_entropy(views.copies[0].logits, views.labels)
    expected = norm_of(on_copies, run._student)
    assert norm_of(own, run._student) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("anchor", ["clean", "pretrained"])
def test_without_labels_the_ratio_is_to_the_predicted_classes(anchor: str) -> None:
    loss = {"terms": "fma", "fma": {"scale": "gradient", "anchor": anchor}}
    run, views = gradient_views(loss, torch.full((BATCH,), -1))
    clean = views.teachers["pretrained"] if views.clean is None else views.clean
    known = views._replace(labels=clean.logits.argmax(1))
    found, expected = (balance_gradients(run._loss, one, run._student) for one in (views, known))
    assert found == expected
    assert math.isfinite(found["fma"])


def test_a_gradient_that_is_too_small_or_too_large_for_fp16_is_measured() -> None:
    """Halves below 6e-8 become 0, those above 65504 infinite."""
    for size in (1e-9, 100.0):
        weight = torch.ones(4, requires_grad=True)
        value = (weight.half().float() * size).sum()
        assert gradient_norm(value, [weight], loss_scale=2.0**16) == pytest.approx(2 * size, 1e-3)
        plain = gradient_norm(value, [weight])
        assert (plain == 0) == (size < 1)


def test_a_ratio_needs_a_gradient() -> None:
    run, views = gradient_views({"terms": "fma", "fma": {"scale": "gradient"}})
    still = [View(one.logits.detach(), one.features) for one in views.copies]
    with pytest.raises(ParameterError) as error:
        balance_gradients(run._loss, views._replace(copies=tuple(still)), run._student)
    assert "of the cross-entropy on the copies, got norms" in str(error.value)
    assert str(error.value).endswith(" and 0. Write scale: value.")


def test_an_objective_that_compares_images_needs_two() -> None:
    with pytest.raises(ParameterError) as error:
        make_run({"fma": {"distance": "cka"}}, accumulation_steps=16)
    assert str(error.value) == (
        "finetune.batch_size: this objective compares images of a batch and needs 3 at once, "
        "got 1. Raise it, or lower accumulation_steps."
    )


def make_small() -> nn.Module:
    """All kinds of layers that ours have, one of each: every layer takes seconds to compile."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    parts = {"block": block, "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, classifier=nn.Linear(8, 4)))


COMPILED = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from ablate.errors import ParameterError
from ablate.finetune.loss import TERMS
from test_training_options import make_run, make_small

loss = {"terms": "clean+st+fma", "fma": {"layers": ["block", "block.1"]}}
for mode in (False, "default"):
    run = make_run(loss, model=make_small(), compile_mode=mode, learning_rate=0.001)
    print(run.run_epoch().train_loss, run.run_epoch().train_loss)

graphs = []

def count(graph, _inputs):
    graphs.append(graph)
    return graph.forward

compiled = torch.compile
torch.compile = lambda model, mode, dynamic: compiled(model, backend=count, dynamic=dynamic)

def show(loss, **settings):
    loss = {"fma": {"layers": ["block", "block.1"]}, **loss}
    losses = []
    for mode in (False, "default"):
        graphs.clear()
        settings = {"learning_rate": 0.001, **settings}
        run = make_run(loss, model=make_small(), compile_mode=mode, **settings)
        losses.append([run.run_epoch().train_loss])
        first = len(graphs)
        losses[-1] += [run.run_epoch().train_loss, run.run_epoch().train_loss]
    print(first, len(graphs) - first, losses[0] == losses[1])

for terms in (*TERMS, "+".join(TERMS)):
    show({"terms": terms})
show({"fma": {"layers": ["block"], "activation": "before"}})
show({"fma": {"layers": ["block"], "anchor": "ema"}})
show({}, batch_norm="separate")
show({}, batch_norm="frozen")
show({}, accumulation_steps=3)

model = make_small()
model.flat.register_forward_pre_hook(lambda _module, given: given[0].mul_(2))
try:
    make_run({"fma": {"layers": ["pool"]}}, model=model, compile_mode="default").run_epoch()
except ParameterError as error:
    print(error)
"""


@pytest.mark.long
def test_a_compiled_step() -> None:
    """In a process of its own: what checks shapes here cannot be compiled."""
    command = [sys.executable, "-c", COMPILED, str(Path(__file__).parent)]
    # Without vector instructions it compiles in two thirds of the time.
    environment = {**os.environ, "TORCHINDUCTOR_VEC_ISA_OK": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    first, second, *counts, refused = done.stdout.splitlines()
    plain, compiled = ([float(loss) for loss in line.split()] for line in (first, second))
    assert compiled == pytest.approx(plain, rel=1e-3)
    # The forward pass of any terms is one graph, no epoch adds one, and the losses are those of one
    # not compiled. Parts of a batch of two sizes have a graph each.
    assert len(counts) == len(TERMS) + 1 + 5
    assert counts == ["1 0 True"] * (len(counts) - 1) + ["2 0 True"]
    assert "layers: pool must keep its output to be tapped" in refused


# Memory


@pytest.mark.parametrize("section", ["baseline", "finetune"])
def test_out_of_memory_says_what_to_lower(section: str) -> None:
    with pytest.raises(OutOfMemoryError) as caught, explained_failures(section, 128, 256):
        torch.empty(2**60, dtype=torch.uint8)
    assert str(caught.value) == (
        f"{section}.batch_size: a step must fit into memory, ran out of memory with batch size 128,"
        f" 256 images at once. Raise {section}.accumulation_steps, lower {section}.batch_size or "
        "dataset.image_size, or raise run.gpu_memory_fraction."
    )


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ValueError, match="shapes"), explained_failures("finetune", 1, 1):
        raise ValueError("shapes differ")


def test_a_baseline_is_not_told_to_change_the_finetuning() -> None:
    torch_text = "Expected more than 1 value per channel when training"
    with pytest.raises(ParameterError) as caught, explained_failures("baseline", 1, 1):
        raise ValueError(torch_text)
    assert str(caught.value) == (
        "baseline.batch_size: batch norm needs more than one value per channel, got 1 for images "
        "this small. Raise it, or lower baseline.accumulation_steps."
    )


def test_batch_norm_needs_more_than_one_value() -> None:
    network = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4)
    )
    with pytest.raises(ParameterError) as error:
        make_run({"terms": "clean"}, model=network, batch_size=1).run_epoch()
    assert str(error.value) == (
        "finetune.batch_size: batch norm needs more than one value per channel, got 1 for images "
        "this small. Raise it, lower finetune.accumulation_steps, or write finetune.batch_norm: "
        "frozen."
    )


def make_dropout() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192, 4))


def test_dropout_too_is_drawn_from_the_seed() -> None:
    def run() -> Finetuning:
        return make_run({"terms": "clean+da"}, model=make_dropout())

    torch.manual_seed(1)
    whole = run()
    expected = finish(whole)
    begun = run()
    begun.run_epoch()
    torch.rand(3)
    later = run()
    before = torch.random.get_rng_state()
    later.load_state(through_a_file(begun.state()))
    assert same(finish(later), expected)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = make_run({"terms": "clean+da"}, model=make_dropout(), seed=5)
    assert not same(finish(other), expected)
