"""What a worker runs: a robustness finetuning or a training loop of the user's own, alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ablate.files.durable import Checkpoint
from ablate.study.scores import AnyScores


class Trial(Protocol):
    """One attempt of a row, an epoch at a time."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""

    @property
    def epoch(self) -> int:
        """Epochs done."""

    @property
    def step(self) -> int:
        """Steps done in the epoch under way; 0 between two epochs."""

    def run_epoch(self, pause: Callable[[], bool]) -> Mapping[str, Any] | None:
        """Train for an epoch.

        Args:
            pause: asked amid the epoch, as often as may be, whether to stop there for a `save`.

        Returns:
            Its point of the curve; none where it was paused, or where the training turned out to
            have ended before.
        """

    def interim(self) -> Mapping[str, float]:
        """Metrics by name, as it stands."""

    def save(self, folder: str) -> Checkpoint | None:
        """Make the training state durable; none where the trial keeps none.

        Args:
            folder: path or fsspec URI, of this row and attempt alone.

        Raises:
            UsageError: if the folder cannot be written.
            InfrastructureError: if the disk is full or broken.
        """

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a training state; call it before the first epoch.

        Raises:
            CheckpointError: if the state is missing or damaged; nothing has changed then.
        """

    def finish(self) -> AnyScores:
        """The scores in the end; what is to stay of the trial is written."""

    def kept(self) -> Mapping[str, Any] | None:
        """What an ablation keeps beside the scores (`Report.kept`); call it after `finish`."""

    def close(self) -> str:
        """Give it up, wherever it is.

        Returns:
            Why it would not end; empty where it did.
        """
