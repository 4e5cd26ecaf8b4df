"""Which network of a curve stands for its trial: a pure function of accuracies."""

from __future__ import annotations

import pytest

from ablate.study.interpolation import AlphaScore, Curve, CurvePoint, choose_alpha, curve_point
from ablate.study.settings import ConstraintSettings
from tests.example_records import example_scores

MARGIN = 0.01


def curve_of(*scores: tuple[float, float]) -> list[AlphaScore]:
    """Evenly spaced, from the baseline to the finetuned network, each clean and robust."""
    return [AlphaScore(place / (len(scores) - 1), *one) for place, one in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "alpha"),
    [
        # clean accuracy falls and robust rises: the last within the margin
        ([(0.90, 0.50), (0.90, 0.60), (0.895, 0.65), (0.885, 0.70), (0.86, 0.75)], 0.5),
        # a loss of just the margin is within it
        # all keep it: the most robust, which need not be the last
        ([(0.90, 0.50), (0.90, 0.66), (0.90, 0.60)], 0.5),
        # ties go to the largest alpha, whatever their clean accuracy
        ([(0.90, 0.50), (0.91, 0.60), (0.895, 0.60), (0.80, 0.60)], 2 / 3),
        # sums of the same counts in another order are equal
        ([(0.90, 0.50), (0.90, 0.1 + 0.2), (0.90, 0.3)], 1.0),
        # none keeps it: the smallest loss, not the most robust
        ([(0.90, 0.50), (0.88, 0.60), (0.84, 0.70)], 0.5),
        # gains in clean accuracy are not preferred to robust ones
        # the finetuned network alone
    ],
)
def test_the_most_robust_within_the_margin(scores: list[tuple[float, float]], alpha: float) -> None:
    choice = choose_alpha(curve_of(*scores), MARGIN)
    assert choice.alpha == pytest.approx(alpha)
    assert choice.note == ""


def test_a_curve_through_a_valley_is_not_chosen_from() -> None:
    scores = curve_of((0.90, 0.50), (0.91, 0.80), (0.70, 0.40), (0.88, 0.70))
    choice = choose_alpha(scores, MARGIN)
    assert choice.alpha == 1
    assert choice.barrier == pytest.approx(0.18)
    assert choice.note == (
        "alpha 1 is used: at alpha 0.666667 clean accuracy is 18.0 points below both the baseline "
        "and the finetuned network"
    )


def test_a_dip_within_the_margin_is_none() -> None:
    scores = curve_of((0.90, 0.50), (0.895, 0.60), (0.90, 0.55))
    choice = choose_alpha(scores, MARGIN)
    assert (choice.alpha, choice.note) == (0.5, "")
    assert choice.barrier == pytest.approx(0.005)
    assert choose_alpha(scores, 0.0).note


def test_the_scores_of_a_curve_are_those_of_its_networks() -> None:
    ends = example_scores(0.90, 0.50), example_scores(0.80, 0.70)
    middle = example_scores(0.895, 0.65)
    curve = Curve(
        {"0": curve_point(ends[0]), "0.5": curve_point(middle), "1": curve_point(ends[1])}
    )
    assert curve.alphas == (0.0, 0.5, 1.0)
    chosen = curve.chosen(ends[1], MARGIN)
    assert (chosen.alpha, chosen.barrier) == (0.5, 0.0)
    assert chosen.scores(ends[1], 0.5) == middle
    assert chosen.scores(middle, 1.0) == ends[1]
    assert Curve.from_json(chosen.to_json()) == chosen
    assert isinstance(chosen.points["0.5"], CurvePoint)


def test_the_best_network_that_keeps_the_constraints_or_the_nearest() -> None:
    curve = [(0.90, 0.50), (0.90, 0.60), (0.895, 0.65), (0.89, 0.70)]
    alphas = [place / 3 for place in range(4)]

    def chosen(*violations: float) -> float:
        own = zip(alphas, curve, (0.0, *violations), strict=True)
        return choose_alpha([AlphaScore(at, *one, missed) for at, one, missed in own], MARGIN).alpha

    assert chosen(0, 0, 0) == 1
    assert chosen(0, 0, 0.1) == alphas[2]
    assert chosen(0.2, 0, 0) == 1
    assert chosen(0.3, 0.1, 0.2) == alphas[2]
    assert chosen(0.1, 0.1, 0.2) == alphas[2]


def test_behind_a_barrier_the_finetuned_network_stands_for_the_trial_if_it_keeps_them() -> None:
    points = [(0.0, 0.90, 0.5), (0.25, 0.89, 0.6), (0.5, 0.50, 0.3), (1.0, 0.90, 0.7)]
    through = [AlphaScore(*one) for one in points]
    assert choose_alpha(through, MARGIN)[0] == 1
    missed = [*through[:3], through[3]._replace(violation=0.1)]
    found = choose_alpha(missed, MARGIN)
    assert (found.alpha, found.note) == (0.25, "")


def test_constraints_on_the_baseline_read_that_of_the_curve() -> None:
    scores = {0.0: (0.90, 0.50), 0.5: (0.895, 0.60), 1.0: (0.85, 0.70)}
    points = {f"{at:g}": curve_point(example_scores(*one)) for at, one in scores.items()}
    like = example_scores(*scores[1.0])
    least = ConstraintSettings(metric="val_clean_accuracy", min="baseline - 0.02")
    slow = ConstraintSettings(metric="train_seconds", max=10)
    assert Curve(points).chosen(like, 0.1).alpha == 1
    assert Curve(points).chosen(like, 0.1, [least]).alpha == 0.5
    assert Curve(points).chosen(like, 0.1, [least, slow]).alpha == 0.5
    assert Curve(points).chosen(like, 0.1, [slow]).alpha == 1
