"""Networks that come as a file with their code: TorchScript, and torch.export's .pt2.

Reading a .pt2 file can run code that its writer put there, as torch reads it: only files of
people that one trusts.  TorchScript runs in torch's own interpreter.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate.errors import DataError, error_text
from ablate.files.shown import show_name

ENDINGS = (".pt", ".pth", ".ts", ".pt2")
"""Of files that may be a program; what they are is seen from their content."""


@dataclass(frozen=True)
class Program:
    """A network from a file.

    Attributes:
        module: to be called with normalised images; it may refuse `train()` and `eval()`.
        kind: "TorchScript" or "torch.export".
        parameters: how many numbers are trained.
        fixed_mode: whether it cannot be put into another mode than it was written in.
    """

    module: nn.Module | Callable[[Tensor], Any]
    kind: str
    parameters: int
    fixed_mode: bool


def load_program(path: Path, device: str = "cpu") -> Program:
    """The network in a file.

    Args:
        device: "cpu" or "cuda": where it will run, which a .pt2 file has to be told.

    Raises:
        DataError: if the file is missing, damaged, or holds weights without their network.
    """
    shown = show_name(path)
    kind = _kind(path, shown)
    try:
        if kind == "TorchScript":
            with warnings.catch_warnings():
                # torch 2.13 advises writers of such files; a reader cannot follow it.
                warnings.simplefilter("ignore", DeprecationWarning)
                module: nn.Module = torch.jit.load(str(path), "cpu")  # type: ignore[no-untyped-call]
        else:
            exported = torch.export.load(path)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                exported = move_to_device_pass(exported, device)
            module = exported.module()
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, pickle.PickleError) as error:
        text = error_text(error)
        raise DataError(
            f"{shown}: must be a whole {kind} file, got {text}. Write it again with this torch."
        ) from error
    parameters = sum(one.numel() for one in module.parameters())
    return Program(module, kind, parameters, fixed_mode=kind == "torch.export")


def _kind(path: Path, shown: str) -> str:
    if not path.is_file():
        raise DataError(f"{shown}: must be a file, got none of that name. Correct the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        names = []
    if any(name.startswith("models/") for name in names) and "archive_format" in names:
        return "torch.export"
    if any(name.startswith("code/") for name in names):
        return "TorchScript"
    raise DataError(
        f"{shown}: must be a network with its code (TorchScript, torch.export), got a file "
        "without. If it is a state dict, name its network: ablate evaluate NAME --checkpoint "
        f"{shown}."
    )
