"""What a dispatcher works with beside the ledger, and how it says what happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ablate.ledger.record import Row, RowRecord, Rung
from ablate.search.events import EventLog
from ablate.search.failing import Failing
from ablate.search.janitor import Janitor
from ablate.search.progress import Progress
from ablate.search.spending import Spending


class Keep(Protocol):
    """Says whose finetuned weights are no longer kept (`ablate.lifecycle.weights_retention.Keeper`)."""

    def completed(self, number: int, values: tuple[float, ...]) -> list[int]:
        """Rows whose weights go, now that this one is complete."""


@dataclass(frozen=True)
class Surroundings:
    """What a dispatcher works with.

    Attributes:
        parallel: rows that are run at once; more that are out wait for a worker.
        grace_seconds: that epochs under way have to end in once a drain has begun.
    """

    progress: Progress
    events: EventLog
    janitor: Janitor
    keep: Keep
    spending: Spending
    failing: Failing
    parallel: int
    grace_seconds: float

    def log(self, event: str, row: Row, **fields: Any) -> None:
        """A line in the run's log on an attempt of a row."""
        which = {"trial": row.number, **({"plain": True} if row.number is None else {})}
        self.events.write(event, **which, attempt=row.attempt, **fields)

    def note(self, event: str, text: str) -> None:
        """Something on the run as a whole, for its log and for whoever watches."""
        self.events.driver(event, text=text)
        self.progress.note(text)

    def row_note(self, row: Row, text: str) -> None:
        """Something on an attempt of a row, for its log and for whoever watches."""
        self.log("note", row, text=text)
        who = "plain finetune" if row.number is None else f"trial {row.number}"
        self.progress.note(f"{who}: {text}")

    def epoch(self, row: Row, entry: Mapping[str, Any], rung: Rung | None) -> None:
        """An epoch of a row has ended, and a pruner may have decided on it."""
        self.log("epoch", row, epoch=entry["epoch"], seconds=entry.get("seconds"))
        if rung is not None:
            decision = "stop" if rung.stop else "go on"
            self.log("rung", row, epoch=rung.epoch, value=rung.value, decision=decision)
        loss = entry.get("train_loss", float("nan"))
        self.progress.epoch(row.number, entry["epoch"], entry.get("epochs"), loss)

    def ended(self, record: RowRecord) -> None:
        """A row is terminal: its training states are needed no more."""
        last = record.attempts[-1] if record.attempts else None
        self.events.write(
            record.state.lower(),
            trial=record.number,
            attempt=record.attempt,
            host=last.host if last else "",
            values=record.values,
            reason=record.failure.reason if record.failure else None,
            **({} if record.copy_of is None else {"copy_of": record.copy_of}),
        )
        self.progress.finished(record)
        self.janitor.remove_states(record.number)
        if record.values is not None and record.copy_of is None:
            self.janitor.remove_weights(self.keep.completed(record.number, record.values))
