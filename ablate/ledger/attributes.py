"""What the ledger stores about a study in addition to its rows: attributes in JSON."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import Connection

from ablate.errors import FingerprintError, UsageError
from ablate.files.durable import Checkpoint
from ablate.ledger import tables
from ablate.ledger.head import Head
from ablate.ledger.record import Drive, bounds_of
from ablate.ledger.store import Store
from ablate.ledger.tables import OUTCOMES
from ablate.study.fingerprint import METHOD
from ablate.study.preparation import PreparationStep
from ablate.study.scores import AnyScores, Bound, Scores, scores_from_json

HEAD, TRIALS, LOG = "ablate:head", "ablate:trials", "ablate:log"
LOOKED = "looked"
"""Event of the log: seeds were added after the results of all others were there."""
REFERENCES, DRIVES, SPENT = "ablate:references", "ablate:drives", "ablate:spent"
PLAIN = "ablate:plain"
TEST, OPENED = "ablate:test_references", "ablate:test_opened"
PREPARING = "ablate:preparing"
ARCHIVED = "ablate:archived"
"""Of a study that was read from an archive: it can only be read."""


class StudyAttributes:
    """Attributes of one study; `ablate.ledger.ledger.Ledger` also has its rows.

    Args:
        store: store of its database.
        head: what it was started with.
    """

    def __init__(self, store: Store, study_id: int, head: Head) -> None:
        self.store = store
        self.study_id = study_id
        self.head = head

    def check_method(self, purpose: str) -> None:
        """Refuse a study whose settings mean something else today: it can only be read.

        Args:
            purpose: completes "must be of method 2 ...".

        Raises:
            FingerprintError: if it is of another method.
            UsageError: if it was read from an archive.
        """
        if self._get(ARCHIVED):
            raise UsageError(
                f"study {self.head.study.name}: must be in a storage {purpose}, got an archive, "
                "which can only be read. Launch its study.yaml under another `name:`."
            )
        if self.head.method != METHOD:
            raise FingerprintError(
                f"study {self.head.study.name}: must be of method {METHOD} {purpose}, got method "
                f"{self.head.method}, in which weights of FMA have another meaning. Launch it "
                "again under another `name:`, or use ablate 0.1."
            )

    def set_preparing(self, step: PreparationStep) -> None:
        """Store what is being prepared before the first row."""
        self._set({PREPARING: step.to_json()})

    def complete_head(self, head: Head) -> None:
        """Store what the study depends on, once data and baseline are ready."""
        self.head = head
        self._set({HEAD: head.to_json()})

    def log(self, event: Mapping[str, Any]) -> None:
        """Record a change that does not affect scores, such as another sampler on resume."""
        self._set({LOG: [*(self._get(LOG) or []), dict(event)]})

    @property
    def references(self) -> dict[str, AnyScores]:
        kept = self._get(REFERENCES) or {}
        return {name: scores_from_json(data) for name, data in kept.items()}

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """See `bounds_of`."""
        if not self.head.study.constraints:
            return ()
        return bounds_of(self.head.study, self.head.design, self.references)

    def set_reference(self, name: str, scores: AnyScores) -> None:
        """Store the scores of a network without a row, by its name in `StudyRecord.references`."""
        self._set({REFERENCES: {**(self._get(REFERENCES) or {}), name: scores.to_json()}})

    @property
    def plain(self) -> tuple[int, tuple[Checkpoint, ...]]:
        """The plain finetune's number of attempts and its latest checkpoints."""
        kept = self._get(PLAIN) or {"attempt": 0, "checkpoints": []}
        return kept["attempt"], tuple(Checkpoint(**data) for data in kept["checkpoints"])

    def set_plain(self, attempt: int, checkpoints: Sequence[Checkpoint]) -> None:
        """Store the progress of the plain finetune, which has no row."""
        kept = [asdict(checkpoint) for checkpoint in checkpoints]
        self._set({PLAIN: {"attempt": attempt, "checkpoints": kept}})

    def set_outcomes(self, name: str, outcomes: Mapping[str, str]) -> None:
        """Store which images a reference classified correctly, by split, as bits."""
        self._set({f"{OUTCOMES}:{name}": dict(outcomes)})

    def set_test_reference(self, name: str, scores: Scores) -> None:
        """Store the scores on the test images of a network without a row."""
        self._set({TEST: {**(self._get(TEST) or {}), name: scores.to_json()}})

    def open_test(self, what: str, study: str) -> None:
        """Record that the test images are used for this study, now."""
        opened = [*(self._get(OPENED) or [])]
        self._set({OPENED: [*opened, {"time": time.time(), "what": what, "study": study}]})

    def outcomes(
        self, numbers: Collection[int] | None = None
    ) -> tuple[dict[int, Any], dict[str, Any]]:
        """Which images were classified correctly, as bits by split: for rows by number, for
        references by name.

        Args:
            numbers: of the rows; None: all.
        """

        def read(connection: Connection) -> tuple[dict[int, Any], dict[str, Any]]:
            attributes = tables.study_attributes(connection, self.study_id)
            prefix = f"{OUTCOMES}:"
            references = {
                key.removeprefix(prefix): value
                for key, value in attributes.items()
                if key.startswith(prefix)
            }
            rows = tables.read_attribute(connection, self.study_id, OUTCOMES, numbers)
            return rows, references

        return self.store.read(read)

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
        self._set({DRIVES: [*(self._get(DRIVES) or []), drive.to_json()]})

    def end_left_drive(self, last_sign: float | None) -> None:
        """Record the end of a drive whose driver was killed: its last heartbeat.  By who takes the
        lease next, whatever for, since a lease has one heartbeat."""
        drives = self._get(DRIVES) or []
        if drives and drives[-1]["ended"] is None:
            self.update_drive(ended=last_sign or drives[-1]["started"])

    def update_drive(self, **fields: Any) -> None:
        """Update the current drive."""
        drives = self._get(DRIVES) or []
        if drives:
            self._set({DRIVES: [*drives[:-1], {**drives[-1], **fields}]})

    @property
    def drives(self) -> tuple[Drive, ...]:
        return tuple(map(Drive.from_json, self._get(DRIVES) or []))

    def _get(self, key: str) -> Any:
        return self.store.read(lambda c: tables.study_attributes(c, self.study_id)).get(key)

    def _set(self, values: Mapping[str, Any]) -> None:
        self.store.write(lambda c: tables.set_study_attributes(c, self.study_id, values))
