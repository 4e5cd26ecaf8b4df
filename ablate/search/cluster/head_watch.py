"""A cluster whose head is gone: the driver ends by itself, before Ray ends its process."""

from __future__ import annotations

import os
import socket
import sys
import threading
from types import TracebackType

import ray

from ablate.errors import InfrastructureError
from ablate.search.dispatcher import Dispatcher

_EVERY_SECONDS = 5.0
_MISSES = 4
_LEAVE_SECONDS = 10.0


class HeadWatch:
    """Knocks at the head while Tune runs.

    Where the head does not answer, Ray's calls block for a minute and then end the process with 1
    and no word.  Here the dispatcher is told after some 20 s; where Tune has not come back 10 s
    later, what was reported is written and the process ends with the code of its error.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._address = (host, int(port))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ablate-head", daemon=True)

    def __enter__(self) -> HeadWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()

    def _watch(self) -> None:
        misses = 0
        while misses < _MISSES:
            if self._over.wait(_EVERY_SECONDS):
                return
            misses = 0 if self._answers() else misses + 1
        host, port = self._address
        error = InfrastructureError(
            f"Ray: its head at {host}:{port} must answer, got nothing for "
            f"{_MISSES * _EVERY_SECONDS:.0f} s. Nothing is lost: start the cluster again, then "
            "ablate resume."
        )
        self._dispatcher.fail(error)
        if self._over.wait(_LEAVE_SECONDS):
            return
        self._dispatcher.close()
        sys.stderr.write(f"ablate: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._address, timeout=_EVERY_SECONDS).close()
        except OSError:
            return False
        return True
