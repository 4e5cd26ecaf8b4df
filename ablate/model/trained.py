"""A finetuned network as it is used: from its exported weights to logits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import ExportMetadata, network_name, read_metadata
from ablate.model.weights.external_checkpoint import load_external
from ablate.study.settings import ModelSettings


class TrainedNetwork(nn.Module):
    """A finetuned network that takes images as they are.

    Called with images (batch, 3, height, width), as floats in [0, 1] or as bytes (uint8), it
    resizes them to `image_size` if they have another size, normalises them, and returns logits
    (batch, classes), unnormalised.  To be scored as in its study, images of another size are first
    cropped as `provenance.resize` says.

    Attributes:
        network: the finetuned network itself, which normalises its input.
        classes: names, in the order of the output.
        image_size: side in pixels that it was finetuned on.
        provenance: study, trial, data set, loss terms, alpha, normalisation
            (`ablate.model.weights.export_metadata.ExportMetadata`).
    """

    def __init__(self, network: nn.Module, provenance: ExportMetadata) -> None:
        super().__init__()
        self.network = network
        self.provenance = provenance
        self.classes = provenance.classes
        self.image_size = provenance.image_size
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        side = (self.image_size, self.image_size)
        if images.shape[-2:] != side:
            images = functional.interpolate(images, size=side, mode="bilinear", antialias=True)
        logits: Tensor = self.network(images)
        return logits

    def extra_repr(self) -> str:
        origin = self.provenance
        which = network_name(origin.training)
        return f"{origin.model}, {len(self.classes)} classes, {which} of study {origin.study}"


def load_export(path: Path, base: Path | None = None) -> TrainedNetwork:
    """Load an exported network, in eval mode, on the CPU.

    Args:
        path: a file that `ablate export` or a study wrote.
        base: folder from which a network of the user's own is imported.

    Raises:
        DataError: if the file is damaged or has no metadata.
        ParameterError: if the network cannot be built.
    """
    if not path.is_file():
        raise DataError(
            f"{show_name(path)}: must be an exported file, got no such file. Correct the path, or "
            "name a study and one of its trials."
        )
    metadata = read_metadata(path)
    if metadata is None:
        raise DataError(
            f"{show_name(path)}: must have the metadata that `ablate export` writes, got weights "
            "alone. Export it again."
        )
    channels = metadata.channels
    settings = ModelSettings(name=metadata.model, normalization="dataset", channels=channels)
    classes = len(metadata.classes)
    network = build_model(settings, classes, metadata.mean, metadata.std, 0, base=base)
    load_external(network, settings, str(path.absolute()), Path())
    return TrainedNetwork(network, metadata)
