"""External weights for a baseline, from a file (whose code is never run), or downloaded."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate.errors import DataError, ParameterError, error_text
from ablate.files.regular import MOST_WEIGHTS_BYTES, check_regular
from ablate.files.shown import count_text, few, show_name
from ablate.model import is_own_code
from ablate.model.taps import head_of
from ablate.model.weights.export_metadata import ONNX_ENDING, SHIPPED, is_as_exported, put_weights
from ablate.study.callables import import_callable
from ablate.study.settings import ModelSettings

PUBLISHED = {"torchvision": "torchvision:DEFAULT", "timm": "timm:pretrained"}
"""Package -> its own weights of a network, as `baseline.checkpoint` names them."""

_WHERE, _BACKBONE = "baseline.checkpoint", "baseline.backbone"
_NESTED = ("state_dict", "model_state_dict", "model", "net")
# Names under which training loops and wrappers keep a network.
_WRAPPERS = re.compile(r"(?:(?:module|model|_orig_mod|net|network|backbone)\.)*")
# What else they put beside its weights: counters, averages of weights, optimisers, losses.
_BESIDE = re.compile(
    r"(.*[._])?(ema|swa|optim\w*|criterion|loss\w*|metrics?)([._].*)?"
    r"|(.*\.)?(num_batches_tracked|n_averaged)"
)
# Keys that a checkpoint may lack: the settings and torch fill them.
_OPTIONAL = re.compile(r"normalize\.(mean|std)|(.*\.)?num_batches_tracked")
_MOST_COMPARED = 40
"""Keys, of each side, that are compared to name the nearest."""
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
            there, or what a callable of the user's own returns.
        classes: of published weights; 0: they have no head.
    """

    identity: str
    path: Path | None = None
    url: str = ""
    fetch: Callable[[], Any] | None = field(default=None, compare=False)
    classes: int | None = None


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


def find_backbone(
    model_settings: ModelSettings, backbone: str, base: Path | None = None
) -> CheckpointSource:
    """Find the weights of `baseline.backbone`, as `find_checkpoint`.

    Args:
        backbone: as for `find_checkpoint`; the name of the network itself, for its published
            weights; or `package.module:callable`, which is imported.

    Raises:
        ParameterError: if a callable cannot be imported; else as `find_checkpoint`.
    """
    if is_own_code(backbone):
        return CheckpointSource(backbone, fetch=import_callable(_BACKBONE, backbone, base))
    name, package = model_settings.name, backbone.partition(":")[0]
    if backbone == name:
        backbone = PUBLISHED.get(package, backbone)
    elif package == "timm" and backbone != PUBLISHED["timm"]:
        raise DataError(
            f"{_BACKBONE}: must be weights of model.name, got {backbone!r} for {name!r}. Write "
            f"model: {{name: {backbone}}}."
        )
    with naming(backbone=True):
        return find_checkpoint(model_settings, backbone, base)


@contextmanager
def naming(*, backbone: bool) -> Iterator[None]:
    """Name the backbone, if it is one, in errors, which begin with the checkpoint."""
    try:
        yield
    except DataError as error:
        if not backbone:
            raise
        raise DataError(str(error).replace(_WHERE, _BACKBONE)) from error


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
    under "state_dict", "model_state_dict", "model" or "net", and its keys as `fit_keys` takes them.
    It is read with `weights_only=True`: files that would run code are refused.  If the weights
    contain a normalisation (`normalize.mean`), like exports, it takes precedence over the settings.

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
    _check_classes(model, source, checkpoint)
    _load(model, model_settings.name, checkpoint, source, by_order=by_order)


def load_backbone(
    model: nn.Module, model_settings: ModelSettings, backbone: str, base: Path | None = None
) -> str:
    """Load all weights of a backbone into a network but its head, which becomes 0.

    Args:
        model: on the CPU, built from the settings, with the classes of its new head; changed in
            place.
        backbone: as for `find_backbone`; base: folder that a relative path starts from.

    Returns:
        sha256 of the weights that it has now, without the head.

    Raises: as `find_backbone` and `load_external`; ParameterError if a callable fails.
    """
    source, own = find_backbone(model_settings, backbone, base), model.state_dict()
    for key in _of_head(model, own):  # a random one may begin with a loss of 10
        own[key].zero_()
    with naming(backbone=True):
        _load(model, model_settings.name, backbone, source, has_new_head=True)
    digest = hashlib.sha256()
    for key in sorted(own.keys() - _of_head(model, own)):
        digest.update(f"{key} {own[key].dtype} {tuple(own[key].shape)}".encode())
        digest.update(own[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_fit(
    model: nn.Module, name: str, weights: str, source: CheckpointSource, *, has_new_head: bool
) -> str:
    """Check that weights which were found fit a network; nothing is fetched, no callable called.

    Args:
        model: of the data's classes; may be without memory.
        name: its name; weights: theirs, for messages.
        has_new_head: whether they are a backbone.

    Returns:
        What is left out of a file's keys, as `fit_keys` says it.

    Raises:
        DataError: if they do not.
    """
    left_out = ""
    with naming(backbone=has_new_head):
        if not has_new_head:
            _check_classes(model, source, weights)
        if source.path is not None:
            state, left_out = fit_keys(model.state_dict(), read_state(source.path, weights))
            state = _with_new_head(model, state) if has_new_head else state
            _check_keys(model, state, name, weights)
    return left_out


def _load(
    model: nn.Module,
    name: str,
    checkpoint: str,
    source: CheckpointSource,
    *,
    by_order: bool = False,
    has_new_head: bool = False,
) -> None:
    state, own = _read_source(source, checkpoint), model.state_dict()
    for key, tensor in state.items():  # before shapes are compared: a nested tensor has none
        if tensor.is_meta:
            raise _wrong_values(checkpoint, key, "without values (device meta)")
        if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
            kind = "nested" if tensor.is_nested else f"{tensor.layout}, {tensor.dtype}"
            raise _wrong_values(checkpoint, key, f"stored as {kind.replace('torch.', '')}")
    if by_order:
        state = match_by_order(own, state, name, checkpoint)
    state, _ = fit_keys(own, state)
    if has_new_head:
        state = _with_new_head(model, state)
    _check_keys(model, state, name, checkpoint)
    _check_values(own, state, checkpoint)
    put_weights(model, state, strict=False)


def _read_source(source: CheckpointSource, checkpoint: str) -> dict[str, Tensor]:
    if source.path is not None:
        return read_state(source.path, checkpoint)
    assert source.fetch is not None
    try:
        fetched = source.fetch()
    except (Exception, SystemExit) as error:
        if not source.url:
            raise ParameterError(
                f"{_BACKBONE}: {checkpoint} must return a network or a state dict when called, got "
                f"{error_text(error)}. Fix it."
            ) from error
        raise DataError(
            f"{_WHERE}: cannot fetch {checkpoint}, got {error_text(error)}. Download "
            f"{source.url} elsewhere",
            "and set baseline.checkpoint: FILE.",
            parameter_fix="and give `checkpoint`.",
        ) from error
    is_network = isinstance(fetched, nn.Module)
    return fetched.state_dict() if is_network else _unwrap(fetched, checkpoint)


def _with_new_head(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with a network's own head in place of its."""
    own = model.state_dict()
    left = {key: state[key] for key in state.keys() - _of_head(model, state)}
    return left | {key: own[key] for key in _of_head(model, own)}


def _of_head(model: nn.Module, state: Iterable[str]) -> set[str]:
    heads = tuple(f"{path}." for path in head_of(model))
    return {key for key in state if key.startswith(heads)}


def read_state(path: Path, checkpoint: str) -> dict[str, Tensor]:
    """The tensors of a file, as `load_external` reads them.

    Raises:
        DataError: if it is damaged, holds something else, or would run code.
    """
    if kind := program_kind(path):
        raise DataError(
            f"{_WHERE}: must be a .safetensors file or a state dict, got {checkpoint!r}, a network "
            f"with its code ({kind}). Save state_dict() of the network that it was made from, and "
            "name that in model.name."
        )
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


def program_kind(path: Path) -> str:
    """What a file is that holds a network with its code: "torch.export", "TorchScript" or "ONNX";
    else empty."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return "ONNX" if path.suffix == ONNX_ENDING else ""
    if "archive_format" in names and any(name.startswith("models/") for name in names):
        return "torch.export"
    return "TorchScript" if any(name.startswith("code/") for name in names) else ""


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
    return dict(content)


def fit_keys(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Weights under a network's own keys: without a common beginning of wrappers (`model.`,
    `module.`, `_orig_mod.`, ...), and without counters, averages and optimisers beside them.

    Args:
        own: of the network; state: of the file.

    Returns:
        The weights, and what was left out of their keys, in one line; empty if nothing was.
    """
    wrapped = {_WRAPPERS.match(key)[0] for key in state}  # type: ignore[index]
    starts = {whole[:end] for whole in wrapped for end in range(len(whole) + 1)}
    start = max(sorted(starts, key=len), key=lambda one: sum(one + key in state for key in own))
    fitted = {key.removeprefix(start): value for key, value in state.items()}
    beside = [key for key in fitted if key not in own and _BESIDE.fullmatch(key)]
    said = [f"the common {start!r} of its keys"] if start else []
    said += (
        [f"{count_text(len(beside), 'key')} beside the weights ({few(beside)})"] if beside else []
    )
    left = {key: value for key, value in fitted.items() if key not in beside}
    return left, f"left out: {' and '.join(said)}" if said else ""


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
        if key.endswith("running_var") and (wrong := int((held < 0).sum())):
            raise _wrong_values(checkpoint, key, f"negative in {wrong} of {held.numel()} values")
    weights = [key for key in state if key.endswith("weight")]
    if weights and not any(state[key].any() for key in weights):
        raise _wrong_values(checkpoint, weights[0], "and every other weight 0")


def _wrong_values(checkpoint: str, key: str, got: str) -> DataError:
    return DataError(
        f"{_WHERE}: must contain dense, finite, floating-point weights, got {checkpoint!r} with "
        f"{show_name(key)} {got}. Save model.state_dict() of the trained network in float32."
    )


def _check_classes(model: nn.Module, source: CheckpointSource, checkpoint: str) -> None:
    mine = _class_count(model, model.state_dict())
    if source.classes is not None and mine and source.classes != mine:
        raise _wrong_head(checkpoint, mine, source.classes)


def _class_count(model: nn.Module, state: Mapping[str, Tensor]) -> int:
    """Outputs of the head in a state; 0 without one."""
    weights = (state.get(f"{path}.weight") for path in head_of(model))
    return next((len(weight) for weight in weights if weight is not None), 0)


def _wrong_head(checkpoint: str, classes: int, got: int) -> DataError:
    has = f"with {got:,}" if got else "without a head"
    return DataError(
        f"{_WHERE}: must have the {classes} classes of the data set, got {checkpoint!r} {has}.",
        f"Write baseline.backbone: {checkpoint} in place of it and of saw_validation, which trains "
        "a new head.",
        parameter_fix="Choose the data set that it was trained on, or train a new head: ablate "
        "init `data=FOLDER` `backbone=FILE`.",
    )


def _check_keys(model: nn.Module, state: Mapping[str, Tensor], name: str, checkpoint: str) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not _OPTIONAL.fullmatch(key)]
    unexpected = [show_name(key) for key in state if key not in own]
    others = [key for key in own if key in state and state[key].shape != own[key].shape]
    reshaped = [
        f"{show_name(key)} {tuple(state[key].shape)} for {tuple(own[key].shape)}" for key in others
    ]
    wrong = {*missing, *others, *(state.keys() - own.keys())}
    if wrong and wrong == _of_head(model, wrong):
        raise _wrong_head(checkpoint, _class_count(model, own), _class_count(model, state))
    listed = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    problems = [f"{len(keys)} {what} ({few(keys)})" for what, keys in listed.items() if keys]
    if problems:
        raise DataError(
            f"{_WHERE}: must contain the weights of {name}, got {checkpoint!r} with keys "
            f"{', '.join(problems)}{_nearest(own, missing, state)}.",
            "Name its network in model.name; its classes must be those of the data set.",
            parameter_fix="Name its network as MODEL; its classes must be those of the data set.",
        )


def _nearest(own: Mapping[str, Tensor], missing: list[str], state: Mapping[str, Tensor]) -> str:
    """The three pairs of a missing key and another of its shape that are most alike."""
    others = [key for key in state if key not in own][:_MOST_COMPARED]
    pairs = [
        (SequenceMatcher(None, key, other).ratio(), f"{key} for {show_name(other)}")
        for key in missing[:_MOST_COMPARED]
        for other in others
        if own[key].shape == state[other].shape
    ]
    nearest = [text for _, text in sorted(pairs, reverse=True)[:3]]
    return f"; nearest: {', '.join(nearest)}" if nearest else ""


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
    last = {key.rpartition(".")[2]: key for key in state}
    inside = {ours: last[one] for one, ours in _ROBUSTBENCH.items() if one in last and ours in own}
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
