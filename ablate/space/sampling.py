"""Optuna draws the points: the only file of the space that knows it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from ablate.errors import ParameterError, did_you_mean, error_text
from ablate.space import SAMPLERS
from ablate.space.domain import CategoricalDimension, Dimension, NumberDimension
from ablate.space.space import FIXED, STARTUP, Space, sampler_of
from ablate.study.callables import import_callable, is_callable_name
from ablate.study.seeds import Params, derive_seed

DEVIATIONS = "deviations"
"""User attribute of a trial whose values are only expected: how far each may be off, those of
constraints too, as standard deviations."""
IS_RUNNING, HAS_FAILED = "running", "failed"
"""User attributes of a trial that is shown as complete but runs, and of one that has failed."""
FEWEST = 2
"""Finished rows that `gp` can model."""
CANDIDATES = 800
"""Points that `gp` compares for each proposal."""

_CHANGED = (0.1, 0.2, 0.4)
"""How likely a value of a good row is changed, in a candidate that is made of it."""
_DIGITS = 9
"""Of a coordinate: ratios lose some when they are made draws again."""
_WIDTHS = (0.05, 0.15)
"""Deviations of a changed number, as shares of its range."""


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
        low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
        if dimension.is_whole:
            return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(name, low, high, step=step, log=log)

    return space.draw(ask)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The domain of each dimension of a space."""
    return {dimension.name: _distribution(dimension) for dimension in space.dimensions}


def _distribution(dimension: Dimension) -> BaseDistribution:
    """As `trial.suggest_*` makes it in `sample`."""
    if isinstance(dimension, CategoricalDimension):
        return CategoricalDistribution(dimension.choices)
    low, high, log, step = dimension.low, dimension.high, dimension.log, dimension.step
    if dimension.is_whole:
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


# -- The sampler `nsga2` -------------------------------------------------------------------


class NSGAIISampler(optuna.samplers.NSGAIISampler):
    """Without parents that have failed since they were chosen, by the values expected of them.

    Optuna names the attributes of a study by this class's name.
    """

    def get_parent_population(
        self, study: optuna.study.Study, generation: int
    ) -> list[FrozenTrial]:
        parents = super().get_parent_population(study, generation)
        kept = [trial for trial in parents if trial.state == TrialState.COMPLETE]
        return kept if len(kept) > 1 else []  # an edited space may have left one


# -- The sampler `gp` ----------------------------------------------------------------------


def _value_at(dimension: Dimension, share: float) -> Any:
    """The value at a share, in [0, 1], of a dimension."""
    if isinstance(dimension, CategoricalDimension):
        count = len(dimension.choices)
        return dimension.choices[min(int(share * count), count - 1)]
    low, high, step = dimension.low, dimension.high, dimension.step
    value = low ** (1 - share) * high**share if dimension.log else low + share * (high - low)
    if step is not None:
        value = low + step * round((value - low) / step)
    value = min(max(value, low), high)
    return int(value) if dimension.is_whole else value


def _share_of(dimension: NumberDimension, value: float) -> float:
    low, high = dimension.low, dimension.high
    if dimension.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


class _Coordinates:
    """Raw draws as numbers: whether a dimension is active, and its value.

    A number is its place in its range, a choice one number for each of its values, scaled so that
    two of them are 1 apart.  Where a dimension is not active its coordinates are 0.5.  Draws that
    mean the same point have the same coordinates.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.dimensions = space.dimensions
        self._counts = [
            len(dimension.choices) if isinstance(dimension, CategoricalDimension) else 1
            for dimension in self.dimensions
        ]
        places = range(len(self.dimensions))
        self.groups = np.repeat(places, [1 + count for count in self._counts])
        # True is not 1, nor 1 the same as 1.0.
        self._choices = {
            dimension.name: {
                (type(choice), choice): [1.0, *(math.sqrt(0.5) * same for same in column)]
                for choice, column in zip(
                    dimension.choices, np.eye(len(dimension.choices)).tolist(), strict=True
                )
            }
            for dimension in self.dimensions
            if isinstance(dimension, CategoricalDimension)
        }

    def of(self, draws: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """`[draws, coordinates]`, of raw draws."""
        return self._of_canonical(map(self._space.canonical, draws), len(draws))

    def of_points(self, points: Sequence[Params]) -> NDArray[np.float64]:
        """`[points, coordinates]`."""
        return self._of_canonical(map(self._space.canonical_draws, points), len(points))

    def _of_canonical(self, draws: Iterable[Mapping[str, Any]], count: int) -> NDArray[np.float64]:
        points = np.array([self._one(raw) for raw in draws])
        return points.reshape(count, len(self.groups)).round(_DIGITS) + 0.0  # no -0.0

    def _one(self, raw: Mapping[str, Any]) -> list[float]:
        numbers: list[float] = []
        for dimension, count in zip(self.dimensions, self._counts, strict=True):
            if dimension.name not in raw:
                numbers += [0.0, *[0.5] * count]
                continue
            value = raw[dimension.name]
            if isinstance(dimension, CategoricalDimension):
                known = self._choices[dimension.name]
                numbers += known.get((type(value), value), [1.0, *[0.0] * count])
            else:
                numbers += [1.0, _share_of(dimension, value)]
        return numbers


class _GaussianProcessSampler(BaseSampler):
    """Proposes the candidate that is expected to add most to the front.

    Candidates are random points, and the best rows with some of their values changed; not those
    that were run, if there are others.

    Args:
        space: of the study.
        seed: of this ask.
        reference_point: of the hypervolume, in the objectives' units.
        startup: finished rows before they are modelled, two or more; until then points are random.
    """

    def __init__(
        self, space: Space, seed: int, reference_point: Sequence[float] | None, startup: int
    ) -> None:
        self._startup = startup
        self._space = space
        self._coordinates = _Coordinates(space)
        self._seed = seed
        self._reference = reference_point
        self._independent = RandomSampler(seed=seed)
        self._proposed: Mapping[str, Any] = {}

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 (Optuna's interface)
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return distributions(self._space)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(known) < self._startup:
            return {}
        from ablate.space.gaussian_process import Expectation, Rows

        begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        pending = [row.params for row in begun if row.number != trial.number and row.params]
        ended = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        failed = [row.params for row in ended if row.params and row.user_attrs.get(HAS_FAILED)]
        signs = np.array([1.0 if way.name == "MAXIMIZE" else -1.0 for way in study.directions])
        zeros = [0.0] * (len(known[0].values) + len(known[0].constraints))
        rows = Rows(
            points=self._coordinates.of([row.params for row in known]),
            values=np.array([row.values for row in known]) * signs,
            excess=np.array([list(row.constraints.values()) for row in known]),
            deviations=np.array([row.user_attrs.get(DEVIATIONS, zeros) for row in known]),
            running=np.array([bool(row.user_attrs.get(IS_RUNNING)) for row in known]),
        ).with_failed(self._coordinates.of(failed))
        reference = None if self._reference is None else list(signs * self._reference)
        random = np.random.default_rng(self._seed)
        first = [place for place in rows.best_first if place < len(known)]
        best = [known[place].params for place in first[: max(5, len(known) // 8)]]
        given = {**trial.system_attrs.get(FIXED, {}), **trial.params}
        candidates = [self._candidate(best, given, random) for _ in range(CANDIDATES)]
        points, waited = self._coordinates.of_points(candidates), self._coordinates.of(pending)
        run = {point.tobytes() for point in (*rows.points, *waited)}
        new = [place for place, point in enumerate(points) if point.tobytes() not in run]
        chosen = candidates[0]
        if new:
            with threadpool_limits(limits=1):
                expectation = Expectation(rows, waited, self._coordinates.groups, reference, random)
                chosen = candidates[new[expectation.best(points[new])]]
        self._proposed = dict(chosen.raw)
        return dict(chosen.raw)

    def _candidate(
        self,
        best: Sequence[Mapping[str, Any]],
        given: Mapping[str, Any],
        random: np.random.Generator,
    ) -> Params:
        """A random point, or one of the best with some of its values changed."""
        changed = 1.0
        parent: Mapping[str, Any] = {}
        if random.random() < 0.5:
            changed, parent = random.choice(_CHANGED), best[int(random.integers(len(best)))]
        width = float(random.choice(_WIDTHS))

        def ask(dimension: Dimension) -> Any:
            name = dimension.name
            if name in given:
                return given[name]
            if name in parent and random.random() >= changed:
                return parent[name]
            share = random.random()
            if name in parent and not isinstance(dimension, CategoricalDimension):
                share = _share_of(dimension, parent[name]) + width * random.standard_normal()
            return _value_at(dimension, min(max(share, 0.0), 1.0))

        return self._space.draw(ask)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # Optuna asks here too if rounding puts a proposed value off its step.
        if param_name in self._proposed:
            return self._proposed[param_name]
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


def make_sampler(
    name: str,
    seed: int,
    number: int,
    redraw: int = 0,
    *,
    space: Space | None = None,
    reference_point: Sequence[float] | None = None,
    has_start: bool = False,
    base: Path | None = None,
) -> BaseSampler:
    """Make a sampler for one ask.

    A sampler with a fixed seed would repeat its start-up points in a resumed study, and a sampler
    kept over several asks would draw other points after a resume than without it.  So each ask has
    a new one, seeded by the search's seed and the trial's number.

    Args:
        name: of `ablate.space.SAMPLERS`, or `module:callable`, which is called with `seed=`.
        seed: of the search.
        number: of the trial, from 0.
        redraw: how often the trial was sampled before.
        space: of the study; `gp` and `auto` read it.
        reference_point: of the hypervolume, in the objectives' units; `gp` and `auto` read it.
        has_start: whether the study began with given points; then `auto` has no random start.
        base: folder of the study file, from which a callable is imported too.

    Raises:
        ParameterError: if there is no such sampler, or a callable makes none.
    """
    purpose = ("ask", number, redraw) if redraw else ("ask", number)
    ask_seed = derive_seed(seed, *purpose) % 2**32
    space = space or Space()
    match sampler_of(name, number, len(space.dimensions)):
        case "tpe":
            # Grouped: a conditional space splits into groups that are each modelled jointly.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return TPESampler(
                    n_startup_trials=STARTUP,
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                    seed=ask_seed,
                )
        case "random":
            return RandomSampler(seed=ask_seed)
        case "nsga2":
            return NSGAIISampler(seed=ask_seed)
        case "gp":
            startup = FEWEST if name == "auto" and has_start else STARTUP
            return _GaussianProcessSampler(space, ask_seed, reference_point, startup)
        case "qmc":
            # All points are of one scrambled sequence, so its seed stays; Optuna counts them in the
            # storage.  Parameters that the first trial has not are drawn at random.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return QMCSampler(
                    scramble=True,
                    seed=seed,
                    independent_sampler=RandomSampler(seed=ask_seed),
                    warn_independent_sampling=False,
                )
        case _ if is_callable_name(name):
            make = import_callable("search.sampler", name, base)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    made = make(seed=ask_seed)
                got = type(made).__name__
            except (Exception, SystemExit) as error:
                made, got = None, error_text(error)
            if isinstance(made, BaseSampler):
                return made
            rule = f"{name} must return an Optuna sampler when it is called with seed=, got {got}"
            raise ParameterError(f"search.sampler: {rule}. Correct it.")
    raise ParameterError(f"sampler: unknown sampler, got {name!r}. {did_you_mean(name, SAMPLERS)}")
