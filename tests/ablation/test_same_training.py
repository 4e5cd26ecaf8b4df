"""Which configurations are one: those that train the same network, and no others."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from plans import TAPS, ablation_study, draft_of

from ablate.study.seeds import PLAIN, Seeds
from ablate.trial.robustness import TrialRun
from ablate.trial.workbench import Workbench

pytestmark = pytest.mark.slow

Values = dict[str, Any]
Weights = Callable[[Values], list[torch.Tensor]]

ALL_ALIKE = dict.fromkeys(("noise", "blur", "photometric"), 1)
LAST = {"loss.fma.layers": ["stage3"]}
AUGMIX = {"augment.method": "augmix"}
ADAMW = {"finetune.optimizer": "adamw"}
HUE = {"augment.method": "composed", "augment.types": ["hue"]}

# The training of each pair reads the same.
ONE: list[tuple[Values, Values]] = [
    ({}, {"loss.fma.weight": 1}),
    ({}, {"loss.fma.layers": TAPS}),
    ({}, {"loss.fma.layers": TAPS[::-1]}),
    ({}, {"loss.fma.layer_weights": dict.fromkeys(TAPS, 3)}),
    ({}, {"augment.families": ["photometric", "noise", "blur"]}),
    ({}, {"augment.mix": ALL_ALIKE}),
    ({}, {"augment.depth": 1, "augment.augmix.severity": 1.0}),
    ({}, {"augment.strengths": {"jpeg": 0.1}}),
    ({}, {"augment.strengths.gaussian_noise": [0, 1]}),
    ({}, {"loss.st.weight": 2.0, "loss.st.anchor": "ema", "loss.da.weight": 0.5}),
    ({}, {"loss.teacher_decay": 0.5}),
    (
        {"augment.types": ["hue", "jpeg"], "augment.mix": {"hue": 0.25, "jpeg": 0.75}},
        {"augment.types": ["jpeg", "hue"], "augment.mix": {"hue": 1, "jpeg": 3}},
    ),
    ({"augment.families": ["blur"]}, {"augment.types": ["gaussian_blur"]}),
    (LAST, LAST | {"loss.fma.layer_weights": "geometric"}),
    (
        {"loss.fma.layer_weights": "linear"},
        {"loss.fma.layer_weights": {"stem": 1, "stage1": 2, "stage2": 3, "stage3": 4}},
    ),
    (
        {"loss.fma.layer_weights": "geometric", "loss.fma.layers": ["stage1", "stem"]},
        {"loss.fma.layer_weights": {"stem": 1, "stage1": 2, "stage2": 0}},
    ),
    (ADAMW, ADAMW | {"finetune.momentum": 0.1}),
    (AUGMIX, AUGMIX | {"augment.families": ["noise"], "augment.strength": 0.3}),
    (HUE, HUE | {"augment.depth": 1}),
    (
        {**PLAIN},
        {**PLAIN, "augment.types": ["jpeg"], "loss.fma.weight": 3.0, "augment.copies": 2},
    ),
    ({**PLAIN}, {**PLAIN, "finetune.batch_norm": "separate"}),
]

# And of these not.
TWO: list[tuple[Values, Values]] = [
    ({}, {"loss.fma.weight": 2.0}),
    ({}, {**PLAIN}),
    ({}, LAST),
    ({}, {"loss.fma.layer_weights": "linear"}),
    ({}, {"augment.families": ["noise", "blur"]}),
    ({}, {"augment.mix": ALL_ALIKE | {"noise": 2}}),
    ({}, {"augment.strength": 0.5}),
    ({}, {"augment.strengths": {"gaussian_noise": 0.5}}),
    ({}, {"augment.clean_fraction": 0.5}),
    ({}, {"augment.copies": 2}),
    ({}, {"augment.method": "per_batch"}),
    ({}, {"augment.method": "composed"}),
    ({}, {"finetune.batch_norm": "separate"}),
    ({}, {"finetune.momentum": 0.1}),
    ({}, {"baseline.momentum": 0.1}),
    ({}, {"finetune.budget.images": 128}),
    ({}, {"dataset.train_fraction": 0.5}),
    ({"loss.fma.anchor": "ema"}, {"loss.fma.anchor": "ema", "loss.teacher_decay": 0.5}),
    (HUE, {"augment.types": ["hue"]}),
    (AUGMIX, AUGMIX | {"augment.augmix.severity": 1.0}),
    ({**PLAIN}, {**PLAIN, "finetune.batch_norm": "frozen"}),
]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The weights after some steps, as a trial makes them."""
    study = ablation_study(
        {"design": "leave_one_out", "components": ["fma"]},
        dataset={"name": "digits", "image_size": 8, "validation": {"fraction": 0.9}},
        baseline={"epochs": 1},
        finetune={"budget": {"images": 256}, "batch_size": 32},
        run={"precision": "fp32"},
    )
    bench = Workbench.get(study, Path(), tmp_path_factory.mktemp("cache"))

    @cache
    def trained(values: str) -> list[torch.Tensor]:
        run = TrialRun(bench, by_text[values], Seeds(split=0, train=0, evaluation=0))
        while not run.done:
            run.run_epoch()
        return [tensor.clone() for tensor in run.model.state_dict().values()]

    by_text: dict[str, Values] = {}

    def weights(values: Values) -> list[torch.Tensor]:
        by_text[repr(values)] = values
        return trained(repr(values))

    return weights


def same_bits(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("one", "other"), ONE, ids=str)
def test_what_trains_the_same_is_one(one: Values, other: Values, train: Weights) -> None:
    assert draft_of().same(one, other)
    assert same_bits(train(one), train(other))


@pytest.mark.parametrize(("one", "other"), TWO, ids=str)
def test_what_trains_something_else_is_not(one: Values, other: Values, train: Weights) -> None:
    assert not draft_of().same(one, other)
    assert not same_bits(train(one), train(other))


def test_taps_of_another_network_are_not_those_of_this_one() -> None:
    other = {"model.name": "torchvision:resnet18"}
    ground = draft_of()
    assert not ground.same(other, other | {"loss.fma.layers": TAPS})
    assert not ground.same(other, other | {"loss.fma.layer_weights": "linear"})
    assert ground.same(other, {"loss.fma.layers": "taps"} | other)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ({"lr": 1}, {"lr": 1.0}, True),
        ({"lr": 1}, {"lr": True}, False),
        ({"lr": 1}, {"lr": "1"}, False),
        ({"net": [1, 2]}, {"net": [2, 1]}, False),
        ({"net": {"a": 0}}, {"net": {}}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({}, {"lr": 1}, False),
    ],
)
def test_values_of_a_loop_of_one_s_own(one: Values, other: Values, are_one: bool) -> None:
    assert draft_of(trainable="own:train").same(one, other) == are_one
