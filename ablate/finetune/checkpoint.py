"""Durable training states, written so that what is there can be trusted."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ablate.errors import InfrastructureError
from ablate.finetune.cache import publish_file

KEPT = 2
"""States that stay in a folder: the newest, and one to fall back to."""


class CheckpointError(InfrastructureError):
    """A training state is missing or is not what was written; fall back to the one before."""


@dataclass(frozen=True)
class SavedState:
    """Where a training state is, and what it must be.

    Attributes:
        epoch: epochs done.
        uri: absolute path.
        sha256: of the file.
    """

    epoch: int
    uri: str
    sha256: str


def save_checkpoint(folder: Path, epoch: int, state: Mapping[str, Any]) -> SavedState:
    """Write a state, flushed to the disk, and remove all but the last two of the folder.

    Args:
        folder: of this trial and attempt alone; made if missing.
        epoch: epochs done.
        state: tensors and plain Python data, as `torch.load(weights_only=True)` reads them.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    path = folder.absolute() / f"epoch-{epoch:06d}.pt"

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    publish_file(path, write)
    for old in sorted(path.parent.glob("epoch-*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return SavedState(epoch, str(path), hashlib.sha256(content).hexdigest())


def load_checkpoint(saved: SavedState) -> dict[str, Any]:
    """Read a state back, on the CPU.

    Raises:
        CheckpointError: if the file is missing or its content is another one.
    """
    try:
        content = Path(saved.uri).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{saved.uri}: the state of epoch {saved.epoch} must be readable, "
            f"got {error.strerror!r}. Go on from the one before."
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != saved.sha256:
        raise CheckpointError(
            f"{saved.uri}: sha256 must be {saved.sha256[:12]}, got {sha256[:12]}. "
            "Go on from the one before."
        )
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def export_weights(model: nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers as safetensors, whole or not at all.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}

    def write(temporary: Path) -> None:
        save_file(tensors, os.fspath(temporary))

    publish_file(path, write)
