"""What ended rows leave on disk, removed in a thread of its own.

A network file system may take seconds for what a local one does at once: neither the thread that
writes the ledger nor Ray's hooks wait for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path

from ablate.files.durable import list_folder, remove_folder, remove_state
from ablate.trial.task import checkpoint_folder, weights_file

_CLOSE_SECONDS = 30.0


class Janitor:
    """Removes training states and weights; what cannot be removed stays, and nobody waits.

    Args:
        folder: of the run, with the weights below it.
        checkpoints: absolute path or fsspec URI of the training states, of this study alone.
    """

    def __init__(self, folder: Path, checkpoints: str) -> None:
        self._folder = folder
        self._checkpoints = checkpoints
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._thread.start()

    def remove_states(self, number: int | None) -> None:
        """Remove all training states of a row that has ended; None: of the plain finetune."""
        self._work.put(partial(remove_folder, checkpoint_folder(self._checkpoints, number)))

    def remove_state(self, uri: str) -> None:
        """Remove one training state, now that the ledger has newer ones."""
        self._work.put(partial(remove_state, uri))

    def remove_states_except(self, numbers: Collection[int | None]) -> None:
        """Remove the training states of all rows but these: what a killed driver left."""
        self._work.put(partial(self._sweep, frozenset(numbers)))

    def remove_weights(self, numbers: Collection[int]) -> None:
        """Remove the finetuned weights of rows; those that have none are passed over."""
        if numbers:
            self._work.put(partial(self._unlink, tuple(numbers)))

    def close(self, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Do what is left, for so long at most; what is asked for later is not done."""
        self._work.put(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _sweep(self, numbers: frozenset[int | None]) -> None:
        living = {checkpoint_folder("", number).strip("/") for number in numbers}
        for name in list_folder(self._checkpoints):
            if name not in living and (name == "plain" or name.isdecimal()):
                remove_folder(f"{self._checkpoints}/{name}")

    def _unlink(self, numbers: tuple[int, ...]) -> None:
        files = [weights_file(self._folder, number) for number in numbers]
        there: set[Path] = set()
        with suppress(OSError):  # one listing instead of a look for each
            there.update(files[0].parent.iterdir())
        for file in there.intersection(files):
            with suppress(OSError):
                file.unlink()
