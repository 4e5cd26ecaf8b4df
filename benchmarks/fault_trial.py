"""A training loop without cost whose result shows every step that was skipped or repeated."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EPOCH_SECONDS = 0.02
STEPS = 10
"""Of an epoch."""


def first_state(params: Mapping[str, Any], seed: int) -> str:
    """The initial state of the training."""
    return _digest(f"{sorted(params.items())} {seed}")


def next_state(state: str, epoch: int, step: int) -> str:
    """The state after a step, which depends on order and number of the steps."""
    return _digest(f"{state} {epoch} {step}")


def scores(state: str) -> dict[str, float]:
    """Two objectives, a and b, and a metric for a constraint, c; each from 0 to 1."""
    return {name: int(state[8 * i : 8 * i + 8], 16) / 16**8 for i, name in enumerate("abc")}


def uninterrupted(params: Mapping[str, Any], seed: int, epochs: int) -> dict[str, float]:
    """The scores of an uninterrupted trial."""
    state = first_state(params, seed)
    for epoch in range(1, epochs + 1):
        for step in range(1, STEPS + 1):
            state = next_state(state, epoch, step)
    return scores(state)


def train(context: Any) -> None:
    """The trainable: resumes from its checkpoint; it dies if the file `kill` says so (trial,
    attempt, epoch, step), hangs for `hang`, calls `os._exit` for `leave`, and raises for
    `raise`."""
    state = first_state(context.params, context.seed)
    if context.checkpoint is not None:
        state = (context.checkpoint / "state").read_text()
    for epoch in range(context.start_epoch + 1, context.epochs + 1):
        done = context.start_step if epoch == context.start_epoch + 1 else 0
        for step in range(done + 1, STEPS + 1):
            _take_time()
            place = f"{context.number} {context.attempt} {epoch} {step}"
            if _is_told("kill", place):
                os.kill(os.getpid(), signal.SIGKILL)
            if _is_told("hang", place):
                time.sleep(1e6)
            if _is_told("leave", place):
                os._exit(0)
            if _is_told("raise", place):
                raise RuntimeError("\ud800 \x00 \N{CHECK MARK}")
            state = next_state(state, epoch, step)
            _note(f"{context.number} {epoch} {step}\n")
            (context.checkpoint_folder / "state").write_text(state)
            if step < STEPS:
                context.save(step)
        context.report(epoch, scores(state))


def _note(step: str) -> None:
    """Log a step; the lines show which steps were repeated."""
    with Path(__file__).with_name("steps").open("a") as file:
        file.write(step)


def _take_time() -> None:
    """Wait for the duration of a step, unless the file `hurry` exists."""
    if not Path(__file__).with_name("hurry").is_file():
        time.sleep(EPOCH_SECONDS / STEPS)


def _is_told(file: str, place: str) -> bool:
    told = Path(__file__).with_name(file)
    return told.is_file() and told.read_text() == place


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
