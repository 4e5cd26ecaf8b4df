"""What weights from elsewhere leave unsaid of how they were fed: normalisation, size, crop."""

from __future__ import annotations

from pathlib import Path

from ablate.files.shown import show_name
from ablate.model import is_external
from ablate.model.normalization import explain_choices
from ablate.model.weights.export_metadata import read_metadata
from ablate.model.weights.external_checkpoint import find_checkpoint, read_state
from ablate.study.settings import ModelSettings, Study

_STATISTICS = {"normalize.mean", "normalize.std"}


def normalization_rule(
    model_settings: ModelSettings, checkpoint: str, base: Path | None = None
) -> str | None:
    """What `model.normalization` leaves unsaid of a checkpoint, as `rule, got X. Fix.`

    Returns:
        None if the weights bring it, or the settings state it.

    Raises:
        DataError: if the weights are missing or damaged.
        MissingDependencyError: if they are timm's, which is not installed.
    """
    if model_settings.normalization != "auto":
        find_checkpoint(model_settings, checkpoint, base)
        return None
    if brings_statistics(model_settings, checkpoint, base):
        return None
    return (
        f"must be stated, since {show_name(checkpoint)} does not say how its images were "
        "normalised, got auto. Write what it was trained with: "
        f"{explain_choices('{mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}')}."
    )


def brings_statistics(
    model_settings: ModelSettings, checkpoint: str, base: Path | None = None
) -> bool:
    """Whether weights come with the mean and deviation that they were trained with, as exports,
    published weights, and those of ablate's own networks do.

    Arguments, errors as `find_checkpoint`.
    """
    path = find_checkpoint(model_settings, checkpoint, base).path
    if path is None or (path.suffix == ".safetensors" and read_metadata(path) is not None):
        return True
    if is_external(model_settings.name):  # its own mean and deviation are no weights
        return False
    return read_state(path, checkpoint).keys() >= _STATISTICS


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
