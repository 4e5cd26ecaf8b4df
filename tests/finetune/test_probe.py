"""Linear probing before finetuning: what learns when, at which rate, and what it costs."""

from __future__ import annotations

import pytest
from torch import nn

from ablate.errors import ParameterError
from ablate.finetune.loop import Finetuning
from ablate.model.flops import count_flops
from tests.finetune.test_depth import changed, make_network
from tests.finetune.test_training_options import BATCH, bits, finish, make_run

LAST = {"classifier.weight", "classifier.bias"}


def rates_of(run: Finetuning) -> list[float]:
    rates: list[float] = []
    run._optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    return rates


def test_the_last_layer_learns_alone_and_then_everything() -> None:
    """Six steps, the first three of probing: the change is within an epoch of two steps."""
    run = make_run(probe_fraction=0.5, learning_rate=0.1)
    rates, before = rates_of(run), bits(run._student)
    run.run_epoch()
    assert changed(run, before) == LAST
    middle = bits(run._student)
    finish(run)
    moved = {name for name in before if not name.startswith("normalize.")}
    assert changed(run, middle) == moved
    assert rates[:3] == pytest.approx(rates[3:])
    assert rates[0] == 0.1 > rates[1] > rates[2] > 0


def test_it_costs_what_its_passes_cost() -> None:
    run = make_run({"terms": "clean"}, probe_fraction=0.5)
    finish(run)
    model = make_network()
    whole = count_flops(model, (3, 8, 8))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in LAST)
    probing = count_flops(model, (3, 8, 8))
    assert probing.training < 0.5 * whole.training
    assert run.work.train_flops == 3 * BATCH * (whole.training + probing.training)
    assert make_run({"terms": "clean"}, probe_fraction=0.5).final_work == run.work
    assert make_run({"terms": "clean"}, budget={"seconds": 1.0}).final_work is None
    each = BATCH * (0.5 * whole.training + 0.5 * probing.training)
    budget = {"flops": 10 * each}
    assert make_run({"terms": "clean"}, probe_fraction=0.5, budget=budget).budget.steps == 10


def test_counting_its_passes_leaves_the_network_as_it_was() -> None:
    run = make_run({"terms": "clean"}, probe_fraction=0.5, budget={"flops": 1e9})
    learning = [name for name, one in run._student.named_parameters() if one.requires_grad]
    assert learning == [name for name, _ in run._student.named_parameters()]


def test_what_cannot_be_probed() -> None:
    head = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    with pytest.raises(ParameterError) as caught:
        make_run({"terms": "clean"}, model=head, probe_fraction=0.5)
    assert str(caught.value) == (
        "finetune.probe_fraction: needs a network that ends in a linear layer that learns, got "
        "BatchNorm2d. Leave it out, or change finetune.frozen."
    )
    with pytest.raises(ParameterError) as caught:
        make_run({"terms": "fma"}, probe_fraction=0.5).run_epoch()
    assert str(caught.value) == (
        "finetune.probe_fraction: a term must reach the last layer, got only fma. Leave it out, or "
        "add a term to loss.terms."
    )
