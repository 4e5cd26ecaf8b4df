"""MLflow: a run for the study, and a run below it for each row, on a server or in a store.

A run is found by two tags, the study's key and the row's number.  It is whole once it has an end
time, which is written last.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ablate.errors import UsageError
from ablate.errors.masking import masked
from ablate.study.sections.search import MLflowSettings
from ablate.trackers.tracked import Epoch, TrackedRow, TrackedStudy

_STUDY, _ROW = "ablate.study", "ablate.row"
_OF_STUDY = "study"
"""Row tag of the run of the study itself."""
_SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
"""Of an experiment: MLflow's page opens on its runs, not on traces of language models."""
_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 5000
"""Of one request of MLflow, and of a value in characters."""
_ENDS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MLflow:
    """Writes the runs of one study.

    Raises:
        UsageError: if no server is named.
    """

    name = "mlflow"
    takes_running = True
    load_seconds = 1.1

    def __init__(self, settings: MLflowSettings) -> None:
        self._settings = settings
        self._uri = settings.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self._uri:
            raise UsageError(
                "run.trackers: mlflow needs a server, got none. Write {mlflow: {uri: http://...}}, "
                "or set MLFLOW_TRACKING_URI."
            )
        self._client: Any = None
        self._identity = self._experiment = self._parent = ""
        self._running: dict[int, tuple[str, tuple[Epoch, ...]]] = {}
        """Runs of rows that this process began and has not ended: their ids, and the epochs that
        they have."""

    @property
    def place(self) -> str:
        """The server."""
        return masked(self._uri)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study, or start again after a failure: find its runs, and delete those that
        are not whole.

        Returns:
            Numbers of the rows that are written.
        """
        self._find(study)
        self._running = {}
        runs = defaultdict(list)
        for run in self._runs():
            runs[run.data.tags[_ROW]].append(run)
        whole = set()
        for row, same in runs.items():
            # The oldest that is whole is kept; of the study's, which goes on, the oldest.
            same.sort(key=lambda run: (run.info.end_time is None, run.info.start_time))
            is_kept = row == _OF_STUDY or same[0].info.end_time is not None
            for run in same[int(is_kept) :]:
                self._client.delete_run(run.info.run_id)
            if is_kept and row != _OF_STUDY:
                whole.add(int(row))
        parents = runs.get(_OF_STUDY)
        self._parent = parents[0].info.run_id if parents else self._create_parent(study)
        return whole

    def write(self, row: TrackedRow) -> None:
        """Write a row: all of it, or, if this process has begun its run, the epochs that it lacks.

        A row that has ended is ended here too, after everything else.
        """
        run, there = self._running.pop(row.number, ("", ()))
        if run and there != row.epochs[: len(there)]:  # epochs were trained again
            self._client.delete_run(run)
            run, there = "", ()
        if not run:
            run = self._create(row)
        self._log(run, row.epochs[len(there) :], {} if there else row.params, row.facts)
        if row.has_ended:
            ended = _milliseconds(row.ended or row.started)
            self._client.set_terminated(run, _ENDS[row.state], ended)
        else:
            self._running[row.number] = (run, row.epochs)

    def finish(self, study: TrackedStudy) -> None:
        """Write what is known of the study itself: its file, facts, and scores of references."""
        there = self._client.get_run(self._parent).data.metrics
        more = {name: value for name, value in study.references.items() if _name(name) not in there}
        self._log(self._parent, [Epoch(0, study.started, more)], {}, study.facts)
        self._client.log_text(self._parent, study.text, "study.yaml")
        if study.ended is not None:
            self._client.set_terminated(self._parent, "FINISHED", _milliseconds(study.ended))
        else:
            self._client.update_run(self._parent, status="RUNNING")

    def attach(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Upload files to the run of the study; former ones of the same names are replaced."""
        self._find(study)
        found = next(self._runs(_OF_STUDY), None)
        parent = self._create_parent(study) if found is None else found.info.run_id
        for file in files:
            self._client.log_artifact(parent, str(file))

    def _find(self, study: TrackedStudy) -> None:
        """Find the experiment, and create it if it is not there."""
        self._client = self._client or self._connect()
        self._identity = study.identity
        name = self._settings.experiment or study.name
        found = self._client.get_experiment_by_name(name)
        self._experiment = (
            self._client.create_experiment(name, tags=_SHOWN_AS)
            if found is None
            else found.experiment_id
        )

    def _connect(self) -> Any:
        # Else a request to a server that is away is repeated for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self._uri)

    def _runs(self, row: str = "") -> Iterator[Any]:
        """The runs of the study, of this row if one is given."""
        which = f" and tags.`{_ROW}` = '{row}'" if row else ""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{_STUDY}` = '{self._identity}'{which}",
                max_results=1000,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create_parent(self, study: TrackedStudy) -> str:
        tags = {_STUDY: study.identity, _ROW: _OF_STUDY}
        made = self._client.create_run(
            self._experiment, _milliseconds(study.started), tags, run_name=study.name
        )
        return str(made.info.run_id)

    def _create(self, row: TrackedRow) -> str:
        tags = {_STUDY: self._identity, _ROW: str(row.number), "mlflow.parentRunId": self._parent}
        made = self._client.create_run(
            self._experiment, _milliseconds(row.started), tags, run_name=row.name
        )
        return str(made.info.run_id)

    def _log(
        self,
        run: str,
        epochs: Sequence[Epoch],
        params: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        """Write the numbers of epochs, parameters, and facts as tags, in few requests."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = iter(
            Metric(_name(name), value, _milliseconds(one.time), one.epoch)
            for one in epochs
            for name, value in one.values.items()
        )
        left = iter(Param(_name(key), str(value)[:_LONGEST]) for key, value in params.items())
        tags = [RunTag(f"ablate.{key}", str(value)[:_LONGEST]) for key, value in facts.items()]
        while True:
            some = list(islice(metrics, _MOST_METRICS - 2 * _MOST_PARAMS))
            named = list(islice(left, _MOST_PARAMS))
            if not (some or named or tags):
                return
            self._client.log_batch(run, some, named, tags[:_MOST_PARAMS])
            tags = tags[_MOST_PARAMS:]


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _name(name: str) -> str:
    """A name that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]
