"""External weights for a baseline, from a file (whose code is never run), or downloaded."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate.errors import DataError, did_you_mean, error_text
from ablate.files.regular import MOST_WEIGHTS_BYTES, check_regular
from ablate.files.shown import few, show_name
from ablate.model.weights.export_metadata import is_as_exported
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
    """

    identity: str
    path: Path | None = None


def find_checkpoint(
    model_settings: ModelSettings, checkpoint: str, base: Path | None = None
) -> CheckpointSource:
    """Find the weights of `baseline.checkpoint`, without loading or downloading them.

    Args:
        model_settings: of the network.
        checkpoint: a file, `torchvision:WEIGHTS` or `timm:pretrained`.
        base: folder for a relative path.

    Raises:
        DataError: if the file is missing, or there are no such weights of this network.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    source, _, weights = checkpoint.partition(":")
    if source == "torchvision":
        url = torchvision_weights(model_settings, weights).url
        return CheckpointSource(f"torchvision:{url}")
    if checkpoint == "timm:pretrained":
        config = timm_weights(model_settings)
        return CheckpointSource(f"timm:{config.architecture}.{config.tag}")
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
            option_fix="Correct the path.",
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
        model: on the CPU; changed in place.
        model_settings: that it was built from.
        checkpoint: a file, `torchvision:WEIGHTS` or `timm:pretrained`.
        base: folder that a relative path starts from.
        by_order: match tensors by their order, not by their names; see `match_by_order`.

    Raises:
        DataError: if the weights are missing, damaged, of another network, not finite floating
            point where the network's are, cannot be fetched, or would run code.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    path = find_checkpoint(model_settings, checkpoint, base).path
    if path is not None:
        found = read_state(path, checkpoint)
    elif checkpoint.startswith("torchvision:"):
        weights = checkpoint.partition(":")[2]
        found = fetch_torchvision(model_settings, weights)
    else:
        found = fetch_timm(model_settings)
    own = model.state_dict()
    _check_storage(found, checkpoint)
    if by_order:
        found = match_by_order(own, found, model_settings.name, checkpoint)
    _check_keys(own, found, model_settings.name, checkpoint)
    _check_values(own, found, checkpoint)
    model.load_state_dict(found, strict=False)


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
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        told = re.search(r"GLOBAL (\S+)", str(error))
        code = told[1] if told else _find_code(path)
        if not code:
            raise _unreadable(checkpoint, error) from error
        raise DataError(
            f"{_WHERE}: must contain only tensors, got {checkpoint!r}, a pickle that would run "
            f"{show_name(code)}; it was not run. Save model.state_dict(), or a .safetensors file."
        ) from error
    except Exception as error:
        # Damage can make torch fail anywhere: an IndexError, a RuntimeError, a TypeError.
        raise _unreadable(checkpoint, error) from error
    return _unwrap(found, checkpoint)


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


def _unreadable(checkpoint: str, error: Exception) -> DataError:
    # Torch's preceding text suggests loading the file without this protection.
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
    first = show_name(" ".join(text.splitlines()[0].split()))
    return DataError(
        f"{_WHERE}: must be a complete .safetensors file or state dict, got {checkpoint!r} "
        f"({first}). Copy or save it again."
    )


def _unwrap(found: Any, checkpoint: str) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping):
        kind = type(found).__name__
    else:
        kind = next(
            (
                f"{key!r}: {type(value).__name__}"
                if isinstance(key, str)
                else f"a key that is not text: {type(key).__name__}"
                for key, value in found.items()
                if not isinstance(key, str) or not isinstance(value, Tensor)
            ),
            "" if found else "an empty dict",
        )
    if kind:
        raise DataError(
            f"{_WHERE}: must be a state dict, key -> tensor, got {checkpoint!r} with {kind}. "
            "Save model.state_dict()."
        )
    state = dict(found)
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return state


def _check_storage(found: Mapping[str, Tensor], checkpoint: str) -> None:
    """Before shapes are compared, since a nested tensor has none."""
    for key, tensor in found.items():
        if tensor.is_meta:
            raise _wrong_values(checkpoint, key, "without values (device meta)")
        if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
            kind = "nested" if tensor.is_nested else f"{tensor.layout}, {tensor.dtype}"
            raise _wrong_values(checkpoint, key, f"stored as {kind.replace('torch.', '')}")


def _check_values(own: Mapping[str, Tensor], found: Mapping[str, Tensor], checkpoint: str) -> None:
    for key, tensor in found.items():
        mine = own[key]
        dtype = str(tensor.dtype).removeprefix("torch.")
        if mine.is_floating_point() and tensor.dtype not in _FLOATS:
            raise _wrong_values(checkpoint, key, f"of {dtype}")
        if tensor.is_complex() and not mine.is_complex():
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
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, checkpoint: str
) -> None:
    missing = [key for key in own if key not in found and not _OPTIONAL.fullmatch(key)]
    unexpected = [key for key in found if key not in own]
    reshaped = [
        f"{show_name(key)} {tuple(found[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if key in found and found[key].shape != tensor.shape
    ]
    listed = [
        ("missing", missing),
        ("unexpected", [*map(show_name, unexpected)]),
        ("of another shape", reshaped),
    ]
    problems = [f"{len(keys)} {what} ({few(keys)})" for what, keys in listed if keys]
    if problems:
        raise DataError(
            f"{_WHERE}: must contain the weights of {name}, got {checkpoint!r} with keys "
            f"{', '.join(problems)}.",
            "Name its network in model.name; its classes must be those of the data set.",
            option_fix="Name its network as MODEL; its classes must be those of the data set.",
        )


# -- Weights whose tensors are those of a network in the same order, under other names -----


_ORDERED = "--checkpoint-order"
_ROLES = frozenset({"weight", "bias", "running_mean", "running_var"})
# Buffers that some files omit and that are not trained.
_UNORDERED = ("num_batches_tracked", "normalize.mean", "normalize.std")
_ROBUSTBENCH = {"mu": "normalize.mean", "sigma": "normalize.std"}
"""RobustBench's names of the normalisation in a network -> ours."""


def match_by_order(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, checkpoint: str
) -> dict[str, Tensor]:
    """Match the tensors of a file to the names of a network by order.

    Counters of batch norm and ablate's own normalisation keep the network's values; `mu` and
    `sigma`, as RobustBench's networks have them, are its normalisation.

    Args:
        own: of the network.
        found: of the file.
        name: of the network; checkpoint: of the file; for the messages.

    Raises:
        DataError: if the number of tensors, a shape, or the role of a tensor (weight, bias, running
            mean, running variance) differs; the message names the first such pair.
    """
    mine = [key for key in own if not key.endswith(_UNORDERED)]
    inside = {one: ours for one, ours in _ROBUSTBENCH.items() if one in found and ours in own}
    theirs = [key for key in found if not key.endswith(_UNORDERED) and key not in inside]
    if len(mine) != len(theirs):
        raise DataError(
            f"{_ORDERED}: {checkpoint!r} must have the {len(mine)} tensors of {name}, got "
            f"{len(theirs)}. Choose the network that it belongs to."
        )
    for place, (key, other) in enumerate(zip(mine, theirs, strict=True), start=1):
        shapes = tuple(own[key].shape), tuple(found[other].shape)
        roles = key.rpartition(".")[2], other.rpartition(".")[2]
        if shapes[0] != shapes[1] or (roles[0] != roles[1] and _ROLES.issuperset(roles)):
            raise DataError(
                f"{_ORDERED}: tensor {place} of {checkpoint!r} must fit {key} {shapes[0]} of "
                f"{name}, got {show_name(other)} {shapes[1]}. Choose the network that it belongs "
                "to, or rename its keys."
            )
    pairs = [*zip(mine, theirs, strict=True), *((ours, one) for one, ours in inside.items())]
    return {key: found[other] for key, other in pairs}


def torchvision_weights(model_settings: ModelSettings, weights: str) -> Any:
    """torchvision's entry of weights for a network; nothing is downloaded.

    Args:
        model_settings: of the network that the weights are for.
        weights: such as `IMAGENET1K_V2` or `DEFAULT`.

    Raises:
        DataError: if the network is not torchvision's, or has no such weights.
    """
    source, _, name = model_settings.name.partition(":")
    if source != "torchvision":
        raise _not_of(model_settings, f"torchvision:{weights}", "torchvision:NAME")
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    if weights not in known.__members__:
        full = [f"torchvision:{one}" for one in known.__members__]
        raise DataError(
            f"{_WHERE}: must be weights that torchvision has for {name}, got "
            f"'torchvision:{weights}'. {did_you_mean(f'torchvision:{weights}', full)}"
        )
    return known[weights]


def fetch_torchvision(model_settings: ModelSettings, weights: str) -> dict[str, Tensor]:
    """The state dict of torchvision's weights, from torch's own cache or the network.

    Raises:
        DataError: if there are none of that name, or they cannot be fetched.
    """
    entry = torchvision_weights(model_settings, weights)
    from torchvision.models import get_model

    try:
        # Not `get_state_dict`: some files have keys of an older time, which the network renames.
        model = get_model(model_settings.name.partition(":")[2], weights=entry, progress=False)
    except Exception as error:
        raise _not_fetched(f"torchvision:{weights}", entry.url, error) from error
    state: dict[str, Tensor] = model.state_dict()
    return state


def timm_weights(model_settings: ModelSettings) -> Any:
    """timm's entry of the weights that it loads for a network; nothing is fetched.

    Raises:
        DataError: if the network is not timm's, or has no weights.
        MissingDependencyError: if timm is not installed.
    """
    source, _, name = model_settings.name.partition(":")
    if source != "timm":
        raise _not_of(model_settings, "timm:pretrained", "timm:NAME")
    from ablate.model.timm import pretrained_config

    config = pretrained_config(name)
    if config is None or not config.has_weights:
        raise DataError(
            f"{_WHERE}: must be weights of timm, got 'timm:pretrained' for {name}, for which it "
            "has none.",
            "Set baseline.checkpoint: FILE, or leave it out.",
            option_fix="Give --checkpoint FILE.",
        )
    return config


def fetch_timm(model_settings: ModelSettings) -> dict[str, Tensor]:
    """The state dict of timm's weights, from its own cache or the network.

    Raises:
        DataError: if there are none, or they cannot be fetched.
        MissingDependencyError: if timm is not installed.
    """
    config = timm_weights(model_settings)
    from ablate.model.timm import import_timm

    name = model_settings.name.partition(":")[2]
    try:
        # With the classes of the weights, so that a mismatch is reported instead of filled with new
        # weights.
        model = import_timm(name).create_model(name, pretrained=True)
    except Exception as error:
        url = config.url or f"https://huggingface.co/{config.hf_hub_id}"
        raise _not_fetched("timm:pretrained", url, error) from error
    state: dict[str, Tensor] = model.state_dict()
    return state


def _not_of(model_settings: ModelSettings, checkpoint: str, wanted: str) -> DataError:
    return DataError(
        f"{_WHERE}: {checkpoint} needs model.name: {wanted}, got {model_settings.name!r}. Use that "
        "network, or give a file."
    )


def _not_fetched(checkpoint: str, url: str, error: Exception) -> DataError:
    text = error_text(error)
    return DataError(
        f"{_WHERE}: cannot fetch {checkpoint}, got {text}. Download {url} elsewhere",
        "and set baseline.checkpoint: FILE.",
        option_fix="and give --checkpoint FILE.",
    )
