"""The rows of a study as a driver takes them up from the database."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from ablate.errors import ParameterError, error_text
from ablate.ledger import tables
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Planned, Rung
from ablate.ledger.row import CELL, ROW, OpenRow
from ablate.ledger.tables import FIXED, Draws
from ablate.ledger.twins import Twins
from ablate.space.sampling import make_sampler, sample
from ablate.space.space import Space
from ablate.study.settings import Study

# -- The study in memory, for a sampler to look at while it draws --------------------------
#
# Samplers read every row for each ask, and write a row parameter by parameter; from and to a
# database that is slow, and leaves half-drawn rows behind.  The mirror is filled from the database
# when driving begins, and follows what the driver writes.  It holds no truth: it can be thrown
# away at any time.


_OF_ONE_ASK = ("tpe:", FIXED)
"""Attributes of a row that nobody reads once it is drawn."""

REDRAWS = 10
"""How often a row is drawn anew that is the point of another; then it takes that one's scores."""


_LARGEST = 1e100
"""Values beyond it are seen as it: of larger ones a sampler's sums and squares overflow."""


class Drawn(NamedTuple):
    """A row that was drawn.

    Attributes:
        params: resolved, by dotted key; draws: what was drawn for them.
        twin: the complete row that is the same point; none where there is none.
    """

    params: Mapping[str, Any]
    draws: Draws
    twin: int | None = None


class Mirror:
    """A study and its rows, as an Optuna study in memory.

    Args:
        study: whose objectives, sampler and seed it has.
        space: that points are drawn from.
        attributes: that the sampler keeps on the study.
    """

    def __init__(self, study: Study, space: Space, attributes: Mapping[str, Any]) -> None:
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
        self._kept = dict(attributes)
        for key, value in attributes.items():
            self._storage.set_study_system_attr(self._study._study_id, key, value)
        self._ids: list[int] = []
        self._beyond: dict[int, list[float]] = {}
        self._undrawn: FrozenTrial

    def __len__(self) -> int:
        return len(self._ids)

    def fill(self, rows: Iterable[tuple[TrialState, Sequence[float], Draws]]) -> None:
        """Append rows as they are in the database, in order of number."""
        for state, values, draws in rows:
            self._append(state, draws, values)

    def draw(self, number: int, redraw: int = 0) -> tuple[Mapping[str, Any], Draws]:
        """Draw the row of this number: a new one, or one that waits or was half-drawn.

        Args:
            redraw: how often it was drawn before; what was given or stored of it stays.

        Returns:
            Resolved values by dotted key, and what was drawn for them.

        Raises:
            ParameterError: if the sampler raises, as it would again for this row.
        """
        search = self._search
        self._study.sampler = make_sampler(search.sampler, search.seed, number, redraw)
        self._study._thread_local.cached_all_trials = None  # as Optuna's own ask forgets them
        if number == len(self._ids):
            self._append(TrialState.RUNNING, Draws())
        self.start(number)
        trial_id = self._ids[number]
        if not redraw:  # Optuna's trial writes into the one that it was given
            self._undrawn = copy.deepcopy(self._storage.get_trial(trial_id))
        self._storage._set_trial(trial_id, copy.deepcopy(self._undrawn))
        try:
            params = sample(self._space, optuna.trial.Trial(self._study, trial_id))
        except Exception as error:
            raise ParameterError(
                f"search.sampler: {search.sampler} must sample trial {number}, got "
                f"{error_text(error)}. Use another sampler or other ranges in the space."
            ) from error
        drawn = self._storage.get_trial(trial_id)
        kept = {
            key: value
            for key, value in drawn.system_attrs.items()
            if not key.startswith(_OF_ONE_ASK)
        }
        return params.values, Draws(drawn.params, drawn.distributions, kept)

    def draw_new(self, number: int, twins: Twins, *, given: bool) -> Drawn:
        """As `draw`; a point that was begun is drawn anew, unless somebody has asked for it.

        Args:
            given: whether (some of) its parameters were.
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
        """Go back to an earlier draw of the row that was drawn last."""
        trial = copy.deepcopy(self._undrawn)
        trial.params, trial.distributions = dict(draws.params), dict(draws.distributions)
        trial.system_attrs = {**trial.system_attrs, **draws.system}
        self._storage._set_trial(self._ids[number], trial)

    def values(self, number: int) -> list[float]:
        """One number an objective, of a complete row."""
        return self._beyond.get(number) or list(self._storage.get_trial(self._ids[number]).values)

    def start(self, number: int) -> None:
        """A row that waits is run as it is: nothing is drawn."""
        if self._storage.get_trial(self._ids[number]).state == TrialState.WAITING:
            self._storage.set_trial_state_values(self._ids[number], TrialState.RUNNING)

    def end(self, number: int, state: TrialState, values: Sequence[float] = ()) -> None:
        """A row is terminal."""
        seen = self._seen(number, values)
        self._storage.set_trial_state_values(self._ids[number], state, seen or None)

    def changed_attributes(self) -> dict[str, Any]:
        """What the sampler has written on the study since the last call."""
        now = self._storage.get_study_system_attrs(self._study._study_id)
        changed = {key: value for key, value in now.items() if self._kept.get(key) != value}
        self._kept.update(changed)
        return changed

    def _seen(self, number: int, values: Sequence[float]) -> list[float]:
        """A row's values as samplers see them."""
        seen = [max(-_LARGEST, min(_LARGEST, value)) for value in values]
        if seen != list(values):
            self._beyond[number] = list(values)
        return seen

    def _append(self, state: TrialState, draws: Draws, values: Sequence[float] = ()) -> None:
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=self._seen(len(self._ids), values) or None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(draws.params),
            distributions=dict(draws.distributions),
            user_attrs={},
            system_attrs=dict(draws.system),
            intermediate_values={},
        )
        self._ids.append(self._storage.create_new_trial(self._study._study_id, template))


@dataclass(frozen=True)
class LoadedRows:
    """What is there.

    Attributes:
        mirror: all of it, as a sampler sees it.
        trial_ids: by number, of every row.
        running: by number, as they were left; waiting: numbers, in order.
        given: rows of which (some) parameters were given by `enqueue`.
        planned: by number, rows that are run as they are given.
        twins: the points that were begun; of a design, none.
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


def load_rows(ledger: Ledger) -> LoadedRows:
    """Read every row on one snapshot."""

    def everything(connection: Connection) -> tuple[Any, ...]:
        return (
            tables.read_rows(connection, ledger.study_id),
            tables.read_draws(connection, ledger.study_id),
            tables.study_attributes(connection, ledger.study_id, system=True),
        )

    rows, draws, attributes = ledger.store.read(everything)
    of_sampler = {key: value for key, value in attributes.items() if not key.startswith("study:")}
    mirror = Mirror(ledger.head.study, ledger.space, of_sampler)
    none = tables.Draws()
    mirror.fill((stored.state, stored.values, draws.get(stored.trial_id, none)) for stored in rows)
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
            stored.number
            for stored in rows
            if tables.FIXED in draws.get(stored.trial_id, none).system
        ),
        planned={
            stored.number: Planned.from_json(stored.attributes[CELL])
            for stored in rows
            if CELL in stored.attributes
        },
        twins=twins,
        rungs=tuple((stored.number, rung) for stored in rows for rung in OpenRow.of(stored).rungs),
    )
