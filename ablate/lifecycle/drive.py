"""One run of a study: its executor, its lease, and all rows.

`launch.py` decides whether a study may be started or resumed.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ablate.errors import InfrastructureError, StorageError, UsageError
from ablate.files.cache import cache_folder
from ablate.files.durable import check_writable, is_uri
from ablate.files.shown import show_name
from ablate.ledger.driving import Driving
from ablate.ledger.lease import Lease
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import (
    ADAPTED,
    GOING,
    Drive,
    Head,
    StudyRecord,
)
from ablate.lifecycle.known_names import named_callables
from ablate.lifecycle.mixtures import keeper_of, make_mixtures
from ablate.lifecycle.open_study import open_ledger, open_place
from ablate.lifecycle.place import Place, shown_folder
from ablate.search.callbacks import Callbacks
from ablate.search.drive import CallbackStop, Executor, Stops, Terminated, drive, held
from ablate.search.failures import Failing
from ablate.search.progress import EventLog, Guarded, Progress
from ablate.search.run_context import Janitor, RunContext, Spending
from ablate.study.callables import given_functions, remember_import
from ablate.study.preparation import PreparationStep, fed_text
from ablate.study.provenance import provenance
from ablate.study.scores import Bound, Scores
from ablate.study.settings import Study, TrackerSettings, path_from
from ablate.trackers import Tracker, make_trackers
from ablate.trackers.feed import CaughtUp, Feed, catch_up
from ablate.trial.task import Job, Prepared

ExecutorName = Literal["ray", "inline"]

_KEEP_SECONDS = 1.0
"""Seconds between two progress updates of a preparation in the ledger."""


_OF_FINETUNING = ("torch", "ray.tune", "scipy.ndimage", "safetensors.torch", "jaxtyping")
"""Packages that take seconds to import in a worker.  Not ablate: what the driver calls that may be
beside what is installed."""


@dataclass(frozen=True)
class RunOptions:
    """How a study is run; nothing here affects scores.

    Attributes:
        executor: "ray", or "inline": one trial after another in this process.
        ray_address: of a running cluster; None starts Ray on this machine.
        takeover: drive the study even if another driver seems to be alive.
        accept_environment: continue although device, precision, `run.compile`, threads, torch, the
            code of a training loop or a retrained baseline have changed.
        accept_baseline: go on although plain finetuning makes the baseline much better.
        edit_space: take the space of the study file, and keep the rows that lie in it.
        register: of `launch`: store and print a digest of the new study before its first run.
        progress: receives progress events; its exceptions are ignored.
        callbacks: of the user.
    """

    executor: ExecutorName = "ray"
    ray_address: str | None = None
    takeover: bool = False
    accept_environment: bool = False
    accept_baseline: bool = False
    edit_space: bool = False
    register: bool = False
    progress: Progress = field(default_factory=Progress)
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        object.__setattr__(self, "progress", Guarded(self.progress))


def make_executor(run: RunOptions, study: Study) -> Executor:
    """Make the executor; close it when done."""
    if run.executor == "inline":
        from ablate.search.drive import InlineExecutor

        return InlineExecutor(study.run, loads_torch=study.trainable is None)
    # In a notebook, importing it advises packages for output that is turned off.
    logging.getLogger("ray.widgets").setLevel(logging.WARNING)
    with held():  # half an import cannot be repeated
        from ablate.search.ray_tune import RayExecutor

    return RayExecutor(study.run, run.ray_address, () if study.trainable else _OF_FINETUNING)


@contextmanager
def leased(ledger: Ledger, run: RunOptions) -> Iterator[Lease]:
    lease = ledger.lease()
    lease.acquire(takeover=run.takeover)
    try:
        lease.keep(lambda _error: None)  # the next write says that it was lost
        ledger.end_left_drive(lease.last_sign)
        yield lease
    finally:
        lease.release()


@dataclass(frozen=True)
class Running:
    """A started executor, and what it runs.

    Attributes:
        folder: of the run.
        stops: handles signals.
    """

    executor: Executor
    job: Job
    folder: Path
    stops: Stops
    trackers: tuple[Tracker, ...] = ()


@contextmanager
def running_on(
    place: Place,
    head: Head,
    study: Study,
    base: Path,
    run: RunOptions,
    *,
    baseline_threads: int | None = None,
) -> Iterator[Running]:
    """Start an executor, and close it in the end; signals are handled from now on.

    Args:
        study, base: as the file is now.
        baseline_threads: number of threads that trained the baseline before; None: all cores of the
            node.
    """
    given_functions(study.model_dump(mode="json"))  # of this process, or it says so
    stops = Stops()
    trackers = make_trackers(study.run.trackers, base, place.folder)
    with stops.heard():
        checkpoints = checkpoint_root(study, base, place.folder, head.identity)
        check_writable(checkpoints)
        run.progress.preparing(PreparationStep("starting the workers"))
        executor = make_executor(run, study)
        try:
            resolved = study.run.model_copy(update={"gpus_per_trial": executor.gpus_per_trial})
            job = Job(
                study=study.model_copy(update={"run": resolved}),
                base=str(base),
                cache=str(cache_folder()),
                folder=str(place.folder),
                checkpoints=checkpoints,
                test=head.test,
                baseline_threads=baseline_threads or executor.free_cores,
                free_cores=executor.free_cores,
            )
            with stops.heard():  # Ray has put its own handlers in between
                yield Running(executor, job, place.folder, stops, trackers)
        finally:
            executor.close()


def checkpoint_root(study: Study, base: Path, folder: Path, identity: str) -> str:
    """The folder of a study's training states: an absolute path, or an fsspec URI.

    Args:
        base: absolute folder of the study file; folder: of the run.
        identity: of the study, so that two studies of one name do not share a folder.
    """
    given = study.run.checkpoints
    if given is None:
        return str(folder / "checkpoints" / identity)
    if is_uri(given):
        return f"{given.rstrip('/')}/{study.name}-{identity}"
    return str((path_from(base, given) / f"{study.name}-{identity}").absolute())


def prepare(ledger: Ledger, running: Running, run: RunOptions) -> Prepared:
    """Prepare data, baseline and evaluation set; the progress is stored in the ledger."""
    events = EventLog(running.folder)
    kept_at, what = 0.0, ""

    def on_step(step: PreparationStep) -> None:
        nonlocal kept_at, what
        run.progress.preparing(step)
        if step.what != what:
            events.driver("preparing", text=step.what)
            what = step.what
        if not ledger.head.is_prepared and time.monotonic() - kept_at > _KEEP_SECONDS:
            with suppress(StorageError):  # only for display
                ledger.set_preparing(step)
            kept_at = time.monotonic()

    study = running.job.study
    for name in named_callables(study):
        remember_import(name, Path(running.job.base))
    if study.trainable is not None:
        on_step(PreparationStep(f"importing {study.trainable}"))
    prepared = running.executor.prepare(running.job, on_step)
    notes, scores = list(prepared.notes), prepared.baseline_scores
    if scores is not None:
        fed = fed_text(scores.clean_accuracy, scores.n_images, prepared.preprocessing)
        file = running.job.study.baseline.checkpoint
        which = "the baseline" if file is None else f"the baseline, {show_name(file)},"
        notes.append(f"{which} is right on {fed}")
    for text in notes:
        run.progress.note(text)
        events.driver("note", text=text)
    return prepared


def drive_to_end(
    ledger: Ledger, lease: Lease, running: Running, prepared: Prepared, run: RunOptions
) -> StudyRecord:
    """Run all rows of a prepared study, as far as they have not ended."""
    _store_references(ledger, prepared)
    executor, job = running.executor, running.job
    record = ledger.read()
    events = EventLog(running.folder)
    janitor = Janitor(running.folder, job.checkpoints)
    keeper = keeper_of(record)
    janitor.remove_weights(keeper.resume(record.rows))
    unended: set[int | None] = {row.number for row in record.rows if row.state in GOING}
    if record.lacks_plain:
        unended.add(None)
    janitor.remove_states_except(unended)  # what a killed driver may have left
    drive_now = Drive(
        started=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
        parallel=executor.parallel,
        gpus_per_trial=executor.gpus_per_trial,
        checkpoints=job.checkpoints,
        provenance=provenance(Path(job.base)),
    )
    feed = None

    def note_tracker(text: str) -> None:
        run.progress.note(text)
        events.driver("tracker", text=text)

    if running.trackers:
        begun = replace(record, drives=(*record.drives, drive_now))
        feed = Feed(running.trackers, begun, ledger.head, note_tracker)
    context = RunContext(
        progress=run.progress,
        events=events,
        feed=None if feed is None else feed.ended,
        janitor=janitor,
        weights_to_remove=keeper.completed,
        spending=Spending(record, executor.gpus_per_trial),
        failing=Failing(record.rows, executor.parallel, record.study.run.max_failed_fraction),
        grace_seconds=record.study.run.grace_seconds,
        accept_baseline=run.accept_baseline,
        rung_bounds=rung_bounds(record, prepared),
        callbacks=run.callbacks,
    )
    driving = Driving(ledger)
    ledger.begin_drive(drive_now)
    events.driver("drive_started", rows=len(record.rows), trials=record.trials)
    run.progress.totals(record)
    end = "failed"
    try:
        drive(driving, lease, executor, job, context, stops=running.stops)
        make_mixtures(ledger, running, run)
        end = "finished"
    except (KeyboardInterrupt, Terminated, CallbackStop):
        end = "stopped"
        raise
    finally:
        if feed is not None:
            feed.close()
        janitor.close()
        events.driver("drive_ended", end=end)
        with suppress(InfrastructureError):  # the next driver records it by the last heartbeat
            ledger.update_drive(ended=time.time(), end=end)
        lease.check_file()  # a deleted database is reported, whatever else ended the drive
    if feed is not None and feed.wait():
        command = f"`ablate track {shown_folder(running.folder)}`"
        for done in catch_up(running.trackers, ledger.read(), ledger.head):
            note_tracker(done.text(command))
    lease.release()  # so that reading shows no driver
    return ledger.read()


def _store_references(ledger: Ledger, prepared: Prepared) -> None:
    """Scores and bits of the baseline, and of the same adapted."""
    for name, scores, kept in (
        ("baseline", prepared.baseline_scores, prepared.kept),
        (ADAPTED, prepared.adapted_scores, prepared.adapted_kept),
    ):
        # Once, all of one network: after an accepted change it may have other bits.
        if kept is not None and name not in ledger.outcomes(())[1]:
            if "test" in kept:
                ledger.set_reference(name, Scores.from_json(kept["test"]))
            ledger.set_outcomes(name, kept["outcomes"])
        if scores is not None and name not in ledger.references:
            ledger.set_reference(name, scores)


def rung_bounds(record: StudyRecord, prepared: Prepared) -> tuple[Bound, ...]:
    """The constraints in numbers on the images of a rung."""
    if prepared.rung_scores is None or not record.bounds:
        return record.bounds
    return record.study.bounds(prepared.rung_scores.metrics())


def track_rows(ledger: Ledger, place: Place, settings: Sequence[TrackerSettings]) -> list[CaughtUp]:
    """Bring trackers up to date with a study that no driver runs.

    Raises:
        MissingDependencyError: if a tracker's package is not installed.
        LeaseError: if a driver runs the study: it does so at its end.
        UsageError: if none has, so that there is nothing to write.
    """
    done = []
    for part in open_place(place).replicates:
        if part.record.drives:
            with closing(open_ledger(part.place)) as of_part:
                done.append(track_rows(of_part, part.place, settings))
    if done:
        return [
            replace(
                each[0],
                written=sum(one.written for one in each),
                rows=sum(one.rows for one in each),
                failed=next((one.failed for one in each if one.failed), ""),
            )
            for each in zip(*done, strict=True)
        ]
    trackers = make_trackers(settings, Path(ledger.head.base), place.folder)
    with leased(ledger, RunOptions()):
        record = ledger.read()
        if not record.drives:
            raise UsageError(
                f"study {record.name}: must have started a trial, got one that was stopped in its "
                "preparation. Start it again: ablate launch FILE."
            )
        return catch_up(trackers, record, ledger.head)
