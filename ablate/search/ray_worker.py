"""The actor of Ray Tune that runs rows.

Apart from the executor, because every worker imports it: it loads neither Optuna nor the storage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.tune import Trainable

from ablate.errors import AblateError
from ablate.ledger.record import Row
from ablate.search.cluster.nodes import Agreed, SentJob, check_worker, join, keep_weights
from ablate.trial.task import Job, Report, weights_file
from ablate.trial.worker import Worker, current_place

os.environ.update(RAY_CHDIR_TO_TRIAL_DIR="0", PL_DISABLE_FORK="1")


class Shared:
    """Data for all workers of a run, sent once; Tune copies it into each trial's config.

    Args:
        environment: that the trials were prepared in.
        agreed: None if there is one node, which is this one.
    """

    def __init__(self, job: Job, environment: Mapping[str, Any], agreed: Agreed | None) -> None:
        self._reference = ray.put((SentJob.of(job), environment, agreed))

    def get(self) -> tuple[Job, Mapping[str, Any], Agreed | None]:
        sent, environment, agreed = ray.get(self._reference)
        return sent.take(), environment, agreed

    def __deepcopy__(self, _memo: dict[int, Any]) -> Shared:
        return self

    def __repr__(self) -> str:
        return "shared"


class RowTrainable(Trainable):  # type: ignore[misc]
    """One step is one epoch; the actor is reused for several rows, with its data and caches."""

    def setup(self, config: dict[str, Any]) -> None:
        show_devices()
        self._job, environment, self._agreed = config["shared"].get()
        self._worker = Worker(self._job)
        self._apart = False
        self._refused = ""
        try:
            if self._agreed is not None:
                self._apart, told = join(self._job, self._agreed)
                self._worker.note(told)
            check_worker(self._job, environment)
        except AblateError as error:
            self._refused = str(error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002 (Tune's)
        return True  # the next row starts like the first one

    def take_up(self, row: str) -> None:
        """Start this row, given as text, with the next step."""
        self._row = Row.from_text(row)
        self._worker.begin(self._row)

    def step(self) -> dict[str, Any]:
        if self._refused:
            place = current_place(uses_gpu=self._job.study.run.gpus_per_trial != 0)
            report = Report(lost=self._refused, place=place)
        else:
            report = self._worker.step()
        if self._apart and report.scores is not None:
            report = self._hand_over(report)
        return {"report": report.to_text(), "done": report.done}

    def _hand_over(self, report: Report) -> Report:
        """The weights are in the run's folder before the row is reported as complete."""
        assert self._agreed is not None
        file = weights_file(Path(self._job.folder), self._row.number)
        if file.exists():
            try:
                keep_weights(self._agreed, file)
            except AblateError as error:
                return Report(lost=str(error), place=report.place or {})  # it has not died
        return report

    def cleanup(self) -> None:
        self._worker.close()

    def get_auto_filled_metrics(self, *_given: Any, **_named: Any) -> dict[str, Any]:
        return {}  # Tune's own would send the config back with each epoch


def show_devices() -> None:
    """Make only the devices that Ray assigned visible to this worker, or none.

    Ray itself leaves all devices visible to a worker without one.
    """
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
