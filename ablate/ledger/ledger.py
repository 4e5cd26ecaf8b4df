"""The ledger: all results of a study, stored in an Optuna database.

A row is an Optuna trial.  In addition to Optuna's own columns, a study and a row have a few JSON
attributes (docs/reference/storage_format.md lists them, and the states of a row).

Every step of a row is one transaction.  Only the driver of a study writes, from
one thread, while it holds the lease; workers have no access to the storage.  The only exception is
`enqueue`, which appends a waiting row.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ablate.errors import ParameterError, StudyExistsError, StudyNotFoundError, UsageError
from ablate.errors.masking import masked
from ablate.ledger import tables
from ablate.ledger.attributes import (
    DRIVES,
    HEAD,
    LOG,
    LOOKED,
    OPENED,
    PREPARING,
    REFERENCES,
    SPENT,
    TEST,
    TRIALS,
    StudyAttributes,
)
from ablate.ledger.head import FORMAT, Head
from ablate.ledger.lease import Lease, delete_free_lease, remove_lease
from ablate.ledger.record import TERMINAL, Drive, Planned, StudyRecord, TestOpened
from ablate.ledger.row import CELL, STATES, Preview, Twins, row_record
from ablate.ledger.storage import open_storage, storage_errors
from ablate.ledger.store import Patience, Store
from ablate.ledger.url import sqlite_file
from ablate.space.space import FIXED, Space
from ablate.study.fingerprint import fingerprint
from ablate.study.keys import find_key
from ablate.study.preparation import PreparationStep
from ablate.study.scores import Scores, scores_from_json
from ablate.study.settings import Study


class Ledger(StudyAttributes):
    """A study in its storage; `ablate.ledger.driving.Driving` writes its rows."""

    def __init__(self, url: str, storage: RDBStorage, study_id: int, head: Head) -> None:
        super().__init__(Store(url, storage.engine), study_id, head)
        self._url = url
        self._engine = storage.engine
        self.space = Space.from_json(head.space)

    # -- opening ---------------------------------------------------------------------------

    @classmethod
    def create(cls, url: str, head: Head, trials: int, planned: Sequence[Planned] = ()) -> Ledger:
        """Create a study of `trials` rows, in one transaction.

        Args:
            planned: its rows, if they come from a design instead of a sampler.

        Raises:
            StudyExistsError: if the storage has a study of that name, of `ablate` or another tool.
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
                {HEAD: head.to_json(), TRIALS: trials},
            )
            for number, (values, raw) in enumerate(waiting[:trials]):
                _insert_waiting(connection, study_id, number, values, raw)
            for number, row in enumerate(planned):
                attributes = {CELL: row.to_json()}
                tables.insert_row(connection, study_id, number, attributes=attributes)
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
        """Open the study `name` in the storage at `url`.

        Raises:
            StudyNotFoundError: if there is none, or it is of another tool or format.
            StorageError: if the storage cannot be reached, or has the schema of another Optuna
                version.
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
            head = tables.study_attributes(connection, study_id).get(HEAD)
        if head is None:
            raise StudyNotFoundError(
                f"study {name}: must be a study of ablate, got another tool's in {masked(url)}. It "
                "was not changed; choose another name."
            )
        if head["format"] != FORMAT:
            raise StudyNotFoundError(
                f"study {name}: must be of ledger format {FORMAT}, got {head['format']}. "
                "Use the version of ablate that wrote it."
            )
        return cls(url, storage, study_id, Head.from_json(head))

    @staticmethod
    def exists(url: str, name: str) -> bool:
        """Whether the storage has a study of that name; False if there is no storage yet.

        Raises:
            StorageError: if the storage exists and cannot be reached.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return False
        with _opened(url) as connection:
            return tables.find_study(connection, name) is not None

    @staticmethod
    def remove(url: str, name: str) -> None:
        """Remove a study with all its rows, if it exists.

        An SQLite file is kept.

        Raises:
            StorageError: if the storage cannot be written.
        """
        if not Ledger.exists(url, name):
            return
        with _opened(url) as connection:
            study_id = tables.find_study(connection, name)
            if study_id is not None:
                remove_lease(connection, url, study_id)
                tables.delete_study(connection, study_id)

    def close(self) -> None:
        """Close the connections now, not when Python collects them: a server has few."""
        self._engine.dispose()

    def lease(self) -> Lease:
        """The lease of this study, not yet taken."""
        return Lease(self._engine, self._url, self.study_id, self.head.study.name)

    def hold(self, lease: Lease, patience: Patience) -> None:
        """From now on write under this lease, and wait during outages of the storage."""
        self.store.hold(lease.fence, lease.check_file, patience)

    # -- the study -------------------------------------------------------------------------

    def discard(self) -> bool:
        """Remove the study if it was never prepared, has no driver, and no row was enqueued.

        Returns:
            Whether it was removed.
        """

        def delete(connection: Connection) -> bool:
            tables.lock_rows(connection, self.study_id)
            attributes = tables.study_attributes(connection, self.study_id)
            kept = attributes.get(HEAD)
            if kept is None or Head.from_json(kept).is_prepared:
                return False
            rows = sum(tables.count_rows(connection, self.study_id).values())
            own = min(len(self.head.study.search.enqueue), int(attributes[TRIALS]))
            if self.head.design is None and rows > own:
                return False
            if not delete_free_lease(connection, self.study_id):
                return False
            tables.delete_study(connection, self.study_id)
            return True

        return self.store.write(delete)

    @property
    def trials(self) -> int:
        """N, the number of rows of the finished study, including rows enqueued beyond it."""

        def count(connection: Connection) -> int:
            asked = int(tables.study_attributes(connection, self.study_id)[TRIALS])
            return max(asked, sum(tables.count_rows(connection, self.study_id).values()))

        return self.store.read(count)

    def set_trials(self, trials: int) -> None:
        self._set({TRIALS: trials})

    def plan(self, planned: Sequence[Planned], design: Mapping[str, Any]) -> None:
        """Append the rows of a design, whose parameters are given.

        If they already exist, nothing is done: the transaction was committed before.

        Args:
            planned: all rows of the design; existing ones must come first, in the same order.
        """
        head = replace(self.head, design=dict(design))

        def append(connection: Connection) -> None:
            there = tables.lock_rows(connection, self.study_id)
            for number, row in list(enumerate(planned))[there:]:
                attributes = {CELL: row.to_json()}
                tables.insert_row(connection, self.study_id, number, attributes=attributes)
            values = {HEAD: head.to_json(), TRIALS: max(there, len(planned))}
            tables.set_study_attributes(connection, self.study_id, values)

        self.store.write(append)
        self.head = head

    def look(self, note: str) -> None:
        """Record that seeds are added when the results of all others are there."""
        self.log({LOOKED: [note]})

    def accept_baseline(self, gain: str) -> None:
        """Record that a person goes on from a baseline that plain finetuning makes much better.

        Args:
            gain: in words (`ablate.study.baseline_checks.gain_rule`).
        """
        self.head = replace(self.head, accepted_baseline=gain)
        self._set({HEAD: self.head.to_json()})

    def change_study(self, study: Study, base: str, notes: Sequence[str]) -> None:
        """Continue with a changed study file, or one in another folder; the changes must not affect
        scores.

        Args:
            base: absolute folder of the file.
            notes: describe the changes.
        """
        self.head = replace(self.head, study=study, base=base)
        self._set({HEAD: self.head.to_json()})
        if notes:
            self.log({"changed": list(notes)})

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        found = self.store.read(lambda connection: tables.count_rows(connection, self.study_id))
        return {name: found.get(state, 0) for state, name in STATES.items()}

    def enqueue(self, values: Mapping[str, Any]) -> int:
        """Append a row with these parameters, to be run next; returns its number.

        Args:
            values: by dotted key, or its last parts; parameters left out are sampled.

        Raises:
            UsageError: if the study is an ablation, whose rows are those of its design, or of
                another method, so that it cannot be resumed.
            ParameterError: if a key is not searched, or a value is outside its range.
        """
        if self.head.design is not None:
            raise UsageError(
                f"study {self.head.study.name}: an ablation's rows are those of its design, got "
                "parameters for another row. Add an arm to a new study file."
            )
        self.check_method("to get more trials")
        values = _whole_keys(values, self.space.keys)
        raw = self.space.encode_partial(values)

        def append(connection: Connection) -> int:
            number = tables.lock_rows(connection, self.study_id)
            _insert_waiting(connection, self.study_id, number, values, raw)
            return number

        return self.store.write(append)

    def preview(self, number: int, values: Mapping[str, Any]) -> Preview:
        """What will happen to a row that is enqueued with these parameters.

        Args:
            number: number of the row; only earlier rows are considered.
        """
        values = _whole_keys(values, self.space.keys)
        drawn = self.space.left_out(values)
        if drawn:
            return Preview(drawn)
        twins = Twins(self.head.study)
        for row in self.read().rows:
            if row.number < number and row.copy_of is None and row.attempts:
                twins.add(row.number, row.params, TrialState[row.state])
        return Preview((), twins.complete(self.space.resolve(self.space.encode(values))))

    def read(self) -> StudyRecord:
        """Read everything in one snapshot, as frozen data."""

        def snapshot(connection: Connection) -> tuple[dict[str, Any], list[tables.Stored]]:
            attributes = tables.study_attributes(connection, self.study_id)
            return attributes, tables.read_rows(connection, self.study_id)

        with _no_collection():
            attributes, stored = self.store.read(snapshot)
            rows = tuple(map(row_record, stored))
        trials = max(int(attributes[TRIALS]), len(rows))
        is_whole = len(rows) == trials and all(row.state in TERMINAL for row in rows)
        references = attributes.get(REFERENCES) or {}
        events = attributes.get(LOG) or []
        return StudyRecord(
            name=self.head.study.name,
            storage=masked(self._url),
            study=self.head.study,
            fingerprint=fingerprint(self.head.fingerprint) if self.head.is_prepared else "",
            environment=self.head.environment,
            trials=trials,
            reference_point=self.head.reference_point,
            dimensions=len(self.space.dimensions),
            references={
                name: scores
                for name, data in references.items()
                if isinstance(scores := scores_from_json(data), Scores)
            },
            rows=rows,
            driver=self.lease().holder(),
            drives=tuple(map(Drive.from_json, attributes.get(DRIVES) or [])),
            design=self.head.design,
            sections=self.head.fingerprint,
            parent=self.head.parent,
            test=self.head.test,
            baseline_sha256=self.head.baseline_sha256,
            accepted_baseline=self.head.accepted_baseline,
            preprocessing=self.head.preprocessing,
            test_references={
                name: Scores.from_json(data) for name, data in (attributes.get(TEST) or {}).items()
            },
            test_opened=tuple(map(TestOpened.from_json, attributes.get(OPENED) or [])),
            notes=tuple(
                change for event in events for changes in event.values() for change in changes
            ),
            preparing=None
            if self.head.is_prepared
            else PreparationStep(**attributes.get(PREPARING, {"what": "starting"})),
            method=self.head.method,
            looks=sum(LOOKED in event for event in events),
            spent=None if is_whole else self._spent_in(attributes.get(SPENT)),
        )


@contextmanager
def _opened(url: str) -> Iterator[Connection]:
    """One transaction of an existing storage."""
    storage = open_storage(url, create=False)
    try:
        with storage_errors(url), storage.engine.begin() as connection:
            yield connection
    finally:
        storage.engine.dispose()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turn off Python's garbage collector: it would walk all rows repeatedly while they are
    created, which takes half of the time for 10,000 rows."""
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
        draws=tables.Draws(system={FIXED: dict(raw)}),
        attributes={tables.ENQUEUED: dict(values)},
    )


def _whole_keys(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Values by the full keys of the space that their names refer to."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = find_key(name, keys, where="enqueue", what="searched by the study")
        if key in found:
            raise ParameterError(f"enqueue: {key} must be given once, got it twice. Keep one.")
        found[key] = value
    return found


def _exists(name: str, url: str) -> StudyExistsError:
    return StudyExistsError(
        f"study {name}: a new study needs a new name, got one that exists in {masked(url)}. Use "
        "ablate resume, or another `name:`."
    )
