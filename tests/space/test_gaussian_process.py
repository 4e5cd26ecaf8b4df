"""The model behind the sampler `gp`: what it predicts, and which point it chooses."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
import pytest
from scipy.stats import spearmanr

from ablate.space.gaussian_process import (
    MOST_ROWS,
    Expectation,
    Kernel,
    Process,
    Rows,
    _hypervolume_added,
    _Scores,
    _spread,
)

DIMENSIONS = 6
GROUPS = np.arange(DIMENSIONS)
NONE_PENDING = np.zeros((0, DIMENSIONS))


def additive(points: np.ndarray) -> np.ndarray:
    """Best at 0.8 in the first dimension and high in the second; others change nothing."""
    return 3 * points[:, 1] - 10 * (points[:, 0] - 0.8) ** 2


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, DIMENSIONS))


def expectation(
    values: np.ndarray,
    points: np.ndarray,
    excess: np.ndarray | None = None,
    *,
    pending: np.ndarray = NONE_PENDING,
    reference: list[float] | None = None,
    deviations: np.ndarray | None = None,
    running: Sequence[int] = (),
) -> Expectation:
    excess = np.zeros((len(points), 0)) if excess is None else excess
    known = np.zeros((len(points), values.shape[1] + excess.shape[1]))
    deviations = known if deviations is None else deviations
    rows = Rows(points, values, excess, deviations, np.isin(np.arange(len(points)), running))
    return Expectation(rows, pending, GROUPS, reference, np.random.default_rng(0))


def test_few_points_tell_what_each_dimension_does() -> None:
    points, unseen = drawn(40), drawn(200, seed=1)
    noise = np.random.default_rng(2).normal(0, 0.1, 40)
    process = Process(points, np.exp(additive(points) + noise), Kernel(GROUPS), np.zeros(40))
    (middle,) = process.sample(unseen, np.zeros(1)).T
    assert spearmanr(middle, additive(unseen)).statistic > 0.95
    low, high = process.sample(unseen, np.array([-2.0, 2.0])).T
    assert ((low < np.exp(additive(unseen))) & (np.exp(additive(unseen)) < high)).mean() > 0.8


def test_scores_are_ranks_and_go_back_to_outputs() -> None:
    outputs = np.array([0.3, 0.1, -1e6, 0.2, 0.25, 0.26])
    scores = _Scores(outputs)
    found = scores.scores(outputs)
    assert list(np.argsort(found)) == list(np.argsort(outputs))
    assert scores.outputs(found) == pytest.approx(outputs)
    beyond = scores.outputs(np.array([found.max() + 1, found.max() + 2]))
    assert 0.3 < beyond[0] < beyond[1] < 0.5


@pytest.mark.parametrize("size", [0, 1, 7])
def test_hypervolume_that_one_point_adds(size: int) -> None:
    random = np.random.default_rng(size)
    front, points = random.random((size, 2)), random.random((50, 2)) * 1.2
    if size:
        front = front[moocore.is_nondominated(front, maximise=True)]
    reference = np.array([0.2, 0.1])

    def volume(points: np.ndarray) -> float:
        return (
            float(moocore.hypervolume(points, ref=reference, maximise=True)) if len(points) else 0
        )

    expected = [volume(np.vstack([front, point])) - volume(front) for point in points]
    assert _hypervolume_added(front, reference, points) == pytest.approx(expected)


@pytest.mark.parametrize("objectives", [1, 2, 4])
def test_the_best_candidate_of_any_number_of_objectives(objectives: int) -> None:
    """All objectives want the same, which 30 of the candidates are close to."""
    points = drawn(40)
    values = np.column_stack([(one + 1) * additive(points) for one in range(objectives)])
    candidates = drawn(300, seed=3)
    chosen = expectation(values, points).best(candidates)
    assert additive(candidates)[chosen] > np.quantile(additive(candidates), 0.9)


@pytest.mark.parametrize("reference", [None, 1e3])
@pytest.mark.parametrize("objectives", [1, 2, 4])
def test_the_best_candidate_where_none_adds_anything(
    objectives: int, reference: float | None
) -> None:
    """Equal points differ much, or no point is better than the reference."""
    points, candidates = drawn(60), drawn(300, seed=3)
    noise = np.random.default_rng(4).normal(0, 2, (60, objectives))
    values = additive(points)[:, None] + noise
    given = None if reference is None else [reference] * objectives
    chosen = expectation(values, points, reference=given).best(candidates)
    assert additive(candidates)[chosen] > np.quantile(additive(candidates), 0.8)


def test_a_point_that_violates_a_constraint_adds_nothing() -> None:
    points = drawn(60)
    values, excess = additive(points)[:, None], points[:, :1] - 0.5
    candidates = drawn(300, seed=3)
    assert candidates[expectation(values, points).best(candidates), 0] > 0.5
    assert candidates[expectation(values, points, excess).best(candidates), 0] < 0.55
    # Where no row keeps it, the one that violates it least is best.
    far = points[points[:, 0] > 0.7]
    found = expectation(additive(far)[:, None], far, far[:, :1] + 1.0)
    assert candidates[found.best(candidates), 0] < far[:, 0].min() - 0.2
    order = Rows(points, values, excess, np.zeros((60, 2)), np.zeros(60, dtype=bool)).best_first
    kept = int((excess <= 0).sum())
    assert (excess[order[:kept]] <= 0).all()
    assert (np.diff(excess[order[kept:], 0]) >= 0).all()


def test_what_runs_already_is_not_chosen_again() -> None:
    points, candidates = drawn(40), drawn(300, seed=3)
    values = np.column_stack([additive(points), -points[:, 1]])
    first = expectation(values, points).best(candidates)
    pending = candidates[[first]]
    assert expectation(values, points, pending=pending).best(candidates) != first


def test_believing_a_running_row_changes_no_prediction_but_how_sure_it_is() -> None:
    """Beside a row of which nothing is known yet; recomputed by conditioning on all of it."""
    points, unseen, pending = drawn(30), drawn(50, seed=1), drawn(2, seed=2)
    deviations = np.where(np.arange(30) == 4, 0.5, 0.0)
    outputs = additive(points)
    process = Process(points, outputs, Kernel(GROUPS), deviations)
    before = process.sample(unseen, np.array([0.0, 1.0]))
    here = process.sample(points[[4]], np.array([0.0, 1.0]))
    process.believe(pending, np.array([4]))
    after = process.sample(unseen, np.array([0.0, 1.0]))
    assert after[:, 0] == pytest.approx(before[:, 0], abs=1e-6)
    assert (after[:, 1] - after[:, 0] <= before[:, 1] - before[:, 0] + 1e-9).all()
    now = process.sample(points[[4]], np.array([0.0, 1.0]))
    assert np.ptp(now) < np.ptp(here)
    assert len(process._points) == 32


def test_what_is_only_expected_counts_by_how_far_it_may_be_off() -> None:
    """Half of the rows were stopped, and what is expected of them is another function."""
    points, unseen = drawn(60), drawn(200, seed=1)
    stopped = np.arange(60) % 2 == 1
    outputs = np.where(stopped, 6 * points[:, 5], additive(points))

    def found(deviation: float) -> float:
        process = Process(points, outputs, Kernel(GROUPS), np.where(stopped, deviation, 0.0))
        (middle,) = process.sample(unseen, np.zeros(1)).T
        return float(spearmanr(middle, additive(unseen)).statistic)

    assert found(5.0) > 0.9 > found(0.0) + 0.1


def test_a_collapsed_training_changes_no_range() -> None:
    """Nor what a point adds, where no reference point is given."""
    points = drawn(40)
    values = np.column_stack([additive(points), -additive(points) + 2 * points[:, 3]])
    values[values[:, 0].argmin()] = -1e9
    assert np.abs(expectation(values, points)._reference).max() < 100


def test_a_row_that_was_stopped_is_on_no_front() -> None:
    """The best of what is only expected leaves nothing to add, if it is taken as known."""
    points, candidates = drawn(40), drawn(300, seed=3)
    values = additive(points)[:, None]
    values[7] = 100.0
    deviations = np.zeros((40, 1))
    taken = expectation(values, points, deviations=deviations)
    deviations[7] = 50.0
    left = expectation(values, points, deviations=deviations)
    assert taken._front.max() == 100.0
    assert left._front.max() == np.delete(values, 7).max()
    chosen = left.best(candidates)
    assert additive(candidates)[chosen] > np.quantile(additive(candidates), 0.9)


def test_a_long_search_keeps_its_best_rows_and_some_of_all_times() -> None:
    order = np.random.default_rng(0).permutation(1000)
    kept = _spread(order)
    assert len(set(kept.tolist())) == MOST_ROWS
    assert set(order[: MOST_ROWS // 2]) <= set(kept)
    others = np.sort(kept[MOST_ROWS // 2 :])
    assert np.diff(others).max() < 40
    assert list(_spread(order[:MOST_ROWS])) == list(order[:MOST_ROWS])
