"""Schedules of the learning rate, against torch's own where it has them."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from ablate.finetune.optimizer import learning_rate
from ablate.study.settings import TrainingSettings

HIGHEST = 0.4
STEPS = 40


def settings_of(**values: object) -> TrainingSettings:
    return TrainingSettings.model_validate({"learning_rate": HIGHEST, **values})


def ours(settings: TrainingSettings) -> list[float]:
    return [learning_rate(settings, step / STEPS) for step in range(STEPS)]


def make_sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=HIGHEST)


def rates(optimizer: torch.optim.Optimizer, scheduler: lr_scheduler.LRScheduler) -> list[float]:
    found = []
    for _ in range(STEPS):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_torchs() -> None:
    optimizer = make_sgd()
    expected = rates(optimizer, lr_scheduler.CosineAnnealingLR(optimizer, STEPS))
    assert ours(settings_of()) == pytest.approx(expected, abs=1e-12)


def test_one_cycle_is_torchs() -> None:
    optimizer, total = make_sgd(), STEPS
    scheduler = lr_scheduler.OneCycleLR(optimizer, HIGHEST, total, cycle_momentum=False)
    expected = rates(optimizer, scheduler)[: total - 1]
    # Torch's phases end at steps 0.3 * total - 1 and total - 1, ours at shares of the budget.
    top, last = 0.3 * total - 1, total - 1
    for step, rate in enumerate(expected):
        rising, falling = step / top, (step - top) / (last - top)
        progress = 0.3 * rising if rising < 1 else 0.3 + 0.7 * falling
        assert learning_rate(settings_of(schedule="one_cycle"), progress) == pytest.approx(
            rate, rel=1e-9, abs=1e-12
        )


def test_a_warm_up_is_torchs_line_and_then_its_cosine() -> None:
    optimizer, rise = make_sgd(), 10
    line = lr_scheduler.LinearLR(optimizer, start_factor=1 / 25, total_iters=rise)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, STEPS - rise)
    both = lr_scheduler.SequentialLR(optimizer, [line, cosine], [rise])
    settings = settings_of(warmup_fraction=rise / STEPS)
    assert ours(settings) == pytest.approx(rates(optimizer, both), abs=1e-9)
    assert ours(settings)[0] == pytest.approx(HIGHEST / 25)


def test_a_warm_up_of_a_constant_rate() -> None:
    found = ours(settings_of(schedule="constant", warmup_fraction=0.5))
    assert found[:20] == pytest.approx([HIGHEST * (1 + 24 * step / 20) / 25 for step in range(20)])
    assert found[20:] == [HIGHEST] * 20


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_every_rate_is_between_0_and_the_highest(schedule: str, warmup: float) -> None:
    found = ours(settings_of(schedule=schedule, warmup_fraction=warmup))
    assert all(0 <= rate <= HIGHEST for rate in found)
    assert max(found) > 0.95 * HIGHEST
