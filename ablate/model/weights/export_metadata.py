"""Exported weights and their metadata, which are sufficient for using them.

The header of the .safetensors file, and the beginning of one of ONNX, has under the name `ablate`
the JSON of `ExportMetadata` with a sha256 of the file (computed with zeros in its place).
Importing this does not load torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from safetensors import SafetensorError, safe_open

from ablate.errors import DataError, MissingDependencyError, error_text, pip_install
from ablate.files.cache import publish_file
from ablate.files.regular import MOST_WEIGHTS_BYTES, check_regular
from ablate.files.shown import show_name, shown_if
from ablate.study.json_data import JsonData
from ablate.study.mixture import Mixture

if TYPE_CHECKING:
    from torch import Tensor, nn

KEY = "ablate"
VERSION = 1
ONNX_ENDING = ".onnx"
PROGRAM_ENDINGS = (".pt", ".pth", ".ts", ".pt2", ONNX_ENDING)
"""Extensions of files that may be a network with its code; the type is determined from their
content."""
SHIPPED = {f"ablate:{file.stem}": file for file in Path(__file__).parent.glob("*.safetensors")}
"""Weights that come with ablate, by the name that `baseline.checkpoint` has for them;
docs/howto/weights.md has the command that made each."""

NO_DIGEST = "0" * 64
# Its form in the file: JSON, in the header of safetensors inside a JSON text.
_DIGEST_NAME = re.compile(rb'\\?"sha256\\?": \\?"')
_LARGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no larger one."""
_PIECE = 2**20


@dataclass(frozen=True)
class ExportMetadata(JsonData):
    """Metadata for using the weights of a trial.

    Attributes:
        model: value of `model.name`.
        classes: names, in the order of the output.
        mean, std: for normalising images in [0, 1], of red, green and blue.
        image_size: size in pixels of the finetuning images.
        resize: shorter side in pixels before the centre crop; None: resized to `image_size` without
            cropping.
        dataset: name of the data set that it was finetuned on.
        study: name of the study; trial: number in it, None for the plain finetune.
        loss_terms: of the finetuning, as `loss.terms` has them.
        seen_types: training distortions that it was finetuned on.
        alpha: weight of the finetuned network between the baseline, 0, and itself, 1.
        baseline_sha256: of the file with the weights that the finetuning started from.
        trials: of an average, its trials; `trial` is None then.
        channels: "rgb", or "bgr": the network gets the normalised channels in reverse.
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
    alpha: float = 1.0
    baseline_sha256: str = ""
    trials: tuple[int, ...] = ()
    channels: Literal["rgb", "bgr"] = "rgb"

    @property
    def training(self) -> dict[str, Any]:
        """What was trained, without how it is used."""
        names = ("study", "trial", "dataset", "loss_terms", "seen_types")
        between = {} if self.alpha == 1 else {"alpha": self.alpha}
        several = {"trials": list(self.trials)} if self.trials else {}
        return {name: getattr(self, name) for name in names} | between | several


def network_name(training: Mapping[str, Any]) -> str:
    """ "plain finetune", "trial 3 at alpha 0.5", "average of trials 0-2", of `training`."""
    trials = training.get("trials") or [training["trial"]]
    name = Mixture(tuple(trials), training.get("alpha", 1.0)).name if trials != [None] else ""
    alpha = shown_if("alpha" in training, f" at alpha {training.get('alpha', 1):g}")
    return name or f"plain finetune{alpha}"


def mixed_metadata(of: Sequence[ExportMetadata], point: Mixture) -> ExportMetadata:
    """Of a mixture: what any of its trials was trained by; the alpha is that of its trials."""
    if len(of) == 1:
        return of[0]
    terms = dict.fromkeys(one.loss_terms for one in of)
    seen = dict.fromkeys(name for one in of for name in one.seen_types)
    told: dict[str, Any] = {"loss_terms": ", ".join(terms), "seen_types": tuple(seen)}
    return replace(of[0], trial=None, trials=point.trials, **told)


def is_as_exported(path: Path) -> bool:
    """Whether a file has the bytes that the digest in it is of; True of one without a digest.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        place, written, digest = _read_digest(file)
    return place < 0 or written == digest


def _read_digest(file: BinaryIO) -> tuple[int, str, str]:
    """Position of the digest, its value, and the expected value; (-1, "", "") without one."""
    length = int.from_bytes(file.read(8), "little")
    file.seek(0)
    head = file.read(8 + min(length, _LARGEST_HEADER))
    found = _DIGEST_NAME.search(head)
    if found is None:
        return -1, "", ""
    place = found.end()
    end = place + len(NO_DIGEST)
    digest = hashlib.sha256(head[:place] + NO_DIGEST.encode() + head[end:])
    while piece := file.read(_PIECE):
        digest.update(piece)
    return place, head[place:end].decode(errors="replace"), digest.hexdigest()


def read_metadata(path: Path) -> ExportMetadata | None:
    """Read the metadata of an export, in any format; None if the file has none.

    Raises:
        DataError: if the file is damaged, was changed after the export, or has invalid metadata.
        MissingDependencyError: if it is of ONNX, and onnxruntime is not installed.
    """
    shown = show_name(path)
    try:
        check_regular(path, MOST_WEIGHTS_BYTES)
        text = _text_in(path)
        if text is not None and not is_as_exported(path):
            raise DataError(
                f"{shown}: must be an undamaged export, got different bytes. Copy or export it "
                "again."
            )
    except (OSError, SafetensorError) as error:
        rule = f"must be a complete {path.suffix} file, got {' '.join(str(error).split())}"
        raise DataError(f"{shown}: {rule}. Copy or export it again.") from error
    if text is None:
        return None
    try:
        header = json.loads(text)
        version = header.pop("version")
        header.pop("sha256", None)
        metadata = ExportMetadata.from_json(header)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{shown}: must have the metadata that `ablate export` writes, got something else "
            f"({type(error).__name__}: {error}). Name its network: ablate evaluate NAME "
            "`checkpoint=FILE`."
        ) from error
    if version != VERSION:
        raise DataError(
            f"{shown}: must be an export of version {VERSION}, got version {version}. Export it "
            "again with this version of ablate, or update ablate."
        )
    return metadata


def _text_in(path: Path) -> str | None:
    if path.suffix == ONNX_ENDING:
        found: str | None = open_onnx(path).get_modelmeta().custom_metadata_map.get(KEY)
        return found
    if path.suffix in PROGRAM_ENDINGS:
        with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(f"/extra/{KEY}"):
                    return archive.read(name).decode(errors="replace")
        return None
    with safe_open(path, framework="numpy") as file:
        return (file.metadata() or {}).get(KEY)


def open_onnx(path: Path, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of a file, on the CPU.

    Raises:
        MissingDependencyError: if onnxruntime is not installed.
        DataError: if the file is damaged.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        rule = "`model`: ONNX needs onnxruntime, got no such package."
        raise MissingDependencyError(f"{rule} Run {pip_install('onnx')}.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised too
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        rule = f"must be a complete ONNX file, got {error_text(error).rstrip('.')}"
        raise DataError(f"{show_name(path)}: {rule}. Write it again.") from error


def metadata_text(metadata: ExportMetadata, **digest: str) -> str:
    """The JSON that a file carries; `digest`: NO_DIGEST as `sha256`, for `fill_digest`."""
    return json.dumps({"version": VERSION, **digest, **metadata.to_json()}, sort_keys=True)


def export_weights(model: nn.Module, path: Path, metadata: ExportMetadata | None = None) -> None:
    """`export_tensors` of a network's parameters and buffers."""
    export_tensors(model.state_dict(), path, metadata)


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """Load tensors by name, as of the versions that the network's modules have now: files of
    tensors alone have none, and MNASNet asks for it."""
    state = OrderedDict(weights)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=strict)


def export_tensors(
    state: Mapping[str, Tensor], path: Path, metadata: ExportMetadata | None = None
) -> None:
    """Write tensors by name as safetensors, completely or not at all.

    Args:
        metadata: stored in the file's header, with a sha256 of the file.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    from safetensors.torch import save

    # Copies, since safetensors stores no tensor under two names.
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in state.items()}
    header = None
    if metadata is not None:
        header = {KEY: metadata_text(metadata, sha256=NO_DIGEST)}

    def write(temporary: Path) -> None:
        # Of a full disk, save_file raises an error that is no OSError.
        temporary.write_bytes(save(tensors, metadata=header))
        if metadata is not None:
            fill_digest(temporary)

    publish_file(path, write)


def fill_digest(path: Path) -> None:
    """Put the sha256 of a file into the place that its metadata have for it."""
    with path.open("r+b") as file:
        place, _, digest = _read_digest(file)
        file.seek(place)
        file.write(digest.encode())
