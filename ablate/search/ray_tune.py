"""Ray Tune as the executor of one run.

Tune stores nothing: its searcher has no state, its checkpoints and retries are off, its folder is
temporary.  It only gets the text of a row; the ledger and its URL are in nothing that Ray pickles.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache

from ablate.errors import InfrastructureError, error_text
from ablate.model.environment import preparation_cores
from ablate.search.cluster.connect import RayOutput, connect
from ablate.search.cluster.node_watch import HeadWatch, LostNodes
from ablate.search.cluster.nodes import Agreed, agree, forget, prepare_alone
from ablate.search.cluster.tasks import (
    Capacity,
    fitting_nodes,
    is_idle,
    remaining_nodes,
    resolve_gpus,
    resolve_parallel,
)
from ablate.search.dispatcher import Dispatcher
from ablate.search.drive import held
from ablate.search.ray_worker import RowTrainable, Shared
from ablate.search.tune_hooks import FirstComeScheduler, LedgerSearcher, Over, ReportStopper, Watch
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.settings import RunSettings
from ablate.trial.task import Job, Prepared

# Tune reads these when it runs; each turns off other stored state.
os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_GLOBAL_CHECKPOINT_S="1e9",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    RAY_AIR_NEW_OUTPUT="0",
)

# Without variables of their own, Tune's actors are processes that Ray has started ahead; what
# these would set, `ray_worker` sets in its process.
class_cache.DEFAULT_ENV_VARS.clear()
class_cache.ENV_VARS_TO_PROPAGATE.discard("RAY_CHDIR_TO_TRIAL_DIR")


class _NoReporter(tune.ProgressReporter):  # type: ignore[misc]
    """Reports nothing: Tune's own for notebooks clears the cell that shows the study's progress."""

    def should_report(self, *_given: Any, **_named: Any) -> bool:
        return False

    def report(self, *_given: Any) -> None: ...


class RayExecutor:
    """Runs trials with Ray, on this machine or on a running cluster.

    Args:
        settings: of the study.
        address: of a running cluster ("auto", "HOST:PORT"); none starts Ray here.

    Raises:
        UsageError: if the address cannot be used.
        ResourceError: if a trial requests more than any node has.
        InfrastructureError: if the cluster does not answer.
    """

    def __init__(self, settings: RunSettings, address: str | None = None) -> None:
        self._started = not ray.is_initialized()
        self._alone = address is None
        self._agreed: Agreed | None = None
        self._environment: Mapping[str, Any] = {}
        self._output = RayOutput()
        try:
            if self._started:
                connect(address, settings)
            self.gpus_per_trial = resolve_gpus(settings)
            self.parallel = resolve_parallel(settings, self.gpus_per_trial)
        except BaseException:
            self.close()
            raise
        self._resources = {"cpu": settings.cpus_per_trial, "gpu": self.gpus_per_trial}
        # A cluster may have other work; then the preparation uses the resources of a trial.
        first = fitting_nodes(settings.cpus_per_trial, self.gpus_per_trial)[0]
        has_all = self._alone or is_idle(first)
        self._first_cpus = first.cpus if has_all else settings.cpus_per_trial
        self.free_cores = preparation_cores() if self._alone else self._first_cpus

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        """Compare the nodes of a cluster, and prepare where the trials will run.

        Raises:
            UsageError, DataError, FingerprintError: if a node differs; the message names it.
            InfrastructureError: if a node is lost meanwhile.
        """
        self._output.keep_in(Path(job.folder))
        prepared = self._prepare(job, on_step)
        self._environment = prepared.environment
        return prepared

    def _prepare(self, job: Job, on_step: OnStep) -> Prepared:
        cpus, gpus = self._resources["cpu"], self._resources["gpu"]
        nodes = fitting_nodes(cpus, gpus)
        if self._alone and len(nodes) == 1:
            return prepare_alone(job, nodes[0], self._first_cpus, gpus, on_step=on_step)
        while self._agreed is None:
            try:
                first_cpus = max(cpus, min(self._first_cpus, nodes[0].cpus))
                self._agreed = agree(job, nodes, cpus, gpus, first_cpus=first_cpus, on_step=on_step)
            except InfrastructureError:
                left = remaining_nodes(nodes)
                if not left or left == nodes:
                    raise
                nodes = left  # one of them has died, and Ray has noticed
        self._job = job
        return self._agreed.prepared

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        # A row asked ahead is there when a worker comes free, and keeps that worker alive; a
        # study of one worker asks none, so that its sampler sees every result.
        ahead = 0 if self.parallel == 1 else max(1, self.parallel // 8)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.parallel + ahead)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        lost = LostNodes(lambda text: dispatcher.note("node_lost", text + self._output.said))
        cpus, gpus = job.study.run.cpus_per_trial, self.gpus_per_trial
        capacity = Capacity(cpus, gpus, self.parallel, lost.look)
        limit = job.study.run.epoch_timeout_seconds
        searcher = LedgerSearcher(dispatcher, capacity, ahead, lost, limit)
        with tempfile.TemporaryDirectory(prefix="ablate-tune-") as folder:
            try:
                with HeadWatch(dispatcher):
                    tune.run(
                        tune.with_resources(RowTrainable, self._resources),
                        config={"shared": Shared(job, self._environment, self._agreed)},
                        search_alg=searcher,
                        scheduler=FirstComeScheduler(searcher),
                        stop=ReportStopper(searcher),
                        callbacks=[Watch(searcher)],
                        num_samples=-1,
                        reuse_actors=True,
                        max_failures=0,
                        raise_on_failed_trial=False,
                        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0),
                        storage_path=folder,
                        name="run",
                        verbose=0,
                        progress_reporter=_NoReporter(),
                        trial_name_creator=lambda trial: trial.trial_id,
                        trial_dirname_creator=lambda trial: trial.trial_id,
                    )
            except Over:
                pass
            except (tune.TuneError, ray.exceptions.RayError, ConnectionError) as error:
                dispatcher.fail(InfrastructureError(f"Ray: {error_text(error)[:300]}"))
        if dispatcher.error is None:
            lost.end(ray.nodes())
        elif type(dispatcher.error) is InfrastructureError and self._output.said:
            dispatcher.note("ray_said", self._output.said.strip())

    def close(self) -> None:
        if self._agreed is not None:
            forget(self._job, self._agreed)
        if self._started:
            with held():
                ray.shutdown()
        self._output.close()
