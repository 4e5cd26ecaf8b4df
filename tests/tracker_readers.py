"""What trackers show of a study, read by their own readers: TensorBoard's EventAccumulator,
`wandb leet inspect`, and MLflow's client."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ablate.ledger.record import TERMINAL, StudyRecord

Points = Counter[tuple[int, int, str, float]]
"""How often a tracker shows a number of a row: row, epoch, name, value in single precision."""


class Shown(NamedTuple):
    """What a tracker shows: numbers by row and epoch, and for each row what else is known."""

    points: Points
    rows: Mapping[int, Mapping[str, Any]]


def expected_points(record: StudyRecord) -> Points:
    """What must be shown of a study with a custom loop: each number of its ended rows, once."""
    return Counter(
        (row.number, int(entry["epoch"]), name, rounded(value))
        for row in record.rows
        if row.state in TERMINAL
        for entry in row.curve
        for name, value in {**entry["scores"], "seconds": entry["seconds"]}.items()
    )


def rounded(value: float) -> float:
    """In single precision, which is TensorBoard's."""
    return float(np.float32(value))


def _without_rungs(points: Points) -> Points:
    return Counter({key: n for key, n in points.items() if not key[2].startswith("rung.")})


def read_tensorboard(folder: Path) -> Shown:
    """Read all event files below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    points: Points = Counter()
    rows: dict[int, dict[str, Any]] = {}
    for run in sorted(folder.glob("*/trial-*")):
        found = EventAccumulator(str(run), size_guidance={"scalars": 0})
        found.Reload()
        number = int(run.name.removeprefix("trial-"))
        assert number not in rows, f"two folders for row {number}"
        start = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        session = metadata.parse_session_start_info_plugin_data(start)
        rows[number] = {
            "params": {
                name: getattr(value, value.WhichOneof("kind"))
                for name, value in session.hparams.items()
            },
        }
        for name in found.Tags()["scalars"]:
            for event in found.Scalars(name):
                points[number, event.step, name, rounded(event.value)] += 1
    return Shown(_without_rungs(points), rows)


def read_wandb(folder: Path) -> Shown:
    """Read all offline runs below a folder."""
    from wandb.util import get_core_path

    points: Points = Counter()
    rows: dict[int, dict[str, Any]] = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        which = file.stem.rpartition("-")[2]
        if which == "study":
            continue
        command = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
        done = subprocess.run(
            [*command, "--run-file", str(file)], capture_output=True, text=True, check=True
        )
        assert int(which) not in rows, f"two runs for row {which}"
        row: dict[str, Any] = {}
        for line in map(json.loads, done.stdout.splitlines()):
            content = line[line["type"]]
            if line["type"] == "run":
                row |= {"params": content["config"]["update"], "name": content["display_name"]}
            elif line["type"] == "summary":
                row |= content["update"]
            elif line["type"] == "exit":
                row["exit_code"] = content["exit_code"]
            elif line["type"] == "history":
                for name, value in content["item"].items():
                    if not name.startswith("_"):
                        step = content["step"].get("num", 0)
                        points[int(which), step, name, rounded(float(value))] += 1
        row["params"].pop("_wandb", None)
        rows[int(which)] = row
    return Shown(_without_rungs(points), rows)


def read_mlflow(uri: str, experiment: str) -> Shown:
    """Read the runs of an experiment; runs in the trash are left out, as on its page."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None, f"no experiment {experiment}"
    points: Points = Counter()
    rows: dict[int, dict[str, Any]] = {}
    for run in client.search_runs([found.experiment_id]):
        which = run.data.tags["ablate.row"]
        if which == "study" or run.info.end_time is None:
            continue
        assert int(which) not in rows, f"two runs for row {which}"
        rows[int(which)] = {**run.data.tags, "params": run.data.params, "status": run.info.status}
        for name in run.data.metrics:
            for one in client.get_metric_history(run.info.run_id, name):
                points[int(which), one.step, name, rounded(one.value)] += 1
    return Shown(_without_rungs(points), rows)


def differences(record: StudyRecord, shown: Mapping[str, Shown]) -> list[str]:
    """What each tracker shows too often, not at all, or otherwise than the ledger has it."""
    wrong = []
    expected = expected_points(record)
    ended = {row.number for row in record.rows if row.state in TERMINAL}
    for name, found in shown.items():
        if set(found.rows) != ended:
            wrong.append(f"{name}: rows {sorted(found.rows)} instead of {sorted(ended)}")
        more, less = found.points - expected, expected - found.points
        if more or less:
            wrong.append(f"{name}: too much {list(more)[:3]}, too little {list(less)[:3]}")
    return wrong
