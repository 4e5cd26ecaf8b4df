"""The nodes of a Ray cluster: running functions on them, how many trials fit, and what must agree.

A row's score must not depend on the node that ran it.  So a node that differs is refused by name,
the baseline is trained on one node and copied to the others, and a node that joins later is
compared by the first worker that starts on it.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import ray
from fsspec.core import url_to_fs
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ablate.errors import (
    AblateError,
    DataError,
    FingerprintError,
    InfrastructureError,
    ResourceError,
    StudyFileError,
    UsageError,
    error_text,
    unexpected,
)
from ablate.files.cache import heard_damage, locked, publish_file, publish_folder, say_made_again
from ablate.finetune.baseline_record import WEIGHTS, read_record
from ablate.search.ray_private import has_all_cpus
from ablate.study.callables import given_functions, keep_functions
from ablate.study.preparation import OnStep, PreparationStep, ignore_step
from ablate.study.settings import RunSettings, path_from
from ablate.trial.task import Job, Prepared
from ablate.trial.worker import Worker

Work = Callable[[Job, OnStep], Any]
"""A function of a job, that says how far it is."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster that can run a trial.

    Attributes:
        name: its host and address, for messages; empty: it is not named there.
        cpus: as Ray counts them.
    """

    id: str
    name: str
    cpus: int = 0


def fitting_nodes(cpus: float, gpus: float) -> list[Node]:
    """Alive nodes that can run a trial, the driver's own first."""
    own = this_node().id
    nodes = [
        Node(node["NodeID"], node_name(node), int(node["Resources"].get("CPU", 0)))
        for node in ray.nodes()
        if node["Alive"]
        and node["Resources"].get("CPU", 0) >= cpus
        and node["Resources"].get("GPU", 0) >= gpus
    ]
    return sorted(nodes, key=lambda node: (node.id != own, node.id))


def node_name(node: dict[str, Any]) -> str:
    """Host and address of an entry of `ray.nodes()`."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def this_node() -> Node:
    """The node that this process runs on."""
    return Node(
        ray.get_runtime_context().get_node_id(),
        f"{socket.gethostname()} ({ray.util.get_node_ip_address()})",
    )


def submit(
    node: Node,
    function: Callable[..., Any],
    *arguments: Any,
    cpus: float = 0,
    gpus: float = 0,
    **options: Any,
) -> Any:
    """Run a function on a node; the process of a function that uses CPUs ends, to free memory.

    Args:
        options: of `ray.remote`.
    """
    return (
        ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1 if cpus else 0, **options)(function)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        .remote(*arguments)
    )


def answer(node: Node, reference: ray.ObjectRef, timeout: float | None = None) -> Any:
    """The result of a function on a node.

    Args:
        timeout: seconds; None: no limit.

    Raises:
        AblateError: as the function did.
        InfrastructureError: if the node is lost, or takes longer.
        UnexpectedError: if the function raised an unexpected exception.
    """
    with _one_line(node):
        return ray.get(reference, timeout=timeout)


@contextmanager
def _one_line(node: Node) -> Iterator[None]:
    """Convert Ray's errors to errors of `ablate` that name the node."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AblateError):
            raise named(node, error.cause) from None
        raise unexpected(_where(node), error.cause) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        raise InfrastructureError(
            f"{_where(node)}: must answer, got {reason} Look at `ray status`, then try again."
        ) from error


def _where(node: Node) -> str:
    return f"node {node.name}" if node.name else "this machine"


def named(node: Node, error: AblateError) -> AblateError:
    """The same error, naming the node that it is about."""
    where = f"node {node.name}: "
    if isinstance(error, StudyFileError) or not node.name or str(error).startswith(where):
        return error  # the first names file and line, which belong to the driver
    return type(error)(f"{where}{error}")


# -- How many trials fit on the nodes -------------------------------------------------------


def resolve_gpus(settings: RunSettings) -> float:
    """GPUs per trial: the requested number, or 1 if Ray sees any.

    Raises:
        ResourceError: if no node has as many.
    """
    there = max((node.get("GPU", 0.0) for node in _alive()), default=0.0)
    asked = settings.gpus_per_trial
    if asked == "auto":
        return 1.0 if there else 0.0
    if asked > there:
        raise ResourceError(
            f"run.gpus_per_trial: must be at most the GPUs of a node, got {asked:g} where Ray sees "
            f"{there:g}. Set it to 0, or run on a machine with GPUs (`ablate doctor`)."
        )
    return asked


def resolve_parallel(settings: RunSettings, gpus: float) -> int:
    """Trials in parallel: as many as fit on the nodes, each on one node, or fewer if requested.

    Raises:
        ResourceError: if a trial fits on no node.
    """
    cpus, nodes = settings.cpus_per_trial, _alive()
    most = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    if cpus > most:
        raise ResourceError(
            f"run.cpus_per_trial: must fit on one node, got {cpus} where the largest has "
            f"{most:g} CPUs. Lower it."
        )

    def count_on(node: dict[str, float]) -> int:
        by_cpu, there = int(node.get("CPU", 0.0) // cpus), int(node.get("GPU", 0.0))
        if not gpus:
            return by_cpu
        # A fraction of a GPU is never split over two.
        return min(by_cpu, there * int(1 / gpus + 1e-9) if gpus < 1 else int(there // gpus))

    fitting = sum(map(count_on, nodes))
    if not fitting:
        raise ResourceError(
            f"run.cpus_per_trial: CPUs and GPUs of a trial must fit on one node, got {cpus} and "
            f"{gpus:g}. Lower cpus_per_trial or gpus_per_trial."
        )
    return fitting if settings.parallel == "auto" else min(settings.parallel, fitting)


def _alive() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


# -- What the nodes must agree on ----------------------------------------------------------

LOOK_SECONDS = 120
"""A node that takes longer to read a file or a version counts as lost."""


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
        baseline: a reference to its files (`read_baseline`); None if the study has no baseline.
        nodes: ids of the nodes that were compared.
        apart: ids of those that do not see the run's folder; their weights are sent through Ray.
        driver: id of the driver's node.
        token: name of a file that the driver has put into its folders.
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
    token = f".ablate-probe-{secrets.token_hex(8)}"
    look = look_at_node()
    packages = ["python", *(["torch"] if job.study.trainable is None else []), "ray", "ablate"]
    versions, _ = look(packages, [], token)
    folders = _folders(job)
    apart: set[str] = set()
    try:
        for folder in folders:
            _put_token(folder, token)
        waiting = [(node, submit(node, look, packages, folders, token)) for node in nodes]
        for node, reference in waiting:
            there, unseen = answer(node, reference, LOOK_SECONDS)
            _refuse(node, job, versions, there, unseen)
            if job.folder in unseen:
                apart.add(node.id)
    except BaseException:
        forget(job, token)
        raise
    first, *others = nodes
    work, cores = partial(prepare_job, with_files=True), first_cpus or cpus
    prepared, files = run_on(first, job, work, on_step=on_step, cpus=cores, gpus=gpus)
    agreed = Agreed(
        versions=versions,
        prepared=prepared,
        baseline=None if files is None else ray.put(files),
        nodes=frozenset([first.id]),
        apart=frozenset(apart),
        driver=this_node().id,
        token=token,
    )
    if others:
        on_step(PreparationStep("preparing the other nodes", total=len(others), unit="nodes"))
    joining = []
    for node in others:
        cores = node.cpus if has_all_cpus(node.id, node.cpus) else cpus
        more = (SentJob.of(job), agreed, int(cores))
        joining.append((node, submit(node, join, *more, cpus=cores, gpus=gpus)))
    notes = prepared.notes
    for done, (node, reference) in enumerate(joining, start=1):
        notes += tuple(f"node {node.name}: {text}" for text in answer(node, reference)[1])
        on_step(PreparationStep("preparing the other nodes", done, len(others), "nodes"))
    ids = frozenset(node.id for node in nodes)
    return replace(agreed, nodes=ids, prepared=replace(prepared, notes=notes))


def join(sent: SentJob, agreed: Agreed, cores: int | None = None) -> tuple[bool, tuple[str, ...]]:
    """Compare the node of this process and prepare it like the first, if that was not done yet.

    Args:
        cores: as `Worker.prepare` has it.

    Returns:
        (whether the node does not see the run's folder, what was damaged and regenerated).

    Raises:
        DataError, FingerprintError, UsageError: what differs; the message names the node.
    """
    node, job, first = this_node(), sent.take(), agreed.prepared
    if node.id in agreed.nodes:
        return node.id in agreed.apart, ()
    there, unseen = look_at_node()(list(agreed.versions), _folders(job), agreed.token)
    _refuse(node, job, agreed.versions, there, unseen)
    damage: Sequence[str] = ()
    try:
        if agreed.baseline is not None:
            check_worker(job, first.environment)
            name, files = ray.get(agreed.baseline)
            with heard_damage() as damage:
                receive_baseline(Path(job.cache), name, files)
        here = Worker(job).prepare(cores=cores)
        both = [{**one.environment, **one.code} for one in (first, here)]
        _refuse_other_environment(*both)
        if (here.data_digest, here.of_files) != (first.data_digest, first.of_files):
            dataset = job.study.dataset
            data = dataset.name if dataset.path is None else path_from(Path(job.base), dataset.path)
            raise DataError(
                f"dataset: the data must match the other nodes, got different data ({data}). "
                "Copy the same data there, or use a path that all nodes share."
            )
        if here.baseline_sha256 != first.baseline_sha256:
            raise FingerprintError(
                "baseline: the weights must match the other nodes, got different ones. "
                "Copy the same checkpoint there."
            )
    except AblateError as error:
        raise named(node, error) from error
    return job.folder in unseen, (*damage, *here.notes)


def forget(job: Job, token: str) -> None:
    """Remove what `agree` has put into the folders of a run."""
    for folder in _folders(job):
        with suppress(Exception):
            system, path = url_to_fs(folder)
            system.rm_file(f"{path.rstrip('/')}/{token}")


# -- Versions and folders ------------------------------------------------------------------


def look_at_node() -> Callable[[Sequence[str], Sequence[str], str], Any]:
    """Make a function that looks at a node: it gives its versions of packages, and what is wrong
    with each folder that is not the driver's, or cannot be written.

    Ray sends it by value, so that it also runs where ablate cannot be imported.
    """

    def look(
        packages: Sequence[str], folders: Sequence[str], token: str
    ) -> tuple[dict[str, str], dict[str, str]]:
        import hashlib
        import importlib
        import os
        import platform
        from importlib import metadata
        from pathlib import Path

        versions, unseen = {}, {}
        for name in packages:
            try:
                versions[name] = (
                    platform.python_version() if name == "python" else metadata.version(name)
                )
            except metadata.PackageNotFoundError:
                versions[name] = "none"
        try:
            package = importlib.import_module("ablate")
            root = Path(str(package.__file__)).parent
            code = hashlib.sha256()
            for file in sorted(root.rglob("*.py")):
                code.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
            versions["ablate"] = f"{package.__version__} with code {code.hexdigest()[:10]}"
        except Exception as error:
            text = f"one that cannot be imported ({type(error).__name__}: {error})"
            versions["ablate"] = text
        for folder in folders:
            try:
                from fsspec.core import url_to_fs

                system, path = url_to_fs(folder)
                system.cat_file(f"{path.rstrip('/')}/{token}")
                own = f"{path.rstrip('/')}/{token}-{os.getpid()}"
                system.pipe_file(own, b"")
                system.rm_file(own)
            except FileNotFoundError:
                unseen[folder] = "the driver's files are missing there"
            except Exception as error:
                unseen[folder] = f"{type(error).__name__}: {error}"
        return versions, unseen

    return look


def _refuse(
    node: Node,
    job: Job,
    versions: Mapping[str, str],
    there: Mapping[str, str],
    unseen: Mapping[str, str],
) -> None:
    """Refuse a node whose packages differ from the driver's, or that does not see checkpoints.

    Raises:
        UsageError: naming the node and what differs there.
    """
    different = [name for name in versions if versions[name] != there[name]]
    if different:
        listed = "; ".join(f"{name} {there[name]} (here {versions[name]})" for name in different)
        raise UsageError(
            f"node {node.name}: packages must match the driver's, got {listed}. "
            "Install the same versions there, or remove the node from the cluster."
        )
    if job.checkpoints in unseen:
        raise UsageError(
            f"run.checkpoints: every node must see {job.checkpoints}, got node {node.name}: "
            f"{unseen[job.checkpoints]}. Run the command in a folder that all nodes share, or set "
            "run.checkpoints: s3://BUCKET/FOLDER."
        )


def _put_token(folder: str, token: str) -> None:
    try:
        system, path = url_to_fs(folder)
        with suppress(FileExistsError, NotImplementedError):
            system.makedirs(path, exist_ok=True)
        system.pipe_file(f"{path.rstrip('/')}/{token}", token.encode())
    except Exception as error:  # each file system of fsspec has its own errors
        raise InfrastructureError(
            f"{folder}: must be a writable folder, got {error_text(error)}. Change its "
            "permissions, or run.checkpoints."
        ) from error


def _folders(job: Job) -> list[str]:
    return list(dict.fromkeys((job.checkpoints, job.folder)))


# -- What a node prepares ------------------------------------------------------------------


def run_on(node: Node, job: Job, work: Work, *, on_step: OnStep, cpus: float, gpus: float) -> Any:
    """Run a function of a job on a node, and forward each of its steps.

    Raises:
        AblateError, InfrastructureError: as `answer`.
    """
    given: Any = None
    with _one_line(node):
        options: Any = {"cpus": cpus, "gpus": gpus, "num_returns": "streaming"}
        for reference in submit(node, _steps_of, SentJob.of(job), work, **options):
            given = ray.get(reference)
            if isinstance(given, PreparationStep):
                on_step(given)
    return given


def _steps_of(sent: SentJob, work: Work) -> Iterator[Any]:
    """Yields the steps of a function in this process, then its result."""
    steps: SimpleQueue[Any] = SimpleQueue()

    def run() -> None:
        try:
            steps.put((work(sent.take(), steps.put),))
        except BaseException as error:
            steps.put(error)

    Thread(target=run, name="ablate-prepare", daemon=True).start()
    given: Any = None
    while not isinstance(given, tuple):
        given = steps.get()
        if isinstance(given, BaseException):
            raise given
        yield given[0] if isinstance(given, tuple) else given


def prepare_job(
    job: Job, on_step: OnStep, *, with_files: bool
) -> tuple[Prepared, tuple[str, dict[str, bytes]] | None]:
    """Prepare a job, as `Worker.prepare` does.

    Args:
        with_files: also give the files of the baseline, for other nodes; a trainable has none.
    """
    prepared, files = Worker(job).prepare(on_step, cores=job.free_cores), None
    if with_files and job.study.trainable is None:
        files = read_baseline(_workbench(job).baseline.path.parent)
    return prepared, files


def check_worker(job: Job, environment: Mapping[str, Any]) -> None:
    """Compare this process with what the trials were prepared in: it may have got another GPU, or
    one that torch does not see.

    Raises:
        FingerprintError, ResourceError: if its scores would be others.
    """
    if job.study.trainable is None:
        _refuse_other_environment(environment, _workbench(job).environment.to_json())


def _refuse_other_environment(first: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    different = [
        f"{key} {here.get(key)} (elsewhere {first[key]})"
        for key in first
        if key != "device_name" and here.get(key) != first[key]
    ]
    if different:
        raise FingerprintError(
            f"environment: must match that of the preparation, got {'; '.join(different)}. Scores "
            "would differ: set run.precision, or remove the node or GPU that differs."
        )


def _workbench(job: Job) -> Any:
    from ablate.trial.workbench import Workbench

    return Workbench.get(
        job.study, Path(job.base), Path(job.cache), baseline_threads=job.baseline_threads
    )


# -- Weights that are copied: a baseline to the other nodes, a trial's to the driver -------


def read_baseline(entry: Path) -> tuple[str, dict[str, bytes]]:
    """Name and files of a baseline in this node's cache."""
    files = {file.name: file.read_bytes() for file in sorted(entry.iterdir()) if file.is_file()}
    return entry.name, files


def receive_baseline(cache: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Put a baseline into this node's cache; an existing intact one is kept.

    Args:
        cache: folder that holds `baselines/`.

    Raises:
        FingerprintError: if the cache has one with the same settings and other bits, which another
            study may be using.
        UsageError: if the cache cannot be written.
    """
    entry = cache / "baselines" / name
    with locked(entry):
        there = read_record(entry)
        if there is None:
            if entry.is_dir():
                say_made_again("the baseline was")
            with publish_folder(entry) as temporary:
                for file, content in files.items():
                    (temporary / file).write_bytes(content)
        elif there.sha256 != hashlib.sha256(files[WEIGHTS]).hexdigest():
            raise FingerprintError(
                f"{entry}: the baseline must be identical to the first node's, got different "
                "weights for the same settings. Delete the folder if no study uses it."
            )


def keep_weights(agreed: Agreed, file: Path) -> None:
    """Move a file of finetuned weights from this node to the same path at the driver's.

    Raises:
        InfrastructureError: if it cannot be written there.
    """
    driver = Node(agreed.driver, "of the driver")
    answer(driver, submit(driver, _write, str(file), file.read_bytes()))
    file.unlink()


def _write(file: str, content: bytes) -> None:
    publish_file(Path(file), lambda temporary: temporary.write_bytes(content))
