"""Searches under constraints, with a custom training loop: every sampler, pruning, kills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run_alone
from own_study import write_own_study

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.ledger.record import StudyRecord, row_violation

LOOP = """
import math

def train(context):
    x, y = context.params["x"], context.params["y"]
    for epoch in range(1, context.epochs + 1):
        done = 1 - math.exp(-epoch * (0.2 + y))
        scores = {"a": done * (x - y * y), "b": done * (1 - x * x), "cost": epoch * (1 + y)}
        context.report(epoch, scores)
"""
CONSTRAINTS = [{"metric": "b", "min": 0.6}, {"metric": "cost", "max": 14}]


def finished(folder: Path, name: str, loop: str = LOOP, **keys: object) -> StudyRecord:
    settings = {
        "finetune": {"budget": {"epochs": 9}},
        "space": {"x": {"float": [0.0, 1.0]}, "y": {"float": [0.0, 1.0]}},
        "constraints": CONSTRAINTS,
        "search": {"trials": 14, "sampler": "tpe", "reference_point": [-1.0, 0.0]},
    }
    file = write_own_study(folder, name, loop, **{**settings, **keys})
    done = run_alone("launch", file, "--executor", "inline", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return ablate.read(folder / "runs" / name)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_only_trials_that_keep_the_constraints_count(tmp_path: Path, sampler: str) -> None:
    search = {"trials": 14, "sampler": sampler, "reference_point": [-1.0, 0.0]}
    record = finished(tmp_path, "own", search=search)
    assert [row.state for row in record.rows] == ["COMPLETE"] * 14
    violated = {row.number: row_violation(row, record.bounds) for row in record.rows}
    keeping = [number for number, missed in violated.items() if not missed]
    assert 0 < len(keeping) < 14
    for row in record.rows:
        assert row.scores is not None
        metrics = row.scores.metrics()
        missed = max(0, (0.6 - metrics["b"]) / 0.6) + max(0, (metrics["cost"] - 14) / 14)
        assert violated[row.number] == pytest.approx(missed, abs=1e-8)
    info = pareto_info(record)
    assert info.front
    assert {point.number for point in info.front} <= set(keeping)
    status = status_info(record, 0.0)
    assert {best.number for best in status.best} <= set(keeping)
    assert status.hypervolume == info.hypervolume
    note = f"{14 - len(keeping)} of 14 complete trials"
    assert any(mark.startswith(note) for mark in info.marks)
    listed = run_alone("trials", tmp_path / "runs" / "own", "--json", "--where", "violation=0")
    assert [row["number"] for row in json.loads(listed.stdout)] == keeping


@pytest.mark.slow
def test_where_no_trial_keeps_them_the_nearest_is_named(tmp_path: Path) -> None:
    record = finished(
        tmp_path, "none", constraints=[{"metric": "b", "min": 1.5}], search={"trials": 3}
    )
    info = pareto_info(record)
    assert (info.front, info.picked, len(info.points)) == ((), None, 3)
    nearest = max(record.rows, key=lambda row: (row.values or ())[1])
    value = (nearest.values or ())[1]
    said = f"nearest: trial {nearest.number}, whose b is {value:.6g}, must be at least 1.5"
    assert said in " ".join(info.marks)
    shown = run_alone("status", tmp_path / "runs" / "none")
    assert "no complete trial keeps all constraints" in " ".join(shown.stdout.split())
    again = run_alone("resume", tmp_path / "runs" / "none", "--executor", "inline", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    assert said in again.stderr, "there is no row that could say it"


@pytest.mark.slow
def test_a_trial_without_the_metric_of_a_constraint_fails_with_its_name(tmp_path: Path) -> None:
    file = write_own_study(
        tmp_path, "lacks", constraints=[{"metric": "size", "max": 3}], search={"trials": 2}
    )
    checked = run_alone("check", file, cwd=tmp_path)
    assert "1 parameter searched, objectives a, b, constraints size" in checked.stdout
    done = run_alone("launch", file, "--executor", "inline", cwd=tmp_path)
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert "must have every objective and constraint, got a, b without size" in said
