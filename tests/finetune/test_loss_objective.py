"""The objective: a sum of the named terms, and every way in which its settings can be wrong."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ablate.errors import ParameterError
from ablate.finetune.loss.objective import Pair, build_loss
from ablate.study.settings import LossSettings

TAPS = ("stem", "stage1", "stage2", "stage3")


def make_pair() -> Pair:
    generator = torch.Generator().manual_seed(0)
    clean, distorted = (
        {tap: torch.randn(4, 2, 4, 4, generator=generator) for tap in TAPS} for _ in range(2)
    )
    logits = [torch.randn(4, 3, generator=generator) for _ in range(2)]
    return Pair(logits[0], logits[1], torch.tensor([0, 1, 2, 0]), clean, distorted)


def build(**settings: Any) -> Any:
    return build_loss(LossSettings.model_validate(settings), TAPS)


def test_it_is_the_weighted_sum_of_its_terms() -> None:
    pair = make_pair()
    weights = {"clean": 0.5, "da": 2.0, "st": 0.25, "fma": 3.0}
    sections = {name: {"weight": weight} for name, weight in weights.items()}
    whole = build(terms="clean+da+st+fma", **sections)(pair)
    parts = sum(weight * build(terms=name)(pair) for name, weight in weights.items())
    torch.testing.assert_close(whole, parts)


def test_a_term_that_is_not_named_does_not_count() -> None:
    pair = make_pair()
    torch.testing.assert_close(
        build(terms="clean", fma={"weight": 9.0})(pair), build(terms="clean")(pair)
    )


def test_clean_alone_wants_no_copies_and_no_taps() -> None:
    loss = build(terms="clean")
    assert not loss.needs_augmented
    assert loss.layers == ()


@pytest.mark.parametrize("terms", ["da", "st", "fma", "clean+st", "clean+fma"])
def test_every_other_term_wants_copies(terms: str) -> None:
    assert build(terms=terms).needs_augmented


def test_layers_are_those_with_a_weight() -> None:
    assert build(terms="clean+fma").layers == TAPS
    assert build(terms="fma", fma={"layers": ["stage3", "stem"]}).layers == ("stage3", "stem")
    weights = {"stem": 0.0, "stage3": 2.0}
    assert build(terms="fma", fma={"layer_weights": weights}).layers == ("stage3",)


def test_only_the_layers_in_use_are_read() -> None:
    pair = make_pair()
    loss = build(terms="fma", fma={"layers": ["stage2"]})
    one = pair._replace(
        clean_features={"stage2": pair.clean_features["stage2"]},
        augmented_features={"stage2": pair.augmented_features["stage2"]},
    )
    torch.testing.assert_close(loss(pair), loss(one))


BAD = [
    (
        {"terms": "clean+fmaa"},
        "loss.terms: must be names joined by +, got 'clean+fmaa' with 'fmaa'. Did you mean fma?",
    ),
    (
        {"terms": "clean++fma"},
        "loss.terms: must be names joined by +, got 'clean++fma' with ''. "
        "Known: clean, da, st, fma.",
    ),
    (
        {"terms": ""},
        "loss.terms: must be names joined by +, got '' with ''. Known: clean, da, st, fma.",
    ),
    (
        {"terms": "clean + fma"},
        "loss.terms: must be names joined by +, got 'clean + fma' with 'clean '. "
        "Did you mean clean?",
    ),
    (
        {"terms": "clean+fma+clean"},
        "loss.terms: a term may stand once, got 'clean+fma+clean' with clean twice. "
        "Remove one and set loss.clean.weight.",
    ),
    (
        {"terms": "clean+st", "clean": {"weight": 0.0}, "st": {"weight": 0.0}},
        "loss.terms: one weight must be above 0, got 0 for all of clean+st. "
        "Raise loss.clean.weight.",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stage"]}},
        "loss.fma.layers: must be taps of the model, got 'stage'. Did you mean stage3?",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stem", "stem"]}},
        "loss.fma.layers: a layer may stand once, got stem twice. "
        "Raise its weight in loss.fma.layer_weights.",
    ),
    (
        {"terms": "fma", "fma": {"layer_weights": {"stam": 0.0, "stage1": 1.0}}},
        "loss.fma.layer_weights: must be taps of the model, got 'stam'. Did you mean stem?",
    ),
    (
        {"terms": "fma", "fma": {"layers": ["stem"], "layer_weights": {"stage3": 1.0}}},
        "loss.fma.layer_weights: must name the layers in use, got 'stage3'. Did you mean stem?",
    ),
    (
        {"terms": "fma", "fma": {"layer_weights": {"stem": 0.0}}},
        "loss.fma.layer_weights: one weight must be above 0, got {'stem': 0.0}. "
        "Leave layer_weights out for equal weights.",
    ),
    (
        {"terms": "fma", "fma": {"distance": "l2"}},
        "loss.fma.distance: must be a registered distance, got 'l2'. Known: relative, mse, cosine.",
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


def test_a_model_without_taps_has_no_fma() -> None:
    with pytest.raises(ParameterError) as caught:
        build_loss(LossSettings(terms="clean+fma"), ())
    assert str(caught.value) == "loss.fma.layers: needs at least one layer, got none. Name a tap."
