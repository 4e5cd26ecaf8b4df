"""Effects, by hand: pairs, weights, tests, intervals, claims; runs that failed, and none at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_results import (
    BLUR,
    DIED,
    IMPULSE,
    NOISE,
    ROBUST,
    Example,
    Run,
    make_example,
    make_scored,
    make_scores,
    minus,
)
from scipy import stats

from ablate.ablation.cell import Arm, Claim, Contrast, difference
from ablate.ablation.designs.factorial import effect as factorial_effect
from ablate.ablation.effects import Margin
from ablate.ablation.intervals import OVER_SEEDS, OVER_SEEDS_AND_IMAGES, crossed_interval
from ablate.robustness.bits import image_shares, unpack_bits
from ablate.study.scores import ReportedScores

FIRST, SECOND = minus("FMA"), minus("ST")
LOOP: dict[str, Any] = {
    "trainable": "loop:train",
    "objectives": [{"metric": "loss", "direction": "minimize"}, {"metric": "accuracy"}],
}
CLAIMS = (Claim("FMA - plain", ROBUST), Claim("ST - plain", ROBUST))


def of_robust(**cells: Sequence[float]) -> Example:
    """Cells by their robust accuracy at each seed."""
    return make_example({name: [make_scores(one) for one in row] for name, row in cells.items()})


def of_gains(**gains: Sequence[float]) -> Example:
    """Cells by what they have over `plain`, which goes up and down with the seed."""
    count = len(next(iter(gains.values())))
    plain = [0.5 + 0.03 * (place % 3) for place in range(count)]
    cells = {
        name: [base + gain for base, gain in zip(plain, row, strict=True)]
        for name, row in gains.items()
    }
    return of_robust(plain=plain, **cells)


# -- numbers --------------------------------------------------------------------------------


def test_differences_are_within_pairs() -> None:
    example = of_robust(plain=[0.50, 0.60, 0.70], FMA=[0.53, 0.62, 0.74])
    found = example.effect(FIRST)
    # .03, .02, .04: sd .01, t of 2 degrees of freedom 4.30265; unpaired the sd would be .1.
    half = 4.30265 * 0.01 / math.sqrt(3)
    estimate = found.estimate
    assert (estimate.mean, estimate.sd) == (pytest.approx(0.03), pytest.approx(0.01))
    assert estimate.low == pytest.approx(0.03 - half, abs=1e-6)
    assert estimate.high == pytest.approx(0.03 + half, abs=1e-6)
    assert (estimate.n, estimate.method) == (3, OVER_SEEDS)
    assert (found.p, found.least_p, found.is_exact) == (2 / 8, 2 / 8, True)
    assert (found.contrast, found.kind, found.metric) == ("FMA - plain", "difference", ROBUST)
    assert (found.verdict, found.p_adjusted, found.primary) == ("exploratory", None, False)
    assert (found.kept, found.missing) == (None, ())


def test_the_order_of_the_rows_does_not_matter() -> None:
    example = of_robust(plain=[0.50, 0.60, 0.70], FMA=[0.53, 0.62, 0.74])
    turned = replace(example.record, rows=example.record.rows[::-1])
    assert replace(example, record=turned).effect(FIRST) == example.effect(FIRST)


def test_an_arm_of_several_models_is_their_mean() -> None:
    example = of_robust(
        plain=[0.40, 0.50], noise=[0.50, 0.70], blur=[0.60, 0.80], weather=[0.70, 0.60]
    )
    single = Arm("DA single", ("noise", "blur", "weather"))
    contrast = difference(single, Arm("plain", ("plain",)))
    assert contrast.weights == {"noise": 1 / 3, "blur": 1 / 3, "weather": 1 / 3, "plain": -1.0}
    estimate = example.effect(contrast).estimate
    # .6 - .4 and .7 - .5.
    assert (estimate.mean, estimate.sd) == (pytest.approx(0.2), pytest.approx(0, abs=1e-12))


def test_cells_of_both_arms_cancel() -> None:
    example = of_robust(noise=[0.5, 0.7], blur=[0.6, 0.8], weather=[math.nan, 0.9])
    both = difference(Arm("a", ("noise", "weather")), Arm("b", ("blur", "weather")))
    found = example.effect(both)
    assert found.estimate.mean == pytest.approx(-0.05)
    assert (found.estimate.n, found.missing) == (2, ())  # the cell that is in neither is not asked


@pytest.mark.parametrize("with_bits", [False, True])
def test_a_factorial_of_two_by_two(with_bits: bool) -> None:
    names, a, b = ["neither", "a", "b", "both"], [-1, 1, -1, 1], [-1, -1, 1, 1]
    if with_bits:
        random = np.random.default_rng(0)
        cells = {name: [make_scored(random, 0.6) for _ in range(2)] for name in names}
        low, one, other, both = (
            [run.scores.metrics()[ROBUST] for run in cells[name]] for name in names
        )
        example = make_example(cells)
    else:
        low, one, other, both = [0.50, 0.52], [0.54, 0.55], [0.51, 0.55], [0.61, 0.60]
        example = of_robust(**dict(zip(names, (low, one, other, both), strict=True)))
    product = [left * right for left, right in zip(a, b, strict=True)]
    effects = example.effects(
        [
            factorial_effect("a", "main effect", a, names),
            factorial_effect("b", "main effect", b, names),
            factorial_effect("a * b", "interaction", product, names),
        ]
    )
    assert [effect.kind for effect in effects] == ["main effect", "main effect", "interaction"]
    means = [effect.estimate.mean for effect in effects]
    by_hand = [
        np.mean([(one[k] + both[k]) / 2 - (low[k] + other[k]) / 2 for k in (0, 1)]),
        np.mean([(other[k] + both[k]) / 2 - (low[k] + one[k]) / 2 for k in (0, 1)]),
        np.mean([((both[k] - other[k]) - (one[k] - low[k])) / 2 for k in (0, 1)]),
    ]
    assert means == pytest.approx(by_hand, abs=1e-12)
    if not with_bits:
        # (.07 + .04) / 2; (.04 + .04) / 2; (.03 + .01) / 2.
        assert means == pytest.approx([0.055, 0.04, 0.02])
        assert [effect.estimate.sd for effect in effects] == pytest.approx(
            [0.03 / math.sqrt(2), 0.0, 0.02 / math.sqrt(2)], abs=1e-12
        )


def test_p_is_that_of_scipy() -> None:
    gains = np.random.default_rng(1).normal(0.01, 0.02, 8)
    found = of_gains(FMA=gains.tolist()).effect(FIRST)
    expected = stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert found.p > 0.02


def test_what_floating_point_leaves_is_no_difference() -> None:
    # Six models that get everything right: six times 1/6 is not 1, eight times alike.
    names = [f"model {place}" for place in range(6)]
    cells: dict[str, list[Run]] = {name: [make_scores(1.0)] * 8 for name in ("plain", *names)}
    single = difference(Arm("single", tuple(names)), Arm("plain", ("plain",)))
    (found,) = make_example(cells).effects([single], claims=[Claim(single.name, ROBUST)])
    assert (found.estimate.mean, found.p, found.verdict) == (0.0, 1.0, "not shown")
    random = np.random.default_rng(0)
    with_bits = {name: [make_scored(random, 1.0)] * 8 for name in ("plain", *names)}
    found = make_example(with_bits).effect(single)
    assert found.estimate.method == OVER_SEEDS_AND_IMAGES
    assert (found.estimate.low, found.estimate.high, found.p) == (0.0, 0.0, 1.0)


# -- intervals ------------------------------------------------------------------------------


def with_bits(names: Sequence[str], count: int = 4, seed: int = 0) -> dict[str, list[Run]]:
    random = np.random.default_rng(seed)
    return {
        name: [make_scored(random, 0.5 + 0.1 * place) for _ in range(count)]
        for place, name in enumerate(names)
    }


@pytest.mark.parametrize("metric", [ROBUST, "val_clean_accuracy", "val_accuracy.noise"])
def test_with_bits_the_interval_is_over_seeds_and_images(metric: str) -> None:
    example = make_example(with_bits(["plain", "FMA"]))
    found = example.effect(FIRST, metric)
    shares = {}
    for cell in ("plain", "FMA"):
        rows = example.results().rows(cell)
        scores = rows[0].scores
        bits = unpack_bits([example.outcomes[row.number]["val"] for row in rows], scores)  # type: ignore[arg-type]
        shares[cell] = image_shares(bits, scores, metric)  # type: ignore[arg-type]
    expected = crossed_interval(shares["FMA"] - shares["plain"])  # type: ignore[operator]
    assert found.estimate.method == OVER_SEEDS_AND_IMAGES
    assert found.estimate == expected
    # The same mean as that of the scores.
    results = example.results()
    differences = results.values("FMA", metric) - results.values("plain", metric)
    assert found.estimate.mean == pytest.approx(differences.mean(), abs=1e-12)
    assert found.estimate.sd == pytest.approx(differences.std(ddof=1), abs=1e-12)


def test_without_bits_of_one_run_it_is_over_seeds() -> None:
    example = make_example(with_bits(["plain", "FMA", "ST"]))
    one = next(row.number for row in example.record.rows if row.cell == "FMA")
    kept = {number: text for number, text in example.outcomes.items() if number != one}
    first, second = replace(example, outcomes=kept).effects([FIRST, SECOND])
    assert (first.estimate.method, first.estimate.n) == (OVER_SEEDS, 4)
    assert second.estimate.method == OVER_SEEDS_AND_IMAGES


def test_what_is_no_mean_over_images_is_over_seeds() -> None:
    example = make_example(with_bits(["plain", "FMA"]))
    assert example.effect(FIRST, "train_seconds").estimate.method == OVER_SEEDS


def test_images_that_are_too_many_to_keep_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    example = make_example(with_bits(["plain", "FMA"]))
    kept = example.effect(FIRST)
    monkeypatch.setattr("ablate.ablation.results._KEPT_BITS", 0)
    assert example.effect(FIRST) == kept


# -- runs that are not there ----------------------------------------------------------------


@pytest.mark.parametrize("bits", [False, True])
def test_a_failed_run_leaves_its_pair_out_and_is_named(bits: bool) -> None:
    runs = with_bits(["plain", "FMA", "ST"])
    if not bits:
        runs = {name: [one.scores for one in row] for name, row in runs.items()}  # type: ignore[union-attr]
    whole = make_example(runs)
    holed = make_example({**runs, "FMA": [*runs["FMA"][:2], DIED, runs["FMA"][3]]})
    first, second = holed.effects([FIRST, SECOND])
    assert first.missing == ("seed 3 of FMA",)
    assert first.estimate.n == 3
    assert first.least_p == 2 / 8
    results = whole.results()
    differences = results.values("FMA", ROBUST) - results.values("plain", ROBUST)
    assert first.estimate.mean == pytest.approx(differences[[0, 1, 3]].mean())
    assert second == whole.effect(SECOND)


def test_all_that_is_missing_of_a_pair_is_named() -> None:
    example = make_example(
        {
            "plain": [make_scores(0.5), None, make_scores(0.5), make_scores(0.6)],
            "FMA": [DIED, make_scores(0.6), None, make_scores(0.6)],
        }
    )
    found = example.effect(FIRST)
    assert found.missing == ("seed 1 of FMA", "seed 2 of plain", "seed 3 of FMA")
    assert (found.estimate.n, found.estimate.method, found.p) == (1, "none", 1.0)


def test_one_seed_gives_a_difference_and_no_interval() -> None:
    for runs in (
        with_bits(["plain", "FMA"], 1),
        {"plain": [make_scores()], "FMA": [make_scores()]},
    ):
        found = make_example(runs).effect(FIRST)
        assert (found.estimate.n, found.estimate.method) == (1, "none")
        assert math.isfinite(found.estimate.mean)
        assert math.isnan(found.estimate.low)
        assert (found.p, found.least_p) == (1.0, 1.0)


@pytest.mark.parametrize("run", [None, DIED])
def test_no_run_has_ended_well(run: Run) -> None:
    example = make_example({"plain": [run] * 2, "FMA": [run] * 2})
    (found,) = example.effects([FIRST], claims=CLAIMS[:1], margin=Margin(ROBUST, 0.01))
    assert (found.estimate.n, found.estimate.method) == (0, "none")
    assert math.isnan(found.estimate.mean)
    assert math.isnan(found.p)
    assert found.p_adjusted is not None
    assert math.isnan(found.p_adjusted)
    assert found.verdict == "too few seeds"
    assert found.kept is not None
    assert found.kept.kept is None
    assert len(found.missing) == 4


def test_no_row_is_planned_yet() -> None:
    example = make_example({"plain": [None], "FMA": [None]}, baseline=make_scores(0.4))
    empty = replace(example, record=replace(example.record, rows=()))
    found = empty.effect(FIRST)
    assert (found.estimate.n, found.missing) == (0, ())
    assert empty.results().metrics() == []


def test_a_metric_that_is_not_finite_leaves_its_pair_out() -> None:
    def loop(loss: float) -> ReportedScores:
        return ReportedScores({"loss": loss, "accuracy": 0.5})

    example = make_example(
        {
            "plain": [loop(0.3), loop(0.4), loop(0.5)],
            "FMA": [loop(0.1), loop(math.nan), loop(math.inf)],
        },
        **LOOP,
    )
    found = example.effect(FIRST, "loss")
    assert (found.estimate.n, found.estimate.mean) == (1, pytest.approx(-0.2))
    assert found.missing == ("seed 2 of FMA", "seed 3 of FMA")
    assert example.effect(FIRST, "accuracy").estimate.n == 3


# -- claims ---------------------------------------------------------------------------------


def test_holm_is_over_the_declared_claims_alone() -> None:
    eight = [0.02, 0.03, 0.04, 0.02, 0.03, 0.04, 0.02, 0.03]
    mixed = [0.02, 0.03, 0.04, 0.02, 0.03, 0.04, -0.01, 0.03]
    example = of_gains(FMA=eight, ST=mixed, DA=eight)
    contrasts = [FIRST, SECOND, minus("DA")]
    effects = example.effects(contrasts, [ROBUST, "val_clean_accuracy"], CLAIMS)
    assert len(effects) == 6
    first, second = (effect for effect in effects if effect.primary)
    assert (first.contrast, second.contrast) == ("FMA - plain", "ST - plain")
    assert (first.p, second.p) == (2 / 256, 4 / 256)
    assert (first.p_adjusted, second.p_adjusted) == (2 * 2 / 256, 4 / 256)
    assert (first.verdict, second.verdict) == ("better", "better")
    rest = [effect for effect in effects if not effect.primary]
    assert {effect.verdict for effect in rest} == {"exploratory"}
    # A third one makes the first two harder to claim.
    three = example.effects(contrasts, [ROBUST], [*CLAIMS, Claim("DA - plain", ROBUST)])
    assert [one.p_adjusted for one in three] == [3 * 2 / 256, 4 / 256 * 2 * 0.75, 3 * 2 / 256]


def test_worse_and_not_shown() -> None:
    worse = [-0.02, -0.03, -0.04, -0.02, -0.03, -0.04, -0.02, -0.03]
    nothing = [0.02, -0.03, 0.04, -0.02, 0.03, -0.04, 0.02, -0.03]
    effects = of_gains(FMA=worse, ST=nothing).effects([FIRST, SECOND], claims=CLAIMS)
    assert [one.verdict for one in effects] == ["worse", "not shown"]


def test_of_a_cost_less_is_better() -> None:
    cells: dict[str, list[Run]] = {
        "plain": [make_scores(train_seconds=10.0 + place) for place in range(8)],
        "FMA": [make_scores(train_seconds=12.0 + 1.1 * place) for place in range(8)],
    }
    claim = Claim("FMA - plain", "train_seconds")
    (found,) = make_example(cells).effects([FIRST], [], [claim], minimized=["train_seconds"])
    assert (found.estimate.mean, found.verdict) == (pytest.approx(2.35), "worse")


@pytest.mark.parametrize(("seeds", "verdict"), [(5, "too few seeds"), (8, "better")])
def test_few_seeds_cannot_show_two_claims(seeds: int, verdict: str) -> None:
    gains = [0.02 + 0.001 * place for place in range(seeds)]
    effects = of_gains(FMA=gains, ST=gains).effects([FIRST, SECOND], claims=CLAIMS)
    assert [one.verdict for one in effects] == [verdict, verdict]
    assert [one.least_p for one in effects] == [2 / 2**seeds] * 2
    assert [one.p_adjusted for one in effects] == [4 / 2**seeds] * 2


def test_one_claim_of_five_seeds_is_too_few_and_of_six_enough() -> None:
    for seeds, verdict in ((5, "too few seeds"), (6, "better")):
        (found,) = of_gains(FMA=[0.02] * seeds).effects([FIRST], claims=CLAIMS[:1])
        assert found.verdict == verdict


@pytest.mark.parametrize(("gain", "verdict"), [(0.02, "better"), (-0.02, "not shown")])
def test_a_claim_of_fewer_pairs_than_another_can_be_shown(gain: float, verdict: str) -> None:
    # Least p of 6 pairs .031, of 8 .0078: Holm asks .025 of the smaller one alone.
    example = of_gains(FMA=[0.02] * 8, ST=[gain, 0.02, 0.03, 0.02, 0.03, 0.02, 0.0, 0.0])
    rows = tuple(
        replace(row, state="FAIL", scores=None, failure=DIED)
        if row.cell == "ST" and row.pair in (6, 7)
        else row
        for row in example.record.rows
    )
    holed = replace(example, record=replace(example.record, rows=rows))
    first, second = holed.effects([FIRST, SECOND], claims=CLAIMS)
    assert (first.p_adjusted, first.verdict) == (4 / 256, "better")
    assert (second.estimate.n, second.least_p, second.verdict) == (6, 2 / 64, verdict)


def test_a_claim_that_could_not_be_tested_is_still_one_of_those_declared() -> None:
    example = of_gains(FMA=[0.02] * 8, ST=[0.02] * 8)
    rows = tuple(
        replace(row, state="FAIL", scores=None, failure=DIED) if row.cell == "ST" else row
        for row in example.record.rows
    )
    holed = replace(example, record=replace(example.record, rows=rows))
    first, second = holed.effects([FIRST, SECOND], claims=CLAIMS)
    assert (first.p, first.p_adjusted) == (2 / 256, 4 / 256)
    assert math.isnan(second.p_adjusted or 0.0)
    assert second.verdict == "too few seeds"


def test_a_claim_on_one_severity() -> None:
    cells: dict[str, list[Run]] = {
        name: [make_scores(0.5 + gain + 0.01 * place) for place in range(8)]
        for name, gain in (("plain", 0.0), ("FMA", 0.1), ("ST", 0.2))
    }
    metric = f"val_accuracy.{NOISE}.5"
    effects = make_example(cells).effects([FIRST, SECOND], [ROBUST], [Claim("FMA - plain", metric)])
    # It is of no table, and so of no other contrast.
    assert [(one.contrast, one.metric, one.verdict) for one in effects] == [
        ("FMA - plain", ROBUST, "exploratory"),
        ("FMA - plain", metric, "better"),
        ("ST - plain", ROBUST, "exploratory"),
    ]
    assert effects[1].estimate.mean == pytest.approx(0.1)


def test_a_contrast_that_is_about_some_metrics() -> None:
    example = of_gains(FMA=[0.02] * 3, ST=[0.02] * 3)
    about = Contrast("seen noise", FIRST.weights, metrics=("val_accuracy.noise",))
    effects = example.effects([SECOND, about], [ROBUST, "val_accuracy.noise"])
    found = [(one.contrast, one.metric) for one in effects]
    assert found == [
        ("ST - plain", ROBUST),
        ("ST - plain", "val_accuracy.noise"),
        ("seen noise", "val_accuracy.noise"),
    ]


# -- what is kept ---------------------------------------------------------------------------


def test_what_is_kept() -> None:
    losses = {"FMA": (-0.004, -0.001, 0.002, -0.002, 0.001), "ST": (-0.01, -0.02, -0.03, -0.01, 0)}
    cells: dict[str, list[Run]] = {"plain": [make_scores(clean=0.9)] * 5}
    for name, row in losses.items():
        cells[name] = [make_scores(clean=0.9 + loss) for loss in row]
    clean = "val_clean_accuracy"
    effects = make_example(cells).effects(
        [FIRST, SECOND], [clean, ROBUST], margin=Margin(clean, 0.005)
    )
    first, _, second, other = effects
    assert first.kept is not None
    assert second.kept is not None
    assert (first.kept.kept, first.kept.p, first.kept.margin) == (True, 1 / 32, 0.005)
    assert first.kept.low == first.estimate.low
    assert (second.kept.kept, second.kept.p) == (False, pytest.approx(31 / 32))
    assert (other.metric, other.kept) == (ROBUST, None)


def test_what_is_kept_of_a_metric_that_is_minimised() -> None:
    def cells(gain: float) -> dict[str, list[Run]]:
        reported = {"plain": (0.30, 0.40, 0.50, 0.60, 0.70)}
        reported["FMA"] = tuple(
            loss + gain + wiggle
            for loss, wiggle in zip(reported["plain"], (0, 0.01, -0.01, 0.005, 0), strict=True)
        )
        return {
            name: [ReportedScores({"loss": one}) for one in row] for name, row in reported.items()
        }

    for gain, kept in ((0.0, True), (0.2, False), (-0.2, True)):
        example = make_example(cells(gain), **LOOP)
        (found,) = example.effects(
            [FIRST], ["loss"], margin=Margin("loss", 0.05), minimized=["loss"]
        )
        assert found.estimate.mean == pytest.approx(gain + 0.001)
        assert found.kept is not None
        assert found.kept.kept is kept, gain
        assert found.kept.low == pytest.approx(-found.estimate.high)
        assert found.kept.p == (1 / 32 if kept else 1.0)


def test_what_is_kept_of_one_severity() -> None:
    example = of_gains(FMA=[0.02] * 5)
    metric = f"val_accuracy.{BLUR}.5"
    effects = example.effects([FIRST], [ROBUST], margin=Margin(metric, 0.05))
    assert [(one.metric, one.kept is None) for one in effects] == [(ROBUST, True), (metric, False)]


# -- the one baseline -----------------------------------------------------------------------


def test_the_one_baseline_is_the_same_at_every_seed() -> None:
    example = make_example(
        {"plain": [make_scores(0.50), make_scores(0.52), make_scores(0.54)]},
        baseline=make_scores(0.48),
    )
    found = example.effect(minus("baseline"))
    assert (found.estimate.mean, found.estimate.sd) == (pytest.approx(-0.04), pytest.approx(0.02))
    assert (found.estimate.n, found.estimate.method, found.missing) == (3, OVER_SEEDS, ())


def test_the_one_baseline_image_by_image() -> None:
    runs = with_bits(["plain"])
    baseline = make_scored(np.random.default_rng(9), 0.4)
    example = make_example(runs, baseline=baseline)
    found = example.effect(minus("baseline"))
    assert (found.estimate.method, found.estimate.n) == (OVER_SEEDS_AND_IMAGES, 4)
    robust = baseline.scores.metrics()[ROBUST]
    differences = robust - example.results().values("plain", ROBUST)
    assert found.estimate.mean == pytest.approx(differences.mean())
    without = replace(example, baseline={})
    assert without.effect(minus("baseline")).estimate.method == OVER_SEEDS


def test_a_baseline_a_seed_is_a_cell_as_any_other() -> None:
    example = make_example(
        {"baseline": [make_scores(0.40), make_scores(0.50)], "plain": [make_scores(0.6)] * 2},
        baseline=make_scores(0.1),
    )
    assert not example.results().is_fixed("baseline")
    assert example.effect(minus("baseline")).estimate.mean == pytest.approx(-0.15)


def test_no_baseline_is_known() -> None:
    example = make_example({"plain": [make_scores(0.5)] * 2})
    assert not example.results().is_fixed("baseline")
    found = example.effect(minus("baseline"))
    assert found.missing == ("seed 1 of baseline", "seed 2 of baseline")


# -- what was seen --------------------------------------------------------------------------

ON_NOISE = {
    "seen_types": (NOISE,),
    "exposure": {NOISE: "seen_type", IMPULSE: "seen_family", BLUR: "unseen"},
}
NOTHING_SEEN = {"exposure": {NOISE: "unseen", IMPULSE: "unseen", BLUR: "unseen"}}


@pytest.mark.parametrize("bits", [False, True])
def test_exposures_are_compared_over_the_same_types(bits: bool) -> None:
    random = np.random.default_rng(0)
    rates = ({NOISE: 0.9, IMPULSE: 0.6, BLUR: 0.5}, {NOISE: 0.2, IMPULSE: 0.3, BLUR: 0.45})
    seen = (ON_NOISE, NOTHING_SEEN)
    runs: dict[str, list[Run]] = {
        name: [
            make_scored(random, of, **fields) if bits else make_scores(types=of, **fields)
            for _ in range(3)
        ]
        for name, of, fields in zip(("FMA", "plain"), rates, seen, strict=True)
    }
    example = make_example(runs)
    results = example.results()
    for exposure, kind in (("seen_type", NOISE), ("seen_family", IMPULSE), ("unseen", BLUR)):
        found = example.effect(FIRST, f"val_robust_accuracy_{exposure}")
        metric = f"val_accuracy.{kind}"
        differences = results.values("FMA", metric) - results.values("plain", metric)
        assert found.estimate.mean == pytest.approx(differences.mean()), exposure
        assert found.estimate.method == (OVER_SEEDS_AND_IMAGES if bits else OVER_SEEDS)
    # The plain finetune's own mean over what it has not seen is over all three.
    own = results.values("plain", "val_robust_accuracy_unseen")
    assert own[0] == pytest.approx(np.mean([results.values("plain", m)[0] for m in _TYPES]))
    turned = example.effect(minus("plain", "FMA"), "val_robust_accuracy_unseen")
    differences = np.mean([results.values("plain", m) - results.values("FMA", m) for m in _TYPES])
    assert turned.estimate.mean == pytest.approx(differences)


_TYPES = tuple(f"val_accuracy.{kind}" for kind in (NOISE, IMPULSE, BLUR))


def test_a_mean_over_types_that_nobody_has_seen_is_not_compared() -> None:
    example = make_example(
        {
            "plain": [make_scores(**NOTHING_SEEN)] * 3,  # type: ignore[arg-type]
            "FMA": [make_scores(**ON_NOISE)] * 3,  # type: ignore[arg-type]
            "ST": [make_scores(**NOTHING_SEEN)] * 3,  # type: ignore[arg-type]
        }
    )
    seen = "val_robust_accuracy_seen_type"
    assert [one.contrast for one in example.effects([FIRST, SECOND], [seen])] == ["FMA - plain"]
    # Models that have seen different types, and effects of factors, have no types in common.
    several = difference(Arm("several", ("FMA", "ST")), Arm("plain", ("plain",)))
    main = Contrast("a", FIRST.weights, "main effect")
    assert example.effects([several, main], ["val_robust_accuracy_unseen"]) == ()
    # What was declared is there all the same, and says nothing.
    for contrast in (SECOND, several, main):
        (found,) = example.effects([contrast], [], [Claim(contrast.name, seen)])
        assert (found.estimate.n, found.verdict, found.missing) == (0, "too few seeds", ())
