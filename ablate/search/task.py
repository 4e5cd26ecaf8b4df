"""What goes between the driver and a worker: plain JSON, nothing of the storage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ablate.ledger.record import Checkpoint
from ablate.ledger.row import Row
from ablate.study.seeds import Seeds
from ablate.study.settings import Study


@dataclass(frozen=True)
class Job:
    """What all trials of a run share.

    Attributes:
        study: without its storage; `run.gpus_per_trial` is a number.
        base: absolute folder that the study's relative paths start from.
        cache: absolute folder of data, baselines and evaluation sets.
        folder: absolute folder of the run: checkpoints and weights go below it.
    """

    study: Study
    base: str
    cache: str
    folder: str

    def to_text(self) -> str:
        return json.dumps({**vars(self), "study": self.study.model_dump(mode="json")})

    @classmethod
    def from_text(cls, text: str) -> Job:
        data = json.loads(text)
        data["study"] = Study.model_validate(data["study"])
        return cls(**data)


def row_to_text(row: Row) -> str:
    """A row as a worker gets it."""
    return json.dumps(asdict(row))


def row_from_text(text: str) -> Row:
    data = json.loads(text)
    data["seeds"] = Seeds.from_json(data["seeds"])
    data["checkpoints"] = tuple(Checkpoint(**kept) for kept in data["checkpoints"])
    return Row(**data)


@dataclass(frozen=True)
class Report:
    """What a worker says after an epoch, and at the end.

    Exactly one of `scores`, `failure` and `lost` is there at the end, none before it.

    Attributes:
        entry: the epoch's point of the curve: `epoch`, `train_loss`, `seconds`, `images`.
        checkpoint: what is durable after it.
        lost: why the attempt cannot go on here, though the trial did nothing wrong.
    """

    entry: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    lost: str | None = None

    @property
    def done(self) -> bool:
        return (self.scores, self.failure, self.lost) != (None, None, None)

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Report:
        return cls(**json.loads(text))
