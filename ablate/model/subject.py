"""Any network for evaluation: takes images in [0, 1] of any size and returns logits."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.data.dataset import Statistics
from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import DataError, ParameterError, UsageError, error_text
from ablate.files.shown import show_name
from ablate.model.build import build_model, logits_of
from ablate.model.modes import kept_mode
from ablate.model.normalization import carried_statistics
from ablate.model.origin import (
    EXPORT_ENDING,
    Normalization,
    Origin,
    are_close,
    said_twice,
    unsaid,
)
from ablate.model.weights.external_checkpoint import load_external

_PROBED = 3
_SAME, _ALIKE = 1e-3, 0.05
"""How far two answers on an image may lie apart, as shares of the spread of all logits."""
_LONGEST = 300
_IN_FP32 = "Write it in fp32."
_FIXES = {
    "when training": "Write it after .eval().",
    "channel": "Give --mean and --std a number for each channel that it takes, 3 or 1.",
    "scalar type": _IN_FP32,
    "Input type": _IN_FP32,
    "dtype": _IN_FP32,
}
_DAMAGED = (
    *(RuntimeError, ValueError, OSError, KeyError, TypeError),
    *(AssertionError, AttributeError, pickle.PickleError, zipfile.BadZipFile),
)
"""What torch raises of a file that is damaged, or was made by somebody else."""
_OTHER_FIX = "Give --image-size, or write the file for a batch of any size."


@dataclass(frozen=True)
class Subject:
    """A network ready for evaluation.

    Attributes:
        model: takes images in [0, 1], checks its output.
        name: for messages; identity: of the weights.
        parameters: number of trainable parameters.
        image_size: input size in pixels; None: the size of the images.
        statistics: for normalisation; None: a network in memory normalises itself.
    """

    model: nn.Module = field(repr=False)
    name: str
    identity: str
    parameters: int
    image_size: int | None
    statistics: Statistics | None


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
    side = image_size or origin.image_size
    if by_order and (origin.kind != "network" or (origin.checkpoint or "").endswith(EXPORT_ENDING)):
        raise UsageError(
            "--checkpoint-order: needs a --checkpoint written by torch.save, got "
            f"{origin.checkpoint or origin.name}, which keeps no order. Leave it out."
        )
    if origin.kind == "network":
        return _build_network(origin, classes, normalization, side, by_order=by_order)
    if origin.kind == "program":
        statistics = normalization.resolve(origin)
        program = load_program(Path(origin.name), device)
        model = ShownNetwork(
            *(program.module, origin.name, classes, statistics, side),
            fixed_mode=program.fixed_mode,
            may_have_more=may_have_more,
        )
        return Subject(model, origin.name, origin.identity, program.parameters, side, statistics)
    assert module is not None
    inside = carried_statistics(module)
    said = (normalization.choice or "auto", normalization.mean) != ("auto", None)
    if inside is not None and said:
        raise said_twice(origin.name, inside)
    outside = None if inside is not None else normalization.resolve(origin)
    return Subject(
        ShownNetwork(module, origin.name, classes, outside, side, may_have_more=may_have_more),
        origin.name,
        _state_identity(module),
        sum(one.numel() for one in module.parameters()),
        side,
        inside or outside,
    )


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
    subject.model.to(device)
    with kept_mode(subject.model), torch.inference_mode():
        subject.model.eval()
        logits = _show(subject, images)
        again = _show(subject, images)
        alone = _show(subject, images[:1])
    # Sums over a batch are rounded otherwise than those of one image, coarsely so in 16 bits.
    spread = max(float(logits.max() - logits.min()), float(logits.abs().max()) / 100, 1e-6)
    differs = bool(((logits - again).abs() > _SAME * spread).any())
    if differs or bool(((logits[:1] - alone).abs() > _ALIKE * spread).any()):
        raise ParameterError(
            f"MODEL: {subject.name} must give an image the same logits each time and in any batch, "
            "got different ones. Write it after .eval()."
        )
    sums = logits.sum(dim=1)
    probabilities = bool((logits >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all())
    return Probed(logits.shape[1], probabilities)


def _show(subject: Subject, images: Tensor) -> Tensor:
    try:
        logits: Tensor = subject.model(images)
    except ParameterError:
        raise
    except (Exception, SystemExit) as error:
        text = _cause(error)
        fix = next((fix for word, fix in _FIXES.items() if word in text), _OTHER_FIX)
        side, count = subject.image_size or images.shape[-1], len(images)
        raise ParameterError(
            f"MODEL: {subject.name} must take {count} image{'s' if count > 1 else ''} of {side} x "
            f"{side} at once, got {text}. {fix}"
        ) from error
    return logits.float()


def _cause(error: BaseException) -> str:
    """On one line; TorchScript puts its own stack before it."""
    text = str(error)
    if "TorchScript interpreter" in text:
        return text.strip().splitlines()[-1].strip().rstrip("!.")[:_LONGEST]
    return error_text(error).rstrip("!.")[:_LONGEST]


def _build_network(
    origin: Origin,
    classes: int,
    normalization: Normalization,
    side: int | None,
    *,
    by_order: bool,
) -> Subject:
    statistics = normalization.resolve(origin)
    unknown = Statistics((float("nan"),) * 3, (1.0,) * 3)
    # "dataset" uses the given statistics.
    settings = origin.settings.model_copy(update={"normalization": "dataset"})
    given = statistics or unknown
    network = build_model(settings, classes, given.mean, given.std, 0, base=Path())
    assert origin.checkpoint is not None
    load_external(network, origin.settings, origin.checkpoint, Path(), by_order=by_order)
    inside = carried_statistics(network)
    if inside is not None and inside.mean[0] != inside.mean[0]:
        raise unsaid(origin.name)
    # Statistics in the weights, or recorded in an export, are not overridden silently.
    own = inside if origin.metadata is None else origin.statistics
    is_said = normalization.mean is not None or normalization.choice not in (None, "auto")
    if is_said and own is not None and not are_close(own, given):
        raise said_twice(origin.name, own)
    return Subject(
        ShownNetwork(network, origin.name, classes, None, side),
        origin.name,
        origin.identity,
        sum(one.numel() for one in network.parameters()),
        side,
        inside or given,
    )


def _state_identity(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor):
            values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(values.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


# -- Steps before and after a network: resizing, normalising, checking the output


class ShownNetwork(nn.Module):
    """A network with resizing and normalisation of its input, and checks of its output.

    Args:
        network: called with normalised images of its size.
        name: for messages.
        classes: required of the output.
        statistics: for normalising images; None: not normalised.
        side: input size in pixels for resizing; None: no resizing.
        fixed_mode: whether its mode cannot be changed.
        may_have_more: whether it may have more outputs than needed, because only labels define the
            number.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        name: str,
        classes: int,
        statistics: Statistics | None,
        side: int | None,
        *,
        fixed_mode: bool = False,
        may_have_more: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.name, self.classes, self.side = name, classes, side
        self.normalized = statistics is not None
        self.fixed_mode, self.may_have_more = fixed_mode, may_have_more
        for buffer, values in zip(
            ("image_mean", "image_std"), statistics or ((0.0,), (1.0,)), strict=True
        ):
            self.register_buffer(buffer, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> ShownNetwork:
        if self.fixed_mode:
            self.training = mode
            return self
        super().train(mode)
        return self

    def forward(self, images: Images) -> Tensor:
        shown = images
        if self.side is not None and shown.shape[-2:] != (self.side, self.side):
            shown = functional.interpolate(
                shown, size=(self.side, self.side), mode="bilinear", antialias=True
            )
        if self.normalized:
            if shown.shape[1] == 3 and self.image_mean.shape[1] == 1:
                luma = torch.tensor(LUMA, device=shown.device).view(1, 3, 1, 1)
                shown = (shown * luma).sum(1, keepdim=True)
            shown = (shown - self.image_mean) / self.image_std
        logits = logits_of(self.network(shown.contiguous(memory_format=torch.channels_last)))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else _shape(logits)
            raise ParameterError(
                f"MODEL: {self.name} must return the logits (images, classes) as one tensor, got "
                f"{got}. Return only logits, without features or auxiliary outputs."
            )
        more = logits.shape[1] - self.classes
        if more < 0 or (more > 0 and not self.may_have_more):
            raise ParameterError(
                f"MODEL: {self.name} must have an output for each of the data set's {self.classes} "
                f"classes, got {logits.shape[1]}. Choose the data set that it was trained on, or "
                "another network."
            )
        return logits


def _shape(output: object) -> str:
    if isinstance(output, Mapping):
        keys = ", ".join(map(str, output))
        return f"a dict of {keys or 'nothing'}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of {len(output)}"
    return type(output).__name__


# -- Networks that come as a file with their code: TorchScript, and torch.export's .pt2
#
# Reading a .pt2 file can run code that its writer put there, as torch reads it: only files of
# people that one trusts.  TorchScript runs in torch's own interpreter.


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
    """Load a network from a file.

    Args:
        device: "cpu" or "cuda": where it will run, required for a .pt2 file.

    Raises:
        DataError: if the file is missing, damaged, or contains weights without a network.
    """
    shown = show_name(path)
    kind = _kind(path, shown)
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
        else:
            exported = torch.export.load(path)
            if device != "cpu":
                from torch.export.passes import move_to_device_pass

                exported = move_to_device_pass(exported, device)
            module = exported.module()
    except _DAMAGED as error:
        text = error_text(error)
        raise DataError(
            f"{shown}: must be a complete {kind} file, got {text}. Write it again with this torch."
        ) from error
    parameters = sum(one.numel() for one in module.parameters())
    return Program(module, kind, parameters, fixed_mode=kind == "torch.export")


def _kind(path: Path, shown: str) -> str:
    if not path.is_file():
        raise DataError(f"{shown}: must be a file, got no such file. Correct the path.")
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
        f"{shown}: must be a network with its code (TorchScript, torch.export), got a file without "
        f"code. If it is a state dict, name its network: ablate evaluate NAME --checkpoint {shown}."
    )
