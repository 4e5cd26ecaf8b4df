"""MLflow: a run for the study, and a run below it for each row, on a server or in a store.

A run is found by two tags, the study's key and the row's number.  It is whole once it has an end
time, which is written last; one that is not whole is deleted and written again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.errors import UsageError
from ablate.errors.masking import masked
from ablate.study.settings import MLflowSettings
from ablate.trackers.tracked import Epoch, TrackedRow, TrackedStudy

_STUDY, _ROW = "ablate.study", "ablate.row"
_OF_STUDY = "study"
"""Row tag of the run of the study itself."""
_SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
"""Of an experiment: MLflow's page opens on its runs, not on traces of language models."""
_MOST_RUNS, _MOST_METRICS, _MOST_PARAMS, _LONGEST = 50_000, 800, 100, 5000
"""Of one request of MLflow, and of a value in characters."""
_ENDS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "OUTSIDE": "KILLED"}


class MLflow:
    """Writes the runs of one study.

    Raises:
        UsageError: if no server is named.
    """

    name = "mlflow"
    _identity = _experiment = _parent = ""

    def __init__(self, settings: MLflowSettings) -> None:
        self._settings = settings
        self._uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self._uri:
            raise UsageError(
                "run.trackers: mlflow needs a server, got none. Write {mlflow: {uri: http://...}}, "
                "or set MLFLOW_TRACKING_URI."
            )
        self._client: Any = None

    @property
    def place(self) -> str:
        """The server."""
        return masked(self._uri)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study, or again after a failure; delete runs of it that are not whole.

        Returns:
            Numbers of the rows that are written.
        """
        self._client = self._client or self._connect()
        self._identity = study.identity
        name = self._settings.experiment or study.name
        there = self._client.get_experiment_by_name(name)
        self._experiment = (
            there.experiment_id
            if there is not None
            else self._client.create_experiment(name, tags=_SHOWN_AS)
        )
        of_study = f"tags.`{_STUDY}` = '{self._identity}'"
        runs = self._client.search_runs([self._experiment], of_study, max_results=_MOST_RUNS)
        kept: dict[str, str] = {}
        for run in sorted(runs, key=lambda run: run.info.start_time):
            row = run.data.tags[_ROW]
            if row not in kept and (row == _OF_STUDY or run.info.end_time is not None):
                kept[row] = run.info.run_id
            else:
                self._client.delete_run(run.info.run_id)
        self._parent = kept.pop(_OF_STUDY, "") or self._create(_OF_STUDY, study.name, study.started)
        return set(map(int, kept))

    def write(self, row: TrackedRow) -> None:
        """Write a row; its end comes last."""
        run = self._create(str(row.number), row.name, row.started)
        self._log(run, row.epochs, row.params, row.facts)
        self._client.set_terminated(run, _ENDS[row.state], _milliseconds(row.ended))

    def finish(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Write what is known of the study itself; files of the same names are replaced."""
        there = self._client.get_run(self._parent).data.metrics
        more = {name: value for name, value in study.references.items() if _name(name) not in there}
        self._log(self._parent, [Epoch(0, study.started, more)], {}, study.facts)
        self._client.log_text(self._parent, study.text, "study.yaml")
        for file in files:
            self._client.log_artifact(self._parent, str(file))
        if study.ended is not None:
            self._client.set_terminated(self._parent, "FINISHED", _milliseconds(study.ended))
        else:
            self._client.update_run(self._parent, status="RUNNING")

    def _connect(self) -> Any:
        # Else a request to a server that is away is repeated for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri)

    def _create(self, row: str, name: str, started: float) -> str:
        tags = {_STUDY: self._identity, _ROW: row}
        if row != _OF_STUDY:
            tags["mlflow.parentRunId"] = self._parent
        made = self._client.create_run(self._experiment, _milliseconds(started), tags, name)
        return str(made.info.run_id)

    def _log(
        self,
        run: str,
        epochs: Iterable[Epoch],
        params: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        """Write the numbers of epochs, parameters, and facts as tags, in few requests."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [
            Metric(_name(name), value, _milliseconds(epoch.time), epoch.epoch)
            for epoch in epochs
            for name, value in epoch.values.items()
        ]
        named = [Param(_name(key), str(value)[:_LONGEST]) for key, value in params.items()]
        tags = [RunTag(f"ablate.{key}", str(value)[:_LONGEST]) for key, value in facts.items()]
        while metrics or named or tags:
            self._client.log_batch(
                run, metrics[:_MOST_METRICS], named[:_MOST_PARAMS], tags[:_MOST_PARAMS]
            )
            metrics, named = metrics[_MOST_METRICS:], named[_MOST_PARAMS:]
            tags = tags[_MOST_PARAMS:]


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _name(name: str) -> str:
    """A name that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]
