"""A driver that kills a worker, and then itself: `python -m ablate.doctor.killed_driver ARGS...`

ARGS are `ablate`'s own.  After the first epoch that is recorded, that row's worker gets SIGKILL, on
whatever node it runs; after the next epoch of the same row, which another process has run, the
driver itself does.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
from typing import Any

from ablate.ledger.driving import Driving

_record_epoch = Driving.record_epoch
_killed: dict[str, Any] = {}


def _recorded(self: Driving, number: int, *given: Any) -> Any:
    """As `Driving.record_epoch`, whose last argument is where the epoch was run."""
    outdated = _record_epoch(self, number, *given)
    here = given[-1] or {}
    if not _killed:
        _killed.update(number=number, pid=here["pid"])
        _kill(here["host"], here["pid"])
    elif number == _killed["number"] and here["pid"] != _killed["pid"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return outdated


def _kill(host: str, pid: int) -> None:
    if host == socket.gethostname():
        os.kill(pid, signal.SIGKILL)
    else:
        from ablate.search.cluster.tasks import kill_process

        kill_process(host, pid)


if __name__ == "__main__":
    Driving.record_epoch = _recorded  # type: ignore[assignment, method-assign]
    sys.argv = ["ablate", *sys.argv[1:]]
    runpy.run_module("ablate", run_name="__main__")
