"""Ray Tune as the executor of one run.

Tune keeps nothing: its searcher has no state, its checkpoints and retries are off, its folder is
temporary.  What it knows of a row is the row's text; the ledger and its URL never enter anything
that Ray pickles.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ablate.errors import InfrastructureError, ResourceError
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.search.task import Job, Report, row_from_text, row_to_text
from ablate.search.worker import Worker
from ablate.study.settings import RunSettings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Tune reads these when it is imported or run; each turns off a second keeper of the truth.
os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_GLOBAL_CHECKPOINT_S="1e9",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
)

import ray
from ray import tune
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

if TYPE_CHECKING:
    from ablate.ledger.row import Row
    from ablate.robustness.workbench import Prepared

_WAIT_SECONDS = 0.2
"""How long a hook waits for a row before it lets Tune do something else."""

_KNOCK_SECONDS = 10

_OBJECT_STORE_BYTES = 100 * 2**20
"""Rows and reports are a few kilobytes; data goes through files that are memory-mapped."""


class LedgerSearcher(Searcher):  # type: ignore[misc]
    """Hands Tune the dispatcher's rows and the dispatcher Tune's results; keeps nothing itself."""

    def __init__(self, dispatcher: Dispatcher, most: int) -> None:
        """`most` rows are out at once, those that wait for a worker included."""
        super().__init__()
        self._dispatcher = dispatcher
        self._most = most
        self._rows: dict[str, Row] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self._rows) >= self._most:
            return None
        row = self._dispatcher.take(_WAIT_SECONDS)
        if row == FINISHED:
            return Searcher.FINISHED
        if row is None:
            return None
        self._rows[trial_id] = row
        return {"row": row_to_text(row)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._dispatcher.report(self._rows[trial_id], Report.from_text(result["report"]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        row = self._rows.pop(trial_id)
        if error or not result or "report" not in result:
            self._dispatcher.lose(row, "its process ended without a word")
        else:
            self._dispatcher.report(row, Report.from_text(result["report"]))

    def __getstate__(self) -> dict[str, Any]:
        return {}  # whatever pickles a searcher gets nothing of the ledger

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save: the ledger is the only truth."""

    def save(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the ledger is the only truth about a study")

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("the ledger is the only truth about a study")


class RowTrainable(tune.Trainable):  # type: ignore[misc]
    """One step is one epoch; the actor is kept from row to row, with its data and caches."""

    def setup(self, config: dict[str, Any]) -> None:
        self._worker = Worker(Job.from_text(config["job"]))
        self._worker.begin(row_from_text(config["row"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._worker.begin(row_from_text(new_config["row"]))
        return True

    def step(self) -> dict[str, Any]:
        report = self._worker.step()
        return {"report": report.to_text(), "done": report.done}


class _Stop(Stopper):  # type: ignore[misc]
    """Ends the run where the dispatcher cannot go on."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._dispatcher.stopping

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RayExecutor:
    """Ray on this machine, or a cluster that is there.

    Args:
        settings: of the study.
        address: of a running cluster ("auto", "HOST:PORT"); none starts Ray here.
        secret: variables of the environment that Ray's processes must not inherit.

    Raises:
        ResourceError: if a trial asks for more than any node has.
        InfrastructureError: if the cluster does not answer.
    """

    def __init__(
        self, settings: RunSettings, address: str | None = None, secret: Sequence[str] = ()
    ) -> None:
        self._started = not ray.is_initialized()
        cpus = settings.cpus_per_trial
        if self._started:
            with _without(secret):
                _connect(address, settings)
        try:
            self.gpus_per_trial = _gpus_per_trial(settings)
            self.parallel = _parallel(settings, cpus, self.gpus_per_trial)
        except BaseException:
            self.close()
            raise
        self._resources = {"cpu": cpus, "gpu": self.gpus_per_trial}

    def prepare(self, job: Job) -> Prepared:
        # A process of its own that ends with the task: what torch took is given back.
        task = ray.remote(
            num_cpus=self._resources["cpu"], num_gpus=self._resources["gpu"], max_calls=1
        )(_prepare)
        try:
            prepared: Prepared = ray.get(task.remote(job.to_text()))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise InfrastructureError(f"preparing data and baseline failed: {error}") from error
        return prepared

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        # A row asked ahead is there when a worker comes free, and keeps that worker alive; a
        # study of one worker asks none, so that its sampler sees every result.
        ahead = 0 if self.parallel == 1 else max(1, self.parallel // 8)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, ahead))
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with tempfile.TemporaryDirectory(prefix="ablate-tune-") as folder:
            tune.run(
                tune.with_resources(RowTrainable, self._resources),
                config={"job": job.to_text()},
                search_alg=LedgerSearcher(dispatcher, self.parallel + ahead),
                num_samples=-1,
                reuse_actors=True,
                max_failures=0,
                raise_on_failed_trial=False,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0),
                stop=_Stop(dispatcher),
                storage_path=folder,
                name="run",
                verbose=0,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            )

    def close(self) -> None:
        if self._started:
            ray.shutdown()


def _prepare(job: str) -> Prepared:
    return Worker(Job.from_text(job)).prepare()


def _connect(address: str | None, settings: RunSettings) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = os.cpu_count() or 1
        if settings.parallel != "auto":  # as many workers as are asked for, on fewer cores too
            cpus = settings.cpus_per_trial * settings.parallel
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
        return
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"--ray-address {address}: a Ray cluster must answer there, got: {reason}. "
            "Start one with `ray start --head`, or leave the option out."
        ) from error


def _knock(address: str) -> None:
    """Fail within seconds where nobody listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


@contextmanager
def _without(variables: Sequence[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _gpus_per_trial(settings: RunSettings) -> float:
    there = max((node.get("GPU", 0.0) for node in _alive()), default=0.0)
    asked = settings.gpus_per_trial
    if asked == "auto":
        return 1.0 if there else 0.0
    if asked > there:
        raise ResourceError(
            f"run.gpus_per_trial: must be at most what Ray sees, got {asked:g} where Ray sees "
            f"{there:g} GPUs on a node. Set it to 0, or run where there are GPUs (`ablate doctor`)."
        )
    return asked


def _alive() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _parallel(settings: RunSettings, cpus: int, gpus: float) -> int:
    there = ray.cluster_resources()
    most = max((node.get("CPU", 0) for node in _alive()), default=0)
    if cpus > most:
        raise ResourceError(
            f"run.cpus_per_trial: must fit on one node, got {cpus} where the largest has "
            f"{most:g} CPUs. Lower it."
        )
    fitting = int(there["CPU"] // cpus)
    if gpus:
        fitting = min(fitting, int(there["GPU"] / gpus + 1e-9))
    return fitting if settings.parallel == "auto" else min(settings.parallel, fitting)
