"""Searches that stop trials and have constraints: exact after every kill."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from commands import run_here
from forked_driver import ForkedDriver
from own_study import write_own_study

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.ledger.record import StudyRecord, row_violation

LOOP = """
import math, os, pathlib, signal

def train(context):
    number, x, y = context.number, context.params["x"], context.params["y"]
    for epoch in range(1, context.epochs + 1):
        if (number, epoch) in {kills}:
            try:
                pathlib.Path(f"killed-{{number}}").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        done = 1 - math.exp(-epoch * (0.2 + y))
        scores = {{"a": done * (x - y * y), "b": done * (1 - x * x), "cost": epoch * (1 + y)}}
        scores |= {{"c": done * y, "d": done * (1 - x * y), "e": done * (x + y - 2 * x * x)}}
        context.report(epoch, scores)
"""
KILLS = [(5, 1), (5, 3), (11, 2), (14, 9)]


def launched(
    folder: Path,
    objectives: str,
    kills: list[tuple[int, int]],
    constraints: Sequence[Mapping[str, object]] = (),
    search: Mapping[str, object] | None = None,
) -> tuple[list[int | None], StudyRecord]:
    folder.mkdir()
    file = write_own_study(
        folder,
        "pruned",
        LOOP.format(kills=kills),
        objectives=[{"metric": name} for name in objectives],
        finetune={"budget": {"epochs": 9}},
        space={"x": {"float": [0.0, 1.0]}, "y": {"float": [0.0, 1.0]}},
        constraints=list(constraints),
        search=search or {"trials": 16, "pruner": {}},
    )
    codes: list[int | None] = []
    program = ["launch", str(file), "--resume", "--executor", "inline"]
    output = ""
    while not codes or codes[-1] == -signal.SIGKILL:
        driver = ForkedDriver(program, folder, os.environ)
        output, _ = driver.communicate(timeout=240)
        codes.append(driver.returncode)
    assert codes[-1] == 0, output
    return codes, ablate.read(folder / "runs" / "pruned")


CONSTRAINTS = ({"metric": "b", "min": 0.5}, {"metric": "cost", "max": 14})


@pytest.mark.long
@pytest.mark.parametrize(
    ("objectives", "sampler", "constraints"),
    [("a", "auto", ()), ("abcde", "auto", ()), ("ab", "tpe", CONSTRAINTS)],
)
def test_rows_and_decisions_are_the_same_after_kills(
    tmp_path: Path, objectives: str, sampler: str, constraints: Sequence[Mapping[str, object]]
) -> None:
    search = {"trials": 16, "sampler": sampler, "pruner": {}}
    _, whole = launched(tmp_path / "whole", objectives, [], constraints, search)
    codes, killed = launched(tmp_path / "killed", objectives, KILLS, constraints, search)
    assert len(codes) > 1
    for one, other in zip(whole.rows, killed.rows, strict=True):
        assert (one.params, one.state, one.values) == (other.params, other.state, other.values)
        assert one.rungs == other.rungs
    states = [row.state for row in whole.rows]
    assert states.count("PRUNED") >= 3
    assert states.count("COMPLETE") >= 3
    assert set(states) == {"PRUNED", "COMPLETE"}
    rungs = [rung for row in whole.rows for rung in row.rungs]
    assert {rung.epoch for rung in rungs} == {1, 3}
    metrics = {*objectives, *(str(one["metric"]) for one in constraints)}
    assert all(set(rung.scores) == metrics for rung in rungs)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_only_trials_that_keep_the_constraints_count(tmp_path: Path, sampler: str) -> None:
    constraints = [{"metric": "b", "min": 0.6}, {"metric": "cost", "max": 14}]
    search = {"trials": 14, "sampler": sampler, "reference_point": [-1.0, 0.0]}
    _, record = launched(tmp_path / "runs", "ab", [], constraints, search=search)
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
    assert {best.point.trials[0] for best in status.best} <= set(keeping)
    assert status.hypervolume == info.hypervolume
    note = f"{14 - len(keeping)} of 14 complete trials"
    assert any(mark.startswith(note) for mark in info.marks)
    listed = run_here(
        "trials", tmp_path / "runs" / "runs" / "pruned", "--json", "--where", "violation=0"
    )
    assert [row["number"] for row in json.loads(listed.stdout)] == keeping
