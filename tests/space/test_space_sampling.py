"""Every sampler, on a conditional space with two objectives."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from ablate.ledger.tables import overwrite_trial
from ablate.space import SAMPLERS
from ablate.space.domain import ChoiceDomain, FloatDomain, IntDomain, SubsetDomain
from ablate.space.gaussian_process import Expectation
from ablate.space.sampling import DEVIATIONS, IS_RUNNING, _Coordinates, make_sampler, sample
from ablate.space.space import Parameter, Space
from ablate.study.seeds import Params

optuna.logging.set_verbosity(optuna.logging.WARNING)


DRAWING = [name for name in SAMPLERS if name != "auto"]  # which is one of the others
AT_RANDOM = 10  # after as many draws those that model begin to


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.space.sampling.CANDIDATES", 100)


def new_study(storage: InMemoryStorage | None = None) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name="s", directions=["maximize", "minimize"], load_if_exists=True
    )


def ask(study: optuna.Study, space: Space, name: str, seed: int = 0) -> tuple[int, Params]:
    study.sampler = make_sampler(name, seed, len(study.get_trials(deepcopy=False)), space=space)
    trial = study.ask()
    return trial.number, sample(space, trial)


def tell(study: optuna.Study, number: int, params: Params) -> None:
    text = json.dumps(params.values, sort_keys=True)
    study.tell(number, [len(text) % 7 + len(params.values), len(text) % 5 / 5])


def run(study: optuna.Study, space: Space, name: str, trials: int, seed: int = 0) -> list[Params]:
    asked = []
    for _ in range(trials):
        asked.append(ask(study, space, name, seed))
        tell(study, *asked[-1])
    return [params for _, params in asked]


@pytest.mark.parametrize("name", DRAWING)
def test_a_sampler_draws_points_of_the_space(whole: Space, name: str) -> None:
    study = new_study()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = run(study, whole, name, AT_RANDOM + 2)
    for params, trial in zip(drawn, study.get_trials(deepcopy=False), strict=True):
        assert trial.params == params.raw
        assert {type(value) for value in params.raw.values()} <= {str, int, float, bool}
        assert whole.resolve(trial.params) == params.values
    assert len({json.dumps(params.values) for params in drawn}) == AT_RANDOM + 2


@pytest.mark.parametrize("name", DRAWING)
def test_a_stopped_search_goes_on_as_one_that_was_not(whole: Space, name: str) -> None:
    """In memory; tests/ledger has a search that is stopped with its storage in a file."""
    storage = InMemoryStorage()
    begun = run(new_study(storage), whole, name, AT_RANDOM)
    kept = new_study(storage).get_trials(deepcopy=False)
    assert [trial.params for trial in kept] == [params.raw for params in begun]
    resumed = run(new_study(storage), whole, name, 2)
    assert resumed == run(new_study(), whole, name, AT_RANDOM + 2)[AT_RANDOM:]


def test_trials_that_run_at_once_differ(whole: Space) -> None:
    study = new_study()
    run(study, whole, "gp", AT_RANDOM)
    running = [ask(study, whole, "gp")[1] for _ in range(2)]
    assert running[0].values != running[1].values


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_trial_whose_drawing_was_cut_off_is_completed_in_place(whole: Space, name: str) -> None:
    storage = InMemoryStorage()
    study = new_study(storage)
    run(study, whole, name, AT_RANDOM)
    study.sampler = make_sampler(name, 0, AT_RANDOM, space=whole)
    begun: dict[str, Any] = sample(Space(whole.parameters[:2]), study.ask()).raw

    again = new_study(storage)
    again.sampler = make_sampler(name, 0, AT_RANDOM, space=whole)
    frozen = again.get_trials(deepcopy=False)[AT_RANDOM]
    params = sample(whole, optuna.trial.Trial(again, frozen._trial_id))
    assert {key: params.raw[key] for key in begun} == begun
    assert params.values == whole.resolve(again.get_trials()[AT_RANDOM].params)
    assert len(again.get_trials()) == AT_RANDOM + 1


@pytest.mark.parametrize(
    ("name", "has_start", "fewest"), [("auto", True, 2), ("auto", False, 10), ("gp", True, 10)]
)
def test_auto_models_from_the_first_rows_on_where_points_were_given(
    whole: Space, name: str, fewest: int, *, has_start: bool
) -> None:
    study = new_study()
    run(study, whole, "random", fewest - 1)
    for is_modelled in (False, True):
        number = len(study.get_trials(deepcopy=False))
        sampler = make_sampler(name, 0, number, space=whole, has_start=has_start)
        study.sampler = sampler
        trial = study.ask()
        frozen = study.get_trials(deepcopy=False)[number]
        assert bool(sampler.sample_relative(study, frozen, {})) == is_modelled
        tell(study, number, sample(whole, trial))


@pytest.mark.parametrize("objective", [0, 1])
def test_a_running_row_that_passed_a_rung_counts_once(
    monkeypatch: pytest.MonkeyPatch, whole: Space, objective: int
) -> None:
    """What is expected of it is nearly certain, so the model is as sure as if it had ended."""
    made: list[Expectation] = []
    best = Expectation.best
    monkeypatch.setattr(
        Expectation, "best", lambda self, points: (made.append(self), best(self, points))[1]
    )
    storage = InMemoryStorage()
    study = new_study(storage)
    run(study, whole, "random", AT_RANDOM + 4)
    ask(study, whole, "gp")  # of rows that have all ended
    rows = study.get_trials(deepcopy=False)
    asked, shown = rows.pop(), copy.deepcopy(rows[5])
    shown.user_attrs = {IS_RUNNING: True, DEVIATIONS: (1e-9, 1e-9)}
    overwrite_trial(storage, shown._trial_id, shown)
    study.sampler = make_sampler("gp", 0, asked.number, space=whole)
    study.sampler.sample_relative(study, asked, {})
    deviates = np.array([-1.0, 0.0, 1.0])
    ended, running = (
        expectation._processes[objective].sample(_Coordinates(whole).of([shown.params]), deviates)
        for expectation in made
    )
    assert running == pytest.approx(ended, rel=1e-4)


def test_a_model_proposes_no_point_that_was_run() -> None:
    space = Space((Parameter("a", IntDomain(1, 20)), Parameter("b", ChoiceDomain((None, True)))))
    points = [{"a": a, "b": b} for a in range(1, 21) for b in (None, True)]
    study = new_study()
    for point in points[:-1]:  # the last is worst
        study.enqueue_trial(point)
        number, _ = ask(study, space, "random")
        study.tell(number, [-point["a"], point["a"]])
    assert ask(study, space, "gp")[1].raw == points[-1]


@pytest.mark.parametrize(
    "interval",
    [
        FloatDomain(1e5, 100000.001, step=1e-6),
        FloatDomain(1e9, 1e9 + 2, step=0.5),
        IntDomain(3_000_000_000, 3_000_000_006, step=3),
    ],
    ids=str,
)
def test_steps_that_floats_can_hardly_hold(interval: FloatDomain | IntDomain) -> None:
    space = Space((Parameter("x", interval),))
    for params in run(new_study(), space, "gp", AT_RANDOM + 3):
        assert space.resolve(params.raw) == params.values


def test_draws_that_mean_a_point_that_was_run_are_not_proposed() -> None:
    names = ("a", "b", "c", "d")
    space = Space((Parameter("layers", SubsetDomain(names)),))
    keys = [f"layers[{name}]" for name in names]
    points = [dict(zip(keys, drawn, strict=True)) for drawn in product((False, True), repeat=4)]
    study = new_study()
    left_out, none, *others = points[1], points[0], *points[2:]  # the first two mean ["d"]
    for point in [none, *others[:-1]]:  # all layers are worst
        study.enqueue_trial(point)
        number, _ = ask(study, space, "random")
        study.tell(number, [-sum(point.values()), sum(point.values())])
    assert space.resolve(left_out) == space.resolve(none)
    assert ask(study, space, "gp")[1].raw == others[-1]


@pytest.mark.slow
def test_only_sampling_loads_optuna_and_nothing_loads_torch() -> None:
    code = (
        "import sys, ablate.space.parse, ablate.lifecycle.study_file, ablate.lifecycle.study_file; "
        "assert 'optuna' not in sys.modules; "
        "import ablate.space.sampling; assert not {'torch', 'scipy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_parent_that_has_failed_since_is_none() -> None:
    """It was chosen while it ran, by expected values: nsga2 would read its missing ones."""
    study, attributes, failed = new_study(), {}, None
    for number in range(110):
        study.sampler = make_sampler("nsga2", 0, number)
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        study.tell(trial, [x, 1 - x])
        attributes = study._storage.get_study_system_attrs(study._study_id)
        if failed is None and "NSGAIISampler:parent:1" in attributes:
            failed = study.trials[attributes["NSGAIISampler:parent:1"][0]]
            failed.state, failed.values = TrialState.FAIL, None
            assert isinstance(study._storage, InMemoryStorage)
            overwrite_trial(study._storage, failed._trial_id, failed)
    assert failed is not None
    assert failed._trial_id not in attributes["NSGAIISampler:parent:2"]
