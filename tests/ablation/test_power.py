"""Planned power, against simulations of the test that it plans and against SciPy's own formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.cell import Claim
from ablate.ablation.effects import Effect
from ablate.ablation.intervals import Components, Estimate, over_seeds_and_images
from ablate.ablation.power import needed_text, planned_power, power_lines

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


def test_the_fewest_seeds_have_the_power_and_one_fewer_has_not() -> None:
    components = Components(0.01, 0.05, 0.04, 6)
    text = needed_text(components, 1000, differences=[0.015])
    seeds = int(text.removeprefix("1.5 points: ").partition(" seeds (")[0])
    assert planned_power(components, seeds, 1000, 0.015) >= 0.8
    assert planned_power(components, seeds - 1, 1000, 0.015) < 0.8


def test_what_differences_need() -> None:
    images, several, few = needed_text(DIGITS, IMAGES).split("; ")
    assert images == (
        "0.5 points: no number of seeds, but 6,200 images (3,000 or more) with 8 seeds"
    )
    assert planned_power(DIGITS, 10_000, IMAGES, 0.005) < 0.8
    assert planned_power(DIGITS, 8, 6_200, 0.005) >= 0.8 > planned_power(DIGITS, 8, 6_000, 0.005)
    most = Components(DIGITS.seeds * math.sqrt(7 / stats.chi2.ppf(0.1, 7)), 0.072, 0.040, 8)
    assert planned_power(most, 8, 10_000_000, 0.005) < 0.8
    assert several == "1 point: no number of seeds, but 530 images (480 to 770) with 8 seeds"
    assert planned_power(most, 8, 770, 0.01) >= 0.8 > planned_power(most, 8, 750, 0.01)
    assert few == "2 points: 3 seeds (3 to 4)"
    without = Components(0.05, 0.0, 0.0, 4)
    assert needed_text(without, None, differences=[0.005]) == "0.5 points: more than 64 seeds"
    # three are not enough on any number of images
    three = needed_text(DIGITS, IMAGES, differences=[0.005], seeds=3, paired="baseline")
    assert three.startswith("0.5 points: no number of baselines, but ")
    assert three.endswith(" with 64 baselines")


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
        "and 359 images, from the pilot's FMA - plain; for 80 %: 0.5 points: "
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
    needed = needed_text(DIGITS, 1000, margin=0.01, seeds=seeds)
    assert line == (
        f"a on {ROBUST}, equivalent within 1 point: power {100 * planned:.0f} % at no true "
        f"difference, with 8 seeds and 1,000 images, from the pilot's a; for 80 %: {needed}"
    )
    fewest = int(needed.removeprefix("1 point: ").partition(" seeds")[0])
    both = [2 * planned_power(DIGITS, count, 1000, 0.01) - 1 for count in (fewest - 1, fewest)]
    assert both[0] < 0.8 <= both[1]
    (hopeless,) = power_lines([claim], [effect("a", DIGITS)], 3, 0.02, lambda _: 40)
    assert ": power 0 % at no true difference" in hopeless


def test_two_claims_are_planned_at_half_the_level() -> None:
    found = lines(["a", "b"], [effect("a", DIGITS), effect("b", DIGITS)])
    power = 100 * planned_power(DIGITS, 3, IMAGES, 0.01, 0.025)
    assert all(f": power {power:.0f} % at" in line for line in found)
