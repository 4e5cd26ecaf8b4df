"""Any network for evaluation: takes images in [0, 1] of any size and returns logits."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.data.dataset import Statistics
from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import DataError, ParameterError, UsageError, error_text
from ablate.files.shown import count_text, show_name
from ablate.model.build import build_model, logits_of
from ablate.model.modes import kept_mode
from ablate.model.normalization import carried_statistics
from ablate.model.origin import EXPORT_ENDING, Normalization, Origin, unknown_normalization
from ablate.model.weights.external_checkpoint import load_external

_PROBED = 3
_SAME, _ALIKE = 1e-3, 0.05
"""How far two answers on an image may lie apart, as shares of the spread of all logits."""
_LONGEST = 300
_IN_FP32 = "Write it in fp32."
_FIXES = {
    "when training": "Write it after .eval().",
    "channel": "Give `mean` and `std` a number for each channel that it takes, 3 or 1.",
    "scalar type": _IN_FP32,
    "Input type": _IN_FP32,
    "dtype": _IN_FP32,
}
_OTHER_FIX = "Give `image_size`, or write the file for a batch of any size."
_DAMAGED = (
    *(RuntimeError, ValueError, OSError, KeyError, TypeError),
    *(AssertionError, AttributeError, pickle.PickleError, zipfile.BadZipFile),
)
"""What torch raises of a file that is damaged, or was made by somebody else."""


class Subject(nn.Module):
    """A network ready for evaluation: takes images in [0, 1] of any size, checks its output.

    Attributes:
        network: called with normalised images of its size; name: for messages.
        identity: of the weights.
        classes: required of the output, at least so many if it `may_have_more`.
        image_size: input size in pixels, to which images are resized; None: that of the images.
        statistics: for normalisation; None: a network in memory normalises itself.
        is_normalizing: whether images are normalised here, and not in the network.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        name: str,
        identity: str,
        classes: int,
        image_size: int | None,
        *,
        statistics: Statistics | None,
        is_normalizing: bool,
        may_have_more: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.name, self.identity, self.classes = name, identity, classes
        self.image_size, self.statistics = image_size, statistics
        self.is_normalizing = is_normalizing and statistics is not None
        self.may_have_more = may_have_more
        mean, std = statistics or ((0.0,), (1.0,))
        self.register_buffer("image_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Subject:
        try:
            super().train(mode)
        except NotImplementedError:  # torch.export: the mode that it was written in
            self.training = mode
        return self

    def forward(self, images: Images) -> Tensor:
        shown, side = images, self.image_size
        if side is not None and shown.shape[-2:] != (side, side):
            shown = functional.interpolate(
                shown, size=(side, side), mode="bilinear", antialias=True
            )
        if self.is_normalizing:
            if shown.shape[1] == 3 and self.image_mean.shape[1] == 1:
                luma = torch.tensor(LUMA, device=shown.device).view(1, 3, 1, 1)
                shown = (shown * luma).sum(1, keepdim=True)
            shown = (shown - self.image_mean) / self.image_std
        logits = logits_of(self.network(shown.contiguous(memory_format=torch.channels_last)))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            raise ParameterError(
                f"`model`: {self.name} must return the logits (images, classes) as one tensor, got "
                f"{_describe(logits)}. Return only logits, without features or auxiliary outputs."
            )
        more = logits.shape[1] - self.classes
        if more < 0 or (more > 0 and not self.may_have_more):
            raise ParameterError(
                f"`model`: {self.name} must have an output for each of the data set's "
                f"{self.classes} classes, got {logits.shape[1]}. Choose the data set that it was "
                "trained on, or another network."
            )
        return logits


def build_subject(
    origin: Origin,
    classes: int,
    normalization: Normalization,
    *,
    image_size: int | None = None,
    by_order: bool = False,
    device: str = "cpu",
    module: nn.Module | None = None,
    may_have_more: bool = False,
) -> Subject:
    """Build the network with its weights, ready for evaluation.

    Args:
        origin: result of `find_origin`.
        classes: number of classes of the data set, required of the output.
        normalization: as given.
        image_size: input size in pixels; None: the network's own, if known.
        by_order: match a file's tensors by their order.
        device: "cpu" or "cuda", where it will run.
        module: a network in memory; it is not changed.
        may_have_more: whether a file or a module may have more outputs than `classes`, since only
            labels say how many it needs.

    Raises:
        UsageError: if the normalisation is unknown.
        ParameterError: if the network cannot be built, or its normalisation is given twice.
        DataError: if weights or file are missing, damaged or of another network.
    """
    normalization.check()
    if by_order and (origin.kind != "network" or (origin.checkpoint or "").endswith(EXPORT_ENDING)):
        raise UsageError(
            "`checkpoint_order`: needs a `checkpoint` written by torch.save, got "
            f"{origin.checkpoint or origin.name}, which keeps no order. Leave it out."
        )
    network: nn.Module
    statistics: Statistics | None
    identity, is_normalizing = origin.identity, False
    if origin.kind == "network":
        network, statistics = _build_network(origin, classes, normalization, by_order=by_order)
        may_have_more = False
    elif origin.kind == "program":
        statistics, is_normalizing = normalization.resolve(origin), True
        network, _ = load_program(Path(origin.name), device)
    else:
        assert module is not None
        network, identity = module, _state_identity(module)
        statistics = carried_statistics(module)
        if statistics is None:
            statistics, is_normalizing = normalization.resolve(origin), True
        elif normalization.is_given:
            raise _given_twice(origin.name, statistics)
    return Subject(
        network,
        origin.name,
        identity,
        classes,
        image_size or origin.image_size,
        statistics=statistics,
        is_normalizing=is_normalizing,
        may_have_more=may_have_more,
    )


def _build_network(
    origin: Origin, classes: int, normalization: Normalization, *, by_order: bool
) -> tuple[nn.Module, Statistics]:
    statistics = normalization.resolve(origin)
    given = statistics or Statistics((float("nan"),) * 3, (1.0,) * 3)
    # "dataset" uses the given statistics.
    settings = origin.settings.model_copy(update={"normalization": "dataset"})
    network = build_model(settings, classes, given.mean, given.std, 0, base=Path())
    assert origin.checkpoint is not None
    load_external(network, origin.settings, origin.checkpoint, Path(), by_order=by_order)
    inside = carried_statistics(network)
    if inside is not None and inside.mean[0] != inside.mean[0]:  # NaN: the weights have none
        raise unknown_normalization(origin.name)
    # Statistics in the weights, or recorded in an export, are not overridden silently.
    own = inside if origin.metadata is None else origin.statistics
    if normalization.is_given and own is not None and not _are_close(own, given):
        raise _given_twice(origin.name, own)
    return network, inside or given


def _are_close(one: Statistics, other: Statistics) -> bool:
    """Whether two differ by no more than rounding."""
    return len(one.mean) == len(other.mean) and all(
        abs(a - b) < 1e-4
        for mine, yours in zip(one, other, strict=True)
        for a, b in zip(mine, yours, strict=True)
    )


def _given_twice(name: str, inside: Statistics) -> ParameterError:
    mean, std = (", ".join(f"{value:.4g}" for value in part) for part in inside)
    return ParameterError(
        f"`normalization`: {name} has its own, mean ({mean}) and std ({std}), got a different one. "
        "Leave the option out."
    )


def _state_identity(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor):
            values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(values.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True)
class Probed:
    """Results of a network on test inputs.

    Attributes:
        outputs: number of classes.
        gives_probabilities: whether it returns probabilities instead of logits.
    """

    outputs: int
    gives_probabilities: bool


def probe(subject: Subject, shape: Sequence[int], device: str = "cpu") -> Probed:
    """Run the network on a few random images, so that problems are reported before the work.

    Args:
        shape: channel, height, width of the images.
        device: where it will run; the network is moved there.

    Raises:
        ParameterError: if it does not accept them, does not return logits of the right width, or
            its logits for an image vary between calls or batches, as in training mode.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_PROBED, *shape, generator=generator)
    # Of different brightness, to detect a batch norm in training mode.
    images *= torch.linspace(1, 0.2, _PROBED).view(-1, 1, 1, 1)
    images = images.to(device)
    subject.to(device)
    with kept_mode(subject), torch.inference_mode():
        subject.eval()
        logits = _show(subject, images)
        again = _show(subject, images)
        alone = _show(subject, images[:1])
    # Sums over a batch are rounded otherwise than those of one image, coarsely so in 16 bits.
    spread = max(float(logits.max() - logits.min()), float(logits.abs().max()) / 100, 1e-6)
    differs = bool(((logits - again).abs() > _SAME * spread).any())
    if differs or bool(((logits[:1] - alone).abs() > _ALIKE * spread).any()):
        raise ParameterError(
            f"`model`: {subject.name} must give an image the same logits each time and in any "
            "batch, got different ones. Write it after .eval()."
        )
    sums = logits.sum(dim=1)
    probabilities = bool((logits >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())
    return Probed(logits.shape[1], probabilities)


def _show(subject: Subject, images: Tensor) -> Tensor:
    try:
        logits: Tensor = subject(images)
    except ParameterError:
        raise
    except (Exception, SystemExit) as error:
        text = error_text(error)
        if "TorchScript interpreter" in str(error):  # which puts its own stack before the cause
            text = str(error).strip().splitlines()[-1].strip()
        fix = next((fix for word, fix in _FIXES.items() if word in text), _OTHER_FIX)
        side = subject.image_size or images.shape[-1]
        raise ParameterError(
            f"`model`: {subject.name} must take {count_text(len(images), 'image')} of "
            f"{side} x {side} at once, got {text.rstrip('!.')[:_LONGEST]}. {fix}"
        ) from error
    return logits.float()


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        return f"shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict of {', '.join(map(str, output)) or 'nothing'}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return type(output).__name__


# -- Networks that come as a file with their code: TorchScript, and torch.export's .pt2


def load_program(
    path: Path, device: str = "cpu"
) -> tuple[nn.Module, Literal["TorchScript", "torch.export"]]:
    """Load a network from a file, to be called with normalised images.

    Reading a .pt2 file can run code that its writer put there, as torch reads it: only files of
    people that one trusts.  TorchScript runs in torch's own interpreter.

    Args:
        device: "cpu" or "cuda": where it will run, required for a .pt2 file.

    Returns:
        The network, and which of the two wrote the file.

    Raises:
        DataError: if the file is missing, damaged, or contains weights without a network.
    """
    shown = show_name(path)
    if not path.is_file():
        raise DataError(f"{shown}: must be a file, got no such file. Correct the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        names = []
    kind: Literal["TorchScript", "torch.export"] = "TorchScript"
    if "archive_format" in names and any(name.startswith("models/") for name in names):
        kind = "torch.export"
    elif not any(name.startswith("code/") for name in names):
        raise DataError(
            f"{shown}: must be a network with its code (TorchScript, torch.export), got a file "
            "without code. If it is a state dict, name its network: ablate evaluate NAME "
            f"--checkpoint {shown}."
        )
    try:
        # Torch does not compare the checksums that it writes, and would score other weights.
        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"a wrong checksum of {show_name(member)}")
        if kind == "TorchScript":
            with warnings.catch_warnings():
                # torch (2.13, 2.15) advises writers of such files; a reader cannot follow it.
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", FutureWarning)
                module: nn.Module = torch.jit.load(str(path), "cpu")  # type: ignore[no-untyped-call]
            return module, kind
        exported = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            exported = move_to_device_pass(exported, device)
        return exported.module(), kind
    except _DAMAGED as error:
        raise DataError(
            f"{shown}: must be a complete {kind} file, got {error_text(error)}. Write it again "
            "with this torch."
        ) from error
