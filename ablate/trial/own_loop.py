"""A custom training loop as a worker's trial, and its argument: parameters, `report`, `save`.

The loop runs in a thread of its own, and alternates with the worker: `report` passes on an epoch
and returns when the worker requests the next one, so that no epoch is trained without the ledger's
knowledge, and a stopped trial ends inside `report`.  `save` does the same within an epoch, when a
training state is due.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import math
import operator
import os
import queue
import shutil
import stat
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from ablate.errors import InfrastructureError, NotFiniteError, ParameterError
from ablate.files.durable import Checkpoint, load_blob, save_blob
from ablate.ledger.record import Row
from ablate.study.document import show
from ablate.study.metrics import reserved_name
from ablate.study.scores import ReportedScores
from ablate.trial.task import Interim

STOP_SECONDS = 10.0
"""Seconds that a loop may take to end after `report` has raised."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class TrialStopped(BaseException):
    """Raised by `report` and `save` to end a loop whose trial was pruned, drained or abandoned."""


@dataclass(frozen=True)
class Turn:
    """What a loop hands over to its worker, which then runs while the loop waits.

    Attributes:
        scores: of an epoch that is reported; None: a state was written, after `step` steps of an
            epoch, or the loop has ended.
        error: of a loop that has ended, if any.
    """

    epoch: int = 0
    step: int = 0
    scores: Mapping[str, float] | None = None
    has_ended: bool = False
    error: BaseException | None = None


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
        self, where: str, row: Row, epochs: int, judged: Sequence[str], workspace: Workspace
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
        self._workspace = workspace
        self._folder: Path | None = None
        self._go_on: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._is_stopped = False
        self.turns: queue.SimpleQueue[Turn] = queue.SimpleQueue()
        """To the worker."""
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
        if self._is_stopped:
            raise TrialStopped
        try:
            number = self._checked_epoch(epoch)
            checked = self._checked_scores(number, scores)
        except (ParameterError, NotFiniteError) as error:
            self.problem = error
            raise
        self._epoch, self._step = number, 0
        self._hand_over(Turn(number, scores=checked), waits=number < self.epochs)

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
        if self._is_stopped:
            raise TrialStopped
        try:
            number = self._checked_step(step)
        except ParameterError as error:
            self.problem = error
            raise
        self._step = number
        if self.due():
            self._hand_over(Turn(self._epoch, number))

    def _hand_over(self, turn: Turn, *, waits: bool = True) -> None:
        self.turns.put(turn)
        if waits and not self._go_on.get():
            raise TrialStopped

    def go_on(self) -> None:
        """Let the loop train its next epoch."""
        self._go_on.put(True)

    def stop(self) -> None:
        """Let the loop end at its next (or current) report or save."""
        self._is_stopped = True
        self._go_on.put(False)

    def go_on_from(self, epoch: int, step: int, folder: Path) -> None:
        """Start from a checkpoint."""
        self.start_epoch = self._epoch = epoch
        self.start_step = self._step = step
        self.checkpoint = folder

    def written(self) -> Path | None:
        """The checkpoint folder, if it is not empty."""
        return self._folder if self._folder is not None and any(self._folder.iterdir()) else None

    def _checked_epoch(self, epoch: Any) -> int:
        number, follows = _index(epoch), self._epoch + 1
        if number != follows:
            raise self._refusal(
                f"epochs must be reported in order, got {_shown(epoch)} instead of {follows}. "
                "Call report(epoch, scores) once per epoch."
            )
        if number > self.epochs:
            raise self._refusal(
                f"must report at most context.epochs ({self.epochs}) epochs, got {number}. Return "
                "after the last one."
            )
        return number

    def _checked_step(self, step: Any) -> int:
        number = _index(step)
        if number <= self._step:
            raise self._refusal(
                f"steps must be saved in order, got {_shown(step)} after step {self._step}. Call "
                "save(step) with the steps done in this epoch."
            )
        if self._epoch >= self.epochs:
            raise self._refusal(
                f"save must be called before the last epoch ends, got {self._epoch} of "
                f"{self.epochs} epochs done. Return after the last report."
            )
        if self.due() and self.written() is None:
            raise self._refusal(
                "save needs files in checkpoint_folder, got none. Write the training state there "
                "first."
            )
        return number

    def _checked_scores(self, epoch: int, scores: Any) -> dict[str, float]:
        if not isinstance(scores, Mapping):
            raise self._refusal(
                f"scores must be numbers by name, got {_shown(scores)}. Write report(epoch, "
                "{'accuracy': 0.9})."
            )
        checked = {}
        for name, value in scores.items():
            if not isinstance(name, str):
                raise self._refusal(
                    f"names of scores must be text, got {_shown(name)}. Put it in quotes."
                )
            if problem := reserved_name(name):
                raise self._refusal(f"a score {problem}")
            try:
                if isinstance(value, str | bytes | bool):
                    raise TypeError
                checked[name] = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError):  # torch's, of many values
                raise self._refusal(
                    f"scores must be numbers, got {name}: {_shown(value)}. Convert it with float()."
                ) from None
        for name in self._judged:
            if not math.isfinite(checked.get(name, 0.0)):
                raise NotFiniteError(
                    f"{self._where}: an objective or constraint must be finite, got {name} "
                    f"{checked[name]} in epoch {epoch}. The training diverged; leave out scores "
                    "that are not known yet."
                )
        return checked

    def _refusal(self, rule: str) -> ParameterError:
        return ParameterError(f"{self._where}: {rule}")


def _index(value: Any) -> int:
    """A whole number; -1 for anything else."""
    try:
        return operator.index(value)
    except TypeError:
        return -1


def _shown(value: Any) -> str:
    return " ".join(show(value).split())


Trainable = Callable[[TrialContext], object]


class FunctionRaised(Exception):  # noqa: N818 (no error of ours: its cause is what went wrong)
    """The loop raised an exception, which is the cause."""


class FunctionTrial:
    """One attempt of a row whose training is a function of the user.

    Args:
        name: of the function, for messages.
        function: takes a `TrialContext`.
        row: what is run.
        epochs: the budget.
        judged: metrics of objectives and constraints, which the last report must have.
    """

    def __init__(
        self,
        name: str,
        function: Trainable,
        row: Row,
        *,
        epochs: int,
        judged: Sequence[str],
    ) -> None:
        self._name = name
        self._function = function
        self._judged = judged
        self._workspace = Workspace()
        self._context = TrialContext(name, row, epochs, judged, self._workspace)
        self._scores: Mapping[str, float] | None = None
        self._started = False
        self._epoch_seconds = 0.0
        self.epoch = 0
        self.step = 0
        self.done = False

    def next_entry(self, pause: Callable[[], bool]) -> dict[str, Any] | None:
        """Let the loop go on to its next report, or to a `save` that is due.

        Raises:
            FunctionRaised: if the loop ended with an error.
            InfrastructureError: if the disk was full for it.
        """
        began = time.perf_counter()
        self._context.due = pause
        if self._started:
            self._context.go_on()
        else:
            self._started = True
            threading.Thread(target=self._run, name="trial", daemon=True).start()
        turn = self._context.turns.get()
        if turn.has_ended:
            self._end(turn.error)
            return None
        self._epoch_seconds += time.perf_counter() - began
        if turn.scores is None:
            self.step = turn.step
            return None
        self.epoch, self.step, self._scores = turn.epoch, 0, turn.scores
        entry: dict[str, Any] = {
            "epoch": turn.epoch,
            "epochs": self._context.epochs,
            "seconds": self._epoch_seconds,
            "scores": turn.scores,
        }
        if (loss := turn.scores.get("train_loss")) is not None:
            entry["train_loss"] = loss
        self._epoch_seconds = 0.0
        if turn.epoch == self._context.epochs:
            self._end(self._context.turns.get().error)
        return entry

    def interim(self) -> Interim:
        return Interim(dict(self._scores or {}))

    def save(self, folder: str) -> Checkpoint | None:
        written = self._context.written()
        if written is None:
            return None
        content = pack(written, dict(self._scores or {}), self._name)
        return save_blob(folder, self.epoch, content, step=self.step, seconds=self._epoch_seconds)

    def restore(self, saved: Checkpoint) -> None:
        content = load_blob(saved)
        folder = self._workspace.folder("restored")
        self._scores = unpack(content, folder) or None  # before its first report it has none
        self.epoch, self.step, self._epoch_seconds = saved.epoch, saved.step, saved.seconds
        self._context.go_on_from(saved.epoch, saved.step, folder)

    def end(self) -> tuple[ReportedScores, None]:
        """The last report.

        Raises:
            ParameterError: if there is none, or it lacks a metric of an objective or constraint.
        """
        if self._scores is None:
            raise ParameterError(
                f"{self._name}: must report at least one epoch, got a function that returned "
                "without a report. Call context.report(epoch, scores)."
            )
        missing = [name for name in self._judged if name not in self._scores]
        if missing:
            raise ParameterError(
                f"{self._name}: the last report must have every objective and constraint, got "
                f"{', '.join(self._scores) or 'none'} without {missing[0]}. Report {missing[0]} "
                "with the last epoch."
            )
        return ReportedScores(self._scores), None

    def close(self) -> str:
        if self._started and not self.done:
            self._context.stop()
            until = time.monotonic() + STOP_SECONDS
            try:
                while not self.done:
                    left = max(0.0, until - time.monotonic())
                    self.done = self._context.turns.get(timeout=left).has_ended
            except queue.Empty:
                return (
                    f"{self._name}: must end when report raises, got a loop that still ran "
                    f"{STOP_SECONDS:g} seconds later. Do not catch TrialStopped."
                )
        self._workspace.close()
        return ""

    def _run(self) -> None:
        """In the loop's thread."""
        process, error = os.getpid(), None
        try:
            self._function(self._context)
        except BaseException as raised:
            error = raised
        if os.getpid() != process:  # a child that the loop forked, and never ended
            os._exit(1)
        error = self._context.problem or error
        self._context.turns.put(Turn(has_ended=True, error=error))

    def _end(self, error: BaseException | None) -> None:
        self.done = True
        if isinstance(error, OSError) and error.errno in _FULL:
            raise InfrastructureError(
                f"{self._name}: the disk must have room for the files of the function, got "
                f"{error.strerror!r}. Free disk space and resume."
            ) from error
        if error is not None:
            raise FunctionRaised from error


# -- Files of a checkpoint folder as one blob: the same files give the same bytes ----------


_SCORES, _FILES = "scores.json", "files/"
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


def pack(folder: Path, scores: Mapping[str, float], where: str) -> bytes:
    """Pack a folder's files, without times and owners, and the report.

    Args:
        where: whose folder it is, for messages.

    Raises:
        ParameterError: for anything that is not a file, a folder or a link within the folder; it is
            not opened, because that might block.
    """
    paths = sorted(folder.rglob("*"))
    for path in paths:
        if wrong := _wrong(path, folder):
            raise ParameterError(
                f"{where}: checkpoint_folder must contain only regular files and folders, got "
                f"{wrong}: {path.relative_to(folder).as_posix()}. Move it to another folder."
            )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:

        def add(info: tarfile.TarInfo, content: bytes) -> None:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        add(tarfile.TarInfo(_SCORES), json.dumps(scores, sort_keys=True).encode())
        for path in paths:
            info, content = tarfile.TarInfo(_FILES + path.relative_to(folder).as_posix()), b""
            if path.is_symlink():
                info.type, info.mode = tarfile.SYMTYPE, 0o777
                info.linkname = os.path.relpath(path.resolve(), path.parent.resolve())
            elif path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                content = path.read_bytes()
            add(info, content)
    return buffer.getvalue()


def unpack(content: bytes, folder: Path) -> dict[str, float]:
    """Unpack the files of `pack` into an empty folder, and return the report."""
    scores: dict[str, float] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            if member.name == _SCORES:
                file = tar.extractfile(member)
                assert file is not None
                scores = json.loads(file.read())
            else:
                member.name = member.name.removeprefix(_FILES)
                tar.extract(member, folder, filter="data")
    return scores


def _wrong(path: Path, folder: Path) -> str:
    """Description of an entry that cannot be packed."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return "a broken link"
        return "" if target.is_relative_to(folder.resolve()) else "a link out of the folder"
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


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
