"""The loop in the README of the losses runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy

import ablate.finetune.loss
from ablate import StabilityLoss
from ablate.finetune.loss import DISTANCES, FORMS, TERMS
from ablate.finetune.loss.term import ANCHORS

ROOT = Path(__file__).parents[2]
README = (Path(ablate.finetune.loss.__file__).parent / "README.md").read_text()


def test_its_loop_trains() -> None:
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", README, flags=re.MULTILINE)
    loops = [block for block in blocks if "FeatureTaps" in block]
    assert len(loops) == 1
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("stage2", nn.Conv2d(3, 4, 3))
    model.add_module("stage3", nn.Conv2d(4, 4, 3))
    model.add_module("head", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
    before = [parameter.clone() for parameter in model.parameters()]
    names = {
        "torch": torch,
        "cross_entropy": cross_entropy,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": [(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))] * 2,
    }
    exec("\n".join(line[4:] for line in loops[0].splitlines()), names)
    assert all(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
    assert bool(torch.isfinite(StabilityLoss()(*names["logits"].chunk(2))))


def test_it_names_every_term_distance_form_and_anchor() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)
    assert rows == [*TERMS, *DISTANCES, *FORMS, *ANCHORS], (
        "ablate/finetune/loss/README.md: one row for each name, in the order of the lists"
    )


def test_the_settings_of_finetuning_name_every_distance() -> None:
    text = (Path(ablate.finetune.__file__).parent / "README.md").read_text()
    (row,) = re.findall(r"^\| `loss\.fma\.distance` \| (.*?) \|", text, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(DISTANCES), (
        "ablate/finetune/README.md, row loss.fma.distance: every name, in the order of DISTANCES"
    )


def test_the_search_of_fma_chooses_among_all_distances() -> None:
    space = yaml.safe_load((ROOT / "search_spaces/fma.yaml").read_text())
    assert space["loss.fma.distance"]["choice"] == list(DISTANCES), (
        "search_spaces/fma.yaml, loss.fma.distance: every name, in the order of DISTANCES"
    )
