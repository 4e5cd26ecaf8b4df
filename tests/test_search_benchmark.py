"""The recorded table of `benchmarks/search`, its surrogate, and a search that is replayed on it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "search"
sys.path.append(str(BENCHMARK))

from compare import (  # noqa: E402
    REFERENCE,
    SAME_START,
    STEPS,
    Comparison,
    Own,
    PeerError,
    crossing,
    crossing_text,
)
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
    found = Own({"sampler": "random"})(surrogate, 0, 12 * trial, trials=100)
    assert 12 * trial <= found.seconds < 14 * trial
    assert [end.seconds for end in found.ends] == sorted(end.seconds for end in found.ends)
    assert found.ends[-1].seconds == found.seconds
    assert [end.own_seconds for end in found.ends] == sorted(end.own_seconds for end in found.ends)
    again = Own({"sampler": "random"})(surrogate, 0, 12 * trial, trials=100)
    assert [one[::2] for one in again.ends] == [one[::2] for one in found.ends]
    # Without noise a training has what is expected of it.
    noise = [np.subtract(end.values, end.expected) for end in found.ends]
    assert 0 < np.abs(noise).max() < 0.3


@pytest.mark.slow
def test_a_search_is_kept_and_not_run_again(
    surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = Comparison(surrogate.table, 4, tmp_path, Path("none"))
    comparison.surrogate = surrogate
    name = f"{REFERENCE}, {SAME_START}"
    found, bar = comparison.found(name, 1), comparison.found(REFERENCE, 1)
    assert len(bar) == 4
    assert found[-1].seconds >= bar[-1].seconds > found[-2].seconds
    assert [end.values for end in found] != [end.values for end in bar]
    with pytest.raises(PeerError, match="none/neps/bin/python: No such file"):
        comparison.found("neps_bo", 1)
    again = Comparison(surrogate.table, 4, tmp_path, Path("none"))
    monkeypatch.setattr("compare.Surrogate", None)  # it is not needed
    assert again.found(name, 1) == found


def test_the_share_at_which_mean_curves_cross() -> None:
    steps = np.linspace(0, 1, STEPS + 1)
    bar = np.stack([steps, 2 * steps])  # final mean 1.5
    assert crossing(bar, bar) == 1.0
    assert crossing(2 * bar, bar) == 0.5
    assert crossing(0.9 * bar, bar) == np.inf
    # Pairs: of seed 0, seed 1 or both, the same share, so the interval has no width.
    assert crossing_text(2 * bar, bar) == "0.50 [0.50, 0.50]"
    assert crossing_text(0.9 * bar, bar) == "not reached [never, never]"
    one = np.stack([0.9 * steps, 4 * steps])  # alone, seed 0 never has its own bar
    assert crossing(one, bar) == pytest.approx(1.5 / 2.45, abs=0.01)
    assert crossing_text(one, bar) == "0.62 [0.50, never]"
