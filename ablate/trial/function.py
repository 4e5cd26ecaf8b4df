"""A custom training loop as a worker's trial."""

from __future__ import annotations

import errno
import hashlib
import inspect
import io
import json
import os
import queue
import stat
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.errors import InfrastructureError, ParameterError
from ablate.files.durable import Checkpoint, load_blob, save_blob
from ablate.ledger.record import Row
from ablate.study.by_value import is_given
from ablate.study.callables import import_callable
from ablate.study.scores import ReportedScores
from ablate.trial.context import Ended, Said, Saved, TrialContext, Turns, Workspace
from ablate.trial.task import Interim

Trainable = Callable[[TrialContext], object]

STOP_SECONDS = 10.0
"""Seconds that a loop may take to end after `report` has raised."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

# Digest of the source that each module was imported from.
_IMPORTED: dict[str, str] = {}


class FunctionRaised(Exception):  # noqa: N818 (no error of ours: its cause is what went wrong)
    """The loop raised an exception, which is the cause."""


def load_trainable(name: str, base: Path) -> Trainable:
    """Load the function that a study names, from the current content of its file.

    Args:
        name: `package.module:function`, or of a function given from Python.
        base: folder of the study file.

    Raises:
        ParameterError: if it cannot be imported.
    """
    function = import_callable("trainable", name, base)
    if is_given(name):
        return function
    module = name.partition(":")[0]
    digest = _digest(function, module)
    if _IMPORTED.get(module, digest) != digest:  # edited since, as in a notebook
        del sys.modules[module]
        function = import_callable("trainable", name, base)
    _IMPORTED[module] = digest
    return function


def trainable_digest(name: str, base: Path) -> str:
    """Sha256 in hex of the source of the module that a study names, and of the function's module;
    empty for a function given from Python, whose name has a digest.

    Raises:
        ParameterError: if it cannot be imported.
    """
    function = import_callable("trainable", name, base)
    return "" if is_given(name) else _digest(function, name.partition(":")[0])


def _digest(function: Trainable, module: str) -> str:
    modules = dict.fromkeys([module, getattr(inspect.unwrap(function), "__module__", module)])
    files = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
    digest = hashlib.sha256()
    for file in files:
        if file is not None:
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


class LoopThread:
    """The thread that loops run in, one after the other; it is reused, because a new one costs
    more."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="trial", daemon=True).start()

    def run(self, work: Callable[[], None]) -> None:
        """Do this next; it must not raise."""
        self._work.put(work)

    def end(self) -> None:
        """End the thread after its current work."""
        self._work.put(None)

    def _serve(self) -> None:
        process = os.getpid()
        while (work := self._work.get()) is not None:
            work()
            if os.getpid() != process:  # a child that the loop forked, and never ended
                os._exit(1)
            del work  # and the trial with it


class FunctionTrial:
    """One attempt of a row whose training is a function of the user.

    Args:
        name: of the function, for messages.
        function: takes a `TrialContext`.
        thread: thread to run in, idle.
        row: what is run.
        epochs: the budget.
        judged: metrics of objectives and constraints, which the last report must have.
    """

    def __init__(
        self,
        name: str,
        function: Trainable,
        thread: LoopThread,
        row: Row,
        *,
        epochs: int,
        judged: Sequence[str],
    ) -> None:
        self._name = name
        self._function = function
        self._thread = thread
        self._judged = judged
        self._turns = Turns()
        self._workspace = Workspace()
        self._context = TrialContext(
            name, row, epochs, judged, turns=self._turns, workspace=self._workspace
        )
        self._scores: Mapping[str, float] | None = None
        self._started = False
        self._epoch_seconds = 0.0
        self.epoch = 0
        self.step = 0
        self.done = False

    def run_epoch(self, pause: Callable[[], bool]) -> dict[str, Any] | None:
        """Let the loop go on to its next report, or to a `save` that is due.

        Raises:
            FunctionRaised: if the loop ended with an error.
            InfrastructureError: if the disk was full for it.
        """
        began = time.perf_counter()
        self._context.due = pause
        if self._started:
            self._turns.next()
        else:
            self._started = True
            self._thread.run(self._run)
        said = self._turns.said.get()
        if isinstance(said, Ended):
            self._end(said)
            return None
        self._epoch_seconds += time.perf_counter() - began
        if isinstance(said, Saved):
            self.step = said.step
            return None
        self.epoch, self.step, self._scores = said.epoch, 0, said.scores
        entry = self._entry(said, self._epoch_seconds)
        self._epoch_seconds = 0.0
        if said.epoch == self._context.epochs:
            last = self._turns.said.get()
            assert isinstance(last, Ended)
            self._end(last)
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

    def finish(self) -> ReportedScores:
        """The last report.

        Raises:
            ParameterError: if there is none, or it lacks a metric of an objective or constraint.
        """
        if self._scores is None:
            rule = "must report at least one epoch, got a function that returned without a report"
            raise ParameterError(f"{self._name}: {rule}. Call context.report(epoch, scores).")
        missing = [name for name in self._judged if name not in self._scores]
        if missing:
            names = ", ".join(self._scores) or "none"
            rule = "the last report must have every objective and constraint, got"
            rule = f"{rule} {names} without {missing[0]}"
            raise ParameterError(f"{self._name}: {rule}. Report {missing[0]} with the last epoch.")
        return ReportedScores(self._scores)

    def kept(self) -> None:
        """Nothing: only the reports of a loop are known."""

    def close(self) -> str:
        stuck = ""
        if self._started and not self.done:
            self._turns.stop()
            stuck = self._wait()
        if not stuck:
            self._workspace.close()
        return stuck

    def _wait(self) -> str:
        """Wait for a loop that was stopped."""
        until = time.monotonic() + STOP_SECONDS
        try:
            while not isinstance(
                self._turns.said.get(timeout=max(0.0, until - time.monotonic())), Ended
            ):
                pass
        except queue.Empty:
            return (
                f"{self._name}: must end when report raises, got a loop that still ran "
                f"{STOP_SECONDS:g} seconds later. Do not catch TrialStopped."
            )
        self.done = True
        return ""

    def _run(self) -> None:
        """In the loop's thread."""
        error: BaseException | None = None
        try:
            self._function(self._context)
        except BaseException as raised:
            error = raised
        self._turns.said.put(Ended(self._context.problem or error))

    def _end(self, ended: Ended) -> None:
        self.done = True
        error = ended.error
        if isinstance(error, OSError) and error.errno in _FULL:
            raise InfrastructureError(
                f"{self._name}: the disk must have room for the files of the function, got "
                f"{error.strerror!r}. Free disk space and resume."
            ) from error
        if error is not None:
            raise FunctionRaised from error

    def _entry(self, said: Said, seconds: float) -> dict[str, Any]:
        entry = {"epoch": said.epoch, "epochs": self._context.epochs, "seconds": seconds}
        loss = said.scores.get("train_loss")
        return {**entry, **({} if loss is None else {"train_loss": loss}), "scores": said.scores}


# -- Files of a checkpoint folder as one blob: the same files give the same bytes ----------


_SCORES = "scores.json"
_FILES = "files"


_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


def pack(folder: Path, scores: Mapping[str, float], where: str) -> bytes:
    """Pack a folder's files, without times and owners, and the report.

    Args:
        where: whose folder it is, for messages.

    Raises:
        ParameterError: for anything that is not a file, a folder or a link within the folder; it is
            not opened, because that might block.
    """
    found = [(path, path.relative_to(folder).as_posix()) for path in _walk(folder)]
    for path, name in found:
        wrong = _wrong(path, folder)
        if wrong:
            rule = "checkpoint_folder must contain only regular files and folders"
            raise ParameterError(
                f"{where}: {rule}, got {wrong}: {name}. Move it to another folder."
            )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, _SCORES, json.dumps(scores, sort_keys=True).encode())
        for path, name in found:
            if path.is_symlink():
                _link(tar, f"{_FILES}/{name}", path)
            else:
                _add(tar, f"{_FILES}/{name}", None if path.is_dir() else path.read_bytes())
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
                continue
            member.name = member.name.removeprefix(f"{_FILES}/")
            tar.extract(member, folder, filter="data")
    return scores


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder, in a fixed order; links are not followed."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


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


def _link(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.SYMTYPE, 0o777
    info.linkname = os.path.relpath(path.resolve(), path.parent.resolve())
    tar.addfile(info)


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """Add a file, or a folder if there is no content."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
    info.mode = 0o755 if content is None else 0o644
    info.size = len(content or b"")
    tar.addfile(info, io.BytesIO(content or b""))
