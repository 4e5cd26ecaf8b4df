"""The self-test: runs, interrupts and resumes a small study, and returns findings."""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sqlalchemy.engine import Connection

from ablate.doctor.findings import (
    Finding,
    cluster_token,
    torch_finding,
    versions_finding,
)
from ablate.doctor.study import (
    EPOCHS,
    GPU_TOLERANCE,
    Drivers,
    images_a_second,
    largest_difference,
    removed_afterwards,
    same_weights,
    whole,
    write_study,
)
from ablate.errors import AblateError, InfrastructureError, LeaseError
from ablate.errors.masking import masked
from ablate.ledger import tables
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import StudyRecord
from ablate.ledger.storage import fill_variables, open_storage, parse_url, sqlite_file, sqlite_url
from ablate.study.provenance import usable_cores

_MOST_TRIALS = 8


@dataclass(frozen=True)
class Device:
    """A kind of device that trials run on.

    Attributes:
        name: "CPU" or "GPU".
        gpus: per trial.
        trials: in parallel: two, or one per node.
    """

    name: str
    gpus: float
    trials: int


class SelfTest:
    """Runs a study on each kind of device, interrupts and resumes it, and compares the results.

    Args:
        address: of a Ray cluster; None: Ray on this machine.
        storage: URL of a storage to test too, with ${VARIABLE} filled in; None: only SQLite.
        say: called with each step before it starts.

    Attributes:
        exit_code: 0 if all checks passed so far, 1 if one failed, 3 if the infrastructure failed.
    """

    def __init__(self, address: str | None, storage: str | None, say: Callable[[str], object]):
        self._address = address
        self._storage = None if storage is None else fill_variables(storage)
        self._say = say
        self._identity = secrets.token_hex(4)
        self.exit_code = 0

    def findings(self) -> Iterator[Finding]:
        """Yields the findings as they become known.

        Raises:
            UsageError: if the address or the storage is invalid.
            InfrastructureError: if there is no answer.
        """
        if self._storage is not None:
            self._say(f"storage: opening {masked(self._storage)}")
            if sqlite_file(self._storage) is None:  # a file is made, and removed, with its study
                open_storage(self._storage, create=True).engine.dispose()
        if self._address is not None:
            from ablate.search.cluster.connect import check_answer

            self._say("cluster: connecting")
            check_answer(self._address)
        yield versions_finding()
        yield torch_finding()
        devices = yield from self._devices()
        # The current folder, because a study's files will be there, on every node.
        folder = Path(tempfile.mkdtemp(prefix=".ablate-selftest-", dir=Path.cwd()))
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            for device in devices:
                yield from self._guarded(device.name, lambda one=device: self._try(one, folder))  # type: ignore[misc]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            signal.signal(signal.SIGTERM, before)

    def _devices(self) -> Generator[Finding, None, list[Device]]:
        """Check the machines and return the kinds of device."""
        if self._address is None:
            import torch

            yield cluster_token()
            gpus = torch.cuda.device_count()
            kinds = [Device("CPU", 0, min(2, usable_cores()))]
            return [*kinds, Device("GPU", 1, min(2, gpus))] if gpus else kinds
        from ablate.search.cluster.node_watch import look_at_cluster, refuses_wrong_token

        self._say("cluster: checking its nodes")
        there = look_at_cluster(self._address)
        named = f" ({there.accelerators})" if there.accelerators else ""
        nodes = "1 node" if there.nodes == 1 else f"{there.nodes} nodes"
        yield Finding("cluster", "ok", f"{nodes}, {there.cpus} CPUs, {there.gpus} GPUs{named}")
        self._say("cluster: trying a wrong token")
        yield (
            Finding("cluster token", "ok", "the right token is accepted, a wrong one is refused")
            if refuses_wrong_token(self._address)
            else Finding(
                "cluster token",
                "absent",
                "a wrong token is accepted: anyone who can reach the cluster's ports can run code "
                "on it",
                "RAY_AUTH_MODE=token at every `ray start`",
            )
        )
        found = [Device("CPU", 0, max(1, min(_MOST_TRIALS, there.cpus, max(2, there.nodes))))]
        if there.gpus:
            trials = min(_MOST_TRIALS, there.gpus, max(2, there.gpu_nodes))
            found.append(Device("GPU", 1, trials))
        return found

    def _guarded(self, what: str, attempt: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            for finding in attempt():
                if finding.state == "broken":
                    self.exit_code = self.exit_code or 1
                yield finding
        except AblateError as error:
            self.exit_code = 3 if isinstance(error, InfrastructureError) else 1
            yield Finding(what, "broken", str(error).splitlines()[0])

    def _try(self, device: Device, folder: Path) -> Iterator[Finding]:
        name, trials = device.name, device.trials
        plain = f"selftest-{self._identity}-{name.lower()}"
        broken = f"{plain}-killed"
        drivers = Drivers(folder, self._address)
        kept = self._storage
        files = [
            write_study(folder, one, gpus=device.gpus, trials=trials) for one in (plain, broken)
        ]
        own = sqlite_url(folder / "runs" / plain / "study.db")
        other = kept or sqlite_url(folder / "runs" / broken / "study.db")
        self._say(f"{name}: {trials} trials of {EPOCHS} epochs without interruption")
        drivers.run(files[0], None)
        first = _read(own, plain)
        yield _speed(name, first)
        with removed_afterwards(kept, broken) if kept else nullcontext():
            self._say(f"{name}: the same, killing a worker and then the driver")
            drivers.run(files[1], kept, kill=True)
            yield _worker(name, _read(other, broken))
            self._say(f"{name}: resuming")
            drivers.run(files[1], kept)
            second = _read(other, broken)
            yield _resumed(name, second, trials)
            weights = same_weights(folder, plain, broken, trials)
            yield _compared(device, first, second, same_bits=weights)
            self._say("storage: testing lease and transactions")
            yield _storage("SQLite", own, plain)
            if kept is not None:
                yield _storage("storage", kept, broken)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End by an exception, so that all created files are removed."""
    raise SystemExit(128 + number)


def _read(url: str, name: str) -> StudyRecord:
    with closing(Ledger.open(url, name)) as ledger:
        return ledger.read()


def _finding(what: str, wrong: str, good: str) -> Finding:
    return Finding(what, "broken" if wrong else "ok", wrong or good)


def _speed(name: str, record: StudyRecord) -> Finding:
    wrong = whole(record, record.trials)
    if wrong:
        return Finding(f"{name} trials", "broken", wrong)
    hosts = {attempt.host for row in record.rows for attempt in row.attempts if attempt.host}
    environment = record.environment
    where = f"{len(hosts)} hosts" if len(hosts) > 1 else "1 host"
    return Finding(
        f"{name} trials",
        "ok",
        f"{record.trials} in parallel on {where} ({environment['device_name']}, "
        f"{environment['precision']}): {images_a_second(record):,.0f} images a second in each",
    )


def _worker(name: str, record: StudyRecord) -> Finding:
    lost = [row for row in record.rows if any(one.end == "lost" for one in row.attempts)]
    if not lost:
        return Finding(f"{name} worker killed", "broken", "its trial was not restarted")
    row = lost[0]
    return Finding(
        f"{name} worker killed",
        "ok",
        f"trial {row.number} resumed from epoch {row.attempts[-1].first_epoch} in another process",
    )


def _resumed(name: str, record: StudyRecord, trials: int) -> Finding:
    good = f"resumed: {trials} of {trials} trials complete, each of the {EPOCHS} epochs once"
    return _finding(f"{name} driver killed", whole(record, trials), good)


def _compared(
    device: Device, first: StudyRecord, second: StudyRecord, *, same_bits: bool
) -> Finding:
    difference = largest_difference(first, second)
    if difference == 0 and same_bits:
        return Finding(
            f"{device.name} result",
            "ok",
            "scores and weights are bit-identical to those of the uninterrupted run",
        )
    if device.gpus:
        wrong = difference > GPU_TOLERANCE
        found = f"accuracies differ by at most {difference:.4f}; tolerance: {GPU_TOLERANCE}"
        return Finding(f"{device.name} result", "broken" if wrong else "ok", found)
    return Finding(
        f"{device.name} result",
        "broken",
        f"bits differ from those of the uninterrupted run, accuracies by at most {difference:.4f}",
    )


def _storage(what: str, url: str, name: str) -> Finding:
    good = "a second driver is refused, a failed transaction writes nothing"
    if what == "storage":
        good = f"{parse_url(url).get_backend_name()}: {good}; its test study is deleted"
    return _finding(what, try_storage(url, name), good)


# -- Testing a storage: the lease of a study in it, and a transaction that fails


_KEY = "ablate:selftest"


class _Undo(Exception):  # noqa: N818 (no error: what a transaction is undone by)
    pass


def try_storage(url: str, name: str) -> str:
    """Test what a study needs of its storage, on a study without a driver.

    Returns:
        The failure; "" if all tests passed.

    Raises:
        StorageError: if the storage fails.
    """
    with closing(Ledger.open(url, name)) as first, closing(Ledger.open(url, name)) as second:
        return _lease(first, second) or _transaction(first, second)


def _lease(first: Ledger, second: Ledger) -> str:
    held, other = first.lease(), second.lease()
    held.acquire()
    try:
        other.acquire()
    except LeaseError:
        pass
    else:
        other.release()
        return "two drivers hold the lease of one study at once"
    finally:
        held.release()
    other.acquire()
    other.release()
    return ""


def _transaction(first: Ledger, second: Ledger) -> str:
    def write(connection: Connection) -> None:
        tables.set_study_attributes(connection, first.study_id, {_KEY: 1})

    def write_and_fail(connection: Connection) -> None:
        write(connection)
        raise _Undo

    with suppress(_Undo):
        first.store.write(write_and_fail)
    if _KEY in _attributes(second):
        return "a failed transaction left data"
    first.store.write(write)
    return "" if _KEY in _attributes(second) else "another connection does not see the written data"


def _attributes(ledger: Ledger) -> set[str]:
    return set(
        ledger.store.read(lambda connection: tables.study_attributes(connection, ledger.study_id))
    )
