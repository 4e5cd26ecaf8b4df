"""Planned power, against simulations of the test that it plans and against SciPy's own formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.cell import Claim
from ablate.ablation.effects import Effect
from ablate.ablation.intervals import Components, Estimate, over_seeds_and_images
from ablate.ablation.power import (
    MOST_SEEDS,
    PlannedContrast,
    plan_text,
    planned_contrasts,
    planned_power,
    seed_plan,
)
from ablate.errors import ParameterError

DIGITS = Components(seeds=0.0037, images=0.072, rest=0.040, n_seeds=8)
IMAGES = 359
ROBUST = "val_robust_accuracy"


def test_without_images_it_is_that_of_a_paired_t_test() -> None:
    sd, seeds, difference = 0.02, 6, 0.03
    freedom, shift = seeds - 1, difference / (sd / math.sqrt(seeds))
    critical = stats.t.ppf(0.975, freedom)
    found = planned_power(Components(sd, 0.0, 0.0, 5), seeds, None, difference)
    assert found == pytest.approx(stats.nct.sf(critical, freedom, shift), rel=1e-9)


@pytest.mark.parametrize(("seeds", "difference"), [(3, 0.015), (5, 0.0125), (8, 0.012)])
def test_it_is_realised(seeds: int, difference: float) -> None:
    random = np.random.default_rng(seeds)
    shown, repetitions = 0, 1500
    for _ in range(repetitions):
        table = difference + (
            DIGITS.seeds * random.standard_normal((seeds, 1))
            + DIGITS.images * random.standard_normal((1, IMAGES))
            + DIGITS.rest * random.standard_normal((seeds, IMAGES))
        )
        shown += over_seeds_and_images(table).estimate(0.95).low > 0
    planned = planned_power(DIGITS, seeds, IMAGES, difference)
    assert 0.5 < planned < 0.95
    assert shown / repetitions == pytest.approx(planned, abs=0.05)


def test_it_grows_with_seeds_images_difference_and_alpha() -> None:
    usual = planned_power(DIGITS, 5, IMAGES, 0.01)
    assert planned_power(DIGITS, 8, IMAGES, 0.01) > usual
    assert planned_power(DIGITS, 5, 2 * IMAGES, 0.01) > usual
    assert planned_power(DIGITS, 5, IMAGES, 0.02) > usual
    assert planned_power(DIGITS, 5, IMAGES, 0.01, alpha=0.025) < usual
    assert planned_power(Components(0.0, 0.0, 0.0, 8), 5, IMAGES, 0.01) == 1.0


def test_the_fewest_seeds_have_the_power_and_one_fewer_has_not() -> None:
    components = Components(0.01, 0.05, 0.04, 6)
    found = seed_plan(components, 1000, 0.015)
    assert found.seeds is not None
    assert found.low is not None
    assert found.high is not None
    assert planned_power(components, found.seeds, 1000, 0.015) >= 0.8
    assert planned_power(components, found.seeds - 1, 1000, 0.015) < 0.8
    assert found.low < found.seeds < found.high
    assert found.images is None


def test_where_images_dominate_more_seeds_are_useless() -> None:
    found = seed_plan(DIGITS, IMAGES, 0.005)
    assert found.seeds is None
    assert planned_power(DIGITS, 10_000, IMAGES, 0.005) < 0.8
    assert found.images_dominate
    assert found.images is not None
    # with the seeds that were run, whose variance is an estimate
    assert found.images.seeds == DIGITS.n_seeds
    assert planned_power(DIGITS, 8, found.images.images, 0.005) >= 0.8
    assert planned_power(DIGITS, 8, found.images.images - 1, 0.005) < 0.8
    assert found.images.low < found.images.images
    most = replace(DIGITS, seeds=DIGITS.seeds * math.sqrt(7 / stats.chi2.ppf(0.1, 7)))
    assert planned_power(most, 8, 10_000_000, 0.005) < 0.8
    assert found.images.high is None
    wider = seed_plan(DIGITS, IMAGES, 0.01).images
    assert wider is not None
    assert wider.high is not None
    assert planned_power(most, 8, wider.high, 0.01) >= 0.8 > planned_power(most, 8, 600, 0.01)
    few = seed_plan(DIGITS, IMAGES, 0.005, seeds=3).images
    assert few is not None
    assert few.seeds == MOST_SEEDS, "three are not enough on any number of images"


def test_where_seeds_dominate_as_many_images_as_there_are_help_little() -> None:
    components = Components(0.0048, 0.0568, 0.0371, 8)
    found = seed_plan(components, IMAGES, 0.01, alpha=0.05 / 3)
    assert (found.seeds, found.images_dominate) == (None, False)
    assert planned_power(components, 10_000, IMAGES, 0.01, 0.05 / 3) >= 0.8
    images = found.images
    assert images is not None
    said = plan_text([found])
    assert said.startswith(f"1 point: more than 64 seeds ({found.low} or more), or ")
    assert said.endswith(" with 8 seeds")


def test_the_text_of_a_plan() -> None:
    said = plan_text([seed_plan(DIGITS, IMAGES, one) for one in (0.005, 0.01, 0.02)])
    images, several, few = said.split("; ")
    assert images == (
        "0.5 points: no number of seeds, but 6,200 images (3,000 or more) with 8 seeds"
    )
    assert several == "1 point: no number of seeds, but 530 images (480 to 770) with 8 seeds"
    assert few == "2 points: 3 seeds (3 to 4)"
    without = Components(0.05, 0.0, 0.0, 4)
    assert plan_text([seed_plan(without, None, 0.005)]) == "0.5 points: more than 64 seeds"


def effect(contrast: str, components: Components | None, metric: str = ROBUST) -> Effect:
    estimate = Estimate(0.1, 0.01, 0.08, 0.12, 8, "t over seeds and images")
    return Effect(
        contrast, "difference", metric, estimate, 0.01, components=components, n_images=IMAGES
    )


def planned(claim: str, effects: list[Effect], difference: float = 0.01) -> PlannedContrast:
    return planned_contrasts([Claim(claim, ROBUST)], effects, 3, difference)[0]


def test_a_contrast_of_the_pilot_is_planned_with_its_own_components() -> None:
    noisy = Components(0.05, 0.3, 0.1, 8)
    pilot = [effect("FMA - plain", DIGITS), effect("ST - plain", noisy), effect("x", None)]
    own = planned("FMA - plain", pilot)
    assert own.pilot == "FMA - plain"
    assert own.power == planned_power(DIGITS, 3, IMAGES, 0.01)
    # Another one with those of the noisiest contrast on the same metric.
    other = planned("FMA - DA", [*pilot, effect("y", DIGITS, "val_clean_accuracy")])
    assert (other.pilot, other.images) == ("ST - plain", IMAGES)
    assert other.power < 0.2
    assert other.text.endswith(". Warning: below 20 %, a claim is unlikely")
    assert "Warning" not in planned("FMA - plain", pilot, 0.05).text
    assert planned_contrasts([Claim("a", "val_clean_accuracy")], pilot, 3, 0.01) == ()


def test_two_claims_are_planned_at_half_the_level() -> None:
    pilot = [effect("a", DIGITS), effect("b", DIGITS)]
    found = planned_contrasts([Claim("a", ROBUST), Claim("b", ROBUST)], pilot, 5, 0.01)
    assert [one.power for one in found] == [planned_power(DIGITS, 5, IMAGES, 0.01, 0.025)] * 2


def test_two_seeds_and_two_images_can_be_planned() -> None:
    assert 0 < planned_power(DIGITS, 2, 2, 0.01) < planned_power(DIGITS, 2, 2, 1.0) < 1


@pytest.mark.parametrize(("seeds", "images", "difference"), [(1, 9, 0.1), (3, 1, 0.1), (3, 9, 0.0)])
def test_what_is_refused(seeds: int, images: int, difference: float) -> None:
    with pytest.raises(ParameterError, match=r"needs two seeds or more, .* got .*\. Raise them\."):
        planned_power(DIGITS, seeds, images, difference)
