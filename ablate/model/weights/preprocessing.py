"""Whether weights from elsewhere fit a study, and what they leave unsaid of how they were fed:
normalisation, size, crop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ablate.data.load import count_classes
from ablate.files.shown import show_name
from ablate.model import is_external, is_own_code
from ablate.model.build import build_skeleton, own_statistics
from ablate.model.normalization import explain_choices
from ablate.model.weights.export_metadata import read_metadata
from ablate.model.weights.external_checkpoint import (
    CheckpointSource,
    check_fit,
    find_backbone,
    find_checkpoint,
    naming,
    read_state,
)
from ablate.study.settings import ModelSettings, Study

_STATISTICS = "normalize.mean"


def weights_rules(
    study: Study, base: Path, classes: int | None = None
) -> Iterator[tuple[str, str]]:
    """What is wrong with the weights that a study starts from; nothing is fetched.

    Args:
        base: folder that their path starts from.
        classes: of the data; None: as its name or its folders tell.

    Yields:
        The key, and `rule, got X. Fix.`

    Raises:
        DataError: if they are missing, damaged, or of another network or other classes.
        ParameterError: if a callable cannot be imported.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    model, backbone = study.model, study.baseline.backbone
    weights = study.baseline.checkpoint or backbone
    if weights is None:
        return
    source = (find_backbone if backbone else find_checkpoint)(model, weights, base)
    with naming(backbone=backbone is not None):
        brought = brings_statistics(model, source, weights)
    is_known = brought or (backbone and own_statistics(model))
    if model.normalization == "auto" and not is_known:
        choices = explain_choices("{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}")
        yield (
            "model.normalization",
            f"must be stated, since {show_name(weights)} does not say how its images were "
            f"normalised, got auto. Write what it was trained with: {choices}.",
        )
    _fit(study, base, weights, source, classes)


def weights_notes(study: Study, base: Path, classes: int | None = None) -> tuple[str, ...]:
    """What is left out of the keys of the file that a study starts from, in one line, if anything
    is.  Arguments and errors are those of `weights_rules`."""
    model, backbone = study.model, study.baseline.backbone
    weights = study.baseline.checkpoint or backbone
    if weights is None or study.trainable is not None:
        return ()
    source = (find_backbone if backbone else find_checkpoint)(model, weights, base)
    said = _fit(study, base, weights, source, classes)
    return (f"{show_name(weights)}: {said}",) if said else ()


def _fit(
    study: Study, base: Path, weights: str, source: CheckpointSource, classes: int | None
) -> str:
    if (classes := classes or count_classes(study.dataset, base)) is None:
        return ""
    network = build_skeleton(study.model, base=base, classes=classes)
    is_backbone = study.baseline.backbone is not None
    return check_fit(network, study.model.name, weights, source, has_new_head=is_backbone)


def brings_statistics(
    model_settings: ModelSettings, source: CheckpointSource, weights: str
) -> bool:
    """Whether weights come with the mean and deviation that they were trained with, as exports,
    published weights, and those of ablate's own networks do.

    Args:
        source: of the weights; weights: as the study names them.

    Raises:
        DataError: if they are damaged.
    """
    path = source.path
    if path is None or (path.suffix == ".safetensors" and read_metadata(path) is not None):
        return not is_own_code(weights)
    if is_external(model_settings.name):  # its own mean and deviation are no weights
        return False
    return any(key.endswith(_STATISTICS) for key in read_state(path, weights))


def unstated_sizes(study: Study, base: Path, image_size: int, stored_size: tuple[int, int]) -> str:
    """What a study leaves unsaid of the sizes that its checkpoint was trained with.

    Args:
        base: folder that the checkpoint's path starts from.
        image_size: side in pixels at which the network gets the images.
        stored_size: height and width of the first image before it was resized.

    Returns:
        `key: rule, got X. Fix.`; empty if they are stated, or known from the weights and the
        images.
    """
    checkpoint, data = study.baseline.checkpoint, study.dataset
    missing = [f"dataset.{key}" for key in ("image_size", "resize") if getattr(data, key) is None]
    if checkpoint is None or not missing:
        return ""
    path = find_checkpoint(study.model, checkpoint, base).path
    if path is None:  # published weights, of the network's own size
        return ""
    height, width = stored_size
    is_known = height == width == image_size and data.resize is None
    trained = "does not say at what size it was trained"
    exported = read_metadata(path) if path.suffix == ".safetensors" else None
    if exported is not None:
        is_known = (image_size, data.resize) == (exported.image_size, exported.resize)
        cut = f" and resize {exported.resize}" if exported.resize is not None else ""
        trained = f"was trained at image_size {exported.image_size}{cut}"
    if is_known:
        return ""
    return (
        f"{' and '.join(missing)}: must be stated, since {show_name(checkpoint)} {trained}, got "
        f"none with images of {height} x {width}. Write the side in pixels that the network saw "
        f"as image_size ({image_size} if it is not stated), and the shorter side before the centre "
        "crop as resize (the same, if nothing was cut off)."
    )
