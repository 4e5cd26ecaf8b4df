"""A training step makes a GPU wait nowhere: every variant, with tensors that claim to be on one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from claimed_device import DEVICE, Claimed, Watch
from torch import nn

from ablate.data.dataset import Split
from ablate.distortion import FAMILIES, digital, photometric, random
from ablate.finetune import loop
from ablate.finetune.augment import operators
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.loop import Finetuning
from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.finetune.loss.objective import build_loss
from ablate.finetune.loss.term import ANCHORS
from ablate.model.environment import Environment
from ablate.model.taps import layer_names
from ablate.study.settings import (
    AugmentSettings,
    BudgetSettings,
    DatasetSettings,
    FinetuneSettings,
    LossSettings,
)

BATCH = 6
STEPS = 12
TYPES = [kind for kinds in FAMILIES.values() for kind in kinds]


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without what only a GPU has: its global generator; and nothing of it is kept."""
    monkeypatch.setattr(loop, "own_generators", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(loop, "seed_generators", lambda _seed, _device: None)
    monkeypatch.setattr(loop, "drawing_modules", lambda _model, _images: [])
    yield
    for kept in (
        digital._jpeg_constants,
        *(photometric._chroma_planes, random._normal_quantiles, operators._luma),
    ):
        kept.cache_clear()


def make_network() -> nn.Module:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    network = nn.Sequential(first, last)
    network.taps = {"early": "0"}  # type: ignore[assignment]
    return network


def make_run(
    loss: dict[str, Any] | None = None,
    augment: dict[str, Any] | None = None,
    *,
    device: Any = "cuda",
    batch_norm: Any = "joint",
    precision: Any = "fp32",
    **settings: Any,
) -> Finetuning:
    images = torch.randint(
        256, (BATCH * STEPS, 3, 8, 8), generator=torch.Generator().manual_seed(0)
    )
    fma = {"layers": ["0"], **(loss or {}).get("fma", {})}
    model = make_network()
    return Finetuning(
        model,
        Split(images.byte(), torch.arange(len(images)) % 4, "made here"),
        FinetuneSettings.model_validate({"batch_size": BATCH, **settings}),
        budget=BudgetSettings(epochs=2),
        loss=build_loss(
            LossSettings.model_validate({**(loss or {}), "fma": fma}), layer_names(model)
        ),
        augment=build_augmentation(AugmentSettings.model_validate(augment or {})),
        dataset_settings=DatasetSettings(name="digits", crop_padding=1, horizontal_flip=True),
        environment=Environment(device, precision, 1, torch.__version__, "made here"),
        batch_norm=batch_norm,
    )


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    **{f"term {term}": ({"terms": term}, {}, {}) for term in TERMS},
    "all terms": ({"terms": "+".join(TERMS)}, {}, {}),
    **{f"distance {name}": ({"fma": {"distance": name}}, {}, {}) for name in DISTANCES},
    **{f"form {form}": ({"terms": "st", "st": {"form": form}}, {}, {}) for form in FORMS},
    **{
        f"anchor {anchor}": (
            {"terms": "st+fma", "st": {"anchor": anchor}, "fma": {"anchor": anchor}},
            *({}, {}),
        )
        for anchor in ANCHORS
    },
    **{
        f"method {method}": ({}, {"method": method, "copies": 2, "clean_fraction": 0.3}, {})
        for method in get_args(AugmentSettings.model_fields["method"].annotation)
    },
    "operators all": ({}, {"method": "augmix", "augmix": {"operators": "all"}}, {}),
    **{f"type {kind}": ({}, {"types": [kind]}, {}) for kind in TYPES},
    **{
        f"batch norm {mode}": ({}, {}, {"batch_norm": mode})
        for mode in ("joint", "separate", "frozen")
    },
    "scale gradient": ({"fma": {"scale": "gradient"}}, {}, {}),
    "activation before": ({"fma": {"activation": "before"}}, {}, {}),
    "temperature": ({"terms": "st", "st": {"temperature": 2.0}}, {}, {}),
    "adamw": ({}, {}, {"optimizer": "adamw"}),
    "clipping": ({}, {}, {"gradient_clipping": 1.0}),
    "accumulation": ({}, {}, {"accumulation_steps": 2}),
    "average": ({}, {}, {"ema_decay": 0.9}),
    "frozen, layer decay": ({}, {}, {"frozen": ["early"], "layer_decay": 0.5}),
}
"""Name -> sections `loss` and `augment`, and settings of the training."""

READ = "read: tolist"
"""The losses of the last steps, in one read."""


def one_step(run: Finetuning) -> None:
    """A step, and a read of its loss."""
    assert run.run_epoch(pause=lambda: True) is None


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_waits_for_nothing(name: str) -> None:
    loss, augment, settings = VARIANTS[name]
    with Watch() as watch:
        run = make_run(loss, augment, **settings)
        one_step(run)  # makes what is kept: constants, momentum, ratios of gradients
        watch.log.clear()
        one_step(run)
        log = [one for one in watch.log if one != "sent"]
        sent = len(watch.log) - len(log)
    assert log == [READ]
    # Which images are distorted by which type: once for each turn of each copy.
    assert sent <= 4 * augment.get("copies", 1)


def test_a_step_in_bf16_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Environment, "autocast", lambda _here: torch.autocast("cpu", torch.bfloat16)
    )
    usual = make_run({"terms": "+".join(TERMS)}, device="cpu", precision="bf16")
    with Watch() as watch:
        run = make_run({"terms": "+".join(TERMS)}, precision="bf16")
        one_step(run)
        watch.log.clear()
        one_step(run)
        assert [one for one in watch.log if one != "sent"] == [READ]
        assert len(run._forward._passes[run._student]._weights or ()) == 4  # of two layers
    one_step(usual)
    one_step(usual)
    assert run._losses == pytest.approx(usual._losses, rel=1e-2)


@pytest.mark.parametrize("name", ["all terms", "method composed", "method augmix", "average"])
def test_the_values_are_those_of_the_cpu(name: str) -> None:
    loss, augment, settings = VARIANTS[name]
    usual = make_run(loss, augment, device="cpu", **settings)
    one_step(usual)
    one_step(usual)
    with Watch():
        run = make_run(loss, augment, **settings)
        one_step(run)
        one_step(run)
    assert run._losses == pytest.approx(usual._losses, rel=1e-3)


def test_the_loss_is_read_once_in_some_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKED_STEPS", 8)
    with Watch() as watch:
        run = make_run({"terms": "clean"})
        one_step(run)
        watch.log.clear()
        run.run_epoch()
        assert watch.log == [READ] * 2  # of 8 steps, and of the last 3


# -- The instrument itself ----------------------------------------------------------------


def waits(line: str) -> list[str]:
    """What a line of Python on a tensor `there` and one `here` makes a GPU wait for."""
    with Watch() as watch:
        here = torch.rand(4)
        there = here.pin_memory().to(DEVICE, non_blocking=True)
        assert isinstance(there, Claimed)
        watch.log.clear()
        with contextlib.suppress(IndexError):
            eval(line, {"torch": torch, "here": here, "there": there, "device": DEVICE})
        return list(watch.log)


@pytest.mark.parametrize(
    ("line", "log"),
    {
        "there * 2 + there.sum()": [],
        "there[1:3].clone()": [],
        "there.to(torch.float64)": [],
        "torch.arange(4, device=device) + there": [],
        "there[torch.tensor(1)]": [],
        "here.to(device)": ["copy: to the device"],
        "here.to(there)": ["copy: to the device"],
        "here.pin_memory().to(device)": ["copy: to the device"],
        "here.to(device, non_blocking=True)": ["copy: to the device"],
        "here.pin_memory().to(device, non_blocking=True)": ["sent"],
        "torch.tensor([1.0, 2.0], device=device)": ["copy: tensor"],
        "there.copy_(here)": ["copy: copy_"],
        "here.copy_(there)": ["read: copy_"],
        "there.cpu()": ["read: to the CPU"],
        "there.sum().item()": ["read: aten::_local_scalar_dense"],
        "bool(there.sum() > 0)": ["read: aten::_local_scalar_dense"],
        "there.tolist()": ["read: tolist"],
        "there.nonzero()": ["read: aten::nonzero"],
        "there[there > 0.5]": ["read: aten::index by a mask"],
        "there[torch.tensor([0, 1])]": ["mixed: aten::index"],
        "torch.cat([here, there])": ["mixed: aten::cat"],
        "torch.rand(2, generator=torch.Generator(), device=device)": ["generator: rand"],
        "torch.rand(2, generator=torch.Generator(device))": ["generator: rand"],
        "torch.rand(2, generator=torch.Generator(device), device=device)": [],
    }.items(),
)
def test_what_is_noticed(line: str, log: list[str]) -> None:
    assert waits(line) == log
