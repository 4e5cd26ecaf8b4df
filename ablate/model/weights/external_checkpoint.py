"""External weights for a baseline, from a file (whose code is never run), or downloaded."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate.errors import DataError, error_text
from ablate.files.regular import MOST_WEIGHTS_BYTES, check_regular
from ablate.files.shown import few, show_name
from ablate.model.weights.export_metadata import SHIPPED, is_as_exported
from ablate.study.settings import ModelSettings

_WHERE = "baseline.checkpoint"
_NESTED = ("state_dict", "model_state_dict", "model")
# Keys that a checkpoint may lack: the settings and torch fill them.
_OPTIONAL = re.compile(r"normalize\.(mean|std)|(.*\.)?num_batches_tracked")
# Where a state dict's own classes are.
_HARMLESS = ("torch", "collections", "numpy")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class CheckpointSource:
    """The source of weights.

    Attributes:
        identity: of their content, part of the baseline's key.
        path: of the file, if any.
        url: of published weights; fetch: gives their network, from its package's own cache or from
            there.
    """

    identity: str
    path: Path | None = None
    url: str = ""
    fetch: Callable[[], nn.Module] | None = field(default=None, compare=False)


def find_checkpoint(
    model_settings: ModelSettings, checkpoint: str, base: Path | None = None
) -> CheckpointSource:
    """Find the weights of `baseline.checkpoint`, without loading or downloading them.

    Args:
        model_settings: of the network.
        checkpoint: a file, `torchvision:WEIGHTS`, `timm:pretrained`, or `ablate:NAME` for weights
            that come with ablate.
        base: folder for a relative path.

    Raises:
        DataError: if the file is missing, or there are no such weights of this network.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    if checkpoint.startswith("ablate:"):
        if checkpoint not in SHIPPED:
            raise DataError(
                f"{_WHERE}: must be weights that come with ablate, got {checkpoint!r}.",
                f"They are {', '.join(sorted(SHIPPED))}.",
            )
        checkpoint = str(SHIPPED[checkpoint])
    package, _, weights = checkpoint.partition(":")
    if package == "torchvision" or checkpoint == "timm:pretrained":
        own, _, name = model_settings.name.partition(":")
        if own != package:
            raise DataError(
                f"{_WHERE}: {checkpoint} needs model.name: {package}:NAME, got "
                f"{model_settings.name!r}. Use that network, or give a file."
            )
        source: CheckpointSource = import_module(f"ablate.model.{package}").find_weights(
            name, weights
        )
        return source
    path = (base or Path()) / Path(checkpoint).expanduser()
    try:
        check_regular(path, MOST_WEIGHTS_BYTES)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{_WHERE}: must be a readable file, torchvision:WEIGHTS or timm:pretrained, got "
            f"{checkpoint!r} ({show_name(path.absolute())}: {error.strerror}).",
            "Give its path relative to the study file.",
            parameter_fix="Correct the path.",
        ) from error
    return CheckpointSource(f"sha256:{digest}", path)


def load_external(
    model: nn.Module,
    model_settings: ModelSettings,
    checkpoint: str,
    base: Path | None = None,
    *,
    by_order: bool = False,
) -> None:
    """Load external weights into a network; they must match completely.

    A file is a .safetensors file, or a state dict that torch saved; the latter may be inside a dict
    under "state_dict", "model_state_dict" or "model", and its keys may start with "module.".  It is
    read with `weights_only=True`: files that would run code are refused.  If the weights contain a
    normalisation (`normalize.mean`), like exports, it takes precedence over the settings.

    Args:
        model: on the CPU, built from the settings; changed in place.
        checkpoint: as for `find_checkpoint`; base: folder that a relative path starts from.
        by_order: match tensors by their order, not by their names; see `match_by_order`.

    Raises:
        DataError: if the weights are missing, damaged, of another network, not finite floating
            point where the network's are, cannot be fetched, or would run code.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    source = find_checkpoint(model_settings, checkpoint, base)
    if source.path is not None:
        state = read_state(source.path, checkpoint)
    else:
        assert source.fetch is not None
        try:
            state = source.fetch().state_dict()
        except Exception as error:
            raise DataError(
                f"{_WHERE}: cannot fetch {checkpoint}, got {error_text(error)}. Download "
                f"{source.url} elsewhere",
                "and set baseline.checkpoint: FILE.",
                parameter_fix="and give `checkpoint`.",
            ) from error
    own = model.state_dict()
    for key, tensor in state.items():  # before shapes are compared: a nested tensor has none
        if tensor.is_meta:
            raise _wrong_values(checkpoint, key, "without values (device meta)")
        if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
            kind = "nested" if tensor.is_nested else f"{tensor.layout}, {tensor.dtype}"
            raise _wrong_values(checkpoint, key, f"stored as {kind.replace('torch.', '')}")
    if by_order:
        state = match_by_order(own, state, model_settings.name, checkpoint)
    _check_keys(own, state, model_settings.name, checkpoint)
    _check_values(own, state, checkpoint)
    model.load_state_dict(state, strict=False)


def read_state(path: Path, checkpoint: str) -> dict[str, Tensor]:
    """The tensors of a file, as `load_external` reads them.

    Raises:
        DataError: if it is damaged, holds something else, or would run code.
    """
    try:
        if path.suffix == ".safetensors":
            if not is_as_exported(path):
                raise ValueError("damaged: not the bytes that were exported")
            return load_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # of who wrote it
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    # Damage can make torch fail anywhere: an IndexError, a RuntimeError, a TypeError.
    except Exception as error:
        code = ""
        if isinstance(error, pickle.UnpicklingError):
            named = re.search(r"GLOBAL (\S+)", str(error))
            code = named[1] if named else _find_code(path)
        if code:
            raise DataError(
                f"{_WHERE}: must contain only tensors, got {checkpoint!r}, a pickle that would run "
                f"{show_name(code)}; it was not run. Save model.state_dict(), or a .safetensors "
                "file."
            ) from error
        # Torch's preceding text suggests loading the file without this protection.
        text = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
        first = show_name(" ".join(text.splitlines()[0].split()))
        raise DataError(
            f"{_WHERE}: must be a complete .safetensors file or state dict, got {checkpoint!r} "
            f"({first}). Copy or save it again."
        ) from error
    return _unwrap(content, checkpoint)


def _find_code(path: Path) -> str:
    """The first name that a bare pickle would import and torch does not know; read, not run."""
    strings = ["", ""]
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "STACK_GLOBAL" and not strings[-2].startswith(_HARMLESS):
                return ".".join(strings[-2:])
            if isinstance(argument, str):
                strings.append(argument)
    except Exception:
        # A damaged pickle: later imports are not reached.
        pass
    return ""


def _unwrap(content: Any, checkpoint: str) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        wrong, content = type(content).__name__, {}
    else:
        wrong = "" if content else "an empty dict"
    for key, value in content.items():
        if not isinstance(key, str):
            wrong = f"a key that is not text: {type(key).__name__}"
        elif not isinstance(value, Tensor):
            wrong = f"{key!r}: {type(value).__name__}"
        if wrong:
            break
    if wrong:
        raise DataError(
            f"{_WHERE}: must be a state dict, key -> tensor, got {checkpoint!r} with {wrong}. "
            "Save model.state_dict()."
        )
    state = dict(content)
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _check_values(own: Mapping[str, Tensor], state: Mapping[str, Tensor], checkpoint: str) -> None:
    for key, tensor in state.items():
        mine = own[key]
        is_float = mine.is_floating_point() and tensor.dtype not in _FLOATS
        if is_float or (tensor.is_complex() and not mine.is_complex()):
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise _wrong_values(checkpoint, key, f"of {dtype}")
        # After conversion to the network's dtype: a float64 may exceed the range of float32.
        held = tensor.to(mine.dtype) if mine.is_floating_point() else tensor
        wrong = int((~held.isfinite()).sum())
        # A mask may contain infinity, both in the network and in the file.
        if wrong and bool(mine.isfinite().all()):
            raise _wrong_values(checkpoint, key, f"not finite in {wrong} of {held.numel()} values")


def _wrong_values(checkpoint: str, key: str, got: str) -> DataError:
    return DataError(
        f"{_WHERE}: must contain dense, finite, floating-point weights, got {checkpoint!r} with "
        f"{show_name(key)} {got}. Save model.state_dict() of the trained network in float32."
    )


def _check_keys(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str, checkpoint: str
) -> None:
    missing = [key for key in own if key not in state and not _OPTIONAL.fullmatch(key)]
    unexpected = [show_name(key) for key in state if key not in own]
    reshaped = [
        f"{show_name(key)} {tuple(state[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape
    ]
    listed = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    problems = [f"{len(keys)} {what} ({few(keys)})" for what, keys in listed.items() if keys]
    if problems:
        raise DataError(
            f"{_WHERE}: must contain the weights of {name}, got {checkpoint!r} with keys "
            f"{', '.join(problems)}.",
            "Name its network in model.name; its classes must be those of the data set.",
            parameter_fix="Name its network as MODEL; its classes must be those of the data set.",
        )


# -- Weights whose tensors are those of a network in the same order, under other names -----


_ROLES = frozenset({"weight", "bias", "running_mean", "running_var"})
# Buffers that some files omit and that are not trained.
_UNORDERED = ("num_batches_tracked", "normalize.mean", "normalize.std")
_ROBUSTBENCH = {"mu": "normalize.mean", "sigma": "normalize.std"}
"""RobustBench's names of the normalisation in a network -> ours."""


def match_by_order(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str, checkpoint: str
) -> dict[str, Tensor]:
    """Match the tensors of a file to the names of a network by order.

    Counters of batch norm and ablate's own normalisation keep the network's values; `mu` and
    `sigma`, as RobustBench's networks have them, are its normalisation.

    Args:
        own: of the network, which is named `name`; state: of the file, `checkpoint`.

    Raises:
        DataError: if the number of tensors, a shape, or the role of a tensor (weight, bias, running
            mean, running variance) differs; the message names the first such pair.
    """
    mine = [key for key in own if not key.endswith(_UNORDERED)]
    inside = {ours: one for one, ours in _ROBUSTBENCH.items() if one in state and ours in own}
    theirs = [key for key in state if not key.endswith(_UNORDERED) and key not in inside.values()]
    if len(mine) != len(theirs):
        raise DataError(
            f"`checkpoint_order`: {checkpoint!r} must have the {len(mine)} tensors of {name}, got "
            f"{len(theirs)}. Choose the network that it belongs to."
        )
    pairs = dict(zip(mine, theirs, strict=True))
    for number, (key, other) in enumerate(pairs.items(), start=1):
        shapes = tuple(own[key].shape), tuple(state[other].shape)
        roles = key.rpartition(".")[2], other.rpartition(".")[2]
        if shapes[0] != shapes[1] or (roles[0] != roles[1] and _ROLES.issuperset(roles)):
            raise DataError(
                f"`checkpoint_order`: tensor {number} of {checkpoint!r} must fit {key} {shapes[0]} "
                f"of {name}, got {show_name(other)} {shapes[1]}. Choose the network that it "
                "belongs to, or rename its keys."
            )
    return {key: state[other] for key, other in (pairs | inside).items()}
