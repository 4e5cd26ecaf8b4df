"""A worker: runs rows one after the other and keeps data, baseline and caches between them."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ablate.errors import InfrastructureError, ParameterError, UsageError
from ablate.ledger.record import Failure
from ablate.ledger.row import Row
from ablate.search.dispatcher import checkpoint_folder
from ablate.search.task import Job, Report

if TYPE_CHECKING:
    from ablate.robustness.trial import TrialRun
    from ablate.robustness.workbench import Prepared, Workbench


class Worker:
    """Runs the rows of one job.

    Whatever a trial does wrong becomes a `Report` with a failure, and what disk or cache do
    wrong one that the attempt is lost: neither ends the worker.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._row: Row | None = None
        self._run: TrialRun | None = None

    def prepare(self) -> Prepared:
        """Make data, baseline and evaluation set, or find them in the cache."""
        return self._workbench(fresh=True).prepare()

    def begin(self, row: Row) -> None:
        """Take up a row; nothing that can fail happens before the first step."""
        self._row, self._run = row, None

    def step(self) -> Report:
        """Run one epoch of the row, and score it after the last."""
        assert self._row is not None
        try:
            return self._step(self._row)
        except ParameterError as error:
            return self._failed(error)
        except (InfrastructureError, UsageError) as error:  # disk, cache, data: not the trial's
            self._run = None
            return Report(lost=str(error))
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Report:
        self._run = None
        failure = Failure(_kind(error), _reason(error), traceback.format_exc())
        return Report(failure=asdict(failure))

    def _step(self, row: Row) -> Report:
        if self._run is None:
            self._run = self._start(row)
        from ablate.finetune.checkpoint import export_weights

        run, entry = self._run, None
        if not run.done:
            entry = asdict(run.run_epoch())
        if not run.done:
            folder = checkpoint_folder(Path(self.job.folder) / "checkpoints", row.number)
            checkpoint = asdict(run.save(folder / f"attempt-{row.attempt}"))
            return Report(entry, checkpoint)
        scores = run.finish()
        export_weights(run.model, weights_file(Path(self.job.folder), row.number))
        self._run = None
        return Report(entry, scores=scores.to_json())

    def _start(self, row: Row) -> TrialRun:
        from ablate.finetune.checkpoint import CheckpointError, SavedState
        from ablate.robustness.trial import TrialRun

        run = TrialRun(self._workbench(), dict(row.params), row.seeds)
        for kept in reversed(row.checkpoints):
            try:
                run.restore(SavedState(kept.epoch, kept.uri, kept.sha256))
                break
            except CheckpointError:
                continue  # torn or gone: the one before it, else the beginning
        return run

    def _workbench(self, *, fresh: bool = False) -> Workbench:
        from ablate.robustness.workbench import Workbench

        job = self.job
        return Workbench.get(job.study, Path(job.base), Path(job.cache), fresh=fresh)


def weights_file(folder: Path, number: int | None) -> Path:
    """Where the finetuned weights of a row are exported to."""
    name = "plain" if number is None else f"{number:05d}"
    return folder / "weights" / f"{name}.safetensors"


def _kind(error: Exception) -> str:
    from ablate.finetune.loop import NotFiniteError

    if isinstance(error, NotFiniteError):
        return "not_finite"
    name = type(error).__name__
    return "out_of_memory" if name in ("OutOfMemoryError", "MemoryError") else "raised"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):  # its text has a line for each key
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
