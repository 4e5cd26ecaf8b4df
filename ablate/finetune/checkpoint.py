"""Durable training states, written so that what is there can be trusted."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ablate.files.cache import publish_file
from ablate.files.durable import CheckpointError, SavedState, load_blob, save_blob
from ablate.model.weights.export_metadata import ExportMetadata, seal_export

__all__ = [
    "CheckpointError",
    "SavedState",
    "export_weights",
    "load_checkpoint",
    "save_checkpoint",
]


def save_checkpoint(
    folder: str | Path, epoch: int, state: Mapping[str, Any], *, step: int = 0, seconds: float = 0.0
) -> SavedState:
    """Write a state, flushed to the disk.

    Args:
        folder: path or fsspec URI, of this trial and attempt alone; made if missing.
        epoch: epochs done.
        state: tensors and plain Python data, as `torch.load(weights_only=True)` reads them.
        step: steps done in the epoch under way; seconds: that they took.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken, or the file system does not answer.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return save_blob(str(folder), epoch, buffer.getvalue(), step=step, seconds=seconds)


def load_checkpoint(saved: SavedState) -> dict[str, Any]:
    """Read a state back, on the CPU.

    Raises:
        CheckpointError: if the state is missing or its content is another one.
        InfrastructureError: if its file system does not answer.
    """
    content = io.BytesIO(load_blob(saved))
    state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    return state


def export_weights(model: nn.Module, path: Path, metadata: ExportMetadata | None = None) -> None:
    """Write a network's parameters and buffers as safetensors, whole or not at all.

    Args:
        metadata: how they are to be used, for the file's header, with a sha256 of it all.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}

    def write(temporary: Path) -> None:
        header = None if metadata is None else metadata.to_header()
        save_file(tensors, os.fspath(temporary), metadata=header)
        if metadata is not None:
            seal_export(temporary)

    publish_file(path, write)
