"""A worker runs rows one after the other and keeps data, baseline and caches."""

from __future__ import annotations

import gc
import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ablate.errors import InfrastructureError, ParameterError, UsageError
from ablate.files.damage import heard_damage
from ablate.files.durable import Checkpoint, CheckpointError
from ablate.finetune.budget import SaveInterval
from ablate.ledger.record import Row
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.scores import AnyScores
from ablate.trial.function import (
    FunctionRaised,
    FunctionTrial,
    LoopThread,
    Trainable,
    load_trainable,
    trainable_digest,
)
from ablate.trial.output import ExitGuard, ProcessExit, TrialOutput
from ablate.trial.reason import failed
from ablate.trial.task import Job, Prepared, Report, checkpoint_folder, log_file, weights_file

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

    def finish(self) -> AnyScores:
        """The final scores; files of the trial are written."""

    def kept(self) -> Mapping[str, Any] | None:
        """What is stored in addition to the scores (`Report.kept`); call it after
        `finish`."""

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
        self._thread: LoopThread | None = None
        self._output = TrialOutput()
        self._exits = exits
        self._is_limited = False
        self._started = 0.0
        self._begun_at = _BEGINNING
        self._interval = SaveInterval(job.study.run.checkpoint_seconds)
        self._notes: list[str] = []
        self._told: list[str] = []
        self._stuck = ""

    def prepare(self, on_step: OnStep = ignore_step, *, cores: int | None = None) -> Prepared:
        """Prepare data, baseline and evaluation set, or find them in the cache.

        For a trainable, only import it.

        Args:
            on_step: is told what is being made.
            cores: idle cores for generating corrupted images; None: the first scoring does it, with
                a trial's threads.
        """
        with heard_damage() as damage:
            prepared = self._prepare(on_step, cores)
        return replace(prepared, notes=(*prepared.notes, *damage))

    def _prepare(self, on_step: OnStep, cores: int | None) -> Prepared:
        study, base = self.job.study, Path(self.job.base)
        if study.trainable is not None:
            code = trainable_digest(study.trainable, base)
            return Prepared("", "", None, {"python": platform.python_version(), "code": code})
        bench = self._workbench(fresh=True)
        return bench.prepare(on_step, cores=cores, test=self.job.test)

    def note(self, texts: Sequence[str]) -> None:
        """Add this note to the next report."""
        self._told.extend(texts)

    def begin(self, row: Row) -> None:
        """Start a row, abandoning the previous one; errors occur in the first step."""
        self._give_up()
        self._row = row
        self._started = time.time()
        self._begun_at, self._notes = _BEGINNING, []
        if self._exits is not None:
            self._exits.forget()
        self._output.begin(log_file(Path(self.job.folder), row.number, row.attempt))
        reset_gpu_peak()

    def step(self) -> Report:
        """Run one epoch of the row, or up to a checkpoint within it; score it after the last."""
        assert self._row is not None
        with self._output, heard_damage() as damage:
            report = self._guarded_step(self._row)
            if self._exits is not None and self._exits.call is not None:
                report = failed(self._exits.call)  # in a thread of the trial's, perhaps
            if report.done:
                self._give_up()
        place = current_place(uses_gpu=self.job.study.run.gpus_per_trial != 0)
        place |= {**self._begun_at, "started": self._started}
        if notes := [*self._told, *self._notes, *damage]:
            place["note"] = "; ".join(notes)
            self._told, self._notes = [], []
        return replace(report, place=place)

    def close(self) -> None:
        """Abandon the current row, if any; call it at the end."""
        self._give_up()
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    def _give_up(self) -> None:
        if self._trial is not None:
            self._stuck = self._trial.close()
            if self._stuck:
                self._thread = None  # what will not end keeps it
            is_done = self._trial.done
            self._trial = None
            free_memory(cycles=not is_done)
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
            self._trial = self._begun(row)
        trial = self._trial
        entry = None if trial.done else trial.run_epoch(self._interval.is_due)
        if trial.done:
            scores = trial.finish()
            return Report(entry, scores=scores.to_json(), kept=trial.kept())
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

    def _begun(self, row: Row) -> Trial:
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
            self._begun_at = {
                "first_epoch": kept.epoch,
                "first_step": kept.step,
                "first_seconds": kept.seconds,
            }
        if reasons:
            start = "the beginning" if kept is None else str(kept)
            self._notes.append(
                f"resumed from {start}: no checkpoint of {', nor of '.join(reasons)}"
            )
        return trial

    def _made(self, row: Row) -> Trial:
        study, base = self.job.study, Path(self.job.base)
        if row.soup is not None:
            from ablate.trial.soup import SoupTrial

            return SoupTrial(self._workbench(), row, Path(self.job.folder), self.job.test)
        if study.trainable is None:
            from ablate.trial.robustness import RobustnessTrial, TrialRun

            run = TrialRun(self._workbench(), dict(row.params), row.seeds)
            return RobustnessTrial(
                run,
                weights_file(Path(self.job.folder), row.number),
                row.number,
                test=self.job.test,
            )
        if self._function is None:
            self._function = load_trainable(study.trainable, base)
            if "torch" in sys.modules:
                self._limit_gpu_memory()
        if self._thread is None:
            self._thread = LoopThread()
        epochs = study.finetune.budget.in_epochs
        assert epochs is not None
        return FunctionTrial(
            study.trainable,
            self._function,
            self._thread,
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


_BEGINNING = {"first_epoch": 0, "first_step": 0, "first_seconds": 0.0}


# -- Where an attempt runs, and what it takes there ----------------------------------------


def current_place(*, uses_gpu: bool) -> dict[str, Any]:
    """This process and its peaks, as the `place` of a report.

    Args:
        uses_gpu: whether the trial has a GPU.
    """
    return {
        "host": _host(),
        "pid": os.getpid(),
        "gpus": list(_visible_gpus()) if uses_gpu else [],
        "peak_memory_bytes": _peak_memory_bytes(),
        "peak_gpu_bytes": _peak_gpu_bytes(),
    }


def reset_gpu_peak() -> None:
    """Reset the GPU memory peak of an earlier trial."""
    for torch, device in _gpus_in_use():
        torch.cuda.reset_peak_memory_stats(device)


def free_memory(*, cycles: bool) -> None:
    """Free what the last trial has left.

    Args:
        cycles: whether objects may refer to each other: a training that fails within an epoch
            would keep its network, data and GPU memory for some time.

    torch also keeps freed blocks of a GPU for its process, where a trial that shares the GPU cannot
    have them.
    """
    if cycles:
        gc.collect()
    for torch, _ in _gpus_in_use()[:1]:
        with suppress(RuntimeError):  # of a GPU that is lost
            torch.cuda.empty_cache()


@cache
def _host() -> str:
    return socket.gethostname()


def _visible_gpus() -> tuple[str, ...]:
    ids = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(one.strip() for one in ids.split(",") if one.strip())


def _peak_memory_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_gpu_bytes() -> int:
    return max(
        (torch.cuda.max_memory_allocated(device) for torch, device in _gpus_in_use()), default=0
    )


def _gpus_in_use() -> list[tuple[Any, int]]:
    """Torch and the devices in use; None if torch is not loaded or no GPU is used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [(torch, device) for device in range(torch.cuda.device_count())]
