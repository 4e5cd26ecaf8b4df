"""A network with its code: a finetuned one written as torch.export or ONNX for programs without
ablate, ONNX also in 8 bits; read again, as are those of others, TorchScript too.

What is written takes images (batch, 3, image_size, image_size) as floats in [0, 1], any number of
them, and returns logits: the normalisation is inside.  A file is run before it is put in its place,
and carries the JSON of `ExportMetadata` under the name `ablate`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from ablate.data.dataset import Split, draw_stratified
from ablate.errors import (
    AblateError,
    DataError,
    MissingDependencyError,
    UsageError,
    error_text,
    pip_install,
)
from ablate.errors.masking import masked
from ablate.files.cache import publish_file
from ablate.files.shown import show_name
from ablate.model.trained import TrainedNetwork
from ablate.model.weights.export_metadata import (
    KEY,
    NO_DIGEST,
    ONNX_ENDING,
    fill_digest,
    metadata_text,
    open_onnx,
)
from ablate.model.weights.external_checkpoint import program_kind

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_INPUT, _OUTPUT = "images", "logits"
_ALIKE = 1e-3
"""Largest difference of two logits, as a share of the largest one."""
_CALIBRATION_IMAGES = 256
_BATCH = 64
_DAMAGED = (
    *(RuntimeError, ValueError, OSError, KeyError, TypeError),
    *(AssertionError, AttributeError, pickle.PickleError, zipfile.BadZipFile),
)
"""What torch raises of a file that is damaged, or was made by somebody else."""


def write_torch_export(network: TrainedNetwork, output: Path) -> None:
    """Write a .pt2 file, which `torch.export.load(FILE).module()` reads.

    Raises:
        UsageError: if torch cannot export the network, the file gives other logits, or the folder
            cannot be written.
    """

    def write(file: Path) -> None:
        content = io.BytesIO()  # torch asks for the ending .pt2, which a temporary file lacks
        said = {KEY: metadata_text(network.provenance)}
        torch.export.save(program, content, extra_files=said)
        file.write_bytes(content.getvalue())
        _check_logits(network, torch.export.load(io.BytesIO(file.read_bytes())).module())

    with _explained(network, "torch.export"):
        program = torch.export.export(
            network, (_images(network, 2),), dynamic_shapes={_INPUT: {0: torch.export.Dim("batch")}}
        )
        publish_file(output, write)


def write_onnx(network: TrainedNetwork, output: Path, split: Split | None = None) -> str:
    """Write a .onnx file, with input `images` and output `logits`.

    Args:
        split: for a file in 8 bits: 2 or more validation images of the network's size. Up to
            `_CALIBRATION_IMAGES` of them, at most half, calibrate it, the others check it.

    Returns:
        Of 8 bits what they have changed, in one line; a warning below 99 % of the float network's
        accuracy, the bound of MLPerf.

    Raises:
        MissingDependencyError: if the extra `onnx` is not installed.
        UsageError: if torch cannot export the network, the file gives other logits, or the folder
            cannot be written.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"`kind=onnx`: needs {', '.join(missing)}, got no such package. Install: "
            f"{pip_install('onnx')}"
        )
    changed = ""
    with _explained(network, "ONNX"), tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        program = torch.onnx.export(
            network,
            (_images(network, 2),),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes={_INPUT: {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=True,
        )
        assert program is not None
        file = Path(folder) / "float.onnx"
        program.save(str(file))
        if split is None:
            _add_metadata(network, file)
            _check_logits(network, OnnxNetwork(file))
        else:
            chosen = torch.zeros(len(split), dtype=torch.bool)
            count = min(_CALIBRATION_IMAGES, len(split) // 2)
            chosen[draw_stratified(split.labels, count, 0)] = True
            images, labels = split.images.float() / 255, split.labels[~chosen]
            _quantise(file, torch.split(images[chosen], _BATCH))
            _add_metadata(network, file)
            found, expected = (
                torch.cat([one(batch).argmax(1) for batch in torch.split(images[~chosen], _BATCH)])
                for one in (OnnxNetwork(file), network)
            )
            pairs = (found, labels), (expected, labels), (found, expected)
            shares = [100 * float((one == other).float().mean()) for one, other in pairs]
            changed = (
                f"{'warning: ' if shares[0] < 0.99 * shares[1] else ''}int8: accuracy "
                f"{shares[0]:.1f} %, float {shares[1]:.1f} %, the same class for {shares[2]:.1f} % "
                f"of {len(labels)} validation images; calibrated with {count} others"
            )
        publish_file(output, lambda temporary: shutil.copyfile(file, temporary))
    return changed


def _quantise(file: Path, batches: Sequence[Tensor]) -> None:
    """Static quantisation, in place: feature maps unsigned, weights signed, of 7 bits, so that no
    sum overflows on a CPU without VNNI, with a scale for each output channel.

    Source: onnxruntime's guide "Quantize ONNX models": pre-processing first, format QDQ.
    """
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(file, file)
    left = iter([{_INPUT: batch.numpy()} for batch in batches])
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    reader = SimpleNamespace(get_next=partial(next, left, None))
    quantize_static(file, file, reader, per_channel=True, reduce_range=True, **kinds)


def _add_metadata(network: TrainedNetwork, file: Path) -> None:
    """In front of the model: protobuf merges messages that follow each other."""
    import onnx

    front, text = onnx.ModelProto(), metadata_text(network.provenance, sha256=NO_DIGEST)
    onnx.helper.set_model_props(front, {KEY: text})
    file.write_bytes(front.SerializeToString() + file.read_bytes())
    fill_digest(file)


def _images(network: TrainedNetwork, count: int) -> Tensor:
    channels = max(3, len(network.provenance.mean))
    shape = (count, channels, network.image_size, network.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _check_logits(network: TrainedNetwork, written: Callable[[Tensor], Tensor]) -> None:
    """Compare what was written with the network, on one image and on more than were traced."""
    for count in (1, 3):
        images = _images(network, count)
        expected, logits = network(images), written(images)
        if logits.shape != expected.shape:
            raise RuntimeError(f"logits {tuple(logits.shape)} for {count} images")
        largest = float((logits - expected).abs().max())
        if not largest <= _ALIKE * max(1.0, float(expected.abs().max())):
            raise RuntimeError(f"logits that are off by {largest:.2g} for {count} images")


@contextlib.contextmanager
def _explained(network: TrainedNetwork, what: str) -> Iterator[None]:
    """What the exporter prints is shown where it fails, below the one line of what it raises."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    printed = io.StringIO()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            torch.no_grad(),
        ):
            yield
    except AblateError:
        raise
    except Exception as error:
        refused = UsageError(
            f"`kind`: {what} must give the logits of {network.extra_repr()} for any number of "
            f"images, got {error_text(error).rstrip('.')}. Export it as safetensors."
        )
        refused.add_note(masked(f"{printed.getvalue()}{error}".strip()))
        raise refused from error
    finally:
        logger.setLevel(level)


class OnnxNetwork(nn.Module):
    """The network of an ONNX file, run on the CPU with the threads of torch; raises as `open_onnx`.

    Called with images (batch, channel, height, width) in fp32; returns its output, or a list of
    several.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.session = open_onnx(path, torch.get_num_threads())

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        name = self.session.get_inputs()[0].name
        outputs = self.session.run(None, {name: images.contiguous().numpy()})
        found = [torch.from_numpy(output) for output in outputs]
        return found[0] if len(found) == 1 else found


def load_program(path: Path, device: str = "cpu") -> nn.Module:
    """Load a network from a file, to be called with normalised images.

    Reading a .pt2 file can run code that its writer put there, as torch reads it: only files of
    people that one trusts.  TorchScript runs in torch's own interpreter.

    Args:
        device: "cpu" or "cuda": where it will run, required for a .pt2 file.

    Raises:
        DataError: if the file is missing, damaged, or contains weights without a network.
    """
    shown = show_name(path)
    if not path.is_file():
        raise DataError(f"{shown}: must be a file, got no such file. Correct the path.")
    if path.suffix == ONNX_ENDING:
        return OnnxNetwork(path)
    if not (kind := program_kind(path)):
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
            return module
        exported = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass

            exported = move_to_device_pass(exported, device)
        return exported.module()
    except _DAMAGED as error:
        raise DataError(
            f"{shown}: must be a complete {kind} file, got {error_text(error)}. Write it again "
            "with this torch."
        ) from error
