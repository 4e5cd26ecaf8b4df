"""The nodes of a cluster, compared before the first trial: versions, data, baseline, folders.

A row's score must not depend on the node that ran it.  So a node that differs is refused by name,
the baseline is trained on one node and copied to the others, and a node that joins later is
compared by the first worker that starts on it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from ablate.errors import (
    AblateError,
    DataError,
    FingerprintError,
    UsageError,
)
from ablate.files.damage import heard_damage
from ablate.search.cluster import node_checks as paths
from ablate.search.cluster.node_checks import (
    BaselineFiles,
    compare_versions,
    look_at_packages,
    read_baseline,
    receive_baseline,
    refuse_other_environment,
    refuse_other_versions,
)
from ablate.search.cluster.tasks import (
    LOOK_SECONDS,
    Node,
    answer,
    is_idle,
    named,
    run_told,
    submit,
    this_node,
)
from ablate.study.by_value import given_functions, keep_functions
from ablate.study.preparation import OnStep, PreparationStep, ignore_step
from ablate.study.settings import path_from
from ablate.trial.task import Job, Prepared
from ablate.trial.worker import Worker


@dataclass(frozen=True)
class SentJob:
    """A job on its way to a worker: its text, and the functions that it was given by value, which
    Ray pickles."""

    text: str
    functions: Mapping[str, Callable[..., Any]]

    @classmethod
    def of(cls, job: Job) -> SentJob:
        return cls(job.to_text(), given_functions(job.study.model_dump(mode="json")))

    def take(self) -> Job:
        """The job, with its functions known in this process."""
        keep_functions(self.functions)
        return Job.from_text(self.text)


@dataclass(frozen=True)
class Agreed:
    """What the nodes agree on, for the workers of one run.

    Attributes:
        versions: of python and packages, by name.
        prepared: what the first node prepared.
        baseline: a reference to its `BaselineFiles`; None if the study has no baseline.
        nodes: ids of the nodes that were compared.
        apart: ids of those that do not see the run's folder; their weights are sent through Ray.
        driver: id of the driver's node.
        token: of the probe in the folder of the checkpoints.
    """

    versions: Mapping[str, str]
    prepared: Prepared
    baseline: ray.ObjectRef | None
    nodes: frozenset[str]
    apart: frozenset[str]
    driver: str
    token: str


def agree(
    job: Job,
    nodes: Sequence[Node],
    cpus: float,
    gpus: float,
    *,
    first_cpus: float | None = None,
    on_step: OnStep = ignore_step,
) -> Agreed:
    """Compare the nodes, and prepare each.

    Args:
        job: with `gpus_per_trial` resolved.
        nodes: at least one; the first makes what is copied to the others.
        cpus, gpus: of a trial; also used for the preparation.
        first_cpus: of the first node's preparation, which trains the baseline; None: as a trial.
        on_step: called with the steps of the first node.

    Raises:
        UsageError: if a node differs or does not see the checkpoints' folder; the message names it.
        DataError: if a node has other data or no data.
        InfrastructureError: if a node is lost meanwhile.
    """
    versions = compare_versions(nodes, torch=job.study.trainable is None)
    token = secrets.token_hex(8)
    apart = _check_folders(job, nodes, token)
    first, *others = nodes
    prepared, files = run_told(
        first, _prepare_first, SentJob.of(job), on_step=on_step, cpus=first_cpus or cpus, gpus=gpus
    )
    if others:
        on_step(PreparationStep("preparing the other nodes", total=len(others), unit="nodes"))
    baseline = None if files is None else ray.put(files)
    waiting = []
    for node in others:
        cores = node.cpus if is_idle(node) else cpus
        given = (SentJob.of(job), prepared, [baseline], int(cores))
        waiting.append((node, submit(node, prepare_like, *given, cpus=cores, gpus=gpus)))
    for done, (node, reference) in enumerate(waiting, start=1):
        told = tuple(f"node {node.name}: {text}" for text in answer(node, reference))
        prepared = replace(prepared, notes=prepared.notes + told)
        on_step(PreparationStep("preparing the other nodes", done, len(others), "nodes"))
    ids = frozenset(node.id for node in nodes)
    return Agreed(versions, prepared, baseline, ids, apart, this_node().id, token)


def forget(job: Job, agreed: Agreed) -> None:
    """Remove the probes of a run."""
    for folder in {job.folder, job.checkpoints}:
        paths.take_token(folder, agreed.token)


def join(job: Job, agreed: Agreed) -> tuple[bool, tuple[str, ...]]:
    """Compare the node of this worker, if that was not done yet.

    Returns:
        (whether the node does not see the run's folder, what was damaged and regenerated).

    Raises:
        AblateError: if it differs; the message names the node.
    """
    node = this_node()
    if node.id in agreed.nodes:
        return node.id in agreed.apart, ()
    refuse_other_versions(node, agreed.versions, look_at_packages()(list(agreed.versions)))
    if wrong := paths.see_token(job.checkpoints, agreed.token, node.id, write=False):
        raise _unseen(node, job.checkpoints, wrong)
    try:
        told = prepare_like(SentJob.of(job), agreed.prepared, [agreed.baseline], None)
    except AblateError as error:
        raise named(node, error) from error
    return bool(paths.see_token(job.folder, agreed.token, node.id, write=False)), told


def prepare_alone(job: Job, node: Node, cpus: float, gpus: float, *, on_step: OnStep) -> Prepared:
    """Prepare on the only node.

    Raises:
        AblateError: as preparing does.
        InfrastructureError: if its process is lost.
    """
    prepared: Prepared = run_told(
        node, _prepare, SentJob.of(job), on_step=on_step, cpus=cpus, gpus=gpus, by_name=False
    )
    return prepared


def _prepare(sent: SentJob, *, on_step: OnStep) -> Prepared:
    job = sent.take()
    return Worker(job).prepare(on_step, cores=job.free_cores)


def prepare_like(
    sent: SentJob,
    prepared: Prepared,
    baseline: Sequence[ray.ObjectRef | None],
    cores: int | None,
) -> tuple[str, ...]:
    """Prepare this node like the first, and compare.

    Args:
        prepared: what the first node made.
        baseline: one reference, or none; in a list, so that Ray passes the reference itself.
        cores: as `Worker.prepare` has it.

    Returns:
        What was damaged and regenerated.

    Raises:
        DataError, FingerprintError, UsageError: what differs.
    """
    job = sent.take()
    damage: Sequence[str] = ()
    if baseline[0] is not None:
        refuse_other_environment(prepared.environment, _workbench(job).environment.to_json())
        files: BaselineFiles = ray.get(baseline[0])
        with heard_damage() as damage:
            receive_baseline(Path(job.cache), files)
    here = Worker(job).prepare(cores=cores)
    refuse_other_environment(prepared.environment, here.environment)
    if (here.data_digest, here.of_files) != (prepared.data_digest, prepared.of_files):
        raise DataError(
            f"dataset: the data must match the other nodes, got different data ({_data(job)}). "
            "Copy the same data there, or use a path that all nodes share."
        )
    if here.baseline_sha256 != prepared.baseline_sha256:
        raise FingerprintError(
            "baseline: the weights must match the other nodes, got different ones. "
            "Copy the same checkpoint there."
        )
    return (*damage, *here.notes)


def keep_weights(agreed: Agreed, file: Path) -> None:
    """Move a file of finetuned weights from this node to the same path at the driver's.

    Raises:
        InfrastructureError: if it cannot be written there.
    """
    driver = Node(agreed.driver, "of the driver")
    answer(driver, submit(driver, _write, str(file), file.read_bytes()))
    file.unlink()


def _write(file: str, content: bytes) -> None:
    from ablate.files.cache import publish_file

    publish_file(Path(file), lambda temporary: temporary.write_bytes(content))


def _prepare_first(sent: SentJob, *, on_step: OnStep) -> tuple[Prepared, BaselineFiles | None]:
    job = sent.take()
    prepared = _prepare(sent, on_step=on_step)
    if job.study.trainable is not None:
        return prepared, None
    return prepared, read_baseline(_workbench(job).baseline.path.parent)


def check_worker(job: Job, environment: Mapping[str, Any]) -> None:
    """Compare this process with what the trials were prepared in: it may have got another GPU, or
    one that torch does not see.

    Raises:
        FingerprintError, ResourceError: if its scores would be others.
    """
    if job.study.trainable is None:
        refuse_other_environment(environment, _workbench(job).environment.to_json())


def _workbench(job: Job) -> Any:
    from ablate.trial.workbench import Workbench

    return Workbench.get(
        job.study, Path(job.base), Path(job.cache), baseline_threads=job.baseline_threads
    )


def _check_folders(job: Job, nodes: Sequence[Node], token: str) -> frozenset[str]:
    """Ids of the nodes that do not see the run's folder.

    Raises:
        UsageError: if a node does not see the folder of the checkpoints.
    """
    apart = set()
    folders = dict.fromkeys((job.checkpoints, job.folder))
    for folder in folders:
        paths.put_token(folder, token)
    for folder in folders:
        waiting = [(node, submit(node, paths.see_token, folder, token, node.id)) for node in nodes]
        for node, reference in waiting:
            wrong = answer(node, reference, LOOK_SECONDS)
            if not wrong and not paths.answered(folder, token, node.id):
                wrong = "the driver cannot see the node's files"
            if wrong and folder == job.checkpoints:
                for one in folders:
                    paths.take_token(one, token)
                raise _unseen(node, folder, wrong)
            if wrong:
                apart.add(node.id)
    return frozenset(apart)


def _unseen(node: Node, folder: str, wrong: str) -> UsageError:
    return UsageError(
        f"run.checkpoints: every node must see {folder}, got node {node.name}: {wrong}. Run the "
        "command in a folder that all nodes share, or set run.checkpoints: s3://BUCKET/FOLDER."
    )


def _data(job: Job) -> str:
    dataset = job.study.dataset
    return dataset.name if dataset.path is None else str(path_from(Path(job.base), dataset.path))
