"""What a MODEL names, found before anything is built: whose network, whose weights, which input."""

from __future__ import annotations

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
    pip_install,
)
from ablate.files.shown import show_name
from ablate.model import MODELS, is_external
from ablate.model.build import own_image_size, published
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
_HALF = "`mean=[0.5, 0.5, 0.5]` `std=[0.5, 0.5, 0.5]`"


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
    """Find the network of `model` and `checkpoint`.

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
    path, shown = Path(model), show_name(model)
    if path.suffix.lower() == ".onnx":
        raise UsageError(
            f"`model`: ONNX files are not scored, got {shown}. Evaluate the .safetensors "
            "(`ablate export ... -o NAME.safetensors`) or .pt2 export."
        )
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
    if path.suffix != EXPORT_ENDING:
        return Origin(model, "program", identity=identity)
    metadata = read_metadata(path)
    if metadata is None:
        raise UsageError(
            f"{shown}: must record its network, as exports do, got a file without it. "
            f"Name the network: ablate evaluate NAME --checkpoint {shown}."
        )
    return _as_exported(_as_published(Origin(metadata.model, "network", model, identity)), metadata)


def module_origin(module: object, checkpoint: str | None) -> Origin:
    """A network in memory; one of `load_model` is known as its exported file is.

    Raises:
        ParameterError: if it is not a module.
        UsageError: if weights are given too.
    """
    if not isinstance(module, nn.Module):
        raise ParameterError(
            "`model`: must be a torch.nn.Module, a name or a file, got "
            f"{show_name(getattr(module, '__name__', type(module).__name__))}. Put the function "
            "into the forward of a module."
        )
    if checkpoint is not None:
        raise UsageError(
            "`checkpoint`: applies only to a named network, got it with one in memory. Load the "
            "weights into it first."
        )
    if isinstance(module, TrainedNetwork):
        return _as_exported(Origin(module.provenance.model, "module"), module.provenance)
    return Origin(type(module).__name__, "module")


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

    @property
    def is_given(self) -> bool:
        """Whether anything is stated."""
        return self.mean is not None or self.choice not in (None, "auto")

    def check(self) -> None:
        """Refuse what contradicts itself.

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
                if rule := statistic_rule(name, value):
                    raise ParameterError(f"`{name}`: {rule}")

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
