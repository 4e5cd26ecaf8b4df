"""What an export says of itself in its header, so that nothing else has to be said to evaluate it.

A .safetensors file has texts beside its tensors; under the name `ablate` stands the JSON of
`ExportMetadata`.  Importing this loads no torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ablate.errors import DataError
from ablate.finetune.data.shown import show_name

KEY = "ablate"
VERSION = 1


@dataclass(frozen=True)
class ExportMetadata:
    """How the weights of a trial are to be used.

    Attributes:
        model: as `model.name` names the network.
        classes: names, in the order of the output.
        mean, std: that images in [0, 1] are normalised by, of each channel.
        image_size: side in pixels of the images that it was finetuned on.
        resize: shorter side in pixels that images were brought to before the middle was cut; None:
            they were brought to `image_size` whole.
        dataset: name of the data set that it was finetuned on.
        study: name of the study; trial: number in it, None for the plain finetune.
        loss_terms: of the finetuning, as `loss.terms` has them.
        seen_types: training distortions that it was finetuned on.
    """

    model: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    resize: int | None
    dataset: str
    study: str
    trial: int | None
    loss_terms: str
    seen_types: tuple[str, ...]

    def to_header(self) -> dict[str, str]:
        """The texts for the header."""
        return {KEY: json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)}

    @property
    def training(self) -> dict[str, Any]:
        """What was trained, without how it is used."""
        names = ("study", "trial", "dataset", "loss_terms", "seen_types")
        return {name: asdict(self)[name] for name in names}


def read_metadata(path: Path) -> ExportMetadata | None:
    """What an export says of itself; None where the file says nothing.

    Raises:
        DataError: if the file is no whole .safetensors file, or says it in another way.
    """
    shown = show_name(path)
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{shown}: must be a whole .safetensors file, got {reason}. Copy or export it again."
        ) from error
    if text is None:
        return None
    try:
        found = json.loads(text)
        version = found.pop("version")
        tuples = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
        metadata = ExportMetadata(**{**found, **tuples})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{shown}: must say of itself what `ablate export` writes, got something else "
            f"({type(error).__name__}: {error}). Name its network: ablate evaluate NAME "
            "--checkpoint FILE."
        ) from error
    if version != VERSION:
        raise DataError(
            f"{shown}: must be an export of version {VERSION}, got version {version}. Export it "
            "again with this ablate, or update it."
        )
    return metadata
