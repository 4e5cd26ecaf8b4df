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
from ablate.trial.task import Report, weights_file
from ablate.trial.worker import Worker, current_place

os.environ.update(RAY_CHDIR_TO_TRIAL_DIR="0", PL_DISABLE_FORK="1")


class RowTrainable(Trainable):  # type: ignore[misc]
    """One step is one epoch; the actor is reused for several rows, with its data and caches."""

    def setup(
        self,
        _config: dict[str, Any],
        job: SentJob,
        environment: Mapping[str, Any],
        agreed: Agreed | None,
    ) -> None:
        """Begin to work for a run.

        Args:
            environment: that the trials were prepared in.
            agreed: None if there is one node, which is this one.
        """
        if not ray.get_gpu_ids():  # Ray itself leaves all devices visible to a worker without one
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._job, self._agreed = job.take(), agreed
        self._worker = Worker(self._job)
        self._apart = False
        self._refused = ""
        try:
            if agreed is not None:
                self._apart, notes = join(job, agreed)
                self._worker.note(notes)
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
        file = weights_file(Path(self._job.folder), self._row.number)
        if self._agreed is not None and self._apart and report.scores is not None and file.exists():
            try:  # in the run's folder before the row is reported as complete
                keep_weights(self._agreed, file)
            except AblateError as error:
                report = Report(lost=str(error), place=report.place or {})  # it has not died
        return {"report": report.to_text()}

    def cleanup(self) -> None:
        self._worker.close()

    def get_auto_filled_metrics(self, *_given: Any, **_named: Any) -> dict[str, Any]:
        return {}  # Tune's own would send the config back with each epoch
