"""The objective: a sum of the named terms, and every way in which its settings can be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES
from ablate.finetune.loss.objective import RobustLoss, build_loss
from ablate.finetune.loss.term import View, Views
from ablate.model.taps import FeatureMaps, LayerNames
from ablate.study.settings import LossSettings

TAPS = ("stem", "stage1", "stage2", "stage3")
NAMES = LayerNames(
    {"stem": "stem", "stage1": "layer1", "stage2": "layer2", "stage3": "layer3"},
    ("stem", "layer1", "layer1.0", "layer1.1", "layer2", "layer2.0", "layer3", "head"),
)


def make_views(copies: int = 1) -> Views:
    generator = torch.Generator().manual_seed(0)

    def view() -> View:
        maps = {tap: torch.randn(4, 2, 4, 4, generator=generator) for tap in TAPS}
        return View(torch.randn(4, 3, generator=generator), FeatureMaps(maps))

    teachers = {"pretrained": view(), "ema": view()}
    weights = (1 / copies,) * copies
    views = tuple(view() for _ in range(copies))
    return Views(torch.tensor([0, 1, 2, 0]), view(), views, weights, teachers)


def build(**settings: Any) -> RobustLoss:
    """With the clean branch as FMA's anchor, where `settings` do not say."""
    if isinstance(fma := settings.get("fma", {}), dict):
        settings["fma"] = {"anchor": "clean", **fma}
    return build_loss(LossSettings.model_validate(settings), NAMES)


def test_it_is_the_weighted_sum_of_its_terms() -> None:
    views = make_views(copies=2)
    weights = {"clean": 0.5, "da": 2.0, "st": 0.25, "fma": 3.0}
    sections = {name: {"weight": weight} for name, weight in weights.items()}
    loss = build(terms="clean+da+st+fma", **sections)
    parts = {name: build(terms=name)(views) for name in weights}
    values = loss.values(views)
    assert list(values) == list(weights)
    torch.testing.assert_close(values, parts)
    torch.testing.assert_close(loss(views), sum(weights[name] * parts[name] for name in weights))
    factors = {"fma": 0.5, "st": 4.0}
    scaled = sum(weights[name] * factors.get(name, 1) * parts[name] for name in weights)
    torch.testing.assert_close(loss(views, factors), scaled)


READS = [  # settings; clean, copies, labels, teachers
    ({"terms": "clean"}, (True, False, True, ())),
    ({"terms": "da"}, (False, True, True, ())),
    ({"terms": "st"}, (True, True, False, ())),
    ({"terms": "fma"}, (True, True, False, ())),
    ({"terms": "clean+fma"}, (True, True, True, ())),
    ({"terms": "st", "st": {"form": "js", "anchor": "ema"}}, (False, True, False, ("ema",))),
    ({"terms": "fma", "fma": {"anchor": "pretrained"}}, (False, True, False, ("pretrained",))),
    (
        {"terms": "clean+st+fma", "st": {"anchor": "ema"}, "fma": {"anchor": "pretrained"}},
        (True, True, True, ("ema", "pretrained")),
    ),
    (
        {"terms": "da+st+fma", "st": {"anchor": "ema"}, "fma": {"anchor": "ema"}},
        (False, True, True, ("ema",)),
    ),
]


@pytest.mark.parametrize(("settings", "expected"), READS, ids=[str(one) for one, _ in READS])
def test_it_says_what_it_reads(settings: dict[str, Any], expected: tuple[Any, ...]) -> None:
    loss = build(**settings)
    found = (loss.needs_clean, loss.needs_augmented, loss.needs_labels, loss.teachers)
    assert found == expected


def test_it_says_how_it_is_to_be_run() -> None:
    plain = build(terms="clean+fma")
    assert (plain.activation, plain.gradient_scaled, plain.min_images) == ("after", (), 1)
    assert plain.teacher_decay == 0.99
    fma = {"activation": "before", "scale": "gradient", "distance": "cka"}
    other = build(terms="clean+fma", fma=fma, teacher_decay=0.5)
    assert (other.activation, other.gradient_scaled) == ("before", ("fma",))
    assert (other.min_images, other.teacher_decay) == (3, 0.5)


def test_layers_are_those_with_a_weight_first_to_last() -> None:
    assert build(terms="clean").layers == ()
    assert build(terms="clean+fma").layers == TAPS
    assert build(terms="fma", fma={"layers": ["stage3", "stem"]}).layers == ("stem", "stage3")
    weights = {"stem": 0.0, "stage3": 2.0}
    assert build(terms="fma", fma={"layer_weights": weights}).layers == ("stage3",)
    paths = ["head", "layer1.1", "stage1", "layer1.0"]
    ordered = ("layer1.0", "layer1.1", "stage1", "head")
    assert build(terms="fma", fma={"layers": paths}).layers == ordered


BAD = [
    (
        {"terms": "clean+fmaa"},
        "loss.terms: must be names joined by +, got 'clean+fmaa' with 'fmaa'. Did you mean fma?",
    ),
    (
        {"terms": "clean+fma+clean"},
        "loss.terms: a term may be given once, got 'clean+fma+clean' with clean twice. Remove one "
        "and set loss.clean.weight.",
    ),
    (
        {"terms": "clean+st", "clean": {"weight": 0.0}, "st": {"weight": 0.0}},
        "loss.terms: one weight must be above 0, got 0 for all of clean+st. "
        "Raise loss.clean.weight.",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stage"]}},
        "loss.fma.layers: must be taps or module paths of the model, got 'stage'. "
        "Did you mean stage3?",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stage1", "layer1"]}},
        "loss.fma.layers: a layer may be given once, got stage1 and layer1, which are the same. "
        "Raise its weight in loss.fma.layer_weights.",
    ),
    (
        {"terms": "fma", "fma": {"layer_weights": {"stam": 0.0, "stage1": 1.0}}},
        "loss.fma.layer_weights: must be taps or module paths of the model, got 'stam'. "
        "Did you mean stem?",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stem"], "layer_weights": {"stage3": 1.0}}},
        "loss.fma.layer_weights: must name the layers in use, got 'stage3'. Did you mean stem?",
    ),
    (
        {"terms": "fma", "fma": {"distance": "l2"}},
        "loss.fma.distance: must be a registered distance, got 'l2'. "
        f"Known: {', '.join(DISTANCES)}.",
    ),
    (
        {"terms": "st", "st": {"form": "crossentropy"}},
        "loss.st.form: must be a registered form, got 'crossentropy'. Did you mean cross_entropy?",
    ),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=[text for _, text in BAD])
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        build(**settings)
    assert str(caught.value) == message


def test_a_model_without_taps_needs_module_paths() -> None:
    names = LayerNames({}, ("features", "head"))
    with pytest.raises(ParameterError) as caught:
        build_loss(LossSettings(terms="clean+fma"), names)
    assert str(caught.value) == (
        "loss.fma.layers: needs at least one layer, got 'taps' and a network without taps. "
        "List module paths, as `ablate layers MODEL` shows them."
    )
    settings = LossSettings.model_validate({"terms": "fma", "fma": {"layers": ["features"]}})
    assert build_loss(settings, names).layers == ("features",)


def test_terms_read_maps_at_one_place() -> None:
    first = build(terms="fma").terms[0]
    second = replace(first, name="mine", activation="before")
    with pytest.raises(ParameterError) as caught:
        RobustLoss([first, second])
    assert str(caught.value) == (
        "loss: all terms must read feature maps in the same place, got fma after and mine before "
        "the activation. Use the same activation for all."
    )
    assert RobustLoss([replace(first, layers=()), second]).activation == "before"
