"""Any network for evaluation: found by its name or file, and made to take images in [0, 1]."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.data.dataset import Statistics
from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images
from ablate.errors import (
    DataError,
    MissingDependencyError,
    ParameterError,
    UsageError,
    did_you_mean,
    error_text,
    pip_install,
)
from ablate.files.shown import count_text, show_name
from ablate.model import MODELS, is_external
from ablate.model.build import build_model, logits_of, own_image_size, published
from ablate.model.inspect import torchvision_names
from ablate.model.modes import kept_mode
from ablate.model.normalization import (
    Choice,
    carried_statistics,
    choose_statistics,
    explain_choices,
)
from ablate.model.trained import TrainedNetwork
from ablate.model.weights.export_metadata import PROGRAM_ENDINGS, ExportMetadata, read_metadata
from ablate.model.weights.external_checkpoint import find_checkpoint, load_external
from ablate.model.weights.programs import load_program
from ablate.study.settings import ModelSettings, statistic_rule

EXPORT_ENDING = ".safetensors"
_HALF = "`mean=[0.5, 0.5, 0.5]` `std=[0.5, 0.5, 0.5]`"
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
    "data type": _IN_FP32,
    "Invalid rank": "Write it for images (batch, channel, height, width).",
}
_OTHER_FIX = "Give `image_size`, or write the file for a batch of any size."


@dataclass(frozen=True)
class Origin:
    """A network and its weights, located but not yet built.

    Attributes:
        name: value of `model.name`, or the file.
        kind: "network": built by its name; "program": a file with its code; "module": in memory.
        checkpoint: weights of a network, as `find_checkpoint` takes them.
        identity: of the weights' content; empty for a network in memory.
        metadata: of an export, or of a network that was loaded from one.
        image_size: input size in pixels that it was trained with; None: unknown.
        resize: shorter side in pixels before the centre crop in its own evaluation.
        statistics: for normalising its images; None: unknown.
        is_silent: whether its weights do not say at what size they were trained; then
            `image_size` is only that of the network's published weights.
        notes: where things were found.
        module: a network in memory; it is not changed.
    """

    name: str
    kind: Literal["network", "program", "module"]
    checkpoint: str | None = None
    identity: str = ""
    metadata: ExportMetadata | None = None
    image_size: int | None = None
    resize: int | None = None
    statistics: Statistics | None = None
    is_silent: bool = False
    notes: tuple[str, ...] = ()
    module: nn.Module | None = None

    @property
    def settings(self) -> ModelSettings:
        """Settings for building a named network."""
        channels = self.metadata.channels if self.metadata is not None else "rgb"
        return ModelSettings(name=self.name, channels=channels)


def find_origin(model: object, checkpoint: str | None) -> Origin:
    """Find the network of `model` and `checkpoint`.

    Args:
        model: what `model.name` takes; the bare name of a network of torchvision or timm; a
            .safetensors export of a trial; a TorchScript, torch.export or ONNX file; or a network
            in memory, where one of `load_model` is known as its exported file is.
        checkpoint: weights of a network that is named: a file, `torchvision:WEIGHTS` or
            `timm:pretrained`.

    Raises:
        UsageError: if weights are missing or named twice.
        ParameterError: if the name is unknown, or `model` is something else.
        DataError: if a file is missing, damaged or of another kind.
        MissingDependencyError: if it needs timm or onnxruntime, which is not installed.
    """
    if isinstance(model, nn.Module):
        if checkpoint is not None:
            raise UsageError(
                "`checkpoint`: applies only to a named network, got it with one in memory. Load "
                "the weights into it first."
            )
        if isinstance(model, TrainedNetwork):
            origin = Origin(model.provenance.model, "module", module=model)
            return _as_exported(origin, model.provenance)
        return Origin(type(model).__name__, "module", module=model)
    if not isinstance(model, (str, Path)):
        raise ParameterError(
            "`model`: must be a torch.nn.Module, a name or a file, got "
            f"{show_name(getattr(model, '__name__', type(model).__name__))}. Put the function "
            "into the forward of a module."
        )
    model, path, shown = str(model), Path(model), show_name(model)
    is_name = model in MODELS or is_external(model)
    if path.suffix not in (EXPORT_ENDING, *PROGRAM_ENDINGS) and (is_name or not path.is_file()):
        return _find_network(model, checkpoint)
    if not path.is_file():
        raise DataError(
            f"`model`: must be a network or an existing file, got {shown}. Correct the path."
        )
    if checkpoint is not None:
        raise UsageError(
            f"`checkpoint`: applies only to a named network, got it with the file {model}. Leave "
            "one of them out."
        )
    # Settings are read for published weights alone, and this is a file.
    identity = find_checkpoint(ModelSettings(name="resnet20"), model, Path()).identity
    metadata = read_metadata(path)
    if path.suffix != EXPORT_ENDING:
        origin = Origin(model, "program", identity=identity)
        return origin if metadata is None else _as_exported(origin, metadata)
    if metadata is None:
        raise UsageError(
            f"{shown}: must record its network, as exports do, got a file without it. "
            f"Name the network: ablate evaluate NAME --checkpoint {shown}."
        )
    return _as_exported(_as_published(Origin(metadata.model, "network", model, identity)), metadata)


def _find_network(name: str, checkpoint: str | None) -> Origin:
    full, notes = find_name(name)
    if checkpoint is None:
        defaults = {"torchvision": "torchvision:DEFAULT", "timm": "timm:pretrained"}
        own = defaults.get(full.partition(":")[0])
        raise UsageError(
            f"`checkpoint`: {full} must have weights, got no `checkpoint`, and random weights "
            f"cannot be evaluated. Give a file{f', or {own}' if own else ''}."
        )
    settings = ModelSettings(name=full)
    published(settings)  # an unknown network is reported before its weights
    weights = find_checkpoint(settings, checkpoint, Path())
    origin = Origin(full, "network", checkpoint, weights.identity, notes=notes)
    if weights.path is None:
        return _as_published(origin)
    if weights.path.suffix == EXPORT_ENDING:
        metadata = read_metadata(weights.path)
        if metadata is not None and metadata.model == full:
            return _as_exported(_as_published(origin), metadata)
    return replace(origin, image_size=own_image_size(settings), is_silent=True)


def find_name(name: str) -> tuple[str, tuple[str, ...]]:
    """A network's full name: ours before torchvision's before timm's; and notes of whose it is."""
    if name in MODELS or is_external(name):
        return name, ()
    if f"torchvision:{name}" in torchvision_names():
        return f"torchvision:{name}", (f"{name} is torchvision's: torchvision:{name}",)
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"`model`: must be a known network or a file, got {name!r}, which neither ablate nor "
            f"torchvision has; timm is not installed. Run {pip_install('timm')}."
        ) from error
    if name.partition(".")[0] in timm.list_models():
        return f"timm:{name}", (f"{name} is timm's: timm:{name}",)
    theirs = [full.partition(":")[2] for full in torchvision_names()]
    raise ParameterError(
        f"`model`: must be a known network or a file, got {name!r}. "
        f"{did_you_mean(name, [*MODELS, *theirs, *timm.list_models()])}"
    )


def _as_exported(origin: Origin, metadata: ExportMetadata) -> Origin:
    return replace(
        origin,
        metadata=metadata,
        image_size=metadata.image_size,
        resize=metadata.resize,
        statistics=Statistics(metadata.mean, metadata.std),
    )


def _as_published(origin: Origin) -> Origin:
    """Add the statistics and sizes published with the network."""
    package, _, weights = (origin.checkpoint or "").partition(":")
    found = published(origin.settings, weights if package == "torchvision" else "")
    if found is None:
        return replace(origin, image_size=own_image_size(origin.settings))
    notes = origin.notes
    if found.interpolation != "bilinear":
        other = f"the network's own evaluation uses {found.interpolation}"
        notes += (f"files are resized bilinearly; {other}",)
    return replace(
        origin,
        image_size=found.image_size,
        resize=found.resize,
        statistics=found.statistics,
        notes=notes,
    )


# -- Normalisation: given, contained in the weights, or known; it is never guessed ---------


@dataclass(frozen=True)
class Normalization:
    """The given normalisation of images.

    Attributes:
        choice: value of `model.normalization`; None: not given.
        mean, std: of each channel, both or none.
        dataset: gives the statistics of the data set's training images.
    """

    choice: Choice | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    dataset: Callable[[], Statistics] | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything is stated."""
        return self.mean is not None or self.choice not in (None, "auto")

    def check(self, value_range: int = 1) -> None:
        """Refuse what contradicts itself.

        Args:
            value_range: of the images that mean and std are of, as `model.value_range`.

        Raises:
            ParameterError: naming the parameter.
        """
        mean, std = self.mean, self.std
        if mean is None and std is None:
            return
        if self.choice is not None:
            raise ParameterError(
                "`normalization`: cannot be combined with `mean` and `std`, got both. Leave one of "
                "them out."
            )
        if mean is None or std is None or len(mean) != len(std) or len(mean) not in (1, 3):
            raise ParameterError(
                "`mean` and `std`: must have a number for each channel, 3 or 1, got "
                f"{len(mean or ())} and {len(std or ())}. Write {_HALF}."
            )
        for name, values in (("mean", mean), ("std", std)):
            for value in values:
                if rule := statistic_rule(name, value, value_range):
                    raise ParameterError(f"`{name}`: {rule}")

    def resolve(self, origin: Origin) -> Statistics | None:
        """The statistics to build with; None: only the weights have them.

        Raises:
            UsageError: if they are unknown; they are never guessed.
            ParameterError: if the data set has none.
        """
        if self.mean is not None and self.std is not None:
            return Statistics(self.mean, self.std)
        if self.choice in ("imagenet", "none"):
            return choose_statistics(self.choice, Statistics((0.0,) * 3, (1.0,) * 3), None)
        if self.choice == "dataset":
            if self.dataset is None:
                raise ParameterError(
                    "`normalization`: dataset needs a data set with known training images, got "
                    "none. Give `mean` and `std`."
                )
            return self.dataset()
        if origin.statistics is not None:
            return origin.statistics
        if origin.kind == "network" and not is_external(origin.name):
            return None
        raise unknown_normalization(origin.name)


def unknown_normalization(name: str) -> UsageError:
    """The error for a network with unknown normalisation."""
    return UsageError(
        f"`mean` and `std`: must be given for {name}, whose normalisation is unknown, got none. "
        f"Give what it was trained with: `normalization` {explain_choices(_HALF)}."
    )


# -- The network, built and tried out -------------------------------------------------------


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
        statistics, is_normalizing = normalization.resolve(origin), origin.metadata is None
        _check_given(origin, normalization, statistics, origin.statistics)
        network = load_program(Path(origin.name), device)
    else:
        assert origin.module is not None
        network, identity = origin.module, _state_identity(origin.module)
        statistics = carried_statistics(network)
        if statistics is None:
            statistics, is_normalizing = normalization.resolve(origin), True
        elif normalization.is_given:
            _check_given(origin, normalization, normalization.resolve(origin), statistics)
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
    _check_given(origin, normalization, given, own)
    return network, inside or given


def _check_given(
    origin: Origin, normalization: Normalization, given: Statistics | None, own: Statistics | None
) -> None:
    """Refuse statistics that are given and differ from the network's own by more than rounding."""
    if not normalization.is_given or given is None or own is None:
        return
    pairs = list(zip((*own.mean, *own.std), (*given.mean, *given.std), strict=False))
    if len(own.mean) != len(given.mean) or max(abs(a - b) for a, b in pairs) >= 1e-4:
        mean, std = (", ".join(f"{value:.4g}" for value in part) for part in own)
        raise ParameterError(
            f"`normalization`: {origin.name} has its own, mean ({mean}) and std ({std}), got a "
            "different one. Leave the option out."
        )


def _state_identity(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor):
            values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(values.numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


class Probed(NamedTuple):
    """What a network gives for test inputs: its number of classes, and whether it returns
    probabilities instead of logits."""

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
