"""From a launched study, or an exported file, to a network that predicts; in three formats."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ablate
from ablate.data.load import load_validation
from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.model.trained import TrainedNetwork
from tests.commands import run_here


@pytest.fixture
def images(done: Path) -> Tensor:
    """The validation images of the study, in [0, 1]."""
    settings = ablate.read(done).study.dataset
    _, split = load_validation(settings, done.parent, cache_folder(), count=1000, image_size=8)
    return split.images.float() / 255


def logits(network: object, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(images)  # type: ignore[operator,no-any-return]


def test_a_network_predicts_as_its_trial_was_scored(done: Path) -> None:
    record = ablate.read(done)
    classes, split = load_validation(
        record.study.dataset, done.parent, cache_folder(), count=1000, image_size=8
    )
    for trial, scores in ((0, record.rows[0].scores), ("plain", record.references["plain"])):
        model = ablate.load_model(done, trial)
        assert isinstance(model, TrainedNetwork)
        assert not any(module.training for module in model.modules())
        assert model.classes == classes
        assert (model.provenance.study, model.image_size) == ("done", 8)
        found = logits(model, split.images).argmax(1)  # bytes, as they are
        accuracy = float((found == split.labels).float().mean())
        assert scores is not None
        assert accuracy == pytest.approx(scores.metrics()["val_clean_accuracy"], abs=1e-6)


def test_words_name_the_trials_of_the_front(done: Path) -> None:
    record = ablate.read(done)
    best = max(record.rows, key=lambda row: (row.values[1], -row.number))  # type: ignore[index]
    assert ablate.load_model(done, "best val_robust_accuracy").provenance.trial == best.number
    assert ablate.load_model(done, "knee").provenance.trial in (0, 1)


def test_an_exported_file_is_the_same_network(done: Path, images: Tensor) -> None:
    assert run_here("export", done, "--trial", "knee", "-o", "one.safetensors").returncode == 0
    expected = ablate.load_model(done, "knee")
    found = ablate.load_model("one.safetensors")
    assert torch.equal(logits(found, images), logits(expected, images))
    assert found.provenance == expected.provenance
    assert re.search(r"resnet8, 3 classes, trial \d of study done", repr(found))


def test_a_loaded_network_is_evaluated_as_its_exported_file_is(
    done: Path, image_folder: Path
) -> None:
    """At the size that it was finetuned on, and what it was trained on is known."""
    for file in image_folder.rglob("*.png"):
        larger = done.parent / "larger" / file.relative_to(image_folder)
        larger.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).resize((24, 24)).save(larger)
    assert run_here("export", done, "--trial", 0, "-o", "one.safetensors").returncode == 0
    asked = {"dataset": "larger", "severities": [3], "types": ["brightness"]}
    loaded = ablate.evaluate(ablate.load_model(done, 0), **asked)  # type: ignore[arg-type]
    exported = ablate.evaluate("one.safetensors", **asked)  # type: ignore[arg-type]
    assert loaded.data.image_shape == (3, 8, 8)
    assert loaded.model.training == exported.model.training != {}
    assert (loaded.exposure, loaded.data) == (exported.exposure, exported.data)
    (of_loaded,), (of_exported,) = loaded.cells.values(), exported.cells.values()
    assert np.array_equal(of_loaded.correct, of_exported.correct)


@pytest.mark.slow
def test_torch_export_gives_the_same_logits(done: Path, images: Tensor) -> None:
    """Without ablate's classes, for any number of images."""
    result = run_here("export", done, "--trial", 0, "-o", "one.pt2", "--format", "torch_export")
    assert (result.returncode, result.stderr) == (0, "")
    said = {"ablate": ""}
    program = torch.export.load("one.pt2", extra_files=said).module()
    expected = logits(ablate.load_model(done, 0), images)
    for count in (1, len(images)):
        assert torch.allclose(logits(program, images[:count]), expected[:count], atol=1e-5)
    assert json.loads(said["ablate"])["classes"] == ["left", "middle", "right"]


@pytest.mark.slow
def test_onnx_gives_the_same_logits(done: Path, images: Tensor) -> None:
    import onnxruntime

    result = run_here("export", done, "--trial", 0, "-o", "one.onnx")
    assert (result.returncode, result.stderr) == (0, "")
    session = onnxruntime.InferenceSession("one.onnx")
    expected = logits(ablate.load_model(done, 0), images).numpy()
    for count in (1, len(images)):
        (found,) = session.run(None, {"images": images[:count].numpy()})
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)
    said = json.loads(session.get_modelmeta().custom_metadata_map["ablate"])
    assert said["classes"] == ["left", "middle", "right"]


def refusal(kind: type[Exception], *arguments: object, **options: object) -> str:
    with pytest.raises(kind) as error:
        ablate.load_model(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_loaded_is_said(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(ParameterError, done).startswith("trial: must be a trial's number, plain, knee")
    assert refusal(ParameterError, done, "kne").endswith("got kne. Did you mean knee?")
    assert refusal(UsageError, done, 7) == (
        "trial 7: must be a trial of done, got an unknown number. Its trials: 0 to 1."
    )
    assert refusal(DataError, "none.safetensors") == (
        "none.safetensors: must be an exported file, got no such file. Correct the path, or name a "
        "study and one of its trials."
    )
    assert refusal(ParameterError, "one.safetensors", 3) == (
        "one.safetensors: is the network of one trial, got trial and alpha too. Leave them out."
    )
    result = run_here("export", done, "--trial", 0, "-o", "one.onnx", "--format", "torch_export")
    assert "one.onnx: must end in .pt2, got '.onnx'. Write one.pt2." in result.stderr
    monkeypatch.setattr("ablate.model.weights.programs.find_spec", lambda name: None)
    result = run_here("export", done, "--trial", 0, "-o", "one.onnx")
    assert result.stderr == (
        "ablate: --format onnx: needs onnx, onnxscript, onnxruntime, got no such package. Install: "
        "pip install 'ablate-robustness[onnx]'\n"
    )


@pytest.mark.slow
def test_weights_that_are_gone_are_made_again_as_the_message_says(
    done: Path, images: Tensor
) -> None:
    before = logits(ablate.load_model(done, 0), images)
    Path("runs/done/weights/00000.safetensors").unlink()
    said = refusal(UsageError, done, 0)
    _, _, options = said.partition("To train it again, launch the study file with ")
    result = run_here("launch", done, *shlex.split(options), "--executor", "inline")
    assert result.returncode == 0, result.stderr
    assert torch.equal(logits(ablate.load_model("runs/done_again", 0), images), before)
