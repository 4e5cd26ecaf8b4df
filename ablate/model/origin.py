"""What a MODEL names, found before anything is built: whose network, whose weights, which input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from ablate.data.dataset import Statistics
from ablate.errors import (
    DataError,
    MissingDependencyError,
    ParameterError,
    UsageError,
    did_you_mean,
)
from ablate.errors.installation import pip_install
from ablate.files.shown import show_name
from ablate.model import MODELS, is_external
from ablate.model.build import own_image_size, own_statistics
from ablate.model.inspect import torchvision_names
from ablate.model.normalization import IMAGENET, Choice, explain_choices
from ablate.model.trained import TrainedNetwork
from ablate.model.weights.export_metadata import ExportMetadata, read_metadata
from ablate.model.weights.external_checkpoint import find_checkpoint
from ablate.study.settings import ModelSettings, statistic_rule

EXPORT_ENDING = ".safetensors"
PROGRAM_ENDINGS = (".pt", ".pth", ".ts", ".pt2")
"""Extensions of files that may be a network with its code; the type is determined from their
content."""
_HALF = "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"
_NO_CHECKPOINT = "got no --checkpoint, and random weights cannot be evaluated"


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

    @property
    def settings(self) -> ModelSettings:
        """Settings for building a named network."""
        return ModelSettings(name=self.name)


def find_origin(model: str, checkpoint: str | None) -> Origin:
    """Find the network of MODEL and --checkpoint.

    Args:
        model: what `model.name` takes; the bare name of a network of torchvision or timm; a
            .safetensors export of a trial; a TorchScript or torch.export file.
        checkpoint: weights of a network that is named: a file, `torchvision:WEIGHTS` or
            `timm:pretrained`.

    Raises:
        UsageError: if weights are missing or named twice, or the file is of ONNX.
        ParameterError: if the name is unknown.
        DataError: if a file is missing, damaged or of another kind.
        MissingDependencyError: if the network is timm's, which is not installed.
    """
    ending = Path(model).suffix
    if ending.lower() == ".onnx":
        raise UsageError(
            f"MODEL: ONNX files are not scored, got {show_name(model)}. Evaluate the .safetensors "
            "(`ablate export ... -o NAME.safetensors`) or .pt2 export."
        )
    is_name = model in MODELS or is_external(model)
    is_file = ending in (EXPORT_ENDING, *PROGRAM_ENDINGS) or (Path(model).is_file() and not is_name)
    if is_file and not Path(model).is_file():
        raise DataError(
            f"MODEL: must be a network or an existing file, got {show_name(model)}. Correct the "
            "path."
        )
    if is_file and checkpoint is not None:
        raise UsageError(
            f"--checkpoint: applies only to a named network, got it with the file {model}. Leave "
            "one of them out."
        )
    if ending == EXPORT_ENDING:
        return _find_export(model)
    if is_file:
        identity = _identity(model)
        return Origin(model, "program", identity=identity)
    return _find_network(model, checkpoint)


def module_origin(module: object, checkpoint: str | None) -> Origin:
    """A network in memory; one of `load_model` is known as its exported file is.

    Raises:
        ParameterError: if it is not a module.
        UsageError: if weights are given too.
    """
    if not isinstance(module, nn.Module):
        raise ParameterError(
            "MODEL: must be a torch.nn.Module, a name or a file, got "
            f"{show_name(getattr(module, '__name__', type(module).__name__))}. Put the function "
            "into the forward of a module."
        )
    if checkpoint is not None:
        raise UsageError(
            "--checkpoint: applies only to a named network, got it with one in memory. Load the "
            "weights into it first."
        )
    if isinstance(module, TrainedNetwork):
        said = module.provenance
        return _as_exported(Origin(said.model, "module"), said)
    return Origin(type(module).__name__, "module")


def _find_export(file: str) -> Origin:
    identity = _identity(file)
    metadata = read_metadata(Path(file))
    if metadata is None:
        raise UsageError(
            f"{show_name(file)}: must record its network, as exports do, got a file without it. "
            f"Name the network: ablate evaluate NAME --checkpoint {show_name(file)}."
        )
    found = _describe(Origin(metadata.model, "network", file, identity))
    return _as_exported(found, metadata)


def _find_network(name: str, checkpoint: str | None) -> Origin:
    found, notes = find_name(name)
    if checkpoint is None:
        source = found.partition(":")[0]
        own = {"torchvision": "torchvision:DEFAULT", "timm": "timm:pretrained"}.get(source)
        fix = f"Give a file, or {own}." if own else "Give a file."
        raise UsageError(f"--checkpoint: {found} must have weights, {_NO_CHECKPOINT}. {fix}")
    settings = ModelSettings(name=found)
    if is_external(found):
        own_statistics(settings)  # an unknown network is reported before its weights
    source_of = find_checkpoint(settings, checkpoint, Path())
    origin = Origin(found, "network", checkpoint, source_of.identity, notes=notes)
    if source_of.path is not None and source_of.path.suffix == EXPORT_ENDING:
        metadata = read_metadata(source_of.path)
        if metadata is not None and metadata.model == found:
            return _as_exported(_describe(origin), metadata)
    if source_of.path is not None:
        return replace(origin, image_size=own_image_size(settings), is_silent=True)
    return _describe(origin)


def find_name(name: str) -> tuple[str, tuple[str, ...]]:
    """A network's full name: ours before torchvision's before timm's."""
    if name in MODELS or is_external(name):
        return name, ()
    if f"torchvision:{name}" in torchvision_names():
        return f"torchvision:{name}", (f"{name} is torchvision's: torchvision:{name}",)
    known = [*MODELS, *(full.partition(":")[2] for full in torchvision_names())]
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"MODEL: must be a known network or a file, got {name!r}, which neither ablate nor "
            f"torchvision has; timm is not installed. Run {pip_install('timm')}."
        ) from error
    if name.partition(".")[0] in timm.list_models():
        return f"timm:{name}", (f"{name} is timm's: timm:{name}",)
    raise ParameterError(
        f"MODEL: must be a known network or a file, got {name!r}. "
        f"{did_you_mean(name, [*known, *timm.list_models()])}"
    )


def _as_exported(origin: Origin, metadata: ExportMetadata) -> Origin:
    return replace(
        origin,
        metadata=metadata,
        image_size=metadata.image_size,
        resize=metadata.resize,
        statistics=Statistics(metadata.mean, metadata.std),
    )


def _describe(origin: Origin) -> Origin:
    """Add the statistics and sizes published with it."""
    settings = origin.settings
    found = replace(
        origin,
        image_size=own_image_size(settings),
        statistics=own_statistics(settings),
    )
    source, _, name = origin.name.partition(":")
    if source == "torchvision":
        return _describe_torchvision(found, name)
    if source == "timm":
        return _describe_timm(found, name)
    return found


def _describe_torchvision(origin: Origin, name: str) -> Origin:
    from torchvision.models import get_model_weights

    entries = get_model_weights(name).__members__
    chosen = (origin.checkpoint or "").partition(":")[2]
    if (origin.checkpoint or "").startswith("torchvision:") and chosen in entries:
        transforms = entries[chosen].transforms()
    else:
        made_for = [entry.transforms() for entry in entries.values()]
        transforms = next(one for one in made_for if one.crop_size[0] == origin.image_size)
    size, resize = int(transforms.crop_size[0]), int(transforms.resize_size[0])
    return _interpolated(
        replace(origin, image_size=size, resize=resize), transforms.interpolation.value
    )


def _describe_timm(origin: Origin, name: str) -> Origin:
    from ablate.model.timm import pretrained_config

    config = pretrained_config(name)
    if config is None or origin.image_size is None:
        return origin
    # timm rounds down, and cuts the middle of it.
    resize = math.floor(origin.image_size / config.crop_pct)
    return _interpolated(replace(origin, resize=resize), config.interpolation)


def _interpolated(origin: Origin, interpolation: str) -> Origin:
    if interpolation == "bilinear":
        return origin
    note = f"files are resized bilinearly; the network's own evaluation uses {interpolation}"
    return replace(origin, notes=(*origin.notes, note))


def _identity(file: str) -> str:
    # The settings are read for published weights alone, and this is a file.
    return find_checkpoint(ModelSettings(name="resnet20"), file, Path()).identity


# -- Normalisation for an evaluated network: given, contained in the weights, or known -----


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

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: naming the option.
        """
        mean, std = self.mean, self.std
        if mean is None and std is None:
            return
        if self.choice is not None:
            raise ParameterError(
                "--normalization: cannot be combined with --mean and --std, got both. Leave one of "
                "them out."
            )
        if mean is None or std is None or len(mean) != len(std) or len(mean) not in (1, 3):
            got = " and ".join(str(0 if one is None else len(one)) for one in (mean, std))
            raise ParameterError(
                f"--mean and --std: must have a number for each channel, 3 or 1, got {got}. "
                "Write --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5."
            )
        for name, values in (("mean", mean), ("std", std)):
            for value in values:
                if rule := statistic_rule(name, value):
                    raise ParameterError(f"--{name}: {rule}")

    def resolve(self, origin: Origin) -> Statistics | None:
        """The statistics to build with; None: only the weights have them.

        Raises:
            UsageError: if they are unknown; they are never guessed.
            ParameterError: if the data set has none.
        """
        if self.mean is not None and self.std is not None:
            return Statistics(self.mean, self.std)
        if self.choice == "imagenet":
            return IMAGENET
        if self.choice == "none":
            return Statistics((0.0,) * 3, (1.0,) * 3)
        if self.choice == "dataset":
            if self.dataset is None:
                raise ParameterError(
                    "--normalization: dataset needs a data set with known training images, got "
                    "none. Give --mean and --std."
                )
            return self.dataset()
        if origin.statistics is not None:
            return origin.statistics
        if origin.kind == "network" and not is_external(origin.name):
            return None
        raise unsaid(origin.name)


def are_close(one: Statistics, other: Statistics) -> bool:
    """Whether two differ by no more than rounding."""
    if len(one.mean) != len(other.mean):
        return False
    return all(
        abs(a - b) < 1e-4
        for mine, yours in zip(one, other, strict=True)
        for a, b in zip(mine, yours, strict=True)
    )


def unsaid(name: str) -> UsageError:
    """The error for a network with unknown normalisation."""
    return UsageError(
        f"--mean and --std: must be given for {name}, whose normalisation is unknown, got none. "
        f"Give what it was trained with: --normalization {explain_choices(_HALF)}."
    )


def said_twice(name: str, inside: Statistics) -> ParameterError:
    """The error for a network that contains a different normalisation."""
    mean, std = (", ".join(f"{value:.4g}" for value in one) for one in inside)
    return ParameterError(
        f"--normalization: {name} has its own, mean ({mean}) and std ({std}), got a different one. "
        "Leave the option out."
    )
