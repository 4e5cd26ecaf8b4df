"""ONNX files: in 8 bits, read again, scored; and those of others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from commands import run_here
from needs import missing
from torch import nn

from ablate.data.dataset import Split
from ablate.data.load import load_validation
from ablate.errors import AblateError, DataError, MissingDependencyError, ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.model.trained import TrainedNetwork, load_export
from ablate.model.weights.export_metadata import SHIPPED, ExportMetadata, read_metadata
from ablate.model.weights.programs import OnnxNetwork, write_onnx, write_torch_export
from ablate.robustness.evaluate import evaluate
from ablate.robustness.evaluation import Evaluation
from ablate.study.settings import DatasetSettings

pytestmark = pytest.mark.slow
ASKED: dict[str, Any] = {"types": ["contrast"], "severities": (5,), "threads": 1}


class Files(NamedTuple):
    network: TrainedNetwork
    split: Split
    float32: Path
    int8: Path
    text: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The network that comes with ablate, and validation images of the digits."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            missing(name)
    folder = tmp_path_factory.mktemp("onnx")
    network = load_export(SHIPPED["ablate:resnet8_digits"])
    settings = DatasetSettings.model_validate({"name": "digits", "validation": {"fraction": 0.25}})
    _, split = load_validation(settings, Path(), cache_folder(), count=300, image_size=32)
    float32, int8 = folder / "float.onnx", folder / "int8.onnx"
    assert write_onnx(network, float32) == ""
    return Files(network, split, float32, int8, write_onnx(network, int8, split))


def refusal(call: Callable[[], Any], kind: type[AblateError] = AblateError) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.long
def test_8_bits_are_small_and_close(files: Files) -> None:
    images, n = files.split.images.float() / 255, len(files.split)
    assert n == 300
    found = [read(images) for read in (files.network, *map(OnnxNetwork, files[2:4]))]
    torch.testing.assert_close(found[1], found[0].detach(), atol=1e-4, rtol=0)
    classes = [logits.argmax(1) for logits in found]
    assert float((classes[2] == classes[0]).float().mean()) >= 0.98
    assert files.int8.stat().st_size < 0.45 * files.float32.stat().st_size
    assert files.text.startswith("int8: accuracy 9")
    assert files.text.endswith("of 150 validation images; calibrated with 150 others")


def test_a_file_says_what_it_is(files: Files, tmp_path: Path) -> None:
    write_torch_export(files.network, tmp_path / "one.pt2")
    for file in (files.float32, files.int8, tmp_path / "one.pt2"):
        assert read_metadata(file) == files.network.provenance
    import onnx

    for file in (files.float32, files.int8):
        model = onnx.load(file)
        onnx.checker.check_model(model)
        (text,) = [one.value for one in model.metadata_props if one.key == "ablate"]
        assert json.loads(text)["classes"] == list(files.network.classes)


class Loud(nn.Module):
    """One pixel is so loud that with 256 levels for all nothing is left of the others."""

    gain: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 10)
        self.register_buffer("gain", torch.ones(192))
        self.gain[0] = 1e6
        with torch.no_grad():
            self.linear.weight[:, 0] = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1) * self.gain)  # type: ignore[no-any-return]


def test_a_large_loss_is_a_warning(files: Files, tmp_path: Path) -> None:
    torch.manual_seed(0)
    said = ExportMetadata("m:loud", tuple("0123456789"), (0.0,) * 3, (1.0,) * 3, 8, None, "x", "s",
                          1, "clean", ())  # fmt: skip
    network = TrainedNetwork(Loud(), said)
    images = torch.randint(0, 256, (100, 3, 8, 8), dtype=torch.uint8)
    split = Split(images, network(images).argmax(1), "d")
    text = write_onnx(network, tmp_path / "loud.onnx", split)
    assert text.startswith("warning: int8: accuracy ")
    assert ", float 100.0 %, the same class for " in text


def test_evaluate_reads_classes_and_preprocessing(files: Files, tmp_path: Path) -> None:
    found = [evaluate(file, **ASKED) for file in files[2:4]]
    expected = evaluate(SHIPPED["ablate:resnet8_digits"], precision="fp32", device="cpu", **ASKED)
    assert found[0].clean is not None
    assert expected.clean is not None
    assert np.mean(found[0].clean.correct != expected.clean.correct) <= 1 / 359  # a tie at most
    for one in found:
        assert one.clean is not None
        assert (one.data, one.exposure) == (expected.data, expected.exposure)
        assert one.model.training == expected.model.training != {}
        assert (one.model.mean, one.model.image_size) == (expected.model.mean, 32)
        assert abs(one.clean.accuracy - expected.clean.accuracy) <= 0.02
        assert abs(one.accuracy(["contrast"]) - expected.accuracy(["contrast"])) <= 0.03
        assert (one.environment["device"], one.environment["precision"]) == ("cpu", "fp32")
    assert "has its own, mean (0.30" in refusal(
        lambda: evaluate(files.int8, normalization="none", **ASKED), ParameterError
    )


def test_several_networks_are_one_table(files: Files) -> None:
    asked = ("--types", "contrast", "--severities", 5, "--images", 40, "--threads", 1)
    result = run_here("evaluate", files.float32, files.int8, "--latency", *asked)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    heading = ["Network", "Runs in", "Size", "Median (ms)", "p95 (ms)", "Clean (%)", "Robust (%)"]
    at = next(place for place, line in enumerate(lines) if line.startswith("Network"))
    assert [one for one in heading if one not in lines[at]] == []
    assert [line.split()[0] for line in lines[at + 2 : at + 4]] == ["float.onnx", "int8.onnx"]
    assert "- ms: of one image, 200 calls after 20 to warm up, 1 thread, " in result.stdout
    result = run_here("evaluate", files.float32, files.int8, "--json", *asked)
    assert [one["model"]["latency_ms"] for one in json.loads(result.stdout)] == [None, None]
    result = run_here("evaluate", files.float32, files.int8, "-o", "x.json", *asked)
    assert result.stderr == "ablate: --output: needs one MODEL, got 2. Leave it out.\n"


def test_damaged_files_are_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, file = files.int8.read_bytes(), tmp_path / "one.onnx"
    changed = bytearray(whole)
    changed[-len(whole) // 2] ^= 1  # a weight: onnxruntime would take it
    different = "must be an undamaged export, got different bytes. Copy or export it again."
    for content, said in (
        (bytes(changed), different),
        (whole[: len(whole) // 2], "must be a complete ONNX file, got InvalidProtobuf: "),
        (b"", "must be a complete ONNX file, got "),
    ):
        file.write_bytes(content)
        assert refusal(lambda: evaluate(file, **ASKED), DataError).startswith(f"{file}: {said}")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert refusal(lambda: evaluate(files.int8, **ASKED), MissingDependencyError) == (
        "`model`: ONNX needs onnxruntime, got no such package. Run pip install "
        "'ablate-robustness[onnx]'."
    )


def foreign(file: Path, shape: list[Any], classes: int = 10, *, flat: bool = False) -> Path:
    """A linear network of somebody else, without metadata."""
    from onnx import TensorProto, helper, save

    size = int(np.prod(shape[1:]))
    kind = TensorProto.FLOAT
    weights = np.random.default_rng(0).normal(size=size * classes).astype("float32")
    nodes = [] if flat else [helper.make_node("Flatten", ["x"], ["f"])]
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x" if flat else "f", "w"], ["y"])],
        "foreign",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, [shape[0], classes])],
        [helper.make_tensor("w", kind, (size, classes), weights)],
    )
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)
    return file


def test_files_of_others_need_their_normalisation(files: Files, tmp_path: Path) -> None:
    file, asked = tmp_path / "one.onnx", {"dataset": "digits", "images": 20, **ASKED}

    def scored(**options: Any) -> Evaluation:
        return evaluate(file, **{**asked, "normalization": "none", **options})

    foreign(file, ["batch", 3, 32, 32])
    assert scored().data.n == 20
    assert "must be given for " in refusal(lambda: scored(normalization=None), UsageError)
    foreign(file, ["batch", 3, 32, 32], 7)
    assert "10 classes, got 7. Choose the data set" in refusal(scored, ParameterError)
    foreign(file, ["batch", 3072], flat=True)
    said = refusal(scored, ParameterError)
    assert said.endswith("Write it for images (batch, channel, height, width).")
    for shape in ([1, 3, 32, 32], ["batch", 32, 32, 3], ["batch", 3, 64, 64]):
        foreign(file, shape)
        assert "must take 3 images of 32 x 32 at once, got InvalidArg" in refusal(scored)
