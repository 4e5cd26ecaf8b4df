"""The ledger: all results of a study, stored in an Optuna database.

A row is an Optuna trial.  In addition to Optuna's own columns, a study and a row have a few JSON
attributes (docs/reference/storage_format.md lists them, and the states of a row).

Every step of a row is one transaction.  Only the driver of a study writes, from
one thread, while it holds the lease; workers have no access to the storage.  The only exception is
`enqueue`, which appends a waiting row.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from ablate.errors import (
    ParameterError,
    StorageError,
    StudyExistsError,
    StudyNotFoundError,
    UsageError,
)
from ablate.errors.masking import masked
from ablate.files.durable import Checkpoint
from ablate.ledger import tables
from ablate.ledger.lease import Lease, Store, delete_free_lease, remove_lease
from ablate.ledger.record import (
    FORMAT,
    TERMINAL,
    Drive,
    Head,
    Planned,
    StudyRecord,
    TestOpened,
    bounds_of,
)
from ablate.ledger.row import CELL, ROW, STATES, Moved, Twins, moved_row, row_record
from ablate.ledger.storage import open_storage, sqlite_file, storage_errors
from ablate.ledger.tables import OUTCOMES, Draws, Stored
from ablate.space.sampling import distributions
from ablate.space.space import FIXED, Space
from ablate.study.fingerprint import fingerprint
from ablate.study.keys import find_key
from ablate.study.mixture import Mixtures
from ablate.study.preparation import PreparationStep
from ablate.study.scores import AnyScores, Bound, Scores, scores_from_json

HEAD, TRIALS, LOG = "ablate:head", "ablate:trials", "ablate:log"
LOOKED = "looked"
"""Event of the log: seeds were added after the results of all others were there."""
REFERENCES, DRIVES, SPENT = "ablate:references", "ablate:drives", "ablate:spent"
PLAIN = "ablate:plain"
TEST, OPENED = "ablate:test_references", "ablate:test_opened"
PREPARING = "ablate:preparing"
MIXTURES = "ablate:mixtures"
ARCHIVED = "ablate:archived"
"""Of a study that was read from an archive: it can only be read."""


class Ledger:
    """A study in its storage; `ablate.ledger.driving.Driving` writes its rows."""

    def __init__(self, url: str, engine: Engine, study_id: int, head: Head) -> None:
        self.store = Store(url, engine)
        self.study_id = study_id
        self.head = head
        self.space = Space.from_json(head.space)
        self._url = url
        self._engine = engine

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
        engine = open_storage(url, create=True)
        study, space = head.study, Space.from_json(head.space)
        waiting = [(values, space.encode_partial(values)) for values in head.first_points]

        try:
            with storage_errors(url), engine.begin() as connection:
                attributes = {HEAD: head.to_json(), TRIALS: trials}
                if head.design is None and head.parent is None and study.trainable is None:
                    attributes[MIXTURES] = Mixtures().to_json()
                study_id = tables.insert_study(connection, study.name, study.objectives, attributes)
                for number, (values, raw) in enumerate(waiting[:trials]):
                    _insert_waiting(connection, study_id, number, values, raw)
                for number, planned_row in enumerate(planned):
                    _insert_planned(connection, study_id, number, planned_row)
        except StorageError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            raise StudyExistsError(
                f"study {study.name}: a new study needs a new name, got one that exists in "
                f"{masked(url)}. Use ablate resume, or another `name:`."
            ) from None
        return cls(url, engine, study_id, head)

    @classmethod
    def open(cls, url: str, name: str) -> Ledger:
        """Open the study `name` in the storage at `url`.

        Raises:
            StudyNotFoundError: if there is none, or it is of another tool or format.
            StorageError: if the storage cannot be reached, or has the schema of another Optuna
                version.
        """
        if (ledger := cls.find(url, name)) is not None:
            return ledger
        names = cls.names(url)
        there = f"It has: {', '.join(sorted(names))}." if names else "It has none."
        raise StudyNotFoundError(
            f"study {name}: must be in {masked(url)}, got no such study. {there}"
        )

    @classmethod
    def find(cls, url: str, name: str) -> Ledger | None:
        """As `open`; None if there is no such study, or no storage yet."""
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return None
        engine = open_storage(url, create=False)
        with storage_errors(url), engine.begin() as connection:
            study_id = tables.find_study(connection, name)
            if study_id is None:
                engine.dispose()
                return None
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
        try:
            read = Head.from_json(head)
        except ValueError as error:
            raise StudyNotFoundError(
                f"study {name}: must have only keys that this ablate knows, got {error}. "
                "Use the version of ablate that wrote it."
            ) from error
        return cls(url, engine, study_id, read)

    @staticmethod
    def exists(url: str, name: str) -> bool:
        """Whether the storage has a study of that name; False if there is no storage yet.

        Raises:
            StorageError: if the storage exists and cannot be reached.
        """
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return False
        with opened(url) as connection:
            return tables.find_study(connection, name) is not None

    @staticmethod
    def names(url: str) -> list[str]:
        """Of all studies in a storage that exists, in the order in which they were begun."""
        with opened(url) as connection:
            return tables.study_names(connection)

    @staticmethod
    def remove(url: str, name: str) -> None:
        """Remove a study with all its rows, if it exists.

        An SQLite file is kept.

        Raises:
            StorageError: if the storage cannot be written.
        """
        if not Ledger.exists(url, name):
            return
        with opened(url) as connection:
            study_id = tables.find_study(connection, name)
            if study_id is not None:
                remove_lease(connection, study_id)
                tables.delete_study(connection, study_id)

    def close(self) -> None:
        """Close the connections now, not when Python collects them: a server has few."""
        self._engine.dispose()

    def lease(self) -> Lease:
        """The lease of this study, not yet taken."""
        return Lease(self._engine, self._url, self.study_id, self.head.study.name)

    # -- the study -------------------------------------------------------------------------

    def check_writable(self, purpose: str) -> None:
        """Refuse a study that was read from an archive: it can only be read.

        Args:
            purpose: completes "must be in a storage ...".

        Raises:
            UsageError: if it is one.
        """
        if self._get(ARCHIVED):
            raise UsageError(
                f"study {self.head.study.name}: must be in a storage {purpose}, got an archive, "
                "which can only be read. Launch its study.yaml under another `name:`."
            )

    def set_preparing(self, step: PreparationStep) -> None:
        """Store what is being prepared before the first row."""
        self._set({PREPARING: step.to_json()})

    def set_head(self, head: Head) -> None:
        """Store what the study depends on: once data and baseline are ready, and when something is
        changed that does not affect scores."""
        self.head = head
        self._set({HEAD: head.to_json()})

    def edit_space(
        self, head: Head, moved: Moved, changes: Sequence[str], removed: Sequence[int]
    ) -> None:
        """Put another space in force, in one transaction: each row has its point there from now
        on, or is marked as outside; one that waits or runs there has ended by that, as stopped.

        Args:
            head: as it is to be, without this edit; changes: `KEY: old -> new`; removed: trials
                whose weights are gone.
        """
        before, domains = self.head, distributions(moved.space)

        def write(connection: Connection) -> Head:
            rows = tables.lock_rows(connection, self.study_id)
            attributes = tables.study_attributes(connection, self.study_id)
            if len(attributes[HEAD].get("edits", ())) > len(before.edits):  # before an outage
                return Head.from_json(attributes[HEAD])
            outside = 0
            for stored in tables.read_rows(connection, self.study_id):
                raw, written = moved_row(moved, stored)
                tables.set_attributes(connection, stored.trial_id, written)
                if raw is None:
                    outside += 1
                    if stored.state == TrialState.WAITING:
                        tables.end_row(connection, stored.trial_id, TrialState.PRUNED)
                    continue
                draws = Draws(raw, {name: domains[name] for name in raw})
                if ROW not in written:  # it has not begun
                    draws = Draws(system={FIXED: raw} if written else {})
                tables.replace_draws(connection, stored.trial_id, draws)
            edit = {"time": time.time(), "rows": rows, "outside": outside, "changes": changes}
            edit |= {"space": before.space, "fingerprint": before.fingerprint, "removed": removed}
            new = replace(head, edits=(*before.edits, edit))
            none = Mixtures().to_json()  # what was made of other rows
            total = max(int(attributes[TRIALS]), rows - before.outside)  # enqueued ones are of N
            values = {HEAD: new.to_json(), TRIALS: total}
            values |= {key: none for key in attributes if key == MIXTURES}
            tables.set_study_attributes(connection, self.study_id, values)
            return new

        self.head, self.space = self.store.write(write), moved.space

    def log(self, event: Mapping[str, Any]) -> None:
        """Record a change that does not affect scores, such as another sampler on resume."""
        self._append(LOG, dict(event))

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
            own = min(len(self.head.first_points), int(attributes[TRIALS]))
            if self.head.design is None and rows > own:
                return False
            if not delete_free_lease(connection, self.study_id):
                return False
            tables.delete_study(connection, self.study_id)
            return True

        return self.store.write(delete)

    @property
    def trials(self) -> int:
        """N, the number of rows of the finished study, with enqueued ones, but without outside."""

        def count(connection: Connection) -> int:
            asked = int(tables.study_attributes(connection, self.study_id)[TRIALS])
            there = sum(tables.count_rows(connection, self.study_id).values())
            return max(asked, there - self.head.outside)

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
                _insert_planned(connection, self.study_id, number, row)
            values = {HEAD: head.to_json(), TRIALS: max(there, len(planned))}
            tables.set_study_attributes(connection, self.study_id, values)

        self.store.write(append)
        self.head = head

    @property
    def references(self) -> dict[str, AnyScores]:
        kept = self._get(REFERENCES, {})
        return {name: scores_from_json(data) for name, data in kept.items()}

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """See `bounds_of`."""
        if not self.head.study.constraints:
            return ()
        return bounds_of(self.head.study, self.head.design, self.references)

    def set_reference(self, name: str, scores: AnyScores) -> None:
        """Store the scores of a network without a row, by its name in `StudyRecord.references` or,
        of the test images, in `StudyRecord.test_references`."""
        is_test = isinstance(scores, Scores) and scores.split == "test"
        key = TEST if is_test else REFERENCES
        self._set({key: self._get(key, {}) | {name: scores.to_json()}})

    @property
    def plain(self) -> tuple[int, tuple[Checkpoint, ...]]:
        """The plain finetune's number of attempts and its latest checkpoints."""
        kept = self._get(PLAIN, {"attempt": 0, "checkpoints": []})
        return kept["attempt"], tuple(Checkpoint(**data) for data in kept["checkpoints"])

    def set_plain(self, attempt: int, checkpoints: Sequence[Checkpoint]) -> None:
        """Store the progress of the plain finetune, which has no row."""
        kept = [asdict(checkpoint) for checkpoint in checkpoints]
        self._set({PLAIN: {"attempt": attempt, "checkpoints": kept}})

    def set_outcomes(self, name: str, outcomes: Mapping[str, str]) -> None:
        """Store which images a reference classified correctly, by split, as bits."""
        self._set({f"{OUTCOMES}:{name}": dict(outcomes)})

    def set_mixtures(self, mixtures: Mixtures) -> None:
        """Store what the mixtures of a search scored, in place of those of fewer rows."""
        self._set({MIXTURES: mixtures.to_json()})

    def open_test(self, what: str, study: str) -> None:
        """Record that the test images are used for this study, now."""
        self._append(OPENED, {"time": time.time(), "what": what, "study": study})

    def outcomes(
        self, numbers: Collection[int] | None = None
    ) -> tuple[dict[int, Any], dict[str, Any]]:
        """Which images were classified correctly, as bits by split: for rows by number, for
        references and mixtures by name.

        Args:
            numbers: of the rows; None: all.
        """

        def read(connection: Connection) -> tuple[dict[int, Any], dict[str, Any]]:
            bits = tables.read_attributes(connection, self.study_id, OUTCOMES, numbers)
            rows = {number: of_row[OUTCOMES] for number, of_row in bits.items()}
            return rows, tables.study_attributes(connection, self.study_id)

        rows, attributes = self.store.read(read)
        prefix, mixtures = f"{OUTCOMES}:", _mixtures_in(attributes) or Mixtures()
        references = {
            key.removeprefix(prefix): bits
            for key, bits in attributes.items()
            if key.startswith(prefix)
        }
        of_mixtures = {one.mixture.name: {"val": one.bits} for one in mixtures.scored if one.bits}
        return rows, references | of_mixtures

    @property
    def spent(self) -> str | None:
        """The budget that ended the search; None if none did, or it has been raised."""
        return self._spent_in(self._get(SPENT))

    def _spent_in(self, kept: Mapping[str, Any] | None) -> str | None:
        budget = self.head.study.search.budget.model_dump()
        return str(kept["reason"]) if kept and kept["budget"] == budget else None

    def set_spent(self, reason: str) -> None:
        """Record that a budget of the search is spent, so that no further row is started."""
        budget = self.head.study.search.budget.model_dump()
        self._set({SPENT: {"reason": reason, "budget": budget}})

    def begin_drive(self, drive: Drive) -> None:
        """Record that a driver has started."""
        self._append(DRIVES, drive.to_json())

    def end_left_drive(self, last_sign: float | None) -> None:
        """Record the end of a drive whose driver was killed: its last heartbeat.  Called by
        the next holder of the lease, before its own heartbeat replaces that one."""
        drives = self._get(DRIVES, [])
        if drives and drives[-1]["ended"] is None:
            self.update_drive(ended=last_sign or drives[-1]["started"])

    def update_drive(self, **fields: Any) -> None:
        """Update the current drive."""
        drives = self._get(DRIVES, [])
        if drives:
            self._set({DRIVES: [*drives[:-1], {**drives[-1], **fields}]})

    @property
    def drives(self) -> tuple[Drive, ...]:
        return tuple(map(Drive.from_json, self._get(DRIVES, [])))

    # -- rows ------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        found = self.store.read(lambda connection: tables.count_rows(connection, self.study_id))
        return {name: found.get(state, 0) for state, name in STATES.items()}

    def enqueue(self, values: Mapping[str, Any]) -> int:
        """Append a row with these parameters, to be run next; returns its number.

        Args:
            values: by dotted key, or its last parts; parameters left out are sampled.

        Raises:
            UsageError: if the study is an ablation, whose rows are those of its design, or is read
                from an archive.
            ParameterError: if a key is not searched, or a value is outside its range.
        """
        if self.head.design is not None:
            raise UsageError(
                f"study {self.head.study.name}: an ablation's rows are those of its design, got "
                "parameters for another row. Add an arm to a new study file."
            )
        self.check_writable("to get more trials")
        values = _whole_keys(values, self.space.keys)
        raw = self.space.encode_partial(values)

        def append(connection: Connection) -> int:
            number = tables.lock_rows(connection, self.study_id)
            _insert_waiting(connection, self.study_id, number, values, raw)
            return number

        return self.store.write(append)

    def preview(self, number: int, values: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
        """What will happen to a row that is enqueued with these parameters.

        Args:
            number: number of the row; only earlier rows are considered.

        Returns:
            Parameters that were left out: active ones will be sampled.  And the complete row with
            the same point, whose scores it will copy; None: it will be run.
        """
        values = _whole_keys(values, self.space.keys)
        if drawn := self.space.left_out(values):
            return drawn, None
        twins = Twins(self.head.study)
        for row in self.read().rows:
            if row.number < number and row.copy_of is None and row.attempts and not row.outside:
                twins.add(row.number, row.params, TrialState[row.state])
        return (), twins.complete(self.space.resolve(self.space.encode(values)))

    def read(self) -> StudyRecord:
        """All as frozen data: rows and attributes of one snapshot, the driver read after it."""

        def snapshot(connection: Connection) -> tuple[dict[str, Any], list[Stored]]:
            attributes = tables.study_attributes(connection, self.study_id)
            return attributes, tables.read_rows(connection, self.study_id)

        was_collecting = gc.isenabled()
        gc.disable()  # it would walk all rows repeatedly: half of the time for 10,000 rows
        try:
            attributes, stored = self.store.read(snapshot)
            rows = tuple(map(row_record, stored))
        finally:
            if was_collecting:
                gc.enable()
        head, counted = self.head, [row for row in rows if not row.outside]
        trials = max(int(attributes[TRIALS]), len(counted))
        is_whole = len(counted) == trials and all(row.state in TERMINAL for row in counted)
        references = {
            name: scores_from_json(data) for name, data in attributes.get(REFERENCES, {}).items()
        }
        preparing = None
        if not head.is_prepared:
            preparing = PreparationStep.from_json(attributes.get(PREPARING, {"what": "starting"}))
        events = attributes.get(LOG, [])
        return StudyRecord(
            name=head.study.name,
            storage=masked(self._url),
            study=head.study,
            fingerprint=fingerprint(head.fingerprint) if head.is_prepared else "",
            environment=head.environment,
            trials=trials,
            reference_point=head.reference_point,
            dimensions=len(self.space.dimensions),
            references={
                name: scores for name, scores in references.items() if isinstance(scores, Scores)
            },
            rows=rows,
            driver=self.lease().holder(),
            drives=tuple(map(Drive.from_json, attributes.get(DRIVES, []))),
            design=head.design,
            sections=head.fingerprint,
            parent=head.parent,
            test=head.test,
            baseline_sha256=head.baseline_sha256,
            accepted_baseline=head.accepted_baseline,
            preprocessing=head.preprocessing,
            test_references={
                name: Scores.from_json(data) for name, data in attributes.get(TEST, {}).items()
            },
            test_opened=tuple(map(TestOpened.from_json, attributes.get(OPENED, []))),
            notes=tuple(
                str(change) for event in events for changes in event.values() for change in changes
            ),
            preparing=preparing,
            looks=sum(LOOKED in event for event in events),
            registration=head.registration,
            planned_looks=head.planned_looks,
            mixtures=_mixtures_in(attributes),
            edits=head.edits,
            learned=head.learned,
            spent=None if is_whole else self._spent_in(attributes.get(SPENT)),
        )

    def _get(self, key: str, default: Any = None) -> Any:
        return self.store.read(lambda c: tables.study_attributes(c, self.study_id)).get(
            key, default
        )

    def _set(self, values: Mapping[str, Any]) -> None:
        self.store.write(lambda c: tables.set_study_attributes(c, self.study_id, values))

    def _append(self, key: str, value: Any) -> None:
        self._set({key: [*self._get(key, []), value]})


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[Connection]:
    """One transaction of a storage, which is closed then."""
    engine = open_storage(url, create=create)
    try:
        with storage_errors(url), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _mixtures_in(attributes: Mapping[str, Any]) -> Mixtures | None:
    return None if MIXTURES not in attributes else Mixtures.from_json(attributes[MIXTURES])


def _insert_waiting(
    connection: Connection,
    study_id: int,
    number: int,
    values: Mapping[str, Any],
    raw: Mapping[str, Any],
) -> None:
    row = Stored(0, number, attributes={tables.ENQUEUED: dict(values)})
    tables.insert_row(connection, study_id, row, tables.Draws(system={FIXED: dict(raw)}))


def _insert_planned(connection: Connection, study_id: int, number: int, row: Planned) -> None:
    stored = Stored(0, number, attributes={CELL: row.to_json()})
    tables.insert_row(connection, study_id, stored)


def _whole_keys(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Values by the full keys of the space that their names refer to."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = find_key(name, keys, where="enqueue", what="searched by the study")
        if key in found:
            raise ParameterError(f"enqueue: {key} must be given once, got it twice. Keep one.")
        found[key] = value
    return found
