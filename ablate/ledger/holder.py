"""The process that holds a lease, and whether it is proven dead.

Death can only be proven on the machine that the process ran on.  Information that cannot be read
(`/proc` with `hidepid`, another user's process, another namespace) proves nothing.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import dataclass, fields
from pathlib import Path

_LONGEST = 200
"""Largest number of characters of one field of a lease."""


@dataclass(frozen=True)
class Holder:
    """A uniquely identified process; fields that could not be read are empty.

    Attributes:
        host: its name, for messages: two machines may have the same one.
        machine: `/etc/machine-id`.
        boot: drawn at random by the kernel each time it starts.
        namespace: of process ids, and of time, which a start time is counted in.
        pid: in that namespace.
        start: clock ticks from boot to the start of the process.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    start: str

    @classmethod
    def read(cls, written: object) -> Holder | None:
        """Parse the text of a lease; None if it cannot be parsed."""
        try:
            data = json.loads(str(written))
            pid = int(data["pid"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if pid < 1:
            return None
        said = {
            field.name: " ".join(str(data.get(field.name, "")).split())[:_LONGEST]
            for field in fields(cls)
        }
        return cls(**{**said, "pid": pid})  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Process:
    """Information of `/proc` about a process.

    Attributes:
        start: clock ticks from boot to its start.
        is_ended: it is a zombie, with no thread that still runs.
    """

    start: str
    is_ended: bool


def this_process() -> Holder:
    """The current process."""
    pid = os.getpid()
    return Holder(
        host=socket.gethostname(),
        machine=_text("/etc/machine-id"),
        boot=_text("/proc/sys/kernel/random/boot_id"),
        namespace=f"{_link('/proc/self/ns/pid')} {_link('/proc/self/ns/time')}".strip(),
        pid=pid,
        start=process_start(pid),
    )


def process_start(pid: int) -> str:
    """Clock ticks from boot to the start of a process; empty if they cannot be read."""
    process = _process(pid)
    return "" if process is None else process.start


def is_proven_dead(holder: Holder) -> bool:
    """True only if the process ran on this machine since its last boot, and no longer exists.

    Containers often have no machine id.  The boot id, which is random, is required.
    """
    here = this_process()
    if not (here.boot and here.namespace and here.start and holder.start):
        return False
    if (here.machine, here.boot, here.namespace) != (holder.machine, holder.boot, holder.namespace):
        return False
    if not _exists(holder.pid):
        return True
    process = _process(holder.pid)
    return process is not None and (process.is_ended or process.start != holder.start)


def _exists(pid: int) -> bool:
    """Whether a process of that number exists; the kernel is asked, because `/proc` may hide it."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    except OverflowError:
        return True  # no number of a process: it proves nothing
    return True


def _process(pid: int) -> _Process | None:
    """Information of `/proc` about a process; None if there is none, or `/proc` shows another
    namespace."""
    if _link("/proc/self") != str(os.getpid()):
        return None  # of another namespace: its numbers are not ours
    said = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(said) < 20:  # proc(5): the state is its third field, the start its 22nd
        return None
    return _Process(start=said[19], is_ended=said[0] in "ZX" and int(said[17]) <= 1)


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError):
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
