"""Optuna draws the points: the only file of the space that knows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
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


class Filling:
    """Values of inactive parameters in finished rows, so that a sampler models every parameter.

    The Gaussian process models the parameters that all rows have.  So for it inactive ones have
    random values, different in each row: it learns that they change nothing where they are
    inactive.  A fixed value would leave it curious about others there, without ever learning
    more.  The other samplers need nothing.

    Args:
        sampler: of `ablate.space.SAMPLERS`.
    """

    def __init__(self, sampler: str, space: Space) -> None:
        self._dimensions = space.dimensions if sampler == "gp" else ()
        self.distributions = {one.name: _distribution(one) for one in self._dimensions}

    def params(self, number: int) -> dict[str, Any]:
        """Values for the row of this number, by the names of the space's dimensions."""
        shares = np.random.default_rng(number).random(len(self._dimensions))
        return {
            dimension.name: _value_at(dimension, float(share))
            for dimension, share in zip(self._dimensions, shares, strict=True)
        }


def _distribution(dimension: Dimension) -> BaseDistribution:
    """As `trial.suggest_*` makes it in `sample`."""
    if isinstance(dimension, CategoricalDimension):
        return CategoricalDistribution(dimension.choices)
    low, high, log = dimension.low, dimension.high, dimension.log
    if isinstance(dimension, IntegerDimension):
        return IntDistribution(int(low), int(high), log=log, step=dimension.step)
    return FloatDistribution(low, high, log=log, step=dimension.step)


def _value_at(dimension: Dimension, share: float) -> Any:
    """The value at a share, in [0, 1), of a dimension."""
    if isinstance(dimension, CategoricalDimension):
        return dimension.choices[int(share * len(dimension.choices))]
    low, high, step = dimension.low, dimension.high, dimension.step
    value = low ** (1 - share) * high**share if dimension.log else low + share * (high - low)
    if step is not None:
        value = low + step * round((value - low) / step)
    value = min(max(value, low), high)
    return int(value) if isinstance(dimension, IntegerDimension) else value


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
    # It models the parameters that every finished row has: all, by `Filling`.
    "gp": lambda _, ask_seed: GPSampler(seed=ask_seed, warn_independent_sampling=False),
    "qmc": _qmc,
}
