"""`os._exit` in a trial that runs in the driver's own process: a failure of its row, not the end.

Under Ray a trial has a process of its own, whose end Ray tells of.
"""

from __future__ import annotations

import os
from typing import NoReturn


class ProcessExit(SystemExit):
    """Ends the thread in which a trial called `os._exit`."""


class ExitGuard:
    """Stands in for `os._exit` within a block of `with`.

    Children that the trial makes by fork end as they always do.

    Attributes:
        call: of this process, the last that there was in a block since `forget`; none: none.
    """

    def __init__(self) -> None:
        self.call: ProcessExit | None = None
        self._process = os.getpid()
        self._exit = os._exit

    def forget(self) -> None:
        """Another row begins."""
        self.call = None

    def __enter__(self) -> None:
        self._exit = os._exit
        os._exit = self._called

    def __exit__(self, *_error: object) -> None:
        os._exit = self._exit

    def _called(self, status: int) -> NoReturn:
        if os.getpid() != self._process:
            self._exit(status)
        self.call = ProcessExit(
            f"a trial must not end its process, got os._exit({status!r}). Return, or raise an "
            "exception."
        )
        raise self.call
