"""The argument of a custom training loop: parameters, seeds, budget, `report`, `save`.

The loop runs in a separate thread, and alternates with the worker: `report` passes on an epoch and
returns when the worker requests the next one, so that no epoch is trained without the ledger's
knowledge, and a stopped trial ends inside `report`.  `save` does the same within an epoch, when a
training state is due.
"""

from __future__ import annotations

import fcntl
import math
import operator
import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from ablate.errors import NotFiniteError, ParameterError
from ablate.ledger.record import Row
from ablate.study.document import show
from ablate.study.metrics import reserved_name


class TrialStopped(BaseException):
    """Raised by `report` and `save` to end a loop whose trial was pruned, drained or abandoned."""


@dataclass(frozen=True)
class Said:
    """A loop's report of an epoch."""

    epoch: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Saved:
    """A loop has written its state to the checkpoint folder, after this many steps of an epoch."""

    step: int


@dataclass(frozen=True)
class Ended:
    """A loop has ended, possibly with an error."""

    error: BaseException | None


class Turns:
    """Lets loop and worker alternate: one waits while the other runs."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[Said | Saved | Ended] = queue.SimpleQueue()
        self._go_on: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._stopped = False

    def next(self) -> None:
        """Let the loop train its next epoch."""
        self._go_on.put(True)

    def stop(self) -> None:
        """Let the loop end at its next (or current) report or save."""
        self._stopped = True
        self._go_on.put(False)

    def check(self) -> None:
        """Raise `TrialStopped` if the loop must end."""
        if self._stopped:
            raise TrialStopped

    def wait(self) -> None:
        """Wait for `next`; raises `TrialStopped` on `stop`."""
        if not self._go_on.get():
            raise TrialStopped


class TrialContext:
    """The argument of your own training loop (`trainable:` in a study file).

    Attributes:
        params: parameters by the keys of the space; inactive ones are missing.
        seeds: seeds of the trial; `seed` is the one for training.
        epochs: the budget, the largest number of epochs to report.
        number: number of the trial, from 0; attempt: number of the attempt, from 1.
        start_epoch: epochs done by an earlier attempt that this one continues; else 0.
        start_step: steps of the next epoch done at its last `save`; else 0.
        checkpoint: folder with the files to continue from; None: start from the beginning.

    Example:
        >>> def train(trial: ablate.TrialContext) -> None:
        ...     weight = 0.0
        ...     if trial.checkpoint is not None:
        ...         weight = float((trial.checkpoint / "weight").read_text())
        ...     for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        ...         weight += trial.params["lr"] * (3.0 - weight)
        ...         (trial.checkpoint_folder / "weight").write_text(repr(weight))
        ...         trial.report(epoch, {"error": abs(3.0 - weight), "size": abs(weight)})
    """

    def __init__(
        self,
        where: str,
        row: Row,
        epochs: int,
        judged: Sequence[str],
        *,
        turns: Turns,
        workspace: Workspace,
    ) -> None:
        assert row.number is not None
        self.params = dict(row.params)
        self.seeds, self.number, self.attempt = row.seeds, row.number, row.attempt
        self.epochs = epochs
        self.start_epoch = 0
        self.start_step = 0
        self.checkpoint: Path | None = None
        self._where = where
        self._judged = judged
        self._turns = turns
        self._workspace = workspace
        self._folder: Path | None = None
        self._epoch = 0
        self._step = 0
        self.due: Callable[[], bool] = lambda: False
        """Whether a training state is due; set by the worker."""
        self.problem: Exception | None = None
        """The error of an invalid report, even if the loop caught it."""

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.seeds.train

    @property
    def checkpoint_folder(self) -> Path:
        """Local folder; its content at a `report`, or at a `save` that is due, is stored durably.

        It may contain files, folders and links within it; anything else fails the trial.
        """
        if self._folder is None:
            self._folder = self._workspace.folder("checkpoint")
        return self._folder

    def report(self, epoch: int, scores: Mapping[str, float]) -> None:
        """Report the scores of an epoch; the last report has the trial's scores.

        Returns when the next epoch may start; raises an exception that ends the loop if the trial
        is stopped.

        Args:
            epoch: epochs done: `start_epoch + 1`, then one more each time, at most `epochs`.
            scores: numbers by name, which is no column of the trials, such as `state`.  The last
                report needs the metrics of all objectives and constraints; earlier ones may leave
                out unknown ones.

        Raises:
            ParameterError: if the epoch is not the next one, or a score is not a number, or has
                the name of a column.
            NotFiniteError: if the metric of an objective or constraint is NaN or infinite.
        """
        self._turns.check()
        try:
            number = self._checked_epoch(epoch)
            checked = self._checked_scores(number, scores)
        except (ParameterError, NotFiniteError) as error:
            self.problem = error
            raise
        self._epoch, self._step = number, 0
        self._turns.said.put(Said(number, checked))
        if number < self.epochs:
            self._turns.wait()

    @property
    def save_due(self) -> bool:
        """Whether the next `save` writes a state: `run.checkpoint_seconds` have passed since the
        last one."""
        return self.due()

    def save(self, step: int) -> None:
        """Store the content of `checkpoint_folder` durably within an epoch, if a state is due.

        A trial that is interrupted later continues from there, with `start_epoch`, `start_step` and
        the files in `checkpoint`.  Call it after every step; it returns at once if `save_due` is
        False.  Raises an exception that ends the loop if the trial is stopped.

        Args:
            step: steps done in the epoch that is reported next: from 1, more each time.

        Raises:
            ParameterError: if the step is not such a number, or a save is due and the folder is
                empty.
        """
        self._turns.check()
        try:
            number = self._checked_step(step)
        except ParameterError as error:
            self.problem = error
            raise
        self._step = number
        if self.due():
            self._turns.said.put(Saved(number))
            self._turns.wait()

    def go_on_from(self, epoch: int, step: int, folder: Path) -> None:
        """Start from a checkpoint."""
        self.start_epoch = self._epoch = epoch
        self.start_step = self._step = step
        self.checkpoint = folder

    def written(self) -> Path | None:
        """The checkpoint folder, if it is not empty."""
        return self._folder if self._folder is not None and any(self._folder.iterdir()) else None

    def _checked_epoch(self, epoch: Any) -> int:
        follows = self._epoch + 1
        try:
            number = operator.index(epoch)
        except TypeError:
            number = -1
        if number != follows:
            rule = f"epochs must be reported in order, got {_shown(epoch)} instead of {follows}"
            raise ParameterError(
                f"{self._where}: {rule}. Call report(epoch, scores) once per epoch."
            )
        if number > self.epochs:
            rule = f"must report at most context.epochs ({self.epochs}) epochs, got {number}"
            raise ParameterError(f"{self._where}: {rule}. Return after the last one.")
        return number

    def _checked_step(self, step: Any) -> int:
        try:
            number = operator.index(step)
        except TypeError:
            number = -1
        if number <= self._step:
            rule = f"steps must be saved in order, got {_shown(step)} after step {self._step}"
            raise ParameterError(
                f"{self._where}: {rule}. Call save(step) with the steps done in this epoch."
            )
        if self._epoch >= self.epochs:
            rule = (
                f"save must be called before the last epoch ends, got {self._epoch} of "
                f"{self.epochs} epochs"
            )
            raise ParameterError(f"{self._where}: {rule} done. Return after the last report.")
        if self.due() and self.written() is None:
            rule = "save needs files in checkpoint_folder, got none"
            raise ParameterError(f"{self._where}: {rule}. Write the training state there first.")
        return number

    def _checked_scores(self, epoch: int, scores: Any) -> dict[str, float]:
        if not isinstance(scores, Mapping):
            rule = f"scores must be numbers by name, got {_shown(scores)}"
            raise ParameterError(
                f"{self._where}: {rule}. Write report(epoch, {{'accuracy': 0.9}})."
            )
        checked = {}
        for name, value in scores.items():
            if not isinstance(name, str):
                rule = f"names of scores must be text, got {_shown(name)}"
                raise ParameterError(f"{self._where}: {rule}. Put it in quotes.")
            problem = reserved_name(name)
            if problem is not None:
                raise ParameterError(f"{self._where}: a score {problem}")
            checked[name] = self._checked_score(name, value)
        for name in self._judged:
            if not math.isfinite(checked.get(name, 0.0)):
                raise NotFiniteError(
                    f"{self._where}: an objective or constraint must be finite, got {name} "
                    f"{checked[name]} in epoch {epoch}. The training diverged; leave out scores "
                    "that are not known yet."
                )
        return checked

    def _checked_score(self, name: str, value: Any) -> float:
        try:
            if isinstance(value, str | bytes | bool):
                raise TypeError
            return float(value)
        except (
            TypeError,
            ValueError,
            OverflowError,
            RuntimeError,
        ):  # the last is torch's, of a whole tensor
            rule = f"scores must be numbers, got {name}: {_shown(value)}"
            raise ParameterError(f"{self._where}: {rule}. Convert it with float().") from None


def _shown(value: Any) -> str:
    return " ".join(show(value).split())


# -- Local folders of a trial, gone with it; those of a process that was killed go with the next


_PREFIX = "ablate-trial-"
_LOCK = ".lock"
_YOUNG_SECONDS = 60
"""Younger folders may not be locked yet by their owner."""


class Workspace:
    """Folders below a temporary one, which is created on first use."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._lock: IO[str] | None = None

    def folder(self, name: str) -> Path:
        """A folder of this name, created if missing."""
        if self._root is None:
            _sweep()
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = (self._root / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        path = self._root / name
        path.mkdir(exist_ok=True)
        return path

    def close(self) -> None:
        """Remove all of it."""
        if self._root is not None and self._lock is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._lock.close()
            self._root = self._lock = None


@cache
def _sweep() -> None:
    """Remove folders of killed processes, whose locks are free; once per process."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (root / _LOCK).open("r+") as lock:
            if time.time() - root.stat().st_mtime > _YOUNG_SECONDS:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
