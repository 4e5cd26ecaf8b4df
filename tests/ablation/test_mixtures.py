"""Which mixtures are scored: on networks whose accuracies are known functions of their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ablate.ablation import mixtures as module
from ablate.ablation.mixtures import ALPHAS, Ingredients, find_mixtures
from ablate.ablation.searches import pick_trial
from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.report.answer import study_answer
from ablate.report.formats import result_rows
from ablate.report.tables import front_table
from ablate.robustness.bits import Outcomes, Scored, SetOutcomes, pack_bits
from ablate.study.mixture import Mixture, Mixtures, ScoredMixture, read_numbers
from ablate.study.scores import Bound, Scores
from ablate.study.settings import ObjectiveSettings
from tests.example_records import example_record, example_row

N = 400
TWO = tuple(
    ObjectiveSettings(metric=metric, direction="maximize")
    for metric in ("val_clean_accuracy", "val_robust_accuracy")
)


def scored(clean: float, robust: float, **fields: Any) -> Scored:
    """Of one type at one severity: the first images are right."""

    def right(rate: float) -> Outcomes:
        is_right = np.arange(N) < round(rate * N)
        return Outcomes(is_right, None, *2 * [np.ones(N, dtype=np.float32)])

    found = SetOutcomes(right(clean), {("fog", 3): right(robust)})
    accuracies = {"fog": {"3": right(robust).accuracy}}
    families = {"weather": ("fog",)}
    own = Scores("val", N, right(clean).accuracy, accuracies, families, **fields)
    return Scored(own, pack_bits(found))


class Plane:
    """Networks in a plane of weights: a trial at a point, the baseline at the origin. Accuracy
    falls with the distance to a best place; averages nearer than `wall` to the baseline
    collapse."""

    def __init__(self, places: Mapping[int, tuple[float, float]], wall: float = 0.0) -> None:
        self.places, self.wall = places, wall
        self.asked = list[Mixture]()

    def at(self, mixture: Mixture) -> tuple[float, float]:
        x, y = mixture.alpha * np.mean([self.places[one] for one in mixture.trials], axis=0)
        if len(mixture.trials) > 1 and math.hypot(x, y) < self.wall:
            return 0.3, 0.3
        return 0.95 - 0.02 * x**2 - 0.05 * y**2, 0.6 + 0.1 * x - 0.03 * x**2 - 0.1 * y**2

    def clean_accuracy(self, mixture: Mixture) -> float:
        return self.at(mixture)[0]

    def score(self, mixture: Mixture) -> Scored:
        self.asked.append(mixture)
        return scored(*self.at(mixture))

    def ingredients(self, **fields: Any) -> Ingredients:
        trials = {one: scored(*self.at(Mixture((one,)))).scores for one in self.places}
        given: dict[str, Any] = {
            "rows": len(trials) + 1,
            "trials": trials,
            "alphas": dict.fromkeys(trials, 1.0),
            "baseline": scored(0.95, 0.6).scores,
            "objectives": TWO,
            "reference_point": (0.85, 0.6),
            "bounds": (),
            "margin": 0.01,
        }
        return Ingredients(**given | fields)


ROUND = Plane({0: (1.0, 0.6), 1: (1.0, -0.6), 2: (0.8, 0.5), 3: (1.2, -0.5), 5: (0.5, 1.9)})


def values(found: Mixtures) -> dict[Mixture, tuple[float, float]]:
    scores = {one.mixture: one.scores for one in found.scored}
    return {name: (own.clean_accuracy, own.robust_accuracy) for name, own in scores.items()}


def test_the_average_of_all_trials_that_did_not_collapse() -> None:
    given = ROUND.ingredients()
    assert given.intact == [0, 1, 2, 3]  # trial 5 is 18 points below the baseline
    found = find_mixtures(given, ROUND)
    assert (found.rows, found.notes) == (6, ())
    whole = Mixture((0, 1, 2, 3))
    own = values(found)
    assert own[whole] == pytest.approx(ROUND.at(whole), abs=1 / N)
    x = np.mean([ROUND.places[one] for one in whole.trials], axis=0)[0]
    assert own[whole][1] > max(ROUND.at(Mixture((one,)))[1] for one in whole.trials)
    assert x == pytest.approx(1.0)


def test_the_greedy_average_is_that_of_a_plain_loop() -> None:
    found = find_mixtures(ROUND.ingredients(), ROUND)

    def volume(trials: tuple[int, ...]) -> float:
        own = ROUND.score(Mixture(trials)).scores
        return max(0, own.clean_accuracy - 0.85) * max(0, own.robust_accuracy - 0.6)

    def noise(new: tuple[int, ...], old: tuple[int, ...]) -> float:
        """A standard error over images, without the images that the intervals add."""
        parts = np.zeros(N)
        for sign, trials in ((1, new), (-1, old)):
            clean, robust = ROUND.at(Mixture(trials))
            right = [np.arange(N) < round(rate * N) for rate in (clean, robust)]
            slopes = [right[1].mean() - 0.6, right[0].mean() - 0.85]
            parts += sign * (slopes[0] * right[0] + slopes[1] * right[1])
        return float(parts.std() / math.sqrt(N))

    order = sorted((0, 1, 2, 3), key=lambda one: (-volume((one,)), one))
    soup: tuple[int, ...] = (order[0],)
    for number in order[1:]:
        more = tuple(sorted((*soup, number)))
        if volume(more) - volume(soup) > 1.3 * noise(more, soup):
            soup = more
    averages = {one.trials for one in found.scored if len(one.trials) > 1}
    assert averages == {(0, 1, 2, 3), soup}
    assert 1 < len(soup) < 4


def test_alphas_go_on_until_a_network_is_dominated() -> None:
    found = values(find_mixtures(ROUND.ingredients(), ROUND))
    trials = ROUND.ingredients().trials.values()
    known = [(one.clean_accuracy, one.robust_accuracy) for one in trials]
    for own in {one.trials for one in found}:
        for way in (-1, 1):
            ended, before = False, [*known]
            for alpha in sorted(ALPHAS, key=lambda one: way * one):
                if way * (alpha - 1) <= 0:
                    continue
                mixture = Mixture(own, alpha)
                assert (mixture in found) is not ended, mixture.name
                if ended:
                    break
                clean, robust = found[mixture]
                ended = any(
                    a >= clean and b >= robust and (a, b) != (clean, robust) for a, b in before
                )
                before.append((clean, robust))


def test_a_barrier_refuses_an_average_by_name_before_its_copies_are_scored() -> None:
    plane = Plane(ROUND.places, wall=1.5)
    found = find_mixtures(plane.ingredients(), plane)
    (note,) = found.notes
    assert note.startswith("average of trials 0-3: refused, clean accuracy is 6")
    assert note.endswith("points below the mean of its trials (a barrier)")
    assert all(len(one.trials) == 1 for one in [*found.scored, *plane.asked])


def test_it_is_a_function_of_the_rows_alone() -> None:
    given = ROUND.ingredients()
    turned = replace(given, trials=dict(reversed(given.trials.items())))
    found = find_mixtures(given, ROUND)
    assert find_mixtures(given, ROUND) == found
    assert find_mixtures(given, ROUND, threads=3) == found
    again = find_mixtures(replace(turned, trials=dict(sorted(turned.trials.items()))), ROUND)
    assert again == found
    assert Mixtures.from_json(found.to_json()).to_json() == found.to_json()


def test_bits_are_kept_of_the_front_alone() -> None:
    given = ROUND.ingredients()
    found = find_mixtures(given, ROUND)
    points = [(one.clean_accuracy, one.robust_accuracy) for one in given.trials.values()]
    own = values(found)
    for each in found.scored:
        clean, robust = own[each.mixture]
        beaten = any(
            a >= clean and b >= robust and (a, b) != (clean, robust)
            for a, b in [*points, *own.values()]
        )
        assert bool(each.bits) is not beaten


@pytest.mark.parametrize(
    ("places", "expected"),
    [({}, set()), ({4: (1.0, 0.2)}, {(4,)}), ({4: (0.5, 1.9), 6: (0.5, 1.95)}, {(4,)})],
)
def test_few_or_collapsed_trials(places: Any, expected: set[tuple[int, ...]]) -> None:
    plane = Plane(places)
    found = find_mixtures(plane.ingredients(), plane)
    assert {one.trials for one in found.scored} == expected
    assert found.notes == ()


def test_one_objective() -> None:
    given = ROUND.ingredients(objectives=TWO[1:], reference_point=None)
    found = values(find_mixtures(given, ROUND))
    assert max(own[1] for own in found.values()) == found[Mixture((0, 1, 2, 3), 1.5)][1]


def test_a_network_nearer_to_the_baseline_may_keep_a_constraint() -> None:
    bound = Bound("val_clean_accuracy", 0.945, is_least=True)
    plane = Plane({0: (1.0, 0.1), 1: (1.1, 0.1)})
    found = find_mixtures(plane.ingredients(bounds=(bound,)), plane)
    kept = [one for one in found.scored if one.scores.clean_accuracy >= 0.945]
    assert kept
    assert any(one.bits for one in kept)


def test_no_network_at_a_place_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plane, "score", lambda *_: None)
    found = find_mixtures(ROUND.ingredients(), ROUND)
    assert found.scored == ()
    assert found.notes == ("average of trials 0-3: refused, an output is not finite",)


def test_the_number_of_ingredients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_INGREDIENTS", 2)
    found = find_mixtures(ROUND.ingredients(), ROUND)
    assert max(len(one.trials) for one in found.scored if len(one.trials) < 4) <= 2


# -- Names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mixture", "name"),
    [
        (Mixture((12,)), "trial 12"),
        (Mixture((12,), 0.5), "trial 12 at alpha 0.5"),
        (Mixture((0, 1, 2, 4, 7, 8)), "average of trials 0-2,4,7,8"),
        (Mixture((3, 9), 1.25), "average of trials 3,9 at alpha 1.25"),
    ],
)
def test_names_can_be_read(mixture: Mixture, name: str) -> None:
    assert mixture.name == name
    assert Mixture.of_name(name) == mixture
    assert sum(mixture.weights) == pytest.approx(mixture.alpha)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1,,2", "1-", "-1", "99999999"])
def test_what_is_no_list_of_trials(text: str) -> None:
    with pytest.raises(ParameterError) as error:
        read_numbers(text)
    got = f"trial: must be trials such as 3 or 0-2,4, got {text or 'nothing'}. Correct it."
    assert str(error.value) == got


# -- What is shown -----------------------------------------------------------------------------


def shown(**fields: Any) -> StudyRecord:
    """Two trials, and their average: more robust than both, on one front with trial 0."""
    rows = [
        example_row(number, values, scores=scored(*values).scores)
        for number, values in enumerate([(0.95, 0.62), (0.93, 0.65)])
    ]
    average = ScoredMixture((0, 1), 1.0, scored(0.94, 0.70).scores, scored(0.94, 0.70).bits)
    near = ScoredMixture((0, 1), 0.5, scored(0.94, 0.61).scores)
    mixtures = Mixtures(2, (average, near), ("average of trials 0,2: refused, why",))
    record = example_record(rows, trials=2, **fields)
    references = {name: scored(0.95, 0.6).scores for name in ("baseline", "plain")}
    return replace(record, references=references, mixtures=mixtures)


def test_the_front_has_mixtures() -> None:
    record = shown()
    info = pareto_info(record)
    assert [point.name for point in info.front] == ["trial 0", "average of trials 0,1"]
    assert [point.on_front for point in info.points] == [True, False]
    expected = 0.10 * 0.02 + 0.09 * 0.08
    assert info.hypervolume == pytest.approx(expected)
    assert status_info(record, 0.0).hypervolume == pytest.approx(expected)
    trials = pareto_info(replace(record, mixtures=None))
    assert [point.number for point in trials.front] == [0, 1]
    assert pick_trial(record, "best val_robust_accuracy").name == "trial 1"
    best = pick_trial(record, "best val_robust_accuracy", mixtures=True)
    assert best.point == Mixture((0, 1))


def test_some_rows_alone_have_the_mixtures_of_these() -> None:
    record = shown()
    assert len(pareto_info(replace(record, rows=record.rows[1:])).mixtures) == 0
    assert len(pareto_info(replace(record, rows=record.rows[::-1])).mixtures) == 2


def test_tables_and_json_name_mixtures() -> None:
    info = pareto_info(shown())
    table = front_table(info)
    assert [row[0].printed for row in table.rows][-2:] == ["trial 0", "average of trials 0,1"]
    assert "Pareto front, 1 of 2 complete trials and 1 of 2 mixtures" in table.notes
    assert "average of trials 0,2: refused, why" in table.notes
    row = result_rows(info)[-1]
    keys = ("name", "number", "trials", "weights", "alpha", "params")
    assert [row[key] for key in keys] == ["mixture", None, [0, 1], [0.5, 0.5], 1.0, {}]


def test_the_answer_may_be_a_mixture() -> None:
    record = shown()
    assert record.mixtures is not None
    bits = {one.mixture.name: {"val": one.bits} for one in record.mixtures.scored}
    answer = study_answer(StudySource(record, read_bits=lambda _: ({}, bits)))
    assert answer.sentences[0].startswith("Take average of trials 0,1 (FMA): ")
    assert answer.trial == "0,1 --alpha 1"
    assert answer.sentences[-1] == (
        "Its trials were trained once, and it is the best of 2 trials and 2 mixtures on these "
        "images, so part of the gain may be luck: `ablate confirm` trains them again, and measures "
        "that on the test images."
    )


def test_constraints_are_judged_on_mixtures() -> None:
    record = shown(constraints=[{"metric": "val_clean_accuracy", "min": 0.945}])
    info = pareto_info(record)
    assert [point.name for point in info.front] == ["trial 0"]
    assert info.hypervolume == pytest.approx(0.10 * 0.02)
