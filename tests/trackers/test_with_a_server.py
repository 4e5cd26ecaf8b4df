"""All trackers at once, with a real MLflow server, while a study runs and after faults."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_here
from forked_driver import ForkedDriver
from mlflow_server import PYTHON, MlflowServer
from own_study import write_own_study
from tracker_readers import differences, read_mlflow, read_tensorboard, read_wandb

import ablate
from ablate.lifecycle.open_study import open_study
from ablate.report.tracked import hand_over
from ablate.trackers import feed

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOOP = """
import json, time, urllib.request


def train(context):
    for epoch in range(context.start_epoch + 1, context.epochs + 1):
        if context.number == 1 and epoch == 3:
            wait_until_shown()
        context.report(epoch, {"a": context.params["x"] / epoch, "b": 1.0 * epoch})


def wait_until_shown():
    # The server has two epochs of this row, which still runs.
    for _ in range(600):
        found = runs("tags.`ablate.row` = '1'")
        if found and metric(found[0], "b") == 2.0:
            with open("shown", "w") as file:
                json.dump(found[0]["info"], file)
            return
        time.sleep(0.1)


def runs(condition):
    body = {"experiment_ids": ["1"], "filter": condition}
    return ask("runs/search", body).get("runs", [])


def metric(run, name):
    return {one["key"]: one["value"] for one in run["data"].get("metrics", [])}.get(name)


def ask(what, body):
    request = urllib.request.Request(
        "URI/api/2.0/mlflow/" + what,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
"""


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


def test_rows_are_shown_while_they_run_and_once(
    server: MlflowServer, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr(feed, "_SHARE", 100.0)
    trackers = ["tensorboard", "wandb", {"mlflow": {"uri": server.uri}}]
    budget = {"budget": {"epochs": 3}}
    loop = LOOP.replace("URI", server.uri)
    file = write_own_study(work, "own", loop, finetune=budget, run={"trackers": trackers})
    result = run_here("launch", file, "--executor", "inline")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "own: mlflow: 3 trials, " in result.stdout + result.stderr
    assert json.loads((work / "shown").read_text())["status"] == "RUNNING"
    record, shown = ablate.read("runs/own"), read_mlflow(server.uri, "own")
    places = {
        "mlflow": shown,
        "tensorboard": read_tensorboard(work / "runs/own/tensorboard"),
        "wandb": read_wandb(work / "runs/own/wandb"),
    }
    assert differences(record, places) == []
    for row in record.rows:
        tags = shown.rows[row.number]
        assert tags["params"] == {"x": str(row.params["x"])}
        assert (tags["status"], tags["ablate.state"]) == ("FINISHED", "COMPLETE")
        assert tags["ablate.fingerprint"] == record.fingerprint
        assert tags["ablate.train_seed"] == "0"
    client = MlflowClient(server.uri)
    (parent,) = client.search_runs(["1"], "tags.`ablate.row` = 'study'")
    assert {row["mlflow.parentRunId"] for row in shown.rows.values()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"study.yaml", "pareto.html", "report.html", "table.md"}


@pytest.mark.parametrize("name", ["driver: between a run and its numbers", "MLflow: killed"])
def test_each_row_is_there_once_after_a_fault(server: MlflowServer, name: str) -> None:
    bench = faults.Bench(None, None, ForkedDriver, server)
    killed = bench.tracker_killed(until_the_end=True)
    fault = {**faults.TRACKER_POINTS, "MLflow: killed": killed}[name]
    assert bench.run(name, fault, inline=True) == []


def test_the_judge_sees_a_run_that_is_there_twice(server: MlflowServer, work: Path) -> None:
    """A run that someone has doubled is found, and `ablate track` deletes it."""
    from mlflow import MlflowClient

    file = write_own_study(work, "twice", run={"trackers": [{"mlflow": {"uri": server.uri}}]})
    assert run_here("launch", file, "--executor", "inline").returncode == 0
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name("twice")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id], "tags.`ablate.row` = '2'")
    tags = {name: run.data.tags[name] for name in ("ablate.study", "ablate.row")}
    for is_whole in (True, False):
        more = client.create_run(found.experiment_id, run.info.start_time + 1, tags)
        if is_whole:
            client.set_terminated(more.info.run_id)
    with pytest.raises(AssertionError, match="two runs for row 2"):
        read_mlflow(server.uri, "twice")
    result = run_here("track", "runs/twice")
    assert result.stdout.startswith(f"mlflow: 3 trials, 0 of them new, in {server.uri}\n")
    assert (
        differences(ablate.read("runs/twice"), {"mlflow": read_mlflow(server.uri, "twice")}) == []
    )


def test_a_study_that_the_server_lacks_is_made_for_its_pages(
    server: MlflowServer, work: Path
) -> None:
    """As after a server that was away while the rows were caught up with."""
    from mlflow import MlflowClient

    file = write_own_study(work, "lacking")
    assert run_here("launch", file, "--executor", "inline").returncode == 0
    file = write_own_study(work, "lacking", run={"trackers": [{"mlflow": {"uri": server.uri}}]})
    assert not any(hand_over(open_study(file)))
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name("lacking")
    assert found is not None
    (run,) = client.search_runs([found.experiment_id], "tags.`ablate.row` = 'study'")
    assert "table.md" in {one.path for one in client.list_artifacts(run.info.run_id)}
