"""The interface of what a worker runs: a robustness finetuning or a custom training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ablate.files.durable import Checkpoint
from ablate.study.scores import AnyScores


class Trial(Protocol):
    """One attempt of a row, run epoch by epoch."""

    @property
    def done(self) -> bool:
        """Whether the training has ended."""

    @property
    def epoch(self) -> int:
        """Epochs done."""

    @property
    def step(self) -> int:
        """Steps done in the epoch under way; 0 between two epochs."""

    def run_epoch(self, pause: Callable[[], bool]) -> Mapping[str, Any] | None:
        """Train for an epoch.

        Args:
            pause: called as often as possible within the epoch; returns whether to stop for a
                `save`.

        Returns:
            Its entry of the curve; None if it was paused, or if the training had already ended.
        """

    def interim(self) -> Mapping[str, float]:
        """Current metrics by name."""

    def save(self, folder: str) -> Checkpoint | None:
        """Store the training state durably; None if the trial has none.

        Args:
            folder: path or fsspec URI, only for this row and attempt.

        Raises:
            UsageError: if the folder cannot be written.
            InfrastructureError: if the disk is full or broken.
        """

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a training state; call it before the first epoch.

        Raises:
            CheckpointError: if the state is missing or damaged; nothing has changed then.
        """

    def finish(self) -> AnyScores:
        """The final scores; files of the trial are written."""

    def kept(self) -> Mapping[str, Any] | None:
        """What an ablation stores in addition to the scores (`Report.kept`); call it after
        `finish`."""

    def close(self) -> str:
        """Abandon it in any state.

        Returns:
            Why it did not end; empty if it did.
        """
