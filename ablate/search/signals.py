"""Signals are delayed while something runs that must not be interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""That stop a run."""


@contextmanager
def held() -> Iterator[None]:
    """Let the first signal wait until the block has ended, however it ends; a second one does not.

    For Ray's start and end: an exception in the middle of them is now and then swallowed, and now
    and then ends the process with a segmentation fault.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def wait(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            came.clear()
            put_back()
            signal.raise_signal(number)

    before = {number: signal.signal(number, wait) for number in SIGNALS}
    try:
        yield
    finally:
        put_back()
        if came:
            signal.raise_signal(came[0])
