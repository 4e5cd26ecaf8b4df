"""What samplers learn from rows that were stopped: the values that are expected of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from operator import add
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from ablate.ledger.mirror import Mirror, remaining_changes
from ablate.ledger.record import Rung
from ablate.ledger.tables import Draws
from ablate.space.parse import parse_space
from ablate.study.scores import Bound
from ablate.study.settings import Study

MIDDLE_HALF = 2 * NormalDist().inv_cdf(0.75)
"""Its width, of a standard normal distribution."""

COMPLETE, PRUNED, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING


class Known:
    """Values of trials at rungs and ends, and what is expected of the others."""

    def __init__(self) -> None:
        self.rungs: dict[int, dict[int, tuple[float, ...]]] = {}
        self.ends: dict[int, tuple[float, ...]] = {}

    def reach(self, number: int, epoch: int, *values: float) -> None:
        self.rungs.setdefault(epoch, {})[number] = values

    def expected(self, number: int) -> tuple[float, ...]:
        epoch = max(epoch for epoch, rung in self.rungs.items() if number in rung)
        change = remaining_changes(self.rungs, self.ends)[epoch]
        return tuple(map(add, self.rungs[epoch][number], change.expected))

    def deviations(self, epoch: int) -> tuple[float, ...]:
        return remaining_changes(self.rungs, self.ends)[epoch].deviations


def test_the_median_change_is_added_rung_by_rung() -> None:
    known = Known()
    for number, (first, third, end) in enumerate([(1, 3, 7), (2, 5, 9), (3, 4, 6)]):
        known.reach(number, 1, first, -first)
        known.reach(number, 3, third, -third)
        known.ends[number] = (end, -end)
    known.reach(3, 1, 5.0, 0.0)
    known.reach(4, 1, 5.0, 0.0)
    known.reach(4, 3, 8.0, 1.0)
    # From epoch 1 to 3: 2, 3, 1, and 3 of trial 4; from 3 to the end: 4, 4, 2.
    assert known.expected(3) == (5 + 2.5 + 4, -1.5 - 4)
    assert known.expected(4) == (8 + 4, 1 - 4)
    # Of the middle halves, 1.75 to 3 and 3 to 4, as a normal distribution has them.
    first, last = ((width / MIDDLE_HALF) ** 2 for width in (1.25, 1.0))
    assert known.deviations(3) == pytest.approx([math.sqrt(last)] * 2)
    assert known.deviations(1)[0] == pytest.approx(math.sqrt(first + last))


def test_fewer_than_three_trials_say_nothing_about_a_change() -> None:
    known = Known()
    for number in range(2):
        known.reach(number, 1, 0.1)
        known.ends[number] = (0.9,)
    known.reach(2, 1, 0.2)
    assert known.expected(2) == (0.2,)
    assert known.deviations(1) == pytest.approx([0.05 / MIDDLE_HALF])
    known.ends[2] = (0.8,)
    known.reach(3, 1, 0.2)
    assert known.expected(3) == pytest.approx((0.2 + 0.8,))


def test_a_rung_of_other_settings_is_passed_over() -> None:
    known = Known()
    for number in range(4):  # with rungs after 1, 3 epochs
        known.reach(number, 1, 0.1)
        known.reach(number, 3, 0.4)
        known.ends[number] = (0.9,)
    for number in range(4, 8):  # after 2
        known.reach(number, 2, 0.2)
        known.ends[number] = (0.8,)
    known.reach(8, 1, 0.1)
    known.reach(9, 2, 0.3)
    assert known.expected(8) == pytest.approx((0.1 + 0.3 + 0.5,))
    assert known.expected(9) == pytest.approx((0.3 + 0.6,))


def study_of(sampler: str, **space: Any) -> Study:
    return Study.model_validate(
        {
            "version": 1,
            "name": "stopped",
            "trainable": "loop:train",
            "finetune": {"budget": {"epochs": 9}},
            "space": space or {"x": {"float": [0.0, 1.0]}, "y": {"float": [0.0, 1.0]}},
            "objectives": [{"metric": "a"}, {"metric": "b", "direction": "minimize"}],
            "search": {"sampler": sampler, "pruner": {}},
        }
    )


def mirror_of(study: Study) -> Mirror:
    return Mirror(study, parse_space(study, {}), {})


def shown(mirror: Mirror) -> list[tuple[TrialState, list[float] | None]]:
    return [(trial.state, trial.values) for trial in mirror._study.get_trials()]


def shown_as(mirror: Mirror, key: str) -> list[int]:
    """Numbers of the trials with this user attribute."""
    return [one.number for one in mirror._study.get_trials() if one.user_attrs.get(key)]


Kept = tuple[TrialState, list[float], Draws]


def search(mirror: Mirror, rows: int, *, learns: bool = True) -> Iterator[tuple[Kept, list[Rung]]]:
    """Rows one after another: every second one is stopped at epoch 1."""
    for number in range(rows):
        params, draws = mirror.draw(number)
        x = params["x"]
        rung = Rung(1, {"a": x, "b": x * x}, stop=number % 2 == 1, sequence=number + 1)
        if learns:
            mirror.reach(number, rung)
        state, values = (PRUNED, []) if rung.stop else (COMPLETE, [x + 0.5, x * x + 1])
        mirror.end(number, state, values)
        yield (state, values, draws), [rung]


def test_a_row_that_reached_a_rung_is_shown_with_its_expected_values() -> None:
    mirror = mirror_of(study_of("random"))
    kept = list(search(mirror, 8))
    rows = [row for row, _ in kept]
    mirror.draw(8)
    mirror.reach(8, Rung(1, {"a": 0.25, "b": 0.5}, stop=False, sequence=9))
    mirror.draw(9)
    assert [state for state, _ in shown(mirror)] == [COMPLETE] * 9 + [RUNNING]
    assert shown(mirror)[8][1] == pytest.approx([0.75, 1.5])
    stopped = [number for number, ((state, *_), _) in enumerate(kept) if state == PRUNED]
    assert shown_as(mirror, "deviations") == [*stopped, 8]
    assert shown_as(mirror, "running") == [8]
    for number, (_, _, draws) in enumerate(rows):
        x = draws.params["x"]
        assert shown(mirror)[number][1] == pytest.approx([x + 0.5, x * x + 1])
    assert mirror.values(0) == rows[0][1]
    mirror.end(8, TrialState.FAIL)
    mirror.end(9, COMPLETE, [0.1, 0.2])
    assert [one for one, _ in shown(mirror)][8:] == [TrialState.FAIL, COMPLETE]
    assert shown_as(mirror, "failed") == [8]
    assert shown(mirror)[9][1] == [0.1, 0.2]


def test_a_row_without_all_objectives_at_its_rung_is_not_learned_from() -> None:
    mirror = mirror_of(study_of("random"))
    scores: tuple[dict[str, float], ...] = ({"a": 0.1}, {"": 0.1}, {"a": 0.1, "b": math.nan})
    for number, one in enumerate(scores):
        mirror.draw(number)
        mirror.reach(number, Rung(1, one, stop=True, sequence=number + 1))
        mirror.end(number, PRUNED)
    assert shown(mirror) == [(TrialState.FAIL, None)] * 3


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_a_mirror_from_the_database_draws_as_the_one_that_followed(sampler: str) -> None:
    study, rows = study_of(sampler), 60 if sampler == "nsga2" else 14
    mirror = mirror_of(study)
    kept = list(search(mirror, rows))
    again = Mirror(study, parse_space(study, {}), mirror.changed_attributes())
    rungs = [(number, rung) for number, (_, found) in enumerate(kept) for rung in found]
    again.fill((row for row, _ in kept), rungs)
    drawn = mirror.draw(rows)
    assert again.draw(rows) == drawn
    assert shown(again) == shown(mirror)
    # Rows that were stopped make a difference to each of these samplers.
    alone = mirror_of(study)
    for _ in itertools.islice(search(alone, rows, learns=False), rows):
        pass
    assert alone.draw(rows) != drawn


def test_a_collapsed_training_makes_no_expectation_less_certain() -> None:
    random = np.random.default_rng(0)
    deviations = []
    for collapsed in (None, -1e6):
        known = Known()
        for number in range(30):
            start = random.random()
            known.reach(number, 1, start)
            end = start - 0.3 + 0.02 * random.standard_normal()
            if number < 15:
                known.ends[number] = (collapsed if collapsed and number == 4 else end,)
        deviations += known.deviations(1)
    assert deviations == pytest.approx([0.02, 0.02], abs=0.015)


def constrained(sampler: str) -> tuple[Study, tuple[Bound, ...]]:
    limits = [{"metric": "b", "max": 0.5}, {"metric": "size", "min": 2.0, "max": 8.0}]
    study = study_of(sampler)
    study = Study.model_validate({**study.model_dump(mode="json"), "constraints": limits})
    return study, study.bounds(None)


def constrained_search(
    mirror: Mirror, bounds: tuple[Bound, ...], rows: int
) -> Iterator[tuple[Kept, list[Rung]]]:
    """Rows one after another: of three, one is stopped at epoch 1, and one fails."""
    for number in range(rows):
        params, draws = mirror.draw(number)
        x, y = params["x"], params["y"]
        metrics = {"a": x - y, "b": x * x, "size": 10 * y}
        rung = Rung(1, metrics, stop=number % 3 == 1, sequence=number + 1)
        mirror.reach(number, rung)
        state, values = (PRUNED, []) if rung.stop else (COMPLETE, [metrics["a"], metrics["b"]])
        if number % 3 == 2:
            state, values = TrialState.FAIL, []
        if state == COMPLETE:
            values += [bound.excess(metrics) for bound in bounds]
        mirror.end(number, state, values)
        yield (state, values, draws), [rung]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_sampler_sees_what_is_in_excess_of_each_bound(sampler: str) -> None:
    study, bounds = constrained(sampler)
    rows = 90 if sampler == "nsga2" else 36
    mirror = Mirror(study, parse_space(study, {}), {}, bounds)
    kept = list(constrained_search(mirror, bounds, rows))
    trials = mirror._study.get_trials()
    for trial, ((state, _, _), (rung,)) in zip(trials, kept, strict=True):
        if state == TrialState.FAIL:
            assert trial.constraints == {}
            continue
        assert trial.state == COMPLETE
        assert trial.values == [rung.scores["a"], rung.scores["b"]]
        assert list(trial.constraints.values()) == [one.excess(rung.scores) for one in bounds]
    # The same from the database; another draw than without constraints, if a sampler reads them.
    again = Mirror(study, parse_space(study, {}), mirror.changed_attributes(), bounds)
    again.fill((row for row, _ in kept), [(n, rung) for n, (_, (rung,)) in enumerate(kept)])
    drawn = mirror.draw(rows)
    assert again.draw(rows) == drawn
    free = study_of(sampler)
    alone = Mirror(free, parse_space(free, {}), {})
    drawn_alone = [draws.params for (_, _, draws), _ in constrained_search(alone, (), rows)]
    is_same = drawn_alone == [draws.params for (_, _, draws), _ in kept]
    assert is_same == (sampler in ("random", "qmc"))
