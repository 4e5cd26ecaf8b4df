"""MLflow: in a store of its own, and on a real server that is killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from forked_driver import ForkedDriver
from mlflow_server import PYTHON, MlflowServer
from own_study import write_own_study
from tracker_readers import differences, read_mlflow

import ablate

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import faults


@pytest.mark.slow
def test_each_row_is_there_once(work: Path) -> None:
    """Also where someone has doubled a run, and one is left that was not finished."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{work}/mlflow.db"
    file = write_own_study(work, "own", run={"trackers": [{"mlflow": {"uri": uri}}]})
    result = run_here("launch", file, "--executor", "inline")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"own: mlflow: 3 trials, 3 of them new, in {uri}" in result.stdout + result.stderr
    record, shown = ablate.read("runs/own"), read_mlflow(uri, "own")
    assert differences(record, {"mlflow": shown}) == []
    for row in record.rows:
        tags = shown.rows[row.number]
        assert tags["params"] == {"x": str(row.params["x"])}
        assert (tags["status"], tags["ablate.state"]) == ("FINISHED", "COMPLETE")
        assert tags["ablate.fingerprint"] == record.fingerprint
        assert tags["ablate.train_seed"] == "0"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("own")
    assert experiment is not None
    ids = [experiment.experiment_id]
    (parent,) = client.search_runs(ids, "tags.`ablate.row` = 'study'")
    assert {row["mlflow.parentRunId"] for row in shown.rows.values()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"study.yaml", "pareto.html", "report.html", "table.md"}

    (run,) = client.search_runs(ids, "tags.`ablate.row` = '2'")
    doubled = {name: run.data.tags[name] for name in ("ablate.study", "ablate.row")}
    for is_whole in (True, False):
        more = client.create_run(ids[0], run.info.start_time + 1, doubled)
        if is_whole:
            client.set_terminated(more.info.run_id)
    with pytest.raises(AssertionError, match="two runs for row 2"):
        read_mlflow(uri, "own")
    result = run_here("track", "runs/own")
    assert result.stdout.startswith(f"mlflow: 3 trials, 0 of them new, in {uri}\n")
    assert differences(record, {"mlflow": read_mlflow(uri, "own")}) == []


@pytest.fixture(scope="module")
def server() -> Iterator[MlflowServer]:
    python = os.environ.get(PYTHON)
    if python is None:
        pytest.skip(f"{PYTHON} must name the Python of an environment with MLflow, as in .ci/run")
    made = MlflowServer(python)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["driver: between a run and its numbers", "MLflow: killed"])
def test_each_row_is_there_once_after_a_fault(server: MlflowServer, name: str) -> None:
    """All trackers, to which rows are passed on while the study runs."""
    bench = faults.Bench(None, None, ForkedDriver, server)
    killed = bench.tracker_killed(until_the_end=True)
    fault = {**faults.TRACKER_POINTS, "MLflow: killed": killed}[name]
    assert bench.run(name, fault, inline=True) == []
