"""Optuna draws the points: the only file of the space that knows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from ablate.errors import ParameterError, did_you_mean
from ablate.space.domain import CategoricalDimension, Dimension, IntegerDimension
from ablate.space.space import Space
from ablate.study.seeds import Params, derive_seed


def sample(space: Space, trial: optuna.trial.Trial) -> Params:
    """Sample a point for a trial.

    Args:
        trial: of a study whose sampler is `make_sampler`'s for this trial.  Existing parameters are
            kept, so that an interrupted trial is completed in place.
    """

    def ask(dimension: Dimension) -> Any:
        name = dimension.name
        if isinstance(dimension, CategoricalDimension):
            return trial.suggest_categorical(name, dimension.choices)
        low, high, log = dimension.low, dimension.high, dimension.log
        if isinstance(dimension, IntegerDimension):
            return trial.suggest_int(name, int(low), int(high), step=dimension.step, log=log)
        return trial.suggest_float(name, low, high, step=dimension.step, log=log)

    with _one_thread(trial.study.sampler):
        return space.draw(ask)


@contextmanager
def _one_thread(sampler: BaseSampler) -> Iterator[None]:
    """Limit the Gaussian process to one thread.

    Its threads would compete with training threads, which made an ask about eight times slower on
    two busy cores.  The first ask with a model loads torch, and is limited after that.
    """
    if not isinstance(sampler, GPSampler):
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def make_sampler(name: str, seed: int, number: int, redraw: int = 0) -> BaseSampler:
    """Make a sampler for one ask.

    A sampler with a fixed seed would repeat its start-up points in a resumed study, and a sampler
    kept over several asks would draw other points after a resume than without it.  So each ask has
    a new one, seeded by the search's seed and the trial's number.

    Args:
        name: of `ablate.space.SAMPLERS`.
        seed: of the search.
        number: of the trial, from 0.
        redraw: how often the trial was sampled before.

    Raises:
        ParameterError: if there is no such sampler.
    """
    if name not in _MAKERS:
        fix = did_you_mean(name, tuple(_MAKERS))
        raise ParameterError(f"sampler: unknown sampler, got {name!r}. {fix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        purpose = ("ask", number, redraw) if redraw else ("ask", number)
        return _MAKERS[name](seed, derive_seed(seed, *purpose) % 2**32)


def _qmc(seed: int, ask_seed: int) -> BaseSampler:
    # All points are of one scrambled sequence, so its seed stays; Optuna counts them in the
    # storage.  Parameters that the first trial has not are drawn at random.
    return QMCSampler(
        scramble=True,
        seed=seed,
        independent_sampler=RandomSampler(seed=ask_seed),
        warn_independent_sampling=False,
    )


_MAKERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # Grouped: a conditional space splits into groups that are each modelled jointly.
    "tpe": lambda _, ask_seed: TPESampler(
        multivariate=True, group=True, constant_liar=True, seed=ask_seed
    ),
    "random": lambda _, ask_seed: RandomSampler(seed=ask_seed),
    "nsga2": lambda _, ask_seed: NSGAIISampler(seed=ask_seed),
    # Only the parameters that every trial has are modelled; others are drawn at random.
    "gp": lambda _, ask_seed: GPSampler(seed=ask_seed, warn_independent_sampling=False),
    "qmc": _qmc,
}
