"""Networks of every source, written with their code: any number of images, or no file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablate.errors import UsageError
from ablate.model.build import build_model
from ablate.model.trained import TrainedNetwork
from ablate.model.weights.export_metadata import ExportMetadata
from ablate.model.weights.programs import write_onnx, write_torch_export
from ablate.study.settings import ModelSettings
from tests.needs import missing

NETS = """
import itertools
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))

class InDict(Net):
    def forward(self, images):
        return {"features": images, "logits": super().forward(images)}

calls = itertools.count()

class Drifting(Net):
    def forward(self, images):
        return super().forward(images) + next(calls)

class Counting(Net):
    def forward(self, images):
        print(f"{len(images)} images")
        return super().forward(images)
"""

STATISTICS = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            missing(name)
    monkeypatch.chdir(tmp_path)
    Path("program_nets.py").write_text(NETS)


def trained(name: str, side: int) -> TrainedNetwork:
    settings = ModelSettings(name=name, normalization="dataset")
    network = build_model(settings, 5, *STATISTICS, 0, base=Path())
    classes = tuple("abcde")
    said = ExportMetadata(name, classes, *STATISTICS, side, None, "x", "s", 1, "clean", ())
    return TrainedNetwork(network, said)


def read_onnx_logits(file: str, images: Tensor) -> Tensor:
    import onnxruntime

    (logits,) = onnxruntime.InferenceSession(file).run(None, {"images": images.numpy()})
    return torch.from_numpy(logits)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        pytest.param("program_nets:InDict", 8, marks=pytest.mark.slow),
        pytest.param("torchvision:squeezenet1_1", 32, marks=pytest.mark.slow),
    ],
)
def test_external_networks_take_any_batch(name: str, side: int) -> None:
    network = trained(name, side)
    write_torch_export(network, Path("one.pt2"))
    write_onnx(network, Path("one.onnx"))
    program = torch.export.load("one.pt2").module()
    for count in (1, 5):
        images = torch.rand(count, 3, side, side)
        with torch.no_grad():
            expected = network(images)
            torch.testing.assert_close(program(images), expected, atol=1e-5, rtol=0)
        found = read_onnx_logits("one.onnx", images)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def refused(name: str, kind: str) -> UsageError:
    write, file = (write_onnx, "one.onnx") if kind == "ONNX" else (write_torch_export, "one.pt2")
    with pytest.raises(UsageError) as error:
        write(trained(name, 8), Path(file))
    assert not list(Path().glob("*one*"))
    start = f"`kind`: {kind} must give the logits of {name}, 5 classes, trial 1 of study s for "
    assert str(error.value).startswith(f"{start}any number of images, got ")
    assert str(error.value).endswith("xport it as safetensors.")
    return error.value


@pytest.mark.slow
def test_a_file_with_other_logits_is_not_kept() -> None:
    text = str(refused("program_nets:Drifting", "torch.export"))
    assert "RuntimeError: logits that are off by " in text


def test_what_the_exporter_prints_is_shown_where_it_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refused("program_nets:Counting", "torch.export")
    (note,) = error.__notes__
    assert note.startswith("2 images\n")
    assert "your code specialized it to be a constant (2)" in note
    assert capsys.readouterr() == ("", "")
