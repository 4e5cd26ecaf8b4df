"""Loads the rows of a study from the database for a driver."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from ablate.errors import ParameterError, error_text
from ablate.ledger import tables
from ablate.ledger.extrapolation import Extrapolation
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Planned, Rung
from ablate.ledger.row import CELL, ROW, SCORES, OpenRow, Twins
from ablate.ledger.tables import Draws
from ablate.space.sampling import (
    DEVIATIONS,
    HAS_FAILED,
    IS_RUNNING,
    distributions,
    make_sampler,
    sample,
)
from ablate.space.space import FIXED, Space
from ablate.study.scores import Bound, scores_from_json
from ablate.study.settings import Study

# -- The study in memory, for the sampler --------------------------
#
# Samplers read every row for each ask, and write a row parameter by parameter; from and to a
# database that is slow, and leaves half-drawn rows behind.  The mirror is filled from the database
# when driving begins, and follows what the driver writes.  It can be discarded at any time.


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
    (`Extrapolation`) and, as a user attribute that `gp` reads, how far these may be off; a row that
    was stopped without such scores is shown as failed.

    Here the values of a row are those of the objectives, then what is in excess of each bound:
    samplers see that as constraints.

    Args:
        study: defines objectives, sampler and seed.
        space: to sample points from.
        attributes: the sampler's attributes of the study.
        bounds: of the study's constraints.
        reference_point: of the hypervolume, in the objectives' units.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        attributes: Mapping[str, Any],
        bounds: Sequence[Bound] = (),
        reference_point: Sequence[float] | None = None,
    ) -> None:
        self._search = study.search
        self._space = space
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
        self._ids: list[int] = []
        self._states: list[TrialState] = []
        self._final: dict[int, list[float]] = {}
        self._at_rungs = Extrapolation()
        self._remaining: Mapping[int, Any] = {}
        self._reference_point = reference_point
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
        self._show_expected()
        self._study.sampler = make_sampler(
            search.sampler,
            search.seed,
            number,
            redraw,
            space=self._space,
            reference_point=self._reference_point,
        )
        tables.forget_trials(self._study)
        if number == len(self._ids):
            self._append(TrialState.RUNNING, Draws())
        self.start(number)
        trial_id = self._ids[number]
        if not redraw:  # Optuna's trial writes into the one that it was given
            self._undrawn = copy.deepcopy(self._storage.get_trial(trial_id))
        tables.overwrite_trial(self._storage, trial_id, copy.deepcopy(self._undrawn))
        try:
            params = sample(self._space, optuna.trial.Trial(self._study, trial_id))
        except Exception as error:
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
        found = [twins.complete(params) for params, _ in made]
        chosen = next((at for at, twin in enumerate(found) if twin is not None), 0)
        if len(made) > 1:
            self._keep(number, made[chosen][1])
        return Drawn(*made[chosen], found[chosen])

    def _keep(self, number: int, draws: Draws) -> None:
        """Go back to an earlier sample of the last row."""
        trial = copy.deepcopy(self._undrawn)
        trial.params, trial.distributions = dict(draws.params), dict(draws.distributions)
        trial.system_attrs = {**trial.system_attrs, **draws.system}
        tables.overwrite_trial(self._storage, self._ids[number], trial)

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
            self._at_rungs.reach(number, rung.epoch, _clipped(values))

    def _keep_values(self, number: int, state: TrialState, values: Sequence[float]) -> None:
        if state == TrialState.COMPLETE:
            self._final[number] = list(values)
            self._at_rungs.end(number, _clipped(values))

    def _show_expected(self) -> None:
        """Show rows that were stopped or are running again if other values are expected of them."""
        remaining = self._at_rungs.remaining
        if remaining != self._remaining:
            self._remaining = remaining
            for number in self._at_rungs.unfinished:
                self._show(number)

    def _show(self, number: int) -> None:
        """Bring a row in memory up to date."""
        trial = copy.copy(self._storage.get_trial(self._ids[number]))
        trial.state, values = self._seen(number)
        seen, count = _clipped(values or ()), len(self._objectives)
        trial.values = seen[:count] if seen else None
        if self._bounds:
            trial.system_attrs = tables.without(tables.CONSTRAINTS, trial.system_attrs)
            for place, excess in enumerate(seen[count:]):
                trial.set_constraint(str(place), excess)
        state, deviations = self._states[number], self._at_rungs.deviations(number)
        trial.user_attrs = {
            IS_RUNNING: state == TrialState.RUNNING,
            HAS_FAILED: state == TrialState.FAIL,
        } | ({} if deviations is None else {DEVIATIONS: deviations})
        tables.overwrite_trial(self._storage, self._ids[number], trial)

    def _seen(self, number: int) -> tuple[TrialState, Sequence[float] | None]:
        """State and values of a row as samplers see them."""
        state = self._states[number]
        expected = self._at_rungs.expected(number)
        if expected is not None and state != TrialState.FAIL:
            return TrialState.COMPLETE, expected
        return (TrialState.FAIL if state == TrialState.PRUNED else state), None

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
            distributions=dict(draws.distributions),
            user_attrs={},
            system_attrs=dict(draws.system),
            intermediate_values={},
        )
        self._ids.append(self._storage.create_new_trial(self._study_id, template))
        self._states.append(state)
        self._keep_values(number, state, values)


def _clipped(values: Sequence[float]) -> list[float]:
    return [max(-_LARGEST, min(_LARGEST, value)) for value in values]


@dataclass(frozen=True)
class LoadedRows:
    """The existing rows.

    Attributes:
        mirror: all rows, as a sampler sees them.
        trial_ids: by number, of every row.
        running: by number, in their last state; waiting: numbers, in order.
        given: rows of which (some) parameters were given by `enqueue`.
        planned: by number, rows whose parameters are all given.
        twins: the points that were started; none for a design.
        rungs: decisions of a pruner, with the row of each.
    """

    mirror: Mirror
    trial_ids: dict[int, int]
    running: Mapping[int, OpenRow]
    waiting: tuple[int, ...]
    given: frozenset[int]
    planned: Mapping[int, Planned]
    twins: Twins
    rungs: tuple[tuple[int, Rung], ...]

    def members(self, number: int) -> list[int]:
        """The rows whose networks a row averages; none of a row that is trained."""
        planned = self.planned.get(number)
        if planned is None or not planned.members:
            return []
        numbers = {(one.cell, one.pair): place for place, one in self.planned.items()}
        return [numbers[cell, planned.pair] for cell in planned.members]


def _values(stored: tables.Stored, bounds: Sequence[Bound]) -> list[float]:
    """The values of a row, as in `Mirror`."""
    if not bounds or stored.state != TrialState.COMPLETE:
        return stored.values
    metrics = scores_from_json(stored.attributes[SCORES]).metrics()
    return [*stored.values, *(bound.excess(metrics) for bound in bounds)]


def load_rows(ledger: Ledger) -> LoadedRows:
    """Read every row on one snapshot."""

    def everything(connection: Connection) -> tuple[Any, ...]:
        return (
            tables.read_rows(connection, ledger.study_id),
            tables.read_draws(connection, ledger.study_id),
            tables.study_attributes(connection, ledger.study_id, system=True),
        )

    rows, stored_draws, attributes = ledger.store.read(everything)
    # A domain with a step is cut to it whenever Optuna makes it, also from what was cut before.
    domains = distributions(ledger.space)
    draws = {
        trial_id: replace(
            one,
            distributions={name: domains.get(name, own) for name, own in one.distributions.items()},
        )
        for trial_id, one in stored_draws.items()
    }
    of_sampler = tables.without(tables.STUDY, attributes)
    bounds = ledger.bounds
    head = ledger.head
    mirror = Mirror(head.study, ledger.space, of_sampler, bounds, head.reference_point)
    none = tables.Draws()
    rungs = tuple((stored.number, rung) for stored in rows for rung in OpenRow.of(stored).rungs)
    filled = (
        (stored.state, _values(stored, bounds), draws.get(stored.trial_id, none)) for stored in rows
    )
    mirror.fill(filled, rungs)
    twins = Twins(ledger.head.study)
    for stored in rows:
        row = stored.attributes.get(ROW, {})
        if CELL not in stored.attributes and "params" in row and "copy_of" not in row:
            twins.add(stored.number, row["params"], stored.state)
    return LoadedRows(
        mirror=mirror,
        trial_ids={stored.number: stored.trial_id for stored in rows},
        running={
            stored.number: OpenRow.of(stored)
            for stored in rows
            if stored.state == TrialState.RUNNING
        },
        waiting=tuple(stored.number for stored in rows if stored.state == TrialState.WAITING),
        given=frozenset(
            stored.number for stored in rows if FIXED in draws.get(stored.trial_id, none).system
        ),
        planned={
            stored.number: Planned.from_json(stored.attributes[CELL])
            for stored in rows
            if CELL in stored.attributes
        },
        twins=twins,
        rungs=rungs,
    )
