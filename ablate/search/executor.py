"""What runs rows: Ray Tune, or a for-loop."""

from __future__ import annotations

from typing import Protocol

from ablate.errors import ResourceError, UsageError
from ablate.model.environment import preparation_cores
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.settings import RunSettings
from ablate.trial.output import ExitGuard
from ablate.trial.task import Job, Prepared
from ablate.trial.worker import Worker


class Executor(Protocol):
    """Runs the rows that a dispatcher hands out.

    Attributes:
        parallel: rows run at once.
        gpus_per_trial: resolved from the study's settings and the machine.
        free_cores: of the node that prepares, which does nothing else meanwhile.
    """

    parallel: int
    gpus_per_trial: float
    free_cores: int

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        """Data, baseline and evaluation set, made where the trials will run."""

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        """Take rows until there are no more; reports go back as they come."""

    def close(self) -> None:
        """End what was started; nothing else is touched."""


class InlineExecutor:
    """A for-loop in this process: for debugging, and where Ray is not installed."""

    parallel = 1

    def __init__(self, settings: RunSettings, *, loads_torch: bool = True) -> None:
        """Without `loads_torch`, for a trainable that may not need it, `auto` is no GPU."""
        if settings.epoch_timeout_seconds is not None:
            raise UsageError(
                "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the "
                "inline executor. Leave out --executor inline, or add "
                "--set run.epoch_timeout_seconds=null."
            )
        there = float(settings.gpus_per_trial != "auto")
        if loads_torch:
            import torch

            there = float(torch.cuda.is_available())
        asked = settings.gpus_per_trial
        if asked != "auto" and asked > 0 and not there:
            raise ResourceError(
                f"run.gpus_per_trial: must be at most the GPUs that torch sees, got {asked:g} and "
                "no GPU. Set it to 0, or run on a machine with GPUs (`ablate doctor`)."
            )
        self.gpus_per_trial = there if asked == "auto" else min(asked, 1.0)
        self.free_cores = preparation_cores()

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        return Worker(job).prepare(on_step, cores=job.free_cores)

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        exits = ExitGuard()
        worker = Worker(job, exits)
        try:
            with exits:
                while (row := dispatcher.take(None)) is not None and row != FINISHED:
                    worker.begin(row)
                    while not dispatcher.is_stopped(row):
                        dispatcher.report(row, worker.step())
        finally:
            worker.close()

    def close(self) -> None:
        pass
