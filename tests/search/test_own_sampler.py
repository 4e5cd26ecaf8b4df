"""`search.sampler: module:callable`: a sampler of Optuna's, or of the user's, under the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from own_study import write_own_study

import ablate
from ablate.errors import ParameterError, StudyFileError

CODE = """
import optuna

def seeded(seed):
    return optuna.samplers.RandomSampler(seed=seed)

class Middle(optuna.samplers.BaseSampler):
    def __init__(self, seed):
        pass
    def infer_relative_search_space(self, study, trial):
        return {}
    def sample_relative(self, study, trial, search_space):
        return {}
    def sample_independent(self, study, trial, name, distribution):
        known = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        return (distribution.low + distribution.high) / (2 + len(known))

class Adding(Middle):
    def sample_independent(self, study, trial, name, distribution):
        study.enqueue_trial({name: 0.5})
        return 0.5

class Stopping(Middle):
    def sample_independent(self, study, trial, name, distribution):
        study.stop()
        return 0.5

class Exiting(Middle):
    def sample_independent(self, study, trial, name, distribution):
        raise SystemExit(3)

def nothing(seed):
    pass

def leaves(seed):
    raise SystemExit("no licence")

def unseeded():
    return optuna.samplers.RandomSampler()
"""
LOOP = """
def train(context):
    x = context.params["x"]
    context.report(1, {"a": x, "b": 1 - x * x})
"""


@pytest.fixture
def write(work: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(work))
    (work / "mine.py").write_text(CODE)

    def write(name: str, sampler: str, trials: int = 5) -> Path:
        search = {"trials": trials, "sampler": sampler, "seed": 3}
        return write_own_study(work, name, LOOP, search=search)

    return write


def launched(file: Path, **options: Any) -> list[float]:
    record = ablate.launch(file, resume=True, executor="inline", progress=False, **options)
    return [row.params["x"] for row in record.rows]


def test_it_reads_the_trials(write: Any) -> None:
    assert launched(write("middle", "mine:Middle", 4)) == pytest.approx(
        [1 / 2, 1 / 3, 1 / 4, 1 / 5]
    )


@pytest.mark.parametrize(
    "sampler", ["mine:seeded", "optuna.samplers:TPESampler", "optuna.samplers:NSGAIIISampler"]
)
def test_an_interrupted_search_draws_the_same_points(write: Any, sampler: str) -> None:
    whole = launched(write("whole", sampler, 14))

    def stop(row: Any) -> None:
        if row.number == 11:
            raise ablate.StopStudy

    file = write("stopped", sampler, 14)
    half = launched(file, on_trial_end=stop)
    assert 12 <= len(half) < 14
    assert half == whole[: len(half)]
    assert launched(file) == whole
    assert len({*whole}) == 14


@pytest.mark.parametrize(
    ("sampler", "got"),
    [
        ("mine:nothing", "NoneType"),
        ("mine:leaves", "SystemExit: no licence"),
        ("mine:unseeded", "TypeError: unseeded() got an unexpected keyword argument 'seed'"),
    ],
)
def test_what_makes_no_sampler_is_refused_before_anything_runs(
    write: Any, sampler: str, got: str
) -> None:
    with pytest.raises(StudyFileError) as error:
        ablate.check(write("none", sampler))
    assert str(error.value).endswith(
        f"search.sampler: {sampler} must return an Optuna sampler when it is called with seed=, "
        f"got {got}. Correct it."
    )


def test_an_unknown_one_is_named(write: Any) -> None:
    with pytest.raises(StudyFileError, match=r"search\.sampler: mine must have Midle, got"):
        ablate.check(write("typo", "mine:Midle"))
    with pytest.raises(StudyFileError, match=r"unknown sampler, got 'tpee'\. Did you mean tpe\?"):
        ablate.check(write("typo", "tpee"))


@pytest.mark.parametrize(
    ("sampler", "got"),
    [
        ("mine:Adding", "trials that it added: a sampler proposes values"),
        ("mine:Stopping", "`Study.stop` is supposed to be invoked"),
        ("mine:Exiting", "SystemExit: 3"),
    ],
)
def test_one_that_does_more_than_propose_is_stopped(write: Any, sampler: str, got: str) -> None:
    file = write("more", sampler)
    with pytest.raises(ParameterError) as error:
        launched(file)
    assert f"search.sampler: {sampler} must sample trial 0, got " in str(error.value)
    assert got in str(error.value)
    assert len(ablate.read("runs/more").rows) == 0
    assert len(launched(write("more", "random"))) == 5, "with another sampler it goes on"
