"""Planned power, against simulations of the test that it plans and against SciPy's own formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.cell import Claim
from ablate.ablation.effects import Effect
from ablate.ablation.intervals import (
    Components,
    Estimate,
    expected_model,
    over_seeds_and_images,
)
from ablate.ablation.power import (
    Nested,
    Prices,
    nested_of,
    plan_lines,
    planned_power,
    power_lines,
)

DIGITS = Components(seeds=0.0037, images=0.072, rest=0.040, n_seeds=8)
IMAGES = 359
ROBUST = "val_robust_accuracy"


def test_without_images_it_is_that_of_a_paired_t_test() -> None:
    sd, seeds, difference = 0.02, 6, 0.03
    freedom, shift = seeds - 1, difference / (sd / math.sqrt(seeds))
    critical = stats.t.ppf(0.975, freedom)
    found = planned_power(Components(sd, 0.0, 0.0, 5), seeds, None, difference)
    assert found == pytest.approx(stats.nct.sf(critical, freedom, shift), rel=1e-9)


def test_it_is_realised() -> None:
    seeds, difference = 3, 0.015
    random = np.random.default_rng(seeds)
    shown, repetitions = 0, 500
    for _ in range(repetitions):
        table = difference + (
            DIGITS.seeds * random.standard_normal((seeds, 1))
            + DIGITS.images * random.standard_normal((1, IMAGES))
            + DIGITS.rest * random.standard_normal((seeds, IMAGES))
        )
        shown += over_seeds_and_images(table).estimate(0.95).low > 0
    planned = planned_power(DIGITS, seeds, IMAGES, difference)
    assert 0.5 < planned < 0.95
    assert shown / repetitions == pytest.approx(planned, abs=0.06)


def test_it_grows_with_seeds_images_difference_and_alpha() -> None:
    usual = planned_power(DIGITS, 5, IMAGES, 0.01)
    assert planned_power(DIGITS, 8, IMAGES, 0.01) > usual
    assert planned_power(DIGITS, 5, 2 * IMAGES, 0.01) > usual
    assert planned_power(DIGITS, 5, IMAGES, 0.02) > usual
    assert planned_power(DIGITS, 5, IMAGES, 0.01, alpha=0.025) < usual
    assert planned_power(Components(0.0, 0.0, 0.0, 8), 5, IMAGES, 0.01) == 1.0
    assert 0 < planned_power(DIGITS, 2, 2, 0.01) < planned_power(DIGITS, 2, 2, 1.0) < 1


def effect(contrast: str, components: Components | None, metric: str = ROBUST) -> Effect:
    estimate = Estimate(0.1, 0.01, 0.08, 0.12, 8, "t over seeds and images")
    return Effect(
        contrast, "difference", metric, estimate, 0.01, components=components, n_images=IMAGES
    )


def lines(claims: list[str], effects: list[Effect], difference: float = 0.01) -> tuple[str, ...]:
    return power_lines(
        [Claim(one, ROBUST) for one in claims], effects, 3, difference, lambda _: None
    )


def test_a_contrast_of_the_pilot_is_planned_with_its_own_components() -> None:
    noisy = Components(0.05, 0.3, 0.1, 8)
    pilot = [effect("FMA - plain", DIGITS), effect("ST - plain", noisy), effect("x", None)]
    (own,) = lines(["FMA - plain"], pilot)
    power = 100 * planned_power(DIGITS, 3, IMAGES, 0.01)
    assert own.startswith(
        f"FMA - plain on {ROBUST}: power {power:.0f} % at a true difference of 0.01, with 3 seeds "
        "and 359 images, from the pilot's FMA - plain"
    )
    assert "Warning" not in own
    # Another one with those of the noisiest contrast on the same metric.
    (other,) = lines(["FMA - DA"], [*pilot, effect("y", DIGITS, "val_clean_accuracy")])
    assert "from the pilot's ST - plain" in other
    assert other.endswith(". Warning: below 20 %, a claim is unlikely")
    assert lines(["a"], [effect("a", DIGITS, "val_clean_accuracy")]) == ()


def test_equivalence_is_planned_where_nothing_differs() -> None:
    claim, seeds = Claim("a", ROBUST, 0.01), 8
    (line,) = power_lines([claim], [effect("a", DIGITS)], seeds, 0.02, lambda _: 1000)
    random, shown, repetitions = np.random.default_rng(0), 0, 400
    for _ in range(repetitions):
        table = DIGITS.seeds * random.standard_normal((seeds, 1))
        table = table + DIGITS.images * random.standard_normal((1, 1000))
        table += DIGITS.rest * random.standard_normal((seeds, 1000))
        found = over_seeds_and_images(table).estimate(0.95)
        shown += found.low > -0.01 and found.high < 0.01
    planned = 2 * planned_power(DIGITS, seeds, 1000, 0.01) - 1
    assert 0.6 < planned < 0.95
    assert shown / repetitions == pytest.approx(planned, abs=0.07)
    assert line == (
        f"a on {ROBUST}, equivalent within 1 point: power {100 * planned:.0f} % at no true "
        f"difference, with 8 seeds and 1,000 images, from the pilot's a"
    )
    (hopeless,) = power_lines([claim], [effect("a", DIGITS)], 3, 0.02, lambda _: 40)
    assert ": power 0 % at no true difference" in hopeless


def test_two_claims_are_planned_at_half_the_level() -> None:
    found = lines(["a", "b"], [effect("a", DIGITS), effect("b", DIGITS)])
    power = 100 * planned_power(DIGITS, 3, IMAGES, 0.01, 0.025)
    assert all(f": power {power:.0f} % at" in line for line in found)


def test_components_of_replicates_are_what_is_left_of_their_means() -> None:
    whole = Components(seeds=0.005, images=0.03, rest=0.05, n_seeds=3)
    parts = [Components(0.004, 0.05, 0.08, 8), Components(0.008, 0.05, 0.06, 8)]
    found = Nested.of(whole, parts, 8)
    own, noise = (0.004**2 + 0.008**2) / 2, (0.08**2 + 0.06**2) / 2
    assert found.seeds == pytest.approx(math.sqrt(own))
    assert found.replicates == pytest.approx(math.sqrt(0.005**2 - own / 8))
    assert found.both == pytest.approx(math.sqrt(0.05**2 - noise / 8))
    again = found.components(8)
    assert (again.seeds, again.images, again.rest) == pytest.approx((0.005, 0.03, 0.05))
    # where seeds vary more than their means, replicates are not seen to vary
    assert Nested.of(Components(0.001, 0, 0, 3), parts, 2).replicates == 0
    assert Nested.of_one(parts[0], 2.5).replicates == pytest.approx(0.01)


def test_more_replicates_of_fewer_seeds_are_what_was_found_by_hand() -> None:
    # FMA+DA - DA of studies/paper on 2,000 test images: .62 points over replications, 3 claims.
    nested = Nested(0.0061, 0.001, 0.033, 0.045, 0.068)
    widths = {}
    for replicates, seeds in ((3, 8), (8, 3)):
        # mean squares of means over seeds as they are expected, at t of replicates - 1
        of_replicates = nested.replicates**2 + nested.seeds**2 / seeds
        noise = (nested.both**2 + nested.rest**2 / seeds) / 2000
        variance = (of_replicates + noise) / replicates + nested.images**2 / 2000
        width = stats.t.ppf(1 - 0.05 / 6, replicates - 1) * math.sqrt(variance)
        widths[replicates] = 100 * width
        model = expected_model(nested.components(seeds), replicates, 2000)
        assert model.estimate(1 - 0.05 / 3).high == pytest.approx(width, rel=0.1)
    assert widths[3] == pytest.approx(2.74, abs=0.15)
    assert widths[8] == pytest.approx(0.70, abs=0.05)


PRICES = Prices(baseline=600, run=300, scored=0.01, searched=1200, trials=4)


def test_a_design_costs_its_baselines_searches_runs_and_scoring() -> None:
    # a replicate: 600 + 1200 + 2 * 300 + (2 + 4) * .01 * 1000
    assert PRICES.hours(3, 2, 1000) == pytest.approx(3 * 2460 / 3600)
    assert PRICES.hours(3, 2, None) == pytest.approx(3 * 2400.06 / 3600)


def test_the_cheapest_design_with_enough_power_is_marked() -> None:
    nested = Nested(0.004, 0.003, 0.03, 0.04, 0.07)
    claims = [(Claim("a", ROBUST), nested), (Claim("b", ROBUST, 0.02), nested)]
    lines = plan_lines(claims, PRICES, 2000, 0.01, 20.0)

    def power(replicates: int, seeds: int, images: int) -> float:
        components = nested.components(seeds)
        shown = planned_power(components, replicates, images, 0.01, 0.025)
        within = planned_power(components, replicates, images, 0.02, 0.025)
        return min(shown, max(0.0, 2 * within - 1))

    choices = [
        (PRICES.hours(r, s, n), r, s, n)
        for r in range(3, 25)
        for s in (1, 2, 3, 4, 8)
        for n in (500, 1000, 2000)
        if power(r, s, n) >= 0.8
    ]
    hours, replicates, seeds, images = min(choices)
    (marked,) = (line for line in lines if "<-" in line)
    assert marked.split("h  ")[1].startswith(f"{replicates} x {seeds} x {images:,}  ")
    assert float(marked.split()[0]) == pytest.approx(hours, abs=0.006)
    assert all(float(line.split()[0]) <= 20 for line in lines[1:])
    assert lines[0].startswith("designs of 2 claims, in hours of one worker, at a true difference")
    assert plan_lines(claims, PRICES, 2000, 0.0001, 4.0)[-1] == (
        "no design within 4 hours has power 80 %"
    )
    open_end = plan_lines(claims, PRICES, 2000, 0.01, None)
    assert open_end[-1].endswith("<- the cheapest with power 80 %")


def test_several_pilots_plan_a_claim_with_its_own_contrast_or_the_worst() -> None:
    noisy = Components(0.05, 0.3, 0.1, 3)
    pooled = [effect("FMA - plain", DIGITS), effect("ST - plain", noisy), effect("x", None)]
    parts = [[effect("FMA - plain", Components(0.003, 0.07, 0.04, 8))]] * 3
    claims = [Claim("FMA - plain", ROBUST), Claim("FMA - DA", ROBUST), Claim("x", "other")]
    (own, first), (other, second) = nested_of(claims, pooled, parts=parts, seeds=8)
    assert (own, other) == tuple(claims[:2])
    assert first == Nested.of(DIGITS, [Components(0.003, 0.07, 0.04, 8)], 8)
    assert second == Nested.of_one(noisy, 0.0)
    (_, one), _ = nested_of(claims, pooled, ratio=2.0)
    assert one == Nested.of_one(DIGITS, 2.0)
