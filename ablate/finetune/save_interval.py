"""When a training state is written amid an epoch: often enough, and for a hundredth of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_TIMES_A_WRITE = 100
"""The least time between two writes, in durations of the last one."""


class SaveInterval:
    """Says when the next training state is due.

    Args:
        seconds: from one write to the next, or 100 times what the last one took, where that is
            longer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around each write: the next one is due so long after its end."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._due = ended + max(self._seconds, _TIMES_A_WRITE * (ended - began))
