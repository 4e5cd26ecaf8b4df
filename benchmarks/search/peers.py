"""Other searches, as a process that asks for trainings over a pipe.

    PYTHON peers.py NAME SEED < answers > questions

PYTHON is the environment of the peer, which needs this file and the peer, not ablate.  The first
line of input describes the study: `space` (dimensions that are always sampled), `objectives` (how
many), `epochs`, `min_epochs`, the first rung, and `reduction_factor`.  Then each line of output
asks to train a trial up to an epoch, and to score it there, `{"trial": 3, "epoch": 1, "raw":
{...}}`; the answer is `{"values": [...]}`, larger is better.  A trial that is asked for again is
continued.  It goes on until the pipe is closed.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

Values = list[float]
Train = Callable[[str, int, Mapping[str, Any]], Values]


def main() -> None:
    name, seed = sys.argv[1], int(sys.argv[2])
    answers = sys.stdin
    questions = sys.stdout
    sys.stdout = sys.stderr  # what libraries print
    study = json.loads(answers.readline())

    def train(trial: str, epoch: int, raw: Mapping[str, Any]) -> Values:
        print(json.dumps({"trial": trial, "epoch": epoch, "raw": raw}), file=questions, flush=True)
        line = answers.readline()
        if not line:
            raise SystemExit(0)
        values: Values = json.loads(line)["values"]
        return values

    PEERS[name](study, seed, train)


# -- Optuna: whole trials ---------------------------------------------------------------------


def optuna_search(sampler: str) -> Callable[[Mapping[str, Any], int, Train], None]:
    def search(study: Mapping[str, Any], seed: int, train: Train) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        samplers = {
            "random": optuna.samplers.RandomSampler,
            "tpe": optuna.samplers.TPESampler,
            "nsga2": optuna.samplers.NSGAIISampler,
            "gp": optuna.samplers.GPSampler,
        }
        if sampler == "gp":
            import torch

            torch.set_num_threads(1)
        found = optuna.create_study(
            directions=["maximize"] * study["objectives"], sampler=samplers[sampler](seed=seed)
        )
        while True:
            trial = found.ask()
            raw = {one["name"]: suggest(trial, one) for one in study["space"]}
            found.tell(trial, train(str(trial.number), study["epochs"], raw))

    return search


def suggest(trial: Any, one: Mapping[str, Any]) -> Any:
    if one["choices"]:
        return trial.suggest_categorical(one["name"], one["choices"])
    draw = trial.suggest_int if one["is_integer"] else trial.suggest_float
    return draw(one["name"], one["low"], one["high"], log=one["log"])


# -- Syne Tune: MOASHA, driven by its hooks ---------------------------------------------------


def syne_tune_moasha(study: Mapping[str, Any], seed: int, train: Train) -> None:
    import datetime

    import numpy as np
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    np.random.seed(seed)
    random.seed(seed)

    def domain(one: Mapping[str, Any]) -> Any:
        if one["choices"]:
            return choice(one["choices"])
        low, high = one["low"], one["high"]
        if one["is_integer"]:
            return lograndint(low, high) if one["log"] else randint(low, high)
        return loguniform(low, high) if one["log"] else uniform(low, high)

    names = [f"objective_{i}" for i in range(study["objectives"])]
    epochs, factor = study["epochs"], study["reduction_factor"]
    scheduler = MOASHA(
        {one["name"]: domain(one) for one in study["space"]},
        names,
        do_minimize=False,
        time_attr="epoch",
        max_t=epochs,
        grace_period=study["min_epochs"],
        reduction_factor=factor,
        random_seed=seed,
    )
    rungs = [study["min_epochs"]]
    while rungs[-1] * factor < epochs:
        rungs.append(rungs[-1] * factor)
    number = 0
    while True:
        suggestion = scheduler.suggest()
        raw = {name: plain(value) for name, value in suggestion.config.items()}
        trial = Trial(number, suggestion.config, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        for epoch in [*rungs, epochs]:
            values = train(str(number), epoch, raw)
            result = {"epoch": epoch, **dict(zip(names, values, strict=True))}
            if epoch == epochs:
                scheduler.on_trial_complete(trial, result)
            elif scheduler.on_trial_result(trial, result) == "STOP":
                scheduler.on_trial_remove(trial)
                break
        number += 1


# -- NePS: MOASHA and PriMO, asked and told ---------------------------------------------------


def neps_search(algorithm: str) -> Callable[[Mapping[str, Any], int, Train], None]:
    def search(study: Mapping[str, Any], seed: int, train: Train) -> None:
        import neps
        import numpy as np
        import torch
        from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)

        def domain(one: Mapping[str, Any]) -> Any:
            if one["choices"]:
                return HPOCategorical(one["choices"])
            kind = HPOInteger if one["is_integer"] else HPOFloat
            return kind(one["low"], one["high"], log=one["log"])

        epoch = HPOInteger(study["min_epochs"], study["epochs"], is_fidelity=True)
        space = SearchSpace(
            {**{one["name"]: domain(one) for one in study["space"]}, "epoch": epoch}
        )
        made = {
            "moasha": lambda: neps.algorithms.moasha(space, eta=study["reduction_factor"]),
            # Without priors: no search here is told where good points are.
            "primo": lambda: neps.algorithms.primo(
                space, eta=study["reduction_factor"], prior_centers={}
            ),
        }
        search = neps.AskAndTell(made[algorithm]())
        while True:
            trial = search.ask()
            raw = {one["name"]: within(one, trial.config[one["name"]]) for one in study["space"]}
            point, promoted, _ = str(trial.metadata.id).partition("_rung_")
            # PriMO counts the trials of its second part anew.
            point = point if promoted else f"second {point}"
            values = train(point, int(trial.config["epoch"]), raw)
            search.tell(trial, {"objective_to_minimize": [1 - value for value in values]})

    return search


def within(one: Mapping[str, Any], value: Any) -> Any:
    """A value in its range, which single precision may leave by a rounding."""
    number = plain(value)
    return number if one["choices"] else min(max(number, one["low"]), one["high"])


def plain(value: Any) -> Any:
    """A value of NumPy as one of Python."""
    return value.item() if hasattr(value, "item") else value


PEERS: Mapping[str, Callable[[Mapping[str, Any], int, Train], None]] = {
    **{f"optuna_{name}": optuna_search(name) for name in ("random", "tpe", "nsga2", "gp")},
    "syne_tune_moasha": syne_tune_moasha,
    "neps_moasha": neps_search("moasha"),
    "neps_primo": neps_search("primo"),
}
PACKAGES = ("optuna", "syne_tune", "neps")
"""A peer's name begins with that of its package."""

if __name__ == "__main__":
    main()
