"""A study in memory, for its sampler, and the values that it expects of rows that were stopped.

Samplers read every row for each ask, and write a row parameter by parameter; from and to a database
that is slow, and leaves half-drawn rows behind.  The mirror is filled from the database when
driving begins, and follows what the driver writes.  It can be discarded at any time.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from operator import add
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from ablate.errors import ParameterError, error_text
from ablate.ledger import tables
from ablate.ledger.record import Rung
from ablate.ledger.row import Twins
from ablate.ledger.tables import Draws
from ablate.space.sampling import (
    DEVIATIONS,
    HAS_FAILED,
    IS_RUNNING,
    distributions,
    make_sampler,
    sample,
)
from ablate.space.space import Space
from ablate.study.scores import Bound
from ablate.study.settings import Study

Values = tuple[float, ...]

REDRAWS = 10
"""How often a row is sampled again if it equals another point; then it copies that row's scores."""
_LARGEST = 1e100
"""Larger values are clipped to it for samplers, whose sums and squares would overflow."""


class Drawn(NamedTuple):
    """A sampled row.

    Attributes:
        params: resolved, by dotted key; draws: the raw samples.
        twin: the complete row with the same point, if any.
    """

    params: Mapping[str, Any]
    draws: Draws
    twin: int | None = None


class Mirror:
    """A study and its rows, as an Optuna study in memory.

    Optuna's samplers of several objectives learn nothing from a row that was stopped.  So a row
    that reached a rung, stopped or running, is shown as complete, with its expected values
    (`remaining_changes`) and, as a user attribute that `gp` reads, how far these may be off; a row
    that was stopped without such scores is shown as failed.

    Here the values of a row are those of the objectives, then what is in excess of each bound:
    samplers see that as constraints.

    Args:
        study: defines objectives, sampler and seed.
        space: to sample points from.
        attributes: the sampler's attributes of the study.
        bounds: of the study's constraints.
        reference_point: of the hypervolume, in the objectives' units.
        has_start: whether it began with given points, so that `auto` draws none at random.
        base: folder of the study file, for a sampler of the user's own.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        attributes: Mapping[str, Any],
        bounds: Sequence[Bound] = (),
        reference_point: Sequence[float] | None = None,
        *,
        has_start: bool = False,
        base: Path | None = None,
    ) -> None:
        self._search, self._base = study.search, base
        self._space = space
        self._domains = distributions(space)
        self._storage = InMemoryStorage()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(
                storage=self._storage,
                directions=[objective.direction for objective in study.objectives],
            )
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._kept = dict(attributes)
        for key, value in attributes.items():
            self._storage.set_study_system_attr(self._study_id, key, value)
        self._objectives = [objective.metric for objective in study.objectives]
        self._bounds = bounds
        self._reference_point = reference_point
        self._has_start = has_start
        self._ids: list[int] = []
        self._states: list[TrialState] = []
        self._final: dict[int, list[float]] = {}
        self._ends: dict[int, Values] = {}
        self._rungs: dict[int, dict[int, Values]] = {}
        self._last: dict[int, int] = {}
        self._remaining: dict[int, Change] | None = None
        self._shown: dict[int, Change] = {}
        self._undrawn: FrozenTrial

    def __len__(self) -> int:
        return len(self._ids)

    def fill(
        self,
        rows: Iterable[tuple[TrialState, Sequence[float], Draws]],
        rungs: Iterable[tuple[int, Rung]] = (),
    ) -> None:
        """Append the rows of the database, in order of number, with their rungs."""
        for state, values, draws in rows:
            self._append(state, draws, values)
        for number, rung in rungs:
            self._add_rung(number, rung)
        for number in range(len(self._ids)):
            self._show(number)

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Show rows of another study (`metrics`, `raw` draws), which have no number here."""
        for row in rows:
            values = [row["metrics"][metric] for metric in self._objectives]
            values += [bound.excess(row["metrics"]) for bound in self._bounds]
            domains = {name: self._domains[name] for name in row["raw"]}
            self._append(TrialState.COMPLETE, Draws(row["raw"], domains), values)
            self._show(len(self._ids) - 1)
        self._ids, self._states, self._final, self._ends = [], [], {}, {}

    def draw(self, number: int, redraw: int = 0) -> tuple[Mapping[str, Any], Draws]:
        """Sample the row of this number: a new one, a waiting one, or one that was partly sampled.

        Args:
            redraw: how often it was sampled before; given or stored parameters are kept.

        Returns:
            Resolved values by dotted key, and their raw samples.

        Raises:
            ParameterError: if the sampler raises, as it would again for this row.
        """
        search = self._search
        if self._changes() != self._shown:  # other values are expected of unfinished rows
            self._shown = self._changes()
            for unfinished in self._last.keys() - self._ends.keys():
                self._show(unfinished)
        self._study.sampler = make_sampler(
            search.sampler,
            search.seed,
            number,
            redraw,
            space=self._space,
            reference_point=self._reference_point,
            has_start=self._has_start,
            base=self._base,
        )
        tables.forget_trials(self._study)
        if number == len(self._ids):
            self._append(TrialState.RUNNING, Draws())
        self.start(number)
        trial_id = self._ids[number]
        if not redraw:  # Optuna's trial writes into the one that it was given
            self._undrawn = copy.deepcopy(self._storage.get_trial(trial_id))
        tables.overwrite_trial(self._storage, trial_id, copy.deepcopy(self._undrawn))
        count = self._storage.get_n_trials(self._study_id)
        try:
            params = sample(self._space, optuna.trial.Trial(self._study, trial_id))
            if self._storage.get_n_trials(self._study_id) > count:
                raise RuntimeError("trials that it added: a sampler proposes values")
        except (Exception, SystemExit) as error:
            raise ParameterError(
                f"search.sampler: {search.sampler} must sample trial {number}, got "
                f"{error_text(error)}. Use another sampler or other ranges in the space."
            ) from error
        drawn = self._storage.get_trial(trial_id)
        kept = tables.without(tables.SAMPLING, drawn.system_attrs)
        return params.values, Draws(drawn.params, drawn.distributions, kept)

    def draw_new(self, number: int, twins: Twins, *, given: bool) -> Drawn:
        """As `draw`; a point that was already run is sampled again, unless it was enqueued.

        Args:
            given: whether (some of) its parameters are given.
        """
        made = [self.draw(number)]
        if not given:
            while twins.is_begun(made[-1][0]) and len(made) <= REDRAWS:
                made.append(self.draw(number, len(made)))
            if not twins.is_begun(made[-1][0]):
                return Drawn(*made[-1])
        copied = [twins.complete(params) for params, _ in made]
        chosen = next((at for at, twin in enumerate(copied) if twin is not None), 0)
        params, draws = made[chosen]
        if len(made) > 1:  # the sampler's trial is the last one that was drawn
            trial = copy.deepcopy(self._undrawn)
            trial.params, trial.distributions = dict(draws.params), dict(draws.distributions)
            trial.system_attrs = {**trial.system_attrs, **draws.system}
            tables.overwrite_trial(self._storage, self._ids[number], trial)
        return Drawn(params, draws, copied[chosen])

    def values(self, number: int) -> list[float]:
        """Values of a complete row."""
        return self._final[number]

    def start(self, number: int) -> None:
        """Start a waiting row without sampling."""
        if self._states[number] == TrialState.WAITING:
            self._states[number] = TrialState.RUNNING
            self._show(number)

    def reach(self, number: int, rung: Rung) -> None:
        """Note the scores of a row at a rung; it counts if all values are known."""
        self._add_rung(number, rung)
        self._show(number)

    def end(self, number: int, state: TrialState, values: Sequence[float] = ()) -> None:
        """Note that a row has ended."""
        self._states[number] = state
        self._keep_values(number, state, values)
        self._show(number)

    def changed_attributes(self) -> dict[str, Any]:
        """Attributes that the sampler has changed since the last call."""
        now = self._storage.get_study_system_attrs(self._study_id)
        changed = {key: value for key, value in now.items() if self._kept.get(key) != value}
        self._kept.update(changed)
        return changed

    def _add_rung(self, number: int, rung: Rung) -> None:
        values = [rung.scores.get(metric, math.nan) for metric in self._objectives]
        values += [bound.excess(rung.scores) for bound in self._bounds]
        if not any(map(math.isnan, values)):
            self._rungs.setdefault(rung.epoch, {})[number] = _clipped(values)
            self._last[number] = max(rung.epoch, self._last.get(number, 0))
            self._remaining = None

    def _keep_values(self, number: int, state: TrialState, values: Sequence[float]) -> None:
        if state == TrialState.COMPLETE:
            self._final[number] = list(values)
            self._ends[number] = _clipped(values)
            self._remaining = None

    def _changes(self) -> dict[int, Change]:
        if self._remaining is None:
            self._remaining = remaining_changes(self._rungs, self._ends)
        return self._remaining

    def _show(self, number: int) -> None:
        """Bring a row in memory up to date."""
        state, epoch = self._states[number], self._last.get(number)
        seen, deviations = self._ends.get(number, ()), None
        if epoch is not None and not seen:
            change = self._changes()[epoch]
            seen = _clipped([*map(add, self._rungs[epoch][number], change.expected)])
            deviations = change.deviations
        trial = copy.copy(self._storage.get_trial(self._ids[number]))
        trial.state, count = TrialState.COMPLETE, len(self._objectives)
        if state == TrialState.FAIL or not seen:
            trial.state = TrialState.FAIL if state == TrialState.PRUNED else state
            seen = ()
        trial.values = list(seen[:count]) if seen else None
        if self._bounds:
            trial.system_attrs = tables.without(tables.CONSTRAINTS, trial.system_attrs)
            for place, excess in enumerate(seen[count:]):
                trial.set_constraint(str(place), excess)
        trial.user_attrs = {
            IS_RUNNING: state == TrialState.RUNNING,
            HAS_FAILED: state == TrialState.FAIL,
        } | ({} if deviations is None else {DEVIATIONS: deviations})
        tables.overwrite_trial(self._storage, self._ids[number], trial)

    def _append(self, state: TrialState, draws: Draws, values: Sequence[float] = ()) -> None:
        number = len(self._ids)
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            values=None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(draws.params),
            # A domain with a step is cut whenever Optuna makes it, also from what was cut before.
            distributions={
                name: self._domains.get(name, own) for name, own in draws.distributions.items()
            },
            user_attrs={},
            system_attrs=dict(draws.system),
            intermediate_values={},
        )
        self._ids.append(self._storage.create_new_trial(self._study_id, template))
        self._states.append(state)
        self._keep_values(number, state, values)


def _clipped(values: Sequence[float]) -> Values:
    return tuple(max(-_LARGEST, min(_LARGEST, value)) for value in values)


# -- What is expected of rows that were stopped, or are not finished ------------------------
#
# At each rung the median change up to the next one is added, of trials that reached both; up to a
# later one if too few reached the next.  So trials of one rung keep their order, and those of
# several can be compared.  How much these changes differ says how far an expected value may be off.


_FEWEST = 3
"""Trials that reached both rungs; with fewer no change is added."""
_MOST = 100
"""Of these trials, the first that are used, so that what is expected settles."""
_MIDDLE_HALF = 2 * NormalDist().inv_cdf(0.75)
"""Width of the middle half of a standard normal distribution."""
_LEAST = 1e-300
"""Variance of an expected value: only what is known has none."""


class Change(NamedTuple):
    """What trials gain from a rung to their end, per objective.

    Attributes:
        expected: the median, which is added to the scores at the rung.
        deviations: standard deviation of what it was.
    """

    expected: Values
    deviations: Values


def remaining_changes(
    rungs: Mapping[int, Mapping[int, Values]], ends: Mapping[int, Values]
) -> dict[int, Change]:
    """What trials gain from each rung, by its epoch, to their end.

    Args:
        rungs: epoch -> number of each trial that reached it -> its values there, all finite.
        ends: number -> values after the whole budget.
    """
    changes: dict[int, Change] = {}
    none = np.zeros(len(next((values for rung in rungs.values() for values in rung.values()), ())))
    # From there to the end: values, expected change and variance; the next level first.
    later = [(ends, none, none)]
    for epoch in sorted(rungs, reverse=True):
        here = rungs[epoch]
        expected, variance = _change(here, later)
        deviations = np.sqrt(np.maximum(variance, _LEAST))
        changes[epoch] = Change(tuple(map(float, expected)), tuple(map(float, deviations)))
        later.insert(0, (here, expected, variance))
    return changes


def _change(
    here: Mapping[int, Values],
    later: Sequence[tuple[Mapping[int, Values], np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """From a rung to the end, by way of the first later level that enough of its trials reached;
    after a change of `min_epochs` that is not always the next one."""
    for there, expected, variance in later:
        both = nsmallest(_MOST, here.keys() & there.keys())
        if len(both) >= _FEWEST:
            steps = [np.subtract(there[number], here[number]) for number in both]
            return expected + np.median(steps, axis=0), variance + _variance(steps)
    # Nothing is known of the change: the scores may end anywhere among those of the rung.
    _, expected, variance = later[0]
    return expected, variance + _variance([here[number] for number in sorted(here)])


def _variance(values: Sequence[Values | np.ndarray]) -> np.ndarray:
    """Of normal values with the same middle half: one that collapsed changes nothing."""
    low, high = np.quantile(np.array(values), [0.25, 0.75], axis=0)
    return np.asarray(((high - low) / _MIDDLE_HALF) ** 2)
