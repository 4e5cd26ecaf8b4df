"""The recorded table of `benchmarks/search`, its surrogate, and a search that is replayed on it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "search"
sys.path.append(str(BENCHMARK))

from compare import Own, own_searches  # noqa: E402
from surrogate import (  # noqa: E402
    TABLE,
    Surrogate,
    Table,
    encode,
    load_table,
)


@pytest.fixture(scope="module")
def table() -> Table:
    return load_table().take(range(60))


@pytest.fixture(scope="module")
def surrogate(table: Table) -> Surrogate:
    return Surrogate(table, trees=8)


def test_the_table_is_whole_and_small(table: Table) -> None:
    assert sum(file.stat().st_size for file in TABLE.iterdir()) < 2_000_000
    assert table.curves.shape == (len(table), 2, table.epochs, 2, len(table.metrics))
    assert table.curves.min() >= 0
    assert table.curves.max() <= 1
    for times in (table.train_seconds, table.score_seconds):
        assert times.shape == table.curves.shape[:3]
        assert (times > 0).all()
    for params in table.params:
        again = table.space.resolve(table.space.encode(params))
        assert encode(table.space, again) == pytest.approx(encode(table.space, params))


@pytest.mark.slow
def test_a_training_is_the_same_with_its_seed_and_another_with_others(
    table: Table, surrogate: Surrogate
) -> None:
    params = table.params[0]
    curve = surrogate.curve(params, 3)
    assert curve.shape == table.curves.shape[2:]
    assert (curve == surrogate.curve(params, 3)).all()
    assert (curve == Surrogate(table, trees=8).curve(params, 3)).all()
    others = [surrogate.curve(params, seed) for seed in range(4, 12)]
    assert any((curve != other).any() for other in others)
    near = np.abs(curve - table.curves.mean(axis=1)[0]).max()
    assert near <= np.abs(table.curves[:, 0] - table.curves[:, 1]).max() / np.sqrt(2) + 0.5 / 359


@pytest.mark.slow
def test_a_search_is_replayed_by_its_seconds(surrogate: Surrogate) -> None:
    trial = float(surrogate.table.train_seconds.mean()) * surrogate.table.epochs
    found = Own(own_searches(4)["ablate random, pareto_asha"])(surrogate, 0, 12 * trial)
    assert 12 * trial <= found.seconds < 14 * trial
    assert 0 < len(found.ends) < found.started  # some were stopped
    assert found.epochs < found.started * surrogate.table.epochs
    assert found.scorings >= found.started  # each at the first rung
    assert [end.seconds for end in found.ends] == sorted(end.seconds for end in found.ends)
    again = Own(own_searches(4)["ablate random, pareto_asha"])(surrogate, 0, 12 * trial)
    assert again.ends == found.ends
