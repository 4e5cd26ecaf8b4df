"""A search that stops trials: the same rows and decisions after every kill."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from commands import run_alone
from own_study import write_own_study

import ablate
from ablate.ledger.record import StudyRecord

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
    sampler: str = "auto",
) -> tuple[list[int], StudyRecord]:
    folder.mkdir()
    file = write_own_study(
        folder,
        "pruned",
        LOOP.format(kills=kills),
        objectives=[{"metric": name} for name in objectives],
        finetune={"budget": {"epochs": 9}},
        space={"x": {"float": [0.0, 1.0]}, "y": {"float": [0.0, 1.0]}},
        constraints=list(constraints),
        search={"trials": 16, "sampler": sampler, "pruner": {}},
    )
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        done = run_alone("launch", file, "--resume", "--executor", "inline", cwd=folder)
        codes.append(done.returncode)
    assert codes[-1] == 0, done.stdout + done.stderr
    return codes, ablate.read(folder / "runs" / "pruned")


CONSTRAINTS = ({"metric": "b", "min": 0.5}, {"metric": "cost", "max": 14})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objectives", "sampler", "constraints"),
    [("a", "auto", ()), ("abcde", "auto", ()), ("ab", "tpe", CONSTRAINTS)],
)
def test_rows_and_decisions_are_the_same_after_kills(
    tmp_path: Path, objectives: str, sampler: str, constraints: Sequence[Mapping[str, object]]
) -> None:
    _, whole = launched(tmp_path / "whole", objectives, [], constraints, sampler)
    codes, killed = launched(tmp_path / "killed", objectives, KILLS, constraints, sampler)
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
