"""Contrasts and verdicts in plain words, whose sign is that of the number beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_ablations import (
    CLEAN,
    example_ablation,
    example_effect,
    factorial_ablation,
    kept,
    scored_arm,
)

from ablate.ablation.info import AblationInfo
from ablate.report.words import as_contribution, contrast_words, verdict_words


def of_arms(*names: str, reference: str = "", **fields: object) -> AblationInfo:
    arms = tuple(scored_arm(name, 0.95, 0.7) for name in names)
    return example_ablation(arms=arms, reference=reference or names[0], effects=(), **fields)


@pytest.mark.parametrize(
    ("names", "contrast", "words"),
    [
        (("reference", "without fma"), "without fma - reference", "leaving out FMA"),
        (("DA+CA", "DA+FMA+CA"), "DA+FMA+CA - DA+CA", "adding FMA to DA+CA"),
        (("DA+CA", "ST+CA"), "ST+CA - DA+CA", "ST+CA against DA+CA"),
        (("baseline", "DA"), "DA - baseline", "DA against the baseline"),
        (("a - b", "c"), "a - b - c", "a - b against c"),
        (("plain", "+ da", "+ st", "+ fma"), "+ fma - plain", "adding DA, ST and FMA"),
        (
            ("all families", "plain", "without noise"),
            "unseen noise: without noise - plain",
            "gain on noise, not trained on",
        ),
        (("nothing", "all"), "elsewhere - nothing", "elsewhere - nothing"),
    ],
)
def test_words_of_a_contrast(names: tuple[str, ...], contrast: str, words: str) -> None:
    assert contrast_words(example_effect(contrast, 0.1), of_arms(*names)).text == words


@pytest.mark.parametrize(
    ("contrast", "kind", "words"),
    [
        ("fma", "main effect", "contribution of FMA"),
        ("distance", "main effect", "effect of distance"),
        ("st", "Shapley value", "contribution of ST"),
        ("fma * st", "interaction", "FMA and ST beyond their sum"),
        ("with both - with fma, without st", "step", "adding with both"),
    ],
)
def test_words_of_an_effect_of_factors(contrast: str, kind: str, words: str) -> None:
    effect = example_effect(contrast, 0.1, kind=kind)
    assert contrast_words(effect, factorial_ablation()).text == words


def test_a_part_left_out_is_turned_into_its_contribution() -> None:
    ablation = of_arms("reference", "without fma")
    effect = example_effect(
        "without fma - reference", -0.05, 0.02, p_adjusted=0.01, verdict="worse"
    )
    turned = as_contribution(effect, ablation)
    assert contrast_words(turned, ablation).text == "contribution of FMA"
    assert (turned.estimate.mean, turned.verdict) == (0.05, "better")
    assert turned.estimate.low == -effect.estimate.high
    assert turned.p_adjusted == effect.p_adjusted
    other = example_effect("DA - plain", 0.1)
    assert as_contribution(other, example_ablation()) is other
    margin = replace(ablation, effects=(replace(effect, metric=CLEAN, kept=kept()),))
    assert as_contribution(effect, margin) is effect, "what is kept is said of the smaller one"


def test_verdicts_in_words_have_both_parts() -> None:
    ablation = example_ablation()
    assert verdict_words(ablation.effect("FMA - plain", ablation.rank_metric), ablation).text == (
        "more robust; clean accuracy is kept"
    )
    assert verdict_words(ablation.effect("DA - plain", ablation.rank_metric), ablation).text == (
        "not shown to differ; a clean loss is not excluded"
    )
    assert (
        verdict_words(ablation.effect("baseline - plain", ablation.rank_metric), ablation).text
        == ""
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "better"}, "more robust"),
        ({"verdict": "worse", "metric": CLEAN}, "less accurate on clean images"),
        ({"verdict": "better", "metric": "loss"}, "better"),
        ({"verdict": "too few seeds"}, "too few seeds for a claim (3 needed)"),
        ({"verdict": "at most one image"}, "at most one image apart"),
        ({"verdict": "exploratory", "tuned": True}, "exploratory: tuned on these images"),
    ],
)
def test_words_of_a_verdict(changes: dict[str, object], words: str) -> None:
    effect = example_effect("a - b", 0.1, p_adjusted=0.01, **changes)  # type: ignore[arg-type]
    assert verdict_words(effect, of_arms("a", "b")).text == words
    if changes["verdict"] == "better":
        looked = of_arms("a", "b", looks=2)
        assert verdict_words(effect, looked).text == f"{words}, at 3 looks"


def test_equivalence_and_its_lack_are_other_words_than_those_of_a_difference() -> None:
    ablation = example_ablation(looks=1)
    same = example_effect(
        "DA - plain", 0.001, 0.005, p_adjusted=0.01, verdict="equivalent", equivalent_within=0.01
    )
    for effect, text in (
        (same, "equivalent within 1 point, at 2 looks"),
        (replace(same, verdict="not shown"), "not shown to be equivalent within 1 point"),
        (replace(same, verdict="not shown", equivalent_within=None), "not shown to differ"),
        (replace(same, metric="loss"), "equivalent within 0.01, at 2 looks"),
    ):
        assert verdict_words(effect, ablation).finding == text
