"""What an ablation may claim, as it is printed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from example_ablations import (
    CLEAN,
    NOISE,
    NOTHING,
    example_ablation,
    example_effect,
    factorial_ablation,
    kept,
    own_loop_ablation,
)
from printed_ablations import row, said
from printed_tables import lines

from ablate.ablation.intervals import OVER_SEEDS, Components
from ablate.report.effects import p_text, shown_effects
from ablate.report.terminal.ablation import effects_table


def test_primary_contrasts_with_what_they_allow() -> None:
    table = effects_table(example_ablation())
    printed = lines(table)
    assert printed[0] == "example: 2 primary contrasts, 4 exploratory effects"
    assert "Contrast On Difference p Adjusted p Verdict Kept" in printed
    first = "DA - plain robust +14.5 [+12.5, +16.5] .062 .062 not shown not shown (bound -3.0)"
    second = "FMA - plain robust +16.3 [+14.3, +18.3] .0078 .016 better yes (p .0039)"
    third = "baseline - plain robust -1.0 [-3.0, +1.0] .0078 - exploratory -"
    assert [printed.index(line) for line in (first, second)] == [4, 5]
    assert printed.index(third) == 6
    assert "FMA - plain clean -0.5 [-2.5, +1.5] .0078 - exploratory -" in printed
    assert not any("noise" in line for line in printed)


def test_what_stands_under_the_effects() -> None:
    text = said(effects_table(example_ablation()))
    for note in (
        "validation accuracy in %, n = 359 images",
        "differences of accuracies in points",
        "brackets: 95 % interval, t over seeds and images (of new seeds on new images)",
        "p: two-sided, from the model of the interval",
        "exact sign flips over seeds, under exchangeability within a seed, on these images: p "
        "DA - plain .0078; FMA - plain .0078",
        "adjusted: Holm over 2 primary contrasts; a claim needs less than .05",
        "kept: clean is worse by less than 2 points, at its interval's bound; p: one-sided, from "
        "the same model, not adjusted",
        "study example, fingerprint abc123def456",
    ):
        assert note in text


def test_claims_on_several_metrics_are_told_apart_in_the_notes() -> None:
    claim = {
        "p_adjusted": 0.01,
        "verdict": "better",
        "components": Components(0.004, 0.07, 0.04, 8),
        "n_images": 359,
    }
    effects = (
        example_effect("DA - plain", 0.1, **claim),
        example_effect("DA - plain", 0.1, metric=CLEAN, p_seeds=0.125, **claim),
    )
    text = said(effects_table(example_ablation(effects=effects)))
    assert "p DA - plain on robust .0078; DA - plain on clean .125" in text
    assert "seeds for 80 % power on 359 images, DA - plain on clean: 0.5 points: no number" in text


def test_intervals_of_both_kinds_are_told() -> None:
    effects = (
        example_effect("DA - plain", 0.1),
        example_effect("FMA - plain", 0.1, method=OVER_SEEDS),
    )
    assert (
        "t over seeds and images (of new seeds on new images) or t over seeds (of new seeds on "
        "these images)"
    ) in said(effects_table(example_ablation(effects=effects)))


def test_exploratory_only() -> None:
    effects = (example_effect("DA - plain", 0.1, kept=kept()),)
    table = effects_table(example_ablation(effects=effects))
    assert lines(table)[0] == "example: 1 exploratory effect"
    assert "Contrast On Difference p Verdict" in lines(table)
    assert "DA - plain robust +10.0 [+8.0, +12.0] .0078 exploratory" in lines(table)
    text = said(table)
    assert "no contrast was declared primary: all are exploratory and support no claim" in text
    assert "Holm" not in text
    assert "kept" not in text


def test_too_few_seeds_say_how_many_a_claim_needs() -> None:
    claim = {"p": 0.125, "n": 2, "p_adjusted": 0.25, "verdict": "too few seeds"}
    effects = (
        example_effect("DA - plain", 0.1, **claim),
        example_effect("FMA - plain", 0.1, **claim),
    )
    table = effects_table(example_ablation(effects=effects, seeds=2))
    assert row(table, "DA - plain").endswith(".125 .25 too few seeds: a claim needs 3")
    unknown = {"p": math.nan, "p_adjusted": math.nan, "p_seeds": None}
    nothing = replace(effects[0], estimate=NOTHING, **unknown)
    table = effects_table(example_ablation(effects=(nothing,), seeds=2))
    assert row(table, "DA - plain") == ("DA - plain robust 0 too few seeds: a claim needs 3")
    assert "p: two-sided" not in said(table)
    assert "sign flips" not in said(table)


def test_a_claim_of_fewer_seeds_than_another_has_its_n() -> None:
    effects = (
        example_effect("DA - plain", 0.1, p_adjusted=0.015625, verdict="better"),
        example_effect("FMA - plain", 0.1, n=5, p=0.0625, p_adjusted=0.0625, verdict="not shown"),
    )
    table = effects_table(example_ablation(effects=effects))
    assert row(table, "FMA - plain").endswith("[+8.0, +12.0] 5 .062 .062 not shown")
    assert "n" in lines(table)[2].split()
    assert "p DA - plain .0078; FMA - plain .062" in said(table)


def test_at_most_one_image_is_no_claim() -> None:
    effect = example_effect("DA - plain", 0.001, p_adjusted=0.01, verdict="at most one image")
    table = effects_table(example_ablation(effects=(effect,)))
    assert row(table, "DA - plain").endswith(".01 no claim: at most one image")


def test_kept_without_an_interval_or_of_another_unit() -> None:
    effects = (
        example_effect("c - a", 0.08, metric="loss", p_adjusted=0.0078125, verdict="worse"),
        example_effect("c - a", 2.0, metric="images/s", kept=kept(margin=0.5)),
        example_effect("b - a", 0.1, metric="loss", p_adjusted=0.0078125, verdict="worse"),
        example_effect("b - a", 2.0, metric="images/s", kept=replace(kept(), kept=None, p=1.0)),
        example_effect("d - a", 0.1, metric="loss", p_adjusted=0.0078125, verdict="worse"),
        example_effect("e - a", 0.1, metric="loss", p_adjusted=1.0, verdict="too few seeds", n=2),
        example_effect("e - a", 2.0, metric="images/s", kept=replace(kept(), kept=None), n=2),
        example_effect("d - a", -2.0, metric="images/s", kept=kept(-2.5, margin=0.5)),
    )
    table = effects_table(own_loop_ablation(effects=effects))
    assert row(table, "c - a").endswith("worse yes (p .0039)")
    assert row(table, "b - a").endswith("worse no interval")
    assert row(table, "e - a").endswith("too few seeds")
    assert row(table, "d - a").endswith("worse not shown (bound -2.5)")
    assert "kept: images/s is worse by less than 0.5, at" in said(table)
    assert "less is better: loss" in said(table)


@pytest.mark.parametrize(
    ("low", "text"),
    [(-0.02, "-2"), (-0.0204, "-2.04"), (-0.02004, "-2.004"), (-0.031, "-3.1"), (-0.12, "-12.0")],
)
def test_a_bound_that_fails_is_printed_beyond_the_margin(low: float, text: str) -> None:
    effects = (
        example_effect("DA - plain", 0.1, p_adjusted=0.01, verdict="better"),
        example_effect("DA - plain", -0.01, metric=CLEAN, kept=kept(low)),
    )
    table = effects_table(example_ablation(effects=effects))
    assert row(table, "DA - plain").endswith(f"better not shown (bound {text})")


def test_the_p_of_what_is_kept_is_below_a_fortieth_as_printed() -> None:
    effects = (
        example_effect("DA - plain", 0.1, p_adjusted=0.01, verdict="better"),
        example_effect("DA - plain", -0.01, metric=CLEAN, kept=kept(-0.01999, p=0.02497)),
    )
    table = effects_table(example_ablation(effects=effects))
    assert row(table, "DA - plain").endswith("better yes (p .02497)")


def test_where_there_is_no_interval_the_reason_is_said() -> None:
    fields = {"metric": "loss", "method": OVER_SEEDS}
    equal = replace(NOTHING, mean=-0.3, sd=0.0, n=8)
    effects = (
        replace(example_effect("b - a", 0.1, p=math.nan, **fields), estimate=equal),
        example_effect("c - a", 0.1, None, n=1, p=math.nan, **fields),
    )
    text = said(effects_table(own_loop_ablation(effects=effects)))
    assert "8 equal seeds: no interval (how seeds vary is not known)" in text
    assert "1 seed: no interval (how seeds vary is not known)" in text
    assert "brackets" not in text


def test_effects_of_factors_come_first() -> None:
    table = effects_table(factorial_ablation())
    order = [line for line in lines(table) if "[" in line]
    assert [line.split(" robust")[0].split(" clean")[0] for line in order] == [
        "fma", "st", "fma * st", "fma", "with both - with fma, without st",
    ]  # fmt: skip


def test_aliases_stand_under_the_effects() -> None:
    info = factorial_ablation(aliases=("resolution 3, 4 of 8 runs", "fma = st * layers"))
    assert "aliases: resolution 3, 4 of 8 runs; fma = st * layers" in said(effects_table(info))


def test_drawn_sign_flips_are_told() -> None:
    effect = example_effect(
        "DA - plain", 0.1, n=20, p=0.00001, p_adjusted=0.00001, p_seeds=0.00002, is_exact=False
    )
    text = said(effects_table(example_ablation(effects=(effect,), seeds=20)))
    assert "100,000 sign flips drawn over seeds, under exchangeability" in text
    assert "on these images: p DA - plain <.0001" in text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "-"), (math.nan, "-"), (1.0, "1"), (0.5, ".5"), (0.0078125, ".0078"),
        (0.00012, ".00012"), (0.00009, "<.0001"), (0.0, "<.0001"), (0.05, ".05"),
        (0.0499, ".0499"), (0.04996, ".04996"), (0.0499999, ".0499999"), (0.0504, ".05"),
        (0.125, ".125"), (0.0995, ".1"), (0.1, ".1"), (0.62349, ".623"), (0.9996, "1"),
    ],
)  # fmt: skip
def test_a_p_stays_on_its_side_of_alpha(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_what_is_about_one_metric_alone_is_shown_on_that_one() -> None:
    unseen = example_effect("unseen noise: without noise - plain", 0.2, metric=NOISE)
    info = example_ablation(effects=(*example_ablation().effects, unseen))
    primary, others = shown_effects(info)
    assert unseen in others
    assert [one.metric for one in others if one.contrast == "FMA - plain"] == [CLEAN]
    assert len(primary) == 2
