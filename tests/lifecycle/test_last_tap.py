"""`loss.fma.layers: last`; networks without a tap that gives a feature map, or batch norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ablate
from ablate.errors import StudyFileError
from ablate.finetune.loss.objective import build_loss
from ablate.ledger.row import Twins
from ablate.lifecycle.known_names import names_for
from ablate.model.build import build_model, describe_layers
from ablate.model.taps import layer_names
from ablate.study.callables import imports_limited
from ablate.study.settings import LossSettings, ModelSettings
from tests.commands import run_here

NETS = """
from torch import nn

class Branches(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, images):
        return [self.conv(images)]

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3), Branches(4)
        self.head = nn.Linear(4, classes)
        self.taps = {"early": "first", "late": "second.conv", "listed": "second"}

    def forward(self, images):
        return self.head(self.second(self.first(images))[0].mean((2, 3)))

class Listed(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.taps = {"stage1": "second"}
"""

SINGLE = {"trials": 1}
OWN, LISTED = "last_nets:Net", "last_nets:Listed"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("last_nets.py").write_text(NETS)


def study(model: str, **sections: Any) -> Any:
    data = {"version": 1, "name": "s", "dataset": {"name": "digits"}, "model": {"name": model}}
    return ablate.check(data | ({} if "ablation" in sections else {"search": SINGLE}) | sections)


@pytest.mark.parametrize(("model", "tap"), [("resnet8", "stage3"), (OWN, "late")])
def test_last_is_the_last_usable_tap_of_the_network(model: str, tap: str) -> None:
    """By name in settings, choices, points and levels: as if that tap had been written."""

    def written(layers: Any, other: str) -> tuple[Any, Any]:
        space = {
            "loss.fma.layers": {"choice": [layers, [other, tap], "taps"]},
            "loss.fma.weight": {
                "float": [0.1, 1.0],
                "when": {"loss.fma.layers": {"in": [layers, "taps"]}},
            },
        }
        search = {"trials": 2, "enqueue": [{"loss.fma.layers": layers, "loss.fma.weight": 0.5}]}
        ablation = {
            "design": "one_at_a_time",
            "reference": {"loss.terms": "clean+fma", "loss.fma.layers": layers},
            "factors": {"loss.fma.layers": [[other], "taps"], "loss.fma.anchor": ["clean"]},
            "seeds": 2,
        }
        budget = {"budget": {"images": 1000}}
        fma = {"fma": {"layers": layers}}
        found = study(model, loss=fma, space=space, search=search)
        return found, study(model, loss=fma, ablation=ablation, finetune=budget)

    other = "stage1" if model == "resnet8" else "early"
    assert written("last", other) == written([tap], other)
    searched, ablated = written("last", other)
    assert searched.loss.fma.layers == (tap,)
    assert searched.search.enqueue[0]["loss.fma.layers"] == [tap]
    assert ablated.ablation.reference["loss.fma.layers"] == [tap]


def test_where_networks_differ_it_is_that_of_each() -> None:
    space = {"model.name": {"choice": ["resnet8", OWN, "torchvision:resnet18"]}}
    found = study("resnet8", loss={"fma": {"layers": "last"}}, space=space)
    assert found.loss.fma.layers == "last"
    for name, tap in (("resnet8", "stage3"), (OWN, "listed")):
        settings = ModelSettings(name=name)
        model = build_model(settings, 3, (0.5,) * 3, (0.5,) * 3, 0, base=Path())
        loss = build_loss(LossSettings.model_validate({"fma": found.loss.fma}), layer_names(model))
        assert loss.layers == (tap,)
    twins, large = Twins(found), {"model.name": "torchvision:resnet18"}
    same = twins._point(large | {"loss.fma.layers": "last"})
    assert same == twins._point(large | {"loss.fma.layers": ["stage4"]})
    assert same != twins._point(large | {"loss.fma.layers": ["stage3"]})


@pytest.mark.parametrize("layers", ["taps", "last"])
def test_a_network_without_a_usable_tap_is_refused_with_modules_to_name(layers: str) -> None:
    with pytest.raises(StudyFileError) as error:
        study(LISTED, loss={"terms": "clean+fma", "fma": {"layers": layers}})
    assert str(error.value) == (
        "loss.fma.layers: needs a network whose taps give feature maps, got "
        f"{layers!r} for last_nets:Listed, which has none. Name modules such as [first, "
        "second.conv]; `ablate layers last_nets:Listed` lists them."
    )
    with imports_limited():  # as `ablate check --no-import` does: nothing is known of its taps
        study("other_nets:Listed", loss={"terms": "clean+fma", "fma": {"layers": layers}})
    study(LISTED, loss={"terms": "clean+da"})
    study(LISTED, loss={"terms": "clean+fma", "fma": {"layers": ["second.conv"]}})


def test_layers_says_so_too() -> None:
    said = run_here("layers", LISTED).stdout
    assert "3 modules, and no usable tap" in " ".join(said.split())
    assert ("second.conv" in said, "early" in said) == (True, False)
    assert "2 layers for loss.fma.layers" in " ".join(run_here("layers", OWN).stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hrnet_w18_small", "crossvit_tiny_240"])
def test_networks_whose_levels_of_timm_are_no_maps_get_taps_that_are_found(name: str) -> None:
    pytest.importorskip("timm")
    taps = tuple(names_for(f"timm:{name}")["loss.fma.layers"])
    assert taps[0] == "stage1"
    modules = describe_layers(ModelSettings(name=f"timm:{name}"))
    assert [one.name for one in modules if one.is_tap] == list(taps)


def test_networks_without_batch_norm_are_advised_to_measure_the_weight() -> None:
    head = "version: 1\nname: s\ndataset: {name: digits}\nrobustness: {suite: families_grey}\n"
    head += "space: {finetune.learning_rate: {float: [0.01, 0.1]}}\n"
    for model, scale, is_advised in (
        *((OWN, "value", True), (OWN, "gradient", False)),
        *(("torchvision:vit_b_16", "value", True), ("resnet8", "value", False)),
    ):
        fma = f"loss: {{terms: clean+fma, fma: {{layers: last, scale: {scale}}}}}\n"
        Path("s.yaml").write_text(f'{head}model: {{name: "{model}"}}\n{fma}')
        result = run_here("check", "s.yaml")
        assert result.returncode == 0, result.stderr
        note = (
            f"note: loss.fma.scale: value was calibrated on networks with batch norm, and {model}"
        )
        assert (note in result.stdout) == is_advised
        assert ("Write scale: gradient" in result.stdout) == is_advised
