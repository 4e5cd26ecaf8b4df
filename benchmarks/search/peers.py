"""Other searches, as a process that asks for trainings over a pipe.

    PYTHON peers.py NAME SEED < answers > questions

PYTHON is an environment with the peer, which needs this file, not ablate.  The first line of input
describes the study: `space` (dimensions, which are all sampled always), `objectives` (how many),
`reference` (the point of the hypervolume), `first` (points to begin with) and `cells`.  Then each
line of output asks for a whole training, `{"raw": {...}, "cpu": 1.5}`, with the processor seconds
of this process so far.  The answer is `{"values": [...], "raw": {...}}`: larger values are better,
and with `cells` the point is given back without the dimensions that were not active.  It goes on
until the pipe is closed.
"""

from __future__ import annotations

import json
import random
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

RANDOM = 10
"""Random points of a search that is not given any, where its package has no number of its own."""

Raw = dict[str, Any]


class Peer(Protocol):
    """A search."""

    def ask(self) -> Raw:
        """The next point, all dimensions of it."""

    def tell(self, raw: Raw, values: Sequence[float]) -> None:
        """Learn what a point has, which need not be one that was asked for."""


def main() -> None:
    name, seed = sys.argv[1], int(sys.argv[2])
    answers, questions = sys.stdin, sys.stdout
    sys.stdout = sys.stderr  # what libraries print
    warnings.simplefilter("ignore")
    study = json.loads(answers.readline())
    peer = PEERS[name](study, seed)
    first = list(study["first"])
    while True:
        raw = first.pop(0) if first else peer.ask()
        question = {"raw": raw, "cpu": time.process_time()}
        print(json.dumps(question), file=questions, flush=True)
        line = answers.readline()
        if not line:
            return
        answer = json.loads(line)
        peer.tell(answer["raw"], answer["values"])


def filled(space: Sequence[Mapping[str, Any]], raw: Raw) -> Raw:
    """With one value for each dimension that is not active: points that mean the same are one."""
    return {
        one["name"]: within(one, raw[one["name"]]) if one["name"] in raw else default(one)
        for one in space
    }


def default(one: Mapping[str, Any]) -> Any:
    if one["choices"]:
        return one["choices"][0]
    middle = (one["low"] * one["high"]) ** 0.5 if one["log"] else (one["low"] + one["high"]) / 2
    return round(middle) if one["is_integer"] else middle


# -- Optuna -----------------------------------------------------------------------------------


class Optuna:
    """Its samplers.  TPE learns of a dimension from the points in which it is active."""

    def __init__(self, sampler: str, study: Mapping[str, Any], seed: int) -> None:
        import optuna
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        given: dict[str, Any] = {"seed": seed}
        if study["first"]:
            given["n_startup_trials"] = len(study["first"])
        made = {
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "tpe": lambda: optuna.samplers.TPESampler(**given),
            "gp": lambda: optuna.samplers.GPSampler(**given),
        }[sampler]
        if sampler == "gp":
            import torch

            torch.set_num_threads(1)

        def distribution(one: Mapping[str, Any]) -> Any:
            if one["choices"]:
                return CategoricalDistribution(one["choices"])
            kind = IntDistribution if one["is_integer"] else FloatDistribution
            return kind(one["low"], one["high"], log=one["log"])

        self._optuna = optuna
        self._space = study["space"]
        self._is_filled = sampler == "gp"  # it models dimensions that all trials have
        self._domains = {one["name"]: distribution(one) for one in study["space"]}
        self._study = optuna.create_study(
            directions=["maximize"] * study["objectives"], sampler=made()
        )

    def ask(self) -> Raw:
        trial = self._study.ask(self._domains)
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)  # told as another, below
        return dict(trial.params)

    def tell(self, raw: Raw, values: Sequence[float]) -> None:
        params = filled(self._space, raw) if self._is_filled else raw
        domains = {name: self._domains[name] for name in params}
        trial = self._optuna.trial.create_trial(
            params=params, distributions=domains, values=list(values)
        )
        self._study.add_trial(trial)


# -- Syne Tune --------------------------------------------------------------------------------


class SyneTune:
    """Its multi-objective Bayesian optimisation, `EHVI`.

    Its code (0.16) maximises minus what it is told, with a reference point of (2, 2): where it is
    told accuracies to minimise or maximise, no point is above that.  So it is told values shifted
    such that this is the study's reference point.  And its models are float64, but not its bounds
    and reference point, which BoTorch 0.18 refuses; so float64 is torch's default here.
    """

    def __init__(self, study: Mapping[str, Any], seed: int) -> None:
        import numpy as np
        import torch
        from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
        from syne_tune.optimizer.schedulers.multiobjective.expected_hyper_volume_improvement import (  # noqa: E501
            ExpectedHyperVolumeImprovement,
        )

        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)
        np.random.seed(seed)
        random.seed(seed)

        def domain(one: Mapping[str, Any]) -> Any:
            if one["choices"]:
                return choice(one["choices"])
            low, high = one["low"], one["high"]
            if one["is_integer"]:
                return lograndint(low, high) if one["log"] else randint(low, high)
            return loguniform(low, high) if one["log"] else uniform(low, high)

        given = {"num_init_random": len(study["first"])} if study["first"] else {}
        self._space, self._reference = study["space"], study["reference"]
        self._search = ExpectedHyperVolumeImprovement(
            {one["name"]: domain(one) for one in self._space},
            points_to_evaluate=[],
            random_seed=seed,
            **given,
        )

    def ask(self) -> Raw:
        found = self._search.suggest()
        number = len(self._search.trial_configs) - 1
        del self._search.trial_configs[number]
        self._search.cleanup_pending(number)
        return {one["name"]: within(one, found[one["name"]]) for one in self._space}

    def tell(self, raw: Raw, values: Sequence[float]) -> None:
        number, point = len(self._search.trial_configs), filled(self._space, raw)
        self._search.trial_configs[number] = point
        shifted = [
            -(2 + value - least) for value, least in zip(values, self._reference, strict=True)
        ]
        self._search.on_trial_complete(number, point, shifted)


# -- NePS -------------------------------------------------------------------------------------


class NePS:
    """Its `bayesian_optimization`, which is qLogNEHVI with two objectives.

    Its code (0.17) maximises the hypervolume of the numbers that it is told to minimise.  So it is
    told accuracies, with the study's reference point.
    """

    def __init__(self, study: Mapping[str, Any], seed: int) -> None:
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

        given = {"initial_design_size": len(study["first"])} if study["first"] else {}
        self._space = study["space"]
        self._search = neps.AskAndTell(
            neps.algorithms.bayesian_optimization(
                SearchSpace({one["name"]: domain(one) for one in self._space}),
                reference_point=tuple(study["reference"]),
                **given,
            )
        )

    def ask(self) -> Raw:
        trial = self._search.ask()
        del self._search.trials[trial.metadata.id]  # told as another, below
        return {one["name"]: within(one, trial.config[one["name"]]) for one in self._space}

    def tell(self, raw: Raw, values: Sequence[float]) -> None:
        number, point = str(len(self._search.trials) + 1), filled(self._space, raw)
        result = {"objective_to_minimize": list(values)}
        self._search.tell_custom(config_id=number, config=point, result=result)


# -- BoTorch ----------------------------------------------------------------------------------


class BoTorch:
    """qLogNEHVI on Gaussian processes with a kernel of categories, as in its tutorials.

    Sources: Daulton et al. 2021, arXiv:2105.08195; Ament et al. 2023, arXiv:2310.20708.  The
    acquisition is maximised over choices and numbers in turn, by its own function for mixed spaces.
    """

    _SAMPLES, _RAW, _RESTARTS = 64, 128, 4

    def __init__(self, study: Mapping[str, Any], seed: int) -> None:
        import botorch.optim.optimize_mixed  # noqa: F401 (before its seconds count)
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._random = random.Random(seed)
        self._space, self._reference = study["space"], study["reference"]
        self._startup = len(study["first"]) or RANDOM
        self._choices = {
            place: [float(i) for i in range(len(one["choices"]))]
            for place, one in enumerate(self._space)
            if one["choices"]
        }
        self._points: list[list[float]] = []
        self._values: list[list[float]] = []

    def ask(self) -> Raw:
        if len(self._points) < self._startup:
            return self._raw(
                [
                    self._random.choice(self._choices[place])
                    if place in self._choices
                    else self._random.random()
                    for place in range(len(self._space))
                ]
            )
        import torch
        from botorch.acquisition.multi_objective.logei import (
            qLogNoisyExpectedHypervolumeImprovement,
        )
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import MixedSingleTaskGP, ModelListGP
        from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
        from botorch.sampling import SobolQMCNormalSampler
        from gpytorch.mlls import SumMarginalLogLikelihood

        points = torch.tensor(self._points, dtype=torch.double)
        values = torch.tensor(self._values, dtype=torch.double)
        places = list(self._choices)
        model = ModelListGP(
            *(MixedSingleTaskGP(points, column[:, None], places) for column in values.T)
        )
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            model,
            self._reference,
            points,
            sampler=SobolQMCNormalSampler(torch.Size([self._SAMPLES])),
            prune_baseline=True,
        )
        highest = [self._choices.get(place, [0.0, 1.0])[-1] for place in range(len(self._space))]
        found, _ = optimize_acqf_mixed_alternating(
            acquisition,
            torch.tensor([[0.0] * len(highest), highest], dtype=torch.double),
            cat_dims=self._choices,
            raw_samples=self._RAW,
            num_restarts=self._RESTARTS,
        )
        return self._raw(found[0].tolist())

    def tell(self, raw: Raw, values: Sequence[float]) -> None:
        point = filled(self._space, raw)
        self._points.append([share(one, point[one["name"]]) for one in self._space])
        self._values.append(list(values))

    def _raw(self, numbers: Sequence[float]) -> Raw:
        pairs = zip(self._space, numbers, strict=True)
        return {one["name"]: value_at(one, number) for one, number in pairs}


def share(one: Mapping[str, Any], value: Any) -> float:
    """A number's place in its range, from 0 to 1; of a choice, its number."""
    if one["choices"]:
        return float(one["choices"].index(value))
    low, high = one["low"], one["high"]
    if one["log"]:
        from math import log

        low, high, value = log(low), log(high), log(value)
    return float((value - low) / (high - low))


def value_at(one: Mapping[str, Any], number: float) -> Any:
    """The inverse of `share`."""
    if one["choices"]:
        return one["choices"][round(number)]
    low, high = one["low"], one["high"]
    value = low * (high / low) ** number if one["log"] else low + number * (high - low)
    return within(one, round(value) if one["is_integer"] else value)


def within(one: Mapping[str, Any], value: Any) -> Any:
    """A value of Python in its range, which single precision may leave by a rounding."""
    number = value.item() if hasattr(value, "item") else value
    return number if one["choices"] else min(max(number, one["low"]), one["high"])


PEERS: Mapping[str, Any] = {
    "optuna_random": lambda study, seed: Optuna("random", study, seed),
    "optuna_tpe": lambda study, seed: Optuna("tpe", study, seed),
    "optuna_gp": lambda study, seed: Optuna("gp", study, seed),
    "syne_tune_ehvi": SyneTune,
    "neps_bo": NePS,
    "botorch_qlognehvi": BoTorch,
}
"""A search by its name, from the study and its seed."""

if __name__ == "__main__":
    main()
