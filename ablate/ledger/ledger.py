"""The ledger: the only truth about a study, in an Optuna storage.

A row is an Optuna trial.  Beside Optuna's own columns a study has a few attributes and a row at
most four, each JSON (`README.md` lists them).  Only the driver of a study writes here, from one
thread; workers never see the storage.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ablate.errors import StudyExistsError, StudyNotFoundError
from ablate.ledger.head import FORMAT, Head
from ablate.ledger.lease import Lease
from ablate.ledger.record import Checkpoint, Failure, RowRecord, StudyRecord
from ablate.ledger.row import (
    CURVE,
    FAILURE,
    ROW,
    SCORES,
    Row,
    durable_checkpoints,
    row_record,
)
from ablate.ledger.storage import open_storage, storage_errors
from ablate.ledger.url import masked, sqlite_file
from ablate.space.sampling import make_sampler, sample
from ablate.space.space import Space
from ablate.study.fingerprint import fingerprint
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study

_HEAD, _PROGRESS, _REFERENCES = "ablate:head", "ablate:progress", "ablate:references"


class Ledger:
    """A study in its storage, open for one driver (or for reading)."""

    def __init__(self, url: str, study: optuna.Study, head: Head) -> None:
        self._url = url
        self._study = study
        self.head = head
        self.space = Space.from_json(head.space)
        self._curves: dict[int, list[Mapping[str, Any]]] = {}

    # -- opening ---------------------------------------------------------------------------

    @classmethod
    def create(cls, url: str, head: Head, trials: int) -> Ledger:
        """Begin a study of `trials` rows.

        Raises:
            StudyExistsError: if the storage has one of that name, `ablate`'s or not.
            StorageError: if the storage cannot be written.
        """
        storage = open_storage(url, create=True)
        name = head.study.name
        with storage_errors(url):
            try:
                study = optuna.create_study(
                    storage=storage,
                    study_name=name,
                    directions=[objective.direction for objective in head.study.objectives],
                )
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(study_name=name, storage=storage)
                if not _is_torn(study):
                    raise StudyExistsError(
                        f"study {name}: a new study needs a new name, got one that is in "
                        f"{masked(url)}. Use ablate resume, or another `name:`."
                    ) from None
            # The head is written last: a study without one was cut off while it was begun.
            study.set_user_attr(_PROGRESS, {"trials": trials})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                # So that other tools on the same storage show the objectives by name.
                study.set_metric_names([objective.metric for objective in head.study.objectives])
            study.set_user_attr(_HEAD, head.to_json())
        return cls(url, study, head)

    @classmethod
    def open(cls, url: str, name: str) -> Ledger:
        """The study `name` in the storage at `url`.

        Raises:
            StudyNotFoundError: if there is none, or it is another tool's.
            StorageError: if the storage cannot be reached, or is of a later format.
        """
        storage = open_storage(url, create=False)
        with storage_errors(url):
            names = optuna.get_all_study_names(storage)
            if name not in names:
                there = f"It has: {', '.join(sorted(names))}." if names else "It has none."
                raise StudyNotFoundError(
                    f"study {name}: must be in {masked(url)}, got no such study. {there}"
                )
            study = optuna.load_study(study_name=name, storage=storage)
            head = study.user_attrs.get(_HEAD)
        if head is None:
            raise StudyNotFoundError(
                f"study {name}: must be one that ablate made, got another tool's in "
                f"{masked(url)}. It is left alone; choose another name."
            )
        if head["format"] != FORMAT:
            raise StudyNotFoundError(
                f"study {name}: must be of ledger format {FORMAT}, got {head['format']}. "
                "Use the version of ablate that wrote it."
            )
        return cls(url, study, Head.from_json(head))

    @staticmethod
    def exists(url: str, name: str) -> bool:
        """Whether the storage has a study of that name; false where there is no storage yet.

        A study that was cut off while it was begun is none: it is begun again.

        Raises:
            StorageError: if the storage is there and cannot be reached.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return False
        storage = open_storage(url, create=False)
        with storage_errors(url):
            if name not in optuna.get_all_study_names(storage):
                return False
            return not _is_torn(optuna.load_study(study_name=name, storage=storage))

    def lease(self) -> Lease:
        """The lease of this study, not yet taken."""
        storage = self._study._storage
        engine = storage._backend.engine  # type: ignore[attr-defined]
        return Lease(engine, self._url, self._study._study_id, self._study.study_name)

    # -- the study -------------------------------------------------------------------------

    @property
    def trials(self) -> int:
        """N: the rows that the finished study has."""
        with storage_errors(self._url):
            return int(self._study.user_attrs[_PROGRESS]["trials"])

    def set_trials(self, trials: int) -> None:
        with storage_errors(self._url):
            progress = self._study.user_attrs[_PROGRESS]
            self._study.set_user_attr(_PROGRESS, {**progress, "trials": trials})

    def log(self, event: Mapping[str, Any]) -> None:
        """Keep a change that alters no score, such as another sampler on resume."""
        with storage_errors(self._url):
            progress = self._study.user_attrs[_PROGRESS]
            log = [*progress.get("log", []), dict(event)]
            self._study.set_user_attr(_PROGRESS, {**progress, "log": log})

    def change_study(self, study: Study, base: str, notes: Sequence[str]) -> None:
        """Go on with another study file, or one in another folder, whose changes alter no score.

        Args:
            base: absolute folder of the file.
            notes: say what has changed.
        """
        self.head = replace(self.head, study=study, base=base)
        with storage_errors(self._url):
            self._study.set_user_attr(_HEAD, self.head.to_json())
        if notes:
            self.log({"changed": list(notes)})

    @property
    def references(self) -> dict[str, Scores]:
        with storage_errors(self._url):
            kept = self._study.user_attrs.get(_REFERENCES, {})
        return {name: Scores.from_json(data) for name, data in kept.items()}

    def set_reference(self, name: str, scores: Scores) -> None:
        """Keep the scores of a network that is no row: "baseline" or "plain"."""
        with storage_errors(self._url):
            kept = self._study.user_attrs.get(_REFERENCES, {})
            self._study.set_user_attr(_REFERENCES, {**kept, name: scores.to_json()})

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        counts = {state.name: 0 for state in TrialState}
        with storage_errors(self._url):
            for trial in self._study.get_trials(deepcopy=False):
                counts[trial.state.name] += 1
        return counts

    # -- rows ------------------------------------------------------------------------------

    def adopt(self) -> list[Row]:
        """Begin again every row that was left running: same number, attempt + 1.

        A half-sampled row is completed in place.
        """
        with storage_errors(self._url):
            left = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            return [self._begin(trial) for trial in left]

    def ask(self) -> Row | None:
        """The next row, sampled and begun; none where N rows are there already."""
        with storage_errors(self._url):
            trials = self._study.get_trials(deepcopy=False)
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if len(trials) >= self.trials and not waiting:
                return None
            asked = self._study.ask()
            return self._begin(self._frozen(asked.number))

    def begin_again(self, row: Row, *, failures: int | None = None, lost: int | None = None) -> Row:
        """The same row for another attempt."""
        again = replace(
            row,
            attempt=row.attempt + 1,
            failures=row.failures if failures is None else failures,
            lost=row.lost if lost is None else lost,
        )
        if row.number is None:
            return again
        with storage_errors(self._url):
            again = replace(again, checkpoints=durable_checkpoints(self._frozen(row.number)))
            self._write_row(again)
        return again

    def record_epoch(
        self, number: int, entry: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> None:
        """Keep one epoch of a row's curve and what is durable after it."""
        with storage_errors(self._url):
            trial = self._frozen(number)
            kept = trial.user_attrs.get(CURVE, {"curve": [], "checkpoints": []})
            curve = [point for point in kept["curve"] if point["epoch"] < entry["epoch"]]
            checkpoints = kept["checkpoints"]
            if checkpoint is not None:
                checkpoints = [*checkpoints, asdict(checkpoint)][-2:]
            self._set(trial, CURVE, {"curve": [*curve, entry], "checkpoints": checkpoints})

    def complete(self, number: int, scores: Scores) -> RowRecord:
        """End a row with its scores; one whose objective is not finite is failed instead."""
        metrics = scores.metrics()
        values = [float(metrics[objective.metric]) for objective in self.head.study.objectives]
        if not all(map(math.isfinite, values)):
            named = ", ".join(
                f"{objective.metric} = {value}"
                for objective, value in zip(self.head.study.objectives, values, strict=True)
            )
            return self.fail(number, Failure("not_finite", f"an objective is not finite: {named}"))
        with storage_errors(self._url):
            self._set(self._frozen(number), SCORES, scores.to_json())
            self._study.tell(number, values)
            return row_record(self._frozen(number))

    def fail(self, number: int, failure: Failure) -> RowRecord:
        """End a row without scores, with its reason."""
        with storage_errors(self._url):
            self._set(self._frozen(number), FAILURE, asdict(failure))
            self._study.tell(number, state=TrialState.FAIL)
            return row_record(self._frozen(number))

    def read(self) -> StudyRecord:
        """Everything, as frozen data."""
        with storage_errors(self._url):
            rows = [row_record(trial) for trial in self._study.get_trials(deepcopy=False)]
        return StudyRecord(
            name=self.head.study.name,
            storage=masked(self._url),
            study=self.head.study,
            fingerprint=fingerprint(self.head.fingerprint),
            environment=self.head.environment,
            trials=self.trials,
            reference_point=self.head.reference_point,
            references=self.references,
            rows=tuple(rows),
            driver=self.lease().holder(),
        )

    # -- within ----------------------------------------------------------------------------

    def _begin(self, trial: FrozenTrial) -> Row:
        settings = self.head.study.search
        self._study.sampler = make_sampler(settings.sampler, settings.seed, trial.number)
        params = sample(self.space, optuna.trial.Trial(self._study, trial._trial_id))
        kept = trial.user_attrs.get(ROW, {})
        row = Row(
            number=trial.number,
            attempt=kept.get("attempt", 0) + 1,
            params=params.values,
            seeds=self.seeds(),
            checkpoints=durable_checkpoints(trial),
            failures=kept.get("failures", 0),
            lost=kept.get("lost", 0),
        )
        self._write_row(row)
        return row

    def seeds(self) -> Seeds:
        """Of every row of a search: one training seed, so that rows differ by their parameters."""
        study = self.head.study
        return Seeds(
            split=study.dataset.validation.seed,
            train=study.finetune.seed,
            evaluation=study.robustness.seed,
        )

    def _write_row(self, row: Row) -> None:
        assert row.number is not None
        data = {
            "attempt": row.attempt,
            "failures": row.failures,
            "lost": row.lost,
            "params": dict(row.params),
            "seeds": row.seeds.to_json(),
        }
        self._set(self._frozen(row.number), ROW, data)

    def _frozen(self, number: int) -> FrozenTrial:
        storage, study_id = self._study._storage, self._study._study_id
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _set(self, trial: FrozenTrial, key: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(trial._trial_id, key, value)


def _is_torn(study: optuna.Study) -> bool:
    """Cut off between its making and its head: it has no rows, and nothing but our own word."""
    return set(study.user_attrs) == {_PROGRESS} and not study.get_trials(deepcopy=False)
