"""A worker runs rows one after the other and keeps data, baseline and caches."""

from __future__ import annotations

import gc
import os
import platform
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from ablate.errors import (
    AblateError,
    InfrastructureError,
    NotFiniteError,
    ParameterError,
    UsageError,
)
from ablate.errors.device import is_lost_gpu, is_out_of_memory
from ablate.files.cache import heard_damage
from ablate.files.durable import Checkpoint, CheckpointError
from ablate.finetune.budget import SaveInterval
from ablate.ledger.record import Failure, Row
from ablate.study.callables import code_digest, import_current
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.scores import AnyScores
from ablate.trial.output import ExitGuard, ProcessExit, TrialOutput
from ablate.trial.own_loop import FunctionRaised, FunctionTrial, Trainable
from ablate.trial.task import Job, Prepared, Report, checkpoint_folder, log_file

if TYPE_CHECKING:
    from ablate.trial.task import Interim
    from ablate.trial.workbench import Workbench


class Trial(Protocol):
    """One attempt of a row, epoch by epoch: a robustness finetuning or a custom training loop."""

    @property
    def done(self) -> bool:
        """Whether the training has ended."""

    @property
    def epoch(self) -> int:
        """Epochs done."""

    def next_entry(self, pause: Callable[[], bool]) -> Mapping[str, Any] | None:
        """Train for an epoch.

        Args:
            pause: called as often as possible within the epoch; returns whether to stop for a
                `save`.

        Returns:
            Its entry of the curve; None if it was paused, or if the training had already ended.
        """

    def interim(self) -> Interim:
        """Current scores, for the comparison at a rung."""

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

    def end(self) -> tuple[AnyScores, Mapping[str, Any] | None]:
        """The final scores, and what is stored in addition (`Report.kept`); files of the trial are
        written."""

    def close(self) -> str:
        """Abandon it in any state.

        Returns:
            Why it did not end; empty if it did.
        """


class Worker:
    """Runs the rows of one job.

    Errors of a trial become a `Report` with a failure, and errors of disk or cache a report that
    the attempt is lost; neither ends the worker.  A GPU that this process cannot use any more does:
    `step` raises `InfrastructureError`, and another process goes on with the row.

    Args:
        exits: guards the driver's process against `os._exit`, if the worker runs in it.
    """

    def __init__(self, job: Job, exits: ExitGuard | None = None) -> None:
        self.job = job
        self._row: Row | None = None
        self._trial: Trial | None = None
        self._function: Trainable | None = None
        self._output = TrialOutput()
        self._exits = exits
        self._is_limited = False
        self._begun: dict[str, Any] = {}
        self._interval = SaveInterval(job.study.run.checkpoint_seconds)
        self._notes: list[str] = []
        self._stuck = ""

    def prepare(self, on_step: OnStep = ignore_step, *, cores: int | None = None) -> Prepared:
        """Prepare data, baseline and evaluation set, or find them in the cache.

        For a trainable, only import it.

        Args:
            on_step: is told what is being made.
            cores: idle cores for generating corrupted images; None: the first scoring does it, with
                a trial's threads.
        """
        study, base = self.job.study, Path(self.job.base)
        if study.trainable is not None:
            code = code_digest("trainable", study.trainable, base)
            environment = {"python": platform.python_version()}
            return Prepared("", "", None, environment, code={study.trainable: code})
        with heard_damage() as damage:
            bench = self._workbench(fresh=True)
            prepared = bench.prepare(on_step, cores=cores, test=self.job.test)
        return replace(prepared, notes=(*prepared.notes, *damage))

    def note(self, texts: Sequence[str]) -> None:
        """Add this note to the next report."""
        self._notes.extend(texts)

    def begin(self, row: Row) -> None:
        """Start a row, abandoning the previous one; errors occur in the first step."""
        self._give_up()
        self._row = row
        self._begun = {"started": time.time(), **dict.fromkeys(_CONTINUED, 0)}
        if self._exits is not None:
            self._exits.forget()
        self._output.begin(log_file(Path(self.job.folder), row.number, row.attempt))
        for torch, device in _gpus_in_use():  # the peak is of this trial
            torch.cuda.reset_peak_memory_stats(device)

    def step(self) -> Report:
        """Run one epoch of the row, or up to a checkpoint within it; score it after the last."""
        assert self._row is not None
        with self._output, heard_damage() as damage:
            report = self._guarded_step(self._row)
            if self._exits is not None and self._exits.call is not None:
                report = failed(self._exits.call)  # in a thread of the trial's, perhaps
            if report.done:
                self._give_up()
        place = current_place(uses_gpu=self.job.study.run.gpus_per_trial != 0) | self._begun
        if notes := [*self._notes, *damage]:
            place["note"] = "; ".join(notes)
            self._notes = []
        return replace(report, place=place)

    def close(self) -> None:
        """Abandon the current row, if any; call it at the end."""
        self._give_up()

    def _give_up(self) -> None:
        if self._trial is not None:
            self._stuck = self._trial.close()
            is_done = self._trial.done
            self._trial = None
            if not is_done:
                # Objects that refer to each other: a training that fails within an epoch would keep
                # its network, data and GPU memory for some time.
                gc.collect()
            for torch, _ in _gpus_in_use()[:1]:
                # torch keeps freed blocks for its process, where a trial that shares the GPU cannot
                # have them.
                with suppress(RuntimeError):  # of a GPU that is lost
                    torch.cuda.empty_cache()
        self._output.end()

    def _guarded_step(self, row: Row) -> Report:
        try:
            return self._step(row)
        except FunctionRaised as error:
            return failed(error.__cause__ or error, own_loop=True)
        except ParameterError as error:
            return failed(error)
        except (InfrastructureError, UsageError) as error:  # disk, cache, data: not the trial's
            return Report(lost=str(error))
        except (Exception, ProcessExit) as error:
            return failed(error)

    def _step(self, row: Row) -> Report:
        if self._stuck:
            reason, self._stuck = self._stuck, ""
            return Report(lost=reason)
        if self._trial is None:
            self._trial = self._from_checkpoint(row)
        trial = self._trial
        entry = None if trial.done else trial.next_entry(self._interval.is_due)
        if trial.done:
            scores, kept = trial.end()
            return Report(entry, scores=scores.to_json(), kept=kept)
        folder = checkpoint_folder(self.job.checkpoints, row.number)
        with self._interval.writing():
            saved = trial.save(f"{folder}/attempt-{row.attempt}")
        checkpoint = None if saved is None else asdict(saved)
        return Report(entry, checkpoint, rung=self._rung(row, trial) if entry else None)

    def _rung(self, row: Row, trial: Trial) -> Mapping[str, Any] | None:
        study = self.job.study
        pruner = study.search.pruner
        if pruner is None or row.number is None or not pruner.is_rung(trial.epoch):
            return None
        compared = pruner.compared(study.objectives)
        found = trial.interim()
        missing = [metric for metric in compared if metric not in found.scores]
        if missing and study.trainable is None:  # a loop is checked by the dispatcher
            raise ParameterError(
                f"search.pruner: must compare what is scored after epoch {trial.epoch}, got "
                f"{missing[0]}. Name another metric."
            )
        return found.of([*compared, *study.judged_metrics])

    def _from_checkpoint(self, row: Row) -> Trial:
        """The row's trial, from its last usable checkpoint, else from the start."""
        trial = self._made(row)
        reasons = []
        kept: Checkpoint | None
        for kept in reversed(row.checkpoints):
            try:
                trial.restore(kept)
                break
            except CheckpointError as error:
                reasons.append(f"{kept} ({error})")
        else:
            kept = None
        self._interval = SaveInterval(self.job.study.run.checkpoint_seconds)
        if kept is not None:
            at = (kept.epoch, kept.step, kept.seconds)
            self._begun |= dict(zip(_CONTINUED, at, strict=True))
        if reasons:
            start = "the beginning" if kept is None else str(kept)
            self._notes.append(
                f"resumed from {start}: no checkpoint of {', nor of '.join(reasons)}"
            )
        return trial

    def _made(self, row: Row) -> Trial:
        study, folder = self.job.study, Path(self.job.folder)
        if study.trainable is None:
            from ablate.trial.mixing import MixtureTrial
            from ablate.trial.robustness import RobustnessTrial

            kind = MixtureTrial if row.mixture is not None else RobustnessTrial
            return kind(self._workbench(), row, folder, self.job.test)
        if self._function is None:
            self._function = import_current("trainable", study.trainable, Path(self.job.base))
            if "torch" in sys.modules:
                self._limit_gpu_memory()
        epochs = study.finetune.budget.in_epochs
        assert epochs is not None
        return FunctionTrial(
            study.trainable,
            self._function,
            row,
            epochs=epochs,
            judged=study.judged_metrics,
        )

    def _workbench(self, *, fresh: bool = False) -> Workbench:
        from ablate.trial.workbench import Workbench

        self._limit_gpu_memory()
        job = self.job
        return Workbench.get(
            job.study,
            Path(job.base),
            Path(job.cache),
            baseline_threads=job.baseline_threads,
            fresh=fresh,
        )

    def _limit_gpu_memory(self) -> None:
        run = self.job.study.run
        if self._is_limited or run.gpu_memory_fraction is None or run.gpus_per_trial == 0:
            return
        from ablate.model.environment import limit_gpu_memory

        limit_gpu_memory(run.gpu_memory_fraction)
        self._is_limited = True


_CONTINUED = ("first_epoch", "first_step", "first_seconds")
"""Of the checkpoint that an attempt continued from."""


# -- Why an attempt failed ------------------------------------------------------------------


def failed(error: BaseException, *, own_loop: bool = False) -> Report:
    """The report of an attempt that an error ended.

    Args:
        own_loop: whether a custom training loop raised it, of whose settings nothing is known.

    Raises:
        InfrastructureError: if this process cannot use its GPU any more: every row that it took up
            would fail at once.
    """
    if is_lost_gpu(error):
        traceback.print_exception(error)  # goes to the trial's output
        raise InfrastructureError(
            f"GPU: must answer, got {_reason(error).rstrip('.')}. Its process ends, and "
            "another takes up the trial; without Ray, run `ablate resume`."
        ) from error
    try:
        text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
    except Exception:  # its own text cannot be made
        text = ""
    return Report(failure=asdict(Failure(_kind(error), _reason(error, own_loop=own_loop), text)))


def _kind(error: BaseException) -> Any:
    if isinstance(error, NotFiniteError):
        return "not_finite"
    return "out_of_memory" if is_out_of_memory(error) else "raised"


_REASON_CHARACTERS, _TRACEBACK_CHARACTERS = 1_000, 20_000
_TOO_LARGE = (
    "Lower finetune.batch_size, or raise run.gpu_memory_fraction.",
    "Lower finetune.batch_size.",
)
"""What to do on a GPU, and on its host."""


def _reason(error: BaseException, *, own_loop: bool = False) -> str:
    if isinstance(error, ValidationError):  # its text has a line for each key
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
    try:
        text = str(error).strip()[:_REASON_CHARACTERS]
    except Exception:
        text = ""
    reason = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    if _kind(error) == "out_of_memory" and not (own_loop or isinstance(error, AblateError)):
        return f"{reason.rstrip('.')}. {_TOO_LARGE[isinstance(error, MemoryError)]}"
    return reason


# -- Where an attempt runs, and what it takes there ----------------------------------------


def current_place(*, uses_gpu: bool) -> dict[str, Any]:
    """This process and its peaks, as the `place` of a report.

    Args:
        uses_gpu: whether the trial has a GPU.
    """
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if uses_gpu else []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peaks = [torch.cuda.max_memory_allocated(device) for torch, device in _gpus_in_use()]
    return {
        "host": _host(),
        "pid": os.getpid(),
        "gpus": [name for gpu in gpus if (name := gpu.strip())],
        "peak_memory_bytes": peak if sys.platform == "darwin" else peak * 1024,
        "peak_gpu_bytes": max(peaks, default=0),
    }


@cache
def _host() -> str:
    return socket.gethostname()


def _gpus_in_use() -> list[tuple[Any, int]]:
    """Torch and the devices in use; none if torch is not loaded or no GPU is used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [(torch, device) for device in range(torch.cuda.device_count())]
