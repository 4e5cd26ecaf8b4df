"""The ledger: the only truth about a study, in an Optuna storage.

A row is an Optuna trial.  Beside Optuna's own columns a study has a few attributes and a row at
most four, each JSON (`README.md` lists them, and the states of a row).  Every step of a row is
one transaction.  Only the driver of a study writes here, from one thread, while it holds the
lease; workers never see the storage.  The one exception is `enqueue`, which appends a row that
waits.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ablate.errors import StudyExistsError, StudyNotFoundError
from ablate.ledger import tables
from ablate.ledger.head import FORMAT, Head
from ablate.ledger.lease import Lease
from ablate.ledger.record import Drive, StudyRecord
from ablate.ledger.row import STATES, row_record
from ablate.ledger.storage import open_storage, storage_errors
from ablate.ledger.store import Patience, Store
from ablate.ledger.url import masked, sqlite_file
from ablate.space.space import Space
from ablate.study.fingerprint import fingerprint
from ablate.study.scores import AnyScores, Scores, scores_from_json
from ablate.study.settings import Study

_HEAD, _TRIALS, _LOG = "ablate:head", "ablate:trials", "ablate:log"
_REFERENCES, _DRIVES, _SPENT = "ablate:references", "ablate:drives", "ablate:spent"


class Ledger:
    """A study in its storage; `ablate.ledger.driving.Driving` writes its rows."""

    def __init__(self, url: str, storage: RDBStorage, study_id: int, head: Head) -> None:
        self._url = url
        self._engine = storage.engine
        self.store = Store(url, storage.engine)
        self.study_id = study_id
        self.head = head
        self.space = Space.from_json(head.space)

    # -- opening ---------------------------------------------------------------------------

    @classmethod
    def create(cls, url: str, head: Head, trials: int) -> Ledger:
        """Begin a study of `trials` rows: all of it is there or nothing.

        Raises:
            StudyExistsError: if the storage has one of that name, `ablate`'s or not.
            StorageError: if the storage cannot be written.
        """
        storage = open_storage(url, create=True)
        study, space = head.study, Space.from_json(head.space)
        waiting = [(values, space.encode_partial(values)) for values in study.search.enqueue]

        def begin(connection: Connection) -> int:
            study_id = tables.insert_study(
                connection,
                study.name,
                [objective.direction for objective in study.objectives],
                [objective.metric for objective in study.objectives],
                {_HEAD: head.to_json(), _TRIALS: trials},
            )
            for number, (values, raw) in enumerate(waiting[:trials]):
                _insert_waiting(connection, study_id, number, values, raw)
            return study_id

        with storage_errors(url):
            try:
                with storage.engine.begin() as connection:
                    study_id = begin(connection)
            except IntegrityError:
                raise _exists(study.name, url) from None
        return cls(url, storage, study_id, head)

    @classmethod
    def open(cls, url: str, name: str) -> Ledger:
        """The study `name` in the storage at `url`.

        Raises:
            StudyNotFoundError: if there is none, it is another tool's, or of another format.
            StorageError: if the storage cannot be reached, or is of another Optuna's schema.
        """
        storage = open_storage(url, create=False)
        with storage_errors(url), storage.engine.begin() as connection:
            study_id = tables.find_study(connection, name)
            if study_id is None:
                names = tables.study_names(connection)
                there = f"It has: {', '.join(sorted(names))}." if names else "It has none."
                raise StudyNotFoundError(
                    f"study {name}: must be in {masked(url)}, got no such study. {there}"
                )
            head = tables.study_attributes(connection, study_id).get(_HEAD)
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
        return cls(url, storage, study_id, Head.from_json(head))

    @staticmethod
    def exists(url: str, name: str) -> bool:
        """Whether the storage has a study of that name; false where there is no storage yet.

        Raises:
            StorageError: if the storage is there and cannot be reached.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return False
        storage = open_storage(url, create=False)
        try:
            with storage_errors(url), storage.engine.begin() as connection:
                return tables.find_study(connection, name) is not None
        finally:
            storage.engine.dispose()

    def close(self) -> None:
        """Give the connections back now, not when Python gets to it: a server has few."""
        self._engine.dispose()

    def lease(self) -> Lease:
        """The lease of this study, not yet taken."""
        return Lease(self._engine, self._url, self.study_id, self.head.study.name)

    def hold(self, lease: Lease, patience: Patience) -> None:
        """Write under this lease from here on, and sit out what the storage is away."""
        self.store.hold(lease.fence, patience)

    # -- the study -------------------------------------------------------------------------

    @property
    def trials(self) -> int:
        """N: the rows that the finished study has; rows that were enqueued beyond it count."""

        def count(connection: Connection) -> int:
            asked = int(tables.study_attributes(connection, self.study_id)[_TRIALS])
            return max(asked, sum(tables.count_rows(connection, self.study_id).values()))

        return self.store.read(count)

    def set_trials(self, trials: int) -> None:
        self._set({_TRIALS: trials})

    def log(self, event: Mapping[str, Any]) -> None:
        """Keep a change that alters no score, such as another sampler on resume."""
        self._set({_LOG: [*(self._get(_LOG) or []), dict(event)]})

    def change_study(self, study: Study, base: str, notes: Sequence[str]) -> None:
        """Go on with another study file, or one in another folder, whose changes alter no score.

        Args:
            base: absolute folder of the file.
            notes: say what has changed.
        """
        self.head = replace(self.head, study=study, base=base)
        self._set({_HEAD: self.head.to_json()})
        if notes:
            self.log({"changed": list(notes)})

    @property
    def references(self) -> dict[str, AnyScores]:
        kept = self._get(_REFERENCES) or {}
        return {name: scores_from_json(data) for name, data in kept.items()}

    def set_reference(self, name: str, scores: AnyScores) -> None:
        """Keep the scores of a network that is no row: "baseline" or "plain"."""
        self._set({_REFERENCES: {**(self._get(_REFERENCES) or {}), name: scores.to_json()}})

    @property
    def spent(self) -> str | None:
        """Which budget of the search ended it; none where none did, or it has been raised."""
        kept = self._get(_SPENT)
        budget = self.head.study.search.budget.model_dump()
        return str(kept["reason"]) if kept and kept["budget"] == budget else None

    def set_spent(self, reason: str) -> None:
        """A budget of the search is spent: no further row is asked for."""
        budget = self.head.study.search.budget.model_dump()
        self._set({_SPENT: {"reason": reason, "budget": budget}})

    def begin_drive(self, drive: Drive, last_sign: float | None = None) -> None:
        """Keep that a driver has begun; the one before, if it never said its end, ended at its
        last sign."""
        drives = list(self._get(_DRIVES) or [])
        if drives and drives[-1]["ended"] is None:
            drives[-1] = {**drives[-1], "ended": last_sign or drives[-1]["started"]}
        self._set({_DRIVES: [*drives, asdict(drive)]})

    def update_drive(self, **fields: Any) -> None:
        """Say more of the drive under way."""
        drives = self._get(_DRIVES) or []
        if drives:
            self._set({_DRIVES: [*drives[:-1], {**drives[-1], **fields}]})

    @property
    def drives(self) -> tuple[Drive, ...]:
        return tuple(Drive(**data) for data in self._get(_DRIVES) or [])

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        found = self.store.read(lambda connection: tables.count_rows(connection, self.study_id))
        return {name: found.get(state, 0) for state, name in STATES.items()}

    def enqueue(self, values: Mapping[str, Any]) -> int:
        """Append a row with these parameters, to be run next; its number.

        Args:
            values: by dotted key; what is left out is drawn.

        Raises:
            ParameterError: if a key is not searched, or a value is outside its range.
        """
        raw = self.space.encode_partial(values)

        def append(connection: Connection) -> int:
            number = tables.lock_rows(connection, self.study_id)
            _insert_waiting(connection, self.study_id, number, values, raw)
            return number

        return self.store.write(append)

    def read(self) -> StudyRecord:
        """Everything, as frozen data, of one moment."""

        def snapshot(connection: Connection) -> tuple[dict[str, Any], list[tables.Stored]]:
            attributes = tables.study_attributes(connection, self.study_id)
            return attributes, tables.read_rows(connection, self.study_id)

        with _no_collection():
            attributes, stored = self.store.read(snapshot)
            rows = tuple(map(row_record, stored))
        references = attributes.get(_REFERENCES) or {}
        return StudyRecord(
            name=self.head.study.name,
            storage=masked(self._url),
            study=self.head.study,
            fingerprint=fingerprint(self.head.fingerprint),
            environment=self.head.environment,
            trials=max(int(attributes[_TRIALS]), len(rows)),
            reference_point=self.head.reference_point,
            references={
                name: scores
                for name, data in references.items()
                if isinstance(scores := scores_from_json(data), Scores)
            },
            rows=rows,
            driver=self.lease().holder(),
            drives=tuple(Drive(**data) for data in attributes.get(_DRIVES) or []),
        )

    # -- within ----------------------------------------------------------------------------

    def _get(self, key: str) -> Any:
        return self.store.read(lambda c: tables.study_attributes(c, self.study_id)).get(key)

    def _set(self, values: Mapping[str, Any]) -> None:
        self.store.write(lambda c: tables.set_study_attributes(c, self.study_id, values))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's collector off: it would walk all rows again and again while they are made,
    which takes half of the time that 10,000 need."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _insert_waiting(
    connection: Connection,
    study_id: int,
    number: int,
    values: Mapping[str, Any],
    raw: Mapping[str, Any],
) -> None:
    tables.insert_row(
        connection,
        study_id,
        number,
        state=TrialState.WAITING,
        draws=tables.Draws(system={tables.FIXED: dict(raw)}),
        attributes={tables.ENQUEUED: dict(values)},
    )


def _exists(name: str, url: str) -> StudyExistsError:
    return StudyExistsError(
        f"study {name}: a new study needs a new name, got one that is in {masked(url)}. "
        "Use ablate resume, or another `name:`."
    )
