"""A finetuned network with its code, for programs without ablate: torch.export and ONNX.

Both take images (batch, 3, image_size, image_size) as floats in [0, 1], any number of them, and
return logits: the normalisation is inside.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from ablate.errors import MissingDependencyError, UsageError, error_text
from ablate.errors.installation import pip_install
from ablate.files.cache import publish_file
from ablate.model.trained import TrainedNetwork

_PACKAGES = ("onnx", "onnxscript")
_INPUT, _OUTPUT = "images", "logits"
METADATA = "ablate"
"""Name of the metadata in a file: the JSON of `ExportMetadata`."""


def write_torch_export(network: TrainedNetwork, output: Path) -> None:
    """Write a .pt2 file, which `torch.export.load(FILE).module()` reads.

    Raises:
        UsageError: if torch cannot export the network, or the folder cannot be written.
    """
    batch = torch.export.Dim("batch")
    with _one_line(network, "torch.export"):
        program = torch.export.export(
            network, (_images(network),), dynamic_shapes={_INPUT: {0: batch}}
        )
        content = io.BytesIO()  # torch asks for the ending .pt2, which a temporary file lacks
        torch.export.save(program, content, extra_files={METADATA: _metadata(network)})
    publish_file(output, lambda file: file.write_bytes(content.getvalue()))


def write_onnx(network: TrainedNetwork, output: Path) -> None:
    """Write a .onnx file, with input `images`, output `logits`, and the metadata property `ablate`.

    Raises:
        MissingDependencyError: if the extra `onnx` is not installed.
        UsageError: if torch cannot export the network, or the folder cannot be written.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"--format onnx: needs {' and '.join(missing)}, got no such package. Install: "
            f"{pip_install('onnx')}"
        )
    batch = torch.export.Dim("batch")
    with _one_line(network, "ONNX"):
        program = torch.onnx.export(
            network,
            (_images(network),),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes={_INPUT: {0: batch}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[METADATA] = _metadata(network)
    publish_file(output, lambda file: program.save(str(file)))


def _images(network: TrainedNetwork) -> torch.Tensor:
    channels = max(3, len(network.provenance.mean))
    return torch.full((2, channels, network.image_size, network.image_size), 0.5)


def _metadata(network: TrainedNetwork) -> str:
    return json.dumps(asdict(network.provenance), sort_keys=True)


@contextlib.contextmanager
def _one_line(network: nn.Module, what: str) -> Iterator[None]:
    """The exporter's own output is dropped, and what it raises is one line."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        raise UsageError(
            f"--format: {what} must be able to trace {network.extra_repr()}, got "
            f"{error_text(error)[:200]}. Export it as safetensors."
        ) from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
