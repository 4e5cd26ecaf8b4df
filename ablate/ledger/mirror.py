"""The study in memory, for a sampler to look at while it draws.

Samplers read every row for each ask, and write a row parameter by parameter; from and to a
database that is slow, and leaves half-drawn rows behind.  The mirror is filled from the database
when driving begins, and follows what the driver writes.  It holds no truth: it can be thrown
away at any time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from ablate.errors import ParameterError, error_text
from ablate.ledger.tables import FIXED, Draws
from ablate.space.sampling import make_sampler, sample
from ablate.space.space import Space
from ablate.study.settings import Study

_OF_ONE_ASK = ("tpe:", FIXED)
"""Attributes of a row that nobody reads once it is drawn."""


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(
                storage=InMemoryStorage(),
                directions=[objective.direction for objective in study.objectives],
            )
        self._storage = self._study._storage
        self._kept = dict(attributes)
        for key, value in attributes.items():
            self._storage.set_study_system_attr(self._study._study_id, key, value)
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def fill(self, rows: Iterable[tuple[TrialState, Sequence[float], Draws]]) -> None:
        """Append rows as they are in the database, in order of number."""
        for state, values, draws in rows:
            self._append(state, draws, values)

    def draw(self, number: int) -> tuple[Mapping[str, Any], Draws]:
        """Draw the row of this number: a new one, or one that waits or was half-drawn.

        Returns:
            Resolved values by dotted key, and what was drawn for them.

        Raises:
            ParameterError: if the sampler raises, as it would again for this row.
        """
        search = self._search
        self._study.sampler = make_sampler(search.sampler, search.seed, number)
        self._study._thread_local.cached_all_trials = None  # as Optuna's own ask forgets them
        if number == len(self._ids):
            self._append(TrialState.RUNNING, Draws())
        self.start(number)
        trial_id = self._ids[number]
        try:
            params = sample(self._space, optuna.trial.Trial(self._study, trial_id))
        except Exception as error:
            raise ParameterError(
                f"search.sampler: {search.sampler} must draw trial {number}, got "
                f"{error_text(error)}. Take another sampler or other ranges in the space."
            ) from error
        drawn = self._storage.get_trial(trial_id)
        kept = {
            key: value
            for key, value in drawn.system_attrs.items()
            if not key.startswith(_OF_ONE_ASK)
        }
        return params.values, Draws(drawn.params, drawn.distributions, kept)

    def start(self, number: int) -> None:
        """A row that waits is run as it is: nothing is drawn."""
        if self._storage.get_trial(self._ids[number]).state == TrialState.WAITING:
            self._storage.set_trial_state_values(self._ids[number], TrialState.RUNNING)

    def end(self, number: int, state: TrialState, values: Sequence[float] = ()) -> None:
        """A row is terminal."""
        self._storage.set_trial_state_values(self._ids[number], state, list(values) or None)

    def changed_attributes(self) -> dict[str, Any]:
        """What the sampler has written on the study since the last call."""
        now = self._storage.get_study_system_attrs(self._study._study_id)
        changed = {key: value for key, value in now.items() if self._kept.get(key) != value}
        self._kept.update(changed)
        return changed

    def _append(self, state: TrialState, draws: Draws, values: Sequence[float] = ()) -> None:
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=list(values) or None,
            datetime_start=None,
            datetime_complete=None,
            params=dict(draws.params),
            distributions=dict(draws.distributions),
            user_attrs={},
            system_attrs=dict(draws.system),
            intermediate_values={},
        )
        self._ids.append(self._storage.create_new_trial(self._study._study_id, template))
