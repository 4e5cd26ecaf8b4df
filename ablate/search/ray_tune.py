"""Ray Tune as the executor of one run, and its hooks on the dispatcher.

Tune stores nothing: its searcher has no state, its checkpoints and retries are off, its folder is
temporary.  It only gets the text of a row; the ledger and its URL are in nothing that Ray pickles.

The hooks never raise, and wait only for the next row.  An exception in a hook would make Tune
report a finished trial as failed; it goes to the dispatcher instead, which ends the drive.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from ablate.errors import AblateError, InfrastructureError, error_text, unexpected
from ablate.ledger.record import Row
from ablate.model.environment import preparation_cores
from ablate.search.cluster.connect import connect
from ablate.search.cluster.nodes import (
    Agreed,
    SentJob,
    Work,
    agree,
    fitting_nodes,
    forget,
    node_name,
    prepare_job,
    resolve_gpus,
    resolve_parallel,
    run_on,
)
from ablate.search.dispatcher import FINISHED, Dispatcher
from ablate.search.drive import held
from ablate.search.ray_private import RayOutput, actor_of, has_all_cpus, shrink
from ablate.search.ray_worker import RowTrainable
from ablate.study.preparation import OnStep, ignore_step
from ablate.study.settings import RunSettings
from ablate.trial.task import Job, Prepared, Report

# Tune reads these when it runs; each turns off other stored state.
os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_GLOBAL_CHECKPOINT_S="1e9",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    RAY_AIR_NEW_OUTPUT="0",
)


class RayExecutor:
    """Runs trials with Ray, on this machine or on a running cluster.

    Args:
        settings: of the study.
        address: of a running cluster ("auto", "HOST:PORT"); none starts Ray here.
        imports: packages that the workers will need, as of `connect`.

    Raises:
        UsageError: if the address cannot be used.
        ResourceError: if a trial requests more than any node has.
        InfrastructureError: if the cluster does not answer.
    """

    def __init__(
        self, settings: RunSettings, address: str | None = None, imports: Sequence[str] = ()
    ) -> None:
        self._started = not ray.is_initialized()
        self._alone = address is None
        self._agreed: Agreed | None = None
        self._environment: Mapping[str, Any] = {}
        self._output = RayOutput()
        try:
            if self._started:
                connect(address, settings, imports)
            self.gpus_per_trial = resolve_gpus(settings)
            self.parallel = resolve_parallel(settings, self.gpus_per_trial)
        except BaseException:
            self.close()
            raise
        self._cpus = settings.cpus_per_trial
        # A cluster may have other work; then the preparation uses the resources of a trial.
        first = fitting_nodes(self._cpus, self.gpus_per_trial)[0]
        has_all = self._alone or has_all_cpus(first.id, first.cpus)
        self._first_cpus = first.cpus if has_all else self._cpus
        self.free_cores = preparation_cores() if self._alone else self._first_cpus

    def prepare(self, job: Job, on_step: OnStep = ignore_step) -> Prepared:
        """Compare the nodes of a cluster, and prepare where the trials will run.

        Raises:
            UsageError, DataError, FingerprintError: if a node differs; the message names it.
            InfrastructureError: if a node is lost meanwhile.
        """
        self._job = job
        self._output.keep_in(Path(job.folder))
        nodes = fitting_nodes(self._cpus, self.gpus_per_trial)
        cpus, gpus = self._first_cpus, self.gpus_per_trial
        prepared: Prepared
        if self._alone and len(nodes) == 1:
            node = replace(nodes[0], name="")
            work = functools.partial(prepare_job, with_files=False)
            prepared, _ = run_on(node, job, work, on_step=on_step, cpus=cpus, gpus=gpus)
        else:
            self._agreed = agree(job, nodes, self._cpus, gpus, first_cpus=cpus, on_step=on_step)
            prepared = self._agreed.prepared
        self._environment = prepared.environment
        return prepared

    def work(self, job: Job, work: Work, on_step: OnStep) -> Any:
        apart = frozenset() if self._agreed is None else self._agreed.apart
        nodes = fitting_nodes(self._cpus, self.gpus_per_trial)
        node = next((node for node in nodes if node.id not in apart), None)
        if node is None:
            raise InfrastructureError(
                f"{job.folder}: must be seen by a node that runs trials, got none of {len(nodes)}. "
                "Put it on a disk that they share."
            )
        cpus = self._first_cpus if self._alone else self._cpus
        return run_on(node, job, work, on_step=on_step, cpus=cpus, gpus=self.gpus_per_trial)

    def run(self, job: Job, dispatcher: Dispatcher) -> None:
        # A row asked ahead is there when a worker comes free, and keeps that worker alive; a
        # study of one worker asks none, so that its sampler sees every result.
        ahead = 0 if self.parallel == 1 else max(1, self.parallel // 8)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.parallel + ahead)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)

        def say(text: str) -> None:
            dispatcher.note("node_lost", text + self._output.reference)

        nodes = NodeWatch(say)
        limit = job.study.run.epoch_timeout_seconds
        searcher = LedgerSearcher(dispatcher, self.parallel + ahead, limit)
        resources = {"cpu": self._cpus, "gpu": self.gpus_per_trial}
        trainable = tune.with_parameters(  # sent once to each worker, and copied into no trial
            RowTrainable, job=SentJob.of(job), environment=self._environment, agreed=self._agreed
        )
        with tempfile.TemporaryDirectory(prefix="ablate-tune-") as folder:
            try:
                with watched_head(dispatcher):
                    tune.run(
                        tune.with_resources(trainable, resources),
                        search_alg=searcher,
                        scheduler=LedgerScheduler(searcher),
                        callbacks=[Watch(searcher, nodes)],
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
            except (tune.TuneError, RayError, ConnectionError) as error:
                dispatcher.fail(_ray_error(error))
        if dispatcher.error is None:
            for _ in range(2):
                nodes.look(at_once=True)
        elif type(dispatcher.error) is InfrastructureError and self._output.reference:
            dispatcher.note("ray_said", self._output.reference.strip())

    def close(self) -> None:
        if self._agreed is not None:
            forget(self._job, self._agreed.token)
        if self._started:
            with held():
                ray.shutdown()
        self._output.close()


def _ray_error(error: Exception) -> AblateError:
    return InfrastructureError(f"Ray: {error_text(error)[:300]}")


class _NoReporter(tune.ProgressReporter):  # type: ignore[misc]
    """Reports nothing: Tune's own for notebooks clears the cell that shows the study's progress."""

    def should_report(self, *_given: Any, **_named: Any) -> bool:
        return False

    def report(self, *_given: Any) -> None: ...


# -- Tune's hooks on the dispatcher --------------------------------------------------------

_WAIT_SECONDS = 0.05
"""Seconds that Tune waits for a row before it does other work."""

_IDLE_WAIT_SECONDS = 1.0
"""The same if no row is running; Tune itself would then sleep for a second."""

_AWAY_SECONDS = 5.0
"""Longest time between two looks at the epochs; if it was longer, the driver itself was stopped or
busy, and that time does not count, because reports waited for it."""


class Over(Exception):  # noqa: N818 (no error: the way out of Tune)
    """All of Tune's rows have ended.

    Raised to leave `tune.run`, which would otherwise write and read the states of all trials for a
    resume that never happens: about 15 seconds for 10,000 rows.
    """


def _guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a hook return None instead of raising, and end the drive."""

    @functools.wraps(hook)
    def guarded(self: Any, *given: Any, **named: Any) -> Any:
        try:
            return hook(self, *given, **named)
        except RayError as error:
            self.dispatcher.fail(_ray_error(error))
        except Exception as error:
            self.dispatcher.fail(unexpected(f"Ray Tune's hook {hook.__name__}", error))

    return guarded


class _Stateless:
    """Pickled by Tune without anything of the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


@dataclass
class _Tuned:
    """A trial of Tune's.

    Attributes:
        row: None until its worker is ready; trial: the same.
        began: its epoch, by the monotonic clock.
        loss: why it was lost, if it was.
    """

    row: Row | None = None
    trial: Any = None
    began: float = math.inf
    loss: str = "its process ended without a message"


class LedgerSearcher(_Stateless, Searcher):  # type: ignore[misc]
    """Passes the dispatcher's rows to Tune and Tune's results to the dispatcher.

    A Tune trial gets its row when its worker is ready, not when it is created: Tune gives a reused
    worker the newest waiting trial, so a row assigned early would be started last.  This way, rows
    start in order.

    Args:
        dispatcher: of the drive.
        most: number of rows at once, with those that wait for a worker.
        epoch_seconds: limit for an epoch; None: no limit.

    Attributes:
        over: no row is running, and no more will come.
    """

    def __init__(self, dispatcher: Dispatcher, most: int, epoch_seconds: float | None) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self._most = most
        self._epoch_seconds = epoch_seconds
        self._waiting: deque[Row] = deque()
        self._trials: dict[str, _Tuned] = {}
        self._looked = time.monotonic()
        self._finished = False

    @property
    def over(self) -> bool:
        return self.dispatcher.stopping or (self._finished and not self._trials)

    @_guarded
    def suggest(self, trial_id: str) -> Any:
        if len(self._trials) >= self._most:
            return None
        row = self.dispatcher.take(_WAIT_SECONDS if self._trials else _IDLE_WAIT_SECONDS)
        if row == FINISHED:
            self._finished = True
            return Searcher.FINISHED
        if row is None:
            return None
        self._waiting.append(row)
        self._trials[trial_id] = _Tuned()
        return {}

    def begin(self, trial: Any) -> None:
        """Give the next row to a trial whose worker is ready."""
        row = self._waiting.popleft()
        self._trials[trial.trial_id] = _Tuned(row, trial, time.monotonic())
        self.dispatcher.begun(row)
        # A worker processes calls in order: this one, then Tune's next step.
        actor_of(trial).take_up.remote(row.to_text())

    @_guarded
    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Pass a result to the dispatcher; returns whether the trial must stop."""
        tuned, report = self._trials[trial_id], Report.from_text(result["report"])
        assert tuned.row is not None
        if report.entry is not None:
            tuned.began = time.monotonic()
        self.dispatcher.report(tuned.row, report)
        return self.dispatcher.is_stopped(tuned.row)

    def end_late_epochs(self) -> None:
        """Fail the rows whose epoch takes too long, and end their workers."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        limit = self._epoch_seconds
        if limit is None:
            return
        for tuned in self._trials.values():
            if away > _AWAY_SECONDS:
                tuned.began += away
            elif tuned.row is not None and now - tuned.began > limit:
                tuned.began = math.inf
                self.dispatcher.time_out(tuned.row, limit)
                if (actor := actor_of(tuned.trial)) is not None:
                    ray.kill(actor)

    def note_loss(self, trial_id: str, reason: str) -> None:
        """Keep why a trial was lost; Tune reports the loss to its searcher afterwards."""
        if trial_id in self._trials:
            self._trials[trial_id].loss = reason

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Does nothing: the scheduler has handled the result."""

    @_guarded
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        tuned = self._trials.pop(trial_id, None)
        if tuned is not None:
            # A worker that never came up loses the row that it would have taken.
            row = tuned.row or self._waiting.popleft()
            # Of a trial that was stopped, the scheduler has heard the result.
            if error or not result or "report" not in result:
                self.dispatcher.lose(row, tuned.loss)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Saves nothing: all state is in the ledger."""


class LedgerScheduler(_Stateless, FIFOScheduler):  # type: ignore[misc]
    """Passes every result on, stops trials for the dispatcher, and notes why a trial was lost.

    It decides with the result included.  No trial ends by itself, which Tune would not ask about.
    """

    def __init__(self, searcher: LedgerSearcher) -> None:
        super().__init__()
        self.dispatcher = searcher.dispatcher
        self._searcher = searcher

    def choose_trial_to_run(self, _controller: Any) -> None:
        """Returns None: Tune's own scheduler would search all past trials at each step."""

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        is_stopped = self._searcher.hear(trial.trial_id, result)
        return str(FIFOScheduler.STOP if is_stopped else FIFOScheduler.CONTINUE)

    @_guarded
    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        """Keep one line of Tune's message: the last of a traceback, else the message."""
        text = Path(trial.error_file).read_text()
        lines = [line for line in text.splitlines()[1:] if line.strip()]
        if any("Traceback" in line or "ray::" in line for line in lines):
            reason = re.sub(r"^ablate\.[\w.]+: ", "", lines[-1].strip())
        else:
            reason = " ".join(line.strip() for line in lines if not line.startswith("\t"))
        self._searcher.note_loss(trial.trial_id, reason[:300])


class Watch(_Stateless, Callback):  # type: ignore[misc]
    """Gives rows to workers, looks at clock and nodes, limits Tune's memory, and ends it.

    Create it while the process's signal handlers are the ones to keep.
    """

    def __init__(self, searcher: LedgerSearcher, nodes: NodeWatch) -> None:
        self.dispatcher = searcher.dispatcher
        self._searcher = searcher
        self._nodes = nodes
        self._drain = signal.getsignal(signal.SIGUSR1)

    @_guarded
    def setup(self, **_info: Any) -> None:
        # Tune has installed its own handler, which would end the run at once.
        if self._drain is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._drain)

    @_guarded
    def on_trial_start(self, trial: Any, **_info: Any) -> None:
        self._searcher.begin(trial)

    def on_step_end(self, **_info: Any) -> None:
        if self._searcher.over:
            raise Over
        self._look()

    @_guarded
    def _look(self) -> None:
        self._nodes.look()
        self._searcher.end_late_epochs()

    @_guarded
    def on_trial_complete(self, trial: Any, **_info: Any) -> None:
        shrink(trial)

    on_trial_error = on_trial_complete


# -- Lost heads and nodes ------------------------------------------------------------------

_EVERY_SECONDS = 5.0
_MISSES = 4
_LEAVE_SECONDS = 10.0


@contextmanager
def watched_head(dispatcher: Dispatcher) -> Iterator[None]:
    """Check the connection to the head while Tune runs in the block.

    If the head does not answer, Ray's calls block for a minute and then end the process with code 1
    and no message.  Here the dispatcher is notified after about 20 s; if Tune has not returned 10 s
    later, all reports are written and the process ends with the exit code of its error.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    over = threading.Event()

    def answers() -> bool:
        try:
            socket.create_connection((host, int(port)), timeout=_EVERY_SECONDS).close()
        except OSError:
            return False
        return True

    def watch() -> None:
        misses = 0
        while misses < _MISSES:
            if over.wait(_EVERY_SECONDS):
                return
            misses = 0 if answers() else misses + 1
        error = InfrastructureError(
            f"Ray: its head at {host}:{port} must answer, got nothing for "
            f"{_MISSES * _EVERY_SECONDS:.0f} s. No result is lost: start the cluster again, "
            "then run `ablate resume`."
        )
        dispatcher.fail(error)
        if not over.wait(_LEAVE_SECONDS):
            dispatcher.close()
            sys.stderr.write(f"ablate: {error}\n")
            sys.stderr.flush()
            os._exit(error.exit_code)

    threading.Thread(target=watch, name="ablate-head", daemon=True).start()
    try:
        yield
    finally:
        over.set()


_LOOK_SECONDS = 2


class NodeWatch:
    """Says which nodes were lost, by Ray's table of nodes; at the next look, when Ray has said why.

    Args:
        say: called with a line about each.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._alive: dict[str, str] = {}
        self._gone: list[str] = []
        self._looked = 0.0

    def look(self, *, at_once: bool = False) -> None:
        """Ask Ray for its nodes, at most once in two seconds."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS and not at_once:
            return
        self._looked, nodes = now, [node for node in ray.nodes() if node["Alive"]]
        alive = {node["NodeID"]: node_name(node) for node in nodes}
        has_room = any(node["Resources"].get("CPU") for node in nodes)
        where = "on another node" if has_room else "when one is available"
        for name in self._gone:
            self._say(f"node {name} was lost; trials that ran there continue {where}.")
        self._gone = [self._alive[key] for key in self._alive.keys() - alive.keys()]
        self._alive = alive
