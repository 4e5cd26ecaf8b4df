"""The recorded table of `benchmarks/search`, its surrogate, and a search that is replayed on it."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "search"
sys.path.append(str(BENCHMARK))

from compare import Own, Peer, PeerError, own_searches  # noqa: E402
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


def test_seconds_are_those_of_one_machine_whichever_recorded(tmp_path: Path) -> None:
    for number in range(2):
        chunk = json.loads(gzip.decompress((TABLE / "quickstart_4_000.json.gz").read_bytes()))
        if number:
            chunk["environment"]["precision"] = "fp32"
            chunk["baseline"][0] += 0.001
            for row in chunk["rows"]:
                row["train_seconds"] = [3 * one for one in row["train_seconds"]]
                row["score_seconds"] = [5 * one for one in row["score_seconds"]]
        written = tmp_path / f"quickstart_4_{number:03d}.json.gz"
        written.write_bytes(gzip.compress(json.dumps(chunk).encode()))
    both = load_table("quickstart", 4, tmp_path)
    for times in (both.train_seconds, both.score_seconds):
        assert times[10:] == pytest.approx(times[:10])
    chunk["environment"]["precision"] = "bf16"
    written.write_bytes(gzip.compress(json.dumps(chunk).encode()))
    with pytest.raises(ValueError, match="got another baseline than in quickstart_4_000"):
        load_table("quickstart", 4, tmp_path)


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


@pytest.mark.slow
def test_a_peer_asks_and_is_answered(surrogate: Surrogate) -> None:
    found = Peer("optuna_random", Path(sys.executable), trials=3)(surrogate, 0, np.inf)
    assert (len(found.ends), found.started, found.scorings) == (3, 3, 3)
    assert found.epochs == 3 * surrogate.table.epochs
    with pytest.raises(PeerError, match="KeyError: 'unknown'"):
        Peer("unknown", Path(sys.executable))(surrogate, 0, np.inf)
    with pytest.raises(PeerError, match="No such file"):
        Peer("optuna_random", BENCHMARK / "none")(surrogate, 0, np.inf)
