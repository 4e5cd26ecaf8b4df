"""Effects, by hand: pairs, weights, tests, intervals, claims, the best arms; runs that failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    images_right,
    make_example,
    make_scored,
    make_scores,
    minus,
    score_bits,
)
from recompute import Model, holm
from scipy import stats

from ablate.ablation.cell import Arm, Claim, Contrast, difference
from ablate.ablation.designs.factorial import effect as factorial_effect
from ablate.ablation.effects import MetricTable, tied_with_best
from ablate.ablation.intervals import OVER_SEEDS, OVER_SEEDS_AND_IMAGES
from ablate.ablation.results import Results
from ablate.robustness.bits import Outcomes, SetOutcomes
from ablate.study.scores import ReportedScores
from ablate.study.settings import NonInferiorSettings

FIRST, SECOND = minus("FMA"), minus("ST")


LOOP: dict[str, Any] = {
    "trainable": "loop:train",
    "objectives": [{"metric": "loss", "direction": "minimize"}, {"metric": "accuracy"}],
}


CLAIMS = (Claim("FMA - plain", ROBUST), Claim("ST - plain", ROBUST))


def kept_by(metric: str, margin: float) -> NonInferiorSettings:
    return NonInferiorSettings(metric=metric, margin=margin)


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


# -- numbers
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
    assert found.p == pytest.approx(stats.ttest_1samp([0.03, 0.02, 0.04], 0).pvalue)
    assert found.p_seeds is None  # of a claim alone
    assert (found.contrast, found.kind, found.metric) == ("FMA - plain", "difference", ROBUST)
    assert (found.verdict, found.p_adjusted, found.primary) == ("exploratory", None, False)
    assert (found.kept, found.missing) == (None, ())


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


def test_a_factorial_of_two_by_two() -> None:
    names, a, b = ["neither", "a", "b", "both"], [-1, 1, -1, 1], [-1, -1, 1, 1]
    runs = [0.50, 0.52], [0.54, 0.55], [0.51, 0.55], [0.61, 0.60]
    example = of_robust(**dict(zip(names, runs, strict=True)))
    product = [left * right for left, right in zip(a, b, strict=True)]
    effects = example.effects(
        [
            factorial_effect("a", "main effect", a, names),
            factorial_effect("b", "main effect", b, names),
            factorial_effect("a * b", "interaction", product, names),
        ]
    )
    assert [effect.kind for effect in effects] == ["main effect", "main effect", "interaction"]
    # (.07 + .04) / 2; (.04 + .04) / 2; (.03 + .01) / 2.
    assert [one.estimate.mean for one in effects] == pytest.approx([0.055, 0.04, 0.02])
    sds = [0.03 / math.sqrt(2), 0.0, 0.02 / math.sqrt(2)]
    assert [one.estimate.sd for one in effects] == pytest.approx(sds, abs=1e-12)


def test_what_floating_point_leaves_is_no_difference() -> None:
    # Six models that get everything right: six times 1/6 is not 1, eight times alike.
    names = [f"model {place}" for place in range(6)]
    cells: dict[str, list[Run]] = {name: [make_scores(1.0)] * 8 for name in ("plain", *names)}
    single = difference(Arm("single", tuple(names)), Arm("plain", ("plain",)))
    (found,) = make_example(cells).effects([single], claims=[Claim(single.name, ROBUST)])
    assert (found.estimate.mean, found.p_seeds, found.verdict) == (0.0, 1.0, "not shown")
    assert found.estimate.method == "none"
    random = np.random.default_rng(0)
    with_bits = {name: [make_scored(random, 1.0)] * 8 for name in ("plain", *names)}
    found = make_example(with_bits).effect(single)
    assert found.estimate.method == OVER_SEEDS_AND_IMAGES
    assert (found.estimate.mean, found.p) == (0.0, 1.0)
    assert found.estimate.low < 0 < found.estimate.high


# -- intervals
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
    fma, plain = (
        np.array(
            [
                images_right(example.outcomes[row.number]["val"], row.scores, metric)  # type: ignore[arg-type]
                for row in example.record.rows
                if row.cell == cell
            ]
        )
        for cell in ("FMA", "plain")
    )
    assert found.estimate.method == OVER_SEEDS_AND_IMAGES
    assert (found.estimate.low, found.estimate.high) == pytest.approx(Model(fma - plain).bounds())
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


# -- runs that are not there
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
    results = whole.results()
    differences = results.values("FMA", ROBUST) - results.values("plain", ROBUST)
    assert first.estimate.mean == pytest.approx(differences[[0, 1, 3]].mean())
    assert second == whole.effect(SECOND)


@pytest.mark.parametrize("run", [None, DIED])
def test_no_run_has_ended_well(run: Run) -> None:
    example = make_example({"plain": [run] * 2, "FMA": [run] * 2})
    (found,) = example.effects([FIRST], claims=CLAIMS[:1], margin=kept_by(ROBUST, 0.01))
    assert (found.estimate.n, found.estimate.method) == (0, "none")
    assert math.isnan(found.estimate.mean)
    assert math.isnan(found.p)
    assert found.p_adjusted is not None
    assert math.isnan(found.p_adjusted)
    assert found.verdict == "too few seeds"
    assert found.kept is not None
    assert found.kept.kept is None
    assert len(found.missing) == 4


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


# -- claims
EIGHT = [0.02, 0.03, 0.04, 0.02, 0.03, 0.04, 0.02, 0.03]
MIXED = [0.02, 0.03, 0.04, 0.02, 0.03, 0.04, -0.01, 0.03]


def test_holm_is_over_the_declared_claims_alone() -> None:
    example = of_gains(FMA=EIGHT, ST=MIXED, DA=EIGHT)
    contrasts = [FIRST, SECOND, minus("DA")]
    effects = example.effects(contrasts, [ROBUST, "val_clean_accuracy"], CLAIMS)
    assert len(effects) == 6
    first, second = (effect for effect in effects if effect.primary)
    assert (first.contrast, second.contrast) == ("FMA - plain", "ST - plain")
    ps = [float(stats.ttest_1samp(gains, 0).pvalue) for gains in (EIGHT, MIXED)]
    assert [first.p, second.p] == pytest.approx(ps)
    assert [first.p_adjusted, second.p_adjusted] == pytest.approx([2 * ps[0], ps[1]])
    assert (first.p_seeds, second.p_seeds) == (2 / 256, 4 / 256)
    assert (first.verdict, second.verdict) == ("better", "better")
    rest = [effect for effect in effects if not effect.primary]
    assert {effect.verdict for effect in rest} == {"exploratory"}
    # A third one makes the first two harder to claim.
    three = example.effects(contrasts, [ROBUST], [*CLAIMS, Claim("DA - plain", ROBUST)])
    assert [one.p_adjusted for one in three] == pytest.approx([3 * ps[0], ps[1], 3 * ps[0]])


def test_an_interval_ends_at_0_where_holm_rejects_what_bonferroni_does_not() -> None:
    # p .03 and less than .025: Holm asks .05 of the larger one, Bonferroni .025.
    close = np.random.default_rng(2).normal(0, 0.02, 8)
    close += 0.022 - close.mean()
    p = float(stats.ttest_1samp(close, 0).pvalue)
    assert 0.025 < p < 0.05
    for sign, verdict in ((1, "better"), (-1, "worse")):
        example = of_gains(FMA=EIGHT, ST=(sign * close).tolist())
        _, second = example.effects([FIRST, SECOND], claims=CLAIMS)
        assert (second.p_adjusted, second.verdict) == (pytest.approx(p), verdict)
        low, high = Model(sign * close).bounds(0.025)
        assert low < 0 < high
        expected = (0.0, high) if sign > 0 else (low, 0.0)
        assert (second.estimate.low, second.estimate.high) == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "verdict"), [(2, "too few seeds"), (3, "better")])
def test_of_two_seeds_nothing_is_claimed(seeds: int, verdict: str) -> None:
    gains = [0.2 + 0.00001 * place for place in range(seeds)]
    effects = of_gains(FMA=gains, ST=gains).effects([FIRST, SECOND], claims=CLAIMS)
    assert [one.verdict for one in effects] == [verdict, verdict]
    p = float(stats.ttest_1samp(gains, 0).pvalue)
    assert p < 0.001
    assert [one.p_adjusted for one in effects] == pytest.approx([2 * p] * 2, rel=1e-4)
    assert [one.p_seeds for one in effects] == [2 / 2**seeds] * 2


def on_images(copies: int, *, seeds: int = 5, n: int = 400) -> Example:
    """What FMA has right and plain has not, at every seed: of so many images one noisy copy of
    ten."""

    def outcomes(wrong: np.ndarray) -> Outcomes:
        return Outcomes(~wrong, None, *2 * [np.zeros(n, np.float32)])

    places = np.arange(n)
    runs: dict[str, list[Run]] = {}
    for name, is_better in (("plain", False), ("FMA", True)):
        noisy = places < copies * (not is_better)
        cells = {
            (kind, severity): outcomes(noisy & ((kind, severity) == (NOISE, 3)))
            for kind in (NOISE, IMPULSE, BLUR)
            for severity in (1, 2, 3, 4, 5)
        }
        runs[name] = [score_bits(SetOutcomes(outcomes(places < 0), cells))] * seeds
    return make_example(runs)


@pytest.mark.parametrize(("copies", "verdict"), [(20, "at most one image"), (21, "better")])
def test_a_difference_of_at_most_one_image_is_none_however_sure(copies: int, verdict: str) -> None:
    # A noisy copy is a twentieth of an image: two families, two types of noise, five severities.
    (found,) = on_images(copies).effects([FIRST], claims=CLAIMS[:1])
    assert found.estimate.mean * 400 == pytest.approx(copies / 20)
    differences = np.zeros((5, 400))
    differences[:, :copies] = 1 / 20
    assert found.p == pytest.approx(Model(differences).p(), rel=1e-6)
    assert found.p < 0.001
    assert found.estimate.low > 0
    assert found.verdict == verdict


def test_a_claim_that_could_not_be_tested_is_still_one_of_those_declared() -> None:
    example = of_gains(FMA=EIGHT, ST=EIGHT)
    rows = tuple(
        replace(row, state="FAIL", scores=None, failure=DIED) if row.cell == "ST" else row
        for row in example.record.rows
    )
    holed = replace(example, record=replace(example.record, rows=rows))
    first, second = holed.effects([FIRST, SECOND], claims=CLAIMS)
    p = float(stats.ttest_1samp(EIGHT, 0).pvalue)
    assert (first.p, first.p_adjusted) == (pytest.approx(p), pytest.approx(2 * p))
    assert math.isnan(second.p)
    assert math.isnan(second.p_adjusted or 0.0)
    assert second.verdict == "too few seeds"


def test_a_claim_on_one_severity() -> None:
    cells: dict[str, list[Run]] = {
        name: [make_scores(0.5 + gain * (1 + 0.01 * (place % 3))) for place in range(9)]
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
    assert effects[1].estimate.mean == pytest.approx(0.101)


# -- equivalence
SMALL = [0.004, -0.002, 0.003, -0.004, 0.001, 0.002, -0.003, 0.001]
SAME = Claim("ST - plain", ROBUST, 0.01)


def two_tests(gains: Sequence[float], margin: float) -> float:
    """The larger p of two one-sided t tests."""
    return max(
        float(stats.ttest_1samp(gains, -margin, alternative="greater").pvalue),
        float(stats.ttest_1samp(gains, margin, alternative="less").pvalue),
    )


def test_equivalence_is_claimed_with_the_others_and_beside_a_difference() -> None:
    example = of_gains(FMA=EIGHT, ST=SMALL)
    claims = [SAME, CLAIMS[0], CLAIMS[1]]
    effects = example.effects([FIRST, SECOND], [ROBUST, "val_clean_accuracy"], claims)
    better, differs, same = (one for one in effects if one.primary)
    p, none = two_tests(SMALL, 0.01), float(stats.ttest_1samp(SMALL, 0).pvalue)
    first = float(stats.ttest_1samp(EIGHT, 0).pvalue)
    assert first < 2 * p < none
    assert [differs.p, same.p] == pytest.approx([none, p])
    expected = holm([first, none, 2 * p])  # a one-sided p counts double
    assert [one.p_adjusted for one in (better, differs, same)] == pytest.approx(expected)
    assert (differs.verdict, same.verdict) == ("not shown", "equivalent")
    assert (differs.equivalent_within, same.equivalent_within) == (None, 0.01)
    assert (same.p_seeds, same.at_level) == (None, None)
    for one in (differs, same):
        low, high = Model(np.array(SMALL)).bounds(0.05 / 3)
        assert (one.estimate.low, one.estimate.high) == pytest.approx((low, high))
    assert example.effects([SECOND], claims=[SAME], minimized=[ROBUST])[0].verdict == "equivalent"


def test_an_interval_ends_at_the_margin_where_holm_shows_what_bonferroni_does_not() -> None:
    for sign in (1, -1):
        shifted = [0.0045 + sign * one for one in SMALL]
        low, high = Model(np.array(shifted)).bounds(0.025)
        margin = high - 0.0001
        assert low > -margin
        claims = [CLAIMS[0], Claim("ST - plain", ROBUST, margin)]
        _, same = of_gains(FMA=EIGHT, ST=shifted).effects([FIRST, SECOND], claims=claims)
        assert same.p_adjusted == pytest.approx(2 * two_tests(shifted, margin))
        assert (same.verdict, same.estimate.high) == ("equivalent", margin)
        assert same.estimate.low == pytest.approx(low)


def test_without_a_test_or_enough_seeds_and_images_nothing_is_equivalent() -> None:
    def verdict(example: Example) -> str:
        (found,) = example.effects([SECOND], claims=[SAME])
        low, high = found.estimate.low, found.estimate.high
        assert (found.verdict == "equivalent") == (low >= -0.01 and high <= 0.01)
        return found.verdict

    assert verdict(of_gains(ST=[gain + 0.02 for gain in SMALL])) == "not shown"
    assert verdict(of_gains(ST=[0.02, 0.0, -0.01])) == "not shown"
    assert verdict(of_gains(ST=[0.01] * 8)) == "not shown", "equal seeds have no interval"
    dead = make_example({"plain": [DIED] * 8, "ST": [DIED] * 8})
    assert verdict(dead) == "too few seeds"
    (two,) = of_gains(ST=SMALL[2:4]).effects([SECOND], claims=[Claim(SAME.contrast, ROBUST, 0.5)])
    assert two.p < 0.025
    assert two.verdict == "too few seeds"
    random = np.random.default_rng(1)
    alone = [[make_scored(random, n=1, n_corrupted=1) for _ in range(5)] for _ in range(2)]
    within = [Claim(SAME.contrast, ROBUST, 3.0)]
    single = make_example({"plain": alone[0], "ST": alone[1]})
    assert single.effects([SECOND], claims=within)[0].verdict == "at most one image"


def test_equivalence_is_over_seeds_and_images() -> None:
    random = np.random.default_rng(3)
    runs: dict[str, list[Run]] = {
        name: [make_scored(random, 0.9, n=400, n_corrupted=400) for _ in range(4)]
        for name in ("plain", "ST")
    }
    example = make_example(runs)
    for margin in (0.005, 0.1):
        (found,) = example.effects([SECOND], claims=[Claim(SAME.contrast, ROBUST, margin)])
        low, high = found.estimate.low, found.estimate.high
        assert found.verdict == ("equivalent" if -margin < low and high < margin else "not shown")
        assert (found.verdict == "equivalent") == (margin == 0.1)


# -- what is kept
def test_the_bound_of_a_claim_that_is_kept_is_that_of_its_interval() -> None:
    # It is simultaneous with that of the other claim, so it is wider than at 95 %.
    losses = [gain - 0.03 for gain in MIXED]
    example = of_gains(FMA=losses, ST=losses)
    at_95 = Model(np.array(losses)).bounds(0.05)[0]
    low = Model(np.array(losses)).bounds(0.025)[0]
    margin = -(at_95 + low) / 2
    found, _ = example.effects([FIRST, SECOND], claims=CLAIMS, margin=kept_by(ROBUST, margin))
    assert found.kept is not None
    assert found.kept.low == found.estimate.low == pytest.approx(low)
    assert found.kept.kept is False
    alone, _ = example.effects([FIRST, SECOND], claims=CLAIMS[:1], margin=kept_by(ROBUST, margin))
    assert alone.kept is not None
    assert alone.kept.low == alone.estimate.low == pytest.approx(at_95)
    assert alone.kept.kept is True


# -- what was seen
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
            make_scored(random, of, **fields)
            if bits
            else make_scores(
                types={kind: rate * (1 - 0.1 * seed) for kind, rate in of.items()}, **fields
            )
            for seed in range(3)
        ]
        for name, of, fields in zip(("FMA", "plain"), rates, seen, strict=True)
    }
    example = make_example(runs)
    results = example.results()
    for exposed, kinds in (
        ("seen_type", (NOISE,)),
        ("seen_family", (IMPULSE,)),
        ("unseen", (BLUR,)),
        ("untrained", (IMPULSE, BLUR)),
    ):
        found = example.effect(FIRST, f"val_robust_accuracy_{exposed}")
        differences = [
            results.values("FMA", f"val_accuracy.{kind}")
            - results.values("plain", f"val_accuracy.{kind}")
            for kind in kinds
        ]
        assert found.estimate.mean == pytest.approx(np.mean(differences)), exposed
        assert found.estimate.method == (OVER_SEEDS_AND_IMAGES if bits else OVER_SEEDS)
        # In a column the plain finetune is over the types of FMA too.
        arms = [Arm(name, (name,)) for name in ("plain", "FMA")]
        table = MetricTable(results, f"val_robust_accuracy_{exposed}")
        column = [np.mean(table.values(arm)) for arm in arms]
        assert column[1] - column[0] == pytest.approx(found.estimate.mean)
        turned = example.effect(minus("plain", "FMA"), f"val_robust_accuracy_{exposed}")
        assert turned.estimate.mean == pytest.approx(-found.estimate.mean)


ON_BLUR = {
    "seen_types": (BLUR,),
    "exposure": {NOISE: "unseen", IMPULSE: "unseen", BLUR: "seen_type"},
}


def test_a_mean_over_types_that_nobody_has_seen_is_not_compared() -> None:
    """Arms that were trained on different types say nothing of what plain is compared on."""
    example = make_example(
        {
            "plain": [make_scores(**NOTHING_SEEN)] * 3,  # type: ignore[arg-type]
            "FMA": [make_scores(**ON_NOISE)] * 3,  # type: ignore[arg-type]
            "ST": [make_scores(**ON_BLUR)] * 3,  # type: ignore[arg-type]
        }
    )
    seen, turned = "val_robust_accuracy_seen_type", minus("plain", "FMA")
    assert [one.contrast for one in example.effects([FIRST, turned], [seen])] == ["FMA - plain"]
    # Models that have seen different types, and effects of factors, have no types in common.
    several = difference(Arm("several", ("FMA", "ST")), Arm("plain", ("plain",)))
    main = Contrast("a", FIRST.weights, "main effect")
    assert example.effects([several, main], ["val_robust_accuracy_unseen"]) == ()
    # What was declared is there all the same, and says nothing.
    for contrast in (turned, several, main):
        (found,) = example.effects([contrast], [], [Claim(contrast.name, seen)])
        assert (found.estimate.n, found.verdict, found.missing) == (0, "too few seeds", ())


BASELINE = 0.4


def results_of(cells: Mapping[str, Sequence[Any]], baseline: Any = None) -> Results:
    """Cells by their runs, or by their robust accuracy at each seed; NaN: it failed."""

    def run(one: Any) -> Run:
        if not isinstance(one, float):
            return one
        return DIED if math.isnan(one) else make_scores(one)

    runs = {name: [run(one) for one in row] for name, row in cells.items()}
    return make_example(runs, baseline=baseline).results()


def best(cells: Mapping[str, Sequence[Any]], baseline: Any = None, **of: Any) -> set[str]:
    names = [*(["baseline"] if baseline is not None else []), *cells]
    arms = [Arm(name, (name,)) for name in names]
    found = results_of(cells, baseline)
    return set(tied_with_best(found, arms, ROBUST, **{"is_minimized": False, **of}))


PLAIN = [0.50, 0.60, 0.55, 0.65, 0.70]


@pytest.mark.parametrize(
    ("gains", "is_tied"),
    [
        ([-0.01, -0.02, -0.01, -0.02, -0.01], False),  # at every seed, though the seeds vary by .2
        ([-0.01, -0.02, 0.01, -0.02, 0.02], True),
        ([-0.01, -0.01, -0.01, -0.01, math.nan], False),  # of four that are alike nothing is known
        ([0.0, 0.0, 0.0, 0.0, 0.0], True),
    ],
)
def test_an_arm_is_tied_by_its_paired_difference(gains: list[float], is_tied: bool) -> None:
    other = [base + gain for base, gain in zip(PLAIN, gains, strict=True)]
    assert best({"plain": PLAIN, "FMA": other}) == ({"plain", "FMA"} if is_tied else {"plain"})
    turned = [1 - one for one in PLAIN], [1 - one for one in other]
    of_less = best({"plain": turned[0], "FMA": turned[1]}, is_minimized=True)
    assert of_less == ({"plain", "FMA"} if is_tied else {"plain"})


def test_the_one_baseline_is_compared_with_every_seed() -> None:
    baseline = make_scores(BASELINE)
    assert best({"plain": PLAIN}, baseline) == {"plain"}
    below = [BASELINE + by for by in (-0.01, -0.02, -0.01, -0.03, -0.02)]
    assert best({"plain": below}, baseline) == {"baseline"}
    around = [BASELINE + by for by in (-0.01, 0.02, -0.01, 0.01, 0.02)]
    assert best({"plain": around}, baseline) == {"baseline", "plain"}
